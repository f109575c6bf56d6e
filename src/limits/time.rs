//! The time that rates are measured with: since the start, which does not jump, or as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::nanos::Nanos;

/// Time since the start. Clones go together.
#[derive(Debug, Clone)]
pub struct Elapsed(Source);

#[derive(Debug, Clone)]
enum Source {
    Since(Instant),
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(dead_code, reason = "only tests set it")
    )]
    Set(Arc<AtomicU64>),
}

impl Elapsed {
    /// From now on.
    #[must_use]
    pub fn since_now() -> Self {
        Self(Source::Since(Instant::now()))
    }

    /// Stands still until it is moved.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn stopped() -> Self {
        Self(Source::Set(Arc::default()))
    }

    /// Moves one that stands still.
    #[cfg(any(test, feature = "testing"))]
    pub fn advance(&self, by: Duration) {
        if let Source::Set(at) = &self.0 {
            at.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// How long it has been.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    pub(super) fn nanos(&self) -> u64 {
        match &self.0 {
            Source::Since(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Set(at) => at.load(Ordering::SeqCst),
        }
    }
}

impl Clock for Elapsed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.nanos())
    }
}
