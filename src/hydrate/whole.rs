//! Pages of what is read whole and sorted, since no index has it in the order of the reference: records of a collection,
//! lists that are blocked or muted, mutes, subscriptions.
//!
//! # Invariants
//! - An answer reads such rows once, however often its page has to be filled up, and no more than `MAX_SORTED` of them.
//!   Of mutes and subscriptions beyond that pages are in the order of the accounts' numbers.

use super::edges::MAX_SORTED;
use super::page::{Page, Sorted, TimeCursor, page};
use super::record::record_cid;
use super::{Hydrator, Result, fields};
use crate::private::{self, Kind, Mute};
use crate::schema::rows::RecordRow;
use crate::schema::{ActorId, CollId, Key, RecordId, Rows, Target};
use crate::store::{Ks, Reader};
use crate::syntax::{Tid, datetime::normalize_ms};

/// Records, each with the digest that decides among those of the same time.
pub struct Records(Sorted<(RecordId, [u8; 32])>);

impl Records {
    /// A page of them, the latest first.
    pub fn page(&self, cursor: Option<&TimeCursor>, limit: usize) -> Result<Page<RecordId>> {
        let page = self.0.page(cursor, limit, |(_, digest)| Ok(record_cid(digest)))?;
        Ok(Page { items: page.items.into_iter().map(|(id, _)| id).collect(), cursor: page.cursor })
    }
}

/// The accounts that a viewer muted, in part or entirely.
pub struct Mutes<'h> {
    h: Hydrator<'h>,
    viewer: ActorId,
    /// `None` if they are too many to sort.
    held: Option<Sorted<(ActorId, Mute)>>,
}

impl Mutes<'_> {
    /// Those on a page that are muted entirely, the last muted first. Others are on the page without being shown.
    pub fn page(&self, cursor: Option<&TimeCursor>, limit: usize) -> Result<Page<ActorId>> {
        let did = |(id, _): &(ActorId, Mute)| self.h.snapshot.did(*id).map(|did| did.to_string());
        let all = match &self.held {
            Some(held) => held.page(cursor, limit, did)?,
            None => {
                let after = cursor.map(|c| ActorId(u32::try_from(c.ms).unwrap_or(0)));
                let most = limit.saturating_add(1);
                let rows = private::mutes(self.h.snapshot, self.viewer, after, most)?;
                page(rows.into_iter().map(|row| (i64::from(row.0.0), row)).collect(), limit, did)?
            }
        };
        let full = all.items.into_iter().filter(|(_, mute)| mute.is_full());
        Ok(Page { items: full.map(|(id, _)| id).collect(), cursor: all.cursor })
    }
}

/// The accounts whose activity a viewer subscribed to. The cursor is a TID; its clock number tells those of the same
/// millisecond apart.
pub struct Subscriptions<'h> {
    h: Hydrator<'h>,
    viewer: ActorId,
    /// The first made first; `None` if they are too many to sort.
    held: Option<Vec<(Tid, ActorId)>>,
}

impl Subscriptions<'_> {
    /// A page of those made before `before`, the last first.
    pub fn page(&self, before: Option<Tid>, limit: usize) -> Result<Page<ActorId>> {
        let most = limit.saturating_add(1);
        let rows: Vec<(Tid, ActorId)> = match &self.held {
            Some(held) => {
                let older = held.iter().rev().filter(|(key, _)| before.is_none_or(|b| *key < b));
                older.take(most).copied().collect()
            }
            None => {
                let after = before.map(|b| ActorId(u32::try_from(b.micros()).unwrap_or(u32::MAX)));
                let after = after.map(Target::Actor);
                let rows = Kind::Subscription;
                let rows = private::list_of(self.h.snapshot, rows, self.viewer, after, most)?;
                let number = |id: ActorId| Tid::from_micros(u64::from(id.0), 0);
                rows.into_iter().map(|(row, _)| (number(row.actor()), row.actor())).collect()
            }
        };
        let shown = rows.get(..limit).unwrap_or(&rows);
        let cursor = shown.last().filter(|_| rows.len() > limit).map(|(key, _)| key.to_string());
        Ok(Page { items: shown.iter().map(|(_, id)| *id).collect(), cursor })
    }
}

impl Hydrator<'_> {
    /// The valid records that an account has in a collection with rows of its own: lists, feed generators.
    pub fn records_of(&self, actor: ActorId, coll: CollId) -> Result<Records> {
        let (mut all, mut left) = (Vec::new(), MAX_SORTED);
        let prefix = Key::new().actor(actor).u32(coll.0);
        self.snapshot.scan_prefix(Ks::Record, &prefix, &mut |key, value| {
            let head = RecordRow::decode_head(value).filter(|row| row.valid);
            all.extend(RecordId::from_bytes(key).zip(head).map(|(id, r)| (r.sort, (id, r.cid))));
            left -= 1;
            left > 0
        })?;
        Ok(Records(Sorted::new(all)))
    }

    /// The lists among `lists` that are indexed, by their own `createdAt`: when an account began to block or mute a
    /// list does not matter to the reference.
    pub fn lists_by_age(&self, lists: &[RecordId]) -> Result<Records> {
        let mut all: Vec<(i64, (RecordId, [u8; 32]))> = Vec::with_capacity(lists.len());
        for &id in lists {
            let Some(row) = self.snapshot.record(id)?.filter(|row| row.valid) else { continue };
            let value = self.snapshot.unpack(&row.packed)?;
            let created = fields::text(&value, "createdAt").map_or(row.sort, normalize_ms);
            all.push((created, (id, row.cid)));
        }
        Ok(Records(Sorted::new(all)))
    }

    /// The accounts that a viewer muted.
    pub fn mutes(&self, viewer: ActorId) -> Result<Mutes<'_>> {
        let all = private::mutes(self.snapshot, viewer, None, MAX_SORTED + 1)?;
        let held = (all.len() <= MAX_SORTED)
            .then(|| Sorted::new(all.into_iter().map(|row| (row.1.at, row)).collect()));
        Ok(Mutes { h: *self, viewer, held })
    }

    /// The accounts whose activity a viewer subscribed to.
    pub fn subscriptions(&self, viewer: ActorId) -> Result<Subscriptions<'_>> {
        let rows =
            private::list_of(self.snapshot, Kind::Subscription, viewer, None, MAX_SORTED + 1)?;
        if rows.len() > MAX_SORTED {
            return Ok(Subscriptions { h: *self, viewer, held: None });
        }
        let mut all: Vec<(i64, ActorId)> =
            rows.into_iter().map(|(subject, at)| (at, subject.actor())).collect();
        all.sort_unstable();
        let (mut same, mut last) = (0u16, i64::MIN);
        let mut keyed: Vec<(Tid, ActorId)> = Vec::with_capacity(all.len());
        for (at, subject) in all {
            same = if at == last { same.saturating_add(1) } else { 0 };
            last = at;
            let micros = u64::try_from(at).unwrap_or(0).saturating_mul(1000);
            let micros = micros.saturating_add(u64::from(same >> 10));
            keyed.push((Tid::from_micros(micros, same), subject));
        }
        Ok(Subscriptions { h: *self, viewer, held: Some(keyed) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::private::subscriptions::{self, Subscription};
    use crate::schema::Edit;

    const MANY: u32 = MAX_SORTED as u32 + 1;

    /// Every page, following cursors to the end.
    fn walk(mut page: impl FnMut(Option<&str>) -> Page<ActorId>) -> Vec<u32> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let next = page(cursor.as_deref());
            all.extend(next.items.iter().map(|id| id.0));
            assert!(all.len() <= 2 * MAX_SORTED, "pages go round");
            cursor = next.cursor;
            if cursor.is_none() {
                return all;
            }
        }
    }

    #[test]
    fn mutes_that_are_too_many_to_sort_are_paged_by_number() {
        let f = Fixture::new();
        let me = f.account("me");
        let mutes = |f: &Fixture, limit| {
            f.hydrate(&seen_by(Some(me)), |h| {
                let mutes = h.mutes(me).unwrap();
                let all = walk(|cursor| {
                    mutes.page(cursor.and_then(TimeCursor::parse).as_ref(), limit).unwrap()
                });
                (all, mutes.held.is_some())
            })
        };
        f.write(move |tx| {
            for n in 0..MANY {
                let other = tx.intern_actor(&format!("did:plc:other{n}"))?;
                let mute = Mute { at: NOW + i64::from(n), only_reposts: n == 2, ..Mute::default() };
                private::put_mute(tx, me, other, mute)?;
            }
            Ok(())
        });
        let (all, sorted) = mutes(&f, 999);
        assert_eq!((all.len() as u32, sorted), (MANY - 1, false));
        assert!(all.is_sorted());
        let first = ActorId(all[0]);
        f.write(move |tx| {
            private::remove(tx, Kind::MutedActor, me, Some(Target::Actor(first)));
            Ok(())
        });
        let (fewer, sorted) = mutes(&f, 999);
        assert_eq!((fewer.len(), sorted), (all.len() - 1, true));
        assert!(fewer.is_sorted_by(|a, b| a > b), "the last muted first");
    }

    #[test]
    fn subscriptions_that_are_too_many_to_sort_are_paged_by_number() {
        let f = Fixture::new();
        let me = f.account("me");
        f.write(move |tx| {
            for n in 0..MANY {
                let other = tx.intern_actor(&format!("did:plc:other{n}"))?;
                let to = Subscription { at: NOW, post: true, reply: false };
                subscriptions::put(tx, me, other, to)?;
            }
            Ok(())
        });
        let all = f.hydrate(&seen_by(Some(me)), |h| {
            let held = h.subscriptions(me).unwrap();
            assert!(held.held.is_none());
            walk(|cursor| held.page(cursor.and_then(Tid::parse), 999).unwrap())
        });
        assert_eq!(all.len() as u32, MANY);
        assert!(all.is_sorted());
    }
}
