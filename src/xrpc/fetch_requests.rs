//! What a handler would have liked to show and the store lacks: noted while it runs, fetched by who runs it.

use parking_lot::Mutex;

use crate::syntax::AtUriRef;

/// Wishes of one call. A call names a hundred things at most.
const MAX: usize = 100;

/// Something that the store lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// An account or its profile, by DID or handle.
    Account(String),
    /// A record.
    Record {
        /// DID or handle.
        repo: String,
        /// NSID.
        collection: String,
        /// Record key.
        rkey: String,
        /// If it is a post: how many levels above it the caller asks for.
        parents: usize,
    },
}

/// The wishes of one call.
#[derive(Debug, Default)]
pub struct Wishes(Mutex<Vec<Missing>>);

impl Wishes {
    fn push(&self, missing: Missing) {
        let mut all = self.0.lock();
        if all.len() < MAX && !all.contains(&missing) {
            all.push(missing);
        }
    }

    /// An account, by DID or handle.
    pub(crate) fn account(&self, id: &str) {
        self.push(Missing::Account(id.to_owned()));
    }

    /// A record by its URI, with so many levels of posts above it. What is no URI of a record is passed over.
    pub(crate) fn record(&self, uri: &str, parents: usize) {
        if let Some(parts) = AtUriRef::parse(uri)
            && let (Some(collection), Some(rkey)) = (parts.collection, parts.rkey)
        {
            self.push(Missing::Record {
                repo: parts.authority.to_owned(),
                collection: collection.to_owned(),
                rkey: rkey.to_owned(),
                parents,
            });
        }
    }

    /// Takes the wishes out.
    pub(crate) fn take(&self) -> Vec<Missing> {
        std::mem::take(&mut *self.0.lock())
    }
}
