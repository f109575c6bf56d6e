//! Lookups on behalf of the stream: keys that hold frames, handles, and hosting states that need a second opinion.
//!
//! Keys are asked for at once, since frames wait for them. Handles wait in a queue with a few workers, so that a
//! catch-up with a million new accounts is not slowed down by them; what is found goes to the sink beside the
//! stream.
//!
//! # Invariants
//! - One check of a DID runs at a time; a request during it makes it run again, so the last answer is a new one.
//! - What is found out is applied after the frame that raised the question, which is a durable question there; an
//!   answer that was asked for before that frame is not applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, Freshness};
use super::feed::Feed;
use super::tasks::Tasks;
use super::timing::Timing;
use super::{Pending, Sink};
use crate::crypto::PublicKey;
use crate::event::{Body, Event, HostingStatus, IdentityState, Upstream};
use crate::identity::{DidDoc, IdentityError};
use crate::schema::Rows;
use crate::store::{Snapshot, Store, StoreError};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::{Backoff, Clock};
use crate::work::recheck::{self, Due};

static LOOKUPS: Counters = Counters::new("ingest.lookup-failed");
static SKIPPED: Counters = Counters::new("ingest.check-skipped");

/// Handle checks at a time.
const WORKERS: usize = 24;
/// DIDs in the queue; more come up again with the rounds over all accounts.
const QUEUE: usize = 200_000;
/// For a document and its handle, or for what a PDS says.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);
/// Waits before a failed check of a changed identity is tried again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(5), 5, Duration::from_secs(600));
/// How often it is.
const RETRIES: u32 = 4;
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

/// A frame of an upstream.
type Slot = (Arc<Feed>, u64);

#[derive(Clone)]
struct Check {
    freshness: Freshness,
    running: bool,
    again: bool,
    tries: u32,
    /// Frames that asked for it.
    after: Vec<Slot>,
}

impl Check {
    fn new(freshness: Freshness) -> Self {
        Self { freshness, running: false, again: false, tries: 0, after: Vec::new() }
    }
}

/// The service; one for all upstreams.
pub(crate) struct Checks {
    directory: Arc<dyn Directory>,
    store: Store,
    sink: Arc<dyn Sink>,
    timing: Timing,
    pub(crate) clock: Clock,
    tasks: Tasks,
    stop: CancellationToken,
    queue: flume::Sender<(Did, Pending)>,
    checks: Mutex<FxHashMap<Did, Check>>,
    /// Accounts whose state is being confirmed, by the number of the last question.
    accounts: Mutex<FxHashMap<Did, u64>>,
    questions: AtomicU64,
    pending: Arc<AtomicUsize>,
}

impl Checks {
    /// Starts the workers on `tasks`.
    pub(crate) fn start(
        directory: Arc<dyn Directory>,
        store: Store,
        sink: Arc<dyn Sink>,
        timing: Timing,
        clock: Clock,
        stop: CancellationToken,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let (queue, dids) = flume::unbounded();
        let checks = Arc::new(Self {
            directory,
            store,
            sink,
            timing,
            clock,
            tasks: tasks.clone(),
            stop,
            queue,
            checks: Mutex::default(),
            accounts: Mutex::default(),
            questions: AtomicU64::new(0),
            pending: Arc::default(),
        });
        for _ in 0..WORKERS {
            let (checks, dids) = (Arc::clone(&checks), dids.clone());
            tasks.spawn("a check of an identity", async move {
                while let Ok((did, pending)) = dids.recv_async().await {
                    checks.run(did, pending).await;
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
        let pending = self.begin();
        self.tasks.spawn("a look-up of a key", async move {
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
            drop(pending);
        });
    }

    /// Asks again what an earlier run had not found out when it ended.
    pub(crate) fn resume(self: &Arc<Self>, snapshot: &Snapshot) -> Result<(), StoreError> {
        for (actor, due) in recheck::dues(snapshot)? {
            let did = match snapshot.did(actor) {
                Ok(did) => did,
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "an account without a DID is passed over");
                    continue;
                }
            };
            let Ok(did) = Did::parse(&did) else { continue };
            match due {
                Due::Identity => self.identity_changed(None, &did),
                Due::Status { deleted } => {
                    let question = self.question(&did);
                    self.confirm(None, did, deleted, question);
                }
            }
        }
        Ok(())
    }

    /// Nothing read so far counts any more, and a new check is due.
    pub(crate) fn identity_changed(&self, slot: Option<Slot>, did: &Did) {
        self.directory.forget(did);
        let check = Check { after: Vec::from_iter(slot), ..Check::new(Freshness::Fresh) };
        self.enqueue(did, check);
    }

    /// Queues a check of document and handle.
    pub(crate) fn check_handle(&self, did: &Did, freshness: Freshness) {
        self.enqueue(did, Check::new(freshness));
    }

    fn enqueue(&self, did: &Did, new: Check) {
        let cached = new.freshness == Freshness::Cached;
        let mut checks = self.checks.lock();
        if let Some(check) = checks.get_mut(did) {
            check.again |= check.running && !cached;
            check.freshness = check.freshness.max(new.freshness);
            check.after.extend(new.after);
            return;
        }
        if checks.len() >= QUEUE && cached {
            SKIPPED.inc("queue-full");
            return;
        }
        checks.insert(did.clone(), new);
        // The workers end only when ingest does.
        let _ = self.queue.send((did.clone(), self.begin()));
    }

    async fn run(self: &Arc<Self>, did: Did, pending: Pending) {
        let Some(check) = self.checks.lock().get_mut(&did).map(|check| {
            check.running = true;
            check.clone()
        }) else {
            return;
        };
        let found = timeout(CHECK_PATIENCE, self.look(&did, check.freshness)).await;
        let found = found.unwrap_or(None);
        let failed = found.is_none();
        settled(&check.after).await;
        let outdated = self.checks.lock().get(&did).is_some_and(|check| check.again);
        if let Some(body) = found.filter(|_| !outdated) {
            let event = Event::found_here(did.clone(), self.clock.now_ms(), body);
            if self.sink.apply_aside(vec![event], self.begin()).await.is_err() {
                self.stop.cancel();
            }
        }
        let again = {
            let mut checks = self.checks.lock();
            match checks.get_mut(&did) {
                Some(check) if check.again => {
                    (check.running, check.again, check.tries) = (false, false, 0);
                    true
                }
                _ => {
                    checks.remove(&did);
                    false
                }
            }
        };
        if again {
            let _ = self.queue.send((did, pending));
            return;
        }
        drop(pending);
        if failed && check.freshness > Freshness::Cached {
            self.retry(did, check.tries);
        }
    }

    /// A failed check of a changed identity comes back; it does not count as pending meanwhile.
    fn retry(self: &Arc<Self>, did: Did, tries: u32) {
        let tries = tries + 1;
        if tries > RETRIES {
            return;
        }
        let this = Arc::clone(self);
        self.tasks.spawn("a check of an identity", async move {
            sleep(RETRY.wait(tries)).await;
            this.enqueue(&did, Check { tries, ..Check::new(Freshness::Fresh) });
        });
    }

    /// What the document says, its handle checked back; `None` if that cannot be found out now.
    async fn look(&self, did: &Did, freshness: Freshness) -> Option<Body> {
        match self.directory.document(did, freshness).await {
            Ok(doc) => {
                let handle = self.handle(did, &doc, freshness).await;
                Some(Body::Identity(IdentityState {
                    handle,
                    key: doc.signing_key().map(PublicKey::to_did_key),
                    pds: doc.pds().map(str::to_owned),
                }))
            }
            Err(IdentityError::Tombstoned) => Some(Body::NoDocument { tombstoned: true }),
            // The host of a did:web takes the document away; that is all the notice it gives.
            Err(IdentityError::NotFound) => {
                let tombstoned = did.starts_with("did:web:") && self.had_document(did);
                Some(Body::NoDocument { tombstoned })
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

    fn had_document(&self, did: &Did) -> bool {
        let snapshot = self.store.snapshot();
        let actor = snapshot.actor_id(did).ok().flatten();
        let row = actor.and_then(|actor| snapshot.identity(actor).ok().flatten());
        row.is_some_and(|row| !row.pds.is_empty() || !row.key.is_empty())
    }

    /// What to apply for an `#account` right away. Where a PDS that the account has left may be speaking, the
    /// current one is asked, and its answer follows.
    pub(crate) fn account(
        self: &Arc<Self>,
        slot: Slot,
        did: &Did,
        status: HostingStatus,
        upstream: Option<Upstream>,
    ) -> Body {
        let deleted = match status {
            HostingStatus::Deleted => true,
            HostingStatus::Deactivated => false,
            _ => {
                // An answer to an older question must not come after this.
                self.accounts.lock().remove(did);
                return Body::Account(status);
            }
        };
        let question = self.question(did);
        self.confirm(Some((slot, upstream)), did.clone(), deleted, question);
        Body::Unconfirmed { deleted }
    }

    /// A number for a question about an account state; questions before it need no answer any more.
    fn question(&self, did: &Did) -> u64 {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        self.accounts.lock().insert(did.clone(), number);
        number
    }

    /// `raised` is the frame that raised the question, and what its upstream says of it.
    fn confirm(
        self: &Arc<Self>,
        raised: Option<(Slot, Option<Upstream>)>,
        did: Did,
        deleted: bool,
        question: u64,
    ) {
        let (this, pending) = (Arc::clone(self), self.begin());
        self.tasks.spawn("a question about an account", async move {
            let actual = timeout(CHECK_PATIENCE, this.ask_pds(&did)).await.ok().flatten();
            // Nobody to ask: the claim stands.
            let claimed = if deleted { HostingStatus::Deleted } else { HostingStatus::Deactivated };
            let (slot, upstream) = raised.unzip();
            settled(slot.as_slice()).await;
            if this.is_current(&did, question) {
                let body = Body::Account(actual.unwrap_or(claimed));
                let upstream = upstream.flatten();
                let event = Event { upstream, ..Event::found_here(did, this.clock.now_ms(), body) };
                if this.sink.apply_aside(vec![event], pending).await.is_err() {
                    this.stop.cancel();
                }
            }
        });
    }

    /// Whether no other state was heard of since; the question is closed then.
    fn is_current(&self, did: &Did, question: u64) -> bool {
        let mut accounts = self.accounts.lock();
        let current = accounts.get(did) == Some(&question);
        if current {
            accounts.remove(did);
        }
        current
    }

    async fn ask_pds(&self, did: &Did) -> Option<HostingStatus> {
        let doc = self.directory.document(did, Freshness::Fresh).await.ok()?;
        let status = self.directory.hosting_status(doc.pds()?, did).await;
        status.inspect_err(|error| LOOKUPS.inc(error.cause())).ok()
    }

    fn begin(&self) -> Pending {
        Pending::count(&self.pending)
    }
}

/// Waits until these frames are with the sink.
async fn settled(slots: &[Slot]) {
    for (feed, slot) in slots {
        while !feed.settled(*slot) {
            sleep(SETTLE_POLL).await;
        }
    }
}
