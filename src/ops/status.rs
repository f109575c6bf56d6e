//! The status document: `GET /admin/status`, `aerie status --json`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::host::{Memory, OpenFiles, memory};
use crate::store::{Store, WriterStats};
use crate::telemetry::timing::Reading;
use crate::telemetry::{calls, counters, timing};

/// Everything an operator asks for. Parts that other folders know come as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Each part of the server, and how it is.
    pub parts: Vec<PartStatus>,
    /// Whether ingest runs, or why not.
    pub ingest: String,
    /// Each firehose and Jetstream; `seq` is the last whose effects every read shows.
    pub upstreams: Value,
    /// The number of the first upstream up to which everything can be searched; `None` while there is nothing to search.
    pub search_seq: Option<i64>,
    /// What can be searched, and how that is kept.
    pub search: Value,
    /// Each labeler; `seq` likewise.
    pub labelers: Value,
    /// What else is under way: identity checks, resyncs, accounts being removed.
    pub pending: usize,
    /// Repos that are fetched again.
    pub resync: Value,
    /// Operations of the PLC directory: how far they were read, and the DIDs that they are about.
    pub plc: Value,
    /// Accounts that called, for whom notifications are kept.
    pub members: usize,
    /// What is kept of the network, and what retention does and did.
    pub scope: Value,
    /// What was fetched because somebody read it, and its budget.
    pub on_read: Value,
    /// Times that a reload was applied.
    pub reloads: u64,
    /// What came of the last one.
    pub reload: Reload,
    /// Of this run of the process: what `/whoami` says too.
    pub instance: String,
    /// Files that are open, and how many may be.
    pub files: OpenFiles,
    /// Images asked for, found in the cache and made, and the size of the cache.
    pub images: Value,
    /// Notifications on their way to devices.
    pub push: Value,
    /// Requests that wait for a read thread.
    pub requests_waiting: Value,
    /// The store.
    pub store: StoreStatus,
    /// Space, and what is done about it.
    pub disk: Value,
    /// Whether the clock of the machine is believed, and if not, why.
    pub clock: Value,
    /// The daily export of private state.
    pub exports: Value,
    /// What halved within a day without a reason.
    pub counts: Value,
    /// Backups: the last good one of each kind, and the next.
    pub backup: Value,
    /// Memory, and what it is for.
    pub memory: Memory,
    /// What is asked, by method or path.
    pub calls: BTreeMap<&'static str, CallStatus>,
    /// How long what is done inside takes, by stage.
    pub times: BTreeMap<String, TimeStatus>,
    /// Counters by family and cause.
    pub counters: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// What came of a reload, by keys of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// In force since.
    pub applied: Vec<&'static str>,
    /// In force after the next start.
    pub waiting: Vec<&'static str>,
    /// Why the configuration could not be read, if so.
    pub error: Option<String>,
}

/// What is asked of this server under one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallStatus {
    /// How often, and how long answers took.
    #[serde(flatten)]
    pub took: TimeStatus,
    /// Bytes of requests.
    pub received: u64,
    /// Bytes of answers.
    pub sent: u64,
    /// Those that failed, by the name of the error.
    pub errors: BTreeMap<&'static str, u64>,
}

/// How long something takes, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeStatus {
    /// Times.
    pub count: u64,
    /// Half of them took less, in milliseconds.
    pub p50_ms: f64,
    /// All but one of a hundred took less.
    pub p99_ms: f64,
}

impl TimeStatus {
    fn of(read: &Reading) -> Option<Self> {
        let (p50_ms, p99_ms) = (read.quantile_ms(0.5)?, read.quantile_ms(0.99)?);
        Some(Self { count: read.count(), p50_ms, p99_ms })
    }
}

fn call_status() -> BTreeMap<&'static str, CallStatus> {
    let of = |read: calls::Read| {
        let calls::Read { took, received, sent, errors } = read;
        Some(CallStatus { took: TimeStatus::of(&took)?, received, sent, errors })
    };
    calls::snapshot().into_iter().filter_map(|(name, read)| Some((name, of(read)?))).collect()
}

fn times() -> BTreeMap<String, TimeStatus> {
    let name = |name: &str, kind: &str| match kind {
        "" => name.to_owned(),
        kind => format!("{name}.{kind}"),
    };
    let mut out = BTreeMap::new();
    for (of, kinds) in timing::snapshot() {
        let kinds = kinds.iter().filter_map(|(kind, read)| Some((kind, TimeStatus::of(read)?)));
        out.extend(kinds.map(|(kind, time)| (name(of, kind), time)));
    }
    out
}

/// A part of the server: what runs for as long as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartStatus {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub state: PartState,
    /// Times that it ended and was started again.
    pub restarts: u64,
    /// Why it ended the last time, if it did.
    pub last_error: Option<String>,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// At work.
    Running,
    /// It ended and will run again in a while.
    Restarting,
    /// It ended for good.
    Ended,
}

impl PartState {
    /// As in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Ended => "ended",
        }
    }
}

/// Notifications on their way out. What became of them is in the counters `push.*`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PushStatus {
    /// In the outbox.
    pub waiting: usize,
    /// Being delivered.
    pub running: usize,
}

/// What the store holds and how writing goes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StoreStatus {
    /// About how many rows each keyspace has.
    pub rows: BTreeMap<&'static str, usize>,
    /// Bytes on disk of each keyspace; the journals have the rest.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Batches committed.
    pub commits: u64,
    /// Mean time of a commit in microseconds.
    pub commit_mean_us: u64,
    /// The longest commit in microseconds.
    pub commit_worst_us: u64,
    /// Times that was written through to the disk.
    pub syncs: u64,
    /// Changes that wait for the writer.
    pub waiting: usize,
}

impl StoreStatus {
    /// Reads what is cheap to read.
    #[must_use]
    pub fn of(store: &Store, writer: &WriterStats, waiting: usize) -> Self {
        let commits = writer.commits.load(Ordering::Relaxed);
        Self {
            rows: store.approximate_rows().into_iter().map(|(ks, n)| (ks.name(), n)).collect(),
            bytes: store.tables().into_iter().map(|(ks, bytes)| (ks.name(), bytes)).collect(),
            commits,
            commit_mean_us: writer
                .commit_us
                .load(Ordering::Relaxed)
                .checked_div(commits)
                .unwrap_or(0),
            commit_worst_us: writer.worst_commit_us.load(Ordering::Relaxed),
            syncs: writer.syncs.load(Ordering::Relaxed),
            waiting,
        }
    }
}

impl Status {
    /// Memory, files and counters as of now.
    #[must_use]
    pub fn measured(mut self) -> Self {
        (self.memory.resident, self.memory.peak) = memory();
        self.files = OpenFiles::now();
        self.counters = counters::snapshot();
        self.calls = call_status();
        self.times = times();
        self
    }
}
