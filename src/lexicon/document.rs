//! A lexicon document as written in `lexicons/`, before refs are resolved.
//!
//! Unknown keys are errors: a constraint that a newer lexicon adds must not be ignored silently.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// One document: an NSID and its definitions.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document<'a> {
    #[serde(rename = "lexicon")]
    _version: IgnoredAny,
    pub(crate) id: &'a str,
    #[serde(borrow)]
    pub(crate) defs: Ordered<'a, RawDef<'a>>,
}

/// Any definition or contained schema. `kind` decides which of the other fields mean anything.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawDef<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    // record
    #[serde(borrow)]
    pub(crate) key: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) record: Option<Box<RawDef<'a>>>,
    // query, procedure, subscription
    #[serde(borrow)]
    pub(crate) parameters: Option<Box<RawDef<'a>>>,
    #[serde(borrow)]
    pub(crate) input: Option<RawBody<'a>>,
    #[serde(borrow)]
    pub(crate) output: Option<RawBody<'a>>,
    #[serde(borrow)]
    pub(crate) message: Option<RawBody<'a>>,
    #[serde(rename = "errors", default)]
    _errors: IgnoredAny,
    // object, params
    #[serde(default)]
    #[serde(borrow)]
    pub(crate) properties: Ordered<'a, RawDef<'a>>,
    #[serde(default)]
    #[serde(borrow)]
    pub(crate) required: Vec<&'a str>,
    #[serde(default)]
    #[serde(borrow)]
    pub(crate) nullable: Vec<&'a str>,
    // array, string, bytes
    #[serde(borrow)]
    pub(crate) items: Option<Box<RawDef<'a>>>,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) min_graphemes: Option<usize>,
    pub(crate) max_graphemes: Option<usize>,
    #[serde(borrow)]
    pub(crate) format: Option<&'a str>,
    #[serde(rename = "knownValues", default)]
    _known_values: IgnoredAny,
    // integer
    pub(crate) minimum: Option<i64>,
    pub(crate) maximum: Option<i64>,
    // string, integer, boolean
    #[serde(rename = "enum", default)]
    #[serde(borrow)]
    pub(crate) one_of: Vec<AnyLiteral<'a>>,
    #[serde(rename = "const")]
    #[serde(borrow)]
    pub(crate) only: Option<AnyLiteral<'a>>,
    #[serde(borrow)]
    pub(crate) default: Option<AnyLiteral<'a>>,
    // blob
    #[serde(default)]
    #[serde(borrow)]
    pub(crate) accept: Vec<&'a str>,
    pub(crate) max_size: Option<i64>,
    // ref, union
    #[serde(rename = "ref")]
    #[serde(borrow)]
    pub(crate) target: Option<&'a str>,
    #[serde(default)]
    #[serde(borrow)]
    pub(crate) refs: Vec<&'a str>,
    #[serde(default)]
    pub(crate) closed: bool,
}

/// Input, output or message of a method.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBody<'a> {
    #[serde(borrow)]
    pub(crate) encoding: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) schema: Option<Box<RawDef<'a>>>,
}

/// A value written in a lexicon: constant, enum member or default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum AnyLiteral<'a> {
    Bool(bool),
    Int(i64),
    Str(&'a str),
}

/// A value written in an embedded lexicon.
pub(crate) type Literal = AnyLiteral<'static>;

/// A JSON object in the order of the file: the first error reported depends on it.
pub(crate) struct Ordered<'a, T>(pub(crate) Vec<(&'a str, T)>);

impl<T> Default for Ordered<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Ordered<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<'a, T>(PhantomData<(&'a str, T)>);

        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Entries<'a, T> {
            type Value = Ordered<'a, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}
