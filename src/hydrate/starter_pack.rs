//! Starter packs as they are shown on their own: list, feeds and a sample of the members. And who opted out of a list.
//!
//! # Invariants
//! - A sample is of the newest `CANDIDATES` members, so its cost does not grow with the list.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::graph::is_reference_list;
use super::state::State;
use super::{Hydrator, ListItem, Result, fields};
use crate::schema::rows::{Counter, EdgeKind, RecordRow, rev_prefix};
use crate::schema::{ActorId, Key, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader};

/// Members that the sample is taken from.
const CANDIDATES: usize = 50;
/// Members shown.
const SAMPLE: usize = 12;
/// Opt-outs of one account that are looked at.
const MAX_OPT_OUTS: usize = 1_000;

/// The lists that an account asks not to be on, with the key of the record; mostly none.
pub(super) type OptOuts = Option<Arc<FxHashMap<RecordId, Rkey>>>;

/// What they take, bytes.
pub(super) fn weight(opt_outs: &OptOuts) -> u64 {
    96 + opt_outs.as_ref().map_or(0, |held| 64 + 28 * held.capacity() as u64)
}

/// What a starter pack holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StarterPack {
    /// The list of its members, if the store has a number for it.
    pub list: Option<RecordId>,
    /// Its feeds, in the pack's order.
    pub feeds: Vec<RecordId>,
    /// Members with the most followers.
    pub sample: Vec<SampleItem>,
}

/// A member in the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleItem {
    /// The list item, as AT-URI.
    pub uri: String,
    /// Who.
    pub member: ActorId,
    /// Does not want to be on the list; only its owner gets to know.
    pub opted_out: bool,
}

impl Hydrator<'_> {
    /// What `starterPackView` needs.
    pub fn starter_packs(&self, state: &mut State, ids: &[RecordId]) -> Result<()> {
        self.starter_packs_basic(state, ids)?;
        for &id in ids {
            let Some(record) = state.record(id).map(|record| record.value.clone()) else {
                continue;
            };
            let feeds = fields::list(&record, "feeds").iter();
            let feeds = feeds.filter_map(|feed| fields::text(feed, "uri"));
            let mut pack = StarterPack {
                list: self.record_at(fields::text(&record, "list").unwrap_or_default(), c::LIST)?,
                ..StarterPack::default()
            };
            for uri in feeds {
                pack.feeds.extend(self.record_at(uri, c::GENERATOR)?);
            }
            self.feed_generators(state, &pack.feeds)?;
            if let Some(list) = pack.list {
                self.lists(state, &[list])?;
                pack.sample = self.sample(state, list)?;
            }
            state.packs.insert(id, pack);
        }
        Ok(())
    }

    /// The members of a list that have the most followers among its newest.
    fn sample(&self, state: &mut State, list: RecordId) -> Result<Vec<SampleItem>> {
        let owner = self.ctx.viewer == Some(list.actor);
        let items = self.candidates(list)?;
        if !owner {
            self.blocks(state, items.iter().map(|item| (list.actor, item.member)))?;
        }
        let mut ranked: Vec<(u64, ListItem)> = Vec::with_capacity(items.len());
        for item in items.into_iter().filter(|i| owner || !state.blocked(list.actor, i.member)) {
            let agg = self.snapshot.agg(Target::Actor(item.member))?;
            ranked.push((agg.get(Counter::Followers), item));
        }
        ranked.sort_by_key(|(followers, _)| std::cmp::Reverse(*followers));
        let may_leave = owner && state.record(list).is_some_and(is_reference_list);
        let (mut sample, mut members) = (Vec::new(), Vec::new());
        for (_, item) in ranked.into_iter().take(SAMPLE) {
            let id = RecordId { actor: list.actor, coll: c::LISTITEM, rkey: item.rkey };
            if self.is_taken_down(Target::Record(id)) {
                continue;
            }
            members.push(item.member);
            sample.push(SampleItem {
                uri: self.snapshot.uri(id)?,
                member: item.member,
                opted_out: may_leave && self.opt_out(list, item.member)?.is_some(),
            });
        }
        self.profiles(state, &members)?;
        Ok(sample)
    }

    /// The newest members of a list, as [`Self::list_items`] gives them.
    fn candidates(&self, list: RecordId) -> Result<Vec<ListItem>> {
        // Whatever changes the items of a list changes one of these rows.
        let row = rev_prefix(EdgeKind::ListItem, Target::Record(list));
        let held = self.snapshot.view(&self.shared.candidates, (Ks::Rev, &row), || {
            Ok((self.newest_items(list, None, CANDIDATES, false)?.items.into(), true))
        })?;
        if self.may_leave(list)? {
            for item in held.iter() {
                if self.opt_out(list, item.member)?.is_some() {
                    return Ok(self.list_items(list, None, CANDIDATES)?.items);
                }
            }
        }
        Ok(held.to_vec())
    }

    /// The record of a collection that a URI names, if the store has a number for it.
    pub fn record_at(&self, uri: &str, coll: crate::schema::CollId) -> Result<Option<RecordId>> {
        let target = self.snapshot.target(uri)?;
        Ok(target.and_then(Target::record).filter(|id| id.coll == coll))
    }

    /// The record by which `member` asks not to be on `list`, as AT-URI.
    pub fn opt_out(&self, list: RecordId, member: ActorId) -> Result<Option<String>> {
        let held = self.opt_outs(member)?;
        let rkey = held.as_ref().and_then(|held| held.get(&list));
        let id = rkey.map(|rkey| RecordId { actor: member, coll: c::LIST_OPT_OUT, rkey: *rkey });
        id.map(|id| self.snapshot.uri(id)).transpose()
    }

    fn opt_outs(&self, member: ActorId) -> Result<OptOuts> {
        let prefix = Key::new().actor(member).u32(c::LIST_OPT_OUT.0);
        self.snapshot.view(&self.shared.opt_outs, (Ks::Record, &prefix), || {
            let mut rows = Vec::new();
            self.snapshot.scan_prefix(Ks::Record, &prefix, &mut |key, value| {
                let row = RecordRow::decode(value).filter(|row| row.valid);
                rows.extend(RecordId::from_bytes(key).zip(row));
                rows.len() < MAX_OPT_OUTS
            })?;
            let (mut held, mut settled) = (FxHashMap::default(), true);
            for (id, row) in rows {
                let value = self.snapshot.unpack(&row.packed)?;
                let subject = fields::text(&value, "subject").unwrap_or_default();
                match self.snapshot.target(subject)? {
                    Some(Target::Record(list)) => _ = held.entry(list).or_insert(id.rkey),
                    Some(_) => {}
                    // The store may get to know it later.
                    None => settled = false,
                }
            }
            Ok((Some(Arc::new(held)).filter(|held| !held.is_empty()), settled))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::REFERENCELIST;
    use super::super::testing::{Fixture, seen_by};
    use super::*;
    use crate::schema::rows::rev_key;

    fn newest(f: &Fixture, list: RecordId, viewer: ActorId) -> Vec<ActorId> {
        f.hydrate(&seen_by(Some(viewer)), |h| {
            h.candidates(list).unwrap().iter().map(|item| item.member).collect()
        })
    }

    #[test]
    fn the_newest_members_follow_every_change_and_those_who_left_are_there_for_the_owner() {
        let f = Fixture::new();
        let [owner, a, b, d] = ["owner", "a", "b", "d"].map(|name| f.account(name));
        let list = f.list(owner, "3kref", REFERENCELIST, &[a, b]);
        let uri = f.snapshot().uri(list).unwrap();
        assert_eq!((newest(&f, list, owner), newest(&f, list, a)), (vec![b, a], vec![b, a]));
        let leave = |subject: &str, rkey: &str| {
            let record = serde_json::json!({
                "$type": "app.bsky.graph.referencelistoptout", "subject": subject,
                "createdAt": "2023-03-01T00:00:00.000Z",
            });
            f.record(b, "app.bsky.graph.referencelistoptout", rkey, record)
        };
        // One that the store does not know yet, and then does.
        let later = "at://did:plc:later/app.bsky.graph.list/3kref";
        leave(later, "3kaaaaaaaaa2a");
        assert_eq!(newest(&f, list, a), [b, a]);
        let id = leave(&uri, "3kaaaaaaaaa3a");
        assert_eq!((newest(&f, list, owner), newest(&f, list, a)), (vec![b, a], vec![a]));
        let unknown = f.list(f.account("later"), "3kref", REFERENCELIST, &[a, b]);
        assert_eq!(newest(&f, unknown, a), [a]);
        f.write(move |tx| {
            tx.del(Ks::Record, &id.to_bytes());
            Ok(())
        });
        assert_eq!(newest(&f, list, a), [b, a]);
        let item = serde_json::json!({
            "$type": "app.bsky.graph.listitem", "list": uri, "subject": "did:plc:d",
            "createdAt": "2023-03-01T00:00:00.000Z",
        });
        f.record(owner, "app.bsky.graph.listitem", "3kitem", item);
        assert_eq!(newest(&f, list, owner), [b, a, d]);
        f.write(move |tx| {
            tx.del(Ks::Rev, &rev_key(EdgeKind::ListItem, Target::Record(list), a));
            Ok(())
        });
        assert_eq!(newest(&f, list, owner), [b, d]);
    }
}
