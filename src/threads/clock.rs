//! The wall clock, or one that a test sets. Durations inside the process are measured with `Instant`, which does not
//! jump; this is for what is stored, compared with stored times, or told to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What time it is. Cheap to clone; clones of one that was set go together.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// One that stands at `ms` milliseconds since the epoch until it is set.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn stopped_at(ms: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(ms))))
    }

    /// Sets a stopped clock; the machine's stays as it is.
    #[cfg(any(test, feature = "testing"))]
    pub fn set(&self, ms: i64) {
        if let Some(stopped) = &self.0 {
            stopped.store(ms, Ordering::SeqCst);
        }
    }

    /// Since the epoch; nothing on a machine whose clock stands before it.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            None => machine(),
            Some(stopped) => {
                Duration::from_millis(u64::try_from(stopped.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.since_epoch().as_micros()).unwrap_or(u64::MAX)
    }

    /// The same as the times that file systems write.
    #[must_use]
    pub fn file_time(&self) -> SystemTime {
        UNIX_EPOCH + self.since_epoch()
    }
}

#[cfg(not(feature = "testing"))]
fn machine() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same, wrong by what a test says.
#[cfg(feature = "testing")]
fn machine() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let by = SHIFT_MS.load(Ordering::Relaxed);
    let shift = Duration::from_millis(by.unsigned_abs());
    if by < 0 { now.saturating_sub(shift) } else { now.saturating_add(shift) }
}

#[cfg(feature = "testing")]
static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// Lets the machine's clock be wrong by the seconds that a file says, whenever it says something else; to
/// write another number is a leap. For tests with a whole server.
#[cfg(feature = "testing")]
pub fn shift_by_file(path: std::path::PathBuf) {
    let look = move || {
        let said = std::fs::read_to_string(&path).ok();
        if let Some(seconds) = said.and_then(|text| text.trim().parse::<i64>().ok()) {
            SHIFT_MS.store(seconds.saturating_mul(1000), Ordering::Relaxed);
        }
    };
    look();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            look();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_moves_only_when_it_is_set_and_its_clones_with_it() {
        let clock = Clock::stopped_at(1_500);
        let other = clock.clone();
        assert_eq!((clock.now_ms(), clock.now_us()), (1_500, 1_500_000));
        other.set(-7);
        assert_eq!(clock.now_ms(), 0, "before the epoch there is nothing");
        other.set(2_000);
        assert_eq!(clock.file_time(), UNIX_EPOCH + Duration::from_secs(2));
    }

    #[test]
    fn the_system_clock_goes_on_and_cannot_be_set() {
        let clock = Clock::system();
        clock.set(0);
        assert!(clock.now_ms() > 1_767_225_600_000, "after 2026 began");
    }
}
