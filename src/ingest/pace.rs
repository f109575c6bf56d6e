//! How often something is done, so that whoever is asked does not mind.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// How often something may be done: so many times at once, and one more each time that this long has gone by.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At once.
    pub burst: u32,
    /// Between two, on the whole.
    pub every: Duration,
}

/// Keeps a pace.
pub(crate) struct Paced {
    pace: Pace,
    /// When the last of a burst that is used up would have been due.
    until: Mutex<Instant>,
}

impl Paced {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, until: Mutex::new(Instant::now()) }
    }

    /// Waits for its turn.
    pub(crate) async fn turn(&self) {
        sleep_until(self.next(Instant::now())).await;
    }

    /// When the next one has its turn.
    fn next(&self, now: Instant) -> Instant {
        let mut until = self.until.lock();
        *until = (*until).max(now) + self.pace.every;
        let burst = self.pace.every.saturating_mul(self.pace.burst);
        until.checked_sub(burst).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_after_the_burst_and_comes_back_with_the_time() {
        let paced = Paced::new(Pace { burst: 10, every: Duration::from_millis(100) });
        // Later than when it was made.
        let began = Instant::now() + Duration::from_secs(1);
        let waits = |count: usize, now: Instant| -> Vec<u128> {
            (0..count).map(|_| (paced.next(now) - now).as_millis()).collect()
        };
        assert_eq!(waits(10, began), [0; 10]);
        assert_eq!(waits(3, began), [100, 200, 300]);
        let later = began + Duration::from_secs(60);
        assert_eq!(waits(11, later)[9..], [0, 100]);
    }

    #[test]
    fn servers_allow_three_thousand_in_five_minutes() {
        let timing = super::super::Timing::default();
        let per_s: f64 = [timing.questions, timing.rounds]
            .iter()
            .map(|pace| 1.0 / pace.every.as_secs_f64())
            .sum();
        assert_eq!(per_s * 300.0, 3000.0);
    }
}
