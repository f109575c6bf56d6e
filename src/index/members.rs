//! Members: accounts that called with a valid token, or whom the operator named, for whom notifications are kept.
//!
//! A notification of everybody's would double the size of a like. So rows are written for members only, and a new
//! member's are built from the index at the first call, by the same rules in `notify`.
//!
//! # Invariants
//! - A notification goes with its record, but for those of verifications. What is built from a snapshot is put without
//!   that of which a record went or changed meanwhile; that of its new version was written as it came.
//! - Nobody else has any, but for what a crash left of somebody who had not quite joined; that goes when they come again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::{Index, account, notify, posts};
use crate::private::{self, Private, community};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    EdgeKind, FanRow, FeedRow, NotifRow, Order, Reason, feed_prefix, order_prefix, rev_prefix,
    via_prefix,
};
use crate::schema::{
    ActorId, CollId, Edit, Key, PostId, RecordId, Rkey, Rows, Target, collections as c,
};
use crate::store::{Ks, Reader, Snapshot, Store, StoreError, Tx, Writer};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

/// The set of members, in memory.
#[derive(Debug, Default)]
pub struct Members {
    /// For whom rows are written.
    live: parking_lot::RwLock<FxHashSet<ActorId>>,
    /// For whom those from before they joined are there too.
    complete: parking_lot::RwLock<FxHashSet<ActorId>>,
    /// One account joins at a time, so that nobody reads what is half built.
    joining: tokio::sync::Mutex<()>,
    pub(super) lost: Lost,
}

/// Which records went or changed while an account joins.
#[derive(Debug, Default)]
pub(super) struct Lost {
    watched: AtomicBool,
    /// `None`: too many.
    records: Mutex<Option<HashSet<RecordId, RandomState>>>,
}

/// So many are told apart.
const MOST_LOST: usize = 100_000;

impl Lost {
    fn note(&self, id: RecordId) {
        if !self.watched.load(Ordering::Relaxed) {
            return;
        }
        let mut records = self.records.lock();
        if records.as_ref().is_some_and(|records| records.len() >= MOST_LOST) {
            *records = None;
        }
        if let Some(records) = records.as_mut() {
            records.insert(id);
        }
    }

    fn begin(&self) {
        *self.records.lock() = Some(HashSet::default());
    }

    /// Whether a notification tells of a record that is there no more, or not so.
    fn has(&self, tx: &Tx<'_>, row: &NotifRow) -> Result<bool, StoreError> {
        let id = row.record();
        if id.coll == c::VERIFICATION {
            return Ok(false);
        }
        match &*self.records.lock() {
            Some(records) => Ok(records.contains(&id)),
            None => Ok(!notify::is_there(tx, id)?),
        }
    }
}

/// Watches what is lost until it is dropped.
pub(super) struct Watch<'m>(&'m Lost);

impl<'m> Watch<'m> {
    pub(super) fn new(lost: &'m Lost) -> Self {
        lost.begin();
        lost.watched.store(true, Ordering::Relaxed);
        Self(lost)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Relaxed);
        self.0.begin();
    }
}

impl Members {
    pub(super) fn load(snapshot: &Snapshot) -> Result<Self, StoreError> {
        let all: FxHashSet<ActorId> = private::members(snapshot)?.into_iter().collect();
        Ok(Self {
            live: parking_lot::RwLock::new(all.clone()),
            complete: parking_lot::RwLock::new(all),
            joining: tokio::sync::Mutex::default(),
            lost: Lost::default(),
        })
    }

    /// Whether notifications of this account are kept.
    #[must_use]
    pub fn contains(&self, actor: ActorId) -> bool {
        self.live.read().contains(&actor)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.read().is_empty()
    }

    /// Whether an account is a member or may become one. One that was never seen has no number.
    #[must_use]
    pub fn lets_in(&self, actor: Option<ActorId>, door: Door) -> bool {
        match door {
            Door::Open => true,
            Door::Until(most) => {
                let live = self.live.read();
                live.len() < most || actor.is_some_and(|actor| live.contains(&actor))
            }
        }
    }

    /// The row of a member went.
    pub(super) fn forget(&self, actor: ActorId) {
        self.complete.write().remove(&actor);
        self.live.write().remove(&actor);
    }
}

/// Who may become a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Whom the operator names.
    Open,
    /// Whoever comes while there are less members than this.
    Until(usize),
}

/// Posts of a new member that are looked through for likes, reposts, replies and quotes.
const POSTS: usize = 5000;
/// Rows taken from one list.
const ROWS: usize = 10_000;
/// Behind so many notifications of a new member older posts are not looked at: others wait meanwhile.
const MOST: usize = 100_000;

impl Index {
    /// Counts these accounts among the members for all that comes, before a stream begins that may tell again what they
    /// wrote long ago: as strangers' records that would be taken away for its age. [`Self::ensure_member`] does the rest.
    pub async fn expect_members(
        self: &std::sync::Arc<Self>,
        writer: &Writer,
        dids: Vec<String>,
    ) -> Result<(), StoreError> {
        let index = std::sync::Arc::clone(self);
        let job = writer.durable(move |tx| {
            for did in &dids {
                let actor = tx.intern_actor(did)?;
                index.tell_from_now(tx, actor)?;
            }
            Ok(())
        });
        job.await
    }

    /// Makes an account a member and answers when its notifications are there; `false` if the door is closed to it. Cheap
    /// if it is one already. One that is deleted or being deleted becomes none.
    pub async fn ensure_member(
        self: &std::sync::Arc<Self>,
        store: &Store,
        private: &Private,
        actor: ActorId,
        now: i64,
        door: Door,
    ) -> Result<bool, StoreError> {
        let complete = || self.members.complete.read().contains(&actor);
        if complete() {
            return Ok(true);
        }
        let _turn = self.members.joining.lock().await;
        if complete() {
            return Ok(true);
        }
        // Others may have come in while this one waited for its turn.
        if !self.members.lets_in(Some(actor), door) {
            return Ok(false);
        }
        // From the next event on rows are written live; the snapshot after that has everything before.
        let _watch = Watch::new(&self.members.lost);
        let index = std::sync::Arc::clone(self);
        let writer = private.writer();
        let expected = writer.durable(move |tx| {
            if !private::keeps_settings(tx, actor)? {
                return Ok(false);
            }
            index.tell_from_now(tx, actor)?;
            index.keep_member(tx, actor)?;
            // What changed before is in the snapshot as it is now.
            index.members.lost.begin();
            Ok(true)
        });
        if !expected.await? {
            return Ok(true);
        }
        let store = store.clone();
        let built = tokio::task::spawn_blocking(move || build(&store.snapshot(), actor)).await;
        let rows = built.map_err(|_| StoreError::Closed)??;
        let (changes, index) = (private.clone(), std::sync::Arc::clone(self));
        let joined = writer.durable(move |tx| {
            let did = tx.did(actor)?;
            changes.within(tx, |r| private::members::join(r, &did, now))?;
            // It may have been deleted meanwhile.
            if private::get(tx, private::Kind::Member, actor, None)?.is_none() {
                return Ok(false);
            }
            index.put_built(tx, actor, &rows)?;
            Ok(true)
        });
        if joined.await? {
            self.members.complete.write().insert(actor);
        }
        Ok(true)
    }

    /// The row of a member came.
    pub(super) fn member_joined(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
    ) -> Result<(), StoreError> {
        // What the account wrote before it was seen, and then whom it follows.
        jobs::add(tx, actor, &JobRow::new(Priority::Member, at))?;
        // Last, since memory is not taken back.
        self.tell_from_now(tx, actor)?;
        self.announce(tx, actor);
        Ok(())
    }

    /// Puts what was built for an account that joins, but for what is not so any more.
    pub(super) fn put_built(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        rows: &[NotifRow],
    ) -> Result<(), StoreError> {
        for row in rows {
            if !self.members.lost.has(tx, row)? {
                notify::keep(tx, actor, row);
            }
        }
        Ok(())
    }

    /// Notifications of the account are written from the next event on.
    pub(super) fn tell_from_now(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        if self.members.contains(actor) {
            return Ok(());
        }
        while !notify::clear(tx, actor, account::STEP)? {}
        self.members.live.write().insert(actor);
        self.keep_member(tx, actor)
    }

    /// A member is none any more.
    pub(super) fn member_left(&self, tx: &mut Tx<'_>, actor: ActorId) -> Result<(), StoreError> {
        while !notify::clear(tx, actor, account::STEP)? {}
        self.scope.leave(tx, actor)?;
        // Last, since memory is not taken back.
        self.members.forget(actor);
        Ok(())
    }

    /// A record goes, or another version takes its place.
    pub(super) fn lost(&self, id: RecordId) {
        self.members.lost.note(id);
    }
}

impl Index {
    /// Makes an account a member no more, and its notifications go; what it set here stays for when it comes back.
    /// `false` if it was none.
    pub async fn remove_member(
        self: &std::sync::Arc<Self>,
        private: &Private,
        actor: ActorId,
    ) -> Result<bool, StoreError> {
        let _turn = self.members.joining.lock().await;
        if !self.members.contains(actor) {
            return Ok(false);
        }
        // First, so that who is killed here leaves a member who is told less, and is asked again. The last ones go with
        // the member.
        let step = move |tx: &mut Tx<'_>| notify::clear(tx, actor, account::STEP);
        while !private.writer().durable(step).await? {}
        let leave =
            private.change(move |r| Ok((vec![private::members::leave(&r.did(actor)?)], ())));
        leave.await?;
        Ok(true)
    }
}

/// The notifications that an account would have if it had been a member all along.
pub(super) fn build(s: &Snapshot, me: ActorId) -> Result<Vec<NotifRow>, StoreError> {
    let mut out = Vec::new();
    let row =
        |sort, author, reason, rkey, subject| NotifRow { sort, author, reason, rkey, subject };
    for (fan, f) in fans(s, EdgeKind::Follow, Target::Actor(me))? {
        out.push(row(f.sort_ms(), fan, Reason::Follow, f.rkey, Some(Target::Actor(me))));
    }
    for (fan, f) in fans(s, EdgeKind::Verification, Target::Actor(me))? {
        out.push(row(f.sort_ms(), fan, Reason::Verified, f.rkey, None));
    }
    let mut candidates = listed(s, Order::Mentions, Target::Actor(me))?;
    for post in posts_of(s, me)? {
        if out.len() + candidates.len() >= MOST {
            break;
        }
        let target = Target::Post(post);
        for (kind, reason) in [(EdgeKind::Like, Reason::Like), (EdgeKind::Repost, Reason::Repost)] {
            for (fan, f) in fans(s, kind, target)? {
                out.push(row(f.sort_ms(), fan, reason, f.rkey, Some(target)));
            }
        }
        candidates.extend(listed(s, Order::Quotes, target)?);
        below(s, post, &mut candidates)?;
    }
    via(s, me, &mut out)?;
    liked_records(s, me, &mut out)?;
    joined(s, me, &mut out)?;
    out.retain(|n| n.author != me);
    candidates.sort_unstable();
    candidates.dedup();
    for post in candidates {
        out.extend(notify::of_post(s, post, me)?);
    }
    let mut kept = Vec::with_capacity(out.len());
    for n in out {
        if !notify::muted_thread(s, me, n.subject)? {
            kept.push(n);
        }
    }
    Ok(kept)
}

fn fans(
    s: &Snapshot,
    kind: EdgeKind,
    target: Target,
) -> Result<Vec<(ActorId, FanRow)>, StoreError> {
    let prefix = rev_prefix(kind, target);
    let mut out = Vec::new();
    s.scan_prefix(Ks::Rev, &prefix, &mut |k, v| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        let fan = rest.actor().filter(|_| rest.is_empty());
        out.extend(fan.zip(FanRow::decode(target, v).filter(|row| !row.promoted)));
        out.len() < ROWS
    })?;
    Ok(out)
}

fn listed(s: &Snapshot, order: Order, target: Target) -> Result<Vec<PostId>, StoreError> {
    let prefix = order_prefix(order, target);
    let mut out = Vec::new();
    s.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        let _sort = rest.newest_first();
        out.extend(rest.post());
        out.len() < ROWS
    })?;
    Ok(out)
}

/// The newest posts of the account, of the network and of the community.
fn posts_of(s: &Snapshot, me: ActorId) -> Result<Vec<PostId>, StoreError> {
    let (mut out, mut read) = (Vec::new(), 0);
    s.scan_prefix(Ks::Feed, &feed_prefix(me), &mut |k, v| {
        let row = FeedRow::decode(k, v).map(|(_, row)| row).filter(|row| row.repost_of.is_none());
        out.extend(row.map(|row| PostId { author: me, rkey: row.rkey }));
        read += 1;
        read < POSTS
    })?;
    let most = out.len() + POSTS;
    community::scan(s, Some(me), None, &mut |_, post| {
        out.push(post);
        out.len() < most
    })?;
    Ok(out)
}

/// Replies that are near enough below a post to notify its author.
fn below(s: &Snapshot, post: PostId, out: &mut Vec<PostId>) -> Result<(), StoreError> {
    let mut level = vec![post];
    for _ in 1..posts::REPLY_NOTIF_DEPTH {
        let mut next = Vec::new();
        for p in level {
            next.extend(posts::children(s, p, ROWS)?);
        }
        out.extend_from_slice(&next);
        level = next;
        if level.is_empty() || out.len() > ROWS {
            break;
        }
    }
    Ok(())
}

/// Likes and reposts of anything that came through reposts of this account.
fn via(s: &Snapshot, me: ActorId, out: &mut Vec<NotifRow>) -> Result<(), StoreError> {
    s.scan_prefix(Ks::Order, &via_prefix(me), &mut |k, _| {
        let mut r = ByteReader::new(k);
        let _order = r.u8();
        let (subject, sort, author) = (r.target(), r.newest_first(), r.actor());
        let reason = match r.u8() {
            Some(kind) if kind == EdgeKind::Like as u8 => Reason::LikeViaRepost,
            _ => Reason::RepostViaRepost,
        };
        if let (Some(sort), Some(author), Some(rkey)) = (sort, author, r.rkey()) {
            out.push(NotifRow { sort, author, reason, rkey, subject });
        }
        out.len() < ROWS
    })
}

/// Likes of records other than posts: feed generators, labelers, lists.
fn liked_records(s: &Snapshot, me: ActorId, out: &mut Vec<NotifRow>) -> Result<(), StoreError> {
    for coll in [c::GENERATOR, c::LABELER, c::LIST, c::STARTERPACK] {
        for id in own(s, me, coll)? {
            if out.len() >= 2 * MOST {
                return Ok(());
            }
            let target = Target::Record(id);
            for (fan, f) in fans(s, EdgeKind::Like, target)? {
                let subject = Some(target);
                let (sort, rkey) = (f.sort_ms(), f.rkey);
                out.push(NotifRow { sort, author: fan, reason: Reason::Like, rkey, subject });
            }
        }
    }
    Ok(())
}

/// Accounts that joined through a starter pack of this one.
fn joined(s: &Snapshot, me: ActorId, out: &mut Vec<NotifRow>) -> Result<(), StoreError> {
    let mut newcomers = Vec::new();
    for id in own(s, me, c::STARTERPACK)? {
        let prefix = order_prefix(Order::Joined, Target::Record(id));
        s.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
            let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
            let _sort = rest.newest_first();
            newcomers.extend(rest.actor().map(|actor| (actor, id)));
            newcomers.len() < ROWS
        })?;
    }
    for (author, pack) in newcomers {
        let profile = RecordId { actor: author, coll: c::PROFILE, rkey: Rkey::SELF };
        let Some(row) = s.record(profile)? else { continue };
        out.push(NotifRow {
            sort: row.sort,
            author,
            reason: Reason::StarterpackJoined,
            rkey: Rkey::SELF,
            subject: Some(Target::Record(pack)),
        });
    }
    Ok(())
}

/// Records of one collection that the account has.
fn own(s: &Snapshot, me: ActorId, coll: CollId) -> Result<Vec<RecordId>, StoreError> {
    let mut out = Vec::new();
    s.scan_prefix(Ks::Record, &Key::new().actor(me).u32(coll.0), &mut |k, _| {
        out.extend(RecordId::from_bytes(k));
        out.len() < ROWS
    })?;
    Ok(out)
}
