//! Puts the status document together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use super::memory::Memory;
use super::parts::{BACKUP, CLOCK, COUNTS, DISK, EXPORTS, MEDIA, ON_READ, PUSH, RETENTION, XRPC};
use super::search::SearchSeq;
use super::sources::{INGEST, LABELERS, PLC, RESYNC, Sources};
use super::supervisor::PartsSlot;
use crate::index::Index;
use crate::ops::{self, Reload, Status, StoreStatus};
use crate::store::{Store, Writer};

/// Where the status comes from.
pub(super) struct StatusSources {
    pub(super) started: Instant,
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) index: Arc<Index>,
    pub(super) sources: Arc<Sources>,
    pub(super) reloads: AtomicU64,
    pub(super) reload: Mutex<Reload>,
    pub(super) instance: String,
    pub(super) parts: PartsSlot,
    pub(super) memory: Memory,
    pub(super) search: SearchSeq,
}

impl StatusSources {
    /// What came of a reload.
    pub(super) fn reloaded(&self, reload: Reload) {
        *self.reload.lock() = reload;
    }

    /// The document as of now.
    pub(super) fn read(&self) -> Value {
        let parts = self.parts.get();
        // What an event asks for is pending before the event's number is shown, so the numbers are read first.
        let (upstreams, labelers) = (parts.of(&INGEST), parts.of(&LABELERS));
        let first = upstreams.get(0).and_then(|first| first.get("seq")?.as_i64());
        let search_seq = self.search.get(first);
        let shares = self.memory.shares(&self.store, &upstreams);
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started.elapsed().as_secs(),
            parts: parts.status(),
            ingest: self.sources.standing(),
            upstreams,
            search_seq,
            search: self.search.search(),
            labelers,
            pending: parts.pending(),
            resync: parts.of(&RESYNC),
            plc: parts.of(&PLC),
            members: self.index.members().len(),
            scope: parts.of(&RETENTION),
            on_read: parts.of(&ON_READ),
            reloads: self.reloads.load(Ordering::Relaxed),
            reload: self.reload.lock().clone(),
            instance: self.instance.clone(),
            files: ops::OpenFiles::default(),
            images: parts.of(&MEDIA),
            push: parts.of(&PUSH),
            requests_waiting: parts.of(&XRPC),
            store: StoreStatus::of(&self.store, self.writer.stats(), self.writer.waiting()),
            disk: parts.of(&DISK),
            clock: parts.of(&CLOCK),
            exports: parts.of(&EXPORTS),
            counts: parts.of(&COUNTS),
            backup: parts.of(&BACKUP),
            memory: ops::Memory { shares, ..Default::default() },
            calls: Default::default(),
            times: Default::default(),
            counters: Default::default(),
        };
        serde_json::to_value(status.measured()).unwrap_or_default()
    }
}
