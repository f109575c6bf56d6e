//! Whole repositories fetched from their PDS (`com.atproto.sync.getRepo`): when the stream of commits has a gap, and for
//! what was written before the stream was followed. One machinery for both; they differ in how urgent they are.
//!
//! ```text
//! stored jobs, lists of repos -> queue -> fetch (DID document, HTTP) -> import (CAR, signature, tree) -> RepoSink
//!                                                                           ^ Held: what the index has
//! ```
//!
//! The tree is walked in order beside the held records, which gives puts and deletes; records that are the same
//! are not looked at. What becomes of commits that arrive meanwhile is `index`' matter.
//!
//! # Invariants
//! - Every block was hashed, and the commit is signed with the key the DID document has now.
//! - [`crate::event::Body::Fetched`] comes only after the whole tree was walked: a stream that was cut shorter
//!   ends in an error.
//! - Memory is bounded: all repos together have their share of it; blocks beyond that, and the table of them, go to files
//!   that have no name; records wait for the writer. Jobs beyond a window stay in the store.
//! - A repo is asked of the PDS that its DID document names, whoever listed it.

mod blocks;
mod car;
mod fetch;
mod files;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod handle;
mod hosts;
mod import;
mod lists;
pub mod on_read;
mod queue;
mod quota;
mod settle;
mod spill;
mod state;
mod table;
mod window;

#[cfg(test)]
mod inactive_tests;
#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod pds_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::identity::Identity;
use crate::net::HttpClient;
use crate::schema::ActorId;
use crate::store::{Answer, Store, StoreError, Tx, Writer};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::{Budget, Clock, Failure, catch_async};
use crate::work::repo_queue::Priority;

pub use files::{FileError, FileRepo, import_files};
pub use handle::{AddedRepos, CommandError, Handle, Stopped};
pub use hosts::ParkedHost;

/// What lists named.
pub(crate) static LISTED: Counters = Counters::new("sync.listed");
/// What became of jobs.
pub(crate) static SETTLED: Counters = Counters::new("sync.settled");
pub(crate) static FAILED: Counters = Counters::new("sync.failed");
pub(crate) static INVALID: Counters = Counters::new("sync.invalid-record");

/// The store is gone; sync ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing takes events any more")]
pub struct SinkClosed;

/// A change of the store that goes along with events.
pub type Along = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send>;

/// Where the events of a fetched repo go.
pub trait RepoSink: Send + Sync + 'static {
    /// Applies events of one repo, in order. An answer means that every read shows them.
    fn apply_parts(&self, did: Did, events: Vec<Event>) -> BoxFuture<'_, Result<(), SinkClosed>>;

    /// Queues events of a repo of which nothing is held that these did not bring: nobody has to read them before more
    /// come, so the answer comes before reads show them. With `unseen` nothing is applied, and the answer is `false`, if
    /// anything is known of the account. For a thread that may block.
    fn apply_new(
        &self,
        events: Vec<Event>,
        unseen: bool,
        along: Along,
    ) -> Result<Answer<bool>, StoreError>;
}

/// A record that the index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// NSID.
    pub collection: Arc<str>,
    /// Record key.
    pub rkey: Arc<str>,
    /// SHA-256 of the record; `None` if that is not known, and the record is then put again.
    pub cid: Option<[u8; 32]>,
}

/// What the index has of a repo.
pub trait Held: Send + Sync + 'static {
    /// Every record, in any order. Runs on a thread that may block.
    fn held(&self, did: &Did) -> Result<Vec<HeldRecord>, StoreError>;
}

/// Whose repos are wanted because of one that is in.
pub trait FollowUp: Send + Sync + 'static {
    /// Accounts and how urgent they are, for a repo that was wanted at `priority`. Runs on a thread that may block.
    fn next(
        &self,
        actor: ActorId,
        priority: Priority,
    ) -> Result<Vec<(ActorId, Priority)>, StoreError>;
}

/// What sync needs.
pub struct Setup {
    /// Finds PDS and key.
    pub identity: Identity,
    /// For the PDSes; has to be a guarded one.
    pub http: HttpClient,
    /// Has the jobs.
    pub store: Store,
    /// Writes them.
    pub writer: Writer,
    /// Says what comes after a repo.
    pub follow_up: Arc<dyn FollowUp>,
    /// What the index has.
    pub held: Arc<dyn Held>,
    /// Takes what is found.
    pub sink: Arc<dyn RepoSink>,
    /// Where blocks go that do not fit in memory.
    pub spill: PathBuf,
    /// Free bytes that they leave there.
    pub spill_floor: u64,
    /// For the blocks of all repos that are read, and the tables of them.
    pub fetches: Budget,
    /// For their records on the way to the sink.
    pub records: Budget,
    /// Repos at a time.
    pub concurrency: usize,
    /// What time it is.
    pub clock: Clock,
}

/// Mean speed over the last minute.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Rate {
    /// Repos done, those without news included.
    pub repos_per_s: f64,
    /// Records looked at.
    pub records_per_s: f64,
    /// Bytes of CARs.
    pub bytes_per_s: f64,
}

/// Where sync is.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// Repos and lists that wait for their turn.
    pub queued: usize,
    /// Repos that failed and wait for the next try.
    pub parked: usize,
    /// Repos that are being fetched, and what is happening to them.
    pub running: BTreeMap<String, String>,
    /// Repos fetched since start.
    pub done: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their CARs.
    pub bytes: u64,
    /// Repos that turned out not to have changed, since start.
    pub unchanged: u64,
    /// Failed tries since start, by cause.
    pub failed: BTreeMap<&'static str, u64>,
    /// The last failures: repo or host, and reason.
    pub last_failures: Vec<(String, String)>,
    /// Repos that wait, by how urgent they are.
    pub waiting: BTreeMap<&'static str, u64>,
    /// Repos that failed, by the cause of the last try.
    pub parked_by_cause: BTreeMap<String, u64>,
    /// Hosts that failed and are left alone.
    pub parked_hosts: usize,
    /// Those of them that are left alone for longest.
    pub hosts: Vec<ParkedHost>,
    /// Whether an operator paused everything but resyncs.
    pub paused: bool,
    /// Why everything but resyncs is held back, if it is.
    pub held_back: Option<String>,
    /// How fast it goes.
    pub rate: Rate,
    /// Repos to go, as far as is known: lists that are still read may have more.
    pub repos_left: u64,
    /// Seconds to go at this rate.
    pub left_s: Option<u64>,
    /// Lists that are still read.
    pub reading: usize,
    /// Lists of repos, those still read first.
    pub sources: Vec<SourceStatus>,
}

/// A list of repos or hosts.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SourceStatus {
    /// `repos`, `hosts` or `collection`.
    pub kind: &'static str,
    /// Scheme and host.
    pub url: String,
    /// NSID, of a list by collection.
    pub collection: String,
    /// `reading`, `read`, `stopped` or `given up`.
    pub state: &'static str,
    /// Entries read.
    pub listed: u64,
    /// Of these, complete at that rev already.
    pub known: u64,
    /// Of these, not active.
    pub inactive: u64,
    /// Of these, no DID, or named before.
    pub bad: u64,
    /// Repos fetched, or hosts whose lists were begun.
    pub done: u64,
    /// Repos that failed at least once.
    pub failed: u64,
    /// What is wrong with the list or its host.
    pub error: String,
}

/// The running workers.
pub struct Resync {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
    failure: Failure,
}

impl Resync {
    /// Starts with the stored jobs and goes on with `requests`. Needs a tokio runtime.
    #[must_use]
    pub fn start(setup: Setup, requests: flume::Receiver<ActorId>) -> Self {
        let (handle, own) = Handle::new(setup);
        let stop = CancellationToken::new();
        let queue = queue::Queue::new(handle.setup(), handle.state(), stop.clone());
        let (failure, stopped) = (Failure::default(), stop.clone());
        let tell = failure.clone();
        let task = tokio::spawn(async move {
            match catch_async(queue.run([requests, own])).await {
                Ok(Ok(())) if stopped.is_cancelled() => {}
                Ok(Ok(())) => tell.tell("nothing takes what is fetched any more"),
                Ok(Err(why)) | Err(why) => tell.tell(&why),
            }
        });
        Self { handle, stop, task, failure }
    }

    /// For commands and questions.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Told when it ended by itself.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// Stops. What was not fetched to the end is fetched again after the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        // It ends by itself; a panic in it is caught.
        let _ = self.task.await;
    }
}
