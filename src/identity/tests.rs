//! The service against a PLC directory and a PDS in this process.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Response;
use http::header::{HOST, LOCATION};
use serde_json::json;

use super::*;
use crate::config::HandleOverride;
use crate::crypto::PrivateKey;
use crate::limits::{Client, Elapsed, Limits, Proxies, Refused};
use crate::net::testing::{serve, serve_counting, serve_raw};
use crate::schema::Edit as _;
use crate::schema::rows::{IdentityRow, identity_key};
use crate::store::{Ks, Writer};

fn did(text: &str) -> Did {
    Did::parse(text).unwrap()
}

fn answer(status: u16, body: impl ToString) -> Response<String> {
    Response::builder().status(status).body(body.to_string()).unwrap()
}

/// A directory and handle server: the number of its requests, and the service that asks it.
async fn service() -> (Arc<AtomicU32>, String, Identity) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let key = PrivateKey::generate().public().to_multibase();
    let url = serve(move |request| {
        let n = counted.fetch_add(1, Ordering::Relaxed);
        let doc = |did: &str, handle: &str| {
            answer(
                200,
                json!({
                    "id": did,
                    "alsoKnownAs": [format!("at://{handle}")],
                    "verificationMethod": [{ "id": format!("{did}#atproto"), "type": "Multikey",
                        "controller": did, "publicKeyMultibase": key }],
                    "service": [{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                        "serviceEndpoint": format!("https://pds{n}.example") }],
                }),
            )
        };
        let host = request.headers()[HOST].to_str().unwrap();
        match request.uri().path() {
            "/did:plc:alice" => doc("did:plc:alice", "alice.test"),
            "/did:plc:thief" => doc("did:plc:thief", "alice.test"),
            "/did:plc:nohandle" => doc("did:plc:nohandle", "not_a_handle"),
            "/did:sim:x%2541" => doc("did:sim:x%41", "sim.test"),
            "/did:plc:swapped" => doc("did:plc:alice", "alice.test"),
            "/did:plc:gone" => answer(410, ""),
            "/did:plc:broken" => answer(500, ""),
            "/did:plc:moved" => {
                let to = "/did:plc:alice";
                Response::builder().status(302).header(LOCATION, to).body(String::new()).unwrap()
            }
            "/did:plc:huge" => answer(200, " ".repeat(300 << 10)),
            "/.well-known/did.json" => {
                doc(&format!("did:web:{}", host.replace(':', "%3A")), "w.test")
            }
            "/.well-known/atproto-did" if host == "alice.test" => answer(200, "did:plc:alice\n"),
            _ => answer(404, ""),
        }
    })
    .await;
    let network = Network {
        plc_url: url.clone(),
        handle_overrides: vec![HandleOverride { suffix: ".test".into(), url: url.clone() }],
        ..Network::default()
    };
    let dialer = Dialer::new(false).unwrap();
    (count, url, Identity::new(&network, &dialer, "https://appview.example", 100))
}

#[tokio::test]
async fn documents_and_failures_of_the_directory() {
    let (_, _, identity) = service().await;
    let table = [
        ("did:plc:alice", Ok("alice.test")),
        ("did:sim:x%41", Ok("sim.test")),
        ("did:plc:unknown", Err("did-not-found")),
        ("did:plc:gone", Err("did-tombstoned")),
        ("did:plc:broken", Err("status")),
        ("did:plc:moved", Err("status")),
        ("did:plc:swapped", Err("did-document")),
        ("did:plc:huge", Err("too-big")),
        ("did:web:a.example:path", Err("did-unsupported")),
        ("did:web:127.0.0.1", Err("refused-address")),
        ("did:web:localhost", Err("insecure")),
    ];
    for (text, expect) in table {
        let got = identity.resolve_did(&did(text), Freshness::Cached).await;
        let got = got.as_ref().map(|doc| doc.handle.as_deref().unwrap());
        assert_eq!(got.map_err(IdentityError::cause), expect, "{text}");
    }
}

#[tokio::test]
async fn did_web_of_localhost_when_private_addresses_are_allowed() {
    let (_, url, _) = service().await;
    let port = url.rsplit(':').next().unwrap();
    let dialer = Dialer::new(true).unwrap();
    let identity = Identity::new(&Network::default(), &dialer, "https://appview.example", 10);
    let web = did(&format!("did:web:localhost%3A{port}"));
    let doc = identity.resolve_did(&web, Freshness::Cached).await.unwrap();
    assert_eq!(doc.handle.as_deref(), Some("w.test"));
    assert!(doc.signing_key().is_some());
}

#[tokio::test]
async fn answers_are_asked_for_once_until_invalidated() {
    let (count, _, identity) = service().await;
    let alice = did("did:plc:alice");
    let pds = async |freshness| {
        let doc = identity.resolve_did(&alice, freshness).await.unwrap();
        doc.pds().unwrap().to_owned()
    };
    let together = tokio::join!(pds(Freshness::Cached), pds(Freshness::Cached));
    assert_eq!(together.0, together.1);
    assert_eq!(pds(Freshness::Cached).await, together.0);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(pds(Freshness::Fresh).await, "https://pds1.example");
    identity.invalidate(&alice);
    assert_eq!(pds(Freshness::Cached).await, "https://pds2.example");
    // Definite failures are remembered too.
    for _ in 0..2 {
        let gone = identity.resolve_did(&did("did:plc:gone"), Freshness::Cached).await;
        assert_eq!(gone.unwrap_err(), IdentityError::Tombstoned);
    }
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn handles_are_verified_in_both_directions() {
    let (count, _, identity) = service().await;
    let table = [
        ("did:plc:alice", Some("alice.test")),
        ("did:plc:thief", None),
        ("did:plc:nohandle", None),
    ];
    for (text, expect) in table {
        let got = identity.verify_handle(&did(text), Freshness::Cached).await.unwrap();
        assert_eq!(got.as_deref(), expect, "{text}");
    }
    let before = count.load(Ordering::Relaxed);
    let alice = Handle::parse("alice.test").unwrap();
    let claimed = identity.resolve_handle(&alice, Freshness::Cached).await.unwrap();
    assert_eq!(claimed, Some(did("did:plc:alice")));
    assert_eq!(count.load(Ordering::Relaxed), before, "remembered");
    identity.invalidate(&did("did:plc:alice"));
    identity.resolve_handle(&alice, Freshness::Cached).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), before + 1, "forgotten with its DID");
    let nobody = Handle::parse("nobody.test").unwrap();
    assert_eq!(identity.resolve_handle(&nobody, Freshness::Cached).await, Ok(None));
    let invalid = Handle::parse("handle.invalid").unwrap();
    assert_eq!(identity.resolve_handle(&invalid, Freshness::Cached).await, Ok(None));
}

fn at<'a>(address: &str, limits: &'a Limits) -> Stranger<'a> {
    Stranger { client: Client::address(address.parse().unwrap()), limits }
}

fn limits() -> Limits {
    Limits::with_time(Proxies::default(), &[], Elapsed::stopped())
}

#[tokio::test]
async fn a_flood_of_made_up_dids_costs_the_directory_little_and_shuts_nobody_else_out() {
    let (count, _, identity) = service().await;
    let (limits, mut refused) = (limits(), 0);
    for n in 0..300 {
        let made_up = did(&format!("did:plc:nobody{n}"));
        let answer = identity
            .resolve_for_stranger(&made_up, Freshness::Cached, at("192.0.2.66", &limits))
            .await;
        match answer.unwrap_err() {
            StrangerError::Failed(IdentityError::NotFound) => {}
            StrangerError::Refused(Refused { wait, .. }) => {
                assert_eq!(wait, Duration::from_secs(5));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let asked = count.load(Ordering::Relaxed);
    assert_eq!((asked, refused), (10, 290));
    // What was found out stays known, for everybody.
    let first = did("did:plc:nobody0");
    let again = identity.resolve_for_stranger(&first, Freshness::Cached, at("192.0.2.1", &limits));
    assert_eq!(again.await, Err(StrangerError::Failed(IdentityError::NotFound)));
    assert_eq!(count.load(Ordering::Relaxed), asked);
    let alice = did("did:plc:alice");
    let known =
        identity.resolve_for_stranger(&alice, Freshness::Cached, at("192.0.2.1", &limits)).await;
    assert!(known.is_ok());
    // What is remembered costs the flooder nothing either.
    assert!(
        identity
            .resolve_for_stranger(&alice, Freshness::Cached, at("192.0.2.66", &limits))
            .await
            .is_ok()
    );
    assert_eq!(count.load(Ordering::Relaxed), asked + 1);
}

#[tokio::test]
async fn a_directory_that_asks_for_a_pause_is_left_alone_and_known_accounts_do_without() {
    let limits = limits();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let url = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Response::builder().status(429).header("retry-after", "300").body(String::new()).unwrap()
    })
    .await;
    let network = Network { plc_url: url, ..Network::default() };
    let dialer = Dialer::new(false).unwrap();
    let identity = Identity::new(&network, &dialer, "https://appview.example", 100);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 64 << 20).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    let (fresh, old) = (PrivateKey::generate().public(), PrivateKey::generate().public());
    let now = Clock::system().now_ms();
    let rows = [
        ("did:plc:fresh", now, fresh.to_did_key()),
        ("did:plc:old", now - 25 * 3_600_000, old.to_did_key()),
        ("did:plc:doubted", now, String::new()),
    ];
    let put = writer.durable(move |tx| {
        for (did, checked, key) in rows {
            let actor = tx.intern_actor(did)?;
            let row = IdentityRow { checked, key, pds: "https://pds.example".to_owned() };
            tx.put(Ks::Actor, &identity_key(actor), &row.encode());
        }
        Ok(())
    });
    put.await.unwrap();
    let held = async |name: &str, fragment| identity.held_key(&did(name), fragment).await;
    assert_eq!(held("did:plc:fresh", "atproto").await, None, "the store is not known yet");
    identity.look_into(store);
    for n in 0..5 {
        let new = did(&format!("did:plc:new{n}"));
        let answer =
            identity.resolve_for_stranger(&new, Freshness::Cached, at("192.0.2.1", &limits)).await;
        assert!(
            matches!(answer, Err(StrangerError::Busy(wait)) if wait > Duration::from_secs(200))
        );
        let read =
            identity.for_readers().resolve_did(&did("did:plc:read"), Freshness::Cached).await;
        assert!(matches!(read, Err(IdentityError::Busy(_))), "{read:?}");
    }
    // Nor does what we ask for ourselves wait: the frames of a stream may queue behind it.
    for freshness in [Freshness::Cached, Freshness::Fresh] {
        let own = identity.resolve_did(&did("did:plc:own"), freshness).await;
        assert!(
            matches!(own, Err(IdentityError::Busy(wait)) if wait > Duration::from_secs(200)),
            "{own:?}"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let key = |key, old| Some(HeldKey { key, old });
    assert_eq!(held("did:plc:fresh", "atproto").await, key(fresh, false));
    assert_eq!(held("did:plc:fresh", "atproto_label").await, None, "the row has one key");
    assert_eq!(held("did:plc:old", "atproto").await, key(old, true));
    assert_eq!(held("did:plc:doubted", "atproto").await, None, "an #identity came");
    let pds = async |name: &str| identity.held_pds(&did(name)).await;
    assert_eq!(pds("did:plc:fresh").await.as_deref(), Some("https://pds.example"));
    assert_eq!(pds("did:plc:doubted").await, None);
    assert_eq!(pds("did:plc:nobody").await, None);
}

#[tokio::test]
async fn strangers_and_readers_at_silent_hosts_hold_up_nothing_of_ours() {
    let (_, url, _) = service().await;
    let port = url.rsplit(':').next().unwrap().to_owned();
    let network = Network { plc_url: url, ..Network::default() };
    let dialer = Dialer::new(true).unwrap();
    let identity = Identity::new(&network, &dialer, "https://appview.example", 1000);
    let silent = serve_raw(b"", b"").await;
    let web = did(&format!("did:web:localhost%3A{}", silent.port()));
    let limits = Arc::new(limits());
    let mut flood = Vec::new();
    for n in 0..200 {
        let (strangers, readers) = (identity.clone(), identity.for_readers());
        let limits = Arc::clone(&limits);
        let (one, other) = (web.clone(), web.clone());
        flood.push(tokio::spawn(async move {
            let who = at(&format!("192.0.2.{n}"), &limits);
            drop(strangers.resolve_for_stranger(&one, Freshness::Fresh, who).await);
        }));
        flood.push(tokio::spawn(async move {
            drop(readers.resolve_did(&other, Freshness::Fresh).await);
        }));
    }
    tokio::task::yield_now().await;
    let alice = identity.resolve_did(&did("did:plc:alice"), Freshness::Fresh).await;
    assert!(alice.is_ok());
    let other = did(&format!("did:web:localhost%3A{}", port));
    assert!(identity.resolve_did(&other, Freshness::Fresh).await.is_ok());
    let stranger = did("did:plc:nohandle");
    let stranger =
        identity.resolve_for_stranger(&stranger, Freshness::Cached, at("198.51.100.1", &limits));
    assert!(stranger.await.is_ok());
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn as_many_connections_to_the_directory_are_kept_as_are_used() {
    const ROUNDS: usize = 20;
    let (url, connections) = serve_counting(|_| answer(404, "")).await;
    let network = Network { plc_url: url, ..Network::default() };
    let dialer = Dialer::new(false).unwrap();
    let identity = Identity::new(&network, &dialer, "https://appview.example", 10_000);
    for round in 0..ROUNDS {
        let lookups = (0..PER_HOST).map(|n| {
            let (identity, did) = (identity.clone(), did(&format!("did:plc:r{round}n{n}")));
            tokio::spawn(async move { identity.resolve_did(&did, Freshness::Cached).await })
        });
        for lookup in lookups.collect::<Vec<_>>() {
            assert_eq!(lookup.await.unwrap().unwrap_err(), IdentityError::NotFound);
        }
    }
    let opened = connections.load(Ordering::SeqCst);
    assert!(opened < ROUNDS * PER_HOST / 4, "{opened} connections");
}
