//! How long things take: `static COMMIT: Timing = Timing::new("store.commit", "")`, then `COMMIT.record(took)`.
//!
//! All histograms have the same bounds, from ten microseconds to ten seconds.
//!
//! # Invariants
//! - Recording is two additions to atomics and a search among twenty numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Upper bounds in microseconds, each included. What is longer is in a bucket of its own.
pub const BOUNDS_US: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

static TIMINGS: Mutex<Vec<&'static Timing>> = Mutex::new(Vec::new());

/// Counts of durations by length.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// As of now. What is recorded meanwhile may be in one number and not yet in the other.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut counts = [0; BUCKETS];
        for (to, from) in counts.iter_mut().zip(&self.counts) {
            *to = from.load(Ordering::Relaxed);
        }
        Reading { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// What a histogram held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Reading {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Upper bounds in seconds, the last without an end, each with how many were within its bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }

    /// In milliseconds, what the share `q` of all did not exceed: as exact as the bounds are close. `None` without any.
    /// What is beyond the last bound counts as that.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let (wanted, mut before, mut low) = (q * all as f64, 0.0, 0.0);
        for (bound, count) in BOUNDS_US.iter().zip(self.counts) {
            let (high, count) = (*bound as f64 / 1e3, count as f64);
            if count > 0.0 && before + count >= wanted {
                return Some(low + (high - low) * ((wanted - before) / count).clamp(0.0, 1.0));
            }
            before += count;
            low = high;
        }
        Some(low)
    }
}

/// A histogram of the whole process, with a name `area.what`, and one of its kinds where it has several.
pub struct Timing {
    name: &'static str,
    kind: &'static str,
    histogram: Histogram,
    registered: AtomicBool,
}

impl Timing {
    /// One that says nothing before it has recorded something.
    pub const fn new(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, histogram: Histogram::new(), registered: AtomicBool::new(false) }
    }

    /// Counts one.
    pub fn record(&'static self, took: Duration) {
        if !self.registered.load(Ordering::Relaxed) {
            self.register();
        }
        self.histogram.record(took);
    }

    /// Counts what has passed since then.
    pub fn since(&'static self, begun: Instant) {
        self.record(begun.elapsed());
    }

    fn register(&'static self) {
        let mut timings = TIMINGS.lock();
        if !self.registered.swap(true, Ordering::Relaxed) {
            timings.push(self);
        }
    }
}

/// All that recorded something, by name, then by kind.
pub fn snapshot() -> BTreeMap<&'static str, BTreeMap<&'static str, Reading>> {
    let mut out: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for timing in TIMINGS.lock().iter() {
        out.entry(timing.name).or_default().insert(timing.kind, timing.histogram.read());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_length() {
        let histogram = Histogram::new();
        assert_eq!(histogram.read().quantile_ms(0.5), None);
        for us in [1, 10, 11, 900, 2_000_000, 30_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let read = histogram.read();
        let counts: Vec<_> = read.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(1e-5, 2), (2.5e-5, 1), (1e-3, 1), (2.5, 1), (f64::INFINITY, 1)]);
        assert_eq!(read.count(), 6);
        assert!((read.seconds() - 32.000_922).abs() < 1e-9, "{}", read.seconds());
    }

    #[test]
    fn quantiles_are_within_their_bucket() {
        let histogram = Histogram::new();
        for _ in 0..98 {
            histogram.record(Duration::from_micros(700));
        }
        histogram.record(Duration::from_millis(40));
        histogram.record(Duration::from_secs(60));
        let read = histogram.read();
        let at = |q| read.quantile_ms(q).unwrap();
        assert!((0.5..=1.0).contains(&at(0.5)), "{}", at(0.5));
        assert!((25.0..=50.0).contains(&at(0.99)), "{}", at(0.99));
        assert_eq!(at(1.0), 10_000.0);
    }

    #[test]
    fn kinds_of_a_name_stand_together() {
        static FIRST: Timing = Timing::new("test.timing", "first");
        static SECOND: Timing = Timing::new("test.timing", "second");
        static SILENT: Timing = Timing::new("test.timing", "silent");
        FIRST.since(Instant::now());
        SECOND.record(Duration::from_millis(1));
        assert_eq!(SILENT.histogram.read().count(), 0);
        let kinds: Vec<_> =
            snapshot()["test.timing"].iter().map(|(kind, read)| (*kind, read.count())).collect();
        assert_eq!(kinds, [("first", 1), ("second", 1)]);
    }
}
