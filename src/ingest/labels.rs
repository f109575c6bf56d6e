//! Subscriptions to labelers (`com.atproto.label.subscribeLabels`): signatures checked, negations kept.
//!
//! Labels are few, so each labeler is one task that reads, checks and hands over; waiting for the sink is what
//! holds the socket back. The set of labelers changes at run time ([`Labelers::set`]).
//!
//! # Invariants
//! - A label that reaches the sink is signed by its labeler.
//! - A batch holds every good label up to its `seq`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::SinkClosed;
use super::directory::{Directory, Freshness};
use super::leaps::{Leap, Numbers};
use super::tasks::{Group, Tasks};
use super::timing::{Heartbeat, Silent, Timing};
use super::upstream::MAX_GARBAGE;
use crate::config::Labeler as Config;
use crate::crypto::PublicKey;
use crate::event::frame::{FrameError, MAX_FRAME_LEN};
use crate::event::label::{Label, LabelFrame};
use crate::identity::IdentityError;
use crate::net::{Dialer, Message, NetError, WsStream};
use crate::schema::cursors::{CursorOf, cursor};
use crate::store::{Store, StoreError};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::telemetry::links::Link;
use crate::threads::{Clock, Failure, fault};

static DROPPED: Counters = Counters::new("labels.dropped");

/// Labels of one batch, about.
const BATCH: usize = 256;
/// More labels than this are checked on a thread that may take its time.
const INLINE: usize = 8;
/// Between two looks at a DID document because of a signature.
const FORCED_AGAIN: Duration = Duration::from_secs(10);
const NONE: i64 = i64::MIN;

/// Labels of one labeler, in order.
#[derive(Debug)]
pub struct LabelBatch {
    /// Who signed them.
    pub labeler: Did,
    /// The cursor after this batch.
    pub seq: i64,
    /// The labels; empty when nothing but the cursor moved.
    pub labels: Vec<Label>,
}

/// Where labels go. Waiting for an answer is backpressure.
pub trait LabelSink: Send + Sync + 'static {
    /// Applies a batch and moves the labeler's cursor with it.
    fn apply_labels(&self, batch: LabelBatch) -> BoxFuture<'_, Result<(), SinkClosed>>;
}

/// Where a labeler's stream is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LabelerStatus {
    /// The labeler.
    pub did: String,
    /// The service that is connected to, once it is known.
    pub url: Option<String>,
    /// Whether the socket is open.
    pub connected: bool,
    /// The last sequence number handed to the sink and taken by it.
    pub seq: Option<i64>,
    /// Labels applied since start.
    pub labels: u64,
    /// Labels and frames dropped since start, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Why the last connection ended or could not be made.
    pub last_error: Option<String>,
}

/// What the subscriptions need.
pub struct Setup {
    /// For the connections.
    pub dialer: Dialer,
    /// For the `User-Agent`.
    pub public_url: String,
    /// Has the cursors.
    pub store: Store,
    /// Has the labelers' documents.
    pub directory: Arc<dyn Directory>,
    /// Takes the labels.
    pub sink: Arc<dyn LabelSink>,
    /// Timeouts and intervals.
    pub timing: Timing,
    /// What time it is.
    pub clock: Clock,
}

/// The running subscriptions.
pub struct Labelers {
    setup: Arc<Setup>,
    running: Mutex<Vec<Running>>,
    tasks: Tasks,
    group: Group,
    stop: CancellationToken,
}

struct Running {
    config: Config,
    state: Arc<State>,
    stop: CancellationToken,
}

impl Labelers {
    /// Without any labeler yet. Needs a tokio runtime.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let stop = CancellationToken::new();
        let group = Group::new(stop.clone());
        let tasks = group.tasks();
        Self { setup: Arc::new(setup), running: Mutex::default(), tasks, group, stop }
    }

    /// Follows these labelers and no others. One whose entry is the same goes on undisturbed.
    ///
    /// # Errors
    /// When a cursor cannot be read; nothing has changed then.
    pub fn set(&self, labelers: Vec<Config>) -> Result<(), StoreError> {
        let mut running = self.running.lock();
        let snapshot = self.setup.store.snapshot();
        let mut next: Vec<Running> = Vec::with_capacity(labelers.len());
        for config in labelers {
            if next.iter().any(|other| other.config.did == config.did) {
                continue;
            }
            if let Some(at) = running.iter().position(|running| running.config == config) {
                let kept = running.get(at).map(|kept| Running {
                    config,
                    state: Arc::clone(&kept.state),
                    stop: kept.stop.clone(),
                });
                next.extend(kept);
                continue;
            }
            let seq = cursor(&snapshot, &CursorOf::Labeler(config.did.to_string()))?;
            let state = Arc::new(State::new(config.did.clone(), seq));
            next.push(Running { config, state, stop: self.stop.child_token() });
        }
        for old in running.iter() {
            if !next.iter().any(|kept| Arc::ptr_eq(&kept.state, &old.state)) {
                old.stop.cancel();
            }
        }
        for new in &next {
            if !running.iter().any(|old| Arc::ptr_eq(&old.state, &new.state)) {
                let subscription = Subscription {
                    config: new.config.clone(),
                    state: Arc::clone(&new.state),
                    setup: Arc::clone(&self.setup),
                };
                let (stop, failure) = (new.stop.clone(), self.group.failure().clone());
                self.tasks.spawn("a subscription to labels", async move {
                    let did = subscription.state.did.clone();
                    // One that is not followed any more is cancelled.
                    if stop.run_until_cancelled(subscription.run()).await.is_some() {
                        failure.tell(&format!("the subscription to {did} ended"));
                    }
                });
            }
        }
        *running = next;
        Ok(())
    }

    /// Where each subscription is, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<LabelerStatus> {
        self.running.lock().iter().map(|running| running.state.snapshot()).collect()
    }

    /// Told when a subscription ended that should not have.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.group.failure().clone()
    }

    /// Stops reading and ends.
    pub async fn stop(self) {
        self.group.stop().await;
    }
}

/// The live side of [`LabelerStatus`].
struct State {
    did: Did,
    url: Mutex<Option<String>>,
    connected: AtomicBool,
    connections: AtomicU64,
    seq: AtomicI64,
    labels: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    error: Mutex<Option<String>>,
}

impl State {
    fn new(did: Did, seq: Option<i64>) -> Self {
        Self {
            did,
            url: Mutex::default(),
            connected: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            seq: AtomicI64::new(seq.unwrap_or(NONE)),
            labels: AtomicU64::new(0),
            dropped: Mutex::default(),
            error: Mutex::default(),
        }
    }

    fn seq(&self) -> Option<i64> {
        Some(self.seq.load(Ordering::Acquire)).filter(|seq| *seq != NONE)
    }

    fn dropped(&self, cause: &'static str, count: u64) {
        if count > 0 {
            DROPPED.add(cause, count);
            *self.dropped.lock().entry(cause).or_default() += count;
        }
    }

    fn snapshot(&self) -> LabelerStatus {
        LabelerStatus {
            did: self.did.as_str().to_owned(),
            url: self.url.lock().clone(),
            connected: self.connected.load(Ordering::Relaxed),
            seq: self.seq(),
            labels: self.labels.load(Ordering::Relaxed),
            dropped: self.dropped.lock().clone(),
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
            last_error: self.error.lock().clone(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the store takes no labels any more")]
    Sink(#[from] SinkClosed),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the labeler's DID document: {0}")]
    Document(#[from] IdentityError),
    #[error("the labeler has no {0}, in the configuration or in its DID document")]
    Lacks(&'static str),
    #[error(transparent)]
    Silent(#[from] Silent),
    #[error("closed by the labeler: {0:?} {1}")]
    Closed(Option<u16>, String),
    #[error("the labeler says {0}: {1}")]
    Refused(String, String),
    #[error("the labeler does not know our cursor any more; reading all of its labels again")]
    Restart,
    #[error("the check of signatures was cut off")]
    Cut,
    #[error(transparent)]
    Leap(#[from] Leap),
    #[error("{MAX_GARBAGE} frames in a row could not be read")]
    Garbage,
}

struct Target {
    url: String,
    key: PublicKey,
    /// The document was asked because of a bad signature then.
    forced: Option<Instant>,
}

/// Where a connection is.
struct Reading<'f> {
    cursor: Option<i64>,
    /// Read and not handed over.
    batch: Vec<Label>,
    target: Target,
    numbers: Numbers,
    /// Frames that somebody understands.
    frames: &'f mut u64,
    /// Others, since the last of those.
    garbage: u32,
}

struct Subscription {
    config: Config,
    state: Arc<State>,
    setup: Arc<Setup>,
}

impl Subscription {
    async fn run(self) {
        let mut retries = self.setup.timing.retry.retries();
        let (mut freshness, mut restart) = (Freshness::Cached, false);
        loop {
            fault::point("subscription");
            let mut frames = 0;
            // What was read but not delivered is read again.
            let start = self.state.seq().filter(|_| !restart);
            let Err(end) = self.connection(start, freshness, &mut frames).await;
            self.state.connected.store(false, Ordering::Relaxed);
            *self.state.error.lock() = Some(end.to_string());
            tracing::info!(labeler = %self.state.did, "labels: {end}");
            if matches!(end, End::Sink(_)) {
                return;
            }
            restart = matches!(end, End::Restart);
            let its_fault =
                matches!(end, End::Leap(_) | End::Garbage | End::Net(NetError::Misbehaves(_)));
            if frames > 0 && !its_fault {
                retries.worked();
            }
            // What was remembered of the labeler did not lead to labels.
            freshness = if frames > 0 { Freshness::Cached } else { Freshness::Fresh };
            sleep(retries.failed()).await;
        }
    }

    async fn target(&self, freshness: Freshness) -> Result<Target, End> {
        let key = self.config.signing_key.clone();
        if let (Some(url), Some(key)) = (&self.config.url, &key) {
            return Ok(Target { url: url.clone(), key: key.clone(), forced: None });
        }
        let doc = self.setup.directory.document(&self.state.did, freshness).await?;
        let url = self.config.url.as_deref().or_else(|| doc.labeler());
        let key = key.or_else(|| doc.key("atproto_label").cloned());
        Ok(Target {
            url: url.ok_or(End::Lacks("labeler service"))?.to_owned(),
            key: key.ok_or(End::Lacks("label signing key"))?,
            forced: None,
        })
    }

    /// One connection, from the document to its end.
    async fn connection(
        &self,
        start: Option<i64>,
        freshness: Freshness,
        frames: &mut u64,
    ) -> Result<std::convert::Infallible, End> {
        let target = self.target(freshness).await?;
        *self.state.url.lock() = Some(target.url.clone());
        let url = subscription_url(&target.url, start.unwrap_or(0));
        // A URL of the configuration may be on the operator's own network; one of a document may not.
        let dialer = match self.config.url {
            Some(_) => self.setup.dialer.unguarded(),
            None => self.setup.dialer.clone(),
        };
        let name = &self.setup.public_url;
        let link = Link::of("labeler", self.config.did.as_str());
        let mut socket = WsStream::connect(&dialer, &url, name, MAX_FRAME_LEN, link).await?;
        self.state.connected.store(true, Ordering::Relaxed);
        self.state.connections.fetch_add(1, Ordering::Relaxed);
        let numbers = Numbers::after(start);
        let mut reading =
            Reading { cursor: start, batch: Vec::new(), target, numbers, frames, garbage: 0 };
        let Err(end) = self.read(&mut socket, &mut reading).await;
        // What came before the end counts, unless it was being handed over when that failed.
        if !matches!(end, End::Sink(_) | End::Cut) {
            self.deliver(&mut reading).await?;
        }
        Err(end)
    }

    async fn read(
        &self,
        socket: &mut WsStream,
        reading: &mut Reading<'_>,
    ) -> Result<std::convert::Infallible, End> {
        let mut watch = Heartbeat::new(self.setup.timing);
        loop {
            let message = match socket.next().now_or_never() {
                Some(message) => message?,
                None => {
                    self.deliver(reading).await?;
                    tokio::select! {
                        message = socket.next() => message?,
                        // A labeler may have nothing to say for days, so only pongs count.
                        () = sleep_until(watch.next_alive()) => {
                            watch.look_alive()?;
                            if watch.ping_due() {
                                socket.ping()?;
                            }
                            continue;
                        }
                    }
                }
            };
            watch.frame();
            match message {
                Message::Binary(bytes) => self.frame(bytes, reading)?,
                Message::Closed(code, reason) => return Err(End::Closed(code, reason)),
                Message::Alive | Message::Text(_) => {}
            }
            if reading.batch.len() >= BATCH {
                self.deliver(reading).await?;
            }
        }
    }

    fn frame(&self, bytes: Bytes, reading: &mut Reading<'_>) -> Result<(), End> {
        let mut labels = Vec::new();
        let (seq, good) = match LabelFrame::decode(bytes) {
            Ok(LabelFrame::Labels { seq, labels: read, dropped }) => {
                self.state.dropped("malformed", dropped as u64);
                labels = read;
                (Some(seq), true)
            }
            Ok(LabelFrame::Info { name, message }) => {
                *self.state.error.lock() = Some(format!("the labeler says {name}: {message}"));
                (None, true)
            }
            Ok(LabelFrame::Error { error, .. })
                if error == "FutureCursor" && reading.cursor.is_some_and(|cursor| cursor > 0) =>
            {
                return Err(End::Restart);
            }
            Ok(LabelFrame::Error { error, message }) => return Err(End::Refused(error, message)),
            Ok(LabelFrame::Unknown { seq }) => (seq, true),
            Err(FrameError { seq, cause }) => {
                self.state.dropped(cause.cause(), 1);
                (seq, false)
            }
        };
        if let Some(seq) = seq.and_then(|seq| i64::try_from(seq).ok()) {
            reading.numbers.next(seq, self.setup.clock.now_ms())?;
            reading.cursor = Some(reading.cursor.map_or(seq, |cursor| cursor.max(seq)));
        }
        if good {
            *reading.frames += 1;
            reading.garbage = 0;
        } else {
            reading.garbage += 1;
            if reading.garbage >= MAX_GARBAGE {
                return Err(End::Garbage);
            }
        }
        reading.batch.extend(labels);
        Ok(())
    }

    /// Hands over what was read, if the cursor moved.
    async fn deliver(&self, reading: &mut Reading<'_>) -> Result<(), End> {
        let Reading { cursor, batch, target, .. } = reading;
        let Some(seq) = cursor.filter(|seq| self.state.seq() != Some(*seq)) else { return Ok(()) };
        let unchecked = std::mem::take(batch).into_iter().map(|label| (label, false)).collect();
        let mut labels = self.check(unchecked, target).await?;
        let forced = target.forced.is_some_and(|at| at.elapsed() < FORCED_AGAIN);
        let bad = labels.iter().any(|(_, good)| !good);
        if bad && self.config.signing_key.is_none() && !forced {
            target.forced = Some(Instant::now());
            if let Ok(renewed) = self.target(Freshness::Fresh).await {
                target.key = renewed.key;
                labels = self.check(labels, target).await?;
            }
        }
        let read = labels.len();
        let labels: Vec<Label> =
            labels.into_iter().filter(|(_, good)| *good).map(|(label, _)| label).collect();
        self.state.dropped("bad-signature", (read - labels.len()) as u64);
        let count = labels.len() as u64;
        let labeler = self.state.did.clone();
        self.setup.sink.apply_labels(LabelBatch { labeler, seq, labels }).await?;
        self.state.labels.fetch_add(count, Ordering::Relaxed);
        self.state.seq.store(seq, Ordering::Release);
        Ok(())
    }

    /// Checks the labels that are not yet found good.
    async fn check(
        &self,
        labels: Vec<(Label, bool)>,
        target: &Target,
    ) -> Result<Vec<(Label, bool)>, End> {
        let (did, key) = (self.state.did.clone(), target.key.clone());
        let few = labels.len() <= INLINE;
        let check = move || {
            let good = |label: &Label| label.src == did && label.verify_signature(&key);
            let each = labels.into_iter().map(|(label, known)| {
                let good = known || good(&label);
                (label, good)
            });
            each.collect::<Vec<_>>()
        };
        if few {
            return Ok(check());
        }
        tokio::task::spawn_blocking(check).await.map_err(|_| End::Cut)
    }
}

/// The WebSocket URL of a labeler that is known by its HTTP or WebSocket URL.
fn subscription_url(service: &str, cursor: i64) -> String {
    let service = service.trim_end_matches('/');
    let service = match service.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => service.to_owned(),
    };
    format!("{service}/xrpc/com.atproto.label.subscribeLabels?cursor={cursor}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Account, Documents, Relay, Step, error_frame, message, store, timing, until,
    };
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::repo::dag_cbor::Ipld;
    use crate::repo::testing::entry;

    #[derive(Default)]
    struct Collected(Mutex<Vec<LabelBatch>>);

    impl LabelSink for Collected {
        fn apply_labels(&self, batch: LabelBatch) -> BoxFuture<'_, Result<(), SinkClosed>> {
            self.0.lock().push(batch);
            Box::pin(async { Ok(()) })
        }
    }

    impl Collected {
        /// Value and negation of each label.
        fn labels(&self) -> Vec<(String, bool)> {
            let batches = self.0.lock();
            let labels = batches.iter().flat_map(|batch| &batch.labels);
            labels.map(|label| (label.val.clone(), label.neg == Some(true))).collect()
        }
    }

    fn label(src: &Did, val: &str, neg: bool) -> Label {
        Label {
            ver: Some(1),
            src: src.clone(),
            uri: "did:plc:subject".to_owned(),
            cid: None,
            val: val.to_owned(),
            neg: neg.then_some(true),
            cts: "2026-01-01T00:00:00.000Z".to_owned(),
            exp: None,
            sig: None,
        }
    }

    fn signed(mut label: Label, key: &PrivateKey) -> Label {
        label.sig = Some(key.sign(&label.signing_bytes()).to_vec());
        label
    }

    fn frame(seq: i64, labels: &[Label]) -> Bytes {
        let text = |text: &str| Ipld::String(text.to_owned());
        let each = |label: &Label| {
            let mut map = BTreeMap::from([
                entry("ver", Ipld::Integer(1)),
                entry("src", text(&label.src)),
                entry("uri", text(&label.uri)),
                entry("val", text(&label.val)),
                entry("cts", text(&label.cts)),
            ]);
            map.extend(label.neg.map(|neg| entry("neg", Ipld::Bool(neg))));
            map.extend(label.sig.clone().map(|sig| entry("sig", Ipld::Bytes(sig))));
            Ipld::Map(map)
        };
        let labels = Ipld::List(labels.iter().map(each).collect());
        let seq = entry("seq", Ipld::Integer(seq.into()));
        message("#labels", Ipld::Map([seq, entry("labels", labels)].into()))
    }

    fn config(account: &Account, service: &Relay, key: Option<PublicKey>) -> Config {
        Config { did: account.did.clone(), url: Some(service.url.clone()), signing_key: key }
    }

    fn labelers(store: &Store, directory: Arc<Documents>, sink: &Arc<Collected>) -> Labelers {
        Labelers::new(Setup {
            dialer: Dialer::new(true).unwrap(),
            public_url: "https://appview.example".to_owned(),
            store: store.clone(),
            directory,
            sink: Arc::clone(sink) as Arc<dyn LabelSink>,
            timing: timing(),
            clock: Clock::system(),
        })
    }

    #[tokio::test]
    async fn only_what_the_labeler_signed_passes() {
        let account = Account::new("did:plc:labeler");
        let (did, key) = (account.did.clone(), &account.key);
        let other = Did::parse("did:plc:other").unwrap();
        let bad = [
            label(&did, "unsigned", false),
            signed(label(&did, "forged", false), &PrivateKey::generate()),
            signed(label(&other, "foreign", false), key),
        ];
        let good = |val: &str, neg| signed(label(&did, val, neg), key);
        let relay = Relay::of(vec![
            (1, frame(1, &[good("a", false), bad[0].clone()])),
            (2, Bytes::from_static(b"garbage")),
            (3, frame(3, &bad[1..])),
            (4, frame(4, &[good("a", true)])),
        ])
        .await;
        let ((_dir, store), sink) = (store(), Arc::new(Collected::default()));
        // Neither document nor anything else is asked for when URL and key are given.
        let directory = Documents::of([]);
        let labelers = labelers(&store, Arc::clone(&directory), &sink);
        labelers.set(vec![config(&account, &relay, Some(key.public()))]).unwrap();
        until("all", || labelers.status()[0].seq == Some(4)).await;
        assert_eq!(sink.labels(), [("a".to_owned(), false), ("a".to_owned(), true)]);
        let status = labelers.status().remove(0);
        assert_eq!((status.labels, status.dropped["bad-signature"]), (2, 3));
        assert!(directory.asked.lock().is_empty() && status.connected);
        // The same entry is not disturbed, another one ends it.
        labelers.set(vec![config(&account, &relay, Some(key.public()))]).unwrap();
        assert_eq!(relay.cursors.lock().len(), 1);
        labelers.set(vec![]).unwrap();
        assert!(labelers.status().is_empty());
        labelers.stop().await;
    }

    #[tokio::test]
    async fn a_labeler_may_change_its_key() {
        let mut account = Account::new("did:plc:labeler");
        let directory = Documents::of([&account]);
        let good = |account: &Account, val| signed(label(&account.did, val, false), &account.key);
        let old = good(&account, "old");
        account.key = PrivateKey::generate();
        directory.put_fresh(&account);
        // Nothing says that the key changed but the first label that it signed; what the old one signed still counts.
        let thief = signed(label(&account.did, "forged", false), &PrivateKey::generate());
        let relay = Relay::of(vec![
            (1, frame(1, std::slice::from_ref(&old))),
            (2, frame(2, &[old, good(&account, "new"), thief])),
            (3, frame(3, &[good(&account, "newer")])),
        ])
        .await;
        let ((_dir, store), sink) = (store(), Arc::new(Collected::default()));
        let labelers = labelers(&store, Arc::clone(&directory), &sink);
        labelers.set(vec![config(&account, &relay, None)]).unwrap();
        until("all", || labelers.status()[0].seq == Some(3)).await;
        let vals: Vec<String> = sink.labels().into_iter().map(|(val, _)| val).collect();
        assert_eq!(vals, ["old", "old", "new", "newer"]);
        assert_eq!(labelers.status()[0].dropped["bad-signature"], 1);
        let asked: Vec<Freshness> = directory.asked.lock().iter().map(|(_, f)| *f).collect();
        assert_eq!(asked, [Freshness::Cached, Freshness::Fresh]);
        labelers.stop().await;
    }

    #[tokio::test]
    async fn a_labeler_that_starts_anew_is_read_from_its_beginning() {
        let account = Account::new("did:plc:labeler");
        let good = |val| signed(label(&account.did, val, false), &account.key);
        let frames = [frame(9, &[good("old")]), frame(1, &[good("new")])];
        let relay = Relay::start(move |number, cursor| match (number, cursor) {
            (0, _) => vec![Step::Send(frames[0].clone()), Step::Close],
            (_, Some(9)) => vec![Step::Send(error_frame("FutureCursor")), Step::Close],
            _ => vec![Step::Send(frames[1].clone())],
        })
        .await;
        let ((_dir, store), sink) = (store(), Arc::new(Collected::default()));
        let labelers = labelers(&store, Documents::of([]), &sink);
        labelers.set(vec![config(&account, &relay, Some(account.key.public()))]).unwrap();
        until("the new one", || labelers.status()[0].seq == Some(1)).await;
        assert_eq!(relay.cursors.lock()[..], [Some(0), Some(9), Some(0)]);
        assert_eq!(sink.labels().len(), 2);
        labelers.stop().await;
    }

    #[tokio::test]
    async fn a_number_that_leaps_ends_the_connection_and_not_the_cursor() {
        let account = Account::new("did:plc:labeler");
        let good = |val| signed(label(&account.did, val, false), &account.key);
        let frames = [frame(9, &[good("a")]), frame(i64::MAX, &[good("b")])];
        let relay = Relay::start(move |_, cursor| {
            let behind = frames.iter().skip(usize::from(cursor >= Some(9)));
            behind.cloned().map(Step::Send).collect()
        })
        .await;
        let ((_dir, store), sink) = (store(), Arc::new(Collected::default()));
        let labelers = labelers(&store, Documents::of([]), &sink);
        labelers.set(vec![config(&account, &relay, Some(account.key.public()))]).unwrap();
        until("three connections", || relay.cursors.lock().len() > 2).await;
        assert_eq!(relay.cursors.lock()[..3], [Some(0), Some(9), Some(9)]);
        assert_eq!(sink.labels(), [("a".to_owned(), false)]);
        let status = labelers.status().remove(0);
        assert!(status.seq == Some(9) && status.last_error.unwrap().contains("leaps from 9"));
        labelers.stop().await;
    }

    #[test]
    fn subscription_urls() {
        let path = "xrpc/com.atproto.label.subscribeLabels?cursor=0";
        for (service, want) in [
            ("https://mod.example", format!("wss://mod.example/{path}")),
            ("http://127.0.0.1:5/", format!("ws://127.0.0.1:5/{path}")),
            ("wss://mod.example/x", format!("wss://mod.example/x/{path}")),
        ] {
            assert_eq!(subscription_url(service, 0), want);
        }
    }
}
