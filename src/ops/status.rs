//! The status document: `GET /admin/status`, `aerie status --json`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::host::{Memory, memory};
use crate::store::{Store, WriterStats};

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
    /// Backups: the last good one of each kind, and the next.
    pub backup: Value,
    /// Memory, and what it is for.
    pub memory: Memory,
    /// Counters by family and cause.
    pub counters: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
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
    /// Memory and counters as of now.
    #[must_use]
    pub fn measured(mut self) -> Self {
        (self.memory.resident, self.memory.peak) = memory();
        self.counters = crate::telemetry::counters::snapshot();
        self
    }
}
