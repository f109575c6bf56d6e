//! Whole repositories fetched from their PDS (`com.atproto.sync.getRepo`), when the stream of commits has a gap.
//!
//! ```text
//! requests, stored list -> queue -> fetch (DID document, HTTP) -> import (CAR, signature, tree) -> RepoSink
//!                                                                     ^ Held: what the index has
//! ```
//!
//! The tree is walked in order beside the held records, which gives puts and deletes; records that are the same
//! are not looked at. Which repo needs this, and what becomes of commits that arrive meanwhile, is `index`' matter.
//!
//! # Invariants
//! - Every block was hashed, and the commit is signed with the key the DID document has now.
//! - [`crate::event::Body::Fetched`] comes only after the whole tree was walked: a stream that was cut shorter
//!   ends in an error.
//! - Memory is bounded: blocks beyond a limit go to a file that has no name.

mod blocks;
mod car;
mod fetch;
mod import;
mod queue;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::identity::Identity;
use crate::net::{HostThrottle, HttpClient};
use crate::store::Store;
use crate::syntax::Did;
use crate::telemetry::counters::Counters;

pub(crate) static FAILED: Counters = Counters::new("sync.failed");
pub(crate) static INVALID: Counters = Counters::new("sync.invalid-record");

/// The store is gone; sync ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing takes events any more")]
pub struct SinkClosed;

/// Where the events of a fetched repo go. An answer means that every read shows them.
pub trait RepoSink: Send + Sync + 'static {
    /// Applies events of one repo, in order.
    fn apply_parts(&self, did: Did, events: Vec<Event>) -> BoxFuture<'_, Result<(), SinkClosed>>;
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
    fn held(&self, did: &Did) -> Result<Vec<HeldRecord>, crate::store::StoreError>;
}

/// What sync needs.
pub struct Setup {
    /// Finds PDS and key.
    pub identity: Identity,
    /// For the PDSes; has to be a guarded one.
    pub http: HttpClient,
    /// Requests at one host at a time.
    pub throttle: HostThrottle,
    /// Has the stored list of repos to fetch.
    pub store: Store,
    /// What the index has.
    pub held: Arc<dyn Held>,
    /// Takes what is found.
    pub sink: Arc<dyn RepoSink>,
    /// Where blocks go that do not fit in memory.
    pub spill: PathBuf,
    /// Bytes of blocks in memory for one repo.
    pub memory: usize,
    /// Repos at a time.
    pub concurrency: usize,
}

/// Where sync is.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// Repos that wait for a free place.
    pub queued: usize,
    /// Repos that failed and wait for the next try.
    pub parked: usize,
    /// Repos that are being fetched, and what is happening to them.
    pub running: BTreeMap<String, String>,
    /// Repos fetched since start.
    pub done: u64,
    /// Failed tries since start, by cause.
    pub failed: BTreeMap<&'static str, u64>,
    /// The last failures: repo and reason.
    pub last_failures: Vec<(String, String)>,
}

/// The running workers.
pub struct Resync {
    state: Arc<Mutex<queue::State>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Resync {
    /// Starts with the stored list and goes on with `requests`. Needs a tokio runtime.
    #[must_use]
    pub fn start(setup: Setup, requests: flume::Receiver<Did>) -> Self {
        let (state, stop) = (Arc::<Mutex<queue::State>>::default(), CancellationToken::new());
        let queue = queue::Queue::new(setup, Arc::clone(&state), stop.clone());
        let task = tokio::spawn(queue.run(requests));
        Self { state, stop, task }
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.lock().snapshot()
    }

    /// What is happening to a repo, in a sentence; `None` if nothing is.
    #[must_use]
    pub fn state_of(&self, did: &Did) -> Option<String> {
        self.state.lock().describe(did)
    }

    /// Stops. What was not fetched to the end is fetched again after the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        // It ends by itself; a panic in it was already reported by the hook.
        let _ = self.task.await;
    }
}
