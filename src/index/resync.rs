//! Repos whose chain broke: marked, fetched whole, compared, and put right while their commits go on coming.
//!
//! A fetched repo is as it was at some rev. Commits that were applied since are newer than it, so what they touched
//! is left alone, and commits older than it are passed over from before the comparison on. From the mark on, the records that commits touch are remembered. That memory is bounded and does
//! not outlive the process; without it a part older than the repo changes nothing, and the repo is fetched again.
//!
//! # Invariants
//! - A part never takes back what a commit newer than it did.
//! - The mark goes only when a repo of at least the marked rev is in, none of its parts left out.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::{EVENTS, Index};
use crate::event::Op;
use crate::store::rows::RepoRow;
use crate::store::{ActorId, CollId, Reader, Rkey, StoreError, Tx, meta};

/// Records remembered of one repo.
const MAX_RECORDS: usize = 20_000;

/// What commits touched of the repos that are marked.
#[derive(Default)]
pub(super) struct TouchedRepos(Mutex<FxHashMap<ActorId, Touched>>);

struct Touched {
    /// Every commit after this rev is in `records`.
    since: u64,
    records: FxHashMap<(CollId, Rkey), u64>,
}

impl TouchedRepos {
    fn begin(&self, actor: ActorId, since: u64) {
        let touched = || Touched { since, records: FxHashMap::default() };
        self.0.lock().entry(actor).or_insert_with(touched);
    }

    fn end(&self, actor: ActorId) {
        self.0.lock().remove(&actor);
    }

    /// Remembers what a commit of a marked repo touches.
    pub(super) fn record(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        ops: &[Op],
    ) -> Result<(), StoreError> {
        let mut repos = self.0.lock();
        let Some(touched) = repos.get_mut(&actor) else { return Ok(()) };
        for op in ops {
            let id = (tx.intern_coll(&op.collection)?, tx.intern_rkey(&op.rkey)?);
            touched.records.insert(id, rev);
        }
        if touched.records.len() > MAX_RECORDS {
            *touched = Touched { since: rev, records: FxHashMap::default() };
        }
        Ok(())
    }

    /// Whether everything after `rev` is remembered.
    fn covers(&self, actor: ActorId, rev: u64) -> bool {
        self.0.lock().get(&actor).is_some_and(|t| t.since <= rev)
    }

    fn is_newer(&self, actor: ActorId, id: (CollId, Rkey), rev: u64) -> bool {
        self.0
            .lock()
            .get(&actor)
            .and_then(|t| t.records.get(&id))
            .is_some_and(|touched| *touched > rev)
    }
}

impl Index {
    /// The repo has to be fetched at `rev` or newer. The caller writes the row.
    pub(super) fn mark(&self, tx: &mut Tx<'_>, actor: ActorId, row: &mut RepoRow, rev: u64) {
        if row.resync.is_none() {
            self.request_resync(tx, actor);
        }
        row.resync = Some(row.resync.unwrap_or(0).max(rev));
        self.touched.begin(actor, row.rev);
    }

    pub(super) fn request_resync(&self, tx: &mut Tx<'_>, actor: ActorId) {
        meta::add_resync(tx, actor);
        let resync = self.resync.clone();
        tx.after_commit(move || {
            let _ = resync.send(actor);
        });
    }

    /// Commits up to `rev` are in the fetched repo: they must not change what it is about to be compared with.
    pub(super) fn fetching(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        data: [u8; 32],
    ) -> Result<(), StoreError> {
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        if rev > row.rev {
            self.mark(tx, actor, &mut row, rev);
            row.rev = rev;
            row.data = data;
            self.put_repo(tx, actor, &row);
        }
        Ok(())
    }

    pub(super) fn part(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        ops: &[Op],
        time: i64,
    ) -> Result<(), StoreError> {
        // Without a row the account was deleted, or begins anew, since the fetch began.
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        if row.rev > rev && !self.touched.covers(actor, rev) {
            row.resync = Some(row.resync.unwrap_or(0).max(row.rev));
            self.touched.begin(actor, row.rev);
            self.put_repo(tx, actor, &row);
            return Ok(());
        }
        for op in ops {
            let id = (tx.intern_coll(&op.collection)?, tx.intern_rkey(&op.rkey)?);
            if !self.touched.is_newer(actor, id, rev) {
                self.op(tx, actor, op, time, false)?;
            }
        }
        Ok(())
    }

    pub(super) fn fetched(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
    ) -> Result<(), StoreError> {
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        row.resync = row.resync.filter(|at_least| rev < *at_least);
        self.put_repo(tx, actor, &row);
        EVENTS.inc("fetched");
        // Otherwise it stays on the list, and whoever fetches sees to when it is tried again.
        if row.resync.is_none() {
            meta::remove_resync(tx, actor);
            self.touched.end(actor);
        }
        Ok(())
    }
}
