//! Fetch on read: accounts and records that somebody asks for and the index lacks, one at a time and with proof.
//!
//! ```text
//! read (xrpc) -> Want -> ledger: refused, under way, or a new task -> DID document, getRecord, proof -> RepoSink
//! ```
//!
//! Who asks waits a moment and answers with what has arrived; the rest goes on and is there next time. What is fetched
//! is what makes the answer: an account with its profile, a post, the posts above it. Whatever goes wrong is counted
//! and forgotten for a while, and never the reader's error.
//!
//! # Invariants
//! - One task for each thing, however many ask, and none again before what the last one found has expired.
//! - Strangers cannot make us work without bound: tasks, requests and requests at one host are capped, a host that does
//!   not answer is left alone, and what is over a cap is not done.
//! - Only what is proven by a commit that the account's key signed goes to the index.

mod ledger;
mod task;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use ledger::{Entry, Ledger, Task};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::RepoSink;
use crate::identity::Identity;
use crate::net::{HostThrottle, HttpClient};
use crate::store::Store;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

/// What became of what was wanted.
static OUTCOMES: Counters = Counters::new("sync.on-read");

/// Requests to PDSes at a time, and of these at one host.
const REQUESTS: usize = 32;
const PER_HOST: usize = 4;
/// For one thing, with all waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that a reader would like to see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want {
    /// An account and its profile, by DID or handle.
    Account(String),
    /// A record.
    Record {
        /// DID or handle.
        repo: String,
        /// NSID.
        collection: String,
        /// Record key.
        rkey: String,
        /// If it is a post: how many levels above it are wanted too.
        parents: usize,
    },
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There is something new in the index.
    Arrived,
    /// It was there, or can never be.
    NotNeeded,
    /// There is none, which was proven, or said by those whose word counts.
    Absent(&'static str),
    /// What was sent is wrong.
    Refused(&'static str),
    /// Nothing was heard; later perhaps.
    Failed(&'static str),
}

impl Outcome {
    fn cause(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::NotNeeded => "not-needed",
            Self::Absent(cause) | Self::Refused(cause) | Self::Failed(cause) => cause,
        }
    }

    /// How long nobody asks again.
    fn lifetime(self) -> Duration {
        Duration::from_secs(match self {
            Self::NotNeeded | Self::Failed(_) => 30,
            Self::Arrived | Self::Absent(_) => 300,
            Self::Refused(_) => 600,
        })
    }
}

/// Fetches on read. Cheap to clone.
#[derive(Clone)]
pub struct OnRead(Arc<Inner>);

struct Inner {
    identity: Identity,
    http: HttpClient,
    store: Store,
    sink: Arc<dyn RepoSink>,
    ledger: Ledger,
    throttle: HostThrottle,
    slots: Semaphore,
    clock: Clock,
}

impl OnRead {
    /// `http` has to be a guarded client.
    #[must_use]
    pub fn new(
        identity: Identity,
        http: HttpClient,
        store: Store,
        sink: Arc<dyn RepoSink>,
    ) -> Self {
        Self(Arc::new(Inner {
            identity,
            http,
            store,
            sink,
            ledger: Ledger::default(),
            throttle: HostThrottle::new(PER_HOST, Clock::system()),
            slots: Semaphore::new(REQUESTS),
            clock: Clock::system(),
        }))
    }

    /// Begins to fetch `wants` and waits for them, but not longer than `within`; answers whether anything has arrived.
    pub async fn bring(&self, wants: Vec<Want>, within: Duration) -> bool {
        let end = Instant::now() + within;
        let tasks: Vec<_> = wants.into_iter().filter_map(|want| self.begin(want)).collect();
        if tasks.is_empty() {
            return false;
        }
        let waits = tasks.into_iter().map(|task| async move {
            matches!(timeout_at(end, done(task)).await, Ok(Outcome::Arrived))
        });
        join_all(waits).await.contains(&true)
    }

    /// A task for `want`, new or under way; `None` if it is not to be asked for now.
    fn begin(&self, want: Want) -> Option<Task> {
        let key = ledger::key(&want);
        let ended = match self.0.ledger.enter(&key) {
            Entry::Running(task) => return Some(task),
            Entry::Refused(cause) => {
                OUTCOMES.inc(cause);
                return None;
            }
            Entry::New(ended) => ended,
        };
        let task = ended.subscribe();
        let this = self.clone();
        // Boxed, as a task begins others.
        let run: BoxFuture<'static, ()> = Box::pin(async move {
            let run = tokio::time::timeout(PATIENCE, task::run(&this, &want));
            let late = (Outcome::Failed("timeout"), Vec::new());
            let (mut outcome, others) = run.await.unwrap_or(late);
            OUTCOMES.inc(outcome.cause());
            let lifetime = outcome.lifetime();
            for other in others {
                if done(other).await == Outcome::Arrived {
                    outcome = Outcome::Arrived;
                }
            }
            this.0.ledger.leave(&key, lifetime);
            ended.send_replace(Some(outcome));
        });
        tokio::spawn(run);
        Some(task)
    }
}

/// Waits for the end of a task.
async fn done(mut task: Task) -> Outcome {
    // A task that panicked was reported by the hook.
    let outcome = task.wait_for(Option::is_some).await.ok().and_then(|outcome| *outcome);
    outcome.unwrap_or(Outcome::Failed("panic"))
}
