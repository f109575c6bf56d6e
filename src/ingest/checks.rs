//! Lookups on behalf of the stream: keys that hold frames, documents that are old, and hosting states that need a second
//! opinion.
//!
//! Keys are asked for at once, since frames wait for them, and what else their documents say goes to the sink beside the
//! stream. The handles in them are looked up by [`super::handles`]; what events raise as a question comes through
//! [`super::questions`].
//!
//! # Invariants
//! - One check of a DID runs at a time; a request during it makes it run again, so the last answer is a new one.
//! - What is found out is applied after the frame that raised the question, which is a durable question there; an
//!   answer that was asked for before that frame is not applied.
//! - Of whom nobody can say whether it is gone, nothing is taken away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, Freshness};
use super::feed::Feed;
use super::tasks::Tasks;
use super::timing::Timing;
use super::{Pending, Sink};
use crate::crypto::PublicKey;
use crate::event::{Belief, Body, Event, HandleAnswer, HostingStatus, IdentityState};
use crate::identity::{DidDoc, IdentityError};
use crate::schema::Rows;
use crate::schema::rows::IdentityRow;
use crate::store::Store;
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::{Backoff, Clock, Paced};
use crate::work::recheck::{Due, Question, Questions, Said};

static LOOKUPS: Counters = Counters::new("ingest.lookup-failed");
static SKIPPED: Counters = Counters::new("ingest.check-skipped");

/// Handle checks at a time.
const WORKERS: usize = 24;
/// DIDs in the queue; more come up again with the rounds over all accounts.
const QUEUE: usize = 2000;
/// Documents on their way to the sink.
const READ: usize = 1024;
/// Of these, how many go there together.
const TOGETHER: usize = 64;
/// Keys that are asked for at a time, of did:web and of all others each: somewhat more than `identity` asks for at once,
/// which so is not kept waiting. A look-up under way takes 25 KB, one that waits for its turn next to nothing, and at the
/// begin of a stream every frame is of an account whose key is not known.
pub(super) const KEYS: usize = 96;
/// For a document and its handle, or for what a PDS says.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);
/// Waits before a question that got no answer is asked again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(5), 5, Duration::from_secs(600));
/// How often it is, before it is left to the rounds over all of them.
const RETRIES: u32 = 4;
/// Questions that wait for that.
const RETRYING: usize = 2000;
/// How often an answer may come too late to count before it counts nevertheless: otherwise who asks all the time would
/// never get one.
const TOO_LATE: u32 = 2;

/// The key of a DID.
#[derive(Debug, Clone)]
pub(crate) enum KeyAnswer {
    Key(Box<PublicKey>, Arc<DidDoc>),
    /// There is none.
    None,
    /// It could not be found out.
    Later,
}

#[derive(Clone)]
struct Check {
    freshness: Freshness,
    running: bool,
    again: bool,
    tries: u32,
}

impl Check {
    fn new(freshness: Freshness) -> Self {
        Self { freshness, running: false, again: false, tries: 0 }
    }
}

/// A question about an account's state that is under way.
#[derive(Default)]
struct Asked {
    /// Somebody said something since.
    again: bool,
    /// A state that is believed came since.
    settled: bool,
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
    read: flume::Sender<(Event, Pending)>,
    checks: Mutex<HashMap<Did, Check>>,
    /// Turns of looking a key up.
    keys: Semaphore,
    web_keys: Semaphore,
    /// Accounts whose state is being confirmed.
    accounts: Mutex<HashMap<Did, Asked>>,
    questions: Arc<Questions>,
    unproven: Paced,
    /// Of questions that events raise, and of those that stand in rows.
    pub(crate) live: Paced,
    pub(crate) rounds: Paced,
    retrying: Arc<AtomicUsize>,
    pending: Arc<AtomicUsize>,
}

/// What checks need.
pub(crate) struct Setup {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) store: Store,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) timing: Timing,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

impl Checks {
    /// Starts the workers on `tasks`.
    pub(crate) fn start(setup: Setup, tasks: &Tasks) -> Arc<Self> {
        let Setup { directory, store, sink, questions, timing, clock, stop } = setup;
        let (queue, dids) = flume::unbounded();
        let (read, documents) = flume::bounded(READ);
        let checks = Arc::new(Self {
            directory,
            store,
            sink,
            timing,
            clock,
            tasks: tasks.clone(),
            stop,
            queue,
            read,
            checks: Mutex::default(),
            keys: Semaphore::new(KEYS),
            web_keys: Semaphore::new(KEYS),
            accounts: Mutex::default(),
            questions,
            unproven: Paced::new(timing.unproven),
            live: Paced::new(timing.questions),
            rounds: Paced::new(timing.rounds),
            retrying: Arc::default(),
            pending: Arc::default(),
        });
        tasks.spawn("the way of documents", Arc::clone(&checks).pass_on(documents));
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
        // In this order, as what is not waiting any more is under way first.
        self.questions.waiting() + self.pending.load(Ordering::Acquire)
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
            let document = async {
                // It is never closed.
                let _turn = if web { &this.web_keys } else { &this.keys }.acquire().await;
                this.directory.document(&did, freshness).await
            };
            let answer = match timeout(patience, document).await {
                Ok(Ok(doc)) => {
                    let key = doc.signing_key().cloned();
                    key.map_or(KeyAnswer::None, |key| KeyAnswer::Key(Box::new(key), doc))
                }
                Ok(Err(error)) => {
                    LOOKUPS.inc(error.cause());
                    if matches!(error, IdentityError::Busy(_)) && !this.is_held(&did) {
                        let turn = this.unproven.turn_within(patience, Instant::now());
                        sleep(turn.unwrap_or(patience)).await;
                    }
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

    /// Stores what the document says that gave a key, by which something of the account was verified. Waits for its
    /// place, so only for threads.
    pub(crate) fn keyed(&self, doc: &DidDoc) {
        let state = IdentityState {
            handle: doc.handle.as_ref().map(|handle| handle.as_str().to_owned()),
            key: doc.signing_key().map(PublicKey::to_did_key),
            pds: doc.pds().map(str::to_owned),
        };
        let event = Event::found_here(doc.did.clone(), self.clock.now_ms(), Body::Keyed(state));
        // At the end nobody takes it, and the key is asked for again.
        let _ = self.read.send((event, self.begin()));
    }

    async fn pass_on(self: Arc<Self>, documents: flume::Receiver<(Event, Pending)>) {
        while let Ok(first) = documents.recv_async().await {
            let all = std::iter::once(first).chain(documents.try_iter()).take(TOGETHER);
            let (events, held): (Vec<_>, Vec<_>) = all.unzip();
            let pending = self.begin();
            drop(held);
            if self.sink.apply_aside(events, pending).await.is_err() {
                self.stop.cancel();
            }
        }
    }

    /// Hands on what became of a handle.
    pub(crate) async fn answered(&self, did: Did, answer: HandleAnswer) {
        let event = Event::found_here(did, self.clock.now_ms(), Body::Handle(answer));
        if self.sink.apply_aside(vec![event], self.begin()).await.is_err() {
            self.stop.cancel();
        }
    }

    /// Runs something until ingest ends.
    pub(crate) fn spawn(
        &self,
        what: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(what, work);
    }

    /// Asks a question that has its row, until `slot` is given back. If it is not answered it is asked again soon, a few
    /// times, if `retry`.
    pub(crate) fn ask(
        self: &Arc<Self>,
        question: Question,
        slot: OwnedSemaphorePermit,
        retry: bool,
    ) {
        let (this, pending) = (Arc::clone(self), self.begin());
        let tries = if retry { 0 } else { RETRIES };
        match question.due {
            Due::Identity => {
                self.directory.forget(&question.did);
                let check = Check { tries, ..Check::new(Freshness::Fresh) };
                {
                    let mut checks = self.checks.lock();
                    if join(&mut checks, &question.did, &check) {
                        return;
                    }
                    checks.insert(question.did.clone(), check);
                }
                self.tasks.spawn("a check of an identity", async move {
                    this.run(question.did, pending).await;
                    drop(slot);
                });
            }
            Due::Status(said) => {
                self.tasks.spawn("a question about an account", async move {
                    this.confirm(question, said, tries).await;
                    drop((pending, slot));
                });
            }
        }
    }

    /// Whether that is being asked now.
    pub(crate) fn is_asked(&self, question: &Question) -> bool {
        match question.due {
            Due::Identity => self.checks.lock().contains_key(&question.did),
            Due::Status(_) => self.accounts.lock().contains_key(&question.did),
        }
    }

    /// Nothing read so far counts any more. The question about what counts now comes with the event.
    pub(crate) fn identity_changed(&self, did: &Did) {
        self.directory.forget(did);
        join(&mut self.checks.lock(), did, &Check::new(Freshness::Fresh));
    }

    /// Queues a check of document and handle.
    pub(crate) fn check_handle(&self, did: &Did, freshness: Freshness) {
        self.enqueue(did, Check::new(freshness));
    }

    fn enqueue(&self, did: &Did, new: Check) {
        {
            let mut checks = self.checks.lock();
            if join(&mut checks, did, &new) {
                return;
            }
            if checks.len() >= QUEUE {
                SKIPPED.inc("queue-full");
                if new.freshness > Freshness::Cached {
                    // If it is due, it has a row.
                    self.questions.miss();
                }
                return;
            }
            checks.insert(did.clone(), new);
        }
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
        let this = Arc::clone(self);
        self.later(tries, async move |tries| {
            this.enqueue(&did, Check { tries, ..Check::new(Freshness::Fresh) });
        });
    }

    /// Does something once more after a while, unless that was done often enough or too much is waiting for it: what has
    /// to be done has a row.
    fn later<F: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        tries: u32,
        work: impl FnOnce(u32) -> F + Send + 'static,
    ) {
        let tries = tries + 1;
        if tries > RETRIES || self.retrying.load(Ordering::Relaxed) >= RETRYING {
            return;
        }
        let (this, waiting) = (Arc::clone(self), Pending::count(&self.retrying));
        self.tasks.spawn("a question that is asked again", async move {
            sleep(RETRY.wait(tries)).await;
            this.live.turn().await;
            drop(waiting);
            work(tries).await;
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

    /// Whether a repo of the account is known, so that a claim about it makes no new rows. One that cannot be read may be.
    fn is_held(&self, did: &Did) -> bool {
        let snapshot = self.store.snapshot();
        let Ok(actor) = snapshot.actor_id(did) else { return true };
        actor.is_some_and(|actor| snapshot.repo(actor).map_or(true, |row| row.is_some()))
    }

    fn had_document(&self, did: &Did) -> bool {
        let row = self.held_identity(did);
        row.is_some_and(|row| !row.pds.is_empty() || !row.key.is_empty())
    }

    fn held_identity(&self, did: &Did) -> Option<IdentityRow> {
        let snapshot = self.store.snapshot();
        let actor = snapshot.actor_id(did).ok()??;
        snapshot.identity(actor).ok()?
    }

    /// How an `#account` is taken. Who is the only upstream, or the host of the account, is believed; another one may be
    /// anybody, and where the account lives has the last word. That holds for all of them where a PDS that the account
    /// has left may be speaking.
    pub(crate) fn account(&self, feed: &Feed, did: &Did, status: HostingStatus) -> Body {
        let own = self.is_believed(feed, did);
        let belief = match status {
            _ if !own => Belief::OnceConfirmed,
            HostingStatus::Deleted | HostingStatus::Deactivated => Belief::UntilAsked,
            _ => {
                // An answer to an older question must not come after this.
                if let Some(asked) = self.accounts.lock().get_mut(did) {
                    asked.settled = true;
                }
                Belief::Full
            }
        };
        Body::Claimed(status, belief)
    }

    /// Whether what an upstream says of an account counts at once. Anybody can say that an identity changed: if nothing of
    /// it counted until the directory has answered, whoever is an upstream could lock accounts out.
    pub(crate) fn is_believed(&self, feed: &Feed, did: &Did) -> bool {
        feed.alone || self.is_host(feed, did)
    }

    /// Whether this is the stream of the host where the account lives.
    pub(crate) fn is_host(&self, feed: &Feed, did: &Did) -> bool {
        self.held_identity(did).is_some_and(|row| feed.is_host(&row.pds))
    }

    /// Asks where the account lives what its state is.
    async fn confirm(self: &Arc<Self>, question: Question, said: Said, tries: u32) {
        let did = &question.did;
        {
            let mut accounts = self.accounts.lock();
            if let Some(asked) = accounts.get_mut(did) {
                asked.again = true;
                return;
            }
            accounts.insert(did.clone(), Asked::default());
        }
        let mut rounds = 0;
        let answer = loop {
            let answer = timeout(CHECK_PATIENCE, self.ask_pds(did, said)).await.ok().flatten();
            let mut accounts = self.accounts.lock();
            let Some(asked) = accounts.get_mut(did) else { return };
            if asked.settled {
                accounts.remove(did);
                return;
            }
            if asked.again && rounds < TOO_LATE {
                (asked.again, rounds) = (false, rounds + 1);
                continue;
            }
            accounts.remove(did);
            break answer;
        };
        // Whoever was believed has hidden it already; for whoever was not, a host that is silent is no witness.
        let Some(status) = answer else { return self.confirm_again(question, said, tries) };
        let event = Event {
            upstream: question.upstream,
            ..Event::found_here(did.clone(), self.clock.now_ms(), Body::Account(status))
        };
        if self.sink.apply_aside(vec![event], self.begin()).await.is_err() {
            self.stop.cancel();
        }
    }

    fn confirm_again(self: &Arc<Self>, question: Question, said: Said, tries: u32) {
        let this = Arc::clone(self);
        self.later(tries, async move |tries| {
            let pending = this.begin();
            Box::pin(this.confirm(question, said, tries)).await;
            drop(pending);
        });
    }

    async fn ask_pds(&self, did: &Did, said: Said) -> Option<HostingStatus> {
        let doc = match self.directory.document(did, Freshness::Fresh).await {
            Ok(doc) => doc,
            // Its directory says so too.
            Err(IdentityError::Tombstoned) if said == Said::Deleted => {
                return Some(HostingStatus::Deleted);
            }
            // Otherwise whoever can make the directory fail could hide accounts by naming them. That it is active where
            // it lived is enough; that it is not may be because it moved.
            Err(error) if error.is_transient() => {
                let pds = self.held_identity(did)?.pds;
                let status = self.directory.hosting_status(&pds, did).await.ok();
                return status.filter(|status| *status == HostingStatus::Active);
            }
            Err(_) => return None,
        };
        let status = self.directory.hosting_status(doc.pds()?, did).await;
        status.inspect_err(|error| LOOKUPS.inc(error.cause())).ok()
    }

    pub(crate) fn begin(&self) -> Pending {
        Pending::count(&self.pending)
    }
}

/// Adds a check to the one of this DID that waits or runs, if there is one.
fn join(checks: &mut HashMap<Did, Check>, did: &Did, new: &Check) -> bool {
    match checks.get_mut(did) {
        Some(check) => {
            check.again |= check.running && new.freshness > Freshness::Cached;
            check.freshness = check.freshness.max(new.freshness);
            true
        }
        None => false,
    }
}
