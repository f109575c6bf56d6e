//! Repos that are fetched whole, because their chain broke or what lies before the first commit seen is missing:
//! marked, compared, and put right while their commits go on coming.
//!
//! A fetched repo is as it was at some rev. Commits that were applied since are newer than it, so what they touched
//! is left alone, and commits older than it are passed over from before the comparison on. From [`Body::Wanted`]
//! until the end of the fetch, the records that commits touch are remembered. That memory is bounded and does not
//! outlive the process; without it a part older than the repo changes nothing, and the repo is fetched again.
//!
//! [`Body::Wanted`]: crate::event::Body::Wanted
//!
//! # Invariants
//! - A part never takes back what a commit newer than it did.
//! - The mark goes only when a repo of at least the marked rev is in, none of its parts left out. Until then there is
//!   a job in the store for it, unless an operator took that away; then the next gap makes another.
//! - A repo counts as complete only if its account was kept (see [`super::scope`]) while all of it came: what the scope left
//!   out since the fetch began makes it be fetched once more if the account is kept by the end.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::records::Before;
use super::{EVENTS, Index, UNKNOWN_DATA};
use crate::event::Op;
use crate::schema::rows::{RepoRow, repo_key};
use crate::schema::{ActorId, CollId, Edit, Rkey, Rows};
use crate::store::{Ks, StoreError, Tx};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

/// Records remembered of one repo, and of all: about 40 bytes each.
const MAX_RECORDS: usize = 250_000;
const MAX_TOTAL: usize = 1_000_000;

/// What commits touched of the repos that are being fetched.
#[derive(Default)]
pub(super) struct TouchedRepos(Mutex<Repos>);

#[derive(Default)]
struct Repos {
    by_actor: FxHashMap<ActorId, Touched>,
    total: usize,
}

struct Touched {
    /// Every commit after this rev is in `records`.
    since: u64,
    /// Keys of records are chosen by whoever writes them, so they are hashed as nobody can foresee.
    records: HashMap<(CollId, Rkey), u64, RandomState>,
    /// The scope left something out, or took something away, since the fetch began.
    lacks: bool,
}

impl TouchedRepos {
    fn begin(&self, actor: ActorId, since: u64) {
        let touched = || Touched { since, records: HashMap::default(), lacks: false };
        self.0.lock().by_actor.entry(actor).or_insert_with(touched);
    }

    /// What was left out before comes with the repo that is read from now on.
    fn begin_anew(&self, actor: ActorId, since: u64) {
        self.begin(actor, since);
        if let Some(touched) = self.0.lock().by_actor.get_mut(&actor) {
            touched.lacks = false;
        }
    }

    /// Something of a repo is not stored. Tells nothing of repos that are not being fetched.
    pub(super) fn lacks(&self, actor: ActorId) {
        if let Some(touched) = self.0.lock().by_actor.get_mut(&actor) {
            touched.lacks = true;
        }
    }

    /// The fetch is over; says whether something was left out while it went on.
    pub(super) fn end(&self, actor: ActorId) -> bool {
        let mut repos = self.0.lock();
        let Some(touched) = repos.by_actor.remove(&actor) else { return false };
        repos.total = repos.total.saturating_sub(touched.records.len());
        touched.lacks
    }

    /// Remembers what a commit touches of a repo that is being fetched.
    pub(super) fn record(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        ops: &[Op],
    ) -> Result<(), StoreError> {
        let mut repos = self.0.lock();
        let Repos { by_actor, total } = &mut *repos;
        let Some(touched) = by_actor.get_mut(&actor) else { return Ok(()) };
        for op in ops {
            let id = (tx.intern_coll(&op.collection)?, tx.intern_rkey(&op.rkey)?);
            *total += usize::from(touched.records.insert(id, rev).is_none());
        }
        if touched.records.len() > MAX_RECORDS || *total > MAX_TOTAL {
            *total = total.saturating_sub(touched.records.len());
            (touched.since, touched.records) = (rev, HashMap::default());
        }
        Ok(())
    }

    /// Whether everything after `rev` is remembered.
    fn covers(&self, actor: ActorId, rev: u64) -> bool {
        self.0.lock().by_actor.get(&actor).is_some_and(|t| t.since <= rev)
    }

    /// Whether commits touched anything of the repo.
    fn has_any(&self, actor: ActorId) -> bool {
        self.0.lock().by_actor.get(&actor).is_some_and(|t| !t.records.is_empty())
    }

    /// Which of `ids` a commit newer than `rev` touched.
    fn newer(&self, actor: ActorId, ids: &[(CollId, Rkey)], rev: u64) -> Vec<bool> {
        let repos = self.0.lock();
        let Some(touched) = repos.by_actor.get(&actor) else { return Vec::new() };
        ids.iter().map(|id| touched.records.get(id).is_some_and(|at| *at > rev)).collect()
    }
}

/// When repos were last wanted because a commit did not say what was before it. A host that never does must not have each
/// of its repos fetched with each commit.
#[derive(Default)]
pub(super) struct Untold(Mutex<FxHashMap<ActorId, i64>>);

/// Between two fetches of such a repo.
const UNTOLD_MS: i64 = 3600 * 1000;
/// Repos remembered; what is beyond them waits.
const MAX_UNTOLD: usize = 100_000;

impl Untold {
    /// When a repo may be fetched that is wanted `now`.
    fn due(&self, actor: ActorId, now: i64) -> i64 {
        let mut last = self.0.lock();
        // A clock that was set back does not make it wait for longer.
        let waits = |at: &i64| (0..UNTOLD_MS).contains(&now.saturating_sub(*at));
        if let Some(at) = last.get(&actor).copied().filter(waits) {
            return at.saturating_add(UNTOLD_MS);
        }
        if last.len() >= MAX_UNTOLD {
            last.retain(|_, at| waits(at));
        }
        if last.len() >= MAX_UNTOLD {
            return now.saturating_add(UNTOLD_MS);
        }
        last.insert(actor, now);
        now
    }
}

impl Index {
    /// What was before a commit is not told, so something may be missing. The caller writes the row.
    pub(super) fn mark_untold(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        row: &mut RepoRow,
        rev: u64,
        now: i64,
    ) -> Result<(), StoreError> {
        if row.resync.is_none() || jobs::get(tx, actor)?.is_none() {
            let due = self.untold.due(actor, now);
            let job = JobRow { due, ..JobRow::new(Priority::Resync, now) };
            jobs::add(tx, actor, &job)?;
            if due <= now {
                self.announce(tx, actor);
            }
        }
        row.resync = Some(row.resync.unwrap_or(0).max(rev));
        Ok(())
    }

    /// The chain broke: the repo has to be fetched at `rev` or newer. The caller writes the row.
    pub(super) fn mark(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        row: &mut RepoRow,
        rev: u64,
    ) -> Result<(), StoreError> {
        // An operator may have taken the job of a marked repo away.
        if row.resync.is_none() || jobs::get(tx, actor)?.is_none() {
            self.request_resync(tx, actor)?;
        }
        row.resync = Some(row.resync.unwrap_or(0).max(rev));
        Ok(())
    }

    pub(super) fn request_resync(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        jobs::add(tx, actor, &JobRow::new(Priority::Resync, 0))?;
        self.announce(tx, actor);
        Ok(())
    }

    /// The account is seen alive: its repo is fetched if that was waited for.
    pub(super) fn lives(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        if jobs::wake(tx, actor)? {
            self.announce(tx, actor);
        }
        Ok(())
    }

    /// Tells of a job once it can be read.
    pub(super) fn announce(&self, tx: &mut Tx<'_>, actor: ActorId) {
        let resync = self.resync.clone();
        tx.after_commit(move || {
            let _ = resync.send(actor);
        });
    }

    /// A fetch is about to begin: a repo read from now on has at least the rev that is held.
    pub(super) fn wanted(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        let mut row = match tx.repo(actor)? {
            Some(row) => row,
            None if tx.actor(actor)?.is_some_and(|a| a.status.is_gone()) => {
                return Ok(());
            }
            None => RepoRow { rev: 0, data: UNKNOWN_DATA, resync: None, whole: None },
        };
        row.resync = Some(row.resync.unwrap_or(0).max(row.rev));
        self.touched.begin_anew(actor, row.rev);
        self.put_repo(tx, actor, &row);
        Ok(())
    }

    /// The fetch failed. The mark stays until another one does not, but nothing is left of a repo never seen.
    pub(super) fn given_up(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        self.touched.end(actor);
        match tx.repo(actor)? {
            Some(row) if row.rev == 0 => tx.del(Ks::Actor, &repo_key(actor)),
            // Parts of it may be in.
            Some(row) if row.whole.is_none() => self.log.repo(tx, actor),
            _ => {}
        }
        Ok(())
    }

    /// Commits up to `rev` are in the fetched repo: they must not change what it is about to be compared with.
    pub(super) fn fetching(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        data: [u8; 32],
        time: i64,
    ) -> Result<(), StoreError> {
        // Without a row the account was deleted since the fetch began.
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        self.seen(tx, actor, time)?;
        if rev > row.rev {
            self.touched.begin(actor, row.rev);
            row.resync = Some(row.resync.unwrap_or(0).max(rev));
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
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        if row.rev > rev && !self.touched.covers(actor, rev) {
            row.resync = Some(row.resync.unwrap_or(0).max(row.rev));
            self.put_repo(tx, actor, &row);
            return Ok(());
        }
        if row.whole.is_none() {
            self.log.fetched_first();
        }
        let newer = match self.touched.has_any(actor) {
            false => Vec::new(),
            true => {
                let mut ids = Vec::with_capacity(ops.len());
                for op in ops {
                    ids.push((tx.intern_coll(&op.collection)?, tx.intern_rkey(&op.rkey)?));
                }
                self.touched.newer(actor, &ids, rev)
            }
        };
        for (n, op) in ops.iter().enumerate() {
            if !newer.get(n).copied().unwrap_or(false)
                && !self.op(tx, actor, op, time, Before::absent_if(op.created))?
            {
                self.touched.lacks(actor);
            }
        }
        Ok(())
    }

    /// Everything of `rev` is in. If that was not enough the mark stays, and who fetched it does so again.
    pub(super) fn fetched(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
    ) -> Result<(), StoreError> {
        let lacks = self.touched.end(actor);
        let Some(mut row) = tx.repo(actor)? else { return Ok(()) };
        row.resync = row.resync.filter(|at_least| rev < *at_least);
        if row.whole.is_none() {
            self.log.repo(tx, actor);
        }
        // A scope leaves some records of other accounts out.
        if row.resync.is_none() && self.scope.is_whole(actor) {
            match lacks {
                true => row.resync = Some(rev),
                false => row.whole = Some(rev),
            }
        }
        let enough = row.resync.is_none();
        self.put_repo(tx, actor, &row);
        EVENTS.inc("fetched");
        if enough { super::gates::settle_doubts(self, tx, actor) } else { Ok(()) }
    }
}
