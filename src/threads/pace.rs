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
#[derive(Debug)]
pub struct Paced {
    pace: Pace,
    /// When all that was taken will have been earned.
    earned: Mutex<Option<Instant>>,
}

impl Paced {
    /// Nothing was done yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, earned: Mutex::default() }
    }

    /// Waits for its turn.
    pub async fn turn(&self) {
        let now = Instant::now();
        // Nobody is sent away who waits for as long as it takes.
        if let Ok(wait) = self.turn_within(Duration::MAX, now) {
            sleep_until(now + wait).await;
        }
    }

    /// Takes a turn that comes within `patience`, and says how long to wait for it.
    ///
    /// # Errors
    /// It would take longer, and how long; nothing is taken.
    pub fn turn_within(&self, patience: Duration, now: Instant) -> Result<Duration, Duration> {
        let mut earned = self.earned.lock();
        let wait = self.wait(*earned, now);
        if wait > patience {
            return Err(wait);
        }
        *earned = Some(earned.map_or(now, |earned| earned.max(now)) + self.pace.every);
        Ok(wait)
    }

    /// How long until a turn could be taken.
    pub fn until_turn(&self, now: Instant) -> Duration {
        self.wait(*self.earned.lock(), now)
    }

    /// A turn that was taken was not used.
    pub fn give_back(&self) {
        let mut earned = self.earned.lock();
        *earned = earned.and_then(|earned| earned.checked_sub(self.pace.every));
    }

    /// How long until the next turn.
    fn wait(&self, earned: Option<Instant>, now: Instant) -> Duration {
        let ahead = earned.map_or(Duration::ZERO, |earned| earned.saturating_duration_since(now));
        ahead.saturating_sub(self.pace.every.saturating_mul(self.pace.burst.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_after_the_burst_and_comes_back_with_the_time() {
        let paced = Paced::new(Pace { burst: 10, every: Duration::from_millis(100) });
        let began = Instant::now();
        let waits = |count: usize, now: Instant| -> Vec<u128> {
            let turn = || paced.turn_within(Duration::MAX, now).unwrap().as_millis();
            (0..count).map(|_| turn()).collect()
        };
        assert_eq!(waits(10, began), [0; 10]);
        assert_eq!(waits(3, began), [100, 200, 300]);
        let later = began + Duration::from_secs(60);
        assert_eq!(waits(11, later)[9..], [0, 100]);
    }

    #[test]
    fn who_has_no_patience_takes_nothing() {
        let paced = Paced::new(Pace { every: Duration::from_secs(2), burst: 3 });
        let (start, patience) = (Instant::now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        let turn = |now| paced.turn_within(patience, now);
        for _ in 0..3 {
            assert_eq!(turn(start), Ok(Duration::ZERO));
        }
        assert_eq!(turn(start), Ok(Duration::from_secs(2)), "waited for");
        assert_eq!(turn(start), Err(Duration::from_secs(4)));
        assert_eq!(turn(at(3)), Ok(Duration::from_secs(1)));
        assert_eq!(paced.until_turn(at(3)), Duration::from_secs(3));
        paced.give_back();
        assert_eq!(turn(at(3)), Ok(Duration::from_secs(1)), "what was given back is there again");
        assert_eq!(turn(at(100)), Ok(Duration::ZERO));
        assert_eq!(paced.wait(*paced.earned.lock(), at(100)), Duration::ZERO);
    }
}
