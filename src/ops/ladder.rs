//! The disk ladder: what has to be done without so that the disk does not run full. It knows no disk and no clock.
//!
//! Steps are taken one after the other or several at once, and each is left only with a little more room than it was
//! taken with, so that nothing flaps.

use serde::Serialize;

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
    /// Ingest stands still; reads go on.
    Stop,
}

/// What is known of the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// Bytes that may be used.
    pub free: u64,
    /// Bytes under which ingest stops.
    pub stop_below: u64,
    /// Until then.
    pub days_left: Option<f64>,
    /// Days left from which on to warn; 0 for never.
    pub warn_days: u32,
}

impl Space {
    /// Days until ingest stops, if `fall` bytes are lost each day and the store grows by no more than `growth`.
    #[must_use]
    pub fn days_left(free: u64, stop_below: u64, fall: f64, growth: Option<u64>) -> Option<f64> {
        let left = free.saturating_sub(stop_below);
        let endless = fall < 1.0 || growth.is_some_and(|growth| growth < left);
        (!endless).then(|| left as f64 / fall)
    }
}

impl Step {
    /// Every step, upwards.
    pub const ALL: [Self; 5] =
        [Self::Normal, Self::Warn, Self::HoldBackfill, Self::Prune, Self::Stop];

    /// Its name in logs, counters and the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::HoldBackfill => "hold_backfill",
            Self::Prune => "prune",
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
            Self::Stop => stop_below,
        }
    }

    /// The step that follows.
    #[must_use]
    pub fn next(self, space: &Space) -> Self {
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
            Self::HoldBackfill | Self::Prune | Self::Stop => {
                let below = self.below(space.stop_below);
                space.free < below.saturating_add(if already { below / 10 } else { 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{HoldBackfill, Normal, Prune, Stop, Warn};

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
            (Normal, 999, None, Stop),
            (Normal, 1000, None, Prune),
            (Stop, 1099, None, Stop),
            (Stop, 1100, None, Prune),
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
        for (free, fall, growth, expected) in table {
            assert_eq!(Space::days_left(*free, 1000, *fall, *growth), *expected, "{free} {fall}");
        }
    }
}
