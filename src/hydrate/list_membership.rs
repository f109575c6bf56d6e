//! Who is on a list.
//!
//! For each account that an answer shows it asks whether the account is on a list that somebody blocks or muted. When it
//! has asked often about the same list, all members are read at once and cached; until then single rows are read.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, rev_prefix};
use crate::schema::{ActorId, RecordId, Rows, Target};
use crate::store::{Ks, Reader, RowViews};

/// ListMembers that are held of one list.
const MAX_HELD: u64 = 10_000;
/// So many rows of a scan cost as much as a point read.
const SCAN_ADVANTAGE: u64 = 8;

/// The members of a list; `None` if they are too many to hold, or to read for what was asked.
type ListMembers = Option<Arc<FxHashSet<ActorId>>>;

/// Members by list.
pub(super) type ListMembersCache = RowViews<ListMembers>;

/// A cache of members of lists, of `budget` bytes together.
pub(super) fn cache(budget: u64) -> ListMembersCache {
    RowViews::weighed(budget, weight)
}

/// Bytes that the members of a list take.
fn weight(members: &ListMembers) -> u64 {
    128 + members.as_ref().map_or(0, |members| 6 * members.capacity() as u64)
}

/// What one answer knows of the lists that it asked about.
pub(super) type ListLookups = FxHashMap<RecordId, ListLookup>;

/// What one answer knows of a list.
pub(super) struct ListLookup {
    members: ListMembers,
    /// Rows that were read one by one because the members are not held.
    reads: u64,
}

impl Hydrator<'_> {
    /// Whether an account is on a list.
    pub fn is_member(&self, list: RecordId, member: ActorId) -> Result<bool> {
        Ok(self.snapshot.fan(EdgeKind::ListItem, Target::Record(list), member)?.is_some())
    }

    /// The same for an answer that asks about a list for many accounts.
    pub(super) fn is_on_list(
        &self,
        lookups: &mut ListLookups,
        list: RecordId,
        member: ActorId,
    ) -> Result<bool> {
        let lookup = match lookups.entry(list) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(slot) => {
                slot.insert(ListLookup { members: self.members(list, 0)?, reads: 0 })
            }
        };
        if lookup.members.is_none() {
            lookup.reads += 1;
            // By now reading all members costs no more than the rows that were read one by one.
            if lookup.reads.is_power_of_two() {
                lookup.members = self.members(list, lookup.reads * SCAN_ADVANTAGE)?;
            }
        }
        match &lookup.members {
            Some(members) => Ok(members.contains(&member)),
            None => self.is_member(list, member),
        }
    }

    /// The members of a list if they are held, or no more than `most`.
    fn members(&self, list: RecordId, most: u64) -> Result<ListMembers> {
        let target = Target::Record(list);
        let prefix = rev_prefix(EdgeKind::ListItem, target);
        self.snapshot.view(&self.shared.list_members, (Ks::Rev, &prefix), || {
            let most = most.min(MAX_HELD);
            if self.snapshot.agg(target)?.get(Counter::Items) > most {
                return Ok((None, false));
            }
            // The counter counts a member once, however many items name it, but a scan reads every item.
            let (mut members, mut left) = (FxHashSet::default(), 2 * most + 1);
            self.snapshot.scan_prefix(Ks::Rev, &prefix, &mut |key, _| {
                members
                    .extend(ByteReader::new(key.get(prefix.len()..).unwrap_or_default()).actor());
                left -= 1;
                left > 0
            })?;
            let complete = left > 0;
            Ok((Some(Arc::new(members)).filter(|_| complete), complete))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::MODLIST;
    use super::super::testing::{Fixture, seen_by};
    use super::*;
    use crate::schema::rows::rev_key;
    use crate::schema::{Edit, Rows};

    /// Which of `accounts` are on a list, asked in one answer, and whether it was held in the end.
    fn listed(f: &Fixture, list: RecordId, accounts: &[ActorId]) -> (Vec<bool>, bool) {
        f.hydrate(&seen_by(None), |h| {
            let mut lookups = ListLookups::default();
            let on = accounts.iter().map(|id| h.is_on_list(&mut lookups, list, *id).unwrap());
            (on.collect(), lookups.get(&list).is_some_and(|lookup| lookup.members.is_some()))
        })
    }

    #[test]
    fn a_list_that_is_asked_about_often_is_held_and_follows_every_change() {
        let f = Fixture::new();
        let people: Vec<ActorId> = (0..20).map(|n| f.account(&format!("p{n}"))).collect();
        let list = f.list(people[0], "3kmod", MODLIST, &people[..10]);
        let all = |on: usize| (0..20).map(|n| n < on).collect::<Vec<_>>();
        assert_eq!(listed(&f, list, &people[..1]), (vec![true], false), "not worth it");
        assert_eq!(listed(&f, list, &people), (all(10), true));
        assert_eq!(listed(&f, list, &people[10..11]), (vec![false], true), "held from then on");
        let before = f.snapshot();
        let other = f.list(people[0], "3kother", MODLIST, &people[..2]);
        let item = serde_json::json!({
            "$type": "app.bsky.graph.listitem", "list": f.snapshot().uri(list).unwrap(),
            "subject": "did:plc:p10", "createdAt": "2023-02-01T00:00:00.000Z",
        });
        f.record(people[0], "app.bsky.graph.listitem", "3kitem", item);
        assert_eq!(listed(&f, list, &people), (all(11), true));
        assert_eq!(listed(&f, other, &people), (all(2), true));
        let ctx = seen_by(None);
        let h = Hydrator { snapshot: &before, ctx: &ctx, shared: &f.shared };
        assert!(
            !h.is_on_list(&mut ListLookups::default(), list, people[10]).unwrap(),
            "an older snapshot"
        );
        let gone = people[10];
        f.write(move |tx| {
            tx.del(Ks::Rev, &rev_key(EdgeKind::ListItem, Target::Record(list), gone));
            tx.count(Target::Record(list), Counter::Items, -1).map(drop)
        });
        assert_eq!(listed(&f, list, &people), (all(10), true));
    }

    #[test]
    fn a_list_that_is_too_long_is_read_one_by_one() {
        let f = Fixture::new();
        let people: Vec<ActorId> = (0..4).map(|n| f.account(&format!("p{n}"))).collect();
        let list = f.list(people[0], "3kmod", MODLIST, &people[..2]);
        f.write(move |tx| {
            tx.count(Target::Record(list), Counter::Items, MAX_HELD as i64).map(drop)
        });
        let often: Vec<ActorId> = people.iter().copied().cycle().take(1 << 12).collect();
        let (on, held) = listed(&f, list, &often);
        assert_eq!((&on[..4], held), (&[true, true, false, false][..], false));
    }
}
