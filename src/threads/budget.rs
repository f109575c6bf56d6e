//! Bytes that many hold at once and of which there are only so many: who wants more waits, or is told so.
//!
//! # Invariants
//! - Those who wait get theirs in the order in which they came.
//! - Whoever waits should hold nothing of the same bytes, or two who wait for each other wait for ever; who holds some and
//!   wants more tries ([`Budget::try_take`]) and does without, or waits for a while only.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What they are counted in.
const UNIT: u64 = 4 << 10;

/// The bytes. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Budget {
    left: Arc<Semaphore>,
    units: u32,
}

/// Some of them, until it is dropped.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Budget {
    /// So many, to within four thousand.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        // A semaphore has room for an eighth of its integers, which a small machine's are too few for.
        let units = units(bytes).clamp(1, 1 << 28);
        Self { left: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits for `bytes`. Who wants more than there are gets all of them, and is alone then.
    pub async fn take(&self, bytes: u64) -> Held {
        let units = units(bytes).min(self.units);
        // It is never closed.
        Held(Arc::clone(&self.left).acquire_many_owned(units).await.ok())
    }

    /// Takes them if they are there now, and nobody waits.
    #[must_use]
    pub fn try_take(&self, bytes: u64) -> Option<Held> {
        let permit = Arc::clone(&self.left).try_acquire_many_owned(units(bytes)).ok()?;
        Some(Held(Some(permit)))
    }

    /// All that there are.
    #[must_use]
    pub fn limit(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    /// How many are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.limit().saturating_sub(self.left.available_permits() as u64 * UNIT)
    }
}

impl Held {
    /// Puts others of the same with these.
    pub fn add(&mut self, more: Self) {
        match (&mut self.0, more.0) {
            (Some(permit), Some(more)) => permit.merge(more),
            (none, more) => *none = more,
        }
    }

    /// Gives all back but `bytes`.
    pub fn keep(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.0 {
            let over = permit.num_permits().saturating_sub(units(bytes) as usize);
            drop(permit.split(over));
        }
    }

    /// How many these are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |permit| permit.num_permits() as u64 * UNIT)
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn they_are_held_until_dropped_and_never_more_than_there_are() {
        let bytes = Budget::new(10 * UNIT);
        let mut held = bytes.take(UNIT + 1).await;
        assert_eq!((held.bytes(), bytes.held(), bytes.limit()), (2 * UNIT, 2 * UNIT, 10 * UNIT));
        held.add(bytes.try_take(3 * UNIT).unwrap());
        assert!(
            bytes.try_take(6 * UNIT).is_none() && bytes.take(u64::MAX).now_or_never().is_none()
        );
        held.keep(UNIT);
        held.keep(7 * UNIT);
        assert_eq!((held.bytes(), bytes.held()), (UNIT, UNIT));
        drop(held);
        let all = bytes.take(u64::MAX).await;
        assert_eq!((all.bytes(), bytes.held()), (10 * UNIT, 10 * UNIT), "however much it wants");
        drop(all);
        assert_eq!(bytes.held(), 0);
        let mut none = Held::default();
        none.keep(0);
        none.add(bytes.try_take(1).unwrap());
        assert_eq!((none.bytes(), Budget::new(u64::MAX).held()), (UNIT, 0));
    }

    #[tokio::test]
    async fn who_wants_little_does_not_pass_who_waits_for_much() {
        let bytes = Budget::new(10 * UNIT);
        let first = bytes.take(6 * UNIT).await;
        let mut much = Box::pin(bytes.take(8 * UNIT));
        assert!(futures_util::poll!(&mut much).is_pending());
        assert!(bytes.take(UNIT).now_or_never().is_none());
        drop(first);
        assert_eq!(much.await.bytes(), 8 * UNIT);
    }
}
