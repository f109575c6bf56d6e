//! Ingest stops cleanly before the disk is full, and starts again by itself.

use std::path::Path;
use std::time::Duration;

/// How often free space is looked at while there is plenty.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// What to do about the space that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on, or start again.
    Run,
    /// Below the reserve: ingest must not write.
    Stop,
}

/// Ingest that stopped starts again only with a little more than the reserve, so that it does not flap.
pub(super) fn judge(free: u64, reserve: u64, running: bool) -> Verdict {
    let wanted = if running { reserve } else { reserve.saturating_add(reserve / 10) };
    if free < wanted { Verdict::Stop } else { Verdict::Run }
}

/// Free bytes where the store is; plenty if nobody can say.
pub(super) fn free(path: &Path) -> u64 {
    crate::ops::free_space(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read free space");
        u64::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_below_the_reserve_and_starts_above_it() {
        for (free, running, expect) in [
            (1000, true, Verdict::Run),
            (999, true, Verdict::Stop),
            (1000, false, Verdict::Stop),
            (1100, false, Verdict::Run),
        ] {
            assert_eq!(judge(free, 1000, running), expect, "{free} {running}");
        }
    }
}
