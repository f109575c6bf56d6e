//! What is asked of this server: for each method or path how often, how long it took, what failed, and bytes in and out.
//!
//! # Invariants
//! - Names are static: those of tables, never what somebody sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::counters::Causes;
use super::timing::{Histogram, Reading};

/// Names of errors that are told apart for each name.
const ERRORS: usize = 20;

static ALL: Mutex<BTreeMap<&'static str, Arc<Calls>>> = Mutex::new(BTreeMap::new());

/// The calls of one method or path.
#[derive(Debug)]
pub struct Calls {
    took: Histogram,
    received: AtomicU64,
    sent: AtomicU64,
    errors: Causes<ERRORS>,
}

/// What they came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// How many there were, and how long they took until their answer was made.
    pub took: Reading,
    /// Bytes of requests, headers included.
    pub received: u64,
    /// Bytes of answers, headers included.
    pub sent: u64,
    /// Those that failed, by the name of the error.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Calls {
    /// Those of this name, counted in one place for the whole process.
    pub fn of(name: &'static str) -> Arc<Self> {
        let new = || {
            Arc::new(Self {
                took: Histogram::new(),
                received: AtomicU64::new(0),
                sent: AtomicU64::new(0),
                errors: Causes::new(),
            })
        };
        Arc::clone(ALL.lock().entry(name).or_insert_with(new))
    }

    /// One was answered.
    pub fn answered(&self, took: Duration, received: u64, error: Option<&'static str>) {
        self.took.record(took);
        self.received.fetch_add(received, Ordering::Relaxed);
        if let Some(error) = error {
            self.errors.add(error, 1);
        }
    }

    /// So many bytes went out.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Read {
        Read {
            took: self.took.read(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            errors: self.errors.counts(),
        }
    }
}

/// All names that were called, with what that came to.
pub fn snapshot() -> BTreeMap<&'static str, Read> {
    let all = ALL.lock();
    let read = all.iter().map(|(name, calls)| (*name, calls.read()));
    read.filter(|(_, read)| read.took.count() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_name_count_together() {
        let calls = [Calls::of("test.calls"), Calls::of("test.calls")];
        for (n, calls) in (0..).zip(&calls) {
            calls.answered(Duration::from_millis(3), 100, (n == 1).then_some("NotFound"));
            calls.sent(1000);
        }
        drop(Calls::of("test.never"));
        let all = snapshot();
        let read = &all["test.calls"];
        assert_eq!((read.took.count(), read.received, read.sent), (2, 200, 2000));
        assert_eq!(read.errors, BTreeMap::from([("NotFound", 1)]));
        assert!(!all.contains_key("test.never"));
    }
}
