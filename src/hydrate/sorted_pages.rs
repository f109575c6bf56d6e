//! Pages of what is read at once and sorted, since no index has it in the order of the reference: records of a
//! collection, lists that are blocked or muted, mutes, subscriptions.
//!
//! # Invariants
//! - An answer reads such rows once, however often its page has to be filled up: of records no more than `MAX_SORTED`,
//!   of mutes and subscriptions no more than `MAX_OWN`.
//! - Order and cursors come from times, CIDs and DIDs alone, never from the store's numbers, so that a page that one
//!   replica began another goes on with.

use super::page::{MAX_SORTED, Page, Sorted, TimeCursor};
use super::{Hydrator, Result};
use crate::private::{self, Kind, Mute};
use crate::repo::fields;
use crate::schema::rows::RecordRow;
use crate::schema::{ActorId, CollId, Key, RecordId, Rows};
use crate::store::{Ks, Reader};
use crate::syntax::{Tid, datetime::normalize_ms};

/// Mutes and subscriptions of one account that are listed; what is beyond is left out. Reading and sorting so many takes
/// some 6 MB and a few tens of milliseconds.
const MAX_OWN: usize = 100_000;

/// Records; among those of the same time their CID decides.
pub struct Records<'h> {
    h: Hydrator<'h>,
    sorted: Sorted<RecordId>,
}

impl Records<'_> {
    /// A page of them, the latest first.
    pub fn page(&self, cursor: Option<&TimeCursor>, limit: usize) -> Result<Page<RecordId>> {
        self.sorted.page(cursor, limit, |id| self.h.row_cid(*id))
    }
}

/// The accounts that a viewer muted, in part or entirely.
pub struct Mutes<'h> {
    h: Hydrator<'h>,
    sorted: Sorted<(ActorId, Mute)>,
}

impl Mutes<'_> {
    /// Those on a page that are muted entirely, the last muted first. Others are on the page without being shown.
    pub fn page(&self, cursor: Option<&TimeCursor>, limit: usize) -> Result<Page<ActorId>> {
        let did = |(id, _): &(ActorId, Mute)| self.h.snapshot.did(*id).map(|did| did.to_string());
        let all = self.sorted.page(cursor, limit, did)?;
        let full = all.items.into_iter().filter(|(_, mute)| mute.is_full());
        Ok(Page { items: full.map(|(id, _)| id).collect(), cursor: all.cursor })
    }
}

/// The accounts whose activity a viewer subscribed to, the first made first. The cursor is a TID; its clock number tells
/// those of the same millisecond apart.
pub struct Subscriptions(Vec<(Tid, ActorId)>);

impl Subscriptions {
    /// A page of those made before `before`, the last first.
    #[must_use]
    pub fn page(&self, before: Option<Tid>, limit: usize) -> Page<ActorId> {
        let older = before.map_or(self.0.len(), |b| self.0.partition_point(|(key, _)| *key < b));
        let older = self.0.get(..older).unwrap_or_default();
        let shown = older.iter().rev().take(limit);
        let more = older.len() > limit;
        let cursor = shown.clone().next_back().filter(|_| more).map(|(key, _)| key.to_string());
        Page { items: shown.map(|(_, id)| *id).collect(), cursor }
    }
}

impl Hydrator<'_> {
    /// The valid records that an account has in a collection with rows of its own: lists, feed generators.
    pub fn records_of(&self, actor: ActorId, coll: CollId) -> Result<Records<'_>> {
        let (mut all, mut left) = (Vec::new(), MAX_SORTED);
        let prefix = Key::new().actor(actor).u32(coll.0);
        self.snapshot.scan_prefix(Ks::Record, &prefix, &mut |key, value| {
            let head = RecordRow::decode_head(value).filter(|row| row.valid);
            all.extend(RecordId::from_bytes(key).zip(head).map(|(id, row)| (row.sort, id)));
            left -= 1;
            left > 0
        })?;
        Ok(Records { h: *self, sorted: Sorted::new(all) })
    }

    /// The lists among `lists` that are indexed, by their own `createdAt`: when an account began to block or mute a
    /// list does not matter to the reference.
    pub fn lists_by_age(&self, lists: &[RecordId]) -> Result<Records<'_>> {
        let mut all: Vec<(i64, RecordId)> = Vec::with_capacity(lists.len());
        for &id in lists {
            let Some(row) = self.snapshot.record(id)?.filter(|row| row.valid) else { continue };
            let value = self.snapshot.unpack(&row.packed)?;
            let created = fields::text(&value, "createdAt").map_or(row.sort, normalize_ms);
            all.push((created, id));
        }
        Ok(Records { h: *self, sorted: Sorted::new(all) })
    }

    /// The accounts that a viewer muted.
    pub fn mutes(&self, viewer: ActorId) -> Result<Mutes<'_>> {
        let all = private::mutes(self.snapshot, viewer, None, MAX_OWN)?;
        let sorted = Sorted::new(all.into_iter().map(|row| (row.1.at, row)).collect());
        Ok(Mutes { h: *self, sorted })
    }

    /// The accounts whose activity a viewer subscribed to.
    pub fn subscriptions(&self, viewer: ActorId) -> Result<Subscriptions> {
        let rows = private::list_of(self.snapshot, Kind::Subscription, viewer, None, MAX_OWN)?;
        let mut all: Vec<(i64, ActorId)> =
            rows.into_iter().map(|(subject, at)| (at, subject.actor())).collect();
        all.sort_unstable();
        let mut keyed: Vec<(Tid, ActorId)> = Vec::with_capacity(all.len());
        for same in all.chunk_by_mut(|a, b| a.0 == b.0) {
            if same.len() > 1 {
                let named: Result<Vec<_>> =
                    same.iter().map(|row| Ok((self.snapshot.did(row.1)?, *row))).collect();
                let mut named = named?;
                named.sort_unstable();
                same.iter_mut().zip(named).for_each(|(row, (_, sorted))| *row = sorted);
            }
            for (n, (at, subject)) in same.iter().enumerate() {
                let n = u16::try_from(n).unwrap_or(u16::MAX);
                let micros = u64::try_from(*at).unwrap_or(0).saturating_mul(1000);
                let micros = micros.saturating_add(u64::from(n >> 10));
                keyed.push((Tid::from_micros(micros, n), *subject));
            }
        }
        Ok(Subscriptions(keyed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::private::subscriptions::Subscription;
    use crate::schema::{Edit, Rows};

    /// More than other rows are sorted of.
    const MANY: u32 = MAX_SORTED as u32 + 1;

    /// Every page, following cursors to the end; the first is read from the first store, the second from the second.
    fn walk(
        mut page: impl FnMut(usize, Option<&str>) -> (Vec<String>, Option<String>),
    ) -> Vec<String> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        for n in 0.. {
            let (items, next) = page(n % 2, cursor.as_deref());
            all.extend(items);
            assert!(all.len() <= 2 * MAX_SORTED, "pages go round");
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        all
    }

    /// Two stores in which the same accounts have other numbers, and the account that asks in each.
    fn replicas(
        put: fn(&mut crate::store::Tx<'_>, ActorId, ActorId, u32) -> Result<()>,
    ) -> [(Fixture, ActorId); 2] {
        [false, true].map(|reversed| {
            let f = Fixture::new();
            let me = f.account("me");
            f.write(move |tx| {
                for n in 0..MANY {
                    let n = if reversed { MANY - 1 - n } else { n };
                    let other = tx.intern_actor(&format!("did:plc:other{n:05}"))?;
                    put(tx, me, other, n)?;
                }
                Ok(())
            });
            (f, me)
        })
    }

    fn dids(f: &Fixture, page: &Page<ActorId>) -> Vec<String> {
        let s = f.snapshot();
        page.items.iter().map(|id| s.did(*id).unwrap().to_string()).collect()
    }

    #[test]
    fn a_page_of_mutes_that_one_store_began_another_with_other_numbers_goes_on_with() {
        let stores = replicas(|tx, me, other, n| {
            // Hundreds at a time, so that names decide too.
            let at = NOW + i64::from(n / 300);
            let mute = Mute { at, only_reposts: n == 2, ..Mute::default() };
            private::testing::put_mute(tx, me, other, mute)
        });
        let contexts = [0, 1].map(|at: usize| seen_by(Some(stores[at].1)));
        let all = walk(|at, cursor| {
            let (f, me) = &stores[at];
            f.hydrate(&contexts[at], |h| {
                let cursor = cursor.and_then(TimeCursor::parse);
                let page = h.mutes(*me).unwrap().page(cursor.as_ref(), 999).unwrap();
                (dids(f, &page), page.cursor)
            })
        });
        let expect = (0..MANY).rev().filter(|n| *n != 2).map(|n| format!("did:plc:other{n:05}"));
        assert!(all.into_iter().eq(expect), "each once, the last muted first");
    }

    #[test]
    fn a_page_of_subscriptions_that_one_store_began_another_with_other_numbers_goes_on_with() {
        let stores = replicas(|tx, me, other, n| {
            let at = NOW + i64::from(n / 300);
            private::testing::subscribe(
                tx,
                me,
                other,
                Subscription { at, post: true, reply: false },
            )
        });
        let contexts = [0, 1].map(|at: usize| seen_by(Some(stores[at].1)));
        let all = walk(|at, cursor| {
            let (f, me) = &stores[at];
            f.hydrate(&contexts[at], |h| {
                let page = h.subscriptions(*me).unwrap().page(cursor.and_then(Tid::parse), 999);
                (dids(f, &page), page.cursor)
            })
        });
        let expect = (0..MANY).rev().map(|n| format!("did:plc:other{n:05}"));
        assert!(all.into_iter().eq(expect), "each once, the last made first");
    }
}
