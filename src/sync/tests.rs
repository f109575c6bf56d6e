//! A repo from a PDS in this process, through to events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::blocks::Blocks;
use super::import::{Expected, ImportError, import};
use super::{Held, HeldRecord, RepoSink, Resync, Setup, SinkClosed};
use crate::config::Network;
use crate::crypto::PrivateKey;
use crate::event::{Body, Event};
use crate::identity::Identity;
use crate::net::testing::serve;
use crate::net::{Dialer, HostThrottle, HttpClient, NetError};
use crate::repo::dag_cbor::{encode, from_json};
use crate::repo::testing::{TestTree, car, commit};
use crate::store::{Store, StoreError, Tx, Writer, meta};
use crate::syntax::{Cid, Did, Tid, cid};

const DID: &str = "did:plc:abc";
const NOW_US: u64 = 1_750_000_000_000_000;

struct Repo {
    key: PrivateKey,
    records: BTreeMap<String, Vec<u8>>,
}

impl Repo {
    fn new(count: u64) -> Self {
        let record = |n: u64| encode(&from_json(&json!({"$type": "com.example.note", "n": n})));
        let path =
            |n: u64| format!("com.example.note/{}", Tid::from_micros(NOW_US - 1_000_000 + n, 1));
        let records = (0..count).map(|n| (path(n), record(n))).collect();
        Self { key: PrivateKey::generate(), records }
    }

    fn car(&self, did: &str, rev: Tid) -> Vec<u8> {
        let cids: BTreeMap<String, Cid> = self
            .records
            .iter()
            .map(|(path, record)| (path.clone(), cid::for_record(record)))
            .collect();
        let tree = TestTree::build(&cids);
        let block = commit(&self.key, did, &rev.to_string(), &tree.root);
        let root = cid::for_record(&block);
        let blocks = std::iter::once((&root, block.as_slice()))
            .chain(tree.blocks.iter().map(|(c, b)| (c, b.as_slice())))
            .chain(self.records.iter().map(|(path, record)| (&cids[path], record.as_slice())));
        car(&root, blocks)
    }

    fn held(&self) -> Vec<HeldRecord> {
        let held = |(path, record): (&String, &Vec<u8>)| {
            let (collection, rkey) = path.split_once('/').unwrap();
            let cid = cid::digest(&cid::for_record(record));
            HeldRecord { collection: collection.into(), rkey: rkey.into(), cid }
        };
        self.records.iter().map(held).collect()
    }

    fn expected(&self) -> Expected {
        let (did, key) = (Did::parse(DID).unwrap(), self.key.public());
        Expected { did, key, now_us: NOW_US }
    }
}

fn rev() -> Tid {
    Tid::from_micros(NOW_US, 1)
}

fn run(
    car: &[u8],
    expected: &Expected,
    held: Vec<HeldRecord>,
) -> (Vec<Body>, Result<(), ImportError>) {
    let (sender, pieces) = flume::unbounded();
    for piece in car.chunks(1000) {
        sender.send(Ok::<Bytes, NetError>(Bytes::copy_from_slice(piece))).unwrap();
    }
    drop(sender);
    let dir = tempfile::tempdir().unwrap();
    let (mut bodies, blocks) = (Vec::new(), Blocks::new(dir.path(), 20_000));
    let result = import(
        &pieces,
        blocks,
        expected,
        || Ok(held),
        |body| {
            bodies.push(body);
            true
        },
    );
    (bodies, result)
}

/// Puts and deletes.
fn changes(bodies: &[Body]) -> (usize, usize) {
    let ops = bodies.iter().flat_map(|body| match body {
        Body::Part { ops, .. } => ops.as_slice(),
        _ => &[],
    });
    let (puts, deletes): (Vec<_>, Vec<_>) = ops.partition(|op| op.record.is_some());
    (puts.len(), deletes.len())
}

#[test]
fn a_new_repo_is_all_puts_in_parts_and_then_the_end() {
    let repo = Repo::new(1200);
    let (bodies, result) = run(&repo.car(DID, rev()), &repo.expected(), vec![]);
    result.unwrap();
    assert_eq!((bodies.len(), changes(&bodies)), (5, (1200, 0)));
    assert!(matches!(bodies.first(), Some(Body::Fetching { rev: r, .. }) if *r == rev()));
    assert!(matches!(bodies.last(), Some(Body::Fetched { rev: r, .. }) if *r == rev()));
}

#[test]
fn only_differences_are_told() {
    let mut repo = Repo::new(300);
    let mut held = repo.held();
    held[7].cid = Some([1; 32]);
    held[8].cid = None;
    let gone: Vec<String> = repo.records.keys().skip(100).take(3).cloned().collect();
    gone.iter().for_each(|path| drop(repo.records.remove(path)));
    // Sorts before and after everything in the repo; `.` sorts before `/`.
    for collection in ["com.example", "com.example.note.x", "zzz.example.note"] {
        held.insert(0, HeldRecord { collection: collection.into(), rkey: "k".into(), cid: None });
    }
    repo.records.insert("com.example.notes/new".to_owned(), encode(&from_json(&json!({}))));
    let (bodies, result) = run(&repo.car(DID, rev()), &repo.expected(), held);
    result.unwrap();
    assert_eq!(changes(&bodies), (3, 6));
    let Body::Part { ops, .. } = &bodies[1] else { panic!() };
    let collections: Vec<&str> = ops.iter().map(|op| &*op.collection).collect();
    assert_eq!(collections[..2], ["com.example.note.x", "com.example.note"]);
}

#[test]
fn what_is_not_the_accounts_repo_is_refused() {
    let repo = Repo::new(20);
    let good = repo.car(DID, rev());
    let cause = |car: &[u8], expected: &Expected| {
        let (bodies, result) = run(car, expected, vec![]);
        assert!(!bodies.iter().any(|body| matches!(body, Body::Fetched { .. })));
        result.unwrap_err().cause()
    };
    let other = Repo::new(0);
    assert_eq!(cause(&good, &other.expected()), "bad-signature");
    assert_eq!(cause(&repo.car("did:plc:other", rev()), &repo.expected()), "wrong-did");
    let future = Tid::from_micros(NOW_US + 3_600_000_000, 1);
    assert_eq!(cause(&repo.car(DID, future), &repo.expected()), "rev-future");
    assert_eq!(cause(&b"<html>".repeat(20), &repo.expected()), "bad-car");
    assert_eq!(cause(&[], &repo.expected()), "car-cut");
    // A stream that was cut anywhere, also between two sections, has no end.
    for len in (100..good.len()).step_by(97) {
        assert_eq!(cause(&good[..len], &repo.expected()), "car-cut", "{len}");
    }
}

#[test]
fn a_failed_connection_is_no_end() {
    let repo = Repo::new(3);
    let (sender, pieces) = flume::unbounded();
    sender.send(Ok(Bytes::from(repo.car(DID, rev())))).unwrap();
    sender.send(Err(NetError::Timeout("body"))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let blocks = Blocks::new(dir.path(), 1 << 20);
    let result = import(&pieces, blocks, &repo.expected(), || Ok(vec![]), |_| true);
    assert_eq!(result.unwrap_err().cause(), "timeout");
}

#[test]
fn a_record_that_breaks_its_lexicon_is_put_but_marked() {
    let mut repo = Repo::new(0);
    let like = encode(&from_json(&json!({"$type": "app.bsky.feed.like"})));
    repo.records.insert(format!("app.bsky.feed.like/{}", rev()), like);
    let (bodies, result) = run(&repo.car(DID, rev()), &repo.expected(), vec![]);
    result.unwrap();
    let Body::Part { ops, .. } = &bodies[1] else { panic!() };
    let ops: Arc<[_]> = ops.as_slice().into();
    assert!(!ops[0].record.as_ref().unwrap().valid);
}

/// Takes everything in, and the mark away if it is told to.
struct Takes {
    writer: Writer,
    unmark: bool,
}

impl RepoSink for Takes {
    fn apply_parts(&self, did: Did, events: Vec<Event>) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let ends = events.iter().any(|event| matches!(event.body, Body::Fetched { .. }));
        let unmark = self.unmark && ends;
        let job = self.writer.durable(move |tx| {
            let actor = tx.intern_actor(&did)?;
            if unmark {
                meta::remove_resync(tx, actor);
            }
            Ok(())
        });
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }
}

impl Held for Takes {
    fn held(&self, _: &Did) -> Result<Vec<HeldRecord>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_host_that_is_behind_is_asked_again_later() {
    for unmark in [true, false] {
        let repo = Repo::new(3);
        let car = repo.car(DID, rev());
        let key = repo.key.public().to_multibase();
        let fetches = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&fetches);
        let url = serve(move |request| {
            let host = request.headers()["host"].to_str().unwrap();
            let document = json!({
                "id": DID,
                "verificationMethod": [{"id": "#atproto", "type": "Multikey", "controller": DID,
                    "publicKeyMultibase": key}],
                "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": format!("http://{host}")}],
            });
            http::Response::new(match request.uri().path() {
                "/xrpc/com.atproto.sync.getRepo" => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    car.clone()
                }
                _ => document.to_string().into_bytes(),
            })
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let mark = |tx: &mut Tx<'_>| {
            let actor = tx.intern_actor(DID)?;
            meta::add_resync(tx, actor);
            Ok(())
        };
        writer.durable(mark).await.unwrap();
        let dialer = Dialer::new(true).unwrap();
        let network = Network { plc_url: url, ..Network::default() };
        let takes = Arc::new(Takes { writer: writer.clone(), unmark });
        let setup = Setup {
            identity: Identity::new(&network, &dialer, "https://appview.example", 10),
            http: HttpClient::new(&dialer, "https://appview.example"),
            throttle: HostThrottle::new(2),
            store: store.clone(),
            held: Arc::clone(&takes) as _,
            sink: takes,
            spill: dir.path().to_owned(),
            memory: 1 << 20,
            concurrency: 2,
        };
        let (_requests, wanted) = flume::unbounded();
        let resync = Resync::start(setup, wanted);
        while resync.status().done + resync.status().failed.len() as u64 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let status = resync.status();
        assert_eq!((status.done, status.parked), if unmark { (1, 0) } else { (0, 1) });
        assert_eq!(status.failed.contains_key("behind"), !unmark, "{status:?}");
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        resync.stop().await;
        writer.stop().await;
        thread.join().unwrap().unwrap();
    }
}
