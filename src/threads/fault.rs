//! `aerie serve --fail-part NAME`, for tests: a thread or task of that name panics once, or with `NAME:hang` a thread
//! hangs. Builds without the feature `testing` have none of it.

/// Where a thread dies if it is the one that was named.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub fn point(_name: &str) {}

/// The same of a thread that is needed before the server serves: it dies afterwards.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub fn point_when_serving(_name: &str) {}

/// The server serves.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub fn serving() {}

#[cfg(feature = "testing")]
pub use testing::{arm, due, point, point_when_serving, serving};

#[cfg(feature = "testing")]
mod testing {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use parking_lot::Mutex;

    /// So that a part dies at work and not before it began.
    const AT_WORK: Duration = Duration::from_millis(300);

    static ARMED: AtomicBool = AtomicBool::new(false);
    static SERVING: AtomicBool = AtomicBool::new(false);
    static NAME: Mutex<Option<String>> = Mutex::new(None);

    /// Names what is to die.
    pub fn arm(name: String) {
        *NAME.lock() = Some(name);
        ARMED.store(true, Ordering::Release);
    }

    /// The server serves.
    pub fn serving() {
        SERVING.store(true, Ordering::Release);
    }

    /// The same as [`point`] of a thread that is needed before the server serves: it dies afterwards.
    pub fn point_when_serving(name: &str) {
        if SERVING.load(Ordering::Acquire) {
            point(name);
        }
    }

    fn is_named(name: &str) -> bool {
        ARMED.load(Ordering::Acquire) && NAME.lock().as_deref() == Some(name)
    }

    /// Where a thread dies if it is the one that was named.
    #[allow(clippy::panic, reason = "what it is for")]
    pub fn point(name: &str) {
        if ARMED.load(Ordering::Acquire)
            && NAME.lock().as_deref().and_then(|named| named.strip_suffix(":hang")) == Some(name)
        {
            loop {
                std::thread::sleep(AT_WORK);
            }
        }
        if is_named(name) && NAME.lock().take().is_some() {
            ARMED.store(false, Ordering::Release);
            panic!("--fail-part {name}");
        }
    }

    /// Panics after a while if it is the one that was named; else it never ends.
    pub async fn due(name: &str) {
        if is_named(name) {
            tokio::time::sleep(AT_WORK).await;
            point(name);
        }
        std::future::pending().await
    }
}
