//! What one repo holds of the bytes that all fetched repos may hold together.

use crate::threads::{Budget, Held};

/// What every repo that is fetched has, and waits for: the smallest table of blocks, some blocks, pieces on their way.
pub(crate) const LEAST: u64 = 2 << 20;
/// Of that, the pieces.
const PIECES: u64 = 768 << 10;
/// It grows by so much at a time.
const STEP: u64 = 256 << 10;

/// The bytes of one repo.
pub(crate) struct Quota {
    held: Held,
    used: u64,
    /// What blocks may take; the rest is for the table of them.
    blocks: u64,
    /// Where it may get more, and how much it may have.
    more: Option<(Budget, u64)>,
}

impl Quota {
    /// Waits for the least; it grows up to a quarter of all while there is some left.
    pub(crate) async fn growing(bytes: &Budget) -> Self {
        let most = (bytes.limit() / 4).max(LEAST);
        let (held, more) = (bytes.take(LEAST).await, Some((bytes.clone(), most)));
        Self { held, used: PIECES, blocks: most / 4, more }
    }

    /// These and no more, of which blocks may take so many.
    pub(crate) fn fixed(held: Held, blocks: u64) -> Self {
        Self { held, used: 0, blocks, more: None }
    }

    /// What blocks may take.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Counts `bytes` as used if they fit.
    pub(crate) fn fits(&mut self, bytes: u64) -> bool {
        while self.used + bytes > self.held.bytes() {
            let Some((all, most)) = &self.more else { return false };
            let step = STEP.min(most.saturating_sub(self.held.bytes()));
            match all.try_take(step) {
                Some(more) if more.bytes() > 0 => self.held.add(more),
                _ => return false,
            }
        }
        self.used += bytes;
        true
    }

    /// Part of the smallest table: that was waited for, so it is counted in any case.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.used += bytes;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_grows_to_its_part_while_there_is_some_left() {
        let all = Budget::new(32 << 20);
        let mut quota = Quota::growing(&all).await;
        assert!(quota.fits(LEAST - PIECES) && all.held() == LEAST);
        assert!(quota.fits(6 << 20) && !quota.fits(1 << 20), "a quarter is the most");
        assert!(all.held() <= 8 << 20);
        // When nothing is left, it does with what it has, and the next repo waits.
        let others = all.take((24 << 20) - LEAST).await;
        let mut second = Quota::growing(&all).await;
        assert!(!second.fits(LEAST - PIECES + 1) && second.fits(LEAST - PIECES));
        assert!(Quota::growing(&all).now_or_never().is_none());
        drop((others, second, quota));
        assert_eq!(all.held(), 0);
        let mut fixed = Quota::fixed(all.take(STEP).await, STEP);
        assert!(fixed.fits(STEP) && !fixed.fits(1));
    }
}
