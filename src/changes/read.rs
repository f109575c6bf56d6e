//! Reading the log: the newest changes from memory, older ones from the store; whoever reads pulls from its own number
//! on.
//!
//! There is no queue for a reader and nothing is pushed to one, so a slow reader costs nothing and loses nothing, and
//! between what is replayed and what is live there is no seam.

use std::sync::Arc;

use super::row::{self, Head};
use super::{ChangesError, Log, Page};
use crate::store::{Ks, Reader, StoreError};
use crate::telemetry::counters::Counters;

/// Rows that somebody met and that do not decode.
static DAMAGED: Counters = Counters::new("changes.damaged");

/// What a look at the log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Changes, among them the one that was asked for or, if that number was never given, those after it. It may begin
    /// before, and be empty where numbers are missing: reading goes on at [`Page::end`].
    Page(Arc<Page>),
    /// Nothing yet: see [`Log::wait_on_disk`].
    Tip,
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

    /// The row that has `seq`, or the next one. One that does not decode is a hole: whoever meets it reads everything anew.
    fn cold(&self, seq: u64) -> Result<Option<Page>, ChangesError> {
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
        if let Some(page) = first.and_then(|first| row::decode(first, &value)) {
            return Ok(Some(page));
        }
        let error = StoreError::corrupt(Ks::Events, &first.map_or(after, row::key));
        DAMAGED.inc("hole");
        tracing::error!(%error, "the log of changes has a hole: whoever reads over it begins anew");
        let mut next = None;
        s.scan(Ks::Events, &row::key(first.unwrap_or(seq).max(seq)), None, false, &mut |k, v| {
            next = row::first_of(k).filter(|first| row::decode(*first, v).is_some());
            next.is_none()
        })?;
        let oldest = next.unwrap_or_else(|| self.tip()).max(seq.saturating_add(1));
        Err(ChangesError::OutdatedCursor { asked: seq, oldest })
    }
}
