//! The parts of a running server: each is killed once, and what the list says of its end holds; what the service manager
//! and those who ask for readiness are told.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;
use server::{Aerie, POST_TEXT, did, now, serve_documents};

const ACCOUNTS: u64 = 5;
const EVENTS: u64 = 500;
const MINUTE: u64 = 60_000_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The process ends with the name.
    Fatal,
    /// It runs again.
    Restart,
}
use End::{Fatal, Restart};

/// What is killed, which part that is, and what its end means. Of parts with threads and tasks inside, these are killed as
/// well.
const KILLED: [(&str, &str, End); 29] = [
    ("writer", "writer", Fatal),
    ("xrpc", "xrpc", Fatal),
    ("reads", "reads", Restart),
    ("admin", "admin", Restart),
    ("disk", "disk", Restart),
    ("clock", "clock", Restart),
    ("exports", "exports", Restart),
    ("counts", "counts", Restart),
    ("backup", "backup", Restart),
    ("samples", "samples", Restart),
    ("retention", "retention", Restart),
    ("purge", "purge", Restart),
    ("on_read", "on_read", Restart),
    ("push", "push", Restart),
    ("media", "media", Restart),
    ("members", "members", Restart),
    ("alerts", "alerts", Restart),
    ("followers", "followers", Restart),
    ("discovery", "discovery", Restart),
    ("trends", "trends", Restart),
    ("watchdog", "watchdog", Restart),
    ("ingest", "ingest", Restart),
    ("reader", "ingest", Restart),
    ("lane", "ingest", Restart),
    ("sequencer", "ingest", Restart),
    ("labelers", "labelers", Restart),
    ("subscription", "labelers", Restart),
    ("resync", "resync", Restart),
    ("plc", "plc", Restart),
];

/// A Jetstream of posts, the first at `begin`.
async fn posts(begin: u64) -> String {
    server::posts(begin, EVENTS, ACCOUNTS, POST_TEXT).await
}

fn settings(dir: &tempfile::TempDir, upstream: &str, documents: &str) -> String {
    format!(
        "[store]\npath = {:?}\nmemory_budget = \"64MB\"\n\
         [network]\nupstreams = []\njetstream = [{upstream:?}]\nplc_url = {documents:?}\n\
         allow_private_addresses = true\nfetch_on_read = false\n\
         [labels]\nlabelers = [{{ did = \"did:web:labels.example\", url = \"ws://127.0.0.1:9\", \
         signing_key = \"{}\" }}]\n",
        dir.path().join("data"),
        aerie::crypto::PrivateKey::generate().public().to_did_key(),
    )
}

fn part(status: &Value, name: &str) -> Value {
    let parts = status["parts"].as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().find(|part| part["name"] == name).cloned().unwrap_or_default()
}

async fn all_is_there(aerie: &Aerie, begin: u64) -> bool {
    if aerie.status().await["upstreams"][0]["seq"].as_u64() != Some(begin + EVENTS - 1) {
        return false;
    }
    let path = format!("GET /xrpc/app.bsky.actor.getProfile?actor={}", did(0));
    let (_, body) = aerie.ask(&path, "").await;
    let profile: Value = serde_json::from_str(&body).unwrap_or_default();
    assert_eq!(profile["postsCount"], EVENTS / ACCOUNTS, "{body}");
    true
}

async fn dies_once(killed: &str, of: &str, end: End) {
    let begin = now() - MINUTE;
    let (upstream, (documents, _)) = (posts(begin).await, serve_documents().await);
    let dir = tempfile::tempdir().unwrap();
    let text = settings(&dir, &upstream, &documents);
    let aerie = Aerie::launch(dir.path().join("aerie.toml"), &text, &["--fail-part", killed], &[]);
    let said = format!("--fail-part {killed}");
    match end {
        Fatal => {
            let code = aerie.code(60).await;
            let log = aerie.log();
            assert_ne!(code, Some(0), "{killed}: {log}");
            let words = format!("the part {of:?} ended: panic: {said}");
            assert!(log.contains(&words), "{killed}: {words} in {log}");
        }
        Restart => {
            aerie.serves().await;
            let back = async || {
                let part = part(&aerie.status().await, of);
                part["restarts"] == 1 && part["state"] == "running"
            };
            aerie.until(&format!("{killed} runs again"), 60, back).await;
            let why = part(&aerie.status().await, of)["last_error"].to_string();
            assert!(why.contains(&said), "{killed}: {why}");
            // It goes on where it was: nothing is missing, nothing is there twice.
            let all = async || all_is_there(&aerie, begin).await;
            aerie.until(&format!("all is there without {killed}"), 60, all).await;
            let page = aerie.command(&["status"]);
            assert!(page.contains(&format!("part {of}: running, restarts 1")), "{killed}: {page}");
            aerie.stop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_dies_once_and_the_rule_of_its_row_holds() {
    for some in KILLED.chunks(6) {
        let killed = some.iter().map(|(killed, of, end)| dies_once(killed, of, *end));
        futures_util::future::join_all(killed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_the_status_is_one_that_was_killed() {
    let (upstream, (documents, _)) = (posts(now()).await, serve_documents().await);
    let dir = tempfile::tempdir().unwrap();
    let text = settings(&dir, &upstream, &documents);
    let aerie = Aerie::start(dir.path().join("aerie.toml"), &text).await;
    let status = aerie.status().await;
    let names = status["parts"].as_array().unwrap().iter();
    let names: BTreeSet<&str> = names.map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, KILLED.iter().map(|(_, of, _)| *of).collect());
    aerie.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_what_an_upstream_lacks() {
    let (documents, _) = serve_documents().await;
    for (upstream, ready, words) in [
        ("ws://127.0.0.1:9".to_owned(), 503, "ws://127.0.0.1:9: not reached yet"),
        (posts(now() - 200 * MINUTE).await, 503, "3 h behind"),
        (
            server::posts(now() - MINUTE, EVENTS, ACCOUNTS, "another").await,
            503,
            "nearly all that it sends is dropped",
        ),
        (posts(now() - MINUTE).await, 200, "ready"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = settings(&dir, &upstream, &documents);
        let aerie = Aerie::start(dir.path().join("aerie.toml"), &text).await;
        let said = async || {
            let (status, body) = aerie.ask("GET /readyz", "").await;
            status == ready && body.contains(words)
        };
        aerie.until(&format!("{ready} {words}"), 30, said).await;
        aerie.stop();
    }
}

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(dir: &tempfile::TempDir) -> (Self, String) {
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        (Self { socket }, path.to_str().unwrap().to_owned())
    }

    fn told(&self) -> String {
        let mut bytes = [0; 200];
        let count = self.socket.recv(&mut bytes).expect("something is said");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    /// Reads until something else than a sign of life is said.
    fn told_but_alive(&self) -> String {
        loop {
            let told = self.told();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_start_life_and_stop() {
    let (upstream, (documents, _)) = (posts(now()).await, serve_documents().await);
    let dir = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::new(&dir);
    let text = settings(&dir, &upstream, &documents);
    let env = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "1000000")];
    let aerie = Aerie::launch(dir.path().join("aerie.toml"), &text, &[], &env);
    assert_eq!(manager.told_but_alive(), "READY=1");
    assert_eq!(aerie.ask("GET /xrpc/_health", "").await.0, 200, "ready means that it answers");
    assert_eq!([manager.told(), manager.told(), manager.told()], ["WATCHDOG=1"; 3]);
    aerie.stop();
    assert_eq!(manager.told_but_alive(), "STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_hangs_ends_the_signs_of_life_and_not_the_stop() {
    for (hung, words) in [("lane", "the verify lane"), ("writer", "the writer")] {
        let (upstream, (documents, _)) = (posts(now()).await, serve_documents().await);
        let dir = tempfile::tempdir().unwrap();
        let (manager, path) = Manager::new(&dir);
        let text = settings(&dir, &upstream, &documents);
        let env = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "1000000")];
        let hang = format!("{hung}:hang");
        let args = ["--fail-part", hang.as_str()];
        let aerie = Aerie::launch(dir.path().join("aerie.toml"), &text, &args, &env);
        assert_eq!(manager.told_but_alive(), "READY=1");
        let stuck = async || {
            let log = aerie.log();
            log.contains(&format!("watchdog: {words}")) && log.contains("does not get on")
        };
        aerie.until(&format!("{hung} is missed"), 30, stuck).await;
        if hung == "lane" {
            let begun = std::time::Instant::now();
            aerie.stop();
            assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        }
    }
}
