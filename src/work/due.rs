//! Something to do at a time. Rows of the `jobs` keyspace, the same for every kind:
//!
//! | tag | key | value |
//! |---|---|---|
//! | of the kind | when due, what | what the kind keeps beside it |
//! | `w` | tag of the kind | the watermark |
//!
//! Work that is done leaves a tombstone, and a scan from the head would pass over all of them. So every scan begins at
//! the watermark, which moves with the work. One [`Sleeper`] a kind waits for the next row to be due.
//!
//! It knows nothing of what is done: a new kind is a line in [`Kind`].
//!
//! # Invariants
//! - No row is due before the watermark: a new one that would be is due at the watermark, and the watermark only
//!   moves up to the first row that is left. Both are decided by the writer, inside the batch.

use std::time::Duration;

use crate::schema::Key;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::store::{Ks, Reader, StoreError, Tx};

/// What is to be done. The number is the tag of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A notification is to be pushed: `outbox` rows, see `pushes`.
    Push = b'p',
    /// A handle is to be looked up: see `handles`.
    Handle = b'h',
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Push, Self::Handle];

    fn watermark(self) -> Key {
        Key::tag(WATERMARK).u8(self as u8)
    }

    fn at(self, due: i64) -> Key {
        Key::tag(self as u8).u64(u64::try_from(due).unwrap_or(0))
    }
}

const WATERMARK: u8 = b'w';
/// The longest sleep: the clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Every row of the kind is due at this time or later.
pub fn watermark<R: Reader + ?Sized>(r: &R, kind: Kind) -> Result<i64, StoreError> {
    Ok(r.row(Ks::Jobs, &kind.watermark(), |b| ByteReader::new(b).zigzag())?.unwrap_or(0))
}

/// Adds something to do; gives when it is due, which is the watermark at the earliest.
pub fn put(
    tx: &mut Tx<'_>,
    kind: Kind,
    due: i64,
    what: &[u8],
    value: &[u8],
) -> Result<i64, StoreError> {
    let due = due.max(watermark(tx, kind)?);
    tx.put(Ks::Jobs, &kind.at(due).bytes(what), value);
    Ok(due)
}

/// Whether it is to be done.
pub fn has<R: Reader>(r: &R, kind: Kind, due: i64, what: &[u8]) -> Result<bool, StoreError> {
    r.has(Ks::Jobs, &kind.at(due).bytes(what))
}

/// Takes it away.
pub fn remove(tx: &mut Tx<'_>, kind: Kind, due: i64, what: &[u8]) {
    tx.del(Ks::Jobs, &kind.at(due).bytes(what));
}

/// Moves the watermark to the first row that is left, at most to `now`.
pub fn advance(tx: &mut Tx<'_>, kind: Kind, now: i64) -> Result<(), StoreError> {
    let from = watermark(tx, kind)?;
    let mut to = now;
    scan(tx, kind, &mut |due, _, _| {
        to = to.min(due);
        false
    })?;
    if to > from {
        let mut value = Vec::with_capacity(8);
        push_zigzag(&mut value, to);
        tx.put(Ks::Jobs, &kind.watermark(), &value);
    }
    Ok(())
}

/// Lets what is due later than anything of its kind waits be due `now`, and the watermark with it: the clock was ahead
/// when they were written, and what comes would wait for the watermark.
pub fn bring_back(tx: &mut Tx<'_>, kind: Kind, now: i64, longest: i64) -> Result<(), StoreError> {
    let late = now.saturating_add(longest);
    let mut found = Vec::new();
    tx.scan(Ks::Jobs, &kind.at(late), Some(&[kind as u8 + 1]), false, &mut |k, v| {
        found.extend(parts(k).map(|(due, what)| (due, what.to_vec(), v.to_vec())));
        true
    })?;
    if watermark(tx, kind)? > late {
        let mut value = Vec::with_capacity(8);
        push_zigzag(&mut value, now);
        tx.put(Ks::Jobs, &kind.watermark(), &value);
    }
    for (due, what, value) in found {
        remove(tx, kind, due, &what);
        put(tx, kind, now, &what, &value)?;
    }
    Ok(())
}

/// Called with when something is due, what it is, and what is kept beside it; `false` ends the scan.
pub type VisitDue<'f> = &'f mut dyn FnMut(i64, &[u8], &[u8]) -> bool;

/// Visits what is to be done, the longest due first.
pub fn scan<R: Reader>(r: &R, kind: Kind, f: VisitDue<'_>) -> Result<(), StoreError> {
    let from = kind.at(watermark(r, kind)?);
    r.scan(Ks::Jobs, &from, Some(&[kind as u8 + 1]), false, &mut |k, v| match parts(k) {
        Some((due, what)) => f(due, what, v),
        None => true,
    })
}

/// How many rows there are, counted up to `limit`.
pub fn count<R: Reader>(r: &R, kind: Kind, limit: usize) -> Result<usize, StoreError> {
    let mut n = 0;
    scan(r, kind, &mut |_, _, _| {
        n += 1;
        n < limit
    })?;
    Ok(n)
}

/// When, and what, of a key.
pub(super) fn parts(key: &[u8]) -> Option<(i64, &[u8])> {
    let mut k = ByteReader::new(key.get(1..)?);
    Some((i64::try_from(k.u64()?).ok()?, k.rest()))
}

/// Whether the row of a watermark is whole.
pub(super) fn watermark_decodes(key: &[u8], value: &[u8]) -> bool {
    let known = Kind::ALL.iter().any(|kind| *key == *kind.watermark());
    known && ByteReader::new(value).zigzag().is_some()
}

/// Waits for what is to be done, for the one that does it.
pub struct Sleeper {
    nudge: flume::Receiver<()>,
}

impl Sleeper {
    /// One that `nudge` wakes when there are new rows.
    #[must_use]
    pub fn new(nudge: flume::Receiver<()>) -> Self {
        Self { nudge }
    }

    /// Returns when something is new, or at `until`, of which it is `now`, but looks every minute anyway. Without
    /// `until`, only when something is new; `false` if nothing can be any more.
    pub async fn wait(&self, until: Option<i64>, now: i64) -> bool {
        let Some(until) = until else { return self.nudge.recv_async().await.is_ok() };
        let pause = Duration::from_millis(until.saturating_sub(now).max(0).unsigned_abs());
        let nudged = async {
            if self.nudge.recv_async().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(pause.min(MAX_SLEEP), nudged).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_for_news_and_for_the_time_and_knows_when_nothing_can_come() {
        let (tell, nudge) = flume::bounded(1);
        let sleeper = Sleeper::new(nudge);
        tell.send(()).unwrap();
        assert!(sleeper.wait(None, 0).await && sleeper.wait(Some(0), 5).await);
        tell.send(()).unwrap();
        assert!(sleeper.wait(Some(i64::MAX), 0).await, "told before it is time");
        drop(tell);
        assert!(!sleeper.wait(None, 0).await);
        assert!(sleeper.wait(Some(3), 0).await, "there may still be old rows");
    }
}
