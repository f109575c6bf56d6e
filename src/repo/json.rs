//! The JSON form of the data model (<https://atproto.com/specs/data-model>): links as `{"$link"}`, bytes as `{"$bytes"}`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use smallvec::SmallVec;

use super::memory::{self, Room};
use crate::syntax::cid;

/// The JSON of a value. Integers beyond 64 bits, which no lexicon allows, become floats.
pub fn to_json(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(value) => Value::Bool(*value),
        Ipld::Integer(value) => Value::Number(number(*value)),
        Ipld::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Ipld::String(text) => Value::String(text.clone()),
        Ipld::Bytes(bytes) => special("$bytes", BASE64_NOPAD.encode(bytes)),
        Ipld::Link(link) => special("$link", cid::to_base32(link)),
        Ipld::List(list) => Value::Array(list.iter().map(to_json).collect()),
        Ipld::Map(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), to_json(v))).collect()),
    }
}

fn special(key: &str, text: String) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), Value::String(text))]))
}

fn number(value: i128) -> Number {
    if let Ok(value) = i64::try_from(value) {
        return value.into();
    }
    match u64::try_from(value) {
        Ok(value) => value.into(),
        Err(_) => Number::from_f64(value as f64).unwrap_or_else(|| 0.into()),
    }
}

/// The value of JSON. As in the reference, an object that only looks like a link or bytes stays an object.
pub fn from_json(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Ipld::Integer(value.into()),
            (_, Some(value)) => Ipld::Integer(value.into()),
            _ => float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Ipld::String(text.clone()),
        Value::Array(list) => Ipld::List(list.iter().map(from_json).collect()),
        Value::Object(map) => {
            let mut out = BTreeMap::new();
            out.extend(map.iter().map(|(k, v)| (k.clone(), from_json(v))));
            object(out)
        }
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonError {
    /// It is no JSON, or nests deeper than `serde_json` reads.
    Invalid,
    /// It takes more memory than it may.
    TooLarge,
}

/// The value of a JSON text, as [`from_json`] gives it, without building a tree in between, and the memory that it takes: so
/// much at most.
pub fn parse_json_within(text: &str, most: usize) -> Result<(Ipld, usize), JsonError> {
    let room = RefCell::new(Some(Room::new(most)));
    let mut from = serde_json::Deserializer::from_str(text);
    let value = Parser(&room).take(memory::list(1)).and_then(|()| {
        let value = Parser(&room).deserialize(&mut from)?;
        from.end().map(|()| value)
    });
    match (value, room.into_inner()) {
        (Ok(value), Some(room)) => Ok((value, room.taken())),
        (_, None) => Err(JsonError::TooLarge),
        (Err(_), Some(_)) => Err(JsonError::Invalid),
    }
}

/// With the room that there is: none once it was not enough.
#[derive(Clone, Copy)]
struct Parser<'r>(&'r RefCell<Option<Room>>);

impl Parser<'_> {
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let mut room = self.0.borrow_mut();
        if room.as_mut().is_some_and(|room| room.take(bytes).is_some()) {
            return Ok(());
        }
        *room = None;
        Err(E::custom("it takes too much memory"))
    }
}

impl<'de> DeserializeSeed<'de> for Parser<'_> {
    type Value = Ipld;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Ipld, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parser<'_> {
    type Value = Ipld;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Ipld, E> {
        Ok(Ipld::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Ipld, E> {
        Ok(Ipld::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Ipld, E> {
        Ok(Ipld::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Ipld, E> {
        Ok(Ipld::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Ipld, E> {
        Ok(float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ipld, E> {
        self.take(memory::bytes(text.len()))?;
        Ok(Ipld::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ipld, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            if list.len() == list.capacity() {
                // What it had before is there until all was moved, so each growth counts whole.
                let more = list.capacity().max(4);
                self.take(memory::list(list.capacity() + more))?;
                list.reserve_exact(more);
            }
            list.push(item);
        }
        Ok(Ipld::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ipld, A::Error> {
        let (mut out, mut taken) = (BTreeMap::new(), 0);
        while let Some(key) = map.next_key::<String>()? {
            let nodes = memory::map(out.len() + 1);
            self.take(memory::bytes(key.capacity()) + nodes.saturating_sub(taken))?;
            taken = taken.max(nodes);
            out.insert(key, map.next_value_seed(self)?);
        }
        Ok(object(out))
    }
}

/// JSON does not tell 1.0 from 1; neither does the reference's number type.
fn float(value: f64) -> Ipld {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && value.abs() <= SAFE {
        Ipld::Integer(value as i128)
    } else {
        Ipld::Float(value)
    }
}

/// An object of these members, which may stand for a link or bytes.
fn object(map: BTreeMap<String, Ipld>) -> Ipld {
    special_of(&map).unwrap_or(Ipld::Map(map))
}

fn special_of(map: &BTreeMap<String, Ipld>) -> Option<Ipld> {
    if map.len() != 1 {
        return None;
    }
    let (key, Ipld::String(text)) = map.first_key_value()? else { return None };
    match key.as_str() {
        "$link" if cid::is_cid(text) => {
            let link = cid::parse_strict(text).or_else(|| text.as_str().try_into().ok())?;
            Some(Ipld::Link(link))
        }
        "$bytes" => {
            BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok().map(Ipld::Bytes)
        }
        _ => None,
    }
}

/// The fields of a map in the order in which a record's own bytes have them, the shorter names first: JSON made of these
/// bytes by others has the same.
pub fn in_record_order(
    map: &BTreeMap<String, Ipld>,
) -> impl ExactSizeIterator<Item = (&str, &Ipld)> {
    let mut fields: SmallVec<[(&str, &Ipld); 12]> =
        map.iter().map(|(key, value)| (key.as_str(), value)).collect();
    // Names of the same length are in order already, and few fields are sorted in place.
    fields.sort_by_key(|(key, _)| key.len());
    fields.into_iter()
}

/// Appends the JSON text of a value, without building a tree in between.
pub fn write_json(value: &Ipld, out: &mut Vec<u8>) {
    match value {
        Ipld::Null => out.extend(b"null"),
        Ipld::Bool(true) => out.extend(b"true"),
        Ipld::Bool(false) => out.extend(b"false"),
        Ipld::Integer(value) => write_serde(&number(*value), out),
        Ipld::Float(value) => write_serde(value, out),
        Ipld::String(text) => write_serde(text, out),
        Ipld::Bytes(bytes) => {
            out.extend(b"{\"$bytes\":\"");
            out.extend(BASE64_NOPAD.encode(bytes).as_bytes());
            out.extend(b"\"}");
        }
        Ipld::Link(link) => {
            out.extend(b"{\"$link\":\"");
            out.extend(cid::to_base32(link).as_bytes());
            out.extend(b"\"}");
        }
        Ipld::List(list) => {
            out.push(b'[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Ipld::Map(map) => {
            out.push(b'{');
            for (i, (key, item)) in in_record_order(map).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_serde(key, out);
                out.push(b':');
                write_json(item, out);
            }
            out.push(b'}');
        }
    }
}

fn write_serde<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    // Numbers and text always serialize into memory; a failure must still leave valid JSON.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::memory::MAX_MEMORY;
    use serde_json::json;

    fn parse_json(text: &str) -> Option<Ipld> {
        parse_json_within(text, MAX_MEMORY).ok().map(|(value, _)| value)
    }

    const LINK: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";

    #[test]
    fn json_round_trips() {
        for value in [
            json!(null),
            json!([true, false, 0, -5, 9_007_199_254_740_991i64, u64::MAX, 1.5]),
            json!({"$type": "app.bsky.feed.post", "text": "q\" \\ \u{1}\n é 👋", "": {}}),
            json!({"ref": {"$link": LINK}, "b": {"$bytes": "nFERjvLLiw9qm45JrqH9QTzyC2Lu1Xb4ne6+sBrCzI0"}}),
            json!({"$link": "nothing"}),
            json!({"$link": LINK, "more": 1}),
            json!({"$bytes": "!!"}),
            json!({"$bytes": 5}),
        ] {
            let ipld = from_json(&value);
            assert_eq!(to_json(&ipld), value);
            let mut text = Vec::new();
            write_json(&ipld, &mut text);
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
            assert_eq!(parse_json(&value.to_string()), Some(ipld));
        }
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_record() {
        let record = json!({
            "text": "", "reply": { "parent": { "uri": "p", "cid": "p" }, "root": {} }, "b": 1, "a": 2,
        });
        let mut text = Vec::new();
        write_json(&from_json(&record), &mut text);
        let expect =
            r#"{"a":2,"b":1,"text":"","reply":{"root":{},"parent":{"cid":"p","uri":"p"}}}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }

    #[test]
    fn a_text_is_read_as_its_tree_is() {
        for text in [
            "[1.0, 1e300, -0.0, -1, 18446744073709551615, 18446744073709551616]",
            r#"{"a": 1, "a": {"$bytes": "aGk"}}"#,
            r#"{"$link": "x", "$link": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}"#,
            r#"{"\u0024bytes": "aGk="}"#,
        ] {
            let tree: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse_json(text), Some(from_json(&tree)), "{text}");
        }
        for text in ["", "{", "[1] 2", "{\"a\": nul}", &"[".repeat(100_000)] {
            assert_eq!(parse_json(text), None);
        }
    }

    #[test]
    fn what_a_text_takes_in_memory_is_bounded() {
        for item in [r#"{"":0}"#, r#"{"":{"":{}}}"#, "[[]]", "0"] {
            let list = |len: usize| format!("[{}]", vec![item; len].join(","));
            let (_, one) = parse_json_within(&list(1000), MAX_MEMORY).unwrap();
            let most = MAX_MEMORY / one * 1000;
            assert!(parse_json(&list(most / 3)).is_some());
            let over = parse_json_within(&list(most * 3), MAX_MEMORY);
            assert_eq!(over, Err(JsonError::TooLarge), "{item}");
        }
        assert_eq!(parse_json_within("\"xyz\"", 16), Err(JsonError::TooLarge));
        assert_eq!(parse_json_within("xyz", MAX_MEMORY), Err(JsonError::Invalid));
    }

    #[test]
    fn special_objects() {
        assert!(matches!(from_json(&json!({"$link": LINK})), Ipld::Link(_)));
        assert_eq!(from_json(&json!({"$bytes": "aGk="})), Ipld::Bytes(b"hi".to_vec()));
        assert_eq!(from_json(&json!({"$bytes": "aGk"})), Ipld::Bytes(b"hi".to_vec()));
        assert_eq!(from_json(&json!(1.0)), Ipld::Integer(1));
    }
}
