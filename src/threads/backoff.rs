//! How long to wait after a failure: the first wait, how much longer each further one is, the longest, and what part of
//! it chance may take off, so that many who failed together do not come back together.

use std::time::Duration;

/// A rule for waits that grow. What they are is decided by the number of failures in a row, so that it need not be
/// remembered by whoever stores that number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: u32,
    max: Duration,
    jitter: f64,
}

impl Backoff {
    /// `first` after the first failure, `factor` times as long after each further one, never longer than `max`.
    #[must_use]
    pub const fn new(first: Duration, factor: u32, max: Duration) -> Self {
        Self { first, factor, max, jitter: 0.0 }
    }

    /// Chance takes up to this part off each wait.
    #[must_use]
    pub const fn with_jitter(self, part: f64) -> Self {
        Self { jitter: part, ..self }
    }

    /// The longest wait after `failures` in a row, the first being 1.
    #[must_use]
    pub fn longest(&self, failures: u32) -> Duration {
        let grown = self.factor.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(grown).min(self.max)
    }

    /// The wait after `failures` in a row. `random` is between 0 and 1.
    #[must_use]
    pub fn wait_with(&self, failures: u32, random: f64) -> Duration {
        self.longest(failures).mul_f64(1.0 - self.jitter * random.clamp(0.0, 1.0))
    }

    /// The wait after `failures` in a row.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        if self.jitter > 0.0 {
            self.wait_with(failures, rand::random())
        } else {
            self.longest(failures)
        }
    }

    /// A count of failures that waits by this rule.
    #[must_use]
    pub const fn retries(self) -> Retries {
        Retries { rule: self, failures: 0 }
    }
}

/// Failures in a row of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub struct Retries {
    rule: Backoff,
    failures: u32,
}

impl Retries {
    /// It failed: how long to wait.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.rule.wait(self.failures)
    }

    /// It worked: the next wait is the first one again.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// In a row, until now.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Backoff = Backoff::new(Duration::from_millis(200), 2, Duration::from_secs(30));

    #[test]
    fn waits_grow_up_to_the_longest_and_start_again_after_success() {
        let mut retries = RULE.retries();
        let mut waits: Vec<u128> = (0..10).map(|_| retries.failed().as_millis()).collect();
        assert_eq!(retries.failures(), 10);
        retries.worked();
        waits.push(retries.failed().as_millis());
        let expected = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 200];
        assert_eq!(waits, expected);
        assert_eq!(RULE.longest(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn chance_makes_a_wait_shorter_and_never_longer() {
        let rule = RULE.with_jitter(0.25);
        assert_eq!(rule.wait_with(1, 0.0), Duration::from_millis(200));
        assert_eq!(rule.wait_with(1, 1.0), Duration::from_millis(150));
        assert_eq!(rule.wait_with(1, 7.0), Duration::from_millis(150));
        for failures in 1..20 {
            let wait = rule.wait(failures);
            assert!(wait <= RULE.longest(failures) && wait >= RULE.longest(failures).mul_f64(0.75));
        }
    }
}
