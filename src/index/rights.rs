//! People's rights: accounts of which nothing is collected because they said so, and the removal of what is held.
//!
//! | | `opt_out` | `erase` | `remove_repo` |
//! |---|---|---|---|
//! | records, their edges and counts, community posts, handle, key, host | go | go | go |
//! | mutes, bookmarks, drafts, preferences, devices, notifications, membership | stay | go | stay |
//! | afterwards | nothing of it comes in, by whatever way | as an account that was never seen | the same |
//!
//! What an account opted out of is being shown to others here. What it set for itself nobody else ever saw, so it stays
//! and goes on working until the account wants it deleted. What others wrote about it is theirs. `erase` may be combined
//! with `opt_out`; alone it forgets, and what the account does next is collected like anybody's. `remove_repo` is no right
//! but the operator's wish to have a repo here no more, and not for those of whom the scope keeps everything.
//!
//! From the first moment the account is gone for readers (see [`AccountStatus::is_gone`]), while its rows go in the steps
//! of [`super::purge_step`].
//!
//! # Invariants
//! - Of an account in [`LeftOut`] no event changes anything but its deletion by its host, which takes away the rest.
//!   That set is the opt-outs of the store and the accounts being erased; the writer alone changes it.
//! - An opt-out outlives everything else of the account. Only opting in ends it, not while something is being deleted:
//!   half of an old repo must not show again.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::account::row_of;
use super::{DROPPED, EVENTS, Index};
use crate::event::{Body, Event, HostingStatus};
use crate::private::{self, Afterwards, Change, Kind, Private, Time};
use crate::schema::rows::{AccountStatus, ActorRow, actor_key, identity_key};
use crate::schema::{ActorId, Rows};
use crate::store::{Ks, Snapshot, StoreError, Tx};
use crate::work::purge::{self, Purge};
use crate::work::recheck::{self, Due, Question, Said};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

/// Accounts of which nothing comes in, in memory: every event asks.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Arc<parking_lot::RwLock<FxHashSet<ActorId>>>);

impl LeftOut {
    pub(super) fn load(s: &Snapshot) -> Result<Self, StoreError> {
        let opted_out = private::opt_outs(s)?.into_iter().map(|(actor, _)| actor);
        let purges = purge::purges(s)?.into_iter();
        let erased = purges.filter(|(_, purge)| purge.forgets());
        let all = opted_out.chain(erased.map(|(actor, _)| actor)).collect();
        Ok(Self(Arc::new(parking_lot::RwLock::new(all))))
    }

    pub(super) fn contains(&self, actor: ActorId) -> bool {
        self.0.read().contains(&actor)
    }

    /// Leaves the account out as of this change.
    fn insert(&self, tx: &mut Tx<'_>, actor: ActorId) {
        if self.0.write().insert(actor) {
            let set = Arc::clone(&self.0);
            tx.if_taken_back(move || {
                set.write().remove(&actor);
            });
        }
    }

    /// Leaves it out no more.
    fn remove(&self, tx: &mut Tx<'_>, actor: ActorId) {
        if self.0.write().remove(&actor) {
            let set = Arc::clone(&self.0);
            tx.if_taken_back(move || {
                set.write().insert(actor);
            });
        }
    }
}

/// What became of a repo that an operator does not want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// It had a job, which is gone.
    pub queued: bool,
    /// What is held of it is being deleted.
    pub deleting: bool,
    /// Nothing was done, since the scope keeps all of it.
    pub kept: bool,
}

impl Index {
    /// The row of an opt-out came: nothing of the account is collected any more, and what was goes.
    pub(super) fn collect_no_more(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
    ) -> Result<(), StoreError> {
        let everything = purge::purge(tx, actor)?.is_some_and(Purge::takes_settings);
        self.leave_out(tx, actor, AccountStatus::OptedOut, at)?;
        self.purge(tx, actor, if everything { Purge::Everything } else { Purge::Collected });
        EVENTS.inc("opt-out");
        Ok(())
    }

    /// The row of an opt-out went: the account is collected again, from the repo that its host has.
    pub(super) fn collect_again(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
    ) -> Result<(), StoreError> {
        self.forgotten(tx, actor);
        let member = private::get(tx, Kind::Member, actor, None)?.is_some();
        let priority = if member { Priority::Member } else { Priority::Asked };
        jobs::add(tx, actor, &JobRow::new(priority, at))?;
        self.announce(tx, actor);
        EVENTS.inc("opt-in");
        Ok(())
    }

    /// Everything that is held of the account goes. What it does afterwards is collected, unless it opted out.
    pub(super) fn erase(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
        then: Afterwards,
    ) -> Result<(), StoreError> {
        let status = match then {
            Afterwards::OptedOut => AccountStatus::OptedOut,
            Afterwards::Collected => AccountStatus::Deleted,
        };
        self.leave_out(tx, actor, status, at)?;
        self.purge(tx, actor, Purge::Everything);
        EVENTS.inc("erase");
        Ok(())
    }

    /// What was collected of the account goes, to begin anew if something asks for it.
    pub(super) fn begin_anew(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
    ) -> Result<(), StoreError> {
        jobs::remove(tx, actor)?;
        self.leave_out(tx, actor, AccountStatus::Deleted, at)?;
        self.purge(tx, actor, Purge::Records);
        Ok(())
    }

    /// The repo is fetched no more unless something asks anew; with `delete` what is held of it goes.
    pub fn remove_repo(
        &self,
        private: &Private,
        tx: &mut Tx<'_>,
        actor: ActorId,
        delete: bool,
        now: i64,
    ) -> Result<Removed, StoreError> {
        let keeps = self.members.contains(actor) || self.scope.keeps(actor);
        if delete && keeps {
            return Ok(Removed { kept: true, ..Removed::default() });
        }
        let queued = jobs::remove(tx, actor)?.is_some();
        if tx.repo(actor)?.is_some_and(|row| row.resync.is_some() && row.whole.is_none()) {
            // Parts of it may be in, and nobody goes on.
            self.log.repo(tx, actor);
        }
        let deleting = delete && !tx.actor(actor)?.is_some_and(|row| row.status.is_gone());
        if deleting {
            let did = tx.did(actor)?.to_string();
            let remove = Change::RemoveRepo { did, at: Time(now) };
            private.within(tx, |_| Ok((vec![remove], ())))?;
        }
        EVENTS.inc("remove");
        Ok(Removed { queued, deleting, kept: false })
    }

    /// The last row of an account that is erased went.
    pub(super) fn erased(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        if private::opted_out(tx, actor)?.is_none() {
            self.forgotten(tx, actor);
        }
        Ok(())
    }

    /// An event of an account that is left out.
    pub(super) fn pass_over(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        event: &Event,
    ) -> Result<(), StoreError> {
        match event.body {
            Body::Account(HostingStatus::Deleted) => self.purge(tx, actor, Purge::Everything),
            // If that is so, nothing is kept of it.
            Body::Claimed(HostingStatus::Deleted, _) => {
                let due = Due::Status(Said::Deleted);
                let Event { upstream, line, .. } = *event;
                let question = Question { did: event.did.clone(), due, upstream, line };
                self.questions.raise_after(tx, question);
            }
            Body::Handle(ref answer) => {
                self.settle_claim(tx, actor, answer, event.time)?;
            }
            // A fetch that was under way; what it brings is left out.
            Body::Wanted | Body::Fetching { .. } | Body::Fetched { .. } | Body::GivenUp => {}
            _ => DROPPED.inc("opted-out"),
        }
        Ok(())
    }

    /// As if the account did not exist, to readers at once.
    fn leave_out(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        status: AccountStatus,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut row = row_of(tx, actor, now)?;
        self.uncollect(tx, actor, &mut row)?;
        let row = ActorRow { status, handle: None, handle_checked: now, ..row };
        tx.put(Ks::Actor, &actor_key(actor), &row.encode());
        tx.del(Ks::Actor, &identity_key(actor));
        recheck::remove_identity_due(tx, actor);
        recheck::remove_status_due(tx, actor);
        self.touched.end(actor);
        self.left_out.insert(tx, actor);
        self.log.account(tx, actor, status);
        tx.touch(actor);
        Ok(())
    }

    /// As if the account had never been seen.
    fn forgotten(&self, tx: &mut Tx<'_>, actor: ActorId) {
        tx.del(Ks::Actor, &actor_key(actor));
        self.left_out.remove(tx, actor);
        self.log.account(tx, actor, AccountStatus::default());
        tx.touch(actor);
    }
}
