//! From the network to events: firehoses, Jetstreams and labelers, read, checked, and put in order.
//!
//! ```text
//! socket -> upstream (slots, bytes) -> lanes (decode, key, verify) -> sequencer (order) -> Sink
//!                                        |  key miss, #identity                             ^
//!                                        +--> checks (DID documents) -----------------------+
//!                                             handles, from their rows ---------------------+
//! ```
//!
//! Every frame takes a slot of its upstream and a share of that upstream's byte budget; when the budget is used
//! up the socket is not read. Lanes are threads, each with its share of the DIDs, so the order within a repo
//! holds; the sequencer lets the contiguous prefix of slots through. What an event does to the store is
//! `index`' matter: this folder ends at [`Sink`].
//!
//! # Invariants
//! - A batch holds every event of its upstream up to its `seq`; a frame that gives no event fills its slot.
//! - Nothing is dropped without being counted by cause. What cannot be checked now, because its DID document
//!   cannot be had, becomes a [`crate::event::Body::Sync`]: a claim that makes the index ask for the whole repo.
//! - After `#identity` no key read before it is used again, and it is not forgotten before the document was looked
//!   at, crash or not; nor is the question whether an account is gone.

mod ahead;
mod checks;
pub mod directory;
mod feed;
mod handles;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod jetstream;
mod verify;
pub mod labels;
mod lanes;
mod leaps;
mod questions;
mod recheck;
mod room;
mod sequencer;
mod status;
mod tasks;
mod timing;
mod told;
mod upstream;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use directory::Directory;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::config::memory::{self, Share};
use crate::event::Event;
use crate::net::{Dialer, NetError};
use crate::schema::cursors::CursorOf;
use crate::store::{Snapshot, Store, StoreError};
use crate::syntax::Did;
use crate::threads::Clock;
use crate::threads::{Budget, Failure, Paced, Pulse};
use crate::work::recheck::Questions;

pub use status::{DropSample, UpstreamKind, UpstreamStatus, UpstreamTime, span};
pub use timing::Timing;

/// A contiguous run of an upstream.
#[derive(Debug)]
pub struct Batch {
    /// Whose cursor.
    pub cursor: CursorOf,
    /// The cursor after this batch.
    pub seq: i64,
    /// What happened, in order; empty when nothing but the cursor moved.
    pub events: Vec<Event>,
}

/// The store is gone; ingest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing takes events any more")]
pub struct SinkClosed;

/// Something that is under way and counted as long as this lives.
#[derive(Debug, Default)]
pub struct Pending(Option<Arc<AtomicUsize>>);

impl Pending {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(Some(Arc::clone(counter)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Where events go. Waiting for an answer is backpressure; an answer does not mean durable.
pub trait Sink: Send + Sync + 'static {
    /// Applies a batch and moves the cursor with it.
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkClosed>>;
    /// Applies events that belong to no place of a stream: what a DID document or a PDS says now. `pending` is kept
    /// until every read shows them.
    fn apply_aside(
        &self,
        events: Vec<Event>,
        pending: Pending,
    ) -> BoxFuture<'_, Result<(), SinkClosed>>;
    /// Remembers that an upstream could not give what lies behind the cursor, before anything newer is applied.
    fn gap(&self, of: CursorOf, time: i64) -> BoxFuture<'_, Result<(), SinkClosed>>;
}

/// What ingest needs.
pub struct Options {
    /// `ws` or `wss` URLs of relays and PDSes.
    pub upstreams: Vec<String>,
    /// URLs of Jetstream servers.
    pub jetstream: Vec<String>,
    /// Whether signatures and proofs are checked. Without, no DID document is read for them.
    pub verify: bool,
    /// For the `User-Agent`.
    pub public_url: String,
    /// Verify threads; 0 for one each core.
    pub lanes: usize,
    /// Bytes of frames held at most, and of what is made of them: a quarter is for what takes much more than its frame, the
    /// others are shared evenly between the upstreams.
    pub queue_bytes: usize,
    /// Keys that all lanes keep together.
    pub keys: usize,
    /// Timeouts and intervals.
    pub timing: Timing,
    /// What time it is.
    pub clock: Clock,
}

impl Options {
    /// As configured.
    #[must_use]
    pub fn from_config(config: &crate::config::Config) -> Self {
        Self {
            upstreams: config.network.upstreams.clone(),
            jetstream: config.network.jetstream.clone(),
            verify: config.network.verify,
            public_url: config.server.public_url.clone(),
            lanes: 0,
            keys: Share::Keys.entries(config.store.memory_budget, memory::KEY),
            queue_bytes: usize::try_from(Share::Intake.of(config.store.memory_budget))
                .unwrap_or(usize::MAX),
            timing: Timing::default(),
            clock: Clock::system(),
        }
    }
}

/// Why ingest did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cursor could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The network cannot be used at all.
    #[error(transparent)]
    Net(#[from] NetError),
}

/// Running ingest.
pub struct Ingest {
    feeds: Vec<Arc<feed::Feed>>,
    checks: Arc<checks::Checks>,
    lanes: lanes::Lanes,
    group: tasks::Group,
}

impl Ingest {
    /// Starts readers, lanes and sequencers. Needs a tokio runtime.
    pub fn start(
        options: Options,
        dialer: &Dialer,
        store: &Store,
        directory: Arc<dyn Directory>,
        sink: Arc<dyn Sink>,
        questions: Arc<Questions>,
    ) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let group = tasks::Group::new(stop.clone());
        let tasks = group.tasks();
        let (looks_up, asked) = (Arc::clone(&directory), Arc::clone(&questions));
        let setup = checks::Setup {
            directory,
            store: store.clone(),
            sink: Arc::clone(&sink),
            questions: Arc::clone(&questions),
            timing: options.timing,
            clock: options.clock.clone(),
            stop: stop.clone(),
        };
        let checks = checks::Checks::start(setup, &tasks);
        let verifier = verify::Verifier { verify: options.verify };
        let decoded = Budget::new(options.queue_bytes as u64 / 4);
        let lanes = lanes::Lanes::start(
            (options.lanes, options.keys),
            (verifier, &decoded),
            store,
            &checks,
            group.failure(),
        )?;
        let snapshot = store.snapshot();
        let count = (options.upstreams.len() + options.jetstream.len()).max(1);
        let budget = (options.queue_bytes / 4 * 3 / count).max(1 << 20);
        let mut feeds = Vec::new();
        let firehoses = options.upstreams.iter().map(|url| (url, false));
        for (line, (url, jetstream)) in
            (1..).zip(firehoses.chain(options.jetstream.iter().map(|url| (url, true))))
        {
            let setup = feed::Setup {
                url,
                line,
                kind: UpstreamKind::of(jetstream, options.verify),
                budget,
                decoded: &decoded,
                cursor: stored_cursor(&snapshot, url, jetstream)?,
                alone: count == 1,
                clock: options.clock.clone(),
            };
            let (feed, done) = feed::Feed::new(&setup);
            let reader = upstream::Reader {
                feed: Arc::clone(&feed),
                lanes: lanes.inboxes(),
                dialer: dialer.clone(),
                public_url: options.public_url.clone(),
                timing: options.timing,
                sink: Arc::clone(&sink),
            };
            tasks.keep(format!("the reader of {url}"), reader.run(setup.cursor));
            let (to, failed) = (Arc::clone(&sink), stop.clone());
            let sequencer = sequencer::run(Arc::clone(&feed), done, to, failed);
            tasks.keep(format!("the sequencer of {url}"), sequencer);
            feeds.push(feed);
        }
        for line in std::iter::once(0).chain(feeds.iter().map(|feed| feed.line)) {
            let live = questions::live(Arc::clone(&checks), Arc::clone(&questions), line);
            tasks.keep("the questions about accounts".to_owned(), live);
        }
        let rounds = questions::rounds(Arc::clone(&checks), questions, store.clone());
        tasks.keep("the rounds over open questions".to_owned(), rounds);
        let handles = handles::Setup {
            store: store.clone(),
            directory: looks_up,
            questions: asked,
            checks: Arc::clone(&checks),
            feeds: feeds.clone(),
            aside: Paced::new(options.timing.handles_aside),
        };
        tasks.keep("the look-ups of handles".to_owned(), handles::run(handles));
        let recheck = recheck::run(store.clone(), Arc::clone(&checks));
        tasks.keep("the rounds over all accounts".to_owned(), recheck);
        Ok(Self { feeds, checks, lanes, group })
    }

    /// Where each upstream is, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<UpstreamStatus> {
        self.feeds.iter().map(|feed| feed.status.snapshot(feed)).collect()
    }

    /// What the upstreams tell of the time.
    #[must_use]
    pub fn times(&self) -> Vec<UpstreamTime> {
        self.feeds.iter().map(|feed| feed.status.time(&feed.url)).collect()
    }

    /// Told when a lane, a reader, a sequencer or a check ended: then nothing comes of some frames any more, so that all
    /// of ingest has to be stopped and started again. It goes on behind the last event that is in the store.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.group.failure().clone()
    }

    /// Whether each verify lane gets on with what it has.
    #[must_use]
    pub fn pulses(&self) -> &[Arc<Pulse>] {
        self.lanes.pulses()
    }

    /// DID documents, handles and account states that are being looked up, wait for it, or are not shown yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.checks.pending()
    }

    /// Ends the connection to the upstream with this URL and makes another at once; `false` if there is no such.
    #[must_use]
    pub fn reconnect(&self, url: &str) -> bool {
        let feed = self.feeds.iter().find(|feed| feed.url == url);
        feed.map(|feed| feed.anew.ask()).is_some()
    }

    /// Looks at the document and the handle of an account again soon: they changed, or are old.
    pub fn check_handle(&self, did: &Did) {
        self.checks.check_handle(did, directory::Freshness::Recent);
    }

    /// Stops reading and ends. What was read but not applied is read again at the next start.
    pub async fn stop(self) {
        self.group.stop().await;
        self.lanes.stop().await;
    }
}

fn stored_cursor(
    snapshot: &Snapshot,
    url: &str,
    jetstream: bool,
) -> Result<Option<i64>, StoreError> {
    crate::schema::cursors::cursor(snapshot, &cursor_of(url, jetstream))
}

fn cursor_of(url: &str, jetstream: bool) -> CursorOf {
    if jetstream { CursorOf::Jetstream(url.to_owned()) } else { CursorOf::Upstream(url.to_owned()) }
}
