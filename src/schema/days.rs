//! On which days accounts were first heard of here. Their numbers go up, so a row for each day says with which number it
//! began.
//!
//! Accounts from before there were such rows count to the first day that has one.

use super::bytes::ByteReader;
use super::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx};

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// What the keys begin with.
pub(super) const TAG: u8 = b'y';

/// A day of UTC, counted from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time in milliseconds since the epoch.
    #[must_use]
    pub fn of(ms: i64) -> Self {
        Self(u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(0))
    }

    /// When it begins, in milliseconds since the epoch.
    #[must_use]
    pub fn begins_at(self) -> i64 {
        i64::from(self.0) * DAY_MS
    }
}

/// Accounts that were first heard of on a day, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newcomers {
    /// The day.
    pub day: Day,
    /// The first of them.
    pub first: ActorId,
    /// The one after the last.
    pub end: ActorId,
}

/// Whether a row decodes.
pub(super) fn decodes(key: &[u8], value: &[u8]) -> bool {
    row(key, value).is_some()
}

fn row(key: &[u8], value: &[u8]) -> Option<(Day, ActorId)> {
    let (mut key, mut value) = (ByteReader::new(key.strip_prefix(&[TAG])?), ByteReader::new(value));
    let row = (Day(key.u32()?), value.actor()?);
    (key.is_empty() && value.is_empty()).then_some(row)
}

/// A day begins: whoever gets a number from now on was first heard of on it, or on a later one.
pub fn begin(tx: &mut Tx<'_>, day: Day) -> Result<(), StoreError> {
    let first = super::names::last_actor(tx)?.map_or(1, |last| last.0.saturating_add(1));
    tx.put_kept(Ks::Meta, &Key::tag(TAG).u32(day.0), &first.to_be_bytes());
    Ok(())
}

/// The newest day that has a row.
pub fn newest<R: Reader + ?Sized>(r: &R) -> Result<Option<Day>, StoreError> {
    let mut newest = None;
    r.scan(Ks::Meta, &[TAG], Some(&[TAG + 1]), true, &mut |key, value| {
        newest = row(key, value).map(|(day, _)| day);
        newest.is_none()
    })?;
    Ok(newest)
}

/// Every day on which somebody was first heard of, the oldest first.
pub fn newcomers<R: Reader + ?Sized>(r: &R) -> Result<Vec<Newcomers>, StoreError> {
    let mut days: Vec<Newcomers> = Vec::new();
    r.scan(Ks::Meta, &[TAG], Some(&[TAG + 1]), false, &mut |key, value| {
        if let Some((day, first)) = row(key, value) {
            let first = if days.is_empty() { ActorId(1) } else { first };
            if let Some(before) = days.last_mut() {
                before.end = first;
            }
            days.push(Newcomers { day, first, end: first });
        }
        true
    })?;
    if let (Some(last), Some(actor)) = (days.last_mut(), super::names::last_actor(r)?) {
        last.end = ActorId(actor.0.saturating_add(1));
    }
    days.retain(|day| day.first < day.end);
    Ok(days)
}
