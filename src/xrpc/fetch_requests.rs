//! What a handler found missing in the store: noted while it runs; who runs it then fetches that from the network and
//! runs it again.

use parking_lot::Mutex;

use crate::syntax::AtUriRef;

/// Most requests of one call: no parameter names more than a hundred things.
const MAX: usize = 100;

/// Something that the store lacks and the network may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchRequest {
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

/// The requests of one call.
#[derive(Debug, Default)]
pub struct FetchRequests(Mutex<Vec<FetchRequest>>);

impl FetchRequests {
    fn push(&self, request: FetchRequest) {
        let mut all = self.0.lock();
        if all.len() < MAX && !all.contains(&request) {
            all.push(request);
        }
    }

    /// An account, by DID or handle.
    pub(crate) fn account(&self, id: &str) {
        self.push(FetchRequest::Account(id.to_owned()));
    }

    /// A record by its URI, with so many levels of posts above it. What is no URI of a record is passed over.
    pub(crate) fn record(&self, uri: &str, parents: usize) {
        if let Some(parts) = AtUriRef::parse(uri)
            && let (Some(collection), Some(rkey)) = (parts.collection, parts.rkey)
        {
            self.push(FetchRequest::Record {
                repo: parts.authority.to_owned(),
                collection: collection.to_owned(),
                rkey: rkey.to_owned(),
                parents,
            });
        }
    }

    /// Further requests, of another call for the same answer.
    pub(crate) fn extend(&self, more: Vec<FetchRequest>) {
        for request in more {
            self.push(request);
        }
    }

    /// Takes the requests out.
    pub(crate) fn take(&self) -> Vec<FetchRequest> {
        std::mem::take(&mut *self.0.lock())
    }
}
