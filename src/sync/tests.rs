//! A CAR through to events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::json;

use super::HeldRecord;
use super::blocks::Blocks;
use super::import::{Expected, ImportError, Told, import};
use super::quota::Quota;
use crate::crypto::PrivateKey;
use crate::event::{Body, Op};
use crate::net::NetError;
use crate::repo::dag_cbor::{encode, from_json};
use crate::repo::testing::{TestTree, car, commit};
use crate::syntax::{Cid, Did, Tid, cid};
use crate::threads::{Budget, Held};

pub(super) const DID: &str = "did:plc:abc";
pub(super) const NOW_US: u64 = 1_750_000_000_000_000;

pub(super) struct Repo {
    pub(super) key: PrivateKey,
    pub(super) records: BTreeMap<String, Vec<u8>>,
}

impl Repo {
    pub(super) fn new(count: u64) -> Self {
        let record = |n: u64| encode(&from_json(&json!({"$type": "com.example.note", "n": n})));
        let path =
            |n: u64| format!("com.example.note/{}", Tid::from_micros(NOW_US - 1_000_000 + n, 1));
        let records = (0..count).map(|n| (path(n), record(n))).collect();
        Self { key: PrivateKey::generate(), records }
    }

    pub(super) fn car(&self, did: &str, rev: Tid) -> Vec<u8> {
        self.car_with(&self.records, did, rev)
    }

    pub(super) fn car_with(
        &self,
        records: &BTreeMap<String, Vec<u8>>,
        did: &str,
        rev: Tid,
    ) -> Vec<u8> {
        let cids: BTreeMap<String, Cid> =
            records.iter().map(|(path, record)| (path.clone(), cid::for_record(record))).collect();
        let tree = TestTree::build(&cids);
        let block = commit(&self.key, did, &rev.to_string(), &tree.root);
        let root = cid::for_record(&block);
        let blocks = std::iter::once((&root, block.as_slice()))
            .chain(tree.blocks.iter().map(|(c, b)| (c, b.as_slice())))
            .chain(records.iter().map(|(path, record)| (&cids[path], record.as_slice())));
        car(&root, blocks)
    }

    /// With so many blocks before the commit that nothing names, a quarter of a megabyte each.
    fn car_behind(&self, before: u8, did: &str, rev: Tid) -> Vec<u8> {
        let good = self.car(did, rev);
        let header = usize::from(good[0]) + 1;
        let junk: Vec<Vec<u8>> = (0..before).map(|n| vec![n; 256 << 10]).collect();
        let cids: Vec<Cid> = junk.iter().map(|block| cid::for_record(block)).collect();
        let blocks = car(&cids[0], cids.iter().zip(junk.iter().map(Vec::as_slice)));
        [&good[..header], &blocks[header..], &good[header..]].concat()
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

fn blocks(folder: &Path, memory: u64) -> Blocks {
    let held = Budget::new(1 << 30).take(memory).now_or_never().unwrap();
    Blocks::new(folder, Quota::fixed(held, memory / 2))
}

pub(super) fn rev() -> Tid {
    Tid::from_micros(NOW_US, 1)
}

fn run(
    car: &[u8],
    expected: &Expected,
    held: Vec<HeldRecord>,
) -> (Vec<Body>, Result<(), ImportError>) {
    let mut bodies = Vec::new();
    let each = |body| {
        bodies.push(body);
        true
    };
    let result = run_to(car, expected, held, each);
    (bodies, result)
}

fn run_to(
    car: &[u8],
    expected: &Expected,
    held: Vec<HeldRecord>,
    to: impl Told,
) -> Result<(), ImportError> {
    let (sender, pieces) = flume::unbounded();
    for piece in car.chunks(1000) {
        sender.send(Ok::<Bytes, NetError>(Bytes::copy_from_slice(piece))).unwrap();
    }
    drop(sender);
    let dir = tempfile::tempdir().unwrap();
    let blocks = blocks(dir.path(), 20_000);
    import(pieces.iter(), blocks, expected, || Ok(held), &AtomicU64::new(0), to)
}

/// Counts the records of each part, and the bytes that were waited for.
#[derive(Default)]
struct Rooms {
    waited: Vec<u64>,
    parts: Vec<usize>,
}

impl Told for &mut Rooms {
    fn room(&mut self, bytes: u64) -> Held {
        self.waited.push(bytes);
        Budget::new(1 << 30).try_take(bytes).unwrap()
    }

    fn tell(&mut self, body: Body, held: Held) -> bool {
        if matches!(body, Body::Part { .. }) {
            // Held bytes come in pieces of four thousand.
            assert!(held.bytes() < *self.waited.last().unwrap() + 4096);
            self.parts.push(changes(std::slice::from_ref(&body)).0);
        }
        true
    }
}

fn ops(bodies: &[Body]) -> impl Iterator<Item = &Op> {
    bodies.iter().flat_map(|body| match body {
        Body::Part { ops, .. } => ops.as_slice(),
        _ => &[],
    })
}

/// Puts and deletes.
fn changes(bodies: &[Body]) -> (usize, usize) {
    let (puts, deletes): (Vec<_>, Vec<_>) = ops(bodies).partition(|op| op.record.is_some());
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
    assert!(ops(&bodies).all(|op| op.created));
}

#[test]
fn parts_are_bounded_by_what_their_records_take() {
    let mut repo = Repo::new(0);
    for n in 0..7 {
        let record = json!({"$type": "com.example.note", "n": n, "text": "x".repeat(400_000)});
        repo.records.insert(format!("com.example.note/{n}"), encode(&from_json(&record)));
    }
    // Half a hundred kilobytes that take seven megabytes, and as many that would take more than any record may.
    let maps = |count: usize| encode(&from_json(&json!(vec![json!({"": {}}); count])));
    repo.records.insert("com.example.note/maps".to_owned(), maps(5_000));
    repo.records.insert("com.example.note/more".to_owned(), maps(20_000));
    let mut rooms = Rooms::default();
    run_to(&repo.car(DID, rev()), &repo.expected(), vec![], &mut rooms).unwrap();
    assert_eq!(rooms.parts, [2, 2, 2, 1, 1]);
    let (last, others) = rooms.waited.split_last().unwrap();
    assert!(others.iter().all(|bytes| *bytes == 1 << 20) && *last > 7_000_000, "{last}");
}

#[test]
fn who_takes_no_more_ends_it() {
    let repo = Repo::new(600);
    for taken in 0..4 {
        let (dir, mut left) = (tempfile::tempdir().unwrap(), taken);
        let go_on = |_| {
            left -= 1;
            left >= 0
        };
        let pieces = std::iter::once(Ok(Bytes::from(repo.car(DID, rev()))));
        let blocks = blocks(dir.path(), 1 << 20);
        let result =
            import(pieces, blocks, &repo.expected(), || Ok(vec![]), &AtomicU64::new(0), go_on);
        assert_eq!(result.unwrap_err().cause(), "stopped", "{taken}");
    }
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
    // In the tree, but no records by their paths or bytes; one was held, as it was before.
    repo.records.insert("com.example.notes/was".to_owned(), b"no CBOR".to_vec());
    repo.records.insert("com.example.notes/is".to_owned(), b"none".to_vec());
    repo.records.insert("nonsense/self".to_owned(), encode(&from_json(&json!({}))));
    let was = |rkey: &str| HeldRecord {
        collection: "com.example.notes".into(),
        rkey: rkey.into(),
        cid: None,
    };
    held.push(was("was"));
    let (bodies, result) = run(&repo.car(DID, rev()), &repo.expected(), held);
    result.unwrap();
    assert_eq!(changes(&bodies), (3, 7));
    let puts = ops(&bodies).filter(|op| op.record.is_some());
    let puts: Vec<(&str, bool)> = puts.map(|op| (&*op.collection, op.created)).collect();
    assert_eq!(puts[1..], [("com.example.note", false), ("com.example.notes", false)]);
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
    let padded = |before| repo.car_behind(before, DID, rev());
    assert_eq!(cause(&padded(5), &repo.expected()), "commit-late");
    assert!(run(&padded(4), &repo.expected(), vec![]).1.is_ok());
    // Nothing but the header.
    assert_eq!(cause(&good[..usize::from(good[0]) + 1], &repo.expected()), "car-cut");
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
    let blocks = blocks(dir.path(), 1 << 20);
    let result = import(
        pieces.iter(),
        blocks,
        &repo.expected(),
        || Ok(vec![]),
        &AtomicU64::new(0),
        |_| true,
    );
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
