//! What the index tells the log of changes: which change of a row is a change of a record or of an account, and why it
//! came about.
//!
//! The rules of the index say only what they do. Why is known where an event begins, and stays until it ends; outside of
//! an event something here does it. Without a follower nothing of this is done.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Index;
use crate::changes::{Change, Log, Mark, What};
use crate::event::{Belief, Body, Event};
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, RecordId, Rows, Target};
use crate::store::{StoreError, Tx};

/// The log, and the cause of what is being changed.
pub(super) struct ToLog {
    pub(super) log: Arc<Log>,
    cause: Mutex<Cause>,
}

/// Why something changes, and with which rev of the repo.
#[derive(Debug, Clone, Copy)]
struct Cause {
    mark: Mark,
    rev: u64,
    /// The repo comes for the first time: its records are told of by one row at the end.
    first_fetch: bool,
}

impl Cause {
    const LOCAL: Self = Self { mark: Mark::Local, rev: 0, first_fetch: false };

    fn of(event: &Event) -> Self {
        let (mark, rev) = match &event.body {
            Body::Commit(commit) => (Mark::Live, commit.rev.as_u64()),
            Body::Sync { rev, .. } => (Mark::Live, rev.as_u64()),
            Body::Fetching { rev, .. }
            | Body::Part { rev, .. }
            | Body::Fetched { rev }
            | Body::Found { rev, .. } => (Mark::History, rev.as_u64()),
            Body::Wanted | Body::GivenUp => (Mark::History, 0),
            // What nobody said was found out here.
            _ if event.upstream.is_some() => (Mark::Live, 0),
            _ => (Mark::History, 0),
        };
        Self { mark, rev, first_fetch: false }
    }
}

impl ToLog {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log, cause: Mutex::new(Cause::LOCAL) }
    }

    /// What changes from now on does so because of this event.
    pub(super) fn begins(&self, event: &Event) {
        if self.log.is_on() {
            *self.cause.lock() = Cause::of(event);
        }
    }

    /// What changes from now on is the doing of something here.
    pub(super) fn ends(&self) {
        if self.log.is_on() {
            *self.cause.lock() = Cause::LOCAL;
        }
    }

    /// The records that this event puts are of a repo that comes for the first time.
    pub(super) fn fetched_first(&self) {
        if self.log.is_on() {
            self.cause.lock().first_fetch = true;
        }
    }

    /// A record is held in a version that was not held before.
    pub(super) fn put(&self, tx: &mut Tx<'_>, id: RecordId, digest: [u8; 32], created: bool) {
        if !self.log.is_on() {
            return;
        }
        let Cause { mark, rev, first_fetch } = *self.cause.lock();
        if !first_fetch {
            let [a, b, c, d, ..] = digest;
            let (coll, rkey, cid) = (id.coll, id.rkey, [a, b, c, d]);
            let what = What::Put { coll, rkey, rev, cid, created };
            self.log.append(tx, Change { mark, actor: id.actor, what });
        }
    }

    /// A record is held no more.
    pub(super) fn delete(&self, tx: &mut Tx<'_>, id: RecordId, target: Option<Target>) {
        if self.log.is_on() {
            let Cause { mark, rev, .. } = *self.cause.lock();
            let what = What::Delete { coll: id.coll, rkey: id.rkey, rev, target };
            self.log.append(tx, Change { mark, actor: id.actor, what });
        }
    }

    /// The records of a repo came without being told of one by one.
    pub(super) fn repo(&self, tx: &mut Tx<'_>, actor: ActorId) {
        self.tell(tx, actor, What::Repo);
    }

    /// Something here made this the state of the account.
    pub(super) fn account(&self, tx: &mut Tx<'_>, actor: ActorId, status: AccountStatus) {
        self.tell(tx, actor, What::Account { status, upstream: None });
    }

    /// A label came, or was taken back.
    pub(super) fn label(&self, tx: &mut Tx<'_>, target: Target, src: ActorId) {
        self.tell(tx, target.actor(), What::Label { target, src });
    }

    fn tell(&self, tx: &mut Tx<'_>, actor: ActorId, what: What) {
        if self.log.is_on() {
            let mark = self.cause.lock().mark;
            self.log.append(tx, Change { mark, actor, what });
        }
    }
}

impl Index {
    /// Tells this log what changes.
    #[must_use]
    pub fn logging(mut self, log: Arc<Log>) -> Self {
        self.log = ToLog::new(log);
        self
    }

    /// The log that is told.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log.log
    }

    fn is_looked_at(&self, tx: &Tx<'_>, actor: ActorId, time: i64) -> Result<bool, StoreError> {
        Ok(tx.actor(actor)?.is_some_and(|row| row.handle_checked == time))
    }

    /// An event about the account as such was applied.
    pub(super) fn tell_of_account(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        event: &Event,
    ) -> Result<(), StoreError> {
        if !self.log.log.is_on() {
            return Ok(());
        }
        let upstream = event.upstream;
        if matches!(event.body, Body::Claimed(_, Belief::OnceConfirmed) | Body::IdentityClaimed) {
            // It changed nothing yet.
            return Ok(());
        }
        let what = match &event.body {
            Body::Account(_) | Body::Claimed(..) => {
                let status = tx.actor(actor)?.map_or(AccountStatus::Active, |row| row.status);
                What::Account { status, upstream }
            }
            Body::IdentityDue { .. } => What::Identity { settled: false, upstream },
            // Otherwise its handle is still to be looked up.
            Body::Keyed(_) if !self.is_looked_at(tx, actor, event.time)? => return Ok(()),
            Body::Identity(_)
            | Body::Keyed(_)
            | Body::NoDocument { .. }
            | Body::Introduced(_)
            | Body::Handle(_) => What::Identity { settled: true, upstream },
            _ => return Ok(()),
        };
        self.log.tell(tx, actor, what);
        Ok(())
    }
}
