//! The disk ladder: what has to be done without so that the disk does not run full. It knows no disk and no clock.
//!
//! Steps are taken one after the other or several at once, and each is left only with a little more room than it was
//! taken with, so that nothing flaps.

use serde::Serialize;

use super::trend::Fall;

/// How many times as long as it was seen a rate is believed. With the two and a half days that are remembered that is
/// enough for the default of `store.warn_days`; half an hour of a backfill says something about the next three hours,
/// not about days.
const FORESIGHT: f64 = 6.0;

/// A step, with all before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// There is room.
    #[default]
    Normal,
    /// At this rate the disk is full in a few days.
    Warn,
    /// Backfill pauses.
    HoldBackfill,
    /// Retention runs now, and takes more away than it would.
    Prune,
    /// Search takes nothing new in; it answers with what it has.
    HoldSearch,
    /// Ingest stands still; reads go on.
    Stop,
}

/// What is known of the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Space {
    /// Bytes that may be used.
    pub(super) free: u64,
    /// Bytes under which ingest stops.
    pub(super) stop_below: u64,
    /// Until then.
    pub(super) days_left: Option<f64>,
    /// Days left from which on to warn; 0 for never.
    pub(super) warn_days: u32,
}

impl Space {
    /// Days until ingest stops at the rate that was seen, if the store grows by no more than `growth`. A rate says
    /// nothing about what lies [`FORESIGHT`] times as far ahead as it was seen for, or farther: that is `None` too.
    #[must_use]
    pub(super) fn days_left(
        free: u64,
        stop_below: u64,
        fall: Fall,
        growth: Option<u64>,
    ) -> Option<f64> {
        let left = free.saturating_sub(stop_below);
        if fall.per_day < 1.0 || growth.is_some_and(|growth| growth < left) {
            return None;
        }
        Some(left as f64 / fall.per_day).filter(|days| *days < fall.seen_days * FORESIGHT)
    }
}

impl Step {
    /// Every step, upwards.
    const ALL: [Self; 6] =
        [Self::Normal, Self::Warn, Self::HoldBackfill, Self::Prune, Self::HoldSearch, Self::Stop];

    /// Its name in logs, counters and the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::HoldBackfill => "hold_backfill",
            Self::Prune => "prune",
            Self::HoldSearch => "hold_search",
            Self::Stop => "stop",
        }
    }

    /// Bytes under which the step is taken.
    #[must_use]
    pub fn below(self, stop_below: u64) -> u64 {
        match self {
            Self::Normal | Self::Warn => 0,
            Self::HoldBackfill => stop_below.saturating_mul(2),
            Self::Prune => stop_below.saturating_add(stop_below / 2),
            Self::HoldSearch => stop_below.saturating_add(stop_below / 4),
            Self::Stop => stop_below,
        }
    }

    /// The step that follows.
    #[must_use]
    pub(super) fn next(self, space: &Space) -> Self {
        let holds = |step: &Self| step.holds(space, self >= *step);
        Self::ALL.into_iter().rev().find(holds).unwrap_or_default()
    }

    fn holds(self, space: &Space, already: bool) -> bool {
        match self {
            Self::Normal => true,
            Self::Warn => {
                let days = f64::from(space.warn_days) * if already { 1.25 } else { 1.0 };
                space.days_left.is_some_and(|left| left < days)
            }
            Self::HoldBackfill | Self::Prune | Self::HoldSearch | Self::Stop => {
                let below = self.below(space.stop_below);
                space.free < below.saturating_add(if already { below / 10 } else { 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trend::Trend;
    use super::*;
    use Step::{HoldBackfill, HoldSearch, Normal, Prune, Stop, Warn};

    #[test]
    fn steps_are_left_with_more_room_than_they_are_taken_with() {
        let table: &[(Step, u64, Option<f64>, Step)] = &[
            (Normal, 5000, None, Normal),
            (Normal, 5000, Some(14.0), Normal),
            (Normal, 5000, Some(13.9), Warn),
            (Warn, 5000, Some(17.0), Warn),
            (Warn, 5000, Some(17.5), Normal),
            (Warn, 5000, None, Normal),
            (Normal, 2000, None, Normal),
            (Normal, 1999, None, HoldBackfill),
            (Warn, 1999, Some(1.0), HoldBackfill),
            (HoldBackfill, 2199, None, HoldBackfill),
            (HoldBackfill, 2200, None, Normal),
            (HoldBackfill, 2200, Some(15.0), Warn),
            (HoldBackfill, 1499, None, Prune),
            (Prune, 1649, None, Prune),
            (Prune, 1650, None, HoldBackfill),
            (Prune, 1249, None, HoldSearch),
            (HoldSearch, 1374, None, HoldSearch),
            (HoldSearch, 1375, None, Prune),
            (Normal, 999, None, Stop),
            (Normal, 1000, None, HoldSearch),
            (Stop, 1099, None, Stop),
            (Stop, 1100, None, HoldSearch),
            (Stop, 9000, None, Normal),
            (Stop, 9000, Some(2.0), Warn),
        ];
        for (now, free, days_left, next) in table {
            let space =
                Space { free: *free, stop_below: 1000, days_left: *days_left, warn_days: 14 };
            assert_eq!(now.next(&space), *next, "{now:?} {free} {days_left:?}");
        }
        let never = Space { free: 5000, stop_below: 1000, days_left: Some(0.1), warn_days: 0 };
        assert_eq!(Normal.next(&never), Normal);
    }

    #[test]
    fn days_until_ingest_stops() {
        let table: &[(u64, f64, Option<u64>, Option<f64>)] = &[
            (1100, 10.0, None, Some(10.0)),
            (500, 10.0, None, Some(0.0)),
            (1100, 0.0, None, None),
            (1100, -10.0, None, None),
            // The store's own budget comes first.
            (1100, 10.0, Some(99), None),
            (1100, 10.0, Some(100), Some(10.0)),
        ];
        for (free, per_day, growth, expected) in table {
            let fall = Fall { per_day: *per_day, seen_days: 2.5 };
            let left = Space::days_left(*free, 1000, fall, *growth);
            assert_eq!(left, *expected, "{free} {per_day}");
        }
    }

    #[test]
    fn a_rate_of_minutes_is_not_extrapolated_over_days() {
        const GB: u64 = 1_000_000_000;
        let step = |hours: u64, mb_a_minute: u64, free: u64| {
            let mut trend = Trend::default();
            for at in (0..hours * 3600).step_by(20) {
                trend.add(at, 1000 * GB - at * mb_a_minute * 1_000_000 / 60);
            }
            let fall = trend.fall().expect("enough was seen");
            let days_left = Space::days_left(free, GB, fall, None);
            let space = Space { free, stop_below: GB, days_left, warn_days: 14 };
            (Normal.next(&space), days_left)
        };
        // A start that catches up: 64 GB are gone in half a day, if it went on like this.
        assert_eq!(step(1, 100, 64 * GB), (Normal, None));
        // So fast that it is a matter of the hours that were seen.
        let (taken, left) = step(1, 1000, 16 * GB);
        assert!(
            taken == Warn && left.is_some_and(|days| (0.2 / 24.0..0.3).contains(&days)),
            "{left:?}"
        );
        // It does go on like this.
        assert_eq!(step(60, 10, 64 * GB).0, Warn);
    }
}
