//! From a wish to the index, with hosts good and bad.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Response;
use serde_json::json;

use super::*;
use crate::config::Network;
use crate::crypto::PrivateKey;
use crate::index::testing::World;
use crate::net::Dialer;
use crate::net::testing::{serve, serve_raw};
use crate::repo::dag_cbor::{encode, from_json};
use crate::schema::{PostId, Rows, Target};
use crate::sync::pds_tests::{ToIndex, document};
use crate::sync::tests::{DID, NOW_US, Repo, rev};
use crate::syntax::Tid;

const SOON: Duration = Duration::from_secs(20);

fn rkey(n: u64) -> String {
    Tid::from_micros(NOW_US - 1_000_000 + n, 1).to_string()
}

fn post_uri(n: u64) -> String {
    format!("at://{DID}/app.bsky.feed.post/{}", rkey(n))
}

/// A profile, and posts of which each replies to the one before.
fn thread(posts: u64) -> Repo {
    let mut records = BTreeMap::new();
    let mut put = |path: String, value: serde_json::Value| {
        let bytes = encode(&from_json(&value));
        let cid = crate::syntax::cid::for_record(&bytes).to_string();
        records.insert(path, bytes);
        cid
    };
    let profile = json!({"$type": "app.bsky.actor.profile", "displayName": "A"});
    put("app.bsky.actor.profile/self".to_owned(), profile);
    let mut cids: Vec<String> = Vec::new();
    for n in 0..posts {
        let mut post = json!({
            "$type": "app.bsky.feed.post", "text": n.to_string(), "createdAt": "2025-01-01T00:00:00.000Z",
        });
        if let Some(last) = cids.last() {
            post["reply"] = json!({
                "root": {"uri": post_uri(0), "cid": cids[0]},
                "parent": {"uri": post_uri(n - 1), "cid": last},
            });
        }
        cids.push(put(format!("app.bsky.feed.post/{}", rkey(n)), post));
    }
    Repo { key: PrivateKey::generate(), records }
}

struct Net {
    world: World,
    on_read: OnRead,
    asked: Arc<AtomicU32>,
}

impl Net {
    /// A PDS that answers like this for the account of `repo`.
    async fn start(
        repo: Repo,
        private: bool,
        answer: impl Fn(&Repo, &str) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let repo = Arc::new(repo);
        let (asked, served) = (Arc::<AtomicU32>::default(), Arc::clone(&repo));
        let count = Arc::clone(&asked);
        let pds = serve(move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            assert!(request.uri().path().ends_with("com.atproto.sync.getRecord"));
            answer(&served, request.uri().query().unwrap_or_default())
        })
        .await;
        Self::over(repo, private, pds, asked).await
    }

    async fn over(repo: Arc<Repo>, private: bool, pds: String, asked: Arc<AtomicU32>) -> Self {
        Self::with(repo, private, Arc::new(parking_lot::Mutex::new(pds)), asked).await
    }

    /// Over a document that names a PDS which may change.
    async fn with(
        repo: Arc<Repo>,
        private: bool,
        pds: Arc<parking_lot::Mutex<String>>,
        asked: Arc<AtomicU32>,
    ) -> Self {
        let plc = serve(move |request| {
            if request.uri().path() == format!("/{DID}") {
                Response::new(document(DID, &repo, &pds.lock()))
            } else {
                Response::builder().status(404).body(Vec::new()).unwrap()
            }
        })
        .await;
        let world = World::new();
        let dialer = Dialer::new(private).unwrap();
        let network = Network { plc_url: plc, ..Network::default() };
        let identity = Identity::new(&network, &dialer, "https://appview.example", 100);
        let http = HttpClient::new(&dialer, "https://appview.example");
        let sink = Arc::new(ToIndex {
            index: Arc::clone(&world.index),
            store: world.store.clone(),
            writer: world.writer.clone(),
        });
        let on_read = OnRead::new(identity, http, world.store.clone(), sink);
        Self { world, on_read, asked }
    }

    async fn bring(&self, want: Want) -> bool {
        self.on_read.bring(vec![want], SOON).await
    }

    fn requests(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    fn has_post(&self, n: u64) -> bool {
        let s = self.world.store.snapshot();
        let Some(Target::Post(PostId { author, rkey })) = s.target(&post_uri(n)).unwrap() else {
            return false;
        };
        s.post(PostId { author, rkey }).unwrap().is_some()
    }

    fn display_name(&self) -> Option<String> {
        let s = self.world.store.snapshot();
        let id = crate::schema::RecordId {
            actor: s.actor_id(DID).unwrap()?,
            coll: crate::schema::collections::PROFILE,
            rkey: crate::schema::Rkey::SELF,
        };
        let value = s.unpack(&s.record(id).unwrap()?.packed).unwrap();
        let ipld_core::ipld::Ipld::Map(map) = value else { return None };
        match map.get("displayName") {
            Some(ipld_core::ipld::Ipld::String(name)) => Some(name.clone()),
            _ => None,
        }
    }
}

fn account() -> Want {
    Want::Account(DID.to_owned())
}

fn post(n: u64, parents: usize) -> Want {
    let collection = "app.bsky.feed.post".to_owned();
    Want::Record { repo: DID.to_owned(), collection, rkey: rkey(n), parents }
}

fn good(repo: &Repo, _: &str) -> Response<Vec<u8>> {
    Response::new(repo.car(DID, rev()))
}

#[tokio::test]
async fn an_account_comes_with_its_profile_and_once() {
    let net = Net::start(thread(0), true, good).await;
    let all = tokio::join!(net.bring(account()), net.bring(account()), net.bring(account()));
    assert_eq!(all, (true, true, true));
    assert_eq!((net.display_name().as_deref(), net.requests()), (Some("A"), 1));
    assert!(!net.bring(account()).await);
    let stranger = Want::Account("did:plc:nobody".to_owned());
    assert!(!net.bring(stranger).await);
    assert_eq!(net.requests(), 1);
}

#[tokio::test]
async fn a_post_comes_with_its_author_and_what_it_replies_to() {
    let net = Net::start(thread(9), true, good).await;
    assert!(net.bring(post(7, 3)).await);
    let held: Vec<u64> = (0..9).filter(|n| net.has_post(*n)).collect();
    assert_eq!(held, [0, 4, 5, 6, 7], "three levels up, and the root");
    assert_eq!(net.display_name().as_deref(), Some("A"));
    assert!(net.bring(post(8, 0)).await && net.has_post(8));
    let before = net.requests();
    assert!(!net.bring(post(8, 0)).await, "it was just fetched");
    assert_eq!(net.requests(), before);
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again() {
    let net = Net::start(thread(1), true, good).await;
    assert!(net.bring(account()).await);
    assert!(!net.bring(post(5, 0)).await);
    let before = net.requests();
    assert!(!net.bring(post(5, 0)).await);
    assert_eq!(net.requests(), before);
    assert!(!net.has_post(5));
}

#[tokio::test]
async fn an_account_that_moved_is_asked_for_where_it_lives_now() {
    let repo = Arc::new(thread(1));
    let host = |repo: Option<Arc<Repo>>| {
        let asked = Arc::<AtomicU32>::default();
        let count = Arc::clone(&asked);
        let answer = move |_: &http::Request<hyper::body::Incoming>| {
            count.fetch_add(1, Ordering::Relaxed);
            let gone = || says(400, r#"{"error":"RepoNotFound","message":""}"#);
            repo.as_ref().map_or_else(gone, |repo| good(repo, ""))
        };
        async move { (serve(answer).await, asked) }
    };
    let ((old, at_old), (new, at_new)) = (host(None).await, host(Some(Arc::clone(&repo))).await);
    let pds = Arc::new(parking_lot::Mutex::new(old));
    let net = Net::with(Arc::clone(&repo), true, Arc::clone(&pds), Arc::default()).await;
    assert!(!net.bring(account()).await);
    *pds.lock() = new;
    // What `#identity` does.
    net.on_read.0.identity.invalidate(&crate::syntax::Did::parse(DID).unwrap());
    assert!(net.bring(post(0, 0)).await && net.has_post(0));
    let asked = [at_old, at_new].map(|count| count.load(Ordering::Relaxed));
    assert_eq!((asked[0], asked[1] > 0), (1, true));
}

type Bad = (&'static str, fn(&Repo, &str) -> Response<Vec<u8>>, &'static str);

fn says(status: u16, body: &str) -> Response<Vec<u8>> {
    Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
}

const BAD: &[Bad] = &[
    ("another account's", |r, _| Response::new(r.car("did:plc:other", rev())), "wrong-did"),
    (
        "another key's",
        |r, _| {
            let (key, records) = (PrivateKey::generate(), r.records.clone());
            Response::new(Repo { key, records }.car(DID, rev()))
        },
        "bad-signature",
    ),
    ("cut", |r, _| Response::new(r.car(DID, rev())[..700].to_vec()), "bad-car"),
    (
        "of tomorrow",
        |r, _| {
            let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
            let since = tomorrow.duration_since(std::time::UNIX_EPOCH).unwrap();
            let rev = Tid::from_micros(u64::try_from(since.as_micros()).unwrap(), 1);
            Response::new(r.car(DID, rev))
        },
        "rev-future",
    ),
    ("huge", |_, _| Response::new(vec![0; 4 << 20]), "too-big"),
    ("garbage", |_, _| says(200, "<html>"), "bad-car"),
    ("no such repo", |_, _| says(400, r#"{"error":"RepoNotFound","message":""}"#), "refused"),
    ("old", |_, _| says(404, "not here"), "status"),
    ("broken", |_, _| says(500, "{}"), "status"),
    (
        "a redirect to itself",
        |_, q| {
            let to = format!("/xrpc/com.atproto.sync.getRecord?{q}");
            Response::builder().status(302).header("location", to).body(Vec::new()).unwrap()
        },
        "redirects",
    ),
];

#[tokio::test]
async fn bad_hosts_bring_nothing_and_are_counted() {
    for (name, answer, cause) in BAD {
        let net = Net::start(thread(1), true, answer).await;
        let (outcome, _) = task::run(&net.on_read, &post(0, 0)).await;
        assert_eq!(outcome.cause(), *cause, "{name}");
        assert!(!net.bring(post(0, 0)).await, "{name}");
        assert!(!net.has_post(0), "{name}");
    }
    // A host inside our own network is not even asked.
    let net = Net::start(thread(1), false, good).await;
    assert!(!net.bring(account()).await);
    assert_eq!(net.requests(), 0);
}

#[tokio::test]
async fn an_account_that_its_host_hides_is_hidden() {
    let refused = |_: &Repo, _: &str| says(400, r#"{"error":"RepoDeactivated","message":""}"#);
    let net = Net::start(thread(1), true, refused).await;
    assert!(net.bring(account()).await);
    let s = net.world.store.snapshot();
    let row = s.actor(s.actor_id(DID).unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(row.status, crate::schema::rows::AccountStatus::Deactivated);
    let before = net.requests();
    assert!(!net.bring(post(0, 0)).await);
    assert_eq!(net.requests(), before, "nothing is asked of it while it is away");
}

#[tokio::test]
async fn nobody_waits_for_a_silent_host() {
    let silent = serve_raw(b"", b"").await;
    let pds = format!("http://{silent}");
    let net = Net::over(Arc::new(thread(1)), true, pds, Arc::default()).await;
    let begun = std::time::Instant::now();
    assert!(!net.on_read.bring(vec![account()], Duration::from_millis(50)).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
}
