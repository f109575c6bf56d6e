//! Backups by the clock, one at a time, each on a thread of its own; and what the status says of them.
//!
//! Private state is left out if nothing of it was changed since its last backup. After a failure the next try comes in a
//! quarter of an hour. The operator is told once of each failure that follows on a success, and once that the last good
//! one has become too old while no better one can be made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::BackupError;
use super::create::{Made, Progress};
use super::id::Kind;
use super::prune::Keep;
use super::repository::Repository;
use crate::config;
use crate::private::lines::last_change;
use crate::store::{FORMAT, Store, StoreError, Writer};
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

/// What became of backups, by kind.
static BACKUPS: Counters = Counters::new("backup");

/// Between two looks, and while a backup is under way.
const LOOK_EVERY: Duration = Duration::from_secs(20);
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// After a failure, the next try; milliseconds.
const AGAIN: i64 = 900_000;
/// Why a backup ends that failed at nothing.
const SERVER_STOPS: &str = "the server stops";
/// How nice a backup is (`nice`): ingest and readers come first.
const NICE: i32 = 10;

/// Takes a sentence about backups of a kind.
pub type Tell = dyn Fn(Kind, &str) + Send + Sync;

/// What the schedule needs of the server.
pub struct Server {
    /// What is backed up.
    pub store: Store,
    /// Lets the store be pinned between two commits.
    pub writer: Writer,
    /// What time it is.
    pub clock: Clock,
    /// Whether that is believed.
    pub believed: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether the disk of the store is nearly full.
    pub is_short: Box<dyn Fn() -> bool + Send + Sync>,
    /// The server's own keys, by their names.
    pub keys: Vec<(&'static str, PathBuf)>,
    /// Tells the operator.
    pub tell: Box<Tell>,
}

/// Backups of a running server.
pub struct Schedule {
    server: Server,
    /// None without a place.
    repository: Option<Repository>,
    settings: config::Backup,
    /// Whether backups go to the disk that the store is on.
    same_disk: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the place has was looked at.
    known: bool,
    running: Option<Running>,
    /// How many were begun.
    runs: u64,
    kinds: BTreeMap<Kind, OfKind>,
}

struct Running {
    kind: Kind,
    progress: Arc<Progress>,
}

/// What is known of a kind.
#[derive(Debug, Clone, Default)]
struct OfKind {
    last: Option<Last>,
    /// The newest change of private state that is in the last one.
    change: Option<u64>,
    failed: Option<(i64, String)>,
    /// The run that ended last.
    ended: u64,
    told_old: bool,
}

/// The last good backup of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Last {
    /// Its name.
    pub id: String,
    /// When it was made, milliseconds since the epoch.
    pub made: i64,
    /// Its bytes.
    pub bytes: u64,
    /// Of these, what was not there yet; not known of one that an earlier process made.
    pub brought: Option<u64>,
    /// Milliseconds for which nothing could be written because of it; not known likewise.
    pub pause_ms: Option<u64>,
}

/// Backups, as the status says it.
#[derive(Debug, Clone, Serialize)]
pub struct BackupStatus {
    /// Where they go.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// Whether they are encrypted.
    pub encrypted: bool,
    /// What is under way.
    pub running: Option<RunningStatus>,
    /// The number of the last one that was begun.
    pub run: u64,
    /// Why none is begun, although it may be time.
    pub held: Option<&'static str>,
    /// Of the whole store.
    pub whole: KindStatus,
    /// Of private state.
    pub private: KindStatus,
}

/// A backup under way.
#[derive(Debug, Clone, Serialize)]
pub struct RunningStatus {
    /// Of what.
    pub kind: Kind,
    /// Bytes to go through.
    pub of: u64,
    /// Bytes gone through.
    pub done: u64,
    /// Bytes brought.
    pub brought: u64,
}

/// A kind, as the status says it.
#[derive(Debug, Clone, Serialize)]
pub struct KindStatus {
    /// The last good one.
    pub last: Option<Last>,
    /// Seconds since it was made.
    pub age_s: Option<i64>,
    /// When the next one is due, milliseconds since the epoch.
    pub next: Option<i64>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
    /// The run that ended last.
    pub ended: u64,
}

impl Schedule {
    /// Nothing is begun yet.
    #[must_use]
    pub fn new(
        server: Server,
        repository: Option<Repository>,
        settings: config::Backup,
    ) -> Arc<Self> {
        let same_disk = settings.place.as_deref().is_some_and(|place| {
            !place.starts_with("s3://") && on_one_disk(Path::new(place), server.store.path())
        });
        Arc::new(Self { server, repository, settings, same_disk, state: Mutex::default() })
    }

    fn every(&self, kind: Kind) -> i64 {
        let every = match kind {
            Kind::Whole => self.settings.every,
            Kind::Private => self.settings.private,
        };
        i64::try_from(every.as_millis()).unwrap_or(i64::MAX)
    }

    fn held(&self) -> Option<&'static str> {
        if self.same_disk && (self.server.is_short)() {
            return Some("the disk is nearly full, and backups go to it");
        }
        (!(self.server.believed)()).then_some("the clock is not believed")
    }

    /// Begins what is due, stops what must not go on; gives how long to wait. Blocks at first, for what the place has.
    pub fn look(self: &Arc<Self>) -> Duration {
        let Some(repository) = &self.repository else { return LOOK_EVERY };
        let now = self.server.clock.now_ms();
        if let Err(error) = self.know(repository) {
            self.every_kind().for_each(|kind| self.fail(kind, now, &error));
            return Duration::from_millis(AGAIN.unsigned_abs());
        }
        let held = self.held();
        if let (Some(why), Some(running)) = (held, &self.state.lock().running) {
            running.progress.stop(why);
        }
        self.every_kind().for_each(|kind| self.tell_old(kind, now, held.is_some()));
        let due = self.every_kind().find(|kind| self.is_due(*kind, now));
        if let Some(kind) = due.filter(|_| held.is_none() && self.state.lock().running.is_none())
            && let Err(error) = self.begin(kind)
        {
            tracing::error!(%error, "no backup is begun");
        }
        match self.state.lock().running {
            Some(_) => WATCH_EVERY,
            None => LOOK_EVERY,
        }
    }

    /// Kinds that are backed up by the clock.
    fn every_kind(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.every(*kind) > 0)
    }

    /// Looks at what the place has, once.
    fn know(&self, repository: &Repository) -> Result<(), BackupError> {
        if self.state.lock().known {
            return Ok(());
        }
        let mut kinds: BTreeMap<Kind, OfKind> = BTreeMap::new();
        for kind in Kind::ALL {
            let mut ids = repository.ids()?.into_iter().rev().filter(|id| id.kind() == kind);
            // One that cannot be read is none.
            let last = ids.find_map(|id| repository.manifest(&id).ok().map(|m| (id, m)));
            let Some((id, manifest)) = last else { continue };
            let of = kinds.entry(kind).or_default();
            of.change = manifest.head.change;
            let (id, bytes) = (id.to_string(), manifest.bytes());
            of.last =
                Some(Last { id, made: manifest.head.made, bytes, brought: None, pause_ms: None });
        }
        let mut state = self.state.lock();
        (state.kinds, state.known) = (kinds, true);
        Ok(())
    }

    /// Whether the last backup has all that there is now.
    fn is_unchanged(&self, kind: Kind, of: &OfKind) -> bool {
        kind == Kind::Private && of.change == Some(last_change(&self.server.store))
    }

    fn is_due(&self, kind: Kind, now: i64) -> bool {
        let state = self.state.lock();
        let Some(of) = state.kinds.get(&kind) else { return true };
        let lately = of.failed.as_ref().is_some_and(|(at, _)| (0..AGAIN).contains(&(now - at)));
        // One that was made in the future was made by a clock that was wrong.
        let is_old = |last: &Last| !(0..self.every(kind)).contains(&(now - last.made));
        let unchanged = self.is_unchanged(kind, of);
        !lately && of.last.as_ref().is_none_or(is_old) && !unchanged
    }

    /// Tells of a last good one that is too old, if no better one can be made.
    fn tell_old(&self, kind: Kind, now: i64, held: bool) {
        let mut state = self.state.lock();
        let Some(of) = state.kinds.get_mut(&kind) else { return };
        let unchanged = self.is_unchanged(kind, of);
        let age = of.last.as_ref().map(|last| now - last.made);
        let hindered = held || of.failed.is_some();
        let old = age.is_some_and(|age| age > 2 * self.every(kind)) && hindered && !unchanged;
        if old && !of.told_old {
            let hours = age.unwrap_or(0) / 3_600_000;
            let message = format!("the last good backup ({}) is {hours} hours old", kind.name());
            tracing::error!("{message}");
            (self.server.tell)(kind, &message);
        }
        of.told_old = old;
    }

    /// Begins a backup now; gives its number.
    ///
    /// # Errors
    /// There is no place, another one is under way, or it must not be.
    pub fn begin(self: &Arc<Self>, kind: Kind) -> Result<u64, String> {
        if self.repository.is_none() {
            return Err("there is no place for backups: set backup.where and restart".to_owned());
        }
        if let Some(why) = self.held() {
            return Err(why.to_owned());
        }
        let (run, progress) = {
            let mut state = self.state.lock();
            if let Some(running) = &state.running {
                return Err(format!("a backup ({}) is under way", running.kind.name()));
            }
            let progress = Arc::<Progress>::default();
            state.running = Some(Running { kind, progress: Arc::clone(&progress) });
            state.runs += 1;
            (state.runs, progress)
        };
        let this = Arc::clone(self);
        let thread = std::thread::Builder::new().name("backup".to_owned());
        let begun = thread.spawn(move || {
            // On Linux this is the thread's own. Refused, the work is only less polite.
            let _ = rustix::process::setpriority_process(None, NICE);
            let made = crate::threads::catch(|| this.make(kind, &progress));
            let made = made.unwrap_or_else(|panic| Err(BackupError::Stopped(panic)));
            this.ended(kind, run, made);
        });
        begun.map(|_| run).map_err(|error| {
            self.state.lock().running = None;
            error.to_string()
        })
    }

    fn make(&self, kind: Kind, progress: &Progress) -> Result<(Made, u64), BackupError> {
        let Some(repository) = &self.repository else { return Err(BackupError::Nothing) };
        let (store, now) = (&self.server.store, self.server.clock.now_ms());
        let change = last_change(store);
        let made = match kind {
            Kind::Whole => {
                // The less is in the journal only, the less of it is copied.
                store.flush_all()?;
                let pinned = store.clone();
                let pin = self.server.writer.made_blocking(move |_| pinned.pin())?.wait()?;
                repository.whole(&pin, &self.server.keys, now, progress)?
            }
            Kind::Private => {
                let scratch = store.path().join("backup.part");
                repository.private(store, FORMAT, &scratch, now, progress)?
            }
        };
        let age = i64::try_from(self.settings.keep_for.as_millis()).unwrap_or(i64::MAX);
        let count = usize::try_from(self.settings.keep).unwrap_or(usize::MAX);
        // It is made, whether or not old ones go.
        if let Err(error) = repository.prune(Keep { count, age }, now, false) {
            tracing::warn!(%error, "old backups cannot be taken away");
        }
        Ok((made, change))
    }

    fn ended(&self, kind: Kind, run: u64, made: Result<(Made, u64), BackupError>) {
        let now = self.server.clock.now_ms();
        match made {
            Ok((made, change)) => {
                BACKUPS.inc(kind.name());
                tracing::info!(
                    id = %made.id, bytes = made.bytes, brought = made.brought, pause_ms = made.pause_ms, "backup"
                );
                let mut state = self.state.lock();
                let of = state.kinds.entry(kind).or_default();
                of.last = Some(Last {
                    id: made.id.to_string(),
                    made: now,
                    bytes: made.bytes,
                    brought: Some(made.brought),
                    pause_ms: Some(made.pause_ms),
                });
                (of.change, of.failed, of.told_old) = (Some(change), None, false);
            }
            Err(BackupError::Nothing) => {
                let change = Some(last_change(&self.server.store));
                self.state.lock().kinds.entry(kind).or_default().change = change;
            }
            // The next one goes on with what was brought.
            Err(BackupError::Store(StoreError::Closed)) => {}
            Err(BackupError::Stopped(why)) if why == SERVER_STOPS => {}
            Err(error) => {
                BACKUPS.inc("failed");
                self.fail(kind, now, &error);
            }
        }
        let mut state = self.state.lock();
        state.kinds.entry(kind).or_default().ended = run;
        state.running = None;
    }

    fn fail(&self, kind: Kind, now: i64, error: &BackupError) {
        tracing::error!(%error, kind = kind.name(), "backup");
        let mut state = self.state.lock();
        let of = state.kinds.entry(kind).or_default();
        let first = of.failed.is_none();
        of.failed = Some((now, error.to_string()));
        drop(state);
        if first {
            (self.server.tell)(kind, &format!("a backup ({}) failed: {error}", kind.name()));
        }
    }

    /// Ends what is under way, since the server stops.
    pub fn stop(&self) {
        if let Some(running) = &self.state.lock().running {
            running.progress.stop(SERVER_STOPS);
        }
    }

    /// Whether one is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state.lock().running.is_some()
    }

    /// As of now.
    #[must_use]
    pub fn status(&self) -> BackupStatus {
        let now = self.server.clock.now_ms();
        let held = self.held().filter(|_| self.repository.is_some());
        let state = self.state.lock();
        let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let running = state.running.as_ref().map(|running| RunningStatus {
            kind: running.kind,
            of: count(&running.progress.of),
            done: count(&running.progress.done),
            brought: count(&running.progress.brought),
        });
        let kind = |kind: Kind| {
            let of = state.kinds.get(&kind).cloned().unwrap_or_default();
            let every = self.every(kind);
            let scheduled = every > 0 && self.repository.is_some();
            let failed = of.failed.as_ref().map(|(at, _)| at + AGAIN);
            let due = of.last.as_ref().map_or(now, |last| last.made.saturating_add(every));
            KindStatus {
                age_s: of.last.as_ref().map(|last| (now - last.made) / 1000),
                next: scheduled.then(|| failed.unwrap_or(due).max(now)),
                last: of.last,
                error: of.failed.map(|(_, error)| error),
                ended: of.ended,
            }
        };
        BackupStatus {
            place: self.settings.place.clone(),
            encrypted: !self.settings.encrypt_to.is_empty(),
            running,
            run: state.runs,
            held,
            whole: kind(Kind::Whole),
            private: kind(Kind::Private),
        }
    }
}

/// Whether what is put there takes room of that disk.
fn on_one_disk(place: &Path, store: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let there = place.ancestors().find_map(|folder| std::fs::metadata(folder).ok());
    let of_store = std::fs::metadata(store).ok();
    there.zip(of_store).is_none_or(|(a, b)| a.dev() == b.dev())
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
