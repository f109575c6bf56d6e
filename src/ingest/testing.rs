//! A relay, accounts, a directory and a sink in this process, for tests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use ipld_core::ipld::Ipld;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::directory::{Directory, Freshness};
use super::{Batch, Ingest, Options, Pending, Sink, SinkClosed, Timing};
use crate::crypto::PrivateKey;
use crate::event::{Belief, Body, Event, HostingStatus};
use crate::identity::{DidDoc, IdentityError};
use crate::net::{Dialer, NetError};
use crate::repo::dag_cbor::{encode, from_json};
use crate::repo::testing::{TestTree, car, commit, entry};
use crate::schema::cursors::CursorOf;
use crate::store::Store;
use crate::syntax::{Cid, Did, Handle, Tid, cid};
use crate::threads::{Backoff, Clock};
use crate::work::recheck::{Due, Question, Questions, Said};

/// What a relay does on a connection, after which it keeps it open.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Bytes),
    Close,
    /// Neither reads nor writes any more, and keeps the socket.
    Hang,
}

type Script = dyn Fn(usize, Option<i64>) -> Vec<Step> + Send + Sync;

/// A WebSocket server that follows a script for each connection.
pub(crate) struct Relay {
    pub(crate) url: String,
    /// The cursors that were asked for, by connection.
    pub(crate) cursors: Arc<Mutex<Vec<Option<i64>>>>,
    /// Frames that a socket took.
    pub(crate) sent: Arc<AtomicUsize>,
}

impl Relay {
    /// `script` gets the number of the connection and its cursor.
    pub(crate) async fn start(
        script: impl Fn(usize, Option<i64>) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let script: Arc<Script> = Arc::new(script);
        let (cursors, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let relay = Self { url, cursors: Arc::clone(&cursors), sent: Arc::clone(&sent) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, cursors, sent) =
                    (Arc::clone(&script), Arc::clone(&cursors), Arc::clone(&sent));
                tokio::spawn(async move {
                    let mut cursor = None;
                    #[allow(clippy::result_large_err)]
                    let look = |request: &Request, response: Response| {
                        let query = request.uri().query().unwrap_or_default();
                        cursor = query.strip_prefix("cursor=").and_then(|c| c.parse().ok());
                        Ok(response)
                    };
                    let accepted = tokio_tungstenite::accept_hdr_async(stream, look).await;
                    let Ok(mut socket) = accepted else { return };
                    let number = {
                        let mut cursors = cursors.lock();
                        cursors.push(cursor);
                        cursors.len() - 1
                    };
                    for step in script(number, cursor) {
                        match step {
                            Step::Send(bytes) => {
                                if socket.send(Message::Binary(bytes)).await.is_err() {
                                    return;
                                }
                                sent.fetch_add(1, Ordering::SeqCst);
                            }
                            Step::Hang => std::future::pending().await,
                            Step::Close => {
                                let _ = socket.close(None).await;
                                return;
                            }
                        }
                    }
                    while let Some(Ok(_)) = socket.next().await {}
                });
            }
        });
        relay
    }

    /// One connection sends everything behind its cursor, however often it comes.
    pub(crate) async fn of(frames: Vec<(i64, Bytes)>) -> Self {
        Self::start(move |_, cursor| {
            let behind = frames.iter().filter(|(seq, _)| cursor.is_none_or(|c| *seq > c));
            behind.map(|(_, frame)| Step::Send(frame.clone())).collect()
        })
        .await
    }
}

/// A frame of a kind.
pub(crate) fn message(kind: &str, body: Ipld) -> Bytes {
    let header = from_json(&json!({"op": 1, "t": kind}));
    [encode(&header), encode(&body)].concat().into()
}

pub(crate) fn error_frame(error: &str) -> Bytes {
    let parts = [json!({"op": -1}), json!({"error": error, "message": "x"})];
    parts.iter().flat_map(|part| encode(&from_json(part))).collect::<Vec<_>>().into()
}

const START_US: u64 = 1_750_000_000_000_000;

/// An account that commits likes of nothing in particular.
pub(crate) struct Account {
    pub(crate) did: Did,
    pub(crate) key: PrivateKey,
    records: BTreeMap<String, Cid>,
    revs: u64,
    start_us: u64,
    untold: bool,
}

impl Account {
    pub(crate) fn new(did: &str) -> Self {
        let did = Did::parse(did).unwrap();
        let records = BTreeMap::new();
        let key = PrivateKey::generate();
        Self { did, key, records, revs: 0, start_us: START_US, untold: false }
    }

    /// One whose clock is ahead by so many milliseconds.
    pub(crate) fn ahead(did: &str, ms: u64) -> Self {
        Self { start_us: START_US + ms * 1000, ..Self::new(did) }
    }

    /// The `#commit` of one more record, `filler` bytes larger than needed.
    pub(crate) fn commit(&mut self, seq: i64, filler: usize) -> Bytes {
        let record = from_json(&json!({"$type": "com.example.note", "text": "x".repeat(filler)}));
        self.commit_record(seq, "com.example.note", &encode(&record))
    }

    /// The `#commit` of a record, as its host sent it at this time.
    pub(crate) fn commit_sent(&mut self, seq: i64, time: &str) -> Bytes {
        let record = from_json(&json!({"$type": "com.example.note"}));
        self.commit_of(seq, "com.example.note", &encode(&record), time)
    }

    /// The `#commit` of one more record, as a host without sync 1.1 sends it, or who takes that away.
    pub(crate) fn commit_untold(&mut self, seq: i64) -> Bytes {
        self.untold = true;
        let frame = self.commit(seq, 0);
        self.untold = false;
        frame
    }

    pub(crate) fn commit_record(&mut self, seq: i64, collection: &str, record: &[u8]) -> Bytes {
        self.commit_of(seq, collection, record, "2026-01-01T00:00:00.000Z")
    }

    fn commit_of(&mut self, seq: i64, collection: &str, record: &[u8], time: &str) -> Bytes {
        let before = TestTree::build(&self.records).root;
        let since = (self.revs > 0).then(|| self.rev().to_string());
        self.revs += 1;
        let path = format!("{collection}/{}", self.rev());
        let record_cid = cid::for_record(record);
        self.records.insert(path.clone(), record_cid);
        let after = TestTree::build(&self.records);
        let block = commit(&self.key, &self.did, &self.rev().to_string(), &after.root);
        let commit_cid = cid::for_record(&block);
        let blocks = std::iter::once((&commit_cid, block.as_slice()))
            .chain(after.blocks.iter().map(|(c, b)| (c, b.as_slice())))
            .chain(std::iter::once((&record_cid, record)));
        let blocks = car(&commit_cid, blocks);
        let op = BTreeMap::from([
            entry("action", Ipld::String("create".into())),
            entry("path", Ipld::String(path)),
            entry("cid", Ipld::Link(record_cid)),
        ]);
        let text = |text: &str| Ipld::String(text.to_owned());
        let mut body = BTreeMap::from([
            entry("seq", Ipld::Integer(seq.into())),
            entry("rebase", Ipld::Bool(false)),
            entry("tooBig", Ipld::Bool(false)),
            entry("repo", text(&self.did)),
            entry("commit", Ipld::Link(commit_cid)),
            entry("rev", text(&self.rev().to_string())),
            entry("since", since.as_deref().map_or(Ipld::Null, text)),
            entry("blocks", Ipld::Bytes(blocks)),
            entry("ops", Ipld::List(vec![Ipld::Map(op)])),
            entry("blobs", Ipld::List(vec![])),
            entry("time", text(time)),
        ]);
        if since.is_some() && !self.untold {
            body.insert("prevData".to_owned(), Ipld::Link(before));
        }
        message("#commit", Ipld::Map(body))
    }

    pub(crate) fn identity(&self, seq: i64) -> Bytes {
        message("#identity", from_json(&json!({"seq": seq, "did": &*self.did, "time": ""})))
    }

    pub(crate) fn account(&self, seq: i64, active: bool, status: &str) -> Bytes {
        let body =
            json!({"seq": seq, "did": &*self.did, "time": "", "active": active, "status": status});
        message("#account", from_json(&body))
    }

    pub(crate) fn rev(&self) -> Tid {
        Tid::from_micros(self.start_us + self.revs, 1)
    }

    fn doc(&self) -> DidDoc {
        let handle = self.did.rsplit(':').next().unwrap();
        let key = |id| {
            let multibase = self.key.public().to_multibase();
            json!({"id": id, "type": "Multikey", "controller": &*self.did, "publicKeyMultibase": multibase})
        };
        let json = json!({
            "id": &*self.did,
            "alsoKnownAs": [format!("at://{handle}.example")],
            "verificationMethod": [key("#atproto"), key("#atproto_label")],
            "service": [{
                "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.example"
            }]
        });
        DidDoc::parse(&self.did, json.to_string().as_bytes()).unwrap()
    }
}

/// A directory that knows what it was told.
#[derive(Default)]
pub(crate) struct Documents {
    docs: Mutex<HashMap<Did, Arc<DidDoc>>>,
    /// What is found when caches are passed by, if it differs.
    fresh: Mutex<HashMap<Did, Arc<DidDoc>>>,
    /// DIDs that get no answer until `release`.
    pub(crate) hanging: Mutex<HashSet<Did>>,
    pub(crate) release: Notify,
    pub(crate) status: Mutex<HashMap<Did, HostingStatus>>,
    /// DIDs that were given up.
    pub(crate) tombstoned: Mutex<HashSet<Did>>,
    /// DIDs asked for, and how fresh.
    pub(crate) asked: Mutex<Vec<(Did, Freshness)>>,
    pub(crate) forgotten: Mutex<Vec<Did>>,
    /// While set, handles get no answer until `release`.
    pub(crate) names_hang: AtomicBool,
    /// Handles asked for.
    pub(crate) names_asked: AtomicUsize,
    /// DIDs of which it wants to be left alone.
    pub(crate) paused: Mutex<HashSet<Did>>,
    /// While set, whoever forgets something is held up.
    pub(crate) blocked: AtomicBool,
    /// While set, nobody gets an answer of it.
    pub(crate) away: AtomicBool,
    /// DIDs at which it panics.
    pub(crate) panics: Mutex<HashSet<Did>>,
}

impl Documents {
    pub(crate) fn of<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Arc<Self> {
        let this = Arc::new(Self::default());
        accounts.into_iter().for_each(|account| this.put(account));
        this
    }

    fn put(&self, account: &Account) {
        self.docs.lock().insert(account.did.clone(), Arc::new(account.doc()));
    }

    pub(crate) fn put_fresh(&self, account: &Account) {
        self.fresh.lock().insert(account.did.clone(), Arc::new(account.doc()));
    }

    pub(crate) fn hang(&self, account: &Account) {
        self.hanging.lock().insert(account.did.clone());
    }

    pub(crate) fn let_go(&self) {
        self.hanging.lock().clear();
        self.release.notify_waiters();
    }
}

impl Directory for Documents {
    fn forget(&self, did: &Did) {
        self.forgotten.lock().push(did.clone());
        assert!(!self.panics.lock().contains(did), "of the directory");
        while self.blocked.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn document<'a>(
        &'a self,
        did: &'a Did,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Arc<DidDoc>, IdentityError>> {
        Box::pin(async move {
            self.asked.lock().push((did.clone(), freshness));
            assert!(!self.panics.lock().contains(did), "of the directory");
            loop {
                let released = self.release.notified();
                if !self.hanging.lock().contains(did) {
                    break;
                }
                released.await;
            }
            if self.away.load(Ordering::SeqCst) {
                return Err(NetError::Timeout("test").into());
            }
            if self.paused.lock().contains(did) {
                return Err(IdentityError::Busy(Duration::from_secs(300)));
            }
            if freshness == Freshness::Fresh
                && let Some(doc) = self.fresh.lock().remove(did)
            {
                self.docs.lock().insert(did.clone(), doc);
            }
            if self.tombstoned.lock().contains(did) {
                return Err(IdentityError::Tombstoned);
            }
            self.docs.lock().get(did).cloned().ok_or(IdentityError::NotFound)
        })
    }

    fn handle_owner<'a>(
        &'a self,
        handle: &'a Handle,
        _: Freshness,
    ) -> BoxFuture<'a, Result<Option<Did>, IdentityError>> {
        self.names_asked.fetch_add(1, Ordering::SeqCst);
        let docs = self.docs.lock();
        let owner = docs.values().find(|doc| doc.handle.as_ref() == Some(handle));
        let owner = owner.map(|doc| doc.did.clone());
        Box::pin(async move {
            loop {
                let released = self.release.notified();
                if !self.names_hang.load(Ordering::SeqCst) {
                    return Ok(owner);
                }
                released.await;
            }
        })
    }

    fn hosting_status<'a>(
        &'a self,
        _: &'a str,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<HostingStatus, NetError>> {
        let status = self.status.lock().get(did).copied();
        Box::pin(async move { status.ok_or(NetError::Timeout("test")) })
    }
}

/// Keeps what it gets; each batch waits for a permit.
pub(crate) struct Collected {
    pub(crate) batches: Mutex<Vec<Batch>>,
    pub(crate) aside: Mutex<Vec<Event>>,
    /// Gaps, by the number of batches before them.
    pub(crate) gaps: Mutex<Vec<usize>>,
    pub(crate) gate: Semaphore,
    /// When there is a list, what was applied aside is not shown before it is gone.
    pub(crate) unseen: Mutex<Option<Vec<Pending>>>,
    /// What an index would raise, one that holds something of every account.
    pub(crate) questions: Arc<Questions>,
}

impl Collected {
    pub(crate) fn new() -> Arc<Self> {
        Self::gated(Semaphore::MAX_PERMITS)
    }

    pub(crate) fn gated(batches: usize) -> Arc<Self> {
        let gate = Semaphore::new(batches);
        let (batches, aside, gaps, unseen, questions) = Default::default();
        Arc::new(Self { batches, aside, gaps, gate, unseen, questions })
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.batches.lock().iter().flat_map(|batch| batch.events.clone()).collect()
    }

    pub(crate) fn seq(&self) -> Option<i64> {
        self.batches.lock().last().map(|batch| batch.seq)
    }
}

impl Sink for Collected {
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move {
            self.gate.acquire().await.map_err(|_| SinkClosed)?.forget();
            for event in &batch.events {
                let due = match event.body {
                    Body::IdentityDue { .. } | Body::IdentityClaimed => Due::Identity,
                    Body::Claimed(_, Belief::Full) => continue,
                    Body::Claimed(HostingStatus::Active, _) => Due::Status(Said::Back),
                    Body::Claimed(HostingStatus::Deleted, _) => Due::Status(Said::Deleted),
                    Body::Claimed(..) => Due::Status(Said::Away),
                    _ => continue,
                };
                let (did, upstream, line) = (event.did.clone(), event.upstream, event.line);
                self.questions.raise(Question { did, due, upstream, line });
            }
            self.batches.lock().push(batch);
            Ok(())
        })
    }

    fn apply_aside(
        &self,
        events: Vec<Event>,
        pending: Pending,
    ) -> BoxFuture<'_, Result<(), SinkClosed>> {
        self.aside.lock().extend(events);
        if let Some(unseen) = &mut *self.unseen.lock() {
            unseen.push(pending);
        }
        Box::pin(async { Ok(()) })
    }

    fn gap(&self, _: CursorOf, _: i64) -> BoxFuture<'_, Result<(), SinkClosed>> {
        self.gaps.lock().push(self.batches.lock().len());
        Box::pin(async { Ok(()) })
    }
}

pub(crate) fn timing() -> Timing {
    Timing {
        retry: Backoff::new(Duration::from_millis(10), 2, Duration::from_millis(50))
            .with_jitter(0.25),
        ..Timing::default()
    }
}

pub(crate) fn options(relay: &Relay) -> Options {
    Options {
        upstreams: vec![relay.url.clone()],
        jetstream: vec![],
        verify: true,
        public_url: "https://appview.example".to_owned(),
        lanes: 2,
        queue_bytes: 8 << 20,
        keys: 10_000,
        timing: timing(),
        clock: Clock::system(),
    }
}

/// A store in a folder that lives as long.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 64 << 20).unwrap();
    (dir, store)
}

pub(crate) fn start(
    options: Options,
    store: &Store,
    directory: &Arc<Documents>,
    sink: &Arc<Collected>,
) -> Ingest {
    let dialer = Dialer::new(true).unwrap();
    let (directory, sink) = (Arc::clone(directory), Arc::clone(sink));
    let questions = Arc::clone(&sink.questions);
    Ingest::start(options, &dialer, store, directory, sink, questions).unwrap()
}

/// Waits until `done`, or fails after a minute.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
