//! Lookups on behalf of the stream: keys that hold frames, handles, and hosting states that need a second opinion.
//!
//! Keys are asked for at once, since frames wait for them. Handles wait in a queue with a few workers, so that a
//! catch-up with a million new accounts is not slowed down by them; what is found goes to the sink beside the
//! stream.
//!
//! # Invariants
//! - One check of a DID runs at a time; a request during it makes it run again, so the last answer is a new one.
//! - What is found out about an account state is applied after the frame that raised the question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Timing;
use super::directory::{Directory, Freshness};
use super::feed::Feed;
use super::tasks::Tasks;
use super::{Sink, now_ms};
use crate::crypto::PublicKey;
use crate::event::{Body, Event, HostingStatus, IdentityState};
use crate::identity::{DidDoc, IdentityError};
use crate::store::{Reader as _, Store};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;

static LOOKUPS: Counters = Counters::new("ingest.lookup-failed");
static SKIPPED: Counters = Counters::new("ingest.check-skipped");

/// Handle checks at a time.
const WORKERS: usize = 24;
/// DIDs in the queue; more come up again with the rounds over all accounts.
const QUEUE: usize = 200_000;
/// For a document and its handle, or for what a PDS says.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);
/// Waits before a failed check of a changed identity is tried again.
const RETRIES: [u64; 4] = [5, 30, 120, 600];
/// Between two looks whether a frame was applied.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// The key of a DID.
#[derive(Debug, Clone)]
pub(crate) enum KeyAnswer {
    Key(Box<PublicKey>),
    /// There is none.
    None,
    /// It could not be found out.
    Later,
}

#[derive(Debug, Clone, Copy)]
struct Check {
    fresh: bool,
    running: bool,
    again: bool,
    tries: usize,
}

/// The service; one for all upstreams.
pub(crate) struct Checks {
    directory: Arc<dyn Directory>,
    store: Store,
    sink: Arc<dyn Sink>,
    timing: Timing,
    tasks: Tasks,
    stop: CancellationToken,
    queue: flume::Sender<Did>,
    checks: Mutex<FxHashMap<Did, Check>>,
    /// Accounts whose state is being confirmed, by the number of the last question.
    accounts: Mutex<FxHashMap<Did, u64>>,
    questions: AtomicU64,
    pending: AtomicUsize,
}

impl Checks {
    /// Starts the workers on `tasks`.
    pub(crate) fn start(
        directory: Arc<dyn Directory>,
        store: Store,
        sink: Arc<dyn Sink>,
        timing: Timing,
        stop: CancellationToken,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let (queue, dids) = flume::unbounded();
        let checks = Arc::new(Self {
            directory,
            store,
            sink,
            timing,
            tasks: tasks.clone(),
            stop,
            queue,
            checks: Mutex::default(),
            accounts: Mutex::default(),
            questions: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
        });
        for _ in 0..WORKERS {
            let (checks, dids) = (Arc::clone(&checks), dids.clone());
            tasks.spawn(async move {
                while let Ok(did) = dids.recv_async().await {
                    checks.run(did).await;
                }
            });
        }
        checks
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Asks for a signing key and gives it to `reply`, on some thread of the runtime.
    pub(crate) fn find_key(
        self: &Arc<Self>,
        did: &Did,
        freshness: Freshness,
        reply: impl FnOnce(KeyAnswer) + Send + 'static,
    ) {
        let (this, did) = (Arc::clone(self), did.clone());
        self.begin();
        self.tasks.spawn(async move {
            let web = did.starts_with("did:web:");
            let patience = if web { this.timing.web_patience } else { this.timing.plc_patience };
            let answer = match timeout(patience, this.directory.document(&did, freshness)).await {
                Ok(Ok(doc)) => {
                    // The document goes to the store with its handle, whenever that is looked up.
                    this.check_handle(&did, Freshness::Cached);
                    let key = doc.signing_key().cloned();
                    key.map_or(KeyAnswer::None, |key| KeyAnswer::Key(Box::new(key)))
                }
                Ok(Err(error)) => {
                    LOOKUPS.inc(error.cause());
                    if error.is_transient() { KeyAnswer::Later } else { KeyAnswer::None }
                }
                Err(_) => {
                    LOOKUPS.inc("patience");
                    KeyAnswer::Later
                }
            };
            reply(answer);
            this.end();
        });
    }

    /// Nothing read so far counts any more, and a new check is due.
    pub(crate) fn identity_changed(&self, did: &Did) {
        self.directory.forget(did);
        self.check_handle(did, Freshness::Fresh);
    }

    /// Queues a check of document and handle.
    pub(crate) fn check_handle(&self, did: &Did, freshness: Freshness) {
        self.enqueue(did, freshness == Freshness::Fresh, 0);
    }

    fn enqueue(&self, did: &Did, fresh: bool, tries: usize) {
        let mut checks = self.checks.lock();
        if let Some(check) = checks.get_mut(did) {
            check.again |= check.running && fresh;
            check.fresh |= fresh;
            return;
        }
        if checks.len() >= QUEUE && !fresh {
            SKIPPED.inc("queue-full");
            return;
        }
        checks.insert(did.clone(), Check { fresh, running: false, again: false, tries });
        self.begin();
        // The workers end only when ingest does.
        let _ = self.queue.send(did.clone());
    }

    async fn run(self: &Arc<Self>, did: Did) {
        let Some(check) = self.checks.lock().get_mut(&did).map(|check| {
            check.running = true;
            *check
        }) else {
            return;
        };
        let freshness = if check.fresh { Freshness::Fresh } else { Freshness::Cached };
        let found = timeout(CHECK_PATIENCE, self.look(&did, freshness)).await;
        let found = found.unwrap_or(None);
        let failed = found.is_none();
        if let Some(state) = found {
            let event = Event { did: did.clone(), time: now_ms(), body: Body::Identity(state) };
            if self.sink.apply_aside(vec![event]).await.is_err() {
                self.stop.cancel();
            }
        }
        let again = {
            let mut checks = self.checks.lock();
            match checks.get_mut(&did) {
                Some(check) if check.again => {
                    *check = Check { fresh: true, running: false, again: false, tries: 0 };
                    true
                }
                _ => {
                    checks.remove(&did);
                    false
                }
            }
        };
        if again {
            let _ = self.queue.send(did);
            return;
        }
        self.end();
        if failed && check.fresh {
            self.retry(did, check.tries);
        }
    }

    /// A failed check of a changed identity comes back; it does not count as pending meanwhile.
    fn retry(self: &Arc<Self>, did: Did, tries: usize) {
        let Some(wait) = RETRIES.get(tries) else { return };
        let (this, wait) = (Arc::clone(self), Duration::from_secs(*wait));
        self.tasks.spawn(async move {
            sleep(wait).await;
            this.enqueue(&did, true, tries + 1);
        });
    }

    /// What the document says, its handle checked back; `None` if that cannot be found out now.
    async fn look(&self, did: &Did, freshness: Freshness) -> Option<IdentityState> {
        match self.directory.document(did, freshness).await {
            Ok(doc) => {
                let handle = self.handle(did, &doc, freshness).await;
                Some(IdentityState {
                    handle,
                    key: doc.signing_key().map(PublicKey::to_did_key),
                    pds: doc.pds().map(str::to_owned),
                })
            }
            Err(IdentityError::NotFound | IdentityError::Tombstoned) => {
                Some(IdentityState::default())
            }
            Err(error) => {
                LOOKUPS.inc(error.cause());
                None
            }
        }
    }

    async fn handle(&self, did: &Did, doc: &DidDoc, freshness: Freshness) -> Option<String> {
        let handle = doc.handle.as_ref()?;
        match self.directory.handle_owner(handle, freshness).await {
            Ok(owner) => (owner.as_ref() == Some(did)).then(|| handle.as_str().to_owned()),
            // A name server that is down for a minute does not take a handle away.
            Err(_) => self.held_handle(did).filter(|held| held == handle.as_str()),
        }
    }

    fn held_handle(&self, did: &Did) -> Option<String> {
        let snapshot = self.store.snapshot();
        let actor = snapshot.actor_id(did).ok()??;
        snapshot.actor(actor).ok()??.handle
    }

    /// What to apply for an `#account` right away. Where a PDS that the account has left may be speaking, the
    /// current one is asked, and its answer follows.
    pub(crate) fn account(
        self: &Arc<Self>,
        feed: &Arc<Feed>,
        slot: u64,
        did: &Did,
        status: HostingStatus,
    ) -> HostingStatus {
        use HostingStatus::{Deactivated, Deleted};
        let question = {
            let mut accounts = self.accounts.lock();
            // An answer to an older question must not come after this.
            accounts.remove(did);
            matches!(status, Deleted | Deactivated).then(|| {
                let number = self.questions.fetch_add(1, Ordering::Relaxed);
                accounts.insert(did.clone(), number);
                number
            })
        };
        let Some(number) = question else { return status };
        self.begin();
        let (this, feed, did) = (Arc::clone(self), Arc::clone(feed), did.clone());
        self.tasks.spawn(async move {
            this.confirm(&feed, slot, &did, status, number).await;
            this.end();
        });
        // Deleting takes the data away, hiding does not.
        Deactivated
    }

    async fn confirm(
        &self,
        feed: &Feed,
        slot: u64,
        did: &Did,
        claimed: HostingStatus,
        number: u64,
    ) {
        let actual = timeout(CHECK_PATIENCE, self.ask_pds(did)).await.ok().flatten();
        // Nobody to ask: the claim stands.
        let actual = actual.unwrap_or(claimed);
        while !feed.settled(slot) {
            sleep(SETTLE_POLL).await;
        }
        let current = {
            let mut accounts = self.accounts.lock();
            let current = accounts.get(did) == Some(&number);
            if current {
                accounts.remove(did);
            }
            current
        };
        if current && actual != HostingStatus::Deactivated {
            let event = Event { did: did.clone(), time: now_ms(), body: Body::Account(actual) };
            if self.sink.apply_aside(vec![event]).await.is_err() {
                self.stop.cancel();
            }
        }
    }

    async fn ask_pds(&self, did: &Did) -> Option<HostingStatus> {
        let doc = self.directory.document(did, Freshness::Fresh).await.ok()?;
        let status = self.directory.hosting_status(doc.pds()?, did).await;
        status.inspect_err(|error| LOOKUPS.inc(error.cause())).ok()
    }

    fn begin(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    fn end(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }
}
