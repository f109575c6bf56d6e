//! Everything that brings new data: firehoses, labelers, resyncs. Started and stopped together, because the disk
//! may be full; what stopped goes on from its cursor.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::follow_up::WantedByIndex;
use super::sink::{Applied, ToWriter};
use crate::config::Config;
use crate::identity::Identity;
use crate::identity::plc::PlcExport;
use crate::index::repo_contents::held_records;
use crate::ingest::directory::Directory;
use crate::ingest::labels::{Labelers, Setup};
use crate::ingest::{Ingest, Options, StartError, Timing, UpstreamKind};
use crate::net::{Dialer, HttpClient};
use crate::schema::cursors::{self, CursorOf};
use crate::schema::{ActorId, Rows};
use crate::store::{Reader, Store, StoreError};
use crate::sync::{self, Resync};
use crate::syntax::Did;
use crate::threads::Clock;
use crate::upkeep::{Intake, Step, stop_below};

/// What the sources need.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) dialer: Dialer,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) identity: Identity,
    pub(super) export: PlcExport,
    /// Guarded: asks PDSes.
    pub(super) http: HttpClient,
    /// Repos that the index wants fetched.
    pub(super) resync: flume::Receiver<ActorId>,
    pub(super) sink: Arc<ToWriter>,
    pub(super) applied: Arc<Applied>,
}

/// The sources, running or not.
pub(super) struct Sources {
    parts: Parts,
    running: Mutex<Option<Running>>,
}

struct Running {
    ingest: Ingest,
    labelers: Labelers,
    resync: Resync,
    /// Ends what reads the PLC directory's operations, from there or from files.
    stop: CancellationToken,
    follower: Option<JoinHandle<()>>,
}

/// Repos fetched at a time, and blocks of each kept in memory; the rest goes to files.
const RESYNCS: usize = 16;
pub(super) const RESYNC_MEMORY: usize = 16 << 20;

/// Free bytes that repos being read leave alone: where backfill pauses.
pub(super) fn spill_floor(config: &Config, store: &Store) -> u64 {
    Step::HoldBackfill.below(stop_below(config, store.headroom()))
}

/// What the index has, in the form that sync compares with.
pub(super) struct FromIndex(pub(super) Store);

impl sync::Held for FromIndex {
    fn held(&self, did: &Did) -> Result<Vec<sync::HeldRecord>, StoreError> {
        let snapshot = self.0.snapshot();
        let Some(actor) = snapshot.actor_id(did)? else { return Ok(Vec::new()) };
        let held = held_records(&snapshot, actor)?;
        let record = |h: crate::index::repo_contents::HeldRecord| sync::HeldRecord {
            collection: h.collection,
            rkey: h.rkey.into(),
            cid: h.cid,
        };
        Ok(held.into_iter().map(record).collect())
    }
}

impl Intake for Sources {
    fn is_running(&self) -> bool {
        self.running.lock().is_some()
    }

    fn start(&self, config: &Config) -> Result<(), StartError> {
        self.begin(config)
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.end())
    }

    fn hold_backfill(&self, why: Option<String>) {
        if let Some(sync) = self.sync() {
            sync.hold_back(why);
        }
    }
}

/// Parts of the status document.
#[derive(Debug, Default)]
pub(super) struct SourcesStatus {
    pub(super) upstreams: Vec<Value>,
    pub(super) labelers: Vec<Value>,
    /// Lookups and repos under way.
    pub(super) pending: usize,
    pub(super) resync: Value,
    /// Operations of the PLC directory.
    pub(super) plc: Value,
}

impl Sources {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, running: Mutex::new(None) }
    }

    /// Starts everything that is configured.
    fn begin(&self, config: &Config) -> Result<(), StartError> {
        let p = &self.parts;
        let options = Options::from_config(config);
        let snapshot = p.store.snapshot();
        for url in &options.upstreams {
            p.applied.load(&snapshot, CursorOf::Upstream(url.clone()))?;
        }
        for url in &options.jetstream {
            p.applied.load(&snapshot, CursorOf::Jetstream(url.clone()))?;
        }
        let labelers = Labelers::new(Setup {
            dialer: p.dialer.clone(),
            public_url: config.server.public_url.clone(),
            store: p.store.clone(),
            directory: Arc::clone(&p.directory),
            sink: Arc::clone(&p.sink) as _,
            timing: Timing::default(),
        });
        self.set_labelers(&labelers, config)?;
        let ingest = Ingest::start(
            options,
            &p.dialer.unguarded(),
            &p.store,
            Arc::clone(&p.directory),
            Arc::clone(&p.sink) as _,
        )?;
        let resync = Resync::start(self.resync_setup(config), p.resync.clone());
        let stop = CancellationToken::new();
        let follow = || p.export.clone().follow(p.identity.plc_source(), stop.clone());
        let follower = config.network.plc_export.then(|| tokio::spawn(follow()));
        *self.running.lock() = Some(Running { ingest, labelers, resync, stop, follower });
        Ok(())
    }

    fn resync_setup(&self, config: &Config) -> sync::Setup {
        let p = &self.parts;
        sync::Setup {
            identity: p.identity.clone(),
            http: p.http.clone(),
            store: p.store.clone(),
            writer: p.sink.writer.clone(),
            follow_up: Arc::new(WantedByIndex(p.store.clone())),
            held: Arc::new(FromIndex(p.store.clone())),
            sink: Arc::clone(&p.sink) as _,
            spill: p.store.path().to_owned(),
            spill_floor: spill_floor(config, &p.store),
            memory: RESYNC_MEMORY,
            room: sync::Room::default(),
            concurrency: RESYNCS,
            clock: Clock::system(),
        }
    }

    /// What fetches repos, while it runs.
    pub(super) fn sync(&self) -> Option<sync::Handle> {
        self.running.lock().as_ref().map(|running| running.resync.handle())
    }

    /// Where operations of the PLC directory go, and what ends them, while anything is written.
    pub(super) fn export(&self) -> Option<(PlcExport, CancellationToken)> {
        let running = self.running.lock();
        running.as_ref().map(|running| (self.parts.export.clone(), running.stop.clone()))
    }

    /// The document of an account changed. Without ingest the question waits in the store.
    pub(super) fn look_at(&self, did: &Did) {
        if let Some(running) = &*self.running.lock() {
            running.ingest.check_handle(did);
        }
    }

    fn set_labelers(&self, labelers: &Labelers, config: &Config) -> Result<(), StoreError> {
        let snapshot = self.parts.store.snapshot();
        for l in &config.labels.labelers {
            self.parts.applied.load(&snapshot, CursorOf::Labeler(l.did.to_string()))?;
        }
        labelers.set(config.labels.labelers.clone())
    }

    /// Applies what a reload may change.
    pub(super) fn reload(&self, config: &Config) -> Result<(), StoreError> {
        match &*self.running.lock() {
            Some(running) => self.set_labelers(&running.labelers, config),
            None => Ok(()),
        }
    }

    async fn end(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.stop.cancel();
            if let Some(follower) = running.follower {
                // A panic in it was reported by the hook.
                let _ = follower.await;
            }
            running.resync.stop().await;
            running.ingest.stop().await;
            running.labelers.stop().await;
        }
    }

    /// Where everything is.
    pub(super) fn status(&self) -> SourcesStatus {
        let running = self.running.lock();
        let plc = serde_json::to_value(self.parts.export.status()).unwrap_or_default();
        let Some(running) = running.as_ref() else {
            return SourcesStatus { plc, ..SourcesStatus::default() };
        };
        let snapshot = self.parts.store.snapshot();
        let upstreams = running.ingest.status().into_iter().map(|u| {
            let of = match u.kind {
                UpstreamKind::Jetstream => CursorOf::Jetstream(u.url.clone()),
                _ => CursorOf::Upstream(u.url.clone()),
            };
            let mut status = with_seq(&u, self.parts.applied.get(&of));
            if let Value::Object(map) = &mut status {
                let gaps = cursors::gap(&snapshot, &of).ok().flatten();
                map.insert("gaps".to_owned(), serde_json::to_value(gaps).unwrap_or_default());
            }
            status
        });
        let labelers = running.labelers.status().into_iter().map(|l| {
            let applied = self.parts.applied.get(&CursorOf::Labeler(l.did.clone()));
            with_seq(&l, applied)
        });
        // What an event asks for is pending before the event's number is shown, so the numbers are read first.
        let (upstreams, labelers) = (upstreams.collect(), labelers.collect());
        let lookups = running.ingest.pending();
        let resync = running.resync.handle().status();
        SourcesStatus {
            upstreams,
            labelers,
            // Parked ones wait for their host, perhaps for ever.
            pending: lookups + resync.queued + resync.running.len(),
            resync: serde_json::to_value(resync).unwrap_or_default(),
            plc,
        }
    }
}

/// The last sequence number that every read shows, in place of the last that was handed to the writer.
fn with_seq(status: &impl serde::Serialize, applied: Option<i64>) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("seq".to_owned(), applied.into());
    }
    value
}
