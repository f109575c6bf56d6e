//! How the rules turn what a record names into numbers: the writer hands out new ones, a reader only looks them up.

use crate::schema::{ActorId, Edit, Rows, Target};
use crate::store::{Reader, StoreError, Tx};

/// Where numbers come from.
pub(super) trait Names {
    /// The number of a DID.
    fn account(&mut self, did: &str) -> Result<Option<ActorId>, StoreError>;
    /// A DID or full record AT-URI; `None` if it is neither, or not known.
    fn subject(&mut self, text: &str) -> Result<Option<Target>, StoreError>;
}

impl Names for Tx<'_> {
    fn account(&mut self, did: &str) -> Result<Option<ActorId>, StoreError> {
        self.intern_actor(did).map(Some)
    }
    fn subject(&mut self, text: &str) -> Result<Option<Target>, StoreError> {
        self.intern_target(text)
    }
}

/// The names that a view of the store has.
pub(super) struct Known<'r, R>(pub(super) &'r R);

impl<R: Reader> Names for Known<'_, R> {
    fn account(&mut self, did: &str) -> Result<Option<ActorId>, StoreError> {
        self.0.actor_id(did)
    }
    fn subject(&mut self, text: &str) -> Result<Option<Target>, StoreError> {
        self.0.target(text)
    }
}
