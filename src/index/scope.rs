//! What of the network is stored: all of it, a window of time, or what touches members and those they follow.
//!
//! Everything of *kept* accounts (see [`super::kept`]) is stored in every scope. Of the others a record is stored by the
//! rule of its collection in `RULES`, the one table of this: `circle` asks the rule of every record, `window` only of
//! those that are older than its days, as a backfill brings them. Retention (see [`super::retention`]) takes away by the same rules what grew old since.
//!
//! The repo row of an account advances with every commit, stored or not, so its chain holds; but a repo of which a
//! record was left out does not count as complete, so it is fetched again once somebody follows the account, also when
//! that happens while it is being fetched (see `resync`). Counters consist of what is stored.

use std::sync::Arc;

use super::kept::{Kept, NO_LIMIT};
use super::names::Known;
use super::{Index, posts, records, relevance};
use crate::config;
pub use crate::config::ScopeMode as Mode;
use crate::event::{Op, Record};
use crate::repo::fields;
use crate::schema::{ActorId, CollId, Key, PostId, Rows, collections as c};
use crate::store::{Ks, Reader, Store, StoreError, Tx};
use crate::telemetry::counters::Counters;
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

/// What was left out, by rule.
static LEFT_OUT: Counters = Counters::new("scope.left-out");

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// When a record of an account that is not kept is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Always: lists and what belongs to them decide what is hidden, and a member may subscribe to one at any time; the
    /// rest is small.
    Always,
    /// A post that touches a kept account, or that something refers to which does (see [`relevance`]).
    Post,
    /// A like or repost of a record that is held or of a kept account.
    Subject,
    /// A follow of a kept account.
    Follow,
    /// A block of a kept account; in a window every block, since they have no age.
    Block,
    /// A gate whose post is held or would be.
    Gate,
    /// Of an account that has a post here; in a window always.
    Profile,
    /// Never; in a window always.
    Other,
}

/// The rule of each collection; those that are not named have [`Rule::Other`].
const RULES: &[(CollId, Rule)] = &[
    (c::POST, Rule::Post),
    (c::LIKE, Rule::Subject),
    (c::REPOST, Rule::Subject),
    (c::FOLLOW, Rule::Follow),
    (c::BLOCK, Rule::Block),
    (c::THREADGATE, Rule::Gate),
    (c::POSTGATE, Rule::Gate),
    (c::LIST, Rule::Always),
    (c::LISTITEM, Rule::Always),
    (c::LISTBLOCK, Rule::Always),
    (c::GENERATOR, Rule::Always),
    (c::STARTERPACK, Rule::Always),
    (c::LABELER, Rule::Always),
    (c::VERIFICATION, Rule::Always),
    (c::CONTENT_VISIBILITY, Rule::Always),
    (c::LIST_OPT_OUT, Rule::Always),
    (c::COMMUNITY_POST, Rule::Always),
    (c::COMMUNITY_THREADGATE, Rule::Always),
    (c::COMMUNITY_POSTGATE, Rule::Always),
    (c::COMMUNITY_LIKE, Rule::Always),
    (c::COMMUNITY_REPOST, Rule::Always),
    (c::PROFILE, Rule::Profile),
    (c::STATUS, Rule::Profile),
    (c::CHAT_DECLARATION, Rule::Profile),
    (c::NOTIFICATION_DECLARATION, Rule::Profile),
    (c::GERM_DECLARATION, Rule::Profile),
];

impl Rule {
    pub(super) fn of(coll: CollId) -> Self {
        RULES.iter().find(|(k, _)| *k == coll).map_or(Self::Other, |(_, rule)| *rule)
    }

    /// Whether what falls under it has an age in a window.
    pub(super) fn ages(self) -> bool {
        matches!(self, Self::Post | Self::Subject | Self::Follow | Self::Gate)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Post => "post",
            Self::Subject => "like-or-repost",
            Self::Follow => "follow",
            Self::Block => "block",
            Self::Gate => "gate",
            Self::Profile => "profile",
            Self::Other => "other",
        }
    }
}

/// The scope in force.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) mode: Mode,
    window: i64,
    kept: Arc<Kept>,
}

impl Default for Scope {
    /// Everything of everybody.
    fn default() -> Self {
        Self { mode: Mode::Whole, window: 0, kept: Arc::new(Kept::new(NO_LIMIT)) }
    }
}

impl Scope {
    pub(super) fn leave(&self, tx: &Tx<'_>, member: ActorId) -> Result<(), StoreError> {
        if self.mode == Mode::Whole { Ok(()) } else { self.kept.leave(tx, member) }
    }

    /// Whether it keeps the account in particular.
    pub(super) fn keeps(&self, actor: ActorId) -> bool {
        self.mode != Mode::Whole && self.kept.contains(actor)
    }

    /// Whether every record of the account is stored.
    pub(super) fn is_whole(&self, actor: ActorId) -> bool {
        self.mode == Mode::Whole || self.kept.contains(actor)
    }
}

impl Index {
    /// Stores by this scope from now on.
    pub fn scoped(mut self, store: &Store, scope: &config::Scope) -> Result<Self, StoreError> {
        let (mode, of_each) = (scope.mode, scope.max_follows as usize);
        let kept = match mode {
            Mode::Whole => Kept::new(of_each),
            Mode::Window | Mode::Circle => Kept::load(&store.snapshot(), of_each)?,
        };
        self.scope = Scope { mode, window: i64::from(scope.days) * DAY_MS, kept: Arc::new(kept) };
        Ok(self)
    }

    /// The scope, and the kept accounts where it has some.
    #[must_use]
    pub fn scope(&self) -> (Mode, &Arc<Kept>) {
        (self.scope.mode, &self.scope.kept)
    }

    /// An account became a member: it and whom it follows are kept. What is missing of these is fetched after its own
    /// repo.
    pub(super) fn keep_member(&self, tx: &Tx<'_>, member: ActorId) -> Result<(), StoreError> {
        if self.scope.mode != Mode::Whole {
            self.scope.kept.join(tx, member)?;
        }
        Ok(())
    }

    /// A follow came; an account that nobody here followed before is fetched.
    pub(super) fn keep_followed(
        &self,
        tx: &mut Tx<'_>,
        who: ActorId,
        whom: ActorId,
    ) -> Result<(), StoreError> {
        if self.scope.mode == Mode::Whole || !self.scope.kept.follow(tx, who, whom)? {
            return Ok(());
        }
        if !tx.repo(whom)?.is_some_and(|row| row.is_complete()) {
            jobs::add(tx, whom, &JobRow::new(Priority::Follow, 0))?;
            self.announce(tx, whom);
        }
        Ok(())
    }

    pub(super) fn unkeep_followed(&self, tx: &mut Tx<'_>, who: ActorId, whom: ActorId) {
        if self.scope.mode != Mode::Whole {
            self.scope.kept.unfollow(tx, who, whom);
        }
    }

    /// Whether a record that came is to be stored.
    pub(super) fn admits(
        &self,
        tx: &Tx<'_>,
        actor: ActorId,
        op: &Op,
        time: i64,
    ) -> Result<bool, StoreError> {
        let Some(record) = &op.record else { return Ok(true) };
        if self.scope.is_whole(actor) {
            return Ok(true);
        }
        let coll = c::fixed(&op.collection);
        let rule = coll.map_or(Rule::Other, Rule::of);
        if rule == Rule::Always
            || self.scope.mode == Mode::Window && !self.old(rule, op, record, time)
        {
            return Ok(true);
        }
        let stored = self.follows_rule(tx, actor, rule, op, record)?;
        if !stored {
            LEFT_OUT.inc(rule.name());
        }
        Ok(stored)
    }

    /// Whether it is outside of the window. A record key in the future tells nothing, nor does one that is no time.
    fn old(&self, rule: Rule, op: &Op, record: &Record, time: i64) -> bool {
        if !rule.ages() {
            return false;
        }
        let key = crate::syntax::Tid::parse(&op.rkey);
        let made = key.map(|tid| i64::try_from(tid.micros() / 1000).unwrap_or(i64::MAX));
        let made = made.filter(|at| *at < time.saturating_add(DAY_MS));
        let made = made.unwrap_or_else(|| fields::created_ms(&record.value));
        made < time.saturating_sub(self.scope.window)
    }

    fn follows_rule(
        &self,
        tx: &Tx<'_>,
        actor: ActorId,
        rule: Rule,
        op: &Op,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let kept = &self.scope.kept;
        match rule {
            Rule::Always => Ok(true),
            Rule::Other => Ok(false),
            Rule::Profile => holds_posts(tx, actor),
            Rule::Follow | Rule::Block => {
                let whom = records::text_target(&mut Known(tx), &record.value, "subject")?;
                Ok(whom.is_some_and(|t| kept.contains(t.actor())))
            }
            Rule::Subject => match fields::ref_uri(&record.value, "subject") {
                Some(uri) => match tx.target(uri)? {
                    Some(target) => relevance::subject_stays(tx, kept, target),
                    None => Ok(false),
                },
                None => Ok(false),
            },
            Rule::Post => {
                let refs = posts::refs(&mut Known(tx), &record.value)?;
                if relevance::touches(tx, kept, &refs)? {
                    return Ok(true);
                }
                match tx.rkey(&op.rkey)? {
                    Some(rkey) => relevance::referred(tx, kept, PostId { author: actor, rkey }),
                    None => Ok(false),
                }
            }
            Rule::Gate => match tx.rkey(&op.rkey)? {
                Some(rkey) => {
                    let post = PostId { author: actor, rkey };
                    Ok(tx.has(Ks::Post, &post.to_bytes())? || relevance::referred(tx, kept, post)?)
                }
                None => Ok(false),
            },
        }
    }
}

/// Whether there is a post of the account.
pub(super) fn holds_posts<R: Reader>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    let mut any = false;
    r.scan_prefix(Ks::Post, &Key::new().actor(actor), &mut |_, _| {
        any = true;
        false
    })?;
    Ok(any)
}
