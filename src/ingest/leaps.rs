//! Whether the next sequence number of a stream can be true.
//!
//! The cursor goes where the numbers go. One frame that says 2^63-1 would leave it there for good: what comes after it
//! is below, and at the next connection nothing is behind it. So a number that is further ahead than the time since the
//! last one allows is refused, with its connection, and the cursor stays.

/// Numbers that a stream may pass over at once. The whole network makes some hundred million a day.
const MOST: i64 = 1_000_000_000;
/// Numbers that it may use up each millisecond on top of that, as while it is caught up with.
const PER_MS: i64 = 1000;
/// Numbers that it may have passed over each millisecond while nothing came from it: ten times what the whole network
/// makes.
const SILENT_PER_MS: i64 = 10;
/// How long nothing may have come from it when that is not known, because this process is younger than that. Only for
/// one that says itself that it has not all of it any more.
const AWAY_MS: i64 = 30 * 24 * 3600 * 1000;
/// How far a clock may be ahead of ours, in microseconds.
const AHEAD_US: i64 = 600 * 1_000_000;
/// 2020 in microseconds: numbers above that, in one of the [`UNITS`], may be times.
const FIRST_US: i64 = 1_577_836_800_000_000;
/// Some streams count time: in microseconds (Jetstream), in nanoseconds, or as TIDs do.
const UNITS: [i64; 3] = [1, 1000, 1024];

/// A number that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sequence number leaps from {from} to {to}, which is refused, and the cursor stays; if the stream truly goes on \
     there, give its URL with the path of the subscription, or without it if it has one: then it is read from its \
     oldest event"
)]
pub(crate) struct Leap {
    from: i64,
    to: i64,
}

/// The numbers of one stream.
#[derive(Debug)]
pub(crate) struct Numbers {
    last: Option<i64>,
    /// How many it may still pass over at once, as of `counted`.
    left: i64,
    counted: Option<i64>,
    /// When the last one came, if one did.
    came: Option<i64>,
    /// It said that it has not all any more of what lies behind the cursor.
    outdated: bool,
}

impl Numbers {
    /// Behind this one.
    pub(crate) fn after(last: Option<i64>) -> Self {
        Self { last, left: MOST, counted: None, came: None, outdated: false }
    }

    /// What was known is of another beginning.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::after(None);
    }

    /// The stream has not all any more of what lies behind the cursor.
    pub(crate) fn outdated(&mut self) {
        self.outdated = true;
    }

    /// The next one, at `now` in milliseconds since the epoch. One that is refused changes nothing.
    pub(crate) fn next(&mut self, number: i64, now: i64) -> Result<(), Leap> {
        let Some(last) = self.last else {
            // The greatest that any of the units can give.
            return match number <= ahead(now).saturating_mul(1024) {
                true => self.take(number, now, 0),
                false => Err(Leap { from: 0, to: number }),
            };
        };
        let passed = number.saturating_sub(last);
        if passed <= 0 {
            self.came = Some(now);
            return Ok(());
        }
        let counted = self.counted.get_or_insert(now);
        if passed > self.left {
            let since = now.saturating_sub(*counted).max(0);
            self.left = since.saturating_mul(PER_MS).saturating_add(self.left).min(MOST);
            *counted = now;
        }
        if passed <= self.left {
            return self.take(number, now, passed);
        }
        let silent = match self.came {
            Some(came) => now.saturating_sub(came).max(0),
            None if self.outdated => AWAY_MS,
            None => 0,
        };
        if passed <= silent.saturating_mul(SILENT_PER_MS) || are_times(last, number, now) {
            return self.take(number, now, 0);
        }
        Err(Leap { from: last, to: number })
    }

    fn take(&mut self, number: i64, now: i64, passed: i64) -> Result<(), Leap> {
        (self.last, self.came) = (Some(number), Some(now));
        self.left -= passed;
        Ok(())
    }
}

fn ahead(now: i64) -> i64 {
    now.saturating_mul(1000).saturating_add(AHEAD_US)
}

/// Whether both may be times, the newer one not in the future.
fn are_times(last: i64, number: i64, now: i64) -> bool {
    UNITS.into_iter().any(|unit| last / unit >= FIRST_US && number / unit <= ahead(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_number_far_ahead_is_refused_and_the_next_one_is_not() {
        let mut numbers = Numbers::after(Some(20_000_000_000));
        for to in [i64::MAX, 1 << 60, 21_000_000_002] {
            assert_eq!(numbers.next(to, NOW), Err(Leap { from: 20_000_000_000, to }));
        }
        numbers.next(20_000_000_001, NOW).unwrap();
        numbers.next(20_000_000_000, NOW).unwrap();
        assert!(numbers.next(i64::MAX, NOW).is_err(), "a replay is no new beginning");
        // Nothing is known of a stream that is new here, but there are limits.
        assert!(Numbers::after(None).next(i64::MAX, NOW).is_err());
        let mut new = Numbers::after(None);
        new.next(20_000_000_000, NOW).unwrap();
        assert!(new.next(i64::MAX, NOW).is_err());
        new.begin_anew();
        new.next(5, NOW).unwrap();
    }

    #[test]
    fn many_leaps_are_one() {
        let mut numbers = Numbers::after(Some(1));
        let leaps = |numbers: &mut Numbers, now| {
            let mut leap = || numbers.next(numbers.last.unwrap() + 100_000_000, now).is_ok();
            (0..100).take_while(|_| leap()).count()
        };
        assert_eq!(leaps(&mut numbers, NOW), 10);
        assert_eq!(leaps(&mut numbers, NOW + 1000), 0);
        assert_eq!(leaps(&mut numbers, NOW + 200_000), 2, "by the time that went by");
    }

    #[test]
    fn one_that_was_away_may_be_far_ahead() {
        let week = 7 * 24 * HOUR;
        let mut numbers = Numbers::after(Some(5));
        numbers.next(6, NOW).unwrap();
        assert!(numbers.next(6_000_000_000, NOW + HOUR).is_err());
        numbers.next(6_000_000_000, NOW + week).unwrap();
        // After a start it is not known how long that was; a relay tells that its oldest is younger than the cursor.
        let mut numbers = Numbers::after(Some(5));
        assert!(numbers.next(20_000_000_000, NOW).is_err());
        numbers.outdated();
        assert!(numbers.next(i64::MAX, NOW).is_err());
        numbers.next(20_000_000_000, NOW).unwrap();
        assert!(numbers.next(40_000_000_000, NOW).is_err(), "once");
    }

    #[test]
    fn numbers_that_are_times_go_with_the_time() {
        for unit in UNITS {
            let at = |ms: i64| ms * 1000 * unit;
            let mut numbers = Numbers::after(Some(at(NOW - 1000 * HOUR)));
            numbers.next(at(NOW - 10 * HOUR), NOW).unwrap();
            numbers.next(at(NOW), NOW).unwrap();
            // Two of the units are nearly the same.
            assert!(numbers.next(at(NOW + 20_000 * HOUR), NOW).is_err(), "{unit}");
            numbers.next(at(NOW + 1), NOW).unwrap();
        }
    }
}
