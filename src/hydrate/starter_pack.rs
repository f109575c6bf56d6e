//! Starter packs as they are shown on their own: list, feeds and a sample of the members.
//!
//! # Invariants
//! - A sample is of the newest `CANDIDATES` members, so its cost does not grow with the list.

use std::sync::Arc;

use super::edges::{ListItem, OptedOut};
use super::graph::is_reference_list;
use super::state::{HydrationState, SampleItem, StarterPack};
use super::{Hydrator, Result};
use crate::repo::fields;
use crate::schema::rows::{Counter, EdgeKind, rev_prefix};
use crate::schema::{RecordId, Rows, Target, collections as c};
use crate::store::{Ks, RowViews};

/// Members that the sample is taken from.
const CANDIDATES: usize = 50;
/// Members shown.
const SAMPLE: usize = 12;

/// The newest members of lists, by list.
pub(super) type NewestMembersCache = RowViews<Arc<[ListItem]>>;

/// A cache of the newest members of up to `entries` lists, eight hundred bytes each.
pub(super) fn cache(entries: usize) -> NewestMembersCache {
    RowViews::new(entries)
}

impl Hydrator<'_> {
    /// What `starterPackView` needs.
    pub fn starter_packs(&self, state: &mut HydrationState, ids: &[RecordId]) -> Result<()> {
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
    fn sample(&self, state: &mut HydrationState, list: RecordId) -> Result<Vec<SampleItem>> {
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
        // Cached by the rows of the list's members: every change of the items changes one of them.
        let row = rev_prefix(EdgeKind::ListItem, Target::Record(list));
        let held = self.snapshot.view(&self.shared.newest_members, (Ks::Rev, &row), || {
            Ok((self.newest_items(list, None, CANDIDATES, OptedOut::Kept)?.items.into(), true))
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
}

#[cfg(test)]
mod tests {
    use super::super::graph::REFERENCELIST;
    use super::super::testing::{Fixture, seen_by};
    use super::*;
    use crate::schema::rows::rev_key;
    use crate::schema::{ActorId, Rows};

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
