//! DAG-CBOR values as `Ipld`: strict decoding, canonical encoding, and the JSON form of the protocol.
//!
//! Encoding is `serde_ipld_dagcbor`'s. Decoding is our own reader's (`cbor` has the figures), since every record of
//! the firehose and of a fetched repo comes through here. The two are held against each other by the tests.
//!
//! # Invariants
//! - `encode(&decode(bytes)?)` is `bytes`: whatever decodes is canonical, so a CID computed again is the same. The only
//!   exception is minus zero, which our reader knows and the other does not; no lexicon has floats.
//! - Nothing is allocated before it is known that all of the value takes no more than [`MAX_MEMORY`].

use std::collections::BTreeMap;

pub use ipld_core::ipld::Ipld;

pub use super::cbor::{CborError, MAX_DEPTH};
use super::cbor::{Head, Reader, key_order};
pub use super::json::{
    JsonError, from_json, in_record_order, parse_json_within, to_json, write_json,
};
pub use super::memory::MAX_MEMORY;
use super::memory::{self, Room};

/// The protocol's limit on a record, in bytes.
pub const MAX_RECORD_LEN: usize = 1_000_000;

/// Decodes one value of at most [`MAX_RECORD_LEN`] bytes that takes at most [`MAX_MEMORY`]; anything but its canonical
/// spelling is an error.
pub fn decode(bytes: &[u8]) -> Result<Ipld, CborError> {
    weigh(bytes)?.decode()
}

/// As [`decode`], with another limit on the size: for what is no record.
#[cfg(any(test, feature = "testing"))]
pub fn decode_within(bytes: &[u8], max_len: usize) -> Result<Ipld, CborError> {
    weigh_within(bytes, max_len)?.decode()
}

/// A value that is not decoded yet, and what it will take.
#[derive(Debug, Clone, Copy)]
pub struct Weighed<'a> {
    bytes: &'a [u8],
    memory: usize,
}

/// Finds out what a value takes in memory before any of it is taken, in one pass over the heads of its items.
pub fn weigh(bytes: &[u8]) -> Result<Weighed<'_>, CborError> {
    weigh_within(bytes, MAX_RECORD_LEN)
}

fn weigh_within(bytes: &[u8], max_len: usize) -> Result<Weighed<'_>, CborError> {
    if bytes.len() > max_len {
        return Err(CborError::TooLarge);
    }
    let (mut reader, mut room) = (Reader::new(bytes), Room::new(MAX_MEMORY));
    room.take(memory::list(1)).ok_or(CborError::TooLarge)?;
    weigh_item(&mut reader, MAX_DEPTH, &mut room)?;
    reader.end()?;
    Ok(Weighed { bytes, memory: room.taken() })
}

impl Weighed<'_> {
    /// Bytes of memory that the value takes, at most.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The value.
    pub fn decode(self) -> Result<Ipld, CborError> {
        let mut reader = Reader::new(self.bytes);
        let value = read(&mut reader, MAX_DEPTH)?;
        reader.end()?;
        Ok(value)
    }
}

fn weigh_item(reader: &mut Reader<'_>, depth: usize, room: &mut Room) -> Result<(), CborError> {
    let mut take = |bytes| room.take(bytes).ok_or(CborError::TooLarge);
    match reader.head()? {
        Head::Bytes(len) | Head::Text(len) => {
            reader.raw(len)?;
            take(memory::bytes(len))
        }
        Head::Link => reader.bytes().map(drop),
        Head::Array(len) => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            take(memory::list(len))?;
            (0..len).try_for_each(|_| weigh_item(reader, depth, room))
        }
        Head::Map(len) => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            take(memory::map(len))?;
            for _ in 0..len {
                let Head::Text(key_len) = reader.head()? else {
                    return Err(CborError::Unsupported);
                };
                reader.raw(key_len)?;
                room.take(memory::bytes(key_len)).ok_or(CborError::TooLarge)?;
                weigh_item(reader, depth, room)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whoever calls this has weighed the value.
fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Ipld, CborError> {
    Ok(match reader.head()? {
        Head::Uint(value) => Ipld::Integer(i128::from(value)),
        Head::Negative(value) => Ipld::Integer(-1 - i128::from(value)),
        Head::Bytes(len) => Ipld::Bytes(reader.raw(len)?.to_vec()),
        Head::Text(len) => Ipld::String(reader.raw_text(len)?.to_owned()),
        Head::Bool(value) => Ipld::Bool(value),
        Head::Null => Ipld::Null,
        Head::Float(value) => Ipld::Float(value),
        Head::Link => Ipld::Link(reader.raw_link()?),
        Head::Array(len) => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            let mut list = Vec::with_capacity(len);
            for _ in 0..len {
                list.push(read(reader, depth)?);
            }
            Ipld::List(list)
        }
        Head::Map(len) => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            let mut map = BTreeMap::new();
            let mut last: Option<&str> = None;
            for _ in 0..len {
                let Head::Text(key_len) = reader.head()? else {
                    return Err(CborError::Unsupported);
                };
                let key = reader.raw_text(key_len)?;
                if last.is_some_and(|last| key_order(last, key).is_ge()) {
                    return Err(CborError::KeyOrder);
                }
                last = Some(key);
                map.insert(key.to_owned(), read(reader, depth)?);
            }
            Ipld::Map(map)
        }
    })
}

/// The canonical bytes of a value. Empty, which has no CID that anything is known by, for what DAG-CBOR cannot hold:
/// integers beyond 65 bits, NaN, infinities. Neither decoding nor JSON gives these.
pub fn encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::cid;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap()
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        use CborError::*;
        for (bytes, error, why) in [
            ("", Truncated, "nothing"),
            ("1801", NonCanonical, "one in two bytes"),
            ("190001", NonCanonical, "one in three bytes"),
            ("1a00000001", NonCanonical, "one in five bytes"),
            ("1b0000000000000001", NonCanonical, "one in nine bytes"),
            ("3801", NonCanonical, "minus two in two bytes"),
            ("780161", NonCanonical, "text length in two bytes"),
            ("9fff", NonCanonical, "indefinite array"),
            ("bfff", NonCanonical, "indefinite map"),
            ("5f4101ff", NonCanonical, "indefinite bytes"),
            ("7f6161ff", NonCanonical, "indefinite text"),
            ("a2616101616102", KeyOrder, "duplicate key"),
            ("a2616201616102", KeyOrder, "keys swapped"),
            ("a262616101616202", KeyOrder, "longer key first"),
            ("a10101", Unsupported, "integer key"),
            ("f90000", Unsupported, "half float"),
            ("fa00000000", Unsupported, "single float"),
            ("fb7ff8000000000000", Unsupported, "NaN"),
            ("fb7ff0000000000000", Unsupported, "infinity"),
            ("f7", Unsupported, "undefined"),
            ("f0", Unsupported, "simple value"),
            ("c101", Unsupported, "tag 1"),
            ("d82b4100", Unsupported, "tag 43"),
            ("d9002a4100", Unsupported, "tag 42 in three bytes"),
            ("d82a4101", Link, "link without zero byte"),
            ("d82a420000", Link, "link with garbage"),
            ("6161 00", Trailing, "trailing byte"),
            ("61ff", Utf8, "bad text"),
            ("62c3", Truncated, "text ends early"),
            ("5affffffff", Truncated, "four gigabytes of bytes"),
            ("9bffffffffffffffff", Truncated, "endless array"),
            ("bb7fffffffffffffff", Truncated, "endless map"),
            ("8201", Truncated, "array ends early"),
        ] {
            assert_eq!(decode(&hex(bytes)), Err(error), "{why}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |n: usize| [vec![0x81; n], vec![0x80]].concat();
        assert!(decode(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(decode(&nested(MAX_DEPTH)), Err(CborError::TooDeep));
        assert_eq!(decode(&nested(900_000)), Err(CborError::TooDeep));
        assert_eq!(Reader::new(&nested(900_000)).skip(), Err(CborError::TooDeep));
        let big = encode(&Ipld::Bytes(vec![0; MAX_RECORD_LEN]));
        assert_eq!(decode(&big), Err(CborError::TooLarge));
        assert!(decode_within(&big, big.len()).is_ok());
    }

    #[test]
    fn what_it_takes_in_memory_is_bounded() {
        let list = |len: usize, item: &[u8]| {
            let mut bytes = Vec::new();
            crate::repo::cbor::put_head(&mut bytes, 4, len as u64);
            bytes.extend(item.repeat(len));
            bytes
        };
        // A map of one entry may be three bytes, and takes a node of a tree.
        for item in [&b"\xa1\x60\xf6"[..], b"\xa1\x60\xa1\x60\xa1\x60\xf6", b"\x81\x81\xf6"] {
            let most = MAX_MEMORY / weigh(item).unwrap().memory();
            assert!(decode(&list(most / 2, item)).is_ok());
            assert_eq!(decode(&list(most * 2, item)), Err(CborError::TooLarge));
        }
        assert_eq!(decode(&list(300_000, b"\xf6")), Err(CborError::TooLarge));
        let links = list(10_000, &encode(&Ipld::Link(cid::for_raw(b"x"))));
        assert!(weigh(&links).unwrap().memory() < 2 << 20);
        // A long document: blocks of a few small maps each, as many as a record has room for.
        let block = from_json(&serde_json::json!({
            "block": {"$type": "pub.leaflet.blocks.text", "plaintext": "x".repeat(100)},
            "$type": "pub.leaflet.pages.linearDocument#block"
        }));
        let blocks = list(2_500, &encode(&block));
        assert!(decode(&blocks).is_ok());
        assert!((4 << 20..12 << 20).contains(&weigh(&blocks).unwrap().memory()));
    }

    const MINUS_ZERO: &[u8] = &[0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0];

    fn values() -> impl Strategy<Value = Ipld> {
        let leaf = prop_oneof![
            Just(Ipld::Null),
            any::<bool>().prop_map(Ipld::Bool),
            any::<i64>().prop_map(|n| Ipld::Integer(n.into())),
            (-40i64..300).prop_map(|n| Ipld::Integer(n.into())),
            any::<u64>().prop_map(|n| Ipld::Integer(n.into())),
            (-1e9..1e9f64).prop_map(|f| Ipld::Float(f + 0.0)),
            ".{0,30}".prop_map(Ipld::String),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
            prop::collection::vec(any::<u8>(), 0..4).prop_map(|b| Ipld::Link(cid::for_raw(&b))),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Ipld::List),
                prop::collection::btree_map("[a-z$é]{0,5}", inner, 0..8).prop_map(Ipld::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in values()) {
            prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
        }

        #[test]
        fn decoded_bytes_are_canonical(mut bytes in values().prop_map(|v| encode(&v)), at: prop::sample::Index, by: u8) {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let other = serde_ipld_dagcbor::from_slice::<Ipld>(&bytes);
            match decode(&bytes) {
                Ok(_) if bytes.windows(9).any(|part| part == MINUS_ZERO) => {}
                Ok(value) => {
                    prop_assert_eq!(Some(&value), other.as_ref().ok(), "{:?}", other);
                    prop_assert_eq!(encode(&value), bytes);
                }
                // The other takes links whose bytes are not those of the CID that it reads from them.
                Err(error) => prop_assert!(other.map_or(true, |v| encode(&v) != bytes), "{:?}", error),
            }
        }

        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = Reader::new(&bytes).skip();
        }
    }
}
