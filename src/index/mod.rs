//! From events to rows: the only place where the store's contents change because of the network.
//!
//! Every rule reads through [`crate::store::Reader`] and writes to the writer's [`Tx`]; it opens no socket and keeps
//! no clock (the event carries its time). One file for each family of records.
//!
//! # Invariants
//! - Order of arrival does not matter: a like may come before its post, a reply before its parent, an item
//!   before its list. What a late record changes about earlier ones is repaired when it comes.
//! - A commit applies only if its rev is newer than what is held and it follows on it; a gap marks the repo for
//!   a resync (see `resync`); commits of a marked repo go on being applied, so nothing is buffered and nothing
//!   waits for a host that may never answer.
//! - An event applies whole or not at all; one that fails is counted and dropped.
//!
//! # Where a like goes
//!
//! From the socket to `likeCount`, in order; other records go the same way up to `insert`.
//!
//! | file | function | what it does |
//! |---|---|---|
//! | `ingest/upstream` | `Reader::connection`, `deal` | takes room in the byte budget, reads a frame, gives it a slot and its DID's lane |
//! | `ingest/lanes` | `Lane::settle`, `signed` | finds the key of the DID, or parks the frame until it is there |
//! | `ingest/verify` | `Verifier::check` | CAR, CIDs, signature and tree (`repo::verify`), then the lexicon: `valid`; makes [`Body::Commit`] |
//! | `ingest/sequencer` | `run`, `deliver` | hands over what is settled in the order of arrival, with the cursor |
//! | `runtime/sink` | `ToWriter::apply` | one job of the writer: events and cursor |
//! | `store/writer` | `Loop::batch` | many jobs into one [`Tx`], on the one thread that writes |
//! | `index` | [`Index::apply`], `apply_one`, `commit` | is it newer than the repo row, does it follow on it; then each [`Op`] |
//! | `index/scope` | `admits` | `admitted`: whether the scope stores a record that comes |
//! | `index/records` | `op`, `replace` | path into numbers; `created` (the commit says so) and `Before` (what is known) spare looking whether it is held |
//! | `index/records` | `insert`, `insert_edge` | by collection; row in `edge_fwd`, the CID of the subject shared by `agree` |
//! | `index/reverse_edges` | `link` | who likes it, in `edge_rev`; only the first of an account counts: `Counter::Likes` in `agg` |
//! | `index/notify` | `edge` | a notification, if the author is a member; `push::notified` puts it in the outbox |
//! | `store` | `commit` | the batch, atomic, with the cursor; then caches forget what it changed |
//! | `hydrate/post` | `post_agg` | reads the row of `agg`, one for all counts of a post ([`Counter`](crate::schema::rows::Counter) names one) |
//! | `view/post` | `post_view` | `likeCount` |
//!
//! A delete goes through `delete` and `delete_edge` instead, which take away what the two inserts wrote. `check` holds both to
//! each other, and `records_tests` all three.

mod account;
mod on_read_cache;
pub mod check;
mod community;
mod context;
mod days;
mod effects;
mod reverse_edges;
mod on_read;
mod gates;
pub mod repo_contents;
mod labels;
mod log;
mod relevance;
pub mod members;
mod names;
mod notify;
mod posts;
mod push;
mod records;
mod resync;
mod rights;
mod subject_cids;
mod subscribed;
pub mod retention;
pub mod kept;
pub mod scope;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock};

use records::Before;
use subject_cids::SubjectCids;

use crate::changes::Log;
use crate::config::memory::Share;
use crate::event::{Body, Commit, Event, Op};
use crate::repo::mst;
use crate::schema::rows::RepoRow;
use crate::schema::{ActorId, Edit, Rows};
use crate::store::{Store, StoreError, Tx};
use crate::syntax::cid;
use crate::telemetry::counters::Counters;
use crate::work::handles;
use crate::work::recheck::Questions;

pub use account::purge_step;
pub use context::{context_to_fetch, follows_to_fetch};
pub use labels::apply_labels;
pub use members::{Door, Members};
pub use on_read_cache::evict;
pub use rights::Removed;

/// What became of events.
static EVENTS: Counters = Counters::new("index.events");
/// What was dropped here, by cause; `opted-out` is no fault.
static DROPPED: Counters = Counters::new("index.dropped");

/// SHA-256 of an MST root that nobody told us: an unverified upstream.
const UNKNOWN_DATA: [u8; 32] = [0; 32];
/// SHA-256 of the MST root without keys.
static EMPTY_DATA: LazyLock<Option<[u8; 32]>> = LazyLock::new(|| cid::digest(&mst::empty_root()));

/// The rules and what they remember between events.
pub struct Index {
    members: Members,
    subject_cids: Arc<SubjectCids>,
    touched: resync::TouchedRepos,
    untold: resync::Untold,
    resync: flume::Sender<ActorId>,
    purge: flume::Sender<ActorId>,
    purging: Arc<AtomicUsize>,
    push: push::PushRules,
    scope: scope::Scope,
    left_out: rights::LeftOut,
    on_read: on_read_cache::CachedAccounts,
    log: log::ToLog,
    questions: Arc<Questions>,
    unseen: account::Unseen,
    days: days::Days,
}

/// Where the index says what has to be done outside of it. All of it is durable in the store too.
pub struct Requests {
    /// Repos to fetch again.
    pub resync: flume::Receiver<ActorId>,
    /// Accounts whose records have to go.
    pub purge: flume::Receiver<ActorId>,
    /// There are new jobs in the outbox of notifications to push.
    pub push: flume::Receiver<()>,
    /// What has to be asked about accounts.
    pub questions: Arc<Questions>,
}

impl Index {
    /// An index over `store`.
    pub fn new(store: &Store) -> Result<(Self, Requests), StoreError> {
        let (resync, resync_requests) = flume::unbounded();
        let (purge, purge_requests) = flume::unbounded();
        let (nudge, push_requests) = flume::bounded(1);
        let members = Members::load(&store.snapshot())?;
        let index = Self {
            members,
            subject_cids: Arc::new(SubjectCids::new(store.share(Share::Subjects))),
            touched: resync::TouchedRepos::default(),
            untold: resync::Untold::default(),
            resync,
            purge,
            purging: Arc::default(),
            push: push::PushRules::new(nudge),
            scope: scope::Scope::default(),
            left_out: rights::LeftOut::load(&store.snapshot())?,
            on_read: on_read_cache::CachedAccounts::load(&store.snapshot())?,
            log: log::ToLog::new(Log::of(store)?),
            questions: {
                let questions = Questions::default();
                questions.claims.found(handles::count(&store.snapshot())?);
                Arc::new(questions)
            },
            unseen: account::Unseen::default(),
            days: days::Days::load(&store.snapshot())?,
        };
        let requests = Requests {
            resync: resync_requests,
            purge: purge_requests,
            push: push_requests,
            questions: Arc::clone(&index.questions),
        };
        Ok((index, requests))
    }

    /// How many requests of [`Requests::purge`] are not worked off, counted from the commit that makes one on: who sees
    /// that commit sees it. Whoever works them off takes away from it.
    #[must_use]
    pub fn purging(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.purging)
    }

    /// Accounts that notifications are kept for.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Applies events in order. An event that breaks a rule of ours is taken back, counted and passed over; an
    /// error is the store's and final. If the change fails after this, they are taken back with it.
    pub fn apply(&self, tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
        self.forget_if_taken_back(tx);
        self.apply_each(tx, events, |tx| tx.mark())
    }

    /// The same, but each event stands for itself: it stays if the change fails later. For streams, which send again
    /// what their cursor does not cover, and where what would undo a whole batch costs more than it is good for.
    pub fn apply_to_keep(&self, tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
        self.apply_each(tx, events, |tx| tx.keep())
    }

    fn apply_each(
        &self,
        tx: &mut Tx<'_>,
        events: &[Event],
        begin: impl Fn(&mut Tx<'_>),
    ) -> Result<(), StoreError> {
        for event in events {
            self.days.begin(tx, event.received)?;
            begin(tx);
            self.log.begins(event);
            let applied = catch_unwind(AssertUnwindSafe(|| self.apply_one(tx, event)));
            self.log.ends();
            match applied {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.is_fatal() => return Err(error),
                Ok(Err(error)) => {
                    self.take_back(tx);
                    self.part_is_lost(tx, event);
                    DROPPED.inc(error.cause());
                    tracing::error!(did = %event.did, %error, "event dropped: it cannot be applied");
                }
                Err(_) => {
                    self.take_back(tx);
                    self.part_is_lost(tx, event);
                    DROPPED.inc("index-panic");
                    tracing::error!(did = %event.did, "event dropped: applying it panicked");
                }
            }
        }
        Ok(())
    }

    /// What an event that was dropped brought of a fetched repo is missing at the end of the fetch, so the repo is not whole.
    fn part_is_lost(&self, tx: &Tx<'_>, event: &Event) {
        if matches!(event.body, Body::Part { .. })
            && let Ok(Some(actor)) = tx.actor_id(&event.did)
        {
            self.touched.lacks(actor);
        }
    }

    /// The same, but with `unseen` only if nothing is known of their accounts; says whether they were applied.
    pub fn apply_new(
        &self,
        tx: &mut Tx<'_>,
        events: &[Event],
        unseen: bool,
    ) -> Result<bool, StoreError> {
        if unseen && self.knows_any(tx, events)? {
            return Ok(false);
        }
        self.apply(tx, events).map(|()| true)
    }

    /// Whether anything is known of one of the accounts of `events` beyond its DID. Whose records are held is known.
    fn knows_any(&self, tx: &Tx<'_>, events: &[Event]) -> Result<bool, StoreError> {
        for event in events {
            if let Some(actor) = tx.actor_id(&event.did)?
                && (tx.actor(actor)?.is_some() || tx.repo(actor)?.is_some())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a part of a change, or none of it: one that fails is counted, named and passed over, so that it does not take
    /// the other parts with it.
    fn alone<T>(
        &self,
        tx: &mut Tx<'_>,
        what: impl std::fmt::Display,
        part: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let done = alone(tx, what, part)?;
        if done.is_none() {
            self.subject_cids.clear();
        }
        Ok(done)
    }

    /// What is remembered beside the rows is forgotten if the whole change is taken back.
    fn forget_if_taken_back(&self, tx: &mut Tx<'_>) {
        let cids = Arc::clone(&self.subject_cids);
        tx.if_taken_back(move || cids.clear());
    }

    fn take_back(&self, tx: &mut Tx<'_>) {
        tx.rollback();
        self.subject_cids.clear();
    }

    fn apply_one(&self, tx: &mut Tx<'_>, event: &Event) -> Result<(), StoreError> {
        let actor = match &event.body {
            // What is said of an account that nothing is held of leaves nothing, or names would be enough to fill a disk.
            Body::Claimed(..) | Body::IdentityDue { .. } | Body::IdentityClaimed => {
                match self.held(tx, &event.did)? {
                    Some(actor) => actor,
                    None => {
                        self.unheard(event);
                        return Ok(());
                    }
                }
            }
            _ => tx.intern_actor(&event.did)?,
        };
        self.push.event_at(event.received);
        if self.left_out.contains(actor) {
            return self.pass_over(tx, actor, event);
        }
        match &event.body {
            Body::Commit(commit) => self.commit(tx, actor, commit, event),
            Body::Sync { rev, data } => self.sync(tx, actor, rev.as_u64(), *data, event.time),
            Body::Account(status) => self.account(tx, actor, *status, event.time),
            Body::Claimed(status, belief) => self.claimed(tx, actor, *status, *belief, event),
            Body::IdentityDue { since } => self.identity_due(tx, actor, *since, event),
            Body::IdentityClaimed => self.identity_claimed(tx, actor, event),
            Body::Identity(state) => self.identity(tx, actor, state, event.time),
            Body::Keyed(state) => self.keyed(tx, actor, state, event.time),
            Body::Handle(answer) => self.handle(tx, actor, answer, event.time),
            Body::NoDocument { tombstoned } => self.no_document(tx, actor, *tombstoned, event.time),
            Body::Introduced(state) => self.introduced(tx, actor, state, event.time),
            Body::Found { rev, ops } => self.found(tx, actor, rev.as_u64(), ops, event.time),
            Body::Wanted => self.wanted(tx, actor),
            Body::GivenUp => self.given_up(tx, actor),
            Body::Fetching { rev, data } => {
                self.fetching(tx, actor, rev.as_u64(), *data, event.time)
            }
            Body::Part { rev, ops } => self.part(tx, actor, rev.as_u64(), ops, event.time),
            Body::Fetched { rev } => self.fetched(tx, actor, rev.as_u64()),
        }?;
        self.tell_of_account(tx, actor, event)
    }

    fn commit(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        commit: &Commit,
        event: &Event,
    ) -> Result<(), StoreError> {
        let time = event.time;
        let rev = commit.rev.as_u64();
        let mut row = match tx.repo(actor)? {
            None => {
                self.seen(tx, actor, time)?;
                self.lives(tx, actor)?;
                begins(rev, [commit.prev_data, commit.data])
            }
            // An unverified upstream tells each op of a commit apart, all under one rev.
            Some(row) if rev < row.rev || (rev == row.rev && commit.data.is_some()) => {
                EVENTS.inc("replayed");
                return Ok(());
            }
            Some(row) => {
                if row.rev == 0 {
                    self.seen(tx, actor, time)?;
                }
                row
            }
        };
        let gap = row.data != UNKNOWN_DATA && commit.prev_data.is_some_and(|prev| prev != row.data);
        if gap && commit.prev_data == Some(Commit::UNTOLD) {
            EVENTS.inc("untold");
            self.mark_untold(tx, actor, &mut row, rev, event.received)?;
        } else if gap {
            EVENTS.inc("gap");
            self.mark(tx, actor, &mut row, rev)?;
        }
        if row.resync.is_some() {
            self.touched.record(tx, actor, rev, &commit.ops)?;
        }
        // What is held is of the tree before this commit, so what the commit creates is not held.
        let follows_on =
            row.resync.is_none() && row.data != UNKNOWN_DATA && commit.prev_data == Some(row.data);
        // Where no tree is told, it is the keys that are newer than all that was applied.
        let held_up_to = Some(row.rev).filter(|rev| *rev > 0 && row.resync.is_none());
        let held_up_to = held_up_to.filter(|_| commit.prev_data.is_none());
        let before = |op: &Op| match held_up_to {
            _ if !op.created => Before::Unknown,
            _ if follows_on => Before::Absent,
            Some(rev) => Before::UpTo(rev),
            None => Before::Unknown,
        };
        for op in &commit.ops {
            if !self.op(tx, actor, op, time, before(op))? {
                row.whole = None;
                self.touched.lacks(actor);
            }
        }
        row.rev = rev;
        row.data = commit.data.unwrap_or(UNKNOWN_DATA);
        self.put_repo(tx, actor, &row);
        EVENTS.inc("applied");
        Ok(())
    }

    fn sync(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rev: u64,
        data: [u8; 32],
        time: i64,
    ) -> Result<(), StoreError> {
        let mut row = match tx.repo(actor)? {
            None => {
                self.seen(tx, actor, time)?;
                begins(rev, [None, Some(data)])
            }
            // Where no tree is told, the claim may be about another op of the commit that is held.
            Some(row) if rev < row.rev || (rev == row.rev && data != Commit::UNTOLD) => {
                return Ok(());
            }
            Some(row) => row,
        };
        let empty = row.rev == 0 && row.whole.is_some();
        if (row.data != data || data == Commit::UNTOLD) && !empty {
            EVENTS.inc("sync");
            self.mark(tx, actor, &mut row, rev)?;
        }
        row.rev = rev;
        row.data = data;
        self.put_repo(tx, actor, &row);
        Ok(())
    }

    fn put_repo(&self, tx: &mut Tx<'_>, actor: ActorId, row: &RepoRow) {
        tx.put(crate::store::Ks::Actor, &crate::schema::rows::repo_key(actor), &row.encode());
    }
}

/// Makes a part of a change that touches rows only, or none of it: one that fails is counted, named and passed over.
fn alone<T>(
    tx: &mut Tx<'_>,
    what: impl std::fmt::Display,
    part: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    tx.mark();
    match part(tx) {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => {
            tx.rollback();
            DROPPED.inc(error.cause());
            tracing::error!(%what, %error, "passed over: it cannot be changed");
            Ok(None)
        }
    }
}

/// The row of a repo that was not known: all of it is here if it was empty before or is now.
fn begins(rev: u64, trees: [Option<[u8; 32]>; 2]) -> RepoRow {
    let empty = trees.into_iter().flatten().any(|tree| Some(tree) == *EMPTY_DATA);
    RepoRow { rev: 0, data: UNKNOWN_DATA, resync: None, whole: empty.then_some(rev) }
}

#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod failed_tests;
#[cfg(test)]
mod notify_tests;
#[cfg(test)]
mod on_read_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod push_tests;
#[cfg(test)]
mod records_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod saved_tests;
#[cfg(test)]
mod scope_tests;
#[cfg(test)]
mod vacated_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
