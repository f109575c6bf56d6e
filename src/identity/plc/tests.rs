//! The export of a directory in this process, followed and taken from files.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::chain::testing::Account;
use super::file::PlcFileError;
use super::follow::FollowTiming;
use super::*;
use crate::config::Network;
use crate::crypto::PrivateKey;
use crate::identity::Identity;
use crate::net::Dialer;
use crate::net::testing::serve;
use crate::schema::Edit;
use crate::schema::plc::{Cursor, PlcOp};
use crate::schema::rows::{IdentityRow, identity_key};
use crate::store::Ks;
use crate::syntax::datetime::{format_ms, normalize_ms};
use crate::threads::Backoff;
use crate::work::recheck;

const START: i64 = 1_700_000_000_000;
const FAST: FollowTiming = FollowTiming {
    soon: Duration::from_millis(2),
    idle: Duration::from_millis(5),
    retry: Backoff::new(Duration::from_millis(5), 2, Duration::from_secs(300)),
};

fn did(n: usize) -> Did {
    Did::parse(&format!("did:plc:{n:a>24}")).unwrap()
}

/// An operation of a DID; `n` is in its handle.
fn line(who: usize, time: i64, n: usize) -> Value {
    json!({
        "did": did(who).as_str(), "cid": format!("bafy{n}"), "nullified": false, "createdAt": format_ms(time),
        "operation": {
            "type": "plc_operation", "verificationMethods": {}, "alsoKnownAs": [format!("at://h{n}.example")],
            "services": { "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example" } },
        },
    })
}

fn tombstone(who: usize, time: i64) -> Value {
    let operation = json!({ "type": "plc_tombstone" });
    json!({ "did": did(who).as_str(), "nullified": false, "createdAt": format_ms(time), "operation": operation })
}

/// What the directory has and what it was asked.
#[derive(Default)]
struct Directory {
    lines: Mutex<Vec<Value>>,
    /// The `after` of each page.
    pages: Mutex<Vec<String>>,
    documents: AtomicUsize,
    /// What is answered instead of the next pages, the last first.
    failures: Mutex<Vec<Response<String>>>,
}

impl Directory {
    fn page(&self, after: &str, numbered: bool) -> String {
        self.pages.lock().push(after.to_owned());
        let lines = self.lines.lock();
        let seq = after.parse::<usize>().ok().filter(|_| numbered);
        let lines = lines.iter().enumerate().filter_map(|(n, line)| {
            let mut line = line.clone();
            let behind = match seq {
                Some(seq) => {
                    line["seq"] = (n + 1).into();
                    line.as_object_mut().unwrap().remove("nullified");
                    n + 1 > seq
                }
                None => normalize_ms(line["createdAt"].as_str().unwrap()) > normalize_ms(after),
            };
            behind.then(|| line.to_string())
        });
        lines.take(1000).collect::<Vec<_>>().join("\n")
    }
}

struct World {
    directory: Arc<Directory>,
    store: Store,
    writer: Writer,
    identity: Identity,
    table: Arc<PlcTable>,
    export: PlcExport,
    outdated: Arc<Mutex<Vec<Did>>>,
    dir: tempfile::TempDir,
}

impl World {
    async fn new(numbered: bool) -> Self {
        let directory = Arc::new(Directory::default());
        let asked = Arc::clone(&directory);
        let url = serve(move |request| {
            let query = request.uri().query().unwrap_or_default();
            if request.uri().path() != "/export" {
                asked.documents.fetch_add(1, Ordering::SeqCst);
                return Response::builder().status(404).body("{}".to_owned()).unwrap();
            }
            if let Some(failure) = asked.failures.lock().pop() {
                return failure;
            }
            let after = query.strip_prefix("count=1000&after=").unwrap();
            Response::new(asked.page(after, numbered))
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let network = Network { plc_url: url.clone(), ..Network::default() };
        let dialer = Dialer::new(false).unwrap();
        let identity = Identity::new(&network, &dialer, "https://appview.example", 100);
        let table = Arc::new(PlcTable::load(store.clone(), &url, Clock::system()).unwrap());
        identity.look_in(Arc::clone(&table));
        let outdated = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&outdated);
        let tell: Outdated = Box::new(move |did| told.lock().push(did.clone()));
        let export = PlcExport::new(&url, writer.clone(), Arc::clone(&table), tell).unwrap();
        Self { directory, store, writer, identity, table, export, outdated, dir }
    }

    fn add(&self, lines: impl IntoIterator<Item = Value>) {
        self.directory.lines.lock().extend(lines);
    }

    /// Follows until the end was seen twice more.
    async fn follow(&self) {
        let stop = CancellationToken::new();
        let source = self.identity.plc_source();
        let run = tokio::spawn(self.export.clone().follow_at(source, stop.clone(), FAST));
        let ends = || self.export.status().following.is_some_and(|f| f.caught_up);
        for _ in 0..2 {
            until("the end", ends).await;
            let pages = self.directory.pages.lock().len();
            until("another page", || self.directory.pages.lock().len() > pages).await;
        }
        stop.cancel();
        run.await.unwrap();
    }

    fn handle(&self, who: usize) -> Option<String> {
        match plc::get(&self.store.snapshot(), &did(who)).unwrap()? {
            PlcState::Document(doc) => doc.handle,
            other => Some(format!("{other:?}")),
        }
    }

    fn cursor(&self) -> Option<Cursor> {
        let directory = self.export.0.directory.clone();
        plc::progress(&self.store.snapshot(), &directory).unwrap().cursor
    }

    async fn put(&self, ops: Vec<PlcOp>) {
        let ops = ops.into_iter().map(|op| Operation { op, signed: None }).collect();
        self.export.apply(ops, Batch::default()).await.unwrap();
    }

    fn file(&self, name: &str, lines: &[Value]) -> PathBuf {
        let path = self.dir.path().join(name);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn import(&self, files: &[&Path], partial: bool) -> Result<FileStatus, PlcFileError> {
        let files = files.iter().map(|path| path.to_path_buf()).collect();
        self.export.import(files, partial, CancellationToken::new())?.await
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never: {what}");
}

/// 2,600 DIDs; the ends of the pages lie within a millisecond.
fn many() -> Vec<Value> {
    let time = |n: usize| match n {
        980..1020 => START + 980,
        1990..2010 => START + 1990,
        n => START + i64::try_from(n).unwrap(),
    };
    (0..2600).map(|n| line(n, time(n), n)).collect()
}

#[tokio::test]
async fn an_export_is_followed_to_its_end_and_on() {
    for numbered in [true, false] {
        let w = World::new(numbered).await;
        w.add(many());
        w.follow().await;
        assert_eq!(w.export.status().dids, 2600, "numbered: {numbered}");
        assert!(
            [0, 999, 1000, 1001, 2000, 2599]
                .iter()
                .all(|n| w.handle(*n) == Some(format!("h{n}.example")))
        );
        let last = Cursor { seq: numbered.then_some(2600), time: START + 2599 };
        assert_eq!(w.cursor(), Some(last));
        // What comes later, some of it late.
        w.add([
            line(7, START + 5000, 8000),
            tombstone(8, START + 5000),
            line(9, START + 5001, 8001),
        ]);
        let pages = w.directory.pages.lock().len();
        w.follow().await;
        assert_eq!(w.handle(7).as_deref(), Some("h8000.example"));
        assert_eq!(w.handle(8).as_deref(), Some("Tombstone"));
        let status = w.export.status();
        assert_eq!((status.dids, status.tombstones, status.hosts), (2600, 1, 1));
        let next = w.directory.pages.lock()[pages].clone();
        assert_eq!(next, if numbered { "2600".to_owned() } else { format_ms(START + 1599) });
        // Another process goes on there too.
        let again = PlcExport::new(
            &w.export.0.directory,
            w.writer.clone(),
            Arc::clone(&w.table),
            Box::new(|_| {}),
        );
        assert_eq!(again.unwrap().0.progress.lock().cursor, w.cursor());
    }
}

#[tokio::test]
async fn what_shows_late_in_an_export_by_time_is_not_missed() {
    let w = World::new(false).await;
    w.add([line(1, START, 1), line(2, START + 500, 2)]);
    w.follow().await;
    // Taken before the last one, but visible after it.
    w.directory.lines.lock().insert(1, line(3, START + 499, 3));
    w.follow().await;
    assert_eq!(w.handle(3).as_deref(), Some("h3.example"));
}

#[tokio::test]
async fn a_page_of_one_millisecond_does_not_hold_up_the_rest() {
    let w = World::new(false).await;
    w.add((0..1000).map(|n| line(n, START, n)));
    w.add([line(2000, START + 1, 7)]);
    w.follow().await;
    assert_eq!((w.export.status().dids, w.cursor().unwrap().time), (1001, START + 1));
}

#[tokio::test]
async fn operations_that_were_taken_back_do_not_win() {
    for numbered in [true, false] {
        let w = World::new(numbered).await;
        let mut hijacked = line(1, START + 1, 666);
        hijacked["nullified"] = true.into();
        // The fork that took it back was made from the first operation.
        w.add([line(1, START, 1), hijacked, line(1, START + 2, 2)]);
        w.follow().await;
        assert_eq!(w.handle(1).as_deref(), Some("h2.example"), "numbered: {numbered}");
    }
    let w = World::new(false).await;
    let mut last = line(1, START + 1, 666);
    last["nullified"] = true.into();
    w.add([line(1, START, 1), last]);
    w.follow().await;
    assert_eq!(w.handle(1).as_deref(), Some("h1.example"));
    assert_eq!(w.cursor().unwrap().time, START + 1);
}

#[tokio::test]
async fn failures_are_waited_out_and_bad_lines_passed_over() {
    let w = World::new(true).await;
    let answer = |status: u16, body: &str| {
        Response::builder().status(status).header("retry-after", "0").body(body.to_owned()).unwrap()
    };
    w.directory.failures.lock().extend([
        answer(200, "<html>\nnot the export\n</html>"),
        answer(429, "later"),
        answer(500, ""),
    ]);
    let bad = json!({ "did": "nonsense", "createdAt": format_ms(START + 1), "operation": { "type": "x" } });
    let future = json!({ "createdAt": format_ms(START + 3), "type": "something_new" });
    w.add([line(1, START, 1), bad, line(2, START + 2, 2), future]);
    w.follow().await;
    assert_eq!((w.export.status().dids, w.cursor().unwrap().seq), (2, Some(4)));
    assert!(w.directory.failures.lock().is_empty());
    let stop = CancellationToken::new();
    w.directory.failures.lock().extend((0..1000).map(|_| answer(503, "")));
    tokio::spawn(w.export.clone().follow_at(w.identity.plc_source(), stop.clone(), FAST));
    until("an error", || w.export.status().following.is_some_and(|f| f.error.is_some())).await;
    stop.cancel();
    assert_eq!(w.cursor().unwrap().seq, Some(4));
}

/// A signed operation as a line, and its DID.
fn signed(account: &mut Account, operation: Value, time: i64) -> (Did, Value) {
    let operation = account.sign(operation);
    let did = Did::parse(&account.did).unwrap();
    let line = json!({ "did": did.as_str(), "createdAt": format_ms(time), "operation": operation });
    (did, line)
}

/// A new account with this handle.
fn account(handle: &str) -> (Did, Value) {
    let mut account = Account::new();
    let operation = account.document(handle);
    signed(&mut account, operation, START)
}

#[tokio::test]
async fn nobody_is_asked_for_what_is_known() {
    let w = World::new(true).await;
    let key = PrivateKey::generate().public();
    let (mut one, mut two, mut three) = (Account::new(), Account::new(), Account::new());
    let mut full = one.document("h1.example");
    full["verificationMethods"] =
        json!({ "atproto": key.to_did_key(), "atproto_label": key.to_did_key() });
    full["services"]["atproto_labeler"] =
        json!({ "type": "AtprotoLabeler", "endpoint": "https://labeler.example/" });
    let (full_did, full) = signed(&mut one, full, START);
    let given_up = two.document("h2.example");
    let (gone_did, given_up) = signed(&mut two, given_up, START);
    let (_, gone) = signed(&mut two, json!({ "type": "plc_tombstone" }), START + 1);
    let mut huge = three.document("h3.example");
    huge["services"]["x"] = json!({ "type": "x", "endpoint": "x".repeat(5000) });
    let (huge_did, huge) = signed(&mut three, huge, START);
    // Nobody signed these: a made-up account, and an operation and an end of those above.
    let mut hijacked = line(1, START + 2, 666);
    hijacked["did"] = json!(full_did.as_str());
    let (victim, real) = account("h5.example");
    let mut ended = tombstone(1, START + 2);
    ended["did"] = json!(victim.as_str());
    w.add([full.clone(), given_up, huge, line(4, START, 4), gone, real, ended]);
    w.follow().await;
    w.table.covers(Clock::system().now_ms());
    let document = json!({
        "id": full_did.as_str(), "alsoKnownAs": ["at://h1.example"],
        "verificationMethod": [
            { "id": format!("{full_did}#atproto"), "type": "Multikey", "publicKeyMultibase": key.to_multibase() },
            { "id": format!("{full_did}#atproto_label"), "type": "Multikey", "publicKeyMultibase": key.to_multibase() },
        ],
        "service": [
            { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example" },
            { "id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": "https://labeler.example/" },
        ],
    });
    let expected = DidDoc::parse(&full_did, document.to_string().as_bytes()).unwrap();
    for freshness in [Freshness::Cached, Freshness::Recent] {
        assert_eq!(*w.identity.resolve_did(&full_did, freshness).await.unwrap(), expected);
        let gone = w.identity.resolve_did(&gone_did, freshness).await;
        assert_eq!(gone.unwrap_err(), IdentityError::Tombstoned);
    }
    let asked = || w.directory.documents.load(Ordering::SeqCst);
    assert_eq!(asked(), 0);
    assert_eq!(w.identity.recorded(&full_did), Some(expected));
    let ask = [huge_did, did(99), did(4), victim];
    for (n, who) in ask.iter().enumerate() {
        assert_eq!(w.identity.recorded(who), None);
        let answer = w.identity.resolve_did(who, Freshness::Cached).await;
        assert_eq!(answer, Err(IdentityError::NotFound), "as the directory says, not the export");
        assert_eq!(asked(), n + 1, "what is too long, too new or not signed is asked for");
    }
    assert!(w.identity.resolve_did(&full_did, Freshness::Fresh).await.is_err());
    assert_eq!(asked(), 5, "whoever needs it fresh asks");
    w.identity.invalidate(&full_did);
    w.add([hijacked]);
    w.follow().await;
    w.table.covers(Clock::system().now_ms() + 1);
    assert!(w.identity.resolve_did(&full_did, Freshness::Cached).await.is_err());
    assert_eq!(asked(), 6);
}

#[tokio::test]
async fn a_file_tells_what_is_not_proven() {
    let w = World::new(true).await;
    let (_, good) = account("h1.example");
    let done = w.import(&[&w.file("x.jsonl", &[good, line(2, START, 2)])], false).await.unwrap();
    assert_eq!((done.changed, done.unproven, done.bad), (2, 1, 0));
}

#[tokio::test]
async fn what_is_in_doubt_is_asked_for_until_the_export_is_past_the_doubt() {
    let w = World::new(true).await;
    let accounts: Vec<_> = (0..=4).map(|n| account(&format!("h{n}.example"))).collect();
    w.add(accounts.iter().map(|(_, line)| line.clone()));
    let did = |n: usize| accounts[n].0.clone();
    w.follow().await;
    let is_known = async |who| {
        let (table, did) = (Arc::clone(&w.table), did(who));
        tokio::task::spawn_blocking(move || table.lookup(&did, Freshness::Cached).is_some())
            .await
            .unwrap()
    };
    let now = Clock::system().now_ms();
    w.table.covers(now - 100);
    assert!(is_known(1).await && is_known(2).await);
    w.identity.invalidate(&did(1));
    assert!(!is_known(1).await && is_known(2).await, "an #identity");
    w.table.covers(Clock::system().now_ms() + 1);
    assert!(is_known(1).await, "the export is past it");
    assert!(w.table.doubts.lock().by_did.is_empty());
    let row = IdentityRow { checked: now + 100_000, ..IdentityRow::default() };
    let (third, fourth) = (did(3), did(4));
    let read = w.writer.durable(move |tx| {
        let read = tx.intern_actor(&third)?;
        tx.put(Ks::Actor, &identity_key(read), &row.encode());
        let due = tx.intern_actor(&fourth)?;
        recheck::add_due(tx, due, Due::Identity);
        Ok(())
    });
    read.await.unwrap();
    assert!(!is_known(3).await, "its document was read since");
    // What an earlier process was told and did not look into.
    let old = PlcTable::load(w.store.clone(), &w.export.0.directory, Clock::system()).unwrap();
    old.covered.store(now, Ordering::SeqCst);
    assert_eq!(old.trusted(&did(4), Freshness::Cached), None);
    for (age, cached, recent) in [(0, true, true), (120, true, false), (3700, false, false)] {
        old.covered.store(Clock::system().now_ms() - age * 1000, Ordering::SeqCst);
        assert_eq!(old.trusted(&did(1), Freshness::Cached).is_some(), cached, "{age}");
        assert_eq!(old.trusted(&did(1), Freshness::Recent).is_some(), recent, "{age}");
    }
    old.covers(Clock::system().now_ms());
    assert_eq!(old.trusted(&Did::parse("did:web:x.example").unwrap(), Freshness::Cached), None);
}

#[tokio::test]
async fn accounts_are_looked_at_again_when_an_operation_is_newer_than_the_last_look() {
    let w = World::new(true).await;
    let row = IdentityRow { checked: START + 10, ..IdentityRow::default() };
    let job = w.writer.durable(move |tx| {
        let actor = tx.intern_actor(&did(1))?;
        tx.put(Ks::Actor, &identity_key(actor), &row.encode());
        Ok(())
    });
    job.await.unwrap();
    w.add([line(1, START, 1), line(2, START + 20, 2)]);
    w.follow().await;
    assert!(w.outdated.lock().is_empty());
    w.add([line(1, START + 30, 3)]);
    w.follow().await;
    assert_eq!(*w.outdated.lock(), [did(1)]);
    let due = recheck::dues(&w.store.snapshot()).unwrap();
    assert_eq!(due.len(), 1, "holds over a crash: {due:?}");
}

#[tokio::test]
async fn files_are_taken_in_packed_or_not() {
    let lines = many();
    for packed in [false, true] {
        let w = World::new(true).await;
        let (first, second) =
            (w.file("a.jsonl", &lines[..1500]), w.file("b.jsonl", &lines[1500..]));
        if packed {
            for path in [&first, &second] {
                let text = std::fs::read(path).unwrap();
                let mut gz =
                    GzEncoder::new(std::fs::File::create(path).unwrap(), Compression::fast());
                gz.write_all(&text).unwrap();
                gz.finish().unwrap();
            }
        }
        let done = w.import(&[&first, &second], false).await.unwrap();
        assert_eq!((done.lines, done.changed, done.bad, done.resumed), (2600, 2600, 0, 0));
        assert_eq!((done.followed_from, done.bytes, done.running), (Some(true), done.size, false));
        assert_eq!(w.cursor(), Some(Cursor { seq: None, time: START + 2599 }));
        assert_eq!(plc::place(&w.store.snapshot()).unwrap(), None);
        let again = w.import(&[&first, &second], false).await.unwrap();
        assert_eq!((again.changed, w.export.status().dids), (0, 2600));
    }
}

#[tokio::test]
async fn the_directory_is_followed_from_the_end_of_a_file_only_if_nothing_is_missing() {
    let lines = many();
    let part = |from: usize, to: usize| lines[from..to].to_vec();
    let swapped = [part(5, 10), vec![line(1, START - 100_000, 1)]].concat();
    for (held, file, partial, want) in [
        (None, part(5, 10), false, Some(9)),
        (None, part(5, 10), true, None),
        (None, swapped, false, None),
        (Some(7), part(5, 10), false, Some(9)),
        (Some(4), part(5, 10), false, None),
        (Some(20), part(5, 10), false, None),
    ] {
        let w = World::new(false).await;
        let before = held.map(|n| Cursor { seq: None, time: START + n });
        let batch = Batch { cursor: before, ..Batch::default() };
        w.export.apply(vec![], batch).await.unwrap();
        let path = w.file("x.jsonl", &file);
        w.import(&[&path], partial).await.unwrap();
        let want = want.map(|n| Cursor { seq: None, time: START + n }).or(before);
        assert_eq!(w.cursor(), want, "{held:?} {partial}");
        assert_eq!(w.handle(6).as_deref(), Some("h6.example"), "it is in in any case");
    }
}

#[tokio::test]
async fn an_interrupted_file_goes_on_where_it_was() {
    let w = World::new(true).await;
    let lines: Vec<Value> =
        (0..30_000).map(|n| line(n, START + i64::try_from(n).unwrap(), n)).collect();
    let path = w.file("x.jsonl", &lines);
    let stop = CancellationToken::new();
    let work = tokio::spawn(w.export.import(vec![path.clone()], false, stop.clone()).unwrap());
    let busy = w.export.import(vec![path.clone()], false, stop.clone());
    assert!(matches!(busy.err(), Some(PlcFileError::Busy)));
    until("a batch", || w.export.status().file.is_some_and(|f| f.lines >= 2000)).await;
    stop.cancel();
    assert!(matches!(work.await.unwrap(), Err(PlcFileError::Stopped)));
    // Whatever waits in the writer's queue is done when this is.
    w.put(vec![]).await;
    let place = plc::place(&w.store.snapshot()).unwrap().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let done = text[..usize::try_from(place.offset).unwrap()].lines().count();
    assert_eq!((place.lines, w.export.status().dids), (done as u64, done as u64));
    assert!(done < 30_000, "it was interrupted");
    assert_eq!(w.cursor(), None, "the cursor goes forward at the end");
    let finished = w.import(&[&path], false).await.unwrap();
    assert_eq!((finished.resumed, finished.lines), (place.lines, 30_000));
    assert_eq!(finished.changed, 30_000 - place.lines);
    assert_eq!((w.export.status().dids, finished.followed_from), (30_000, Some(true)));
    assert_eq!(w.cursor().unwrap().time, START + 29_999);
}

#[tokio::test]
async fn files_that_are_something_else() {
    let w = World::new(true).await;
    let write = |name: &str, bytes: &[u8]| {
        let path = w.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut cut = GzEncoder::new(Vec::new(), Compression::fast());
    cut.write_all(line(1, START, 1).to_string().as_bytes()).unwrap();
    let cut = cut.finish().unwrap();
    for (path, want) in [
        (write("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0]), "unpack it first"),
        (write("html", b"<html>\n</html>"), "no line of it is an operation"),
        (write("empty", b""), "no line of it is an operation"),
        (write("cut", &cut[..cut.len() - 9]), "cut: "),
        (w.dir.path().join("none"), "none: "),
    ] {
        let error = w.import(&[&path], false).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        let status = w.export.status().file.unwrap();
        assert_eq!((status.running, status.error), (false, Some(error)));
    }
    let mixed = format!("{}\nnonsense\n{}", line(1, START, 1), line(2, START, 2));
    let done = w.import(&[&write("mixed", mixed.as_bytes())], false).await.unwrap();
    assert_eq!((done.lines, done.changed, done.bad), (3, 2, 1));
}
