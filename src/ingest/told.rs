//! What time it is by what an upstream sends: a second opinion about the clock of this machine.
//!
//! A frame says when it was sent, and the time that passed since it came is known without a wall clock. One frame a second
//! is looked at, and of each account only the last, so that the median is no single host's. It is never later than the
//! true time if most hosts are right, and close to it once the stream is caught up with.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::syntax::Did;

/// Accounts that are remembered.
const MOST: usize = 32;
/// Accounts, or the time since the first spoke, from which on it counts what they say.
const ENOUGH: (usize, Duration) = (8, Duration::from_secs(60));

/// The last frames that were looked at.
#[derive(Default)]
pub(crate) struct Told {
    first: Option<Instant>,
    /// Of which account, when it was sent, and when it came.
    frames: VecDeque<(Did, i64, Instant)>,
}

impl Told {
    /// Looks at a frame.
    pub(crate) fn frame(&mut self, did: &Did, sent: i64, now: Instant) {
        self.first.get_or_insert(now);
        self.frames.retain(|(other, ..)| other != did);
        if self.frames.len() >= MOST {
            self.frames.pop_front();
        }
        self.frames.push_back((did.clone(), sent, now));
    }

    /// The time by them; `None` while too few have spoken.
    pub(crate) fn time(&self, now: Instant) -> Option<i64> {
        let since = now.saturating_duration_since(self.first?);
        if self.frames.len() < ENOUGH.0 && since < ENOUGH.1 {
            return None;
        }
        let by = |(_, sent, at): &(Did, i64, Instant)| {
            let passed = now.saturating_duration_since(*at).as_millis();
            sent.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
        };
        let mut times: Vec<i64> = self.frames.iter().map(by).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000;

    #[test]
    fn the_time_is_that_of_most_accounts_and_goes_on() {
        let did = |n: usize| Did::parse(&format!("did:plc:a{n}")).unwrap();
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let mut told = Told::default();
        assert_eq!(told.time(at(0)), None);
        told.frame(&did(0), NOW, at(0));
        assert_eq!(told.time(at(59)), None, "one may be wrong");
        assert_eq!(told.time(at(60)), Some(NOW + 60_000));
        for n in 0..8 {
            told.frame(&did(n), NOW + 1000, at(1));
        }
        // One that floods is one.
        for n in 0..100 {
            told.frame(&did(9), NOW * 2, at(1 + n));
        }
        assert_eq!(told.time(at(10)), Some(NOW + 10_000));
        assert_eq!(told.frames.len(), 9);
    }
}
