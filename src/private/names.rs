//! Names in private rows that leave a store: what they have to look like, and the keys that several kinds share.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::syntax::{AtUriRef, Tid, datetime, is_did};

/// Milliseconds since 1970, written as a datetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&datetime::format_ms(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is not a datetime"));
        datetime::parse_strict(&text).map(Self).ok_or_else(wrong)
    }
}

/// The key of a kind of which an account has one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    /// The account.
    pub viewer: String,
}

/// The key of a kind of which an account has one row about each other account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The account.
    pub viewer: String,
    /// The other account.
    pub subject: String,
}

/// Whose a row is.
pub(super) trait Owned {
    /// The DID of the account whose settings or posts it belongs to; `None` if it holds whatever becomes of the account.
    fn owner(&self) -> Option<&str>;
}

macro_rules! owned {
    (viewer: $($of:ty),*) => {
        $(impl $crate::private::names::Owned for $of {
            fn owner(&self) -> Option<&str> {
                Some(&self.viewer)
            }
        })*
    };
    (nobody: $($of:ty),*) => {
        $(impl $crate::private::names::Owned for $of {
            fn owner(&self) -> Option<&str> {
                None
            }
        })*
    };
}
pub(super) use owned;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

pub(super) fn did(name: &str, text: &str) -> Result<(), String> {
    if is_did(text) { Ok(()) } else { Err(format!("{name} {text:?} is not a DID")) }
}

/// The URI of a record by the DID of its owner; in any collection if none is named.
pub(super) fn record_of(name: &str, text: &str, collections: &[&str]) -> Result<(), String> {
    let whole = AtUriRef::parse(text).is_some_and(|uri| {
        let right =
            uri.collection.is_some_and(|c| collections.is_empty() || collections.contains(&c));
        right && uri.rkey.is_some() && is_did(uri.authority)
    });
    let what = if collections.is_empty() { "record".to_owned() } else { collections.join(" or ") };
    if whole { Ok(()) } else { Err(format!("{name} {text:?} is not the URI of a {what}")) }
}

/// The DID of an account, or the URI of a record by the DID of its owner.
pub(super) fn subject(name: &str, text: &str) -> Result<(), String> {
    if text.starts_with("at://") { record_of(name, text, &[]) } else { did(name, text) }
}

pub(super) fn tid(name: &str, text: &str) -> Result<Tid, String> {
    Tid::parse(text).ok_or_else(|| format!("{name} {text:?} is not a TID"))
}
