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

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aerie::repo::dag_cbor;
use aerie::syntax::{Tid, cid};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

const MB: u64 = 1 << 20;
/// The file system, and what of it is free at first.
const DISK: u64 = 1100 * MB;
const FREE: u64 = 480 * MB;
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
    fn did(n: u64) -> String {
        let letter = |n: u64| char::from(b'a' + u8::try_from(n % 26).unwrap());
        format!("did:plc:aaaaaaaaaaaaaaaaaaaaaa{}{}", letter(n / 26), letter(n))
    }

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
        let did = Self::did(n / 2 % ACCOUNTS);
        json!({ "did": did, "time_us": self.begin + n, "kind": "commit", "commit": commit })
            .to_string()
    }

    /// A Jetstream of it.
    async fn serve(self: Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let world = Arc::clone(&self);
                tokio::spawn(async move {
                    let cursor = Arc::<AtomicU64>::default();
                    let seen = Arc::clone(&cursor);
                    #[allow(clippy::result_large_err, reason = "the trait's")]
                    let look = move |request: &Request, response: Response| {
                        let query = request.uri().query().unwrap_or_default();
                        let at = query.split('&').find_map(|p| p.strip_prefix("cursor="));
                        seen.store(
                            at.and_then(|at| at.parse().ok()).unwrap_or(0),
                            Ordering::SeqCst,
                        );
                        Ok(response)
                    };
                    let accepted = tokio_tungstenite::accept_hdr_async(stream, look).await;
                    let Ok(mut socket) = accepted else { return };
                    let first = cursor.load(Ordering::SeqCst).saturating_sub(world.begin);
                    for n in first..EVENTS {
                        if socket.send(Message::text(world.message(n))).await.is_err() {
                            return;
                        }
                    }
                    while let Some(Ok(_)) = socket.next().await {}
                });
            }
        });
        url
    }
}

/// Text that no compression makes shorter.
fn noise(seed: u64, len: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(LETTERS[usize::try_from(state % 64).unwrap()])
        })
        .collect()
}

/// PLC directory and webhook in one: what was posted to the latter.
async fn serve_documents() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, pds) = (Arc::<Mutex<Vec<Value>>>::default(), url.clone());
    let events = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (events, pds) = (Arc::clone(&events), pds.clone());
            tokio::spawn(async move {
                let (head, body) = read_message(&mut stream, true).await;
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, answer) = if head.starts_with("POST /hook") {
                    events.lock().push(serde_json::from_str(&body).unwrap());
                    (200, json!({}))
                } else if let Some(did) = path.strip_prefix("/did:plc:") {
                    let service = json!([{
                        "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
                    }]);
                    let id = format!("did:plc:{did}");
                    (200, json!({ "id": id, "alsoKnownAs": [], "service": service }))
                } else {
                    (404, json!({ "error": "NotFound", "message": "not here" }))
                };
                let answer = answer.to_string();
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
            });
        }
    });
    (url, told)
}

/// Head and body of an HTTP message; of an answer, up to the end of the connection.
async fn read_message(stream: &mut TcpStream, request: bool) -> (String, String) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let n = stream.read(&mut piece).await.unwrap_or(0);
        bytes.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let parts = text.split_once("\r\n\r\n");
        let length = parts.and_then(|(head, _)| {
            let lower = head.to_ascii_lowercase();
            lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        });
        let whole = request && parts.is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
        if n == 0 || whole {
            let (head, body) = parts.unwrap_or_default();
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// The server on that disk.
struct Aerie {
    config: PathBuf,
    port: u16,
    child: Mutex<Child>,
}

impl Aerie {
    fn spawn(config: &Path) -> Child {
        let log = File::options().create(true).append(true).open(config.with_extension("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
        command.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap()
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
        let lines: Vec<_> =
            log.lines().filter(|line| !line.contains("Finished ingestion")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Status and body of an answer, 0 without one.
    async fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return (0, String::new());
        };
        // admin:x
        let request = format!(
            "{head} HTTP/1.1\r\nhost: a\r\nauthorization: Basic YWRtaW46eA==\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(request.as_bytes()).await;
        let (head, body) = read_message(&mut stream, false).await;
        (head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), body)
    }

    async fn status(&self) -> Value {
        let (_, body) = self.ask("GET /admin/status", "").await;
        serde_json::from_str(&body).unwrap_or_default()
    }

    async fn step(&self) -> String {
        self.status().await["disk"]["step"].as_str().unwrap_or_default().to_owned()
    }

    /// A change that the server has to keep.
    async fn save(&self) -> (u16, String) {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": World::did(0) });
        let body = json!({ "subject": subject, "takedown": { "applied": false } }).to_string();
        self.ask("POST /xrpc/com.atproto.admin.updateSubjectStatus", &body).await
    }

    /// Waits until `condition`.
    async fn until(&self, what: &str, seconds: u64, mut condition: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !condition().await {
            let ended = self.child.lock().try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) before: {what}\n{}", self.log());
            if Instant::now() > end {
                panic!("not in time: {what}: {:#}\n{}", self.status().await["disk"], self.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn serves(&self) {
        let healthy = async || self.ask("GET /xrpc/_health", "").await.0 == 200;
        self.until("it serves", 30, healthy).await;
    }

    async fn posts_of(&self, n: u64) -> u64 {
        let profile = format!("GET /xrpc/app.bsky.actor.getProfile?actor={}", World::did(n));
        let (_, body) = self.ask(&profile, "").await;
        let profile: Value = serde_json::from_str(&body).unwrap_or_default();
        profile["postsCount"].as_u64().unwrap_or(0)
    }
}

impl Drop for Aerie {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Reads without pause while `on`; every answer has to be right.
fn read_all_the_time(aerie: &Arc<Aerie>, on: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (aerie, on) = (Arc::clone(aerie), Arc::clone(on));
    tokio::spawn(async move {
        let mut reads = 0;
        while on.load(Ordering::SeqCst) {
            let actor = World::did(reads % ACCOUNTS);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_runs_full_and_nothing_is_lost() {
    let Some(disk) = Disk::mount() else {
        eprintln!(
            "skipped: a file system cannot be mounted here (root and a loop device are needed)"
        );
        return;
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let begin = u64::try_from(now.as_micros()).unwrap() - 3_600_000_000;
    let world = Arc::new(World { begin });
    let jetstream = Arc::clone(&world).serve().await;
    let (documents, told) = serve_documents().await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let config = disk.folder.path().join("aerie.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[admin]\npassword = \"x\"\n\
         [store]\npath = {:?}\nmemory_budget = \"64MB\"\nreserve = 0\nreserve_file = \"32MB\"\n\
         [network]\nupstreams = []\njetstream = [{jetstream:?}]\nplc_url = {documents:?}\n\
         allow_private_addresses = true\nfetch_on_read = false\n\
         [alerts]\nwebhook = \"{documents}/hook\"\n",
        disk.root().join("data")
    );
    fs::write(&config, text).unwrap();
    disk.fill("ballast", FREE);
    let child = Mutex::new(Aerie::spawn(&config));
    let aerie = Arc::new(Aerie { config, port, child });
    aerie.serves().await;
    let began = async || {
        let mut begun = true;
        for n in 0..ACCOUNTS {
            begun &= aerie.posts_of(n).await > 0;
        }
        begun
    };
    aerie.until("every account has posts", 60, began).await;
    assert_eq!(aerie.ask("GET /readyz", "").await, (200, "ready\n".to_owned()));

    // The load fills it: ingest stops, reads and private writes go on.
    let on = Arc::new(AtomicBool::new(true));
    let reading = read_all_the_time(&aerie, &on);
    aerie.until("ingest stops", 300, async || aerie.step().await == "stop").await;
    let (ready, why) = aerie.ask("GET /readyz", "").await;
    assert!(ready == 503 && why.contains("ingest is stopped"), "{ready} {why}");
    assert_eq!(aerie.save().await.0, 200);
    let status = aerie.status().await;
    assert!(status["disk"]["reserve_file"].as_u64().unwrap() >= 32_000_000, "{}", status["disk"]);
    assert_eq!(status["counters"]["disk.step"]["stop"], 1);
    let stopped: u64 = async { aerie.posts_of(0).await }.await;
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
    let (status, body) = aerie.save().await;
    assert!(status == 503 && body.contains("InsufficientStorage"), "{status} {body}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(aerie.posts_of(0).await, stopped);
    on.store(false, Ordering::SeqCst);
    let reads = reading.await.expect("every read was answered");
    assert!(reads > 100, "{reads}");

    // Killed there, it comes up again and reads.
    {
        let mut child = aerie.child.lock();
        child.kill().unwrap();
        child.wait().unwrap();
        *child = Aerie::spawn(&aerie.config);
    }
    aerie.serves().await;
    assert_eq!(aerie.posts_of(0).await, stopped);
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
    assert_eq!(aerie.save().await.0, 200);
    for n in 0..ACCOUNTS {
        assert_eq!(aerie.posts_of(n).await, EVENTS / 2 / ACCOUNTS, "{n}");
    }
    for n in (1..EVENTS).step_by(998) {
        let (collection, rkey) = world.path(n);
        let repo = World::did(n / 2 % ACCOUNTS);
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
    assert!(first.iter().all(|step| *step == "hold_backfill" || *step == "prune"), "{steps:?}");
    assert!(steps.contains(&"stop".to_owned()), "{steps:?}");
    assert_eq!(steps.last().unwrap(), "normal", "{steps:?}");

    let pid = aerie.child.lock().id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let code = aerie.child.lock().wait().unwrap();
    assert_eq!(code.code(), Some(0), "{}", aerie.log());
    let check = Command::new(env!("CARGO_BIN_EXE_aerie"))
        .args(["db", "check", "--config"])
        .arg(&aerie.config)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
