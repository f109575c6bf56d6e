//! Process-wide counters by cause: `static DROPPED: Counters = Counters::new("ingest.dropped")`, then
//! `DROPPED.inc("bad-signature")`.
//!
//! # Invariants
//! - Counting takes no lock once a cause has been seen.
//! - A counter takes a bounded number of causes; causes are static names, never text from outside.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Most causes of one counter; further ones count as [`OTHER`].
const SLOTS: usize = 48;

/// The cause under which causes beyond the limit are counted.
pub const OTHER: &str = "other";

static FAMILIES: Mutex<Vec<&'static Counters>> = Mutex::new(Vec::new());

/// Counts by cause: so many causes at most, further ones count as [`OTHER`].
#[derive(Debug)]
pub struct Causes<const N: usize> {
    slots: [Slot; N],
    overflow: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    cause: OnceLock<&'static str>,
    count: AtomicU64,
}

impl<const N: usize> Default for Causes<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Causes<N> {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot { cause: OnceLock::new(), count: AtomicU64::new(0) } }; N],
            overflow: AtomicU64::new(0),
        }
    }

    /// Adds `n`.
    pub fn add(&self, cause: &'static str, n: u64) {
        for slot in &self.slots {
            // The first empty slot is taken for a new cause; a race for it is settled by OnceLock.
            if *slot.cause.get_or_init(|| cause) == cause {
                slot.count.fetch_add(n, Ordering::Relaxed);
                return;
            }
        }
        self.overflow.fetch_add(n, Ordering::Relaxed);
    }

    /// The counts so far, by cause.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let known = self.slots.iter().filter_map(|slot| {
            let cause = slot.cause.get()?;
            Some((*cause, slot.count.load(Ordering::Relaxed)))
        });
        let mut counts: BTreeMap<_, _> = known.collect();
        let overflow = self.overflow.load(Ordering::Relaxed);
        if overflow > 0 {
            *counts.entry(OTHER).or_default() += overflow;
        }
        counts
    }
}

/// A family of counters, one for each cause.
pub struct Counters {
    name: &'static str,
    causes: Causes<SLOTS>,
    registered: AtomicBool,
}

impl Counters {
    /// A family named `area.what`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, causes: Causes::new(), registered: AtomicBool::new(false) }
    }

    /// Adds one.
    pub fn inc(&'static self, cause: &'static str) {
        self.add(cause, 1);
    }

    /// Adds `n`.
    pub fn add(&'static self, cause: &'static str, n: u64) {
        if !self.registered.load(Ordering::Relaxed) {
            self.register();
        }
        self.causes.add(cause, n);
    }

    /// The counts so far, by cause.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.causes.counts()
    }

    fn register(&'static self) {
        let mut families = FAMILIES.lock();
        if !self.registered.swap(true, Ordering::Relaxed) {
            families.push(self);
        }
    }
}

/// All families that have counted something, by name, then by cause.
pub fn snapshot() -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    FAMILIES.lock().iter().map(|family| (family.name, family.counts())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_cause_from_many_threads() {
        static TEST: Counters = Counters::new("test.threads");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        TEST.inc("a");
                        TEST.add("b", 2);
                    }
                });
            }
        });
        assert_eq!(snapshot()["test.threads"], BTreeMap::from([("a", 4000), ("b", 8000)]));
    }

    #[test]
    fn causes_beyond_the_limit_count_as_other() {
        static TEST: Counters = Counters::new("test.overflow");
        let names: Vec<&'static str> =
            (0..SLOTS + 3).map(|i| &*Box::leak(format!("cause {i}").into_boxed_str())).collect();
        for name in &names {
            TEST.inc(name);
        }
        let counts = TEST.counts();
        assert_eq!(counts.len(), SLOTS + 1);
        assert_eq!(counts[OTHER], 3);
    }

    #[test]
    fn a_family_that_never_counted_is_not_listed() {
        static TEST: Counters = Counters::new("test.silent");
        assert!(TEST.counts().is_empty());
        assert!(!snapshot().contains_key("test.silent"));
    }
}
