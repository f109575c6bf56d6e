//! A small disk that runs full under load, really: a file system of its own, a Jetstream that sends faster than there is
//! room for, and something else that takes the rest. Reads never fail, nothing is lost, and it goes on by itself.
//!
//! Mounting needs root and a loop device; without them the test says so and does nothing.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: a panic is its failure"
)]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test says why it is skipped")]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aerie::repo::dag_cbor;
use aerie::syntax::{Tid, cid};
use serde_json::{Value, json};
use server::{Aerie, did, jetstream, noise, now, posts_of, serve_documents};

const MB: u64 = 1 << 20;
/// The file system; what of it is free at first, and where retention makes room.
const DISK: u64 = 1100 * MB;
const FREE: u64 = 480 * MB;
const FREE_TO_PRUNE: u64 = 445 * MB;
const ACCOUNTS: u64 = 40;
/// Half of them posts, half records of 2.5 kB that do not compress.
const EVENTS: u64 = 100_000;

/// A file system in a file, mounted as long as this lives.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(DISK).unwrap();
        let disk = Self { folder };
        fs::create_dir(disk.root()).unwrap();
        let run = |command: &mut Command| {
            let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            ended.is_ok_and(|status| status.success())
        };
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.root()));
        if !made {
            eprintln!(
                "skipped: a file system cannot be mounted here (root and a loop device are needed)"
            );
        }
        made.then_some(disk)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn free(&self) -> u64 {
        aerie::store::free_space(&self.root())
    }

    /// Takes space away until about `free` bytes are left; with 0 really all of it.
    fn fill(&self, name: &str, free: u64) {
        let mut file = File::create(self.root().join(name)).unwrap();
        let block = vec![1; 256 << 10];
        while self.free() > free && file.write_all(&block).is_ok() {}
        if free == 0 {
            while file.write_all(&block[..4096]).is_ok() {}
        }
    }

    fn clear(&self, name: &str) {
        fs::remove_file(self.root().join(name)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root()).stderr(Stdio::null()).status();
    }
}

/// Everything that is said, the same each time: event `n` is at `begin + n` microseconds.
struct World {
    begin: u64,
}

impl World {
    fn path(&self, n: u64) -> (&'static str, String) {
        let rkey = Tid::from_micros(self.begin + n, 1).to_string();
        (if n.is_multiple_of(2) { "app.bsky.feed.post" } else { "com.example.note" }, rkey)
    }

    fn message(&self, n: u64) -> String {
        let (collection, rkey) = self.path(n);
        let text = noise(n, if n.is_multiple_of(2) { 250 } else { 2500 });
        let record =
            json!({ "$type": collection, "text": text, "createdAt": "2026-01-01T00:00:00.000Z" });
        let cid = cid::for_record(&dag_cbor::encode(&dag_cbor::from_json(&record)));
        let commit = json!({
            "rev": rkey, "operation": "create", "collection": collection, "rkey": rkey,
            "record": record, "cid": cid.to_string(),
        });
        let did = did(n / 2 % ACCOUNTS);
        json!({ "did": did, "time_us": self.begin + n, "kind": "commit", "commit": commit })
            .to_string()
    }
}

async fn all_post(aerie: &Aerie) -> bool {
    for n in 0..ACCOUNTS {
        if posts_of(aerie, n).await == 0 {
            return false;
        }
    }
    true
}

async fn step(aerie: &Aerie) -> String {
    aerie.status().await["disk"]["step"].as_str().unwrap_or_default().to_owned()
}

/// Whether nothing is read, and nothing that was read waits to be written.
async fn is_at_rest(aerie: &Aerie) -> bool {
    let status = aerie.status().await;
    let mut upstreams = status["upstreams"].as_array().unwrap().iter();
    let queued = |of: &Value| of["queue_bytes"].as_u64().unwrap_or(0);
    status["store"]["waiting"] == 0
        && upstreams.all(|of| of["connected"] != true && queued(of) == 0)
}

/// A change that the server has to keep.
async fn save(aerie: &Aerie) -> (u16, String) {
    let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did(0) });
    let body = json!({ "subject": subject, "takedown": { "applied": false } }).to_string();
    aerie.ask("POST /xrpc/com.atproto.admin.updateSubjectStatus", &body).await
}

/// Reads without pause while `on`; every answer has to be right.
fn read_all_the_time(aerie: &Arc<Aerie>, on: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (aerie, on) = (Arc::clone(aerie), Arc::clone(on));
    tokio::spawn(async move {
        let mut reads = 0;
        while on.load(Ordering::SeqCst) {
            let actor = did(reads % ACCOUNTS);
            for path in [
                format!("/xrpc/app.bsky.actor.getProfile?actor={actor}"),
                format!("/xrpc/app.bsky.feed.getAuthorFeed?actor={actor}&limit=30"),
                "/xrpc/_health".to_owned(),
            ] {
                let (status, body) = aerie.ask(&format!("GET {path}"), "").await;
                let off = !on.load(Ordering::SeqCst);
                assert!(status == 200 || off, "{path}: {status} {body}\n{}", aerie.log());
                reads += 1;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        reads
    })
}

fn settings(disk: &Disk, upstream: &str, documents: &str, reserve_file: &str) -> String {
    format!(
        "[store]\npath = {:?}\nmemory_budget = \"64MB\"\nreserve = 0\nreserve_file = {reserve_file:?}\n\
         [network]\nupstreams = []\njetstream = [{upstream:?}]\nplc_url = {documents:?}\n\
         allow_private_addresses = true\nfetch_on_read = false\n",
        disk.root().join("data")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_runs_full_and_nothing_is_lost() {
    let Some(disk) = Disk::mount() else { return };
    let begin = now() - 600_000_000;
    let world = Arc::new(World { begin });
    let of = Arc::clone(&world);
    let upstream = jetstream(begin, EVENTS, move |n| of.message(n)).await;
    let (documents, told) = serve_documents().await;
    let config = disk.folder.path().join("aerie.toml");
    let alerts = format!("[alerts]\nwebhook = \"{documents}/hook\"\n");
    let text = settings(&disk, &upstream, &documents, "32MB") + &alerts;
    disk.fill("ballast", FREE);
    let aerie = Aerie::start(config, &text).await;
    aerie.until("every account has posts", 60, async || all_post(&aerie).await).await;
    assert_eq!(aerie.ask("GET /readyz", "").await, (200, "ready\n".to_owned()));

    // The load fills it: ingest stops, reads and private writes go on.
    let on = Arc::new(AtomicBool::new(true));
    let reading = read_all_the_time(&aerie, &on);
    aerie.until("ingest stops", 300, async || step(&aerie).await == "stop").await;
    let (ready, why) = aerie.ask("GET /readyz", "").await;
    assert!(ready == 503 && why.contains("ingest is stopped"), "{ready} {why}");
    assert_eq!(save(&aerie).await.0, 200);
    let status = aerie.status().await;
    // On a busy machine more comes in before the disk is looked at again, and then the file is given up at once.
    let held = status["disk"]["reserve_file"].as_u64().unwrap() >= 32_000_000;
    assert!(held || aerie.log().contains("the reserve file is given up"), "{}", status["disk"]);
    assert_eq!(status["counters"]["disk.step"]["stop"], 1);
    // What was on its way is let in yet.
    aerie.until("nothing is on its way", 60, async || is_at_rest(&aerie).await).await;
    let stopped = posts_of(&aerie, 0).await;
    assert!(stopped < EVENTS / 2 / ACCOUNTS, "all of it found room");

    // Something else takes the rest, and what the reserve file held.
    disk.fill("more", 0);
    aerie
        .until("the reserve file is given up", 20, async || {
            aerie.status().await["disk"]["reserve_file"] == 0
        })
        .await;
    disk.fill("most", 0);
    assert!(disk.free() < MB, "{}", disk.free());
    let (status, body) = save(&aerie).await;
    assert!(status == 503 && body.contains("InsufficientStorage"), "{status} {body}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(posts_of(&aerie, 0).await, stopped);
    on.store(false, Ordering::SeqCst);
    let reads = reading.await.expect("every read was answered");
    assert!(reads > 100, "{reads}");

    // Killed there, it comes up again and reads.
    aerie.kill_and_start().await;
    assert_eq!(posts_of(&aerie, 0).await, stopped);
    on.store(true, Ordering::SeqCst);
    let reading = read_all_the_time(&aerie, &on);
    aerie.until("it says why", 10, async || aerie.ask("GET /readyz", "").await.0 == 503).await;

    // Space returns: it goes on by itself, to the end.
    for name in ["ballast", "more", "most"] {
        disk.clear(name);
    }
    let last = begin + EVENTS - 1;
    let all = async || aerie.status().await["upstreams"][0]["seq"].as_u64() == Some(last);
    aerie.until("everything is there", 300, all).await;
    assert_eq!(aerie.ask("GET /readyz", "").await.0, 200);
    assert_eq!(save(&aerie).await.0, 200);
    for n in 0..ACCOUNTS {
        assert_eq!(posts_of(&aerie, n).await, EVENTS / 2 / ACCOUNTS, "{n}");
    }
    for n in (1..EVENTS).step_by(998) {
        let (collection, rkey) = world.path(n);
        let repo = did(n / 2 % ACCOUNTS);
        let query = format!("repo={repo}&collection={collection}&rkey={rkey}");
        let (status, body) =
            aerie.ask(&format!("GET /xrpc/com.atproto.repo.getRecord?{query}"), "").await;
        assert!(status == 200 && body.contains(&noise(n, 2500)), "{n}: {status}");
    }
    on.store(false, Ordering::SeqCst);
    reading.await.expect("every read was answered");

    // The webhook heard of each step, upwards first.
    let steps: Vec<_> =
        told.lock().iter().map(|e| e["step"].as_str().unwrap().to_owned()).collect();
    let first: Vec<_> = steps.iter().take_while(|step| *step != "stop").collect();
    assert!(
        first.iter().all(|step| ["hold_backfill", "prune", "hold_search"].contains(&step.as_str())),
        "{steps:?}"
    );
    assert!(steps.contains(&"stop".to_owned()), "{steps:?}");
    assert_eq!(steps.last().unwrap(), "normal", "{steps:?}");

    aerie.stop();
    aerie.command(&["db", "check"]);
}

/// Posts of 5 kB, over the last four weeks; the rest after the first comes slowly.
const AGED: u64 = 14_000;
const AT_ONCE: u64 = 10_000;
const WEEKS: u64 = 28 * 86_400_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn retention_makes_room_before_the_disk_is_full() {
    let Some(disk) = Disk::mount() else { return };
    let begin = now() - 600_000_000;
    let message = move |n: u64| {
        if n > AT_ONCE {
            std::thread::sleep(Duration::from_millis(3));
        }
        let rkey = Tid::from_micros(begin - WEEKS + n * (WEEKS / AGED), 1).to_string();
        let record = json!({
            "$type": "app.bsky.feed.post", "text": "hi", "pad": noise(n, 5000),
            "createdAt": "2026-01-01T00:00:00.000Z",
        });
        let cid = cid::for_record(&dag_cbor::encode(&dag_cbor::from_json(&record)));
        let commit = json!({
            "rev": rkey, "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
            "record": record, "cid": cid.to_string(),
        });
        let (did, time) = (did(n % ACCOUNTS), begin + n);
        json!({ "did": did, "time_us": time, "kind": "commit", "commit": commit }).to_string()
    };
    let upstream = jetstream(begin, AGED, message).await;
    let (documents, _) = serve_documents().await;
    let scope = "[scope]\nmode = \"window\"\ndays = 30\n";
    let text = settings(&disk, &upstream, &documents, "0") + scope;
    disk.fill("ballast", FREE_TO_PRUNE);
    let aerie = Aerie::start(disk.folder.path().join("aerie.toml"), &text).await;
    aerie.until("every account has posts", 60, async || all_post(&aerie).await).await;
    let on = Arc::new(AtomicBool::new(true));
    let reading = read_all_the_time(&aerie, &on);
    let last = begin + AGED - 1;
    let all = async || aerie.status().await["upstreams"][0]["seq"].as_u64() == Some(last);
    aerie.until("everything came in", 300, all).await;
    // The run of every hour may have come after it, and found nothing any more.
    let deleted = async || aerie.status().await["counters"]["retention.deleted"]["post"].as_u64();
    let ran = async || deleted().await > Some(AGED / 2);
    aerie.until("retention took more than half", 120, ran).await;
    let idle = async || aerie.status().await["scope"]["running"].is_null();
    aerie.until("retention is through", 120, idle).await;
    on.store(false, Ordering::SeqCst);
    reading.await.expect("every read was answered");

    let status = aerie.status().await;
    let (report, steps) = (&status["scope"]["last"], &status["counters"]["disk.step"]);
    assert!(steps["prune"].as_u64() >= Some(1), "{steps}");
    assert!(report["owed"] == 0 && report["error"].is_null(), "{report}");
    aerie
        .until("there is room", 30, async || ["normal", "warn"].contains(&&*step(&aerie).await))
        .await;
    // Nobody has to do with any of them: the last three days are left, and all of what came during the run.
    let left = posts_of(&aerie, 0).await;
    assert!((AGED / 10 / ACCOUNTS..AGED / 2 / ACCOUNTS).contains(&left), "{left}");
    aerie.stop();
    aerie.command(&["db", "check"]);
}
