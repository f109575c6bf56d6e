//! Puts the status document together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::on_read::Cache;
use super::sources::Sources;
use crate::index::Index;
use crate::media::Media;
use crate::ops::{PushStatus, Status, StoreStatus};
use crate::push;
use crate::store::{Store, Writer};
use crate::upkeep::Intake as _;
use crate::upkeep::{DiskState, DiskStatus, Retention};

/// Where the status comes from.
pub(super) struct StatusSources {
    pub(super) started: Instant,
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) index: Arc<Index>,
    pub(super) sources: Arc<Sources>,
    pub(super) media: Arc<Media>,
    pub(super) purging: Arc<AtomicUsize>,
    pub(super) reloads: AtomicU64,
    pub(super) disk: Arc<DiskState>,
    pub(super) push: Arc<push::PushStats>,
    pub(super) retention: Arc<Retention>,
    pub(super) on_read: Arc<Cache>,
}

impl StatusSources {
    /// The document as of now.
    pub(super) fn read(&self) -> Value {
        let sources = self.sources.status();
        let disk = self.disk.get();
        let ingest =
            if self.sources.is_running() { "running" } else { "stopped: the disk is nearly full" };
        let used = self
            .store
            .disk()
            .map_or(0, |(rows, journal)| journal + rows.iter().map(|(_, n)| n).sum::<u64>());
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started.elapsed().as_secs(),
            ingest: ingest.to_owned(),
            upstreams: sources.upstreams,
            labelers: sources.labelers,
            pending: sources.pending + self.purging.load(Ordering::Relaxed),
            resync: sources.resync,
            plc: sources.plc,
            members: self.index.members().len(),
            scope: self.retention.status(),
            on_read: self.on_read.status(),
            reloads: self.reloads.load(Ordering::Relaxed),
            images: serde_json::to_value(self.media.status()).unwrap_or_default(),
            push: PushStatus {
                waiting: self.push.waiting.load(Ordering::Relaxed),
                running: self.push.running.load(Ordering::Relaxed),
            },
            requests_waiting: 0,
            store: StoreStatus::of(&self.store, self.writer.stats(), self.writer.waiting()),
            disk: serde_json::to_value(DiskStatus { used, ..disk }).unwrap_or_default(),
            memory: crate::ops::Memory::default(),
            counters: Default::default(),
        };
        serde_json::to_value(status.measured()).unwrap_or_default()
    }
}
