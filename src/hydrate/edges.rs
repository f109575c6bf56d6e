//! Pages of edges, newest first: fans of a target, what an account follows or blocks, items of a list. Skeletons of the
//! graph and like methods.
//!
//! Order and cursors are the reference's: by `sortAt`, then by CID. The CID of an edge is computed from the rebuilt
//! record, so it is only asked where it decides or goes into a cursor.

use super::graph::is_reference_list;
use super::page::{Collector, MAX_SORTED, Page, Sorted, TimeCursor};
use super::record::record_cid;
use super::reverse_edges::Fan;
use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{EdgeKind, EdgeRow, Order, fwd_prefix, order_prefix};
use crate::schema::{ActorId, Key, RecordId, Rkey, Rows, Target, collections as c, whole};
use crate::store::{Ks, Reader, Snapshot, prefix_end};

/// Items that do not count and that a page of a list leaves out: after so many it ends early, with a cursor.
const MAX_PASSED: usize = 2_000;

/// What an account has a record on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// What.
    pub target: Target,
    /// Key of the record.
    pub rkey: Rkey,
}

/// The edges of an account, each target once: read with the first page of an answer and kept for those that fill it up.
pub struct Edges<'h> {
    h: Hydrator<'h>,
    kind: EdgeKind,
    actor: ActorId,
    sorted: SortedEdges,
}

enum SortedEdges {
    Unread,
    All(Sorted<Edge>),
    TooMany,
}

impl Edges<'_> {
    /// A page of them, the latest first.
    pub fn page(&mut self, cursor: Option<&TimeCursor>, limit: usize) -> Result<Page<Edge>> {
        let (h, kind, actor) = (self.h, self.kind, self.actor);
        if matches!(self.sorted, SortedEdges::Unread) {
            self.sorted = h.read_edges(kind, actor)?;
        }
        let SortedEdges::All(sorted) = &self.sorted else {
            return h.edges_by_key(kind, actor, cursor, limit);
        };
        let wins = |edge: &Edge| h.is_winner(kind, actor, edge);
        sorted.page_of(cursor, limit, wins, |edge| h.tie_cid(kind, actor, edge.rkey))
    }
}

/// What becomes of members who opted out of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptedOut {
    Kept,
    LeftOut,
}

/// A member of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListItem {
    /// Who.
    pub member: ActorId,
    /// Key of the item.
    pub rkey: Rkey,
}

impl Hydrator<'_> {
    /// Who has a record of `kind` on `target`, once each. Nobody if the target is not for the caller.
    pub fn fans(
        &self,
        kind: EdgeKind,
        target: Target,
        cursor: Option<&TimeCursor>,
        limit: usize,
    ) -> Result<Page<Fan>> {
        if !self.ctx.admits(target) {
            return Ok(Page::empty());
        }
        let mut out = Collector::new(limit, cursor);
        let from = cursor.map(|c| c.ms);
        self.each_fan(kind, target, from, &mut |fan| out.push(fan.sort, fan))?;
        out.page(|fan| self.tie_cid(kind, fan.actor, fan.rkey))
    }

    /// What an account has records of `kind` on: its follows, its blocks.
    #[must_use]
    pub fn edges(&self, kind: EdgeKind, actor: ActorId) -> Edges<'_> {
        Edges { h: *self, kind, actor, sorted: SortedEdges::Unread }
    }

    fn read_edges(&self, kind: EdgeKind, actor: ActorId) -> Result<SortedEdges> {
        let mut all = Vec::new();
        self.scan_edges(kind, actor, None, &mut |sort, edge| {
            all.push((sort, edge));
            all.len() <= MAX_SORTED
        })?;
        if all.len() > MAX_SORTED {
            return Ok(SortedEdges::TooMany);
        }
        Ok(SortedEdges::All(Sorted::new(all)))
    }

    /// The same in the order of record keys, for accounts with too many to sort. Only TIDs are in it.
    fn edges_by_key(
        &self,
        kind: EdgeKind,
        actor: ActorId,
        cursor: Option<&TimeCursor>,
        limit: usize,
    ) -> Result<Page<Edge>> {
        let below = cursor.map_or(Rkey::SELF, |c| {
            let micros = u64::try_from(c.ms.saturating_add(1)).unwrap_or(0).saturating_mul(1000);
            Rkey((micros << 10).min(Rkey::SELF.0))
        });
        let mut rows = Vec::new();
        let enough = limit.saturating_mul(2) + 64;
        self.scan_edges(kind, actor, Some(below), &mut |_, edge| {
            rows.push(edge);
            rows.len() < enough
        })?;
        let mut out = Collector::new(limit, cursor);
        for edge in rows {
            if self.is_winner(kind, actor, &edge)? && !out.push(edge.rkey.millis(), edge) {
                break;
            }
        }
        out.page(|edge| self.tie_cid(kind, actor, edge.rkey))
    }

    /// Visits the edges of an account, the newest record key first, from below `below`.
    fn scan_edges(
        &self,
        kind: EdgeKind,
        actor: ActorId,
        below: Option<Rkey>,
        visit: &mut dyn FnMut(i64, Edge) -> bool,
    ) -> Result<()> {
        let prefix = fwd_prefix(kind, actor);
        let end = match below {
            Some(rkey) => Some(prefix.clone().rkey(rkey).to_vec()),
            None => prefix_end(&prefix).map(|end| end.to_vec()),
        };
        self.snapshot.scan(Ks::Fwd, &prefix, end.as_deref(), true, &mut |key, value| {
            let rkey = key.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).rkey());
            let row = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
            let Some((rkey, row)) = rkey.zip(row) else { return true };
            visit(row.sort_ms(rkey), Edge { target: row.target, rkey })
        })
    }

    /// A second record on the same target has no effect of its own.
    fn is_winner(&self, kind: EdgeKind, actor: ActorId, edge: &Edge) -> Result<bool> {
        let fan = self.snapshot.fan(kind, edge.target, actor)?;
        Ok(fan.is_some_and(|fan| fan.rkey == edge.rkey))
    }

    /// The CID of a record; "0" if there is none, so that it still has a place in an order.
    pub(super) fn row_cid(&self, id: RecordId) -> Result<String> {
        let Some(row) = self.snapshot.record(id)? else { return Ok("0".to_owned()) };
        Ok(record_cid(&self.snapshot.digest(row.cid, &row.packed)?))
    }

    /// The members of a list. Who opted out of a reference list is there for its owner only.
    pub fn list_items(
        &self,
        list: RecordId,
        cursor: Option<&TimeCursor>,
        limit: usize,
    ) -> Result<Page<ListItem>> {
        let opted_out = match self.may_leave(list)? {
            true => OptedOut::LeftOut,
            false => OptedOut::Kept,
        };
        self.newest_items(list, cursor, limit, opted_out)
    }

    /// Whether who opted out of a list is not on it for the viewer.
    pub(super) fn may_leave(&self, list: RecordId) -> Result<bool> {
        Ok(self.ctx.viewer != Some(list.actor)
            && self.read_record(list)?.is_some_and(|list| is_reference_list(&list)))
    }

    /// The members of a list.
    pub(super) fn newest_items(
        &self,
        list: RecordId,
        cursor: Option<&TimeCursor>,
        limit: usize,
        opted_out: OptedOut,
    ) -> Result<Page<ListItem>> {
        let target = Target::Record(list);
        let mut out = Collector::new(limit, cursor);
        let prefix = order_prefix(Order::Items, target);
        let (mut failed, mut passed, mut stopped_at) = (None, 0, None);
        newest_first(self.snapshot, &prefix, cursor, |sort, mut rest, value| {
            let item = rest.rkey().zip(ByteReader::new(value).actor());
            let Some((rkey, member)) = item else { return true };
            let counts = || -> Result<bool> {
                // A second item for the same member has no effect of its own.
                let fan = self.snapshot.fan(EdgeKind::ListItem, target, member)?;
                Ok(fan.is_some_and(|fan| fan.rkey == rkey)
                    && (opted_out == OptedOut::Kept || self.opt_out(list, member)?.is_none()))
            };
            let item = ListItem { member, rkey };
            match counts() {
                Ok(true) => out.push(sort, item),
                Ok(false) => {
                    passed += 1;
                    stopped_at = Some((sort, item)).filter(|_| passed == MAX_PASSED);
                    passed < MAX_PASSED
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let tie = |item: &ListItem| {
            self.row_cid(RecordId { actor: list.actor, coll: c::LISTITEM, rkey: item.rkey })
        };
        let mut page = out.page(tie)?;
        if page.cursor.is_none()
            && let Some((ms, item)) = stopped_at
        {
            page.cursor = Some(TimeCursor { ms, tie: tie(&item)? }.to_string());
        }
        Ok(page)
    }
}

/// Visits the rows of `order` under `prefix` from the cursor's millisecond on; the key's rest is behind the time.
fn newest_first(
    s: &Snapshot,
    prefix: &Key,
    cursor: Option<&TimeCursor>,
    mut visit: impl FnMut(i64, ByteReader<'_>, &[u8]) -> bool,
) -> Result<()> {
    let lo = match cursor {
        Some(cursor) => prefix.clone().newest_first(cursor.ms),
        None => prefix.clone(),
    };
    let end = prefix_end(prefix);
    s.scan(Ks::Order, &lo, end.as_deref(), false, &mut |key, value| {
        let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
        match rest.newest_first() {
            Some(sort) => visit(sort, rest, value),
            None => true,
        }
    })
}
