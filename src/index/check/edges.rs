//! Edges from both sides: `edge_fwd` has what its actor wrote, `edge_rev` who is a fan of what.

use super::super::names::Known;
use super::super::records::via_repost;
use super::super::reverse_edges::{ORDERED_FROM, counter_of, link, order_all, unlink};
use super::{Check, edge_kind, lenient, puts, takes};
use crate::repo::fields;
use crate::schema::bytes::ByteReader;
use crate::schema::rebuild::edge_record;
use crate::schema::rows::{
    Counter, EdgeKind, EdgeRow, FanRow, FeedRow, RecordRow, duplicate_key, fan_key, fwd_key,
    order_via_key, rev_key,
};
use crate::schema::{ActorId, RecordId, Rkey, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

/// The follows of one account, as they go by.
#[derive(Default)]
struct Follows {
    actor: Option<ActorId>,
    distinct: u64,
}

/// The fans of one target, as they go by.
struct Fans {
    kind: EdgeKind,
    target: Target,
    count: u64,
    ordered: bool,
    /// The last one, and whether it says that there are duplicates.
    last: Option<(ActorId, bool)>,
}

impl Check<'_> {
    pub(super) fn fwd(&mut self) -> Result<(), StoreError> {
        let mut follows = Follows::default();
        let mut actor = None;
        let mut rows = 0u64;
        self.rows(Ks::Fwd, |this, k, v| {
            rows += 1;
            let Some((kind, id)) = read_fwd_key(k) else { return Ok(None) };
            if actor != Some(id.actor) {
                actor = Some(id.actor);
                this.named(id.actor)?;
            }
            if kind == EdgeKind::Block {
                this.told(id.actor, id.coll)?;
            }
            if kind == EdgeKind::Follow && follows.actor != Some(id.actor) {
                this.follows(&follows)?;
                follows = Follows { actor: Some(id.actor), distinct: 0 };
            }
            let Some(edge) = EdgeRow::decode(k, v) else { return Ok(None) };
            let wins = this.edge(kind, id, &edge)?;
            if kind == EdgeKind::Follow && wins {
                follows.distinct += 1;
            }
            if this.sampled(rows) {
                this.rebuild(kind, id, &edge)?;
            }
            Ok(Some(()))
        })?;
        self.follows(&follows)
    }

    fn follows(&mut self, f: &Follows) -> Result<(), StoreError> {
        match f.actor {
            Some(a) => self.counter(Target::Actor(a), Counter::Follows, f.distinct),
            None => Ok(()),
        }
    }

    /// What follows from an edge; says whether it is the one that makes its actor a fan.
    fn edge(&mut self, kind: EdgeKind, id: RecordId, edge: &EdgeRow) -> Result<bool, StoreError> {
        let wins = self.linked(kind, edge.target, id.actor, id, edge.sort_ms(id.rkey))?;
        if edge.kept {
            let row = lenient(self.s.record(id))?.filter(|row| row.valid);
            let key = fwd_key(kind, id.actor, id.rkey);
            self.mended(
                row.is_some(),
                "edge-without-record",
                |t| t.record_name(id),
                takes(Ks::Fwd, key.to_vec()),
            )?;
            if let Some(row) = row.filter(|_| wins) {
                self.via(kind, id, edge, &row)?;
            }
        }
        if kind == EdgeKind::Repost
            && let Target::Post(post) = edge.target
        {
            let sort = edge.sort_ms(id.rkey);
            let row = FeedRow { sort, rkey: id.rkey, flags: 0, repost_of: Some(post) };
            let held = self.s.get(Ks::Feed, &row.key(id.actor))?;
            self.mended(
                held.is_some_and(|v| *v == *row.encode()),
                "repost-without-feed-row",
                |t| t.record_name(id),
                puts(Ks::Feed, row.key(id.actor).to_vec(), row.encode()),
            )?;
        }
        Ok(wins)
    }

    /// An edge that came through a repost is listed under it, unless it was a duplicate when it came.
    fn via(
        &mut self,
        kind: EdgeKind,
        id: RecordId,
        edge: &EdgeRow,
        row: &RecordRow,
    ) -> Result<(), StoreError> {
        // What does not unpack is counted where records are read.
        let value = lenient(self.s.unpack(&row.packed).map(Some))?;
        let uri = value.as_ref().and_then(|value| fields::ref_uri(value, "via"));
        let Some(repost) = via_repost(&mut Known(self.s), uri)? else { return Ok(()) };
        if lenient(self.s.fan(kind, edge.target, id.actor))?.is_some_and(|fan| fan.promoted) {
            return Ok(());
        }
        let key = order_via_key(repost, edge.sort_ms(id.rkey), kind, id.actor, id.rkey);
        let listed = self.s.has(Ks::Order, &key)?;
        self.mended(
            listed,
            "edge-without-via-row",
            |t| t.record_name(id),
            puts(Ks::Order, key.to_vec(), []),
        )
    }

    /// A record on a target makes `fan` a fan, or waits as a duplicate; says which.
    pub(super) fn linked(
        &mut self,
        kind: EdgeKind,
        target: Target,
        fan: ActorId,
        id: RecordId,
        sort: i64,
    ) -> Result<bool, StoreError> {
        let held = lenient(self.s.fan(kind, target, fan))?;
        let rkey = id.indexed().map_or(id.rkey, |(_, rkey)| rkey);
        let wins = held.is_some_and(|f| f.rkey == rkey);
        let row = if wins {
            held
        } else {
            let key = duplicate_key(kind, target, fan, rkey);
            lenient(self.s.row(Ks::Rev, &key, |v| FanRow::decode(target, v)))?
        };
        let same = row.is_some_and(|f| f.sort_ms() == sort);
        let relink = move |tx: &mut Tx<'_>| link(tx, kind, target, fan, rkey, sort).map(drop);
        self.mended(same, "edge-without-fan", |t| t.record_name(id), relink)?;
        Ok(wins)
    }

    /// The record that an edge stands for can be given back.
    fn rebuild(&mut self, kind: EdgeKind, id: RecordId, edge: &EdgeRow) -> Result<(), StoreError> {
        if edge.kept {
            return Ok(());
        }
        self.report.rebuilt += 1;
        let record = lenient(edge_record(self.s, kind, id.actor, id.rkey, edge))?;
        let subject = record.as_ref().and_then(|(v, _)| {
            fields::ref_uri(v, "subject").or_else(|| fields::text(v, "subject"))
        });
        let same = match subject {
            Some(text) => self.s.target(text)? == Some(edge.target),
            None => false,
        };
        self.expect(same, "edge-does-not-rebuild", |t| t.record_name(id));
        Ok(())
    }

    pub(super) fn rev(&mut self) -> Result<(), StoreError> {
        let mut group: Option<Fans> = None;
        self.rows(Ks::Rev, |this, k, v| {
            let Some((kind, target, fan, duplicate)) = read_rev_key(k) else { return Ok(None) };
            if group.as_ref().is_none_or(|g| (g.kind, g.target) != (kind, target)) {
                this.fans(group.take())?;
                this.resolves(target)?;
                let ordered = lenient(this.s.agg(target))?.is_ordered(kind);
                group = Some(Fans { kind, target, count: 0, ordered, last: None });
            }
            let Some(g) = group.as_mut() else { return Ok(None) };
            let row = FanRow::decode(target, v);
            if duplicate.is_none() {
                g.count += 1;
                g.last = Some((fan, row.is_some_and(|r| r.duplicates)));
            }
            let Some(row) = row else { return Ok(None) };
            let known = g.last == Some((fan, true));
            if duplicate.is_some_and(|rkey| rkey != row.rkey || !known) {
                this.found(
                    "duplicate-out-of-place",
                    format!("{} by {}", this.name(target), this.name(Target::Actor(fan))),
                );
                this.fix(move |tx| {
                    let Some(first) = tx.fan(kind, target, fan)? else { return Ok(()) };
                    let first = FanRow { duplicates: true, ..first };
                    tx.put(Ks::Rev, &rev_key(kind, target, fan), &first.encode(target));
                    Ok(())
                })?;
            }
            let ordered = g.ordered && duplicate.is_none();
            this.fan(kind, target, fan, &row)?;
            if ordered {
                this.in_order(kind, target, fan, &row)?;
            }
            Ok(Some(()))
        })?;
        self.fans(group)
    }

    /// The end of a group.
    fn fans(&mut self, group: Option<Fans>) -> Result<(), StoreError> {
        let Some(Fans { kind, target, count, ordered, .. }) = group else { return Ok(()) };
        let Some((counter, may_be_ordered)) = counter_of(kind) else { return Ok(()) };
        self.counter(target, counter, count)?;
        if may_be_ordered && count > ORDERED_FROM && !ordered {
            self.found("fans-not-ordered", self.name(target));
            self.fix(move |tx| order_all(tx, kind, target))?;
        }
        Ok(())
    }

    /// A fan has a record that makes it one.
    fn fan(
        &mut self,
        kind: EdgeKind,
        target: Target,
        fan: ActorId,
        row: &FanRow,
    ) -> Result<(), StoreError> {
        // An item is written by the owner of the list, its fan is the member.
        let owner = if kind == EdgeKind::ListItem { target.actor() } else { fan };
        let id = RecordId::from_index(owner, kind.collection(), row.rkey);
        let held = if EdgeKind::compact(id.coll).is_some() {
            lenient(self.s.edge(kind, fan, row.rkey))?.is_some_and(|e| e.target == target)
        } else {
            lenient(self.s.record(id))?.is_some_and(|r| r.valid)
        };
        let rkey = row.rkey;
        let unlink = move |tx: &mut Tx<'_>| unlink(tx, kind, target, fan, rkey).map(drop);
        self.mended(held, "fan-without-edge", |t| t.record_name(id), unlink)
    }

    fn in_order(
        &mut self,
        kind: EdgeKind,
        target: Target,
        fan: ActorId,
        row: &FanRow,
    ) -> Result<(), StoreError> {
        let key = fan_key(kind, target, row.sort_ms(), fan);
        let value = row.rkey.0.to_be_bytes();
        if self.s.get(Ks::Order, &key)?.is_some_and(|v| *v == value) {
            return Ok(());
        }
        self.found(
            "fan-not-in-order",
            format!("{} of {}", self.name(Target::Actor(fan)), self.name(target)),
        );
        self.fix(move |tx| {
            tx.put(Ks::Order, &key, &value);
            Ok(())
        })
    }
}

fn read_fwd_key(k: &[u8]) -> Option<(EdgeKind, RecordId)> {
    let mut r = ByteReader::new(k);
    let kind = edge_kind(r.u8()?)?;
    let (actor, rkey) = (r.actor()?, r.rkey()?);
    let coll = kind.collection();
    let compact = EdgeKind::compact(coll).is_some();
    (r.is_empty() && compact).then_some((kind, RecordId { actor, coll, rkey }))
}

fn read_rev_key(k: &[u8]) -> Option<(EdgeKind, Target, ActorId, Option<Rkey>)> {
    let mut r = ByteReader::new(k);
    let key = (edge_kind(r.u8()?)?, r.target()?, r.actor()?);
    let rkey = if r.is_empty() { None } else { Some(r.rkey()?) };
    r.is_empty().then_some((key.0, key.1, key.2, rkey))
}
