//! Edges seen from their target: one account counts once, however many records it has on the target.
//!
//! The first record of an account on a target wins; further ones wait as duplicates, have no effect, and the
//! oldest is promoted when the winner is deleted.

use crate::schema::rows::{Counter, EdgeKind, FanRow, duplicate_key, fan_key, rev_key, rev_prefix};
use crate::schema::{ActorId, Edit, Key, Rkey, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

/// From this many fans on they are kept in order of time too; below, a page is sorted when it is read.
pub(super) const ORDERED_FROM: u64 = 2048;

/// What a new record on a target did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linked {
    /// The account is a fan now.
    New,
    /// It already was.
    Duplicate,
}

/// What the loss of a record on a target did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlinked {
    /// The account is no fan any more.
    Gone,
    /// A duplicate took its place, or it was one.
    Still,
}

/// The counter of a kind at its target, and whether fans in order of time are of use for it.
pub(super) fn counter_of(kind: EdgeKind) -> Option<(Counter, bool)> {
    match kind {
        EdgeKind::Like => Some((Counter::Likes, true)),
        EdgeKind::Repost => Some((Counter::Reposts, true)),
        EdgeKind::Follow => Some((Counter::Followers, true)),
        EdgeKind::ListItem => Some((Counter::Items, false)),
        EdgeKind::Block | EdgeKind::ListBlock | EdgeKind::Verification => None,
    }
}

/// `fan` has a record on `target`.
pub(super) fn link(
    tx: &mut Tx<'_>,
    kind: EdgeKind,
    target: Target,
    fan: ActorId,
    rkey: Rkey,
    sort: i64,
) -> Result<Linked, StoreError> {
    let key = rev_key(kind, target, fan);
    let sort_delta = sort.saturating_sub(rkey.millis());
    let new = FanRow { rkey, sort_delta, duplicates: false, promoted: false };
    let counter = counter_of(kind);
    // The counter is at hand, while it takes the engine several files to find out that there is no such fan.
    let is_first = match counter {
        Some((counter, _)) => tx.agg(target)?.get(counter) == 0,
        None => false,
    };
    let winner = if is_first { None } else { tx.fan(kind, target, fan)? };
    if let Some(mut winner) = winner {
        if winner.rkey == rkey {
            return Ok(Linked::Duplicate);
        }
        winner.duplicates = true;
        tx.put(Ks::Rev, &key, &winner.encode(target));
        tx.put(Ks::Rev, &duplicate_key(kind, target, fan, rkey), &new.encode(target));
        return Ok(Linked::Duplicate);
    }
    tx.put(Ks::Rev, &key, &new.encode(target));
    let Some((counter, ordered)) = counter else { return Ok(Linked::New) };
    let agg = tx.count(target, counter, 1)?;
    if agg.is_ordered(kind) {
        tx.put(Ks::Order, &fan_key(kind, target, sort, fan), &rkey.0.to_be_bytes());
    } else if ordered && agg.get(counter) > ORDERED_FROM {
        order_all(tx, kind, target)?;
    }
    Ok(Linked::New)
}

/// Writes the fans of a target in order of time, once.
pub(super) fn order_all(tx: &mut Tx<'_>, kind: EdgeKind, target: Target) -> Result<(), StoreError> {
    let prefix = rev_prefix(kind, target);
    let mut rows: Vec<(Key, Rkey)> = Vec::new();
    tx.scan_prefix(Ks::Rev, &prefix, &mut |k, v| {
        // Longer keys are duplicates.
        if let (Some(fan), Some(row)) =
            (k.get(prefix.len()..).and_then(actor_only), FanRow::decode(target, v))
        {
            rows.push((fan_key(kind, target, row.sort_ms(), fan), row.rkey));
        }
        true
    })?;
    for (key, rkey) in rows {
        tx.put(Ks::Order, &key, &rkey.0.to_be_bytes());
    }
    tx.update_agg(target, |a| a.set_ordered(kind))?;
    Ok(())
}

fn actor_only(b: &[u8]) -> Option<ActorId> {
    b.try_into().ok().map(|b| ActorId(u32::from_be_bytes(b)))
}

/// The record of `fan` on `target` is gone.
pub(super) fn unlink(
    tx: &mut Tx<'_>,
    kind: EdgeKind,
    target: Target,
    fan: ActorId,
    rkey: Rkey,
) -> Result<Unlinked, StoreError> {
    let key = rev_key(kind, target, fan);
    let Some(winner) = tx.fan(kind, target, fan)? else { return Ok(Unlinked::Still) };
    if winner.rkey != rkey {
        tx.del(Ks::Rev, &duplicate_key(kind, target, fan, rkey));
        return Ok(Unlinked::Still);
    }
    let counter = counter_of(kind);
    let ordered = counter.is_some() && tx.agg(target)?.is_ordered(kind);
    if ordered {
        tx.del(Ks::Order, &fan_key(kind, target, winner.sort_ms(), fan));
    }
    if winner.duplicates
        && let Some(next) = first_duplicate(tx, target, &key)?
    {
        tx.del(Ks::Rev, &duplicate_key(kind, target, fan, next.rkey));
        tx.put(Ks::Rev, &key, &FanRow { duplicates: true, promoted: true, ..next }.encode(target));
        if ordered {
            tx.put(
                Ks::Order,
                &fan_key(kind, target, next.sort_ms(), fan),
                &next.rkey.0.to_be_bytes(),
            );
        }
        return Ok(Unlinked::Still);
    }
    tx.del(Ks::Rev, &key);
    if let Some((counter, _)) = counter {
        tx.count(target, counter, -1)?;
    }
    Ok(Unlinked::Gone)
}

fn first_duplicate(tx: &Tx<'_>, target: Target, key: &Key) -> Result<Option<FanRow>, StoreError> {
    let mut found = None;
    tx.scan_prefix(Ks::Rev, key, &mut |k, v| {
        if k.len() > key.len() {
            found = FanRow::decode(target, v);
        }
        found.is_none()
    })?;
    Ok(found)
}
