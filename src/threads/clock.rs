//! The wall clock, or one that a test sets. Durations inside the process are measured with `Instant`, which does not
//! jump; this is for what is stored, compared with stored times, or told to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A clock that went on by more or less than the time that passed, by so much, was set: it leapt.
const LEAP_MS: i64 = 60_000;

/// What time it is. Cheap to clone; clones of one that was set go together, and so do those of one that is watched.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    stopped: Option<Arc<AtomicI64>>,
    look: Option<Arc<Mutex<Option<Look>>>>,
}

/// What was thought of a watched clock, when, and what it showed then.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    showed: i64,
    standing: Standing,
}

/// What is thought of a clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Others say the same.
    Confirmed,
    /// Nothing speaks against it.
    #[default]
    Unopposed,
    /// It is wrong, or may be.
    Doubted,
}

impl Clock {
    /// The machine's.
    #[must_use]
    pub const fn system() -> Self {
        Self { stopped: None, look: None }
    }

    /// The same one, looked at again and again by somebody who says what he thinks of it.
    #[must_use]
    pub fn watched(self) -> Self {
        Self { look: Some(Arc::default()), ..self }
    }

    /// Says what is thought of it: it showed `ms` just now.
    pub fn judge(&self, ms: i64, standing: Standing) {
        if let Some(look) = &self.look {
            *look.lock() = Some(Look { at: Instant::now(), showed: ms, standing });
        }
    }

    /// What is to be thought of it now that it shows `ms`: one that leapt since the last look is doubted until the next.
    #[must_use]
    pub fn standing(&self, ms: i64) -> Standing {
        match self.last_look() {
            _ if self.leapt(ms) => Standing::Doubted,
            Some(look) => look.standing,
            None => Standing::default(),
        }
    }

    /// Whether it leapt since the last look, now that it shows `ms`.
    #[must_use]
    pub fn leapt(&self, ms: i64) -> bool {
        self.last_look()
            .is_some_and(|look| leap(look.at.elapsed(), ms.saturating_sub(look.showed)).is_some())
    }

    fn last_look(&self) -> Option<Look> {
        *self.look.as_ref()?.lock()
    }

    /// One that stands at `ms` milliseconds since the epoch until it is set.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn stopped_at(ms: i64) -> Self {
        Self { stopped: Some(Arc::new(AtomicI64::new(ms))), look: None }
    }

    /// Sets a stopped clock; the machine's stays as it is.
    #[cfg(any(test, feature = "testing"))]
    pub fn set(&self, ms: i64) {
        if let Some(stopped) = &self.stopped {
            stopped.store(ms, Ordering::SeqCst);
        }
    }

    /// Since the epoch; nothing on a machine whose clock stands before it.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        match &self.stopped {
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

/// By how much a clock that went on by `moved` milliseconds leapt while so much time passed.
#[must_use]
pub fn leap(passed: Duration, moved: i64) -> Option<i64> {
    let by = moved.saturating_sub(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
    (by.abs() > LEAP_MS).then_some(by)
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
    fn one_that_leapt_is_doubted_until_somebody_looked() {
        let clock = Clock::stopped_at(1_000_000).watched();
        let other = clock.clone();
        let standing = || other.standing(other.now_ms());
        assert_eq!(standing(), Standing::Unopposed, "nobody has looked yet");
        clock.judge(1_000_000, Standing::Confirmed);
        for (shows, want) in [
            (1_000_000 + LEAP_MS / 2, Standing::Confirmed),
            (1_000_000 + LEAP_MS * 2, Standing::Doubted),
            (1_000_000 - LEAP_MS * 2, Standing::Doubted),
        ] {
            clock.set(shows);
            assert_eq!(standing(), want, "{shows}");
        }
        clock.judge(1_000_000 - LEAP_MS * 2, Standing::Unopposed);
        assert_eq!(standing(), Standing::Unopposed);
    }

    #[test]
    fn the_system_clock_goes_on_and_cannot_be_set() {
        let clock = Clock::system();
        clock.set(0);
        assert!(clock.now_ms() > 1_767_225_600_000, "after 2026 began");
    }
}
