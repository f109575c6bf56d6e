//! Whose images are shown: looked at in each request, with a few point reads.

use super::error::MediaError;
use crate::moderation::Takedowns;
use crate::private;
use crate::schema::{Rows, Target};
use crate::store::Store;
use crate::syntax::Did;

/// Takedowns and account status.
#[derive(Clone)]
pub(super) struct BlobGate {
    pub(super) store: Store,
    pub(super) takedowns: Takedowns,
}

impl BlobGate {
    /// Whether a blob may be shown. Reads the store: not on an I/O thread.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] when the operator took the account or the blob down, or the account is not active.
    /// An account that the store never saw may be shown.
    pub(super) fn check(&self, did: &Did, cid: &str) -> Result<(), MediaError> {
        let snapshot = self.store.snapshot();
        let Some(actor) = snapshot.actor_id(did.as_str())? else { return Ok(()) };
        let hidden = self.takedowns.contains(Target::Actor(actor))
            || snapshot.actor(actor)?.is_some_and(|row| !row.is_active())
            || private::blob_takedown(&snapshot, actor, cid)?.is_some();
        if hidden { Err(MediaError::NotFound) } else { Ok(()) }
    }
}
