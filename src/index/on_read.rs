//! Single records and accounts that somebody wants to see and that nothing else has brought: fetched with proof, put
//! in beside what the stream and whole repos bring.
//!
//! # Invariants
//! - The repo's row is left as it is: a found record says nothing of the rest of the repo, and commits that are still
//!   on their way must not look like replays.
//! - What the stream knows better stays: nothing is put into a complete repo, nor from a rev older than the one held,
//!   nor for an account that is not active.
//! - What is put in is listed as cache, see [`super::on_read_cache`].
//! - An identity that was looked at before is not touched: whoever did that keeps it up to date.

use super::{EVENTS, Index};
use crate::event::{IdentityState, Op};
use crate::schema::{ActorId, Rows};
use crate::store::{StoreError, Tx};
use crate::work::recheck;

impl Index {
    pub(super) fn introduced(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        state: &IdentityState,
        time: i64,
    ) -> Result<(), StoreError> {
        let known =
            tx.actor(actor)?.is_some_and(|row| row.handle_checked != 0 || row.status.is_gone());
        if known || recheck::is_identity_due(tx, actor)? {
            return Ok(());
        }
        EVENTS.inc("introduced");
        self.identity(tx, actor, state, time)
    }

    pub(super) fn found(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        ops: &[Op],
        time: i64,
    ) -> Result<(), StoreError> {
        let gone = tx.actor(actor)?.is_some_and(|row| !row.is_active());
        let row = tx.repo(actor)?;
        if gone || row.is_some_and(|row| row.is_complete() || row.rev > rev) {
            EVENTS.inc("found-late");
            return Ok(());
        }
        self.seen(tx, actor, time)?;
        self.lives(tx, actor)?;
        // A repo that is being fetched as it was before this rev lacks them, and must not take them away.
        self.touched.record(tx, actor, rev, ops)?;
        for op in ops {
            self.cache(tx, actor, op, time)?;
        }
        EVENTS.inc("found");
        Ok(())
    }
}
