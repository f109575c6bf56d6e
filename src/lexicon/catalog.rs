//! The compiled lexicons by NSID, made once from the embedded documents.

use std::sync::{Arc, LazyLock};

use ipld_core::ipld::Ipld;
use rustc_hash::FxHashMap;

use super::compile::{self, Compiled};
use super::files::FILES;
use super::invalid::{Invalid, Problem};
use super::method::MethodSchema;
use super::schema::{DefId, Defs};
use super::validate::validate;
use crate::syntax;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::new(compile::compile(FILES)));

/// The lexicons that this binary knows. The first call compiles them (some milliseconds).
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

/// Record types and methods by NSID.
pub struct Catalog {
    records: FxHashMap<&'static str, RecordSchema>,
    methods: FxHashMap<&'static str, MethodSchema>,
}

impl Catalog {
    pub(crate) fn new(compiled: Compiled) -> Self {
        // Of the documents in the binary there are none: a test compiles them.
        debug_assert_eq!(compiled.problems, [""; 0]);
        let defs = Arc::new(compiled.defs);
        let records = compiled.records.into_iter().map(|(nsid, key, def)| {
            let key = KeyKind::from_lexicon(key);
            (nsid, RecordSchema { nsid, key, def, defs: Arc::clone(&defs) })
        });
        let methods = compiled
            .methods
            .into_iter()
            .map(|parts| (parts.nsid, MethodSchema::new(parts, Arc::clone(&defs))));
        Self { records: records.collect(), methods: methods.collect() }
    }

    /// The schema of a record type (collection).
    pub fn record(&self, nsid: &str) -> Option<&RecordSchema> {
        self.records.get(nsid)
    }

    /// Whether a record may be in its collection; the error is the collection's name. What has no lexicon here may,
    /// and what the reference does not check.
    pub fn check_record(
        &self,
        collection: &str,
        rkey: &str,
        record: &Ipld,
    ) -> Result<(), &'static str> {
        if collection == "chat.bsky.actor.declaration" {
            return Ok(());
        }
        let Some(schema) = self.record(collection) else { return Ok(()) };
        let valid = schema.accepts_key(rkey) && schema.validate(record).is_ok();
        if valid { Ok(()) } else { Err(schema.nsid) }
    }

    /// The schema of a query, procedure or subscription.
    pub fn method(&self, nsid: &str) -> Option<&MethodSchema> {
        self.methods.get(nsid)
    }

    /// All methods, in no order.
    pub fn methods(&self) -> impl Iterator<Item = &MethodSchema> {
        self.methods.values()
    }
}

/// Which record keys a collection has (<https://atproto.com/specs/record-key>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A timestamp identifier.
    Tid,
    /// An NSID.
    Nsid,
    /// Any valid record key.
    Any,
    /// Only this one: the collection has a single record.
    Literal(&'static str),
}

impl KeyKind {
    fn from_lexicon(key: &'static str) -> Self {
        match (key, key.strip_prefix("literal:")) {
            (_, Some(literal)) => Self::Literal(literal),
            ("tid", _) => Self::Tid,
            ("nsid", _) => Self::Nsid,
            _ => Self::Any,
        }
    }
}

/// The schema of one record type.
pub struct RecordSchema {
    nsid: &'static str,
    key: KeyKind,
    def: DefId,
    defs: Arc<Defs>,
}

impl RecordSchema {
    /// The NSID of the collection, which is also the records' `$type`.
    #[cfg(test)]
    pub fn nsid(&self) -> &'static str {
        self.nsid
    }

    /// Which keys the lexicon foresees.
    #[cfg(test)]
    pub fn key_kind(&self) -> KeyKind {
        self.key
    }

    /// Whether the key is one that the lexicon foresees.
    pub fn accepts_key(&self, rkey: &str) -> bool {
        match self.key {
            KeyKind::Tid => syntax::is_tid(rkey),
            KeyKind::Nsid => syntax::is_nsid(rkey),
            KeyKind::Any => syntax::is_rkey(rkey),
            KeyKind::Literal(literal) => rkey == literal,
        }
    }

    /// Checks a record as strictly as the reference's indexer: blob types and sizes count, legacy blobs and other
    /// `$type`s are refused, unknown members and unknown members of open unions are not looked at.
    pub fn validate(&self, record: &Ipld) -> Result<(), Invalid> {
        validate(&self.defs, self.def, record).map_err(|problem| Problem::into_invalid(*problem))
    }
}
