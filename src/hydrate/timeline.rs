//! Timelines without a written timeline: a lazy merge over the feeds of many accounts.
//!
//! Each account's newest few times are remembered, so a page opens the feeds of those accounts only that can be on
//! it: an account whose newest entry below the cursor is older than the last entry of the page is never read.
//!
//! # Invariants
//! - The remembered times only tell which feeds cannot be on a page; entries always come from the snapshot. So a time
//!   that is out of date costs a read in vain at worst, and never hides an entry that is there.

use std::collections::BinaryHeap;

use rustc_hash::FxHashSet;

use super::page::{Collector, Page, TimeCursor, page};
use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    EdgeKind, EdgeRow, FeedRow, Order, feed_prefix, fwd_prefix, order_prefix,
};
use crate::schema::{ActorId, Key, PostId, RecordId, Target, collections, whole};
use crate::store::{ActorCache, Ks, Reader, Snapshot, Store, prefix_end};

/// Follows or members that are merged at most, the newest first: an answer must stay cheap.
const MAX_SOURCES: usize = 20_000;
/// Times remembered of each account.
const MAX_TIMES: usize = 6;
/// Entries read from a feed at once, at first and at most.
const CHUNK: (usize, usize) = (4, 64);

/// An entry of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedItem {
    /// The post.
    pub post: PostId,
    /// The repost that brings it here.
    pub repost: Option<RecordId>,
    /// It is here because its author pinned it.
    pub pinned: bool,
}

impl FeedItem {
    /// A post for its own sake.
    #[must_use]
    pub fn post(post: PostId) -> Self {
        Self { post, repost: None, pinned: false }
    }

    /// An entry of the feed of `actor`.
    #[must_use]
    pub fn of(actor: ActorId, row: &FeedRow) -> Self {
        match row.repost_of {
            Some(post) => {
                let repost = RecordId { actor, coll: collections::REPOST, rkey: row.rkey };
                Self { post, repost: Some(repost), pinned: false }
            }
            None => Self::post(PostId { author: actor, rkey: row.rkey }),
        }
    }

    /// Who brings it here.
    #[must_use]
    pub fn originator(&self) -> ActorId {
        self.repost.map_or(self.post.author, |r| r.actor)
    }
}

/// The newest times in an account's feed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NewestTimes {
    times: [i64; MAX_TIMES],
    len: usize,
}

impl NewestTimes {
    /// A time at or below `cursor` that no entry at or below it exceeds; `None` if there is none.
    fn bound(&self, cursor: i64) -> Option<i64> {
        let known = self.times.get(..self.len).unwrap_or_default();
        match known.iter().find(|t| **t <= cursor) {
            Some(t) => Some(*t),
            // All times that are known are newer than the cursor. The account may have older entries that are not.
            None if self.len == MAX_TIMES => known.last().map(|t| cursor.min(*t)),
            None => None,
        }
    }
}

/// The newest times, by account.
pub(super) type NewestTimesCache = ActorCache<NewestTimes>;

/// A cache of the newest times of up to `entries` accounts.
pub(super) fn cache(store: &Store, entries: usize) -> NewestTimesCache {
    ActorCache::new(store, entries)
}

fn load_newest_times(s: &Snapshot, actor: ActorId) -> Result<NewestTimes> {
    let mut newest = NewestTimes::default();
    s.scan_prefix(Ks::Feed, &feed_prefix(actor), &mut |k, v| {
        let row = whole(Ks::Feed, k, FeedRow::decode(k, v));
        if let (Some((_, row)), Some(slot)) = (row, newest.times.get_mut(newest.len)) {
            *slot = row.sort;
            newest.len += 1;
        }
        newest.len < MAX_TIMES
    })?;
    Ok(newest)
}

/// Which entries of a feed are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FeedEntries {
    All,
    /// No reposts.
    Posts,
}

impl FeedEntries {
    fn admit(self, row: &FeedRow) -> bool {
        self == Self::All || row.repost_of.is_none()
    }
}

/// One account's feed while it is merged.
struct FeedReader {
    actor: ActorId,
    /// Read but not merged, the newest last.
    ready: Vec<FeedRow>,
    /// Where to go on reading; `None` at the end.
    next: Option<Key>,
    chunk: usize,
}

impl FeedReader {
    fn new(actor: ActorId, from: Option<i64>) -> Self {
        let prefix = feed_prefix(actor);
        let next = match from {
            Some(ms) => prefix.newest_first(ms),
            None => prefix,
        };
        Self { actor, ready: Vec::new(), next: Some(next), chunk: CHUNK.0 }
    }

    fn fill(&mut self, s: &Snapshot, entries: FeedEntries) -> Result<()> {
        while self.ready.is_empty() {
            let Some(lo) = self.next.take() else { return Ok(()) };
            let end = prefix_end(&feed_prefix(self.actor));
            let (mut read, mut last) = (0, None);
            let (chunk, ready) = (self.chunk, &mut self.ready);
            s.scan(Ks::Feed, &lo, end.as_deref(), false, &mut |k, v| {
                read += 1;
                let row = whole(Ks::Feed, k, FeedRow::decode(k, v)).map(|(_, row)| row);
                ready.extend(row.filter(|r| entries.admit(r)));
                if read == chunk {
                    // The key after this one.
                    last = Some(Key::new().bytes(k).u8(0));
                }
                read < chunk
            })?;
            self.next = last;
            self.chunk = (self.chunk * 2).min(CHUNK.1);
            self.ready.reverse();
        }
        Ok(())
    }
}

/// Merges the feeds of `actors` into `into`, newest first, until that is full.
fn merge(
    h: &Hydrator<'_>,
    actors: impl Iterator<Item = ActorId>,
    cursor: Option<&TimeCursor>,
    entries: FeedEntries,
    into: &mut Collector<'_, FeedItem>,
) -> Result<()> {
    let from = cursor.map(|c| c.ms);
    let mut heap = BinaryHeap::new();
    for actor in actors {
        let load = || load_newest_times(h.snapshot, actor);
        let newest = h.shared.newest_times.get(h.snapshot, actor, load)?;
        heap.extend(
            newest.bound(from.unwrap_or(i64::MAX)).map(|bound| (bound, actor.0, usize::MAX)),
        );
    }
    let mut open: Vec<FeedReader> = Vec::new();
    while let Some((_, actor, at)) = heap.pop() {
        let at = if at == usize::MAX {
            open.push(FeedReader::new(ActorId(actor), from));
            open.len() - 1
        } else {
            let Some(source) = open.get_mut(at) else { continue };
            if let Some(row) = source.ready.pop()
                && !into.push(row.sort, FeedItem::of(source.actor, &row))
            {
                return Ok(());
            }
            at
        };
        let Some(source) = open.get_mut(at) else { continue };
        source.fill(h.snapshot, entries)?;
        heap.extend(source.ready.last().map(|row| (row.sort, actor, at)));
    }
    Ok(())
}

impl Hydrator<'_> {
    /// A page of the viewer's timeline: follows and themselves. Own posts fill what the others leave, and are at
    /// least ten at most.
    pub fn timeline(
        &self,
        viewer: ActorId,
        limit: usize,
        cursor: Option<&TimeCursor>,
    ) -> Result<Page<FeedItem>> {
        let sets = self.follow_sets(viewer)?;
        let many = if sets.follows.is_none() { Some(self.read_follows(viewer)?) } else { None };
        let held = sets.follows.iter().flat_map(|follows| &follows.ids);
        let follows = held.chain(many.iter().flatten()).copied().filter(|id| *id != viewer);
        let tie = |item: &FeedItem| self.feed_item_cid(item);
        let mut others = Collector::new(limit, cursor);
        merge(self, follows, cursor, FeedEntries::All, &mut others)?;
        let others = others.rows(tie)?;
        let mut own = Collector::new(limit, cursor);
        merge(self, std::iter::once(viewer), cursor, FeedEntries::All, &mut own)?;
        let mut own = own.rows(tie)?;
        let own_limit = limit.min(10).max(limit - others.len().min(limit));
        let more_own = own.len() > own_limit;
        own.truncate(own_limit);

        let mut both = Collector::new(limit, None);
        let mut rows: Vec<_> = others.into_iter().chain(own).collect();
        rows.sort_by_key(|(ms, _)| std::cmp::Reverse(*ms));
        for (ms, item) in rows {
            if !both.push(ms, item) {
                break;
            }
        }
        let rows = both.rows(tie)?;
        let last = rows.last().copied();
        let mut page = page(rows, limit, tie)?;
        if page.cursor.is_none()
            && more_own
            && let Some((ms, item)) = last
        {
            page.cursor = Some(TimeCursor { ms, tie: tie(&item)? }.to_string());
        }
        Ok(page)
    }

    /// A page of the posts of a list's members.
    pub fn list_feed(
        &self,
        list: RecordId,
        limit: usize,
        cursor: Option<&TimeCursor>,
    ) -> Result<Page<FeedItem>> {
        let (mut members, mut read) = (FxHashSet::default(), 0);
        let prefix = order_prefix(Order::Items, Target::Record(list));
        self.snapshot.scan_prefix(Ks::Order, &prefix, &mut |_, v| {
            members.extend(ByteReader::new(v).actor());
            read += 1;
            read < MAX_SOURCES
        })?;
        let mut items = Collector::new(limit, cursor);
        merge(self, members.into_iter(), cursor, FeedEntries::Posts, &mut items)?;
        items.page(|item| self.feed_item_cid(item))
    }

    /// Whom an account follows, once each.
    fn read_follows(&self, actor: ActorId) -> Result<FxHashSet<ActorId>> {
        let (mut out, mut read) = (FxHashSet::default(), 0);
        let prefix = fwd_prefix(EdgeKind::Follow, actor);
        let end = prefix_end(&prefix);
        self.snapshot.scan(Ks::Fwd, &prefix, end.as_deref(), true, &mut |k, v| {
            out.extend(
                whole(Ks::Fwd, k, EdgeRow::decode(k, v))
                    .map(|edge| edge.target.actor())
                    .filter(|a| *a != actor),
            );
            read += 1;
            read < MAX_SOURCES
        })?;
        Ok(out)
    }

    /// The CID that decides among entries of the same millisecond: the repost's, or the post's.
    pub fn feed_item_cid(&self, item: &FeedItem) -> Result<String> {
        if let Some(id) = item.repost {
            return self.tie_cid(EdgeKind::Repost, id.actor, id.rkey);
        }
        if item.post.is_community() {
            return self.community_cid(item.post);
        }
        // The last of a page is asked for, and shown as well.
        let post = self.read_post(item.post)?;
        Ok(post.map_or_else(|| "0".to_owned(), |post| post.record.cid.clone()))
    }
}
