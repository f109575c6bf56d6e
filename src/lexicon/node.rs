//! What validation needs of a value, so that records (IPLD) and bodies (JSON) are checked where they are.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64_NOPAD};
use ipld_core::ipld::Ipld;
use serde_json::Value;

use crate::syntax::Cid;
use crate::syntax::cid::{RAW, digest};

/// Largest integer that every implementation keeps exact: 2^53 - 1.
pub(crate) const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A value of the data model, one level deep.
pub(crate) enum Kind<'a, N: Node> {
    Null,
    Bool(bool),
    /// Within +-[`MAX_SAFE_INTEGER`].
    Int(i64),
    /// A number that the data model does not have.
    Float(f64),
    Str(&'a str),
    /// Length of a byte string.
    Bytes(usize),
    /// A CID; whether it is one of a blob.
    Link {
        blob: bool,
    },
    List(&'a [N]),
    Map,
}

/// A value that can be looked into.
pub(crate) trait Node: Sized {
    fn kind(&self) -> Kind<'_, Self>;
    /// A member of a map; none if this is not a map.
    fn get(&self, key: &str) -> Option<&Self>;
    /// The members of a map.
    fn entries(&self) -> impl Iterator<Item = (&str, &Self)>;
}

impl Node for Ipld {
    fn kind(&self) -> Kind<'_, Self> {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(value) => Kind::Bool(*value),
            Self::Integer(value) => {
                i64::try_from(*value).map_or(Kind::Float(*value as f64), integer)
            }
            Self::Float(value) => Kind::Float(*value),
            Self::String(value) => Kind::Str(value),
            Self::Bytes(value) => Kind::Bytes(value.len()),
            Self::List(items) => Kind::List(items),
            Self::Map(_) => Kind::Map,
            Self::Link(cid) => Kind::Link { blob: is_blob_cid(cid) },
        }
    }

    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let map: Option<&BTreeMap<String, Self>> = match self {
            Self::Map(map) => Some(map),
            _ => None,
        };
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }
}

impl Node for Value {
    fn kind(&self) -> Kind<'_, Self> {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(value) => Kind::Bool(*value),
            Self::Number(number) => match number.as_i64() {
                Some(value) => integer(value),
                None => float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Self::String(value) => Kind::Str(value),
            Self::Array(items) => Kind::List(items),
            Self::Object(map) if map.len() == 1 => special(map).unwrap_or(Kind::Map),
            Self::Object(_) => Kind::Map,
        }
    }

    fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }
}

/// `{"$link": ...}` and `{"$bytes": ...}`, the JSON forms of what JSON does not have.
fn special(map: &serde_json::Map<String, Value>) -> Option<Kind<'_, Value>> {
    let (key, value) = map.iter().next()?;
    match key.as_str() {
        "$link" => {
            let cid = Cid::try_from(value.as_str()?).ok()?;
            Some(Kind::Link { blob: is_blob_cid(&cid) })
        }
        "$bytes" => {
            let text = value.as_str()?.as_bytes();
            let bytes = BASE64_NOPAD.decode(text).or_else(|_| BASE64.decode(text)).ok()?;
            Some(Kind::Bytes(bytes.len()))
        }
        _ => None,
    }
}

fn integer<'a, N: Node>(value: i64) -> Kind<'a, N> {
    if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&value) {
        Kind::Int(value)
    } else {
        Kind::Float(value as f64)
    }
}

/// JSON has one kind of number: `1.0` is the integer 1.
fn float<'a, N: Node>(value: f64) -> Kind<'a, N> {
    if value.fract() == 0.0 && value.abs() <= MAX_SAFE_INTEGER as f64 {
        Kind::Int(value as i64)
    } else {
        Kind::Float(value)
    }
}

fn is_blob_cid(cid: &Cid) -> bool {
    cid.version() == cid::Version::V1 && cid.codec() == RAW && digest(cid).is_some()
}
