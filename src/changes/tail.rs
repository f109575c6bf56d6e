//! The newest changes in memory, and older ones from the store: whoever reads pulls from its own number on.
//!
//! There is no queue for a reader and nothing is pushed to one, so a slow reader costs nothing and loses nothing, and
//! between what is replayed and what is live there is no seam.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::row::{self, Head};
use super::{ChangesError, Log, Page};
use crate::store::{Ks, Reader, StoreError};

/// Bytes of changes in memory.
const RING: usize = 32 << 20;

/// What a look at the log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Changes, among them the one that was asked for or, if that number was never given, those after it. It may begin
    /// before, and be empty where numbers are missing: reading goes on at [`Page::end`].
    Page(Arc<Page>),
    /// Nothing yet: see [`Log::wait`].
    Tip,
}

#[derive(Default)]
struct Ring {
    pages: VecDeque<Arc<Page>>,
    bytes: usize,
}

pub(super) struct Tail {
    ring: RwLock<Ring>,
    /// The number that comes next.
    tip: watch::Sender<u64>,
    /// The number after the last that no crash takes back.
    on_disk: watch::Sender<u64>,
    oldest: AtomicU64,
}

impl Tail {
    pub(super) fn new(oldest: u64, tip: u64) -> Self {
        let (tip, on_disk) = (watch::Sender::new(tip), watch::Sender::new(tip));
        Self { ring: RwLock::default(), tip, on_disk, oldest: AtomicU64::new(oldest) }
    }

    /// Takes over what was committed.
    pub(super) fn push(&self, pages: Vec<Arc<Page>>, end: u64) {
        let mut ring = self.ring.write();
        for page in pages {
            ring.bytes += page.size();
            ring.pages.push_back(page);
        }
        while ring.bytes > RING
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

    fn get(&self, seq: u64) -> Option<Arc<Page>> {
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

impl Log {
    /// The number that comes next: everything before it is in every snapshot that is taken from now on.
    #[must_use]
    pub fn tip(&self) -> u64 {
        *self.tail.tip.borrow()
    }

    /// The oldest number that can be read.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.tail.oldest()
    }

    /// What there is from `seq` on. Reads the store if that is not in memory: not on a thread that must not block.
    pub fn read(&self, seq: u64) -> Result<Read, ChangesError> {
        self.held(seq)?;
        let tip = self.tip();
        if seq >= tip {
            return Ok(Read::Tip);
        }
        if let Some(page) = self.tail.get(seq) {
            return Ok(Read::Page(page));
        }
        let page = self.cold(seq)?;
        // What was trimmed meanwhile may be what was not found.
        self.held(seq)?;
        let none = || Arc::new(Page { first: tip, time_us: 0, changes: Vec::new() });
        Ok(Read::Page(page.map_or_else(none, Arc::new)))
    }

    /// Waits until there is something at `seq` or after it.
    #[cfg(test)]
    pub async fn wait(&self, seq: u64) {
        // It ends only with the log, which is borrowed.
        let _ = self.tail.tip.subscribe().wait_for(|tip| *tip > seq).await;
    }

    /// The number after the last that no crash takes back: what is kept beside the store goes only so far, or it would be
    /// ahead of a log that was cut short.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        *self.tail.on_disk.borrow()
    }

    /// Waits until there is something at `seq` or after it that no crash takes back.
    pub async fn wait_on_disk(&self, seq: u64) {
        let _ = self.tail.on_disk.subscribe().wait_for(|end| *end > seq).await;
    }

    fn held(&self, seq: u64) -> Result<(), ChangesError> {
        let oldest = self.oldest();
        if seq < oldest {
            return Err(ChangesError::OutdatedCursor { asked: seq, oldest });
        }
        Ok(())
    }

    /// The row that has `seq`, or the next one.
    fn cold(&self, seq: u64) -> Result<Option<Page>, StoreError> {
        let s = self.store.snapshot();
        let mut found = None;
        let mut take = |k: &[u8], v: &[u8]| {
            found = Some((row::first_of(k), v.to_vec()));
            false
        };
        let after = row::key(seq.saturating_add(1));
        let lo = row::key(self.oldest().min(seq));
        s.scan(Ks::Events, &lo, Some(&after), true, &mut take)?;
        let has = |found: &(Option<u64>, Vec<u8>)| {
            let end = found.0.zip(Head::decode(&found.1)).map(|(first, h)| first + h.count);
            end.is_none_or(|end| end > seq)
        };
        if !found.as_ref().is_some_and(has) {
            found = None;
            let mut take = |k: &[u8], v: &[u8]| {
                found = Some((row::first_of(k), v.to_vec()));
                false
            };
            s.scan(Ks::Events, &after, None, false, &mut take)?;
        }
        let Some((first, value)) = found else { return Ok(None) };
        let page = first.and_then(|first| row::decode(first, &value));
        page.map(Some).ok_or_else(|| StoreError::corrupt(Ks::Events, &after))
    }
}
