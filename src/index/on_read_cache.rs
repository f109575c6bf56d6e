//! Records that were fetched because somebody read them are a cache: what came first goes when there are too many.
//!
//! Such a record is no cache any more once the stream or a whole repo brings it too, or once somebody who is kept has
//! something to do with it: then it goes as all others do, if at all ([`super::retention`]). Taking away is
//! `Index::delete`, and nothing of other people goes with it. Whoever asks again has it fetched again.

use parking_lot::RwLock;
use rustc_hash::FxHashSet;

use super::Index;
use super::kept::Kept;
use super::records::Before;
use super::retention::{Policy, STEP, goes, take_alone};
use super::scope::Mode;
use crate::event::Op;
use crate::repo::dag_cbor;
use crate::schema::rebuild::is_held;
use crate::schema::{ActorId, Edit, RecordId, Rows};
use crate::store::{Snapshot, StoreError, Tx};
use crate::telemetry::counters::Counters;
use crate::work::on_read;

static CACHE: Counters = Counters::new("on-read.cache");

/// What a record takes besides its own bytes: keys, feeds, orders, counters.
const AROUND: u64 = 150;

/// Accounts of which something is in the cache, or was: most events are of others and need no look.
#[derive(Default)]
pub(super) struct CachedAccounts(RwLock<FxHashSet<ActorId>>);

impl CachedAccounts {
    pub(super) fn load(s: &Snapshot) -> Result<Self, StoreError> {
        let mut actors = FxHashSet::default();
        on_read::each(s, &mut |id, _| {
            actors.insert(id.actor);
        })?;
        Ok(Self(RwLock::new(actors)))
    }
}

impl Index {
    /// Puts what was fetched in, and on the list unless it was here otherwise.
    pub(super) fn cache(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        op: &Op,
        time: i64,
    ) -> Result<(), StoreError> {
        let Some(record) = &op.record else {
            return self.replace(tx, actor, op, None, time, Before::Unknown);
        };
        let (coll, rkey) = (tx.intern_coll(&op.collection)?, tx.intern_rkey(&op.rkey)?);
        let id = RecordId { actor, coll, rkey };
        let elsewhere = is_held(tx, id)? && !on_read::has(tx, id)?;
        // Somebody asked for it, so it is stored in every scope.
        self.replace(tx, actor, op, Some(record), time, Before::Unknown)?;
        if elsewhere {
            return Ok(());
        }
        self.on_read.0.write().insert(actor);
        let bytes = dag_cbor::encode(&record.value).len() as u64 + AROUND;
        on_read::put(tx, id, time, bytes)
    }

    /// The record came, changed or went otherwise.
    pub(super) fn not_cached(&self, tx: &mut Tx<'_>, id: RecordId) -> Result<(), StoreError> {
        if !self.on_read.0.read().contains(&id.actor) {
            return Ok(());
        }
        on_read::remove(tx, id)
    }
}

/// Takes away of what came first, in one bounded step, until `target` bytes are left; whether there is more to do.
pub fn evict(
    index: &Index,
    tx: &mut Tx<'_>,
    kept: &Kept,
    now: i64,
    target: u64,
) -> Result<bool, StoreError> {
    // Of any age, and by the rules that are for those whom nobody keeps.
    let policy = Policy { mode: Mode::Circle, now, cutoff: i64::MAX, spare: None };
    index.forget_if_taken_back(tx);
    for id in on_read::oldest(tx, STEP)? {
        if on_read::total(tx)?.bytes <= target {
            break;
        }
        on_read::remove(tx, id)?;
        let gone = index.alone(tx, format_args!("{id:?}"), |tx| {
            let whole = tx.repo(id.actor)?.is_some_and(|row| row.is_complete());
            if whole || !goes(tx, kept, &policy, id)? {
                return Ok(false);
            }
            take_alone(index, tx, id)?;
            Ok(true)
        })?;
        // One that cannot be taken away is no longer listed, and so in nobody's way.
        if gone != Some(true) {
            CACHE.inc("kept");
            continue;
        }
        index.touched.lacks(id.actor);
        CACHE.inc("evicted");
    }
    on_read::advance(tx)?;
    let left = on_read::total(tx)?;
    Ok(left.bytes > target && left.records > 0)
}
