//! Everything that brings new data: firehoses, labelers, resyncs, the export of the PLC directory. Each is a part of its
//! own, so that one that fails begins anew without the others; all of them wait at one gate, which is closed while the
//! disk is nearly full. What stopped goes on from its cursor.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::follow_up::WantedByIndex;
use super::memory::Memory;
use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use super::sink::{Applied, ToWriter};
use crate::config::{Config, Labeler};
use crate::identity::Identity;
use crate::identity::plc::PlcExport;
use crate::index::repo_contents::held_records;
use crate::ingest::directory::Directory;
use crate::ingest::labels::{Labelers, Setup};
use crate::ingest::{
    Ingest, Options, StartError, Timing, UpstreamKind, UpstreamStatus, UpstreamTime,
};
use crate::net::{Dialer, HttpClient};
use crate::schema::cursors::{self, CursorOf};
use crate::schema::{ActorId, Rows};
use crate::store::{Store, StoreError};
use crate::sync::{self, Resync};
use crate::syntax::Did;
use crate::threads::{Clock, Failure, Pulse};
use crate::upkeep::{Intake, Step, stop_below};
use crate::work::recheck::Questions;

/// Time that a source has to end. What it still does then is done again at the next start.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same while the process goes on: one that hangs must not keep the next from beginning.
const END: Duration = Duration::from_secs(10);
/// All sources begin anew behind what is in the store, so that a fault costs seconds and not the reads.
const fn source(name: &'static str, without: Without) -> Rule {
    Rule { name, at_end: AtEnd::Restart, without, patience: PATIENCE, stops: Stops::First }
}
pub(super) static INGEST: Rule = source("ingest", Without::NotReady);
pub(super) static LABELERS: Rule = source("labelers", Without::NotReady);
pub(super) static RESYNC: Rule = source("resync", Without::Ready);
pub(super) static PLC: Rule = source("plc", Without::Ready);

/// Whether new data is taken in.
struct Gate {
    /// Why not.
    shut: Mutex<Shut>,
    /// What ends all that came in by it, while it is open.
    open: watch::Sender<Option<CancellationToken>>,
    /// The end of the process closes it too.
    stop: CancellationToken,
}

/// Who keeps the gate shut.
struct Shut {
    by_disk: bool,
    /// The reason.
    by_clock: Option<String>,
    by_operator: bool,
}

impl Gate {
    fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Why it is shut, if it is.
    fn why(&self) -> Option<String> {
        let shut = self.shut.lock();
        let disk = shut.by_disk.then(|| "the disk is nearly full".to_owned());
        let paused = || shut.by_operator.then(|| "paused by the operator".to_owned());
        disk.or_else(|| shut.by_clock.clone()).or_else(paused)
    }

    /// Opens it if nobody keeps it shut; whether it was opened by this.
    fn set(&self, change: impl FnOnce(&mut Shut)) -> bool {
        let mut shut = self.shut.lock();
        change(&mut shut);
        let open = !shut.by_disk && shut.by_clock.is_none() && !shut.by_operator;
        let changed = self.open.send_if_modified(|token| {
            if token.is_some() == open {
                return false;
            }
            if let Some(token) = token.take() {
                token.cancel();
            }
            *token = open.then(|| self.stop.child_token());
            true
        });
        changed && open
    }

    /// Waits until it is open; gives what tells that it is closed again.
    async fn opened(&self) -> CancellationToken {
        let mut open = self.open.subscribe();
        // The other end of the channel is in `self`, so it does not close.
        let token = open.wait_for(Option::is_some).await.map(|token| token.clone());
        match token {
            Ok(token) => token.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

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
    /// What the index wants to know of accounts.
    pub(super) questions: Arc<Questions>,
    pub(super) sink: Arc<ToWriter>,
    pub(super) applied: Arc<Applied>,
    /// As of the start.
    pub(super) config: Config,
    /// Watched.
    pub(super) clock: Clock,
    pub(super) memory: Memory,
    /// Ends everything.
    pub(super) stop: CancellationToken,
}

/// The sources, running or not.
pub(super) struct Sources {
    parts: Parts,
    gate: Gate,
    /// Who is followed now.
    following: Mutex<Vec<Labeler>>,
    ingest: Mutex<Option<Ingest>>,
    labelers: Mutex<Option<Labelers>>,
    resync: Mutex<Option<Resync>>,
    /// Why backfill does not go on: because of the disk, or of those who wait for answers.
    held: Mutex<[Option<String>; 2]>,
}

/// Repos fetched at a time, if their share of the memory has room for so many.
const RESYNCS: usize = 16;

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

impl Sources {
    /// With the gate closed.
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let shut = Mutex::new(Shut { by_disk: true, by_clock: None, by_operator: false });
        let gate = Gate { shut, open: watch::Sender::new(None), stop: parts.stop.clone() };
        let following = Mutex::new(parts.config.labels.labelers.clone());
        let (ingest, labelers, resync, held) = Default::default();
        Arc::new(Self { parts, gate, following, ingest, labelers, resync, held })
    }

    /// Starts what the gate lets, so that the first answer of the status knows of it.
    pub(super) fn begin(&self) -> Result<(), StartError> {
        if self.gate.is_open() {
            begin(&IngestSource(self))?;
            begin(&LabelSource(self))?;
            begin(&ResyncSource(self))?;
        }
        Ok(())
    }

    /// Whether new data is taken in, or why not, in words.
    pub(super) fn standing(&self) -> String {
        self.gate.why().map_or_else(|| "running".to_owned(), |why| format!("stopped: {why}"))
    }

    /// The operator wants nothing new taken in, or does again. Forgotten with the process.
    pub(super) fn pause(&self, paused: bool) {
        self.gate.set(|shut| shut.by_operator = paused);
    }

    /// Connects anew to the upstream with this URL; `false` if there is none, or nothing is taken in.
    pub(super) fn reconnect(&self, url: &str) -> bool {
        self.ingest.lock().as_ref().is_some_and(|ingest| ingest.reconnect(url))
    }

    /// Each upstream, while they are followed.
    pub(super) fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.ingest.lock().as_ref().map_or_else(Vec::new, Ingest::status)
    }

    /// What fetches repos, while it runs.
    pub(super) fn sync(&self) -> Option<sync::Handle> {
        self.resync.lock().as_ref().map(Resync::handle)
    }

    /// Where operations of the PLC directory go, and what ends them, while anything is written.
    pub(super) fn export(&self) -> Option<(PlcExport, CancellationToken)> {
        let open = self.gate.open.borrow().clone();
        open.map(|stop| (self.parts.export.clone(), stop))
    }

    /// The document of an account changed. Without ingest the question waits in the store.
    pub(super) fn look_at(&self, did: &Did) {
        if let Some(ingest) = &*self.ingest.lock() {
            ingest.check_handle(did);
        }
    }

    /// Whether each verify lane gets on with what it has.
    pub(super) fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.ingest.lock().as_ref().map_or_else(Vec::new, |ingest| ingest.pulses().to_vec())
    }

    fn follow(&self, labelers: &Labelers) -> Result<(), StoreError> {
        let following = self.following.lock().clone();
        let snapshot = self.parts.store.snapshot();
        for l in &following {
            self.parts.applied.load(&snapshot, CursorOf::Labeler(l.did.to_string()))?;
        }
        labelers.set(following)
    }
}

impl Intake for Sources {
    fn is_running(&self) -> bool {
        self.gate.is_open()
    }

    fn take_in(&self, open: bool) -> bool {
        self.gate.set(|shut| shut.by_disk = !open)
    }

    fn wait_for_clock(&self, why: Option<String>) {
        self.gate.set(|shut| shut.by_clock = why);
    }

    fn times(&self) -> Vec<UpstreamTime> {
        self.ingest.lock().as_ref().map_or_else(Vec::new, Ingest::times)
    }

    fn hold_backfill(&self, why: Option<String>) {
        self.hold([Some(why), None]);
    }
}

impl Sources {
    /// Backfill waits while too many wait for answers.
    pub(super) fn ease(&self, too_many: bool) {
        let why = || "too many clients wait for answers".to_owned();
        self.hold([None, Some(too_many.then(why))]);
    }

    /// Sets those reasons that are given.
    fn hold(&self, reasons: [Option<Option<String>>; 2]) {
        let mut held = self.held.lock();
        for (held, new) in held.iter_mut().zip(reasons) {
            if let Some(new) = new {
                *held = new;
            }
        }
        if let Some(sync) = self.sync() {
            sync.hold_back(held.iter().flatten().next().cloned());
        }
    }
}

/// Something that runs while the gate is open.
trait Source: Sync {
    type Running: Send;

    fn sources(&self) -> &Sources;
    /// Where it is while it runs.
    fn slot(&self) -> &Mutex<Option<Self::Running>>;
    fn start(&self) -> Result<Self::Running, StartError>;
    fn failure(running: &Self::Running) -> Failure;
    fn end(running: Self::Running) -> impl Future<Output = ()> + Send;
}

/// Starts it unless it runs.
fn begin<S: Source>(source: &S) -> Result<Failure, StartError> {
    let mut slot = source.slot().lock();
    if slot.is_none() {
        *slot = Some(source.start()?);
    }
    Ok(slot.as_ref().map(S::failure).unwrap_or_default())
}

/// Runs it whenever the gate is open, until it fails or `stop`.
async fn run<S: Source>(source: &S, stop: &CancellationToken) -> Result<(), PartError> {
    loop {
        let Some(open) = stop.run_until_cancelled(source.sources().gate.opened()).await else {
            return Ok(());
        };
        let failure = begin(source).map_err(PartError::new)?;
        let failed = tokio::select! {
            () = stop.cancelled() => None,
            () = open.cancelled() => None,
            why = failure.told() => Some(why),
        };
        let running = source.slot().lock().take();
        if let Some(running) = running
            && timeout(END, S::end(running)).await.is_err()
        {
            // What hangs has nobody to give anything to any more.
            tracing::error!("a source does not end; it is left behind");
        }
        if let Some(why) = failed {
            return Err(PartError(why));
        }
    }
}

struct IngestSource<'a>(&'a Sources);

impl Source for IngestSource<'_> {
    type Running = Ingest;

    fn sources(&self) -> &Sources {
        self.0
    }

    fn slot(&self) -> &Mutex<Option<Ingest>> {
        &self.0.ingest
    }

    fn start(&self) -> Result<Ingest, StartError> {
        let p = &self.0.parts;
        let options = Options { clock: p.clock.clone(), ..Options::from_config(&p.config) };
        let snapshot = p.store.snapshot();
        for url in &options.upstreams {
            p.applied.load(&snapshot, CursorOf::Upstream(url.clone()))?;
        }
        for url in &options.jetstream {
            p.applied.load(&snapshot, CursorOf::Jetstream(url.clone()))?;
        }
        let (directory, sink) = (Arc::clone(&p.directory), Arc::clone(&p.sink) as _);
        let (dialer, questions) = (p.dialer.unguarded(), Arc::clone(&p.questions));
        Ingest::start(options, &dialer, &p.store, directory, sink, questions)
    }

    fn failure(running: &Ingest) -> Failure {
        running.failure()
    }

    async fn end(running: Ingest) {
        running.stop().await;
    }
}

struct LabelSource<'a>(&'a Sources);

impl Source for LabelSource<'_> {
    type Running = Labelers;

    fn sources(&self) -> &Sources {
        self.0
    }

    fn slot(&self) -> &Mutex<Option<Labelers>> {
        &self.0.labelers
    }

    fn start(&self) -> Result<Labelers, StartError> {
        let p = &self.0.parts;
        let labelers = Labelers::new(Setup {
            dialer: p.dialer.clone(),
            public_url: p.config.server.public_url.clone(),
            store: p.store.clone(),
            directory: Arc::clone(&p.directory),
            sink: Arc::clone(&p.sink) as _,
            timing: Timing::default(),
            clock: p.clock.clone(),
        });
        self.0.follow(&labelers)?;
        Ok(labelers)
    }

    fn failure(running: &Labelers) -> Failure {
        running.failure()
    }

    async fn end(running: Labelers) {
        running.stop().await;
    }
}

struct ResyncSource<'a>(&'a Sources);

impl Source for ResyncSource<'_> {
    type Running = Resync;

    fn sources(&self) -> &Sources {
        self.0
    }

    fn slot(&self) -> &Mutex<Option<Resync>> {
        &self.0.resync
    }

    fn start(&self) -> Result<Resync, StartError> {
        let p = &self.0.parts;
        let setup = sync::Setup {
            identity: p.identity.clone(),
            http: p.http.clone(),
            store: p.store.clone(),
            writer: p.sink.writer.clone(),
            follow_up: Arc::new(WantedByIndex::new(&p.store, &p.config.scope)),
            held: Arc::new(FromIndex(p.store.clone())),
            sink: Arc::clone(&p.sink) as _,
            spill: p.store.path().to_owned(),
            spill_floor: spill_floor(&p.config, &p.store),
            fetches: p.memory.fetches.clone(),
            records: p.memory.records.clone(),
            concurrency: RESYNCS,
            clock: p.clock.clone(),
        };
        Ok(Resync::start(setup, p.resync.clone()))
    }

    fn failure(running: &Resync) -> Failure {
        running.failure()
    }

    async fn end(running: Resync) {
        running.stop().await;
    }
}

/// Firehoses and Jetstreams: readers, verify lanes, sequencers, checks of identities.
pub(super) struct IngestPart(pub(super) Arc<Sources>);

impl Part for IngestPart {
    fn rule(&self) -> &'static Rule {
        &INGEST
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move { run(&IngestSource(&self.0), &stop).await })
    }

    /// Each upstream; `seq` is the last whose effects every read shows.
    fn status(&self) -> Value {
        let parts = &self.0.parts;
        let snapshot = parts.store.snapshot();
        let upstreams = self.0.upstreams().into_iter().map(|u| {
            let of = match u.kind {
                UpstreamKind::Jetstream => CursorOf::Jetstream(u.url.clone()),
                _ => CursorOf::Upstream(u.url.clone()),
            };
            let mut status = with_seq(&u, parts.applied.get(&of));
            if let Value::Object(map) = &mut status {
                let gaps = cursors::gap(&snapshot, &of).ok().flatten();
                map.insert("gaps".to_owned(), serde_json::to_value(gaps).unwrap_or_default());
            }
            status
        });
        upstreams.collect()
    }

    fn pending(&self) -> usize {
        self.0.ingest.lock().as_ref().map_or(0, Ingest::pending)
    }

    fn ready(&self) -> Result<(), String> {
        for upstream in self.0.upstreams() {
            let Some(trouble) = upstream.trouble else { continue };
            let why = upstream.last_error.map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!("{}: {trouble}{why}", upstream.url));
        }
        Ok(())
    }
}

/// Subscriptions to labelers.
pub(super) struct LabelersPart(pub(super) Arc<Sources>);

impl Part for LabelersPart {
    fn rule(&self) -> &'static Rule {
        &LABELERS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move { run(&LabelSource(&self.0), &stop).await })
    }

    /// Each labeler; `seq` likewise.
    fn status(&self) -> Value {
        let labelers = self.0.labelers.lock();
        let labelers = labelers.as_ref().map_or_else(Vec::new, Labelers::status);
        let labelers = labelers.into_iter().map(|l| {
            let applied = self.0.parts.applied.get(&CursorOf::Labeler(l.did.clone()));
            with_seq(&l, applied)
        });
        labelers.collect()
    }

    fn reload(&self, new: &Config) -> Vec<&'static str> {
        self.0.following.lock().clone_from(&new.labels.labelers);
        if let Some(labelers) = &*self.0.labelers.lock()
            && let Err(error) = self.0.follow(labelers)
        {
            tracing::error!(%error, "reload: labelers");
        }
        vec!["labels.labelers"]
    }
}

/// Fetches whole repos.
pub(super) struct ResyncPart(pub(super) Arc<Sources>);

impl Part for ResyncPart {
    fn rule(&self) -> &'static Rule {
        &RESYNC
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move { run(&ResyncSource(&self.0), &stop).await })
    }

    fn status(&self) -> Value {
        let status = self.0.sync().map(|sync| sync.status());
        status.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default()
    }

    /// Parked ones wait for their host, perhaps for ever.
    fn pending(&self) -> usize {
        self.0.sync().map(|sync| sync.status()).map_or(0, |s| s.queued + s.running.len())
    }
}

/// Follows the PLC directory's export, where that is wanted.
pub(super) struct PlcPart(pub(super) Arc<Sources>);

impl Part for PlcPart {
    fn rule(&self) -> &'static Rule {
        &PLC
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            let p = &self.0.parts;
            if !p.config.network.plc_export {
                stop.cancelled().await;
                return Ok(());
            }
            // The gate's token ends with `stop` too.
            while let Some(open) = stop.run_until_cancelled(self.0.gate.opened()).await {
                p.export.clone().follow(p.identity.plc_source(), open.clone()).await;
                if !open.is_cancelled() {
                    return Err(PartError::new("the store takes no operations"));
                }
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.parts.export.status()).unwrap_or_default()
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
