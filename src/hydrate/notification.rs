//! Notifications: which ones a page has, the records behind them, and what hides them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::post_state::{Post, PostState};
use super::record::{Json, record_cid};
use super::{Hydrator, RecordRoom, Result};
use crate::private::{self, community};
use crate::schema::rows::{EdgeKind, NotifRow, Reason, notif_prefix};
use crate::schema::{ActorId, PostId, RecordId, Rows, Target, collections, rebuild, whole};
use crate::store::{Ks, Reader, RowViews, prefix_end};

/// Rows read for one page; behind them it ends early, with a cursor.
const MAX_READ: usize = 2_000;
/// Notifications counted as unread; there may be more.
const MAX_UNREAD: usize = 5_000;

/// Whose notifications are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifAuthors {
    /// Everybody's.
    All,
    /// Those of accounts that the viewer follows (`priority`).
    Followed,
}

/// What a viewer has not seen, and what else that depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unread {
    seen: i64,
    takedowns: u64,
    others: u64,
    /// Of and about the community.
    of_community: u64,
    any_of_community: bool,
}

/// Counts of unread notifications, which clients ask for every half a minute. A count is forgotten when a notification of
/// its viewer comes or goes; and it counts only as long as the seen time and what is taken down are as they were.
pub(super) type UnreadCache = RowViews<Unread>;

/// Of so many viewers.
pub(super) fn cache(entries: usize) -> UnreadCache {
    RowViews::new(entries)
}

/// A page of notifications.
#[derive(Debug, Clone, Default)]
pub struct NotifPage {
    /// The latest first.
    pub rows: Vec<NotifRow>,
    /// Time of the last row if there is more.
    pub cursor: Option<i64>,
    /// Some were left out because the viewer is not known to belong to the community.
    pub withheld: bool,
}

/// The record behind a notification.
#[derive(Debug, Clone)]
pub struct NotifRecord {
    /// Its CID.
    pub cid: String,
    /// Its value.
    pub value: Json,
    /// The starter pack that a follow came through.
    pub via: Option<RecordId>,
}

/// A rule that leaves a notification out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// A block between the two, in either direction, directly or by list.
    Block,
    /// The author is muted, directly or by list.
    Mute,
    /// The content waits for review.
    NeedsReview,
    /// A reply that the viewer hid in their thread.
    Reply,
    /// A post that the operator tagged so, of an account that the viewer does not follow.
    Tag,
}

/// What notification views need.
pub struct NotifState {
    /// Posts and accounts.
    pub posts: PostState,
    /// Records that are not posts or profiles; absent if they are gone.
    pub records: FxHashMap<RecordId, NotifRecord>,
}

impl NotifState {
    /// A state that holds nothing yet.
    #[must_use]
    pub fn new(h: &Hydrator<'_>) -> Self {
        Self { posts: PostState::new(h), records: FxHashMap::default() }
    }
}

fn post_of(row: &NotifRow) -> Option<PostId> {
    PostId::of(row.record())
}

impl Hydrator<'_> {
    /// The viewer's notifications older than `before`. Those whose subject is gone are not there.
    pub fn notifications(
        &self,
        viewer: ActorId,
        authors: NotifAuthors,
        limit: usize,
        before: i64,
    ) -> Result<NotifPage> {
        let prefix = notif_prefix(viewer);
        let end = prefix_end(&prefix);
        let lo = prefix.newest_first(before.saturating_sub(1));
        let (mut page, mut read, mut failed) = (NotifPage::default(), 0, Ok(()));
        self.snapshot.scan(Ks::Notif, &lo, end.as_deref(), false, &mut |k, v| {
            let row = whole(Ks::Notif, k, NotifRow::decode(k, v));
            let Some((_, row)) = row else { return true };
            read += 1;
            match self.is_listed(viewer, authors, &row) {
                _ if self.withholds(&row) => page.withheld = true,
                Ok(true) => page.rows.push(row),
                Ok(false) => {}
                Err(e) => {
                    failed = Err(e);
                    return false;
                }
            }
            if read >= MAX_READ && page.rows.len() <= limit {
                page.cursor = Some(row.sort);
            }
            page.rows.len() <= limit && read < MAX_READ
        })?;
        failed?;
        if page.rows.len() > limit {
            page.rows.truncate(limit);
            page.cursor = page.rows.last().map(|row| row.sort);
        }
        Ok(page)
    }

    /// Whether a notification is kept from the viewer because it is about the community.
    fn withholds(&self, row: &NotifRow) -> bool {
        !self.ctx.community && row.is_of_community()
    }

    /// Whether the list has a notification: its subject is there, and its author is among `authors`.
    pub fn is_listed(
        &self,
        viewer: ActorId,
        authors: NotifAuthors,
        row: &NotifRow,
    ) -> Result<bool> {
        let subject = match row.subject {
            Some(subject) => self.exists(subject)?,
            None => true,
        };
        Ok(subject && (authors == NotifAuthors::All || self.is_following(viewer, row.author)?))
    }

    /// Whether the viewer muted the thread that a notification is about. Rows of muted threads are not written; this
    /// is for those that were there before.
    pub fn is_thread_muted(
        &self,
        state: &mut NotifState,
        viewer: ActorId,
        row: &NotifRow,
    ) -> Result<bool> {
        let about = match row.reason {
            Reason::SubscribedPost => Some(Target::of(row.record())),
            _ => row.subject,
        };
        let Some(Target::Post(id)) = about else { return Ok(false) };
        self.load_posts(&mut state.posts, [id])?;
        match state.posts.post(id).and_then(Post::root_target) {
            Some(root) => {
                let muted = private::Kind::MutedThread;
                Ok(private::get(self.snapshot, muted, viewer, Some(root))?.is_some())
            }
            None => Ok(false),
        }
    }

    pub(super) fn is_following(&self, viewer: ActorId, other: ActorId) -> Result<bool> {
        Ok(self.snapshot.fan(EdgeKind::Follow, Target::Actor(other), viewer)?.is_some())
    }

    /// Whether the store holds a record; accounts always exist.
    fn exists(&self, target: Target) -> Result<bool> {
        match target {
            Target::Actor(_) => Ok(true),
            Target::Post(id) if id.is_community() => community::has(self.snapshot, id),
            Target::Post(id) => self.snapshot.has(Ks::Post, &id.to_bytes()),
            Target::Record(id) => match EdgeKind::compact(id.coll) {
                Some(kind) => Ok(self.snapshot.edge(kind, id.actor, id.rkey)?.is_some()),
                None => self.snapshot.has(Ks::Record, &id.to_bytes()),
            },
        }
    }

    /// How many notifications are newer than the seen time, and whether some are not counted because the viewer is not
    /// known to belong to the community.
    pub fn unread(&self, viewer: ActorId) -> Result<(u64, bool)> {
        let account = self.actor(viewer)?;
        if account.is_none_or(|a| a.taken_down) {
            return Ok((0, false));
        }
        let seen = self.seen(viewer)?.unwrap_or(i64::MIN);
        let takedowns = self.shared.takedowns.changes();
        let prefix = notif_prefix(viewer);
        let unread = self.snapshot.view_of_group(
            &self.shared.unread,
            (Ks::Notif, &prefix),
            |held| (held.seen, held.takedowns) == (seen, takedowns),
            || self.count_unread(viewer, seen, takedowns),
        )?;
        let more = if self.ctx.community { unread.of_community } else { 0 };
        Ok((unread.others + more, unread.any_of_community && !self.ctx.community))
    }

    /// Counts, and says whether that holds until a notification of the viewer comes or goes.
    fn count_unread(&self, viewer: ActorId, seen: i64, takedowns: u64) -> Result<(Unread, bool)> {
        let (mut read, mut failed, mut holds) = (0, Ok(()), true);
        let mut unread = Unread { seen, takedowns, ..Unread::default() };
        self.snapshot.scan_prefix(Ks::Notif, &notif_prefix(viewer), &mut |k, v| {
            let row = whole(Ks::Notif, k, NotifRow::decode(k, v));
            let Some((_, row)) = row else { return true };
            if row.sort <= seen {
                return false;
            }
            read += 1;
            let may_outlive = row.may_outlive(v);
            // Where a verification ends a notification comes.
            holds &= !may_outlive || row.record().coll == collections::VERIFICATION;
            unread.any_of_community |= row.is_of_community();
            let count =
                if row.is_of_community() { &mut unread.of_community } else { &mut unread.others };
            match self.is_counted(&row, may_outlive) {
                Ok(counts) => *count += u64::from(counts),
                Err(e) => failed = Err(e),
            }
            failed.is_ok() && read < MAX_UNREAD
        })?;
        failed.map(|()| (unread, holds))
    }

    fn is_counted(&self, row: &NotifRow, may_outlive: bool) -> Result<bool> {
        let record = Target::of(row.record());
        Ok(!self.shared.takedowns.contains(record) && (!may_outlive || self.exists(record)?))
    }

    /// Whether the viewer wants notifications by followed accounts only, if the call does not say.
    pub fn saved_priority(&self, viewer: ActorId) -> Result<bool> {
        let row = private::get(self.snapshot, private::Kind::Priority, viewer, None)?;
        Ok(row.is_some())
    }

    /// Up to when the viewer has seen notifications, milliseconds.
    pub fn seen(&self, viewer: ActorId) -> Result<Option<i64>> {
        private::get(self.snapshot, private::Kind::Seen, viewer, None)
    }

    /// Hydrates `rows` as `app.bsky.notification.listNotifications#notification`.
    pub fn notified(&self, state: &mut NotifState, rows: &[NotifRow]) -> Result<()> {
        let posts: Vec<PostId> = rows.iter().filter_map(post_of).collect();
        self.load_posts(&mut state.posts, posts.iter().copied())?;
        let base = &mut state.posts.base;
        let actors: Vec<ActorId> = rows.iter().map(|r| r.author).collect();
        self.profiles(base, &actors)?;
        self.labels(base, rows.iter().map(|r| Target::of(r.record())))?;
        for id in posts {
            if base.labels.get(&Target::Post(id)).is_some_and(|l| l.takedown) {
                state.posts.posts.insert(id, None);
            }
        }
        let mut packs = FxHashSet::default();
        for row in rows {
            let id = row.record();
            if !state.records.contains_key(&id)
                && let Some(record) = self.notif_record(id, &mut state.posts.base.room)?
            {
                packs.extend(record.via);
                state.records.insert(id, record);
            }
        }
        let packs: Vec<RecordId> = packs.into_iter().collect();
        self.starter_packs_basic(&mut state.posts.base, &packs)?;
        self.viewers_gates(&mut state.posts, rows)
    }

    /// Gates of the viewer's own threads, in which replies may be hidden.
    fn viewers_gates(&self, state: &mut PostState, rows: &[NotifRow]) -> Result<()> {
        for row in rows.iter().filter(|r| r.reason == Reason::Reply) {
            let root = post_of(row).and_then(|id| state.post(id)).and_then(|p| p.root());
            let Some(root) = root.filter(|r| Some(r.author) == self.ctx.viewer) else { continue };
            if !state.threadgates.contains_key(&root)
                && let Some(gate) = self.threadgate(root)?
                && state.base.room.take(gate.memory())
            {
                state.threadgates.insert(root, gate);
            }
        }
        Ok(())
    }

    /// The record behind a notification, if it is to be shown and there is room for it.
    fn notif_record(&self, id: RecordId, room: &mut RecordRoom) -> Result<Option<NotifRecord>> {
        if id.coll == collections::PROFILE
            || PostId::of(id).is_some()
            || self.shared.takedowns.contains(Target::Record(id))
        {
            return Ok(None);
        }
        let s = self.snapshot;
        let kind = EdgeKind::compact(id.coll);
        let edge = kind.map(|kind| s.edge(kind, id.actor, id.rkey)).transpose()?.flatten();
        let found = match (kind, edge) {
            (Some(kind), Some(edge)) if !edge.kept => {
                rebuild::edge_record(s, kind, id.actor, id.rkey, &edge)?
            }
            (Some(_), None) => None,
            _ => {
                let row = s.record(id)?.filter(|row| kind.is_some() || row.valid);
                let Some(row) = row else { return Ok(None) };
                let Some((value, _)) = room.unpack(s, &row.packed)? else { return Ok(None) };
                Some((value, s.digest(row.cid, &row.packed)?))
            }
        };
        let Some((value, digest)) = found else { return Ok(None) };
        let via = match crate::repo::fields::ref_uri(&value, "via") {
            Some(uri) if id.coll == collections::FOLLOW => s.target(uri)?,
            _ => None,
        };
        let via = via.and_then(Target::record).filter(|r| r.coll == collections::STARTERPACK);
        Ok(Some(NotifRecord { cid: record_cid(&digest), value: value.into(), via }))
    }
}

impl NotifState {
    /// Whether rules leave a notification out.
    #[must_use]
    pub fn is_hidden(&self, row: &NotifRow) -> bool {
        self.hidden(row).is_some()
    }

    /// Which rule leaves a notification out, if one does.
    #[must_use]
    pub fn hidden(&self, row: &NotifRow) -> Option<Hidden> {
        let base = &self.posts.base;
        if base.viewer_block_exists(row.author) {
            return Some(Hidden::Block);
        }
        if base.viewer_mute_exists(row.author) {
            return Some(Hidden::Mute);
        }
        let needs_review =
            [Reason::Reply, Reason::Quote, Reason::Mention, Reason::Like, Reason::Follow];
        if needs_review.contains(&row.reason)
            && !base.viewer_sees_needs_review(Target::of(row.record()))
        {
            return Some(Hidden::NeedsReview);
        }
        if row.reason == Reason::Reply && self.is_hidden_reply(row) {
            return Some(Hidden::Reply);
        }
        self.is_tagged_away(row).then_some(Hidden::Tag)
    }

    fn is_tagged_away(&self, row: &NotifRow) -> bool {
        let of_posts = [Reason::Reply, Reason::Quote, Reason::Mention];
        let post = post_of(row).filter(|_| of_posts.contains(&row.reason));
        let Some(post) = post.and_then(|id| self.posts.post(id)) else { return false };
        let base = &self.posts.base;
        base.tags.of_record(&post.record.uri).hide_in_threads && !base.viewer_follows(row.author)
    }

    fn is_hidden_reply(&self, row: &NotifRow) -> bool {
        let Some(post) = post_of(row).and_then(|id| self.posts.post(id)) else { return false };
        let root = post.root().filter(|r| Some(r.author) == self.posts.base.ctx.viewer);
        let gate = root.and_then(|r| self.posts.threadgates.get(&r));
        gate.is_some_and(|g| g.hidden.iter().any(|uri| **uri == *post.record.uri))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::private::{Kind, testing};

    /// What is unread, and whether the next call finds that remembered.
    fn unread(f: &Fixture, viewer: ActorId) -> (u64, bool) {
        f.hydrate(&seen_by(Some(viewer)), |h| {
            let held = h.snapshot.holds(&f.shared.unread, (Ks::Notif, &notif_prefix(viewer)));
            (h.unread(viewer).unwrap().0, held)
        })
    }

    #[test]
    fn a_count_is_remembered_until_something_that_it_depends_on_changes() {
        let f = Fixture::new();
        let [me, other] = ["me", "other"].map(|name| f.account(name));
        let own = f.post(me, NOW - 900, json!({}));
        let row = |ago| {
            let rkey = f.edge(EdgeKind::Like, other, Target::Post(own), NOW - ago);
            let subject = Some(Target::Post(own));
            NotifRow { sort: NOW - ago, author: other, reason: Reason::Like, rkey, subject }
        };
        let put = |to: ActorId, row: NotifRow| {
            f.write(move |tx| {
                tx.put(Ks::Notif, &row.key(to), &row.encode());
                Ok(())
            });
        };
        let [first, second, third] = [800, 700, 600].map(row);
        put(me, first);
        put(me, second);
        assert_eq!([unread(&f, me), unread(&f, me)], [(2, false), (2, true)]);
        // What the count of the reference does not depend on.
        put(other, third);
        f.mute(me, other);
        f.block(me, other);
        assert_eq!(unread(&f, me), (2, true));
        put(me, third);
        assert_eq!([unread(&f, me), unread(&f, me)], [(3, false), (3, true)]);
        f.write(move |tx| {
            tx.del(Ks::Notif, &first.key(me));
            Ok(())
        });
        assert_eq!([unread(&f, me), unread(&f, me)], [(2, false), (2, true)]);
        f.write(move |tx| testing::put(tx, Kind::Seen, me, None, NOW - 650));
        assert_eq!(unread(&f, me).0, 1);
        f.take_down(Target::of(third.record()));
        assert_eq!(unread(&f, me).0, 0);
        let uri = f.snapshot().uri(third.record()).unwrap();
        f.wait(f.shared.takedowns.set(&f.writer, uri, None)).unwrap();
        assert_eq!([unread(&f, me), unread(&f, me)], [(1, true), (1, true)]);
        // Of a verification nothing is known but that its end notifies too.
        let reason = Reason::Verified;
        put(me, NotifRow { reason, subject: None, ..third });
        assert_eq!([unread(&f, me), unread(&f, me)], [(1, false), (1, true)]);
        // An early version's may lose its record at any time.
        let post = f.post(other, NOW - 500, json!({}));
        let early = NotifRow { reason: Reason::Mention, rkey: post.rkey, subject: None, ..third };
        f.write(move |tx| {
            tx.put(Ks::Notif, &early.key(me), &[]);
            Ok(())
        });
        assert_eq!([unread(&f, me), unread(&f, me)], [(2, false), (2, false)]);
        f.write(move |tx| {
            tx.del(Ks::Post, &post.to_bytes());
            Ok(())
        });
        assert_eq!(unread(&f, me).0, 1);
    }
}
