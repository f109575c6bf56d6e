//! What is fetched when. One task decides; reading, asking and fetching are tasks of their own that report back.
//!
//! ```text
//! stored jobs, requests -> window -> DID document -> queue of the host -> fetch -> settled in the store
//! lists of repos -------> stored jobs, a page at a time, as long as few of the list wait
//! ```
//!
//! # Invariants
//! - A job is in the store from before it begins until after its repo is in; memory holds a bounded window of them.
//! - A repo is in the window once, so it is never fetched twice at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::fetch::{self, Blame, FetchError};
use super::hosts::Work;
use super::lists::{self, Applied};
use super::settle::{self, Settled};
use super::state::{Census, Down, Home, Place, Source, State};
use super::window::{self, Loaded, Scan};
use super::{SETTLED, Setup};
use crate::identity::{Freshness, IdentityError};
use crate::schema::ActorId;
use crate::store::StoreError;
use crate::threads::{Backoff, Clock};
use crate::work::repo_queue::{JobRow, Priority, SourceRow, SourceState};

/// DID documents read at a time.
const RESOLVING: usize = 24;
/// Before the DID directory is asked again.
const DIRECTORY_RETRY: Backoff = Backoff::new(Duration::from_secs(1), 2, Duration::from_secs(256));
/// Jobs of one priority in memory.
const WINDOW: usize = 4096;
/// Stored jobs read at a time.
const LOAD: usize = 1024;
/// A host that is left alone for longer gives its jobs back to the store.
const SHORT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Between two looks for jobs that became due.
const SCAN_EVERY: Duration = Duration::from_secs(2);
/// Until jobs are counted again that could not be.
const AFTER_ERROR: Duration = Duration::from_secs(30);

enum Ended {
    Loaded(Result<Loaded, StoreError>),
    Counted(Result<(Census, Vec<(u32, SourceRow)>), StoreError>),
    Resolved(ActorId, Result<Home, FetchError>),
    Fetched(ActorId, String, Result<bool, FetchError>),
    Settled(ActorId, Result<Settled, StoreError>),
    Listed(u32, String, Result<Applied, FetchError>),
}

/// The dispatcher.
pub(crate) struct Queue {
    setup: Arc<Setup>,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    tasks: JoinSet<Ended>,
    scan: Scan,
    next_scan: Instant,
    next_census: Instant,
    counting: bool,
    /// Accounts whose jobs have to be looked at.
    named: Vec<ActorId>,
    named_loading: usize,
    next_pages: Instant,
    resolving: usize,
    running: usize,
    /// The PLC directory fails: nothing is asked before this.
    resolver_until: Option<Instant>,
    resolver_failures: u32,
}

impl Queue {
    pub(crate) fn new(
        setup: Arc<Setup>,
        state: Arc<Mutex<State>>,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            setup,
            state,
            stop,
            tasks: JoinSet::new(),
            scan: Scan::default(),
            next_scan: now,
            next_census: now,
            counting: false,
            named: Vec::new(),
            named_loading: 0,
            next_pages: now,
            resolving: 0,
            running: 0,
            resolver_until: None,
            resolver_failures: 0,
        }
    }

    /// Runs until stopped, or until nothing takes events any more.
    ///
    /// # Errors
    /// What ended it otherwise.
    pub(crate) async fn run(
        mut self,
        requests: [flume::Receiver<ActorId>; 2],
    ) -> Result<(), String> {
        let [index, own] = requests;
        window::take_over(&self.setup).await.map_err(|error| error.to_string())?;
        loop {
            self.fill();
            let tick = if self.state.lock().is_idle() { IDLE_TICK } else { TICK };
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(actor) = index.recv_async() => self.named.push(actor),
                Ok(actor) = own.recv_async() => self.named.push(actor),
                Some(ended) = self.tasks.join_next() => {
                    // What one that panicked held, a repo and a place among those that run, comes free with a new start
                    // alone.
                    let ended = ended.map_err(|error| format!("a task of it: {error}"))?;
                    if !self.ended(ended) {
                        break;
                    }
                }
                () = sleep(tick) => {}
            }
            self.named.extend(index.drain());
            self.named.extend(own.drain());
            self.state.lock().coming = self.named.len() + self.named_loading;
        }
        self.tasks.shutdown().await;
        Ok(())
    }

    fn fill(&mut self) {
        let now = Instant::now();
        self.state.lock().meter.tick(now);
        self.load(now);
        self.count(now);
        if now >= self.next_pages {
            self.next_pages = now + TICK;
            self.state.lock().want_pages(now);
        }
        self.resolve(now);
        self.fetch(now);
    }

    fn load(&mut self, now: Instant) {
        if self.state.lock().loading || (self.named.is_empty() && now < self.next_scan) {
            return;
        }
        let mut room = Vec::new();
        if now >= self.next_scan {
            let state = self.state.lock();
            for priority in Priority::ALL {
                let loaded = state.loaded(priority);
                if state.allows(priority) && loaded < WINDOW / 2 {
                    room.push((priority, LOAD.min(WINDOW - loaded)));
                }
            }
            self.next_scan = now + SCAN_EVERY;
        }
        let named: Vec<ActorId> = self.named.drain(..self.named.len().min(LOAD)).collect();
        let (store, scan, now) =
            (self.setup.store.clone(), self.scan.clone(), self.setup.clock.now_ms());
        self.named_loading = named.len();
        self.state.lock().loading = true;
        self.tasks.spawn(async move {
            let load = move || window::load(&store.snapshot(), scan, &room, &named, now);
            let loaded = tokio::task::spawn_blocking(load).await;
            Ended::Loaded(loaded.unwrap_or(Err(StoreError::Closed)))
        });
    }

    fn count(&mut self, now: Instant) {
        if self.counting || now < self.next_census {
            return;
        }
        self.counting = true;
        let (store, now) = (self.setup.store.clone(), self.setup.clock.now_ms());
        self.tasks.spawn(async move {
            let count = move || window::census(&store.snapshot(), now);
            let counted = tokio::task::spawn_blocking(count).await;
            Ended::Counted(counted.unwrap_or(Err(StoreError::Closed)))
        });
    }

    fn resolve(&mut self, now: Instant) {
        let waits = self.resolver_until.is_some_and(|until| until > now);
        let limit = if self.resolver_failures > 0 { 1 } else { RESOLVING };
        while self.resolving < limit && !waits {
            let mut state = self.state.lock();
            let Some(actor) = state.next_unresolved() else { return };
            let Some(entry) = state.entries.get(&actor) else { continue };
            let (did, job) = (entry.did.clone(), entry.job.clone());
            drop(state);
            self.resolving += 1;
            let setup = Arc::clone(&self.setup);
            self.tasks.spawn(async move {
                // Documents of accounts whose chain broke have often changed.
                let freshness = match (job.tries, job.priority) {
                    (0, Priority::Resync) => Freshness::Recent,
                    (0, _) => Freshness::Cached,
                    _ => Freshness::Fresh,
                };
                Ended::Resolved(actor, fetch::home(&setup, &did, freshness).await)
            });
        }
    }

    fn fetch(&mut self, now: Instant) {
        while self.running < self.setup.concurrency {
            let mut state = self.state.lock();
            let (paused, held) = (state.paused, state.held_back.is_some());
            let allowed = |p| p == Priority::Resync || !(paused || held);
            let Some((host, work)) = state.hosts.next(now, allowed) else { return };
            let (setup, board) = (Arc::clone(&self.setup), Arc::clone(&self.state));
            let clock = setup.clock.clone();
            match work {
                Work::Repo(actor) => {
                    let entry = state.entries.get_mut(&actor).filter(|entry| {
                        let home = entry.home.as_ref().is_some_and(|home| *home.pds == *host);
                        home && entry.place == Place::Waiting
                    });
                    let Some((entry, home)) = entry.and_then(|e| e.home.clone().map(|h| (e, h)))
                    else {
                        state.hosts.ended(&host, now);
                        continue;
                    };
                    entry.place = Place::Running;
                    let (did, need) = (entry.did.clone(), entry.need);
                    let progress = Arc::clone(&entry.progress);
                    self.tasks.spawn(async move {
                        let told = |status, headers: &http::HeaderMap| {
                            tell(&board, &clock, &home.pds, status, headers);
                        };
                        let fetched =
                            fetch::fetch(&setup, &did, &home, need, &progress, told).await;
                        Ended::Fetched(actor, host, fetched)
                    });
                }
                Work::List(id) => {
                    let Some(row) = state.sources.get(&id).map(|source| source.row.clone()) else {
                        state.hosts.ended(&host, now);
                        continue;
                    };
                    self.tasks.spawn(async move {
                        let told = |answer: &crate::net::Response| {
                            tell(&board, &clock, &row.url, answer.status, &answer.headers);
                        };
                        let page = lists::next_page(&setup, id, &row, told).await;
                        Ended::Listed(id, host, page)
                    });
                }
            }
            self.running += 1;
        }
    }

    /// Takes note of what a task reports; `false` when it cannot go on.
    fn ended(&mut self, ended: Ended) -> bool {
        match ended {
            Ended::Loaded(Ok(loaded)) => self.loaded(loaded),
            Ended::Counted(Ok((census, sources))) => self.counted(census, sources),
            Ended::Resolved(actor, result) => {
                self.resolving -= 1;
                self.resolved(actor, result);
            }
            Ended::Fetched(_, _, Err(FetchError::Closed(_)))
            | Ended::Listed(_, _, Err(FetchError::Closed(_))) => return false,
            Ended::Fetched(actor, host, result) => {
                self.running -= 1;
                self.state.lock().hosts.ended(&host, Instant::now());
                self.fetched(actor, &host, result);
            }
            Ended::Settled(actor, Ok(settled)) => {
                let mut state = self.state.lock();
                if state.leave(actor) {
                    self.named.push(actor);
                }
                if state.entries.is_empty() {
                    // Whoever waits for the end is told soon.
                    let soon = Instant::now() + Duration::from_millis(state.census.jobs() / 50);
                    self.next_census = self.next_census.min(soon);
                }
                drop(state);
                self.named.extend(settled.added);
            }
            Ended::Listed(id, host, result) => {
                self.running -= 1;
                self.state.lock().hosts.ended(&host, Instant::now());
                self.listed(id, &host, result);
            }
            Ended::Loaded(Err(error))
            | Ended::Counted(Err(error))
            | Ended::Settled(_, Err(error))
                if error.is_fatal() || matches!(error, StoreError::Closed) =>
            {
                return false;
            }
            // A row that does not decode, or no room: what was asked for comes with a later look.
            Ended::Loaded(Err(error)) => {
                tracing::error!(%error, "repos to fetch cannot be read");
                self.named_loading = 0;
                self.next_scan = Instant::now() + SCAN_EVERY;
                self.state.lock().loading = false;
            }
            Ended::Counted(Err(error)) => {
                tracing::error!(%error, "repos to fetch cannot be counted");
                self.counting = false;
                self.next_census = Instant::now() + AFTER_ERROR;
            }
            // Its job is still there; it stays admitted, so that it is not fetched over and over.
            Ended::Settled(actor, Err(error)) => {
                tracing::error!(%error, actor = actor.0, "what came of a repo cannot be written down");
            }
        }
        true
    }

    fn loaded(&mut self, loaded: Loaded) {
        self.named_loading = 0;
        let dropped = {
            let mut state = self.state.lock();
            state.loading = false;
            std::mem::take(&mut state.dropped)
        };
        if loaded.more {
            self.next_scan = Instant::now();
        }
        self.scan = loaded.scan;
        for (actor, did, job, need) in loaded.jobs {
            if dropped.contains(&actor) {
                continue;
            }
            let nothing = self.state.lock().admit(actor, did, job.clone(), need);
            if nothing {
                self.settle(actor, job, Ok(()));
            }
        }
    }

    fn counted(&mut self, census: Census, sources: Vec<(u32, SourceRow)>) {
        self.counting = false;
        // A million jobs take half a second to count.
        self.next_census = Instant::now() + Duration::from_secs(3 + census.jobs() / 20_000);
        let mut state = self.state.lock();
        for (id, row) in sources {
            let outstanding = census.by_source.get(&id).copied().unwrap_or(0);
            let known = state.sources.entry(id).or_insert_with(|| Source {
                row: row.clone(),
                busy: false,
                outstanding,
            });
            // The cursor here may be newer than the snapshot was.
            known.row.done = known.row.done.max(row.done);
            known.row.failed = known.row.failed.max(row.failed);
        }
        state.census = census;
    }

    fn resolved(&mut self, actor: ActorId, result: Result<Home, FetchError>) {
        let error = match result {
            Ok(home) => {
                self.resolver_failures = 0;
                let mut state = self.state.lock();
                state.directory = None;
                state.resolved(actor, home);
                return;
            }
            Err(error) => error,
        };
        if error.blame() == Blame::Directory {
            self.resolver_failures = self.resolver_failures.saturating_add(1);
            let pause = match &error {
                // Then it answers again, and nobody was asked in vain.
                FetchError::Directory(IdentityError::Busy(pause)) => *pause,
                _ => DIRECTORY_RETRY.wait(self.resolver_failures),
            };
            let until = Instant::now() + pause;
            self.resolver_until = Some(until);
            let mut state = self.state.lock();
            state.note_failure("the DID directory", error.cause(), &error.to_string());
            state.directory =
                Some(Down { until, failures: self.resolver_failures, error: error.to_string() });
            state.back(actor);
            return;
        }
        self.repo_failed(actor, &error, Duration::ZERO);
    }

    fn fetched(&mut self, actor: ActorId, host: &str, result: Result<bool, FetchError>) {
        let mut state = self.state.lock();
        let entry = state.entries.get(&actor);
        if let Some(entry) = entry.filter(|e| e.progress.dropped.is_cancelled()) {
            // Unless it was asked for again since, there is nothing to write down.
            let job = entry.job.clone();
            drop(state);
            self.settle(actor, job.clone(), Err(job));
            return;
        }
        match result {
            Ok(changed) => {
                state.hosts.answered(host);
                let Some(entry) = state.entries.get_mut(&actor) else { return };
                let job = entry.job.clone();
                let bytes = entry.progress.bytes.load(Ordering::Relaxed);
                let records = entry.progress.records.load(Ordering::Relaxed);
                let meter = &mut state.meter;
                meter.repos += u64::from(changed);
                meter.unchanged += u64::from(!changed);
                (meter.bytes, meter.records) = (meter.bytes + bytes, meter.records + records);
                drop(state);
                self.settle(actor, job, Ok(()));
            }
            Err(error) if error.blame() == Blame::Host => {
                let pause = state.hosts.failed(host, Instant::now(), &error.to_string());
                drop(state);
                self.repo_failed(actor, &error, pause);
                self.park(host, pause, &error);
            }
            Err(error) => {
                state.hosts.answered(host);
                drop(state);
                self.repo_failed(actor, &error, Duration::ZERO);
            }
        }
    }

    /// A host is left alone for long: its jobs do not wait in memory.
    fn park(&mut self, host: &str, pause: Duration, error: &FetchError) {
        if pause <= SHORT {
            return;
        }
        let mut state = self.state.lock();
        let mut jobs = Vec::new();
        for work in state.hosts.drain(host) {
            match work {
                Work::List(id) => {
                    if let Some(source) = state.sources.get_mut(&id) {
                        source.busy = false;
                    }
                }
                Work::Repo(actor) => {
                    let waits = |e: &&mut super::state::Entry| e.place == Place::Waiting;
                    if let Some(entry) = state.entries.get_mut(&actor).filter(waits) {
                        entry.place = Place::Settling;
                        jobs.push((actor, entry.job.clone()));
                    }
                }
            }
        }
        drop(state);
        for (actor, job) in jobs {
            let later = settle::postponed(job, host, pause, error, self.setup.clock.now_ms());
            self.settle(actor, later.clone(), Err(later));
        }
    }

    fn repo_failed(&mut self, actor: ActorId, error: &FetchError, pause: Duration) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get(&actor) else { return };
        let (did, job) = (entry.did.clone(), entry.job.clone());
        tracing::debug!(%did, %error, "repo not fetched");
        state.note_failure(&did, error.cause(), &error.to_string());
        drop(state);
        let later = settle::failed(job.clone(), error, pause, self.setup.clock.now_ms());
        self.settle(actor, job, Err(later));
        if let FetchError::Refused(_, Some(status)) = error {
            let (setup, status) = (Arc::clone(&self.setup), *status);
            // What the host says of the account is true whatever becomes of the job.
            tokio::spawn(async move { fetch::refused_as(&setup, &did, status).await });
        }
    }

    /// Writes down what became of a job: gone, or `Err` what it is from now on.
    fn settle(&mut self, actor: ActorId, job: JobRow, end: Result<(), JobRow>) {
        let did = self.state.lock().entries.get_mut(&actor).map(|entry| {
            entry.place = Place::Settling;
            entry.did.clone()
        });
        SETTLED.inc(if end.is_ok() { "done" } else { "later" });
        let setup = Arc::clone(&self.setup);
        self.tasks.spawn(async move {
            Ended::Settled(actor, settle::settle(&setup, actor, did, job, end).await)
        });
    }

    fn listed(&mut self, id: u32, host: &str, result: Result<Applied, FetchError>) {
        let mut state = self.state.lock();
        match result {
            Ok(applied) => {
                state.hosts.answered(host);
                if let Some(source) = state.sources.get_mut(&id) {
                    source.busy = false;
                    source.outstanding += applied.new.len();
                    source.row = applied.row;
                    if source.row.state != SourceState::Reading {
                        // Hosts that it named are lists of their own now.
                        self.next_census = Instant::now();
                    }
                }
                self.named.extend(applied.new);
            }
            Err(error) => {
                state.note_failure(host, error.cause(), &error.to_string());
                if let Some(source) = state.sources.get_mut(&id) {
                    source.busy = false;
                    if error.blame() == Blame::Repo {
                        // It does not have such a list; its repos may be fetched all the same.
                        source.row.state = SourceState::Failed;
                        source.row.error = error.to_string();
                        let (setup, row) = (Arc::clone(&self.setup), source.row.clone());
                        tokio::spawn(async move { lists::give_up(&setup, id, row).await });
                        return;
                    }
                }
                let pause = state.hosts.failed(host, Instant::now(), &error.to_string());
                drop(state);
                self.park(host, pause, &error);
            }
        }
    }
}

/// Remembers what an answer says about rate limits.
fn tell(
    state: &Mutex<State>,
    clock: &Clock,
    host: &str,
    status: http::StatusCode,
    headers: &http::HeaderMap,
) {
    let now = clock.since_epoch();
    let (pause, pace) = (crate::net::pause(status, headers, now), crate::net::pace(headers, now));
    state.lock().hosts.said(host, Instant::now(), pause, pace);
}
