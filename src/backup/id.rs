//! What backups are called.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::syntax::datetime::format_ms;

/// Where manifests are, and how their names end.
pub(super) const UNDER: &str = "backups";
const END: &str = ".json";
/// Digits of the hash in a name.
const HASH: usize = 16;

/// What there is a backup of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The store.
    Whole,
    /// Private state alone.
    Private,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Whole, Self::Private];

    /// In names and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Private => "private",
        }
    }
}

/// The name of a backup: when it was made, of what, and the hash of its manifest. Later ones sort behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Of a manifest with this hash.
    pub(super) fn new(made: i64, kind: Kind, hash: &str) -> Self {
        // Dashes would part it, and colons are not everywhere allowed in names.
        let made = format_ms(made).replace(['-', ':'], "");
        Self(format!("{made}-{}-{}", kind.name(), hash.get(..HASH).unwrap_or_default()))
    }

    /// Whether the manifest that has this hash has this name.
    pub(super) fn is_of(&self, hash: &str) -> bool {
        self.0.rsplit('-').next() == hash.get(..HASH)
    }

    /// Of the object that has this name.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        let name = key.strip_prefix(UNDER)?.strip_prefix('/')?.strip_suffix(END)?;
        let mut parts = name.split('-');
        let (made, kind, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let known = Kind::ALL.iter().any(|of| of.name() == kind);
        let fits = parts.next().is_none() && made.ends_with('Z') && hash.len() == HASH;
        (known && fits && name.is_ascii()).then(|| Self(name.to_owned()))
    }

    /// The name of its manifest.
    pub(super) fn key(&self) -> String {
        format!("{UNDER}/{}{END}", self.0)
    }

    /// Of what it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.split('-').nth(1) {
            Some("private") => Kind::Private,
            _ => Kind::Whole,
        }
    }

    /// As it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
