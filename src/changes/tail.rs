//! The newest changes in memory, for all who read the log, and how far the log is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::Page;

#[derive(Default)]
struct Ring {
    pages: VecDeque<Arc<Page>>,
    bytes: usize,
}

pub(super) struct Tail {
    ring: RwLock<Ring>,
    /// Bytes of changes in memory.
    most: usize,
    /// The number that comes next.
    pub(super) tip: watch::Sender<u64>,
    /// The number after the last that no crash takes back.
    pub(super) on_disk: watch::Sender<u64>,
    oldest: AtomicU64,
}

impl Tail {
    pub(super) fn new(oldest: u64, tip: u64, most: usize) -> Self {
        let (tip, on_disk) = (watch::Sender::new(tip), watch::Sender::new(tip));
        Self { ring: RwLock::default(), most, tip, on_disk, oldest: AtomicU64::new(oldest) }
    }

    /// Takes over what was committed.
    pub(super) fn push(&self, pages: Vec<Arc<Page>>, end: u64) {
        let mut ring = self.ring.write();
        for page in pages {
            ring.bytes += page.size();
            ring.pages.push_back(page);
        }
        while ring.bytes > self.most
            && let Some(page) = ring.pages.pop_front()
        {
            ring.bytes -= page.size();
        }
        drop(ring);
        self.tip.send_replace(end);
    }

    /// Everything before `end` survives a crash.
    pub(super) fn is_on_disk(&self, end: u64) {
        self.on_disk.send_replace(end);
    }

    pub(super) fn get(&self, seq: u64) -> Option<Arc<Page>> {
        let ring = self.ring.read();
        if ring.pages.front()?.first > seq {
            return None;
        }
        let at = ring.pages.partition_point(|page| page.end() <= seq);
        ring.pages.get(at).cloned()
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// What lies before is about to go.
    pub(super) fn begins_at(&self, oldest: u64) {
        self.oldest.fetch_max(oldest, Ordering::AcqRel);
    }

    /// Forgets what is in memory, as a restart does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        *self.ring.write() = Ring::default();
    }
}
