//! Starter packs as they are shown on their own: list, feeds and a sample of the members. And who opted out of a list.
//!
//! # Invariants
//! - A sample is of the newest `CANDIDATES` members, so its cost does not grow with the list.

use super::graph::is_reference_list;
use super::state::State;
use super::{Hydrator, ListItem, Result, fields};
use crate::store::rows::{Counter, RecordRow};
use crate::store::{ActorId, Key, Ks, Reader, RecordId, Target, collections as c};

/// Members that the sample is taken from.
const CANDIDATES: usize = 50;
/// Members shown.
const SAMPLE: usize = 12;
/// Opt-outs of one account that are looked at.
const MAX_OPT_OUTS: usize = 1_000;

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
        let items = self.list_items(list, None, CANDIDATES)?.items;
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

    /// The record of a collection that a URI names, if the store has a number for it.
    pub fn record_at(&self, uri: &str, coll: crate::store::CollId) -> Result<Option<RecordId>> {
        let target = self.snapshot.target(uri)?;
        Ok(target.and_then(Target::record).filter(|id| id.coll == coll))
    }

    /// The record by which `member` asks not to be on `list`, as AT-URI.
    pub fn opt_out(&self, list: RecordId, member: ActorId) -> Result<Option<String>> {
        let prefix = Key::new().actor(member).u32(c::LIST_OPT_OUT.0);
        let mut rows = Vec::new();
        self.snapshot.scan_prefix(Ks::Record, &prefix, &mut |key, value| {
            let row = RecordRow::decode(value).filter(|row| row.valid);
            rows.extend(RecordId::from_bytes(key).zip(row));
            rows.len() < MAX_OPT_OUTS
        })?;
        for (id, row) in rows {
            let value = self.snapshot.unpack(&row.packed)?;
            let subject = fields::text(&value, "subject").unwrap_or_default();
            if self.record_at(subject, c::LIST)? == Some(list) {
                return self.snapshot.uri(id).map(Some);
            }
        }
        Ok(None)
    }
}
