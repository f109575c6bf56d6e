//! What answers take on their way out, all together: what is made faster than it is read waits in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes of answers that are made and not yet sent.
#[derive(Debug)]
pub struct Outflow {
    most: u64,
    bytes: AtomicU64,
    freed: Notify,
}

impl Outflow {
    /// So many bytes at most, about.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self { most, bytes: AtomicU64::new(0), freed: Notify::new() }
    }

    /// How many there are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing more should be made.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.most
    }

    /// Counts an answer in, if there is room for it.
    pub(super) fn enter(&self, bytes: u64) -> bool {
        let fits = |now: u64| {
            // One that is larger than all of it goes alone.
            (now == 0 || now + bytes <= self.most).then_some(now + bytes)
        };
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// The same, waiting for others to leave for so long.
    pub(super) async fn enter_within(&self, bytes: u64, patience: Duration) -> bool {
        let wait = async {
            loop {
                let freed = self.freed.notified();
                if self.enter(bytes) {
                    return;
                }
                freed.await;
            }
        };
        timeout(patience, wait).await.is_ok()
    }

    pub(super) fn leave(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}
