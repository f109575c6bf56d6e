//! What is in memory of the jobs: a window on the stored ones, what is under way, and figures for people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hosts::{Hosts, ParkedHost, Work};
use super::{FAILED, Rate, SourceStatus, Status};
use crate::crypto::PublicKey;
use crate::schema::ActorId;
use crate::syntax::Did;
use crate::work::repo_queue::{JobRow, Priority, SourceKind, SourceRow, SourceState};

const FAILURES: usize = 32;
/// Lists and hosts named in the status.
const SHOWN: usize = 20;
/// Entries of one list that may wait before the next page is read.
const LIST_WINDOW: usize = 500;
/// Lists that are read at a time.
const LISTS: usize = 64;

/// Whom to ask, as the DID document says.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) pds: Arc<str>,
    pub(crate) key: PublicKey,
}

/// What has to be done about a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is complete, or gone.
    Nothing,
    /// Ask the host whether there is anything newer.
    Look,
    /// Fetch it.
    Fetch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its DID document is to be read.
    Unresolved,
    Resolving,
    /// In its host's queue.
    Waiting,
    Running,
    /// Being written down.
    Settling,
}

/// How far a running fetch is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Its job was taken away.
    pub(crate) dropped: CancellationToken,
}

pub(crate) struct Entry {
    pub(crate) did: Did,
    pub(crate) job: JobRow,
    pub(crate) need: Need,
    pub(crate) place: Place,
    pub(crate) home: Option<Home>,
    pub(crate) progress: Arc<Progress>,
    /// Asked for again meanwhile.
    pub(crate) again: bool,
    /// Whether it takes a place in the window of its list.
    counted: bool,
}

/// A list that is known.
pub(crate) struct Source {
    pub(crate) row: SourceRow,
    /// A request for it waits or runs.
    pub(crate) busy: bool,
    /// Jobs of it that were not tried yet.
    pub(crate) outstanding: usize,
}

/// The DID directory, while it fails.
pub(crate) struct Down {
    /// It is asked again then.
    pub(crate) until: Instant,
    pub(crate) failures: u32,
    pub(crate) error: String,
}

/// Stored jobs, counted now and then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census {
    /// Not tried yet, or due again.
    pub(crate) waiting: BTreeMap<&'static str, u64>,
    /// Failed, and waiting for their time.
    pub(crate) parked: BTreeMap<String, u64>,
    /// Never tried, by list.
    pub(crate) by_source: FxHashMap<u32, usize>,
}

impl Census {
    pub(crate) fn jobs(&self) -> u64 {
        self.waiting.values().chain(self.parked.values()).sum()
    }
}

/// Everything in memory.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) entries: FxHashMap<ActorId, Entry>,
    pub(crate) unresolved: [VecDeque<ActorId>; Priority::ALL.len()],
    pub(crate) hosts: Hosts,
    pub(crate) sources: BTreeMap<u32, Source>,
    pub(crate) census: Census,
    pub(crate) paused: bool,
    /// Something else than the operator wants quiet.
    pub(crate) held_back: Option<String>,
    pub(crate) meter: Meter,
    pub(crate) directory: Option<Down>,
    /// Requests that were made and are not in `entries` yet.
    pub(crate) coming: usize,
    /// Jobs are being read from the store.
    pub(crate) loading: bool,
    /// Jobs that were taken away meanwhile.
    pub(crate) dropped: FxHashSet<ActorId>,
    failed: BTreeMap<&'static str, u64>,
    last: VecDeque<(String, String)>,
}

impl State {
    /// Whether work of this priority may begin.
    pub(crate) fn allows(&self, priority: Priority) -> bool {
        priority == Priority::Resync || (!self.paused && self.held_back.is_none())
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty()
            && self.sources.values().all(|s| s.row.state != SourceState::Reading)
    }

    /// Entries of a priority.
    pub(crate) fn loaded(&self, priority: Priority) -> usize {
        self.entries.values().filter(|entry| entry.job.priority == priority).count()
    }

    /// Takes a stored job into the window, or what changed of it. Answers whether there is nothing to fetch.
    pub(crate) fn admit(&mut self, actor: ActorId, did: Did, job: JobRow, need: Need) -> bool {
        if let Some(entry) = self.entries.get_mut(&actor) {
            match entry.place {
                Place::Running | Place::Settling => entry.again = true,
                _ if job.priority < entry.job.priority || job.force != entry.job.force => {
                    let host = entry.home.as_ref().map(|home| Arc::clone(&home.pds));
                    let (place, priority) = (entry.place, job.priority);
                    (entry.job, entry.need) = (job, need);
                    self.enqueue(actor, place, priority, host.as_deref());
                }
                _ => {}
            }
            return false;
        }
        let counted = job.source != 0 && job.tries == 0 && job.cause.is_empty();
        let place = if need == Need::Nothing { Place::Settling } else { Place::Unresolved };
        let priority = job.priority;
        let entry = Entry {
            did,
            job,
            need,
            place,
            home: None,
            progress: Arc::default(),
            again: false,
            counted,
        };
        self.entries.insert(actor, entry);
        self.enqueue(actor, place, priority, None);
        need == Need::Nothing
    }

    fn enqueue(&mut self, actor: ActorId, place: Place, priority: Priority, host: Option<&str>) {
        match (place, host) {
            (Place::Unresolved, _) => {
                if let Some(queue) = self.unresolved.get_mut(priority as usize) {
                    queue.push_back(actor);
                }
            }
            (Place::Waiting, Some(host)) => self.hosts.push(host, priority, Work::Repo(actor)),
            _ => {}
        }
    }

    /// The next repo whose DID document is to be read. A queue may name one twice, if it became more urgent.
    pub(crate) fn next_unresolved(&mut self) -> Option<ActorId> {
        for priority in Priority::ALL {
            if !self.allows(priority) {
                continue;
            }
            while let Some(actor) = self.unresolved.get_mut(priority as usize)?.pop_front() {
                if let Some(entry) = self.entries.get_mut(&actor)
                    && entry.place == Place::Unresolved
                {
                    entry.place = Place::Resolving;
                    return Some(actor);
                }
            }
        }
        None
    }

    /// The DID document was read.
    pub(crate) fn resolved(&mut self, actor: ActorId, home: Home) {
        let Some(entry) = self.entries.get_mut(&actor) else { return };
        entry.place = Place::Waiting;
        let (host, priority) = (Arc::clone(&home.pds), entry.job.priority);
        entry.home = Some(home);
        self.hosts.push(&host, priority, Work::Repo(actor));
    }

    /// It is to be tried again, without a failure of its own.
    pub(crate) fn back(&mut self, actor: ActorId) {
        let Some(entry) = self.entries.get_mut(&actor) else { return };
        entry.place = Place::Unresolved;
        let priority = entry.job.priority;
        self.enqueue(actor, Place::Unresolved, priority, None);
    }

    /// It leaves the window; says whether it was asked for again meanwhile.
    pub(crate) fn leave(&mut self, actor: ActorId) -> bool {
        let Some(entry) = self.entries.remove(&actor) else { return false };
        if entry.counted
            && let Some(source) = self.sources.get_mut(&entry.job.source)
        {
            source.outstanding = source.outstanding.saturating_sub(1);
        }
        entry.again
    }

    /// Its job is not in the store any more. What is being fetched comes in all the same, unless `abort`.
    pub(crate) fn forget(&mut self, actor: ActorId, abort: bool) {
        if self.loading {
            self.dropped.insert(actor);
        }
        match self.entries.get(&actor) {
            Some(Entry { place: Place::Running | Place::Settling, .. }) if !abort => {}
            Some(Entry { place: Place::Running | Place::Settling, progress, .. }) => {
                progress.dropped.cancel();
            }
            Some(_) => drop(self.leave(actor)),
            None => {}
        }
    }

    /// Puts the next pages of lists into their hosts' queues.
    pub(crate) fn want_pages(&mut self, now: Instant) {
        if !self.allows(Priority::Listed) {
            return;
        }
        let parked = |source: &Source| self.hosts.pause(&source.row.url, now).is_some();
        let reading = |source: &&mut Source| source.row.state == SourceState::Reading;
        let hosts = &self.hosts;
        let active = self.sources.values().filter(|s| (s.busy || s.outstanding > 0) && !parked(s));
        let mut free = LISTS.saturating_sub(active.count());
        let mut wanted = Vec::new();
        for (id, source) in self.sources.iter_mut().map(|(id, s)| (*id, s)) {
            let Some(source) = Some(source).filter(reading) else { continue };
            let under_way = source.outstanding > 0;
            if source.busy
                || source.outstanding >= LIST_WINDOW
                || (free == 0 && !under_way)
                || hosts.pause(&source.row.url, now).is_some()
            {
                continue;
            }
            free = free.saturating_sub(usize::from(!under_way));
            source.busy = true;
            wanted.push((id, source.row.url.clone()));
        }
        for (id, url) in wanted {
            self.hosts.push(&url, Priority::Listed, Work::List(id));
        }
    }

    /// Counts a failure.
    pub(crate) fn note_failure(&mut self, what: &str, cause: &'static str, error: &str) {
        FAILED.inc(cause);
        *self.failed.entry(cause).or_default() += 1;
        if self.last.len() >= FAILURES {
            self.last.pop_front();
        }
        self.last.push_back((what.to_owned(), error.to_owned()));
    }

    /// Repos that are neither parked nor held back, running ones included.
    pub(crate) fn pending(&self) -> usize {
        let open = self.entries.values().filter(|e| self.allows(e.job.priority)).count();
        let reading = |s: &&Source| s.row.state == SourceState::Reading;
        let lists = self.sources.values().filter(reading).count();
        let lists = if self.allows(Priority::Listed) { lists } else { 0 };
        let stored: u64 = self
            .census
            .waiting
            .iter()
            .filter(|(name, _)| **name == Priority::Resync.name() || self.allows(Priority::Listed))
            .map(|(_, n)| n)
            .sum();
        let stored = usize::try_from(stored).unwrap_or(usize::MAX);
        open.max(stored) + lists + self.coming
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Status {
        let running = self.entries.values().filter(|e| e.place == Place::Running).map(|e| {
            let mb = e.progress.bytes.load(Ordering::Relaxed) / 1_000_000;
            let records = e.progress.records.load(Ordering::Relaxed);
            let host = e.home.as_ref().map_or("", |home| &home.pds);
            (e.did.as_str().to_owned(), format!("{host}: {mb} MB read, {records} records in"))
        });
        let running: BTreeMap<String, String> = running.take(SHOWN).collect();
        let (parked_hosts, mut hosts) = self.hosts.parked(now, SHOWN);
        if let Some((down, left)) = self.directory_down(now) {
            let Down { failures, error, .. } = down;
            let (host, error) = ("(of DID documents)".to_owned(), error.clone());
            let for_s = left.as_secs();
            hosts.insert(0, ParkedHost { host, for_s, failures: *failures, error });
        }
        let rate = self.meter.rate(now);
        let pending = self.pending();
        let left = self.repos_left(pending);
        let left_s = (rate.repos_per_s > 0.01).then(|| {
            let seconds = left as f64 / rate.repos_per_s;
            if seconds < 1e9 { seconds as u64 } else { 1_000_000_000 }
        });
        Status {
            queued: pending.saturating_sub(running.len()),
            parked: usize::try_from(self.census.parked.values().sum::<u64>()).unwrap_or(usize::MAX),
            running,
            done: self.meter.repos,
            records: self.meter.records,
            bytes: self.meter.bytes,
            unchanged: self.meter.unchanged,
            failed: self.failed.clone(),
            last_failures: self.last.iter().cloned().collect(),
            waiting: self.census.waiting.clone(),
            parked_by_cause: self.census.parked.clone(),
            parked_hosts,
            hosts,
            paused: self.paused,
            held_back: self.held_back.clone(),
            rate,
            repos_left: left as u64,
            left_s: left_s.filter(|_| left > 0),
            reading: self.sources.values().filter(|s| s.row.state == SourceState::Reading).count(),
            sources: self.shown_sources(),
        }
    }

    /// The directory, if it failed and is left alone, and for how long.
    fn directory_down(&self, now: Instant) -> Option<(&Down, Duration)> {
        let down = self.directory.as_ref()?;
        let left = down.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some((down, left))
    }

    /// Repos to go, with what hosts say of how many they have.
    fn repos_left(&self, pending: usize) -> usize {
        let unread = self.sources.values().filter(|s| s.row.state == SourceState::Reading);
        let unread: u64 = unread.map(|s| s.row.expected.saturating_sub(s.row.listed)).sum();
        pending.saturating_add(usize::try_from(unread).unwrap_or(usize::MAX))
    }

    /// Those still read first, then those given up, then the newest.
    fn shown_sources(&self) -> Vec<SourceStatus> {
        let rank = |state| match state {
            SourceState::Reading => 0,
            SourceState::Failed => 1,
            SourceState::Read | SourceState::Stopped => 2,
        };
        let mut all: Vec<_> = self.sources.iter().collect();
        all.sort_by_key(|(id, s)| (rank(s.row.state), std::cmp::Reverse(**id)));
        let shown = all.into_iter().take(SHOWN).map(|(_, s)| SourceStatus {
            kind: match s.row.kind {
                SourceKind::Repos => "repos",
                SourceKind::Hosts => "hosts",
                SourceKind::Collection => "collection",
            },
            url: s.row.url.clone(),
            collection: s.row.collection.clone(),
            state: match s.row.state {
                SourceState::Reading => "reading",
                SourceState::Read => "read",
                SourceState::Failed => "given up",
                SourceState::Stopped => "stopped",
            },
            listed: s.row.listed,
            known: s.row.known,
            inactive: s.row.inactive,
            bad: s.row.bad,
            done: s.row.done,
            failed: s.row.failed,
            error: match self.hosts.error(&s.row.url) {
                Some(error) if s.row.error.is_empty() => error.to_owned(),
                _ => s.row.error.clone(),
            },
        });
        shown.collect()
    }

    /// What is happening to a repo, in words; `None` if it is not in the window.
    pub(crate) fn describe(&self, actor: ActorId, now: Instant) -> Option<String> {
        let entry = self.entries.get(&actor)?;
        if !self.allows(entry.job.priority) {
            return Some(match &self.held_back {
                Some(why) => format!("it waits to be fetched, which is held back: {why}"),
                None => "it waits to be fetched; backfill is paused".to_owned(),
            });
        }
        let host = entry.home.as_ref().map_or("its host", |home| &home.pds);
        Some(match entry.place {
            Place::Unresolved | Place::Resolving => match self.directory_down(now) {
                Some((down, left)) => format!(
                    "its DID document is read once the directory answers, which is asked again in {} s: {}",
                    left.as_secs() + 1,
                    down.error
                ),
                None => "its DID document is read next".to_owned(),
            },
            Place::Waiting => match (self.hosts.pause(host, now), self.hosts.error(host)) {
                (Some(pause), Some(error)) => format!(
                    "it waits for {host}, which is left alone for {} s: {error}",
                    pause.as_secs()
                ),
                (Some(pause), None) => {
                    format!("it waits for {host}, which asked for {} s of quiet", pause.as_secs())
                }
                _ => format!("it waits for its turn at {host}"),
            },
            Place::Running | Place::Settling => format!(
                "it is being fetched from {host}: {} kB read, {} records in",
                entry.progress.bytes.load(Ordering::Relaxed) / 1000,
                entry.progress.records.load(Ordering::Relaxed)
            ),
        })
    }
}

/// Totals since start, and how fast they grow.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) repos: u64,
    pub(crate) unchanged: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    samples: VecDeque<(Instant, [u64; 3])>,
}

const SAMPLE: Duration = Duration::from_secs(2);
const SPAN: usize = 30;

impl Meter {
    fn totals(&self) -> [u64; 3] {
        [self.repos + self.unchanged, self.records, self.bytes]
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        if self.samples.back().is_some_and(|(at, _)| now.duration_since(*at) < SAMPLE) {
            return;
        }
        if self.samples.len() >= SPAN {
            self.samples.pop_front();
        }
        self.samples.push_back((now, self.totals()));
    }

    fn rate(&self, now: Instant) -> Rate {
        let Some((at, then)) = self.samples.front() else { return Rate::default() };
        let seconds = now.duration_since(*at).as_secs_f64();
        if seconds < 0.5 {
            return Rate::default();
        }
        let totals = self.totals();
        let mut per_s = totals.iter().zip(then).map(|(n, m)| n.saturating_sub(*m) as f64 / seconds);
        let mut next = || (per_s.next().unwrap_or(0.0) * 10.0).round() / 10.0;
        Rate { repos_per_s: next(), records_per_s: next(), bytes_per_s: next() }
    }
}
