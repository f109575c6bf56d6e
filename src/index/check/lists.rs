//! Lists in order of time: replies, quotes, mentions, items, the fans of the popular, and feeds.

use super::super::names::Known;
use super::super::posts::{self, Refs};
use super::super::records;
use super::{Check, edge_kind, lenient, takes};
use crate::private::community;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, FeedRow, NotifRow, Order, post_flags as f};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader, StoreError};

/// Posts listed under one target, as they go by.
struct Listed {
    order: Order,
    target: Target,
    count: u64,
    /// Replies that count elsewhere.
    forbidden: u64,
}

/// A row of `order`.
enum Entry {
    Fan(EdgeKind, Target, i64, ActorId),
    Post(Order, Target, i64, PostId),
    Item(Target, i64, Rkey),
    Joined(Target, i64, ActorId),
    Via(i64, EdgeKind, ActorId, Rkey),
    Notice(ActorId, NotifRow),
    Vacated(Target),
}

impl Check<'_> {
    pub(super) fn order(&mut self) -> Result<(), StoreError> {
        let mut group: Option<Listed> = None;
        self.rows(Ks::Order, |this, k, v| {
            match entry(k) {
                None => return Ok(None),
                Some(Entry::Fan(kind, target, sort, fan)) => {
                    let Ok(rkey) = v.try_into().map(u64::from_be_bytes) else { return Ok(None) };
                    this.ordered_fan(k, kind, target, sort, fan, Rkey(rkey))?;
                }
                Some(Entry::Post(order, target, sort, post)) => {
                    if group.as_ref().is_none_or(|g| (g.order, g.target) != (order, target)) {
                        this.listed(group.take())?;
                        group = Some(Listed { order, target, count: 0, forbidden: 0 });
                    }
                    let Some(low) = v.first().copied() else { return Ok(None) };
                    let counts = this.listed_post(k, (order, target, sort), post, low)?;
                    if let Some(g) = group.as_mut() {
                        *if counts { &mut g.count } else { &mut g.forbidden } += 1;
                    }
                }
                Some(Entry::Item(list, sort, rkey)) => {
                    let Some(member) = ByteReader::new(v).actor() else { return Ok(None) };
                    let id = RecordId { actor: list.actor(), coll: c::LISTITEM, rkey };
                    let row = lenient(this.s.record(id))?;
                    let held = row.is_some_and(|r| r.valid && r.sort == sort)
                        && this.s.has(
                            Ks::Rev,
                            &crate::schema::rows::rev_key(EdgeKind::ListItem, list, member),
                        )?;
                    this.mended(
                        held,
                        "list-row-without-item",
                        |t| t.record_name(id),
                        takes(Ks::Order, k),
                    )?;
                }
                Some(Entry::Joined(pack, sort, actor)) => {
                    let id = RecordId { actor, coll: c::PROFILE, rkey: Rkey::SELF };
                    let held = this.joined_through(pack, sort, id)?;
                    this.mended(
                        held,
                        "joined-row-without-profile",
                        |t| t.record_name(id),
                        takes(Ks::Order, k),
                    )?;
                }
                Some(Entry::Notice(to, row)) => {
                    let held = this.s.has(Ks::Notif, &row.key(to))?;
                    this.mended(
                        held,
                        "trace-without-notification",
                        |t| t.record_name(row.record()),
                        takes(Ks::Order, k),
                    )?;
                }
                Some(Entry::Vacated(root)) => {
                    let held = match root {
                        Target::Post(root) => this.s.has(Ks::Post, &root.to_bytes())?,
                        Target::Actor(_) | Target::Record(_) => false,
                    };
                    this.mended(
                        held,
                        "vacated-place-without-root",
                        |t| t.name(root),
                        takes(Ks::Order, k),
                    )?;
                }
                Some(Entry::Via(sort, kind, actor, rkey)) => {
                    let edge = lenient(this.s.edge(kind, actor, rkey))?;
                    let same = edge.is_some_and(|e| e.kept && e.sort_ms(rkey) == sort);
                    let id = RecordId { actor, coll: kind.collection(), rkey };
                    this.mended(
                        same,
                        "via-row-without-edge",
                        |t| t.record_name(id),
                        takes(Ks::Order, k),
                    )?;
                }
            }
            Ok(Some(()))
        })?;
        self.listed(group)
    }

    fn listed(&mut self, group: Option<Listed>) -> Result<(), StoreError> {
        match group {
            Some(Listed { order: Order::Replies, target, count, forbidden }) => {
                self.counter(target, Counter::Replies, count)?;
                self.counter(target, Counter::ForbiddenReplies, forbidden)
            }
            Some(Listed { order: Order::Quotes, target, count, .. }) => {
                self.counter(target, Counter::Quotes, count)
            }
            _ => Ok(()),
        }
    }

    /// The post must be there and say so; says whether it counts.
    fn listed_post(
        &mut self,
        key: &[u8],
        (order, target, sort): (Order, Target, i64),
        post: PostId,
        low: u8,
    ) -> Result<bool, StoreError> {
        if post.is_community() {
            return self.listed_community_post(key, (order, target, sort), post);
        }
        let Some(row) = lenient(self.s.post(post))? else {
            self.found("list-row-without-post", self.name(Target::Post(post)));
            self.fix(takes(Ks::Order, key))?;
            return Ok(false);
        };
        // What does not unpack is counted where posts are read.
        let refs = match self.s.unpack(&row.packed) {
            Ok(value) => posts::refs(&mut Known(self.s), &value)?,
            Err(StoreError::Corrupt(_)) => Refs::default(),
            Err(e) => return Err(e),
        };
        let says_so = posts::lists(&refs).any(|l| l == (order, target));
        let same = row.sort_ms(post.rkey) == sort && row.flags.to_be_bytes()[1] == low;
        self.mended(
            says_so && same,
            "list-row-differs-from-post",
            |t| format!("{} under {}", t.name(Target::Post(post)), t.name(target)),
            takes(Ks::Order, key),
        )?;
        Ok(order != Order::Replies || !row.has(f::VIOLATES_THREADGATE))
    }

    fn listed_community_post(
        &mut self,
        key: &[u8],
        (order, target, sort): (Order, Target, i64),
        post: PostId,
    ) -> Result<bool, StoreError> {
        let held = lenient(community::get(self.s, post))?.filter(|held| held.sort == sort);
        let lists = match &held {
            // What does not unpack is counted where private rows are read.
            Some(held) => match self.s.unpack(&held.packed) {
                Ok(content) => community::lists(self.s, &content)?,
                Err(StoreError::Corrupt(_)) => return Ok(true),
                Err(e) => return Err(e),
            },
            None => Vec::new(),
        };
        self.mended(
            lists.contains(&(order, target)),
            "list-row-without-post",
            |t| t.name(Target::Post(post)),
            takes(Ks::Order, key),
        )?;
        Ok(true)
    }

    fn joined_through(&self, pack: Target, sort: i64, id: RecordId) -> Result<bool, StoreError> {
        let row = lenient(self.s.record(id))?.filter(|row| row.valid && row.sort == sort);
        let Some(row) = row else { return Ok(false) };
        match self.s.unpack(&row.packed) {
            Ok(value) => Ok(records::starter_pack(&mut Known(self.s), &value)? == Some(pack)),
            // Counted where records are read.
            Err(StoreError::Corrupt(_)) => Ok(true),
            Err(e) => Err(e),
        }
    }

    fn ordered_fan(
        &mut self,
        key: &[u8],
        kind: EdgeKind,
        target: Target,
        sort: i64,
        fan: ActorId,
        rkey: Rkey,
    ) -> Result<(), StoreError> {
        let kept = lenient(self.s.agg(target))?.is_ordered(kind);
        let row = lenient(self.s.fan(kind, target, fan))?;
        if kept && row.is_some_and(|r| r.rkey == rkey && r.sort_ms() == sort) {
            return Ok(());
        }
        self.found(
            "stray-in-order",
            format!("{} of {}", self.name(Target::Actor(fan)), self.name(target)),
        );
        let key = key.to_vec();
        self.fix(move |tx| {
            tx.del(Ks::Order, &key);
            Ok(())
        })
    }

    pub(super) fn feed(&mut self) -> Result<(), StoreError> {
        self.rows(Ks::Feed, |this, k, v| {
            let Some((actor, row)) = FeedRow::decode(k, v) else { return Ok(None) };
            if let Some(post) = row.repost_of {
                let edge = lenient(this.s.edge(EdgeKind::Repost, actor, row.rkey))?;
                let same = edge.is_some_and(|e| {
                    e.target == Target::Post(post) && e.sort_ms(row.rkey) == row.sort
                });
                let id = RecordId { actor, coll: c::REPOST, rkey: row.rkey };
                this.mended(
                    same,
                    "feed-row-without-repost",
                    |t| t.record_name(id),
                    takes(Ks::Feed, k),
                )?;
                return Ok(Some(()));
            }
            let id = PostId { author: actor, rkey: row.rkey };
            let post = lenient(this.s.post(id))?;
            let same = post.is_some_and(|p| {
                p.sort_ms(row.rkey) == row.sort && p.flags.to_be_bytes()[1] == row.flags
            });
            this.mended(
                same,
                "feed-row-without-post",
                |t| t.name(Target::Post(id)),
                takes(Ks::Feed, k),
            )?;
            Ok(Some(()))
        })
    }
}

fn entry(k: &[u8]) -> Option<Entry> {
    let mut r = ByteReader::new(k);
    let tag = r.u8()?;
    if tag == Order::Notices as u8 {
        return NotifRow::from_trace(k).map(|(to, row)| Entry::Notice(to, row));
    }
    let target = r.target()?;
    if tag == Order::Vacated as u8 {
        let rkey = r.rkey().filter(|_| r.is_empty());
        return rkey.map(|_| Entry::Vacated(target));
    }
    let sort = r.newest_first()?;
    let orders =
        [Order::Replies, Order::Quotes, Order::Mentions, Order::Items, Order::Joined, Order::Via];
    let order = orders.into_iter().find(|o| *o as u8 == tag);
    let entry = match order {
        Some(Order::Items) => Entry::Item(target, sort, r.rkey()?),
        Some(Order::Joined) => Entry::Joined(target, sort, r.actor()?),
        Some(Order::Via) => {
            let (actor, kind) = (r.actor()?, edge_kind(r.u8()?)?);
            Entry::Via(sort, kind, actor, r.rkey()?)
        }
        Some(order) => Entry::Post(order, target, sort, r.post()?),
        None => Entry::Fan(edge_kind(tag)?, target, sort, r.actor()?),
    };
    r.is_empty().then_some(entry)
}
