//! Whole repos from hosts in this process, good and bad, through the queue into the index.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use ipld_core::ipld::Ipld;
use serde_json::json;

use super::tests::{DID, NOW_US, Repo, rev};
use super::{Along, FollowUp, Held, HeldRecord, RepoSink, Resync, Setup, SinkClosed};
use crate::config::Network;
use crate::event::{Body, Commit, Event};
use crate::identity::Identity;
use crate::index::repo_contents::held_records;
use crate::index::testing::World;
use crate::net::testing::{serve, serve_raw};
use crate::net::{Dialer, HttpClient};
use crate::repo::dag_cbor::encode;
use crate::repo::testing::{car, commit};
use crate::schema::{ActorId, Edit, Rows};
use crate::store::{Answer, Store, StoreError, Writer};
use crate::syntax::{Cid, Did, Tid, cid};
use crate::threads::{Budget, Clock};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority, SourceKind, SourceRow};

/// The index, as the runtime puts it in.
pub(super) struct ToIndex {
    pub(super) index: Arc<crate::index::Index>,
    pub(super) store: Store,
    pub(super) writer: Writer,
}

impl RepoSink for ToIndex {
    fn apply_parts(&self, _: Did, events: Vec<Event>) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let index = Arc::clone(&self.index);
        let job = self.writer.visible(move |tx| index.apply(tx, &events));
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }

    fn apply_new(
        &self,
        events: Vec<Event>,
        unseen: bool,
        along: Along,
    ) -> Result<Answer<bool>, StoreError> {
        let index = Arc::clone(&self.index);
        self.writer.made_blocking(move |tx| {
            let applied = index.apply_new(tx, &events, unseen)?;
            if applied {
                along(tx)?;
            }
            Ok(applied)
        })
    }
}

impl Held for ToIndex {
    fn held(&self, did: &Did) -> Result<Vec<HeldRecord>, StoreError> {
        let s = self.store.snapshot();
        let Some(actor) = s.actor_id(did)? else { return Ok(Vec::new()) };
        let record = |h: crate::index::repo_contents::HeldRecord| HeldRecord {
            collection: h.collection,
            rkey: h.rkey.into(),
            cid: h.cid,
        };
        Ok(held_records(&s, actor)?.into_iter().map(record).collect())
    }
}

impl FollowUp for ToIndex {
    fn next(&self, _: ActorId, _: Priority) -> Result<Vec<(ActorId, Priority)>, StoreError> {
        Ok(Vec::new())
    }
}

pub(super) struct Net {
    pub(super) world: World,
    pub(super) resync: Resync,
    pub(super) dir: tempfile::TempDir,
    requests: flume::Sender<ActorId>,
}

impl Net {
    pub(super) fn start(world: World, plc: &str, private: bool) -> Self {
        let dialer = Dialer::new(private).unwrap();
        let network = Network { plc_url: plc.to_owned(), ..Network::default() };
        let dir = tempfile::tempdir().unwrap();
        let to = Arc::new(ToIndex {
            index: Arc::clone(&world.index),
            store: world.store.clone(),
            writer: world.writer.clone(),
        });
        let setup = Setup {
            identity: Identity::new(&network, &dialer, "https://appview.example", 100),
            http: HttpClient::new(&dialer, "https://appview.example"),
            store: world.store.clone(),
            writer: world.writer.clone(),
            follow_up: Arc::clone(&to) as _,
            held: Arc::clone(&to) as _,
            sink: to,
            spill: dir.path().to_owned(),
            spill_floor: 0,
            fetches: Budget::new(16 << 20),
            records: Budget::new(4 << 20),
            concurrency: 4,
            clock: Clock::system(),
        };
        let (requests, wanted) = flume::unbounded();
        Self { world, resync: Resync::start(setup, wanted), dir, requests }
    }

    /// Something happens on the stream; gives how many jobs the index told of.
    pub(super) async fn event(&self, did: &str, body: Body) -> usize {
        let event = [Event::found_here(Did::parse(did).unwrap(), 1, body)];
        let index = Arc::clone(&self.world.index);
        self.world.writer.durable(move |tx| index.apply(tx, &event)).await.unwrap();
        let told = self.world.requests.resync.drain();
        told.map(|actor| self.requests.send(actor).unwrap()).count()
    }

    /// Waits until every one of these repos is in or has failed, and nothing of it is under way.
    pub(super) async fn settled(&self, dids: &[&str]) {
        let settled = |did: &str| {
            let s = self.world.store.snapshot();
            let Some(actor) = s.actor_id(did).unwrap() else { return false };
            jobs::get(&s, actor).unwrap().is_none_or(|job| !job.cause.is_empty())
        };
        let handle = self.resync.handle();
        let runs = async |did: &str| {
            let says = handle.describe(&Did::parse(did).unwrap()).await.unwrap();
            says.contains("being fetched")
        };
        'again: for _ in 0..12_000 {
            for did in dids {
                if !settled(did) || runs(did).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue 'again;
                }
            }
            return;
        }
        panic!("{:?}", self.resync.handle().status());
    }

    pub(super) fn job(&self, did: &str) -> Option<JobRow> {
        let s = self.world.store.snapshot();
        jobs::get(&s, s.actor_id(did).unwrap()?).unwrap()
    }

    pub(super) fn posts(&self, did: &str) -> usize {
        let s = self.world.store.snapshot();
        s.actor_id(did).unwrap().map_or(0, |actor| held_records(&s, actor).unwrap().len())
    }

    pub(super) fn is_complete(&self, did: &str) -> bool {
        let s = self.world.store.snapshot();
        let row = s.repo(s.actor_id(did).unwrap().unwrap()).unwrap();
        row.is_some_and(|row| row.is_complete())
    }
}

pub(super) fn document(did: &str, repo: &Repo, pds: &str) -> Vec<u8> {
    let key = repo.key.public().to_multibase();
    json!({
        "id": did,
        "verificationMethod": [{"id": "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key}],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}],
    })
    .to_string()
    .into_bytes()
}

pub(super) fn add(net: &Net, dids: &[&str]) -> impl Future<Output = super::AddedRepos> {
    let handle = net.resync.handle();
    let dids = dids.iter().map(|did| Did::parse(did).unwrap()).collect();
    async move { handle.add(dids, false).await.unwrap() }
}

/// A leaf node with these keys, whatever their order.
fn node(keys: &[&str], value: Cid) -> Vec<u8> {
    let entry = |key: &&str| {
        Ipld::Map(BTreeMap::from([
            ("k".to_owned(), Ipld::Bytes(key.as_bytes().to_vec())),
            ("p".to_owned(), Ipld::Integer(0)),
            ("t".to_owned(), Ipld::Null),
            ("v".to_owned(), Ipld::Link(value)),
        ]))
    };
    let entries = Ipld::List(keys.iter().map(entry).collect());
    encode(&Ipld::Map(BTreeMap::from([("e".to_owned(), entries), ("l".to_owned(), Ipld::Null)])))
}

/// A node with these keys, each with its subtree.
fn linked(entries: &[(&str, Option<Cid>)], left: Option<Cid>) -> Vec<u8> {
    let link = |cid: Option<Cid>| cid.map_or(Ipld::Null, Ipld::Link);
    let entry = |(key, right): &(&str, Option<Cid>)| {
        Ipld::Map(BTreeMap::from([
            ("k".to_owned(), Ipld::Bytes(key.as_bytes().to_vec())),
            ("p".to_owned(), Ipld::Integer(0)),
            ("t".to_owned(), link(*right)),
            ("v".to_owned(), Ipld::Link(cid::for_record(b"v"))),
        ]))
    };
    let entries = Ipld::List(entries.iter().map(entry).collect());
    encode(&Ipld::Map(BTreeMap::from([("e".to_owned(), entries), ("l".to_owned(), link(left))])))
}

/// A key whose hash puts it on this layer.
fn key_of(layer: u32) -> String {
    let on_it = |key: &String| crate::repo::mst::key_layer(key.as_bytes()) == layer;
    (0..).map(|n| format!("com.example.note/{n}")).find(on_it).unwrap()
}

fn car_of_tree(repo: &Repo, did: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let block = commit(&repo.key, did, &rev().to_string(), &cid::for_record(&nodes[0]));
    let all: Vec<(Cid, &[u8])> = std::iter::once(block.as_slice())
        .chain(nodes.iter().map(Vec::as_slice))
        .map(|block| (cid::for_record(block), block))
        .collect();
    car(&cid::for_record(&block), all.iter().map(|(c, b)| (c, *b)))
}

/// What a host answers to getRepo.
type Bad = (&'static str, fn(&Repo, &str) -> Response<Vec<u8>>, &'static str);

pub(super) fn ok(body: Vec<u8>) -> Response<Vec<u8>> {
    Response::new(body)
}

pub(super) fn says(status: u16, kind: &str, body: &str) -> Response<Vec<u8>> {
    let builder = Response::builder().status(status).header("content-type", kind);
    builder.body(body.as_bytes().to_vec()).unwrap()
}

const BAD: &[Bad] = &[
    (
        "cut",
        |r, did| {
            let mut car = r.car(did, rev());
            car.pop();
            ok(car)
        },
        "car-cut",
    ),
    ("nothing", |_, _| ok(Vec::new()), "car-cut"),
    (
        "hash",
        |r, did| {
            let mut car = r.car(did, rev());
            *car.last_mut().unwrap() ^= 1;
            ok(car)
        },
        "bad-car",
    ),
    ("garbage", |_, _| ok(b"<html>not found</html>".repeat(9)), "bad-car"),
    (
        "missing",
        |r, did| {
            ok(car_of_tree(r, did, &[node(&["com.example.note/a"], cid::for_record(b"gone"))]))
        },
        "car-cut",
    ),
    ("root-missing", |_, _| ok(car(&cid::for_record(b"gone"), [])), "car-cut"),
    (
        "no-root",
        // The header of a CAR without roots: {"roots": [], "version": 1}.
        |_, _| ok(b"\x11\xa2\x65roots\x80\x67version\x01".to_vec()),
        "bad-car",
    ),
    (
        "huge-block",
        |r, did| {
            let mut car = r.car(did, rev());
            // A section of a hundred megabytes is announced.
            car.extend([0x80, 0x84, 0xaf, 0x5f]);
            ok(car)
        },
        "bad-car",
    ),
    (
        "cycle",
        |r, did| {
            // A node can name itself only under a CID that is not its own.
            let name = cid::for_record(b"myself");
            let own = linked(&[("com.example.note/a", None)], Some(name));
            let block = commit(&r.key, did, &rev().to_string(), &name);
            let root = cid::for_record(&block);
            ok(car(&root, [(&root, &*block), (&name, &*own)]))
        },
        "bad-car",
    ),
    (
        "shared",
        |r, did| {
            // The same subtree twice, which would be walked for ever if that went on over many layers.
            let leaf = node(&[&key_of(0)], cid::for_record(b"v"));
            let kid = cid::for_record(&leaf);
            let top = linked(&[(&key_of(1), Some(kid))], Some(kid));
            ok(car_of_tree(r, did, &[top, leaf, b"v".to_vec()]))
        },
        "bad-tree",
    ),
    ("no-tree", |r, did| ok(car_of_tree(r, did, &[b"tree".to_vec()])), "bad-tree"),
    (
        "unordered",
        |r, did| {
            ok(car_of_tree(
                r,
                did,
                &[node(&["com.example.note/b", "com.example.note/a"], cid::for_record(b"v"))],
            ))
        },
        "bad-tree",
    ),
    (
        "bad-key",
        |r, did| ok(car_of_tree(r, did, &[node(&["no slash"], cid::for_record(b"v"))])),
        "bad-tree",
    ),
    (
        "no-commit",
        |r, _| {
            let block = node(&["com.example.note/a"], cid::for_record(b"v"));
            let root = cid::for_record(&block);
            let _ = r;
            ok(car(&root, [(&root, block.as_slice())]))
        },
        "commit-invalid",
    ),
    ("others", |r, _| ok(r.car("did:plc:somebody", rev())), "wrong-did"),
    ("forged", |_, did| ok(Repo::new(3).car(did, rev())), "bad-signature"),
    (
        "future",
        |r, did| ok(r.car(did, Tid::from_micros(NOW_US + 100 * 365 * 86_400_000_000, 1))),
        "rev-future",
    ),
    ("not-found", |_, _| says(400, "application/json", r#"{"error":"RepoNotFound"}"#), "refused"),
    ("gone", |_, _| says(400, "application/json", r#"{"error":"RepoDeactivated"}"#), "not-hosted"),
    ("no-json", |_, _| says(404, "text/html", "<html>"), "status"),
];

/// These are the host's fault.
const BAD_HOSTS: &[Bad] = &[
    ("html", |_, _| says(200, "text/html; charset=utf-8", "<html>"), "content-type"),
    ("json", |_, _| says(200, "application/json", "{}"), "content-type"),
    ("broken", |_, _| says(500, "text/plain", "oops"), "status"),
    (
        "busy",
        |_, _| {
            let busy = Response::builder().status(429).header("retry-after", "3600");
            busy.body(Vec::new()).unwrap()
        },
        "rate-limited",
    ),
    (
        "loop",
        |_, _| {
            let away = Response::builder()
                .status(302)
                .header("location", "/xrpc/com.atproto.sync.getRepo?did=x");
            away.body(Vec::new()).unwrap()
        },
        "redirects",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_repos_are_counted_visible_and_tried_again() {
    let repo = Arc::new(Repo::new(30));
    let did = |name: &str| format!("did:plc:{name}");
    let served = Arc::clone(&repo);
    let url = serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        let query = request.uri().query().unwrap_or_default();
        let Some(did) = query.strip_prefix("did=") else {
            return ok(document(request.uri().path().trim_start_matches('/'), &served, &pds));
        };
        let bad = BAD.iter().find(|(name, ..)| did.ends_with(&format!(":{name}")));
        bad.map_or_else(|| ok(served.car(did, rev())), |(_, answer, _)| answer(&served, did))
    })
    .await;
    let net = Net::start(World::new(), &url, true);
    let mut dids: Vec<String> = BAD.iter().map(|(name, ..)| did(name)).collect();
    dids.push(did("good"));
    let dids: Vec<&str> = dids.iter().map(String::as_str).collect();
    assert_eq!(add(&net, &dids).await.added, dids.len());
    net.settled(&dids).await;
    let handle = net.resync.handle();
    assert!(net.is_complete("did:plc:good"));
    let s = net.world.store.snapshot();
    let good = s.actor(s.actor_id("did:plc:good").unwrap().unwrap()).unwrap().unwrap();
    assert!(good.handle_checked > 0, "nobody else may ever ask for its handle");
    assert_eq!(net.posts("did:plc:good"), 30);
    for (name, _, cause) in BAD {
        let job = net.job(&did(name)).unwrap();
        assert_eq!((job.cause.as_str(), job.tries), (*cause, 1), "{name}");
        assert!(job.due > Clock::system().now_ms() + 30_000, "{name}");
        let says = handle.describe(&Did::parse(&did(name)).unwrap()).await.unwrap();
        assert!(says.contains(cause) && says.contains("the next is at"), "{says}");
        assert!(handle.status().failed.contains_key(cause), "{name}");
        assert_eq!(net.posts(&did(name)), 0, "{name}");
    }
    assert!(handle.status().parked_hosts == 0, "a bad repo is not its host's fault");
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_hosts_are_left_alone_and_hold_nobody_up() {
    for (name, answer, cause) in BAD_HOSTS {
        let repo = Arc::new(Repo::new(3));
        let key = Arc::clone(&repo);
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let bad = serve(move |request| {
            let did = request.uri().query().unwrap_or_default();
            count.fetch_add(u32::from(did != "did=x"), Ordering::SeqCst);
            answer(&repo, did)
        })
        .await;
        let served = Arc::clone(&key);
        let good = serve(move |request| {
            let own = format!("http://{}", request.headers()["host"].to_str().unwrap());
            if let Some(did) = request.uri().query().and_then(|q| q.strip_prefix("did=")) {
                return ok(served.car(did, rev()));
            }
            let did = request.uri().path().trim_start_matches('/');
            ok(document(did, &served, if did.contains("bad") { &bad } else { &own }))
        })
        .await;
        let net = Net::start(World::new(), &good, true);
        let bad: Vec<String> = (0..20).map(|n| format!("did:plc:bad{n}")).collect();
        let mut dids: Vec<&str> = bad.iter().map(String::as_str).collect();
        dids.push("did:plc:good");
        add(&net, &dids).await;
        net.settled(&["did:plc:good"]).await;
        let handle = net.resync.handle();
        while handle.status().failed.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = handle.status();
        assert_eq!(status.failed.keys().collect::<Vec<_>>(), [cause], "{name}");
        assert_eq!((status.parked_hosts, status.done), (1, 1), "{name}");
        assert!(asked.load(Ordering::SeqCst) <= 3, "{name}: not every repo tries");
        let untried = bad.iter().find(|did| net.job(did).unwrap().tries == 0).unwrap();
        let untried = Did::parse(untried).unwrap();
        let says = handle.describe(&untried).await.unwrap();
        assert!(says.contains("left alone"), "{name}: {says}");
        if *cause == "rate-limited" {
            assert!(status.hosts[0].for_s > 3500, "{status:?}");
        }
        net.resync.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_must_not_or_cannot_be_asked() {
    let endless = serve_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99000000000\r\n\r\n", b"x").await;
    for (private, pds, cause) in [
        (false, "https://127.0.0.1:1".to_owned(), "refused-address"),
        (false, "http://pds.example".to_owned(), "insecure"),
        (true, "http://127.0.0.1:1".to_owned(), "connect"),
        (true, format!("http://{endless}"), "too-big"),
        (true, "ftp://pds.example".to_owned(), "no-pds-or-key"),
    ] {
        let repo = Repo::new(1);
        let plc = serve(move |_| ok(document(DID, &repo, &pds))).await;
        let net = Net::start(World::new(), &plc, private);
        add(&net, &[DID]).await;
        net.settled(&[DID]).await;
        assert_eq!(net.job(DID).unwrap().cause, cause);
        net.resync.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_behind_is_asked_again_later() {
    let repo = Repo::new(3);
    let (car, asked) = (repo.car(DID, rev()), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&asked);
    let url = serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        if request.uri().query().is_none() {
            return ok(document(DID, &repo, &pds));
        }
        count.fetch_add(1, Ordering::SeqCst);
        ok(car.clone())
    })
    .await;
    let world = World::new();
    let newer = Tid::from_micros(NOW_US + 1, 1);
    let body = Body::Commit(Commit { rev: newer, data: None, prev_data: None, ops: vec![] });
    let (index, did) = (Arc::clone(&world.index), Did::parse(DID).unwrap());
    let events = [Event::found_here(did, 1, body)];
    world.writer.durable(move |tx| index.apply(tx, &events)).await.unwrap();
    let net = Net::start(world, &url, true);
    add(&net, &[DID]).await;
    net.settled(&[DID]).await;
    assert_eq!(net.job(DID).unwrap().cause, "behind");
    assert!(!net.is_complete(DID));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_fails_is_no_fault_of_the_repo_and_is_said() {
    let plc = serve(|_| says(500, "text/plain", "oops")).await;
    let net = Net::start(World::new(), &plc, true);
    add(&net, &[DID]).await;
    let handle = net.resync.handle();
    while handle.status().failed.get("directory") < Some(&2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let says = handle.describe(&Did::parse(DID).unwrap()).await.unwrap();
    assert!(says.contains("the directory answers, which is asked again in"), "{says}");
    assert!(says.contains("the PLC directory: "), "{says}");
    let host = handle.status().hosts.remove(0);
    assert_eq!((&*host.host, host.failures), ("(of DID documents)", 2));
    assert_eq!(net.job(DID).unwrap().tries, 0);
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_asks_for_a_pause_is_asked_again_at_its_end() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let plc = serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let pause = Response::builder().status(429).header("retry-after", "300");
        pause.body(Vec::new()).unwrap()
    })
    .await;
    let net = Net::start(World::new(), &plc, true);
    add(&net, &[DID]).await;
    let handle = net.resync.handle();
    while handle.status().failed.get("directory") < Some(&1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let host = handle.status().hosts.remove(0);
    assert!((200..=300).contains(&host.for_s), "{host:?}");
    assert_eq!((asked.load(Ordering::SeqCst), net.job(DID).unwrap().tries), (1, 0));
    net.resync.stop().await;
}

/// A host with three pages of repos, some of them oddities.
fn pages(query: &str) -> serde_json::Value {
    let item =
        |n: u32| json!({"did": format!("did:plc:r{n}"), "rev": rev().to_string(), "active": true});
    if query.contains("cursor=2") {
        json!({"repos": [item(5), item(5), item(1)]})
    } else if query.contains("cursor=1") {
        json!({"cursor": "2", "repos": [item(3), item(4), {"did": "nonsense"}, {"rev": "x"}]})
    } else {
        json!({"cursor": "1", "repos": [item(1), item(2),
            {"did": "did:plc:away", "rev": rev().to_string(), "active": false}]})
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_read_once_and_what_did_not_change_is_passed_over() {
    let repo = Arc::new(Repo::new(2));
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let url = serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        let query = request.uri().query().unwrap_or_default();
        match request.uri().path() {
            "/xrpc/com.atproto.sync.listHosts" => says(501, "application/json", "{}"),
            "/xrpc/com.atproto.sync.listRepos" => ok(pages(query).to_string().into_bytes()),
            "/xrpc/com.atproto.sync.getRepo" => {
                count.fetch_add(1, Ordering::SeqCst);
                ok(repo.car(query.strip_prefix("did=").unwrap(), rev()))
            }
            path => ok(document(path.trim_start_matches('/'), &repo, &pds)),
        }
    })
    .await;
    let mut net = Net::start(World::new(), &url, true);
    let all = ["r1", "r2", "r3", "r4", "r5"].map(|r| format!("did:plc:{r}"));
    for round in 0..3 {
        let kind = if round == 0 { SourceKind::Hosts } else { SourceKind::Repos };
        // In the last round after a restart.
        if round == 2 {
            net.resync.stop().await;
            let _old = net.dir;
            net = Net::start(net.world, &url, true);
        }
        assert!(net.resync.handle().begin(kind, &url, "").await.unwrap());
        let read = || {
            let status = net.resync.handle().status();
            status.reading == 0 && status.queued == 0 && status.running.is_empty()
        };
        for _ in 0..12_000 {
            let complete = all.iter().all(|did| {
                net.world.store.snapshot().actor_id(did).unwrap().is_some() && net.is_complete(did)
            });
            if complete && read() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), 5, "round {round}: each once");
    }
    let status = net.resync.handle().status();
    let last = &status.sources[0];
    assert_eq!((last.state, last.listed, last.known), ("read", 10, 7), "{status:?}");
    assert_eq!((last.inactive, last.bad), (1, 2), "{last:?}");
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_are_none_park_their_host() {
    for body in ["<html>", "{}", r#"{"repos": 5}"#, r#"{"cursor":"a","repos":[{"did":"x"}]}"#] {
        let url = serve(move |_| says(200, "text/html", body)).await;
        let net = Net::start(World::new(), &url, true);
        let handle = net.resync.handle();
        handle.begin(SourceKind::Repos, &url, "").await.unwrap();
        while handle.status().parked_hosts == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = handle.status();
        assert_eq!(status.failed.get("bad-list"), Some(&1), "{body}");
        assert!(status.sources[0].error.contains("list"), "{:?}", status.sources);
        net.resync.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_an_end_is_given_up_and_can_be_begun_again() {
    let repo = Repo::new(1);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    // The cursor moves, the repos are the same.
    let url = serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        match request.uri().path() {
            "/xrpc/com.atproto.sync.listRepos" => {
                let cursor = count.fetch_add(1, Ordering::SeqCst).to_string();
                let names = ["did:plc:a", "nonsense", "did:plc:a", "did:plc:b"];
                let repos = names.map(|did| json!({"did": did, "rev": rev().to_string()}));
                ok(json!({"cursor": cursor, "repos": repos}).to_string().into_bytes())
            }
            "/xrpc/com.atproto.sync.getRepo" => says(404, "text/html", "<html>"),
            path => ok(document(path.trim_start_matches('/'), &repo, &pds)),
        }
    })
    .await;
    // Most of its patience is gone, and it never names anything new.
    let world = World::new();
    let row = SourceRow { idle_pages: 195, ..SourceRow::new(SourceKind::Repos, &url, "", 1) };
    let put = move |tx: &mut crate::store::Tx<'_>| {
        jobs::put_source(tx, 1, &row);
        for did in ["did:plc:a", "did:plc:b"] {
            let actor = tx.intern_actor(did)?;
            jobs::put(tx, actor, &JobRow::new(Priority::Asked, i64::MAX))?;
        }
        Ok(())
    };
    world.writer.durable(put).await.unwrap();
    let net = Net::start(world, &url, true);
    let handle = net.resync.handle();
    let list = || handle.status().sources.into_iter().next();
    while list().is_none_or(|list| list.state == "reading") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let list = list().unwrap();
    assert_eq!((list.state, &*list.error), ("given up", "it repeats itself without an end"));
    assert_eq!((list.listed, list.bad), (4 * 6, 4 * 6), "{list:?}");
    assert!(handle.begin(SourceKind::Repos, &url, "").await.unwrap());
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_over_a_restart_and_lets_resyncs_through() {
    let repo = Arc::new(Repo::new(2));
    let url = serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        match request.uri().query().and_then(|q| q.strip_prefix("did=")) {
            Some(did) => ok(repo.car(did, rev())),
            None => ok(document(request.uri().path().trim_start_matches('/'), &repo, &pds)),
        }
    })
    .await;
    let net = Net::start(World::new(), &url, true);
    net.resync.handle().pause(true).await.unwrap();
    add(&net, &["did:plc:later"]).await;
    let Net { world, resync, dir: _dir, .. } = net;
    resync.stop().await;
    let net = Net::start(world, &url, true);
    let now = vec![Did::parse("did:plc:now").unwrap()];
    net.resync.handle().add(now, true).await.unwrap();
    net.settled(&["did:plc:now"]).await;
    let later = Did::parse("did:plc:later").unwrap();
    let says = net.resync.handle().describe(&later).await.unwrap();
    assert!(net.is_complete("did:plc:now") && net.job("did:plc:later").is_some(), "{says}");
    net.resync.handle().pause(false).await.unwrap();
    net.settled(&["did:plc:later"]).await;
    assert!(net.is_complete("did:plc:later"));
    let says = net.resync.handle().describe(&later).await.unwrap();
    assert!(says.contains("complete") && says.contains("nothing is to be done"), "{says}");
    net.resync.stop().await;
}
