//! A server that is killed in the middle of retention, again and again: the run goes on where it was, and in the end the
//! store is as if nothing had happened. What members wrote is no stranger's at any moment.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aerie::repo::dag_cbor;
use aerie::syntax::{Tid, cid};
use serde_json::{Value, json};
use server::{Aerie, did, jetstream, noise, serve_documents};

const ACCOUNTS: u64 = 40;
const EVENTS: u64 = 6000;
const DAY: u64 = 86_400_000_000;

/// Everything that is said, all of it a hundred days ago: posts, and of each a like, a repost and a reply by others.
/// Account 0 is the member and follows account 1.
struct World {
    now: u64,
}

impl World {
    fn rkey(&self, n: u64) -> String {
        Tid::from_micros(self.now - 100 * DAY + n * 1000, 1).to_string()
    }

    fn message(&self, n: u64) -> String {
        let root = n / 4 * 4;
        let uri =
            format!("at://{}/app.bsky.feed.post/{}", did(root / 4 % ACCOUNTS), self.rkey(root));
        let subject = json!({ "uri": uri, "cid": cid::for_record(uri.as_bytes()).to_string() });
        let mut record = match n % 4 {
            _ if n == 1 => json!({ "$type": "app.bsky.graph.follow", "subject": did(1) }),
            0 => json!({ "$type": "app.bsky.feed.post", "text": noise(n, 100) }),
            1 => json!({ "$type": "app.bsky.feed.like", "subject": subject }),
            2 => json!({ "$type": "app.bsky.feed.repost", "subject": subject }),
            _ => {
                let reply = json!({ "root": subject, "parent": subject });
                json!({ "$type": "app.bsky.feed.post", "text": noise(n, 100), "reply": reply })
            }
        };
        record["createdAt"] = "2026-01-01T00:00:00.000Z".into();
        let who = if n == 1 { 0 } else { (root / 4 + n % 4 * 7) % ACCOUNTS };
        let cid = cid::for_record(&dag_cbor::encode(&dag_cbor::from_json(&record)));
        let commit = json!({
            "rev": self.rkey(n), "operation": "create", "collection": record["$type"],
            "rkey": self.rkey(n), "record": record, "cid": cid.to_string(),
        });
        let time = self.now + n;
        json!({ "did": did(who), "time_us": time, "kind": "commit", "commit": commit }).to_string()
    }
}

/// What is left of everybody: counts, and the feed with its counts.
async fn everything(aerie: &Aerie) -> Vec<Value> {
    let mut out = Vec::new();
    for n in 0..ACCOUNTS {
        for path in ["app.bsky.actor.getProfile?", "app.bsky.feed.getAuthorFeed?limit=100&"] {
            let (status, body) = aerie.ask(&format!("GET /xrpc/{path}actor={}", did(n)), "").await;
            assert_eq!(status, 200, "{body}");
            out.push(serde_json::from_str(&body).unwrap());
        }
    }
    out
}

async fn last_run(aerie: &Arc<Aerie>) -> Value {
    let ended = async || aerie.status().await["scope"]["running"].is_null();
    aerie.until("retention has run", 120, ended).await;
    aerie.status().await["scope"]["last"].clone()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_goes_on_where_it_was() {
    let now = server::now() - 3_600_000_000;
    let world = World { now };
    let upstream = jetstream(now, EVENTS, move |n| world.message(n)).await;
    let (documents, _) = serve_documents().await;
    let folder = tempfile::tempdir().unwrap();
    let start = async |name: &str, data: &str, scope: &str| {
        let text = format!(
            "[store]\npath = {:?}\nmemory_budget = \"64MB\"\nreserve_file = \"0\"\n\
             [network]\nupstreams = []\njetstream = [{upstream:?}]\nplc_url = {documents:?}\n\
             allow_private_addresses = true\nfetch_on_read = false\n{scope}",
            folder.path().join(data)
        );
        Aerie::start(folder.path().join(format!("{name}.toml")), &text).await
    };
    let aerie = start("whole", "data", "").await;
    let last = now + EVENTS - 1;
    let all = async || aerie.status().await["upstreams"][0]["seq"].as_u64() == Some(last);
    aerie.until("everything is there", 120, all).await;
    aerie.stop();
    drop(aerie);
    copy(&folder.path().join("data"), &folder.path().join("twin"));

    let scope = format!("[scope]\nmode = \"window\"\ndays = 30\nmembers = [{:?}]\n", did(0));
    let twin = start("twin", "twin", &scope).await;
    let member = async || twin.status().await["scope"]["followed"] == 1;
    twin.until("the member is one", 20, member).await;
    twin.command(&["retention", "run", "--detach"]);
    let report = last_run(&twin).await;
    let deleted = |report: &Value| {
        let kinds = ["posts", "likes", "reposts", "follows"];
        kinds.iter().filter_map(|kind| report["deleted"][kind].as_u64()).sum::<u64>()
    };
    assert!(deleted(&report) > EVENTS / 2, "{report}");
    let right = everything(&twin).await;

    let aerie = start("killed", "data", &scope).await;
    let member = async || aerie.status().await["scope"]["followed"] == 1;
    aerie.until("the member is one", 20, member).await;
    for kill in 0..4 {
        aerie.command(&["retention", "run", "--detach"]);
        let far = async || {
            let status = aerie.status().await;
            deleted(&status["scope"]["running"]["so_far"]) > 300
        };
        aerie.until("it is in the middle of it", 60, far).await;
        // What is answered is on disk, and all that was written before it.
        aerie.command(&["account", "opt-out", "add", "--yes", &did(ACCOUNTS + kill)]);
        aerie.kill_and_start().await;
        let status = aerie.status().await;
        assert!(status["scope"]["last"].is_null(), "the run ended too early: {status}");
    }
    aerie.command(&["retention", "run", "--detach"]);
    let rest = last_run(&aerie).await;
    assert!(rest["error"].is_null() && deleted(&rest) > 0, "{rest}");
    assert!(deleted(&rest) + 4 * 300 <= deleted(&report), "it began anew: {rest}");
    let got = everything(&aerie).await;
    for (right, got) in right.iter().zip(&got) {
        assert_eq!(right, got);
    }
    for aerie in [twin, aerie] {
        aerie.stop();
        aerie.command(&["db", "check", "--full"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_wrote_stays_though_a_stream_tells_it_again_before_all_have_joined() {
    let now = server::now() - 3_600_000_000;
    let message = move |n| World { now }.message(n * 4);
    let (documents, _) = serve_documents().await;
    let folder = tempfile::tempdir().unwrap();
    let start = async |name: &str, upstream: &str, scope: &str| {
        let text = format!(
            "[store]\npath = {:?}\nreserve_file = \"0\"\n[network]\nupstreams = []\njetstream = [{upstream:?}]\n\
             plc_url = {documents:?}\nallow_private_addresses = true\nfetch_on_read = false\n{scope}",
            folder.path().join("data")
        );
        let aerie = Aerie::start(folder.path().join(format!("{name}.toml")), &text).await;
        let all = async || aerie.status().await["upstreams"][0]["seq"].as_u64() == Some(now + 4);
        aerie.until("everything is there", 120, all).await;
        aerie
    };
    let posts = async |aerie: &Aerie| {
        let of = format!("GET /xrpc/app.bsky.actor.getProfile?actor={}", did(0));
        let (status, body) = aerie.ask(&of, "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["postsCount"].clone()
    };
    let upstream = jetstream(now, 2, message).await;
    let aerie = start("before", &upstream, "").await;
    assert_eq!(posts(&aerie).await, 1);
    aerie.stop();
    drop(aerie);
    // Another stream has no cursor, so it begins with what account 0 wrote a hundred days ago. Each of those who join
    // before it takes some writes to disk.
    let upstream = jetstream(now, 2, message).await;
    let members: Vec<String> = (2..34).chain([0]).map(did).collect();
    let scope = format!("[scope]\nmode = \"window\"\ndays = 30\nmembers = {members:?}\n");
    let aerie = start("after", &upstream, &scope).await;
    assert_eq!(posts(&aerie).await, 1);
    aerie.stop();
}
