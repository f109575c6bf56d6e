//! What tests with a real server share: the server as a process, the Jetstream that it follows, and the documents that it
//! asks for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// Text that no compression makes shorter.
pub(crate) fn noise(seed: u64, len: usize) -> String {
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

/// A Jetstream of `count` messages, message `n` at `begin + n` microseconds.
pub(crate) async fn jetstream(
    begin: u64,
    count: u64,
    message: impl Fn(u64) -> String + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let message = Arc::new(message);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let message = Arc::clone(&message);
            tokio::spawn(async move {
                let cursor = Arc::<AtomicU64>::default();
                let seen = Arc::clone(&cursor);
                #[allow(clippy::result_large_err, reason = "the trait's")]
                let look = move |request: &Request, response: Response| {
                    let query = request.uri().query().unwrap_or_default();
                    let at = query.split('&').find_map(|p| p.strip_prefix("cursor="));
                    seen.store(at.and_then(|at| at.parse().ok()).unwrap_or(0), Ordering::SeqCst);
                    Ok(response)
                };
                let accepted = tokio_tungstenite::accept_hdr_async(stream, look).await;
                let Ok(mut socket) = accepted else { return };
                let first = cursor.load(Ordering::SeqCst).saturating_sub(begin);
                for n in first..count {
                    if socket.send(Message::text(message(n))).await.is_err() {
                        return;
                    }
                }
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    url
}

/// The DID of an account.
pub(crate) fn did(n: u64) -> String {
    let letter = |n: u64| char::from(b'a' + u8::try_from(n % 26).unwrap());
    format!("did:plc:aaaaaaaaaaaaaaaaaaaaaa{}{}", letter(n / 26), letter(n))
}

/// The time in microseconds.
pub(crate) fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// A Jetstream of `count` posts of so many `accounts` by turns, the first at `begin`; each says that it is `signed`.
pub(crate) async fn posts(begin: u64, count: u64, accounts: u64, signed: &'static str) -> String {
    jetstream(begin, count, move |n| {
        let rkey = Tid::from_micros(begin + n, 1).to_string();
        let record = json!({
            "$type": "app.bsky.feed.post", "text": POST_TEXT, "createdAt": "2026-01-01T00:00:00.000Z",
        });
        let mut of = record.clone();
        of["text"] = signed.into();
        let cid = cid::for_record(&dag_cbor::encode(&dag_cbor::from_json(&of)));
        let commit = json!({
            "rev": rkey, "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
            "record": record, "cid": cid.to_string(),
        });
        let did = did(n % accounts);
        json!({ "did": did, "time_us": begin + n, "kind": "commit", "commit": commit }).to_string()
    })
    .await
}

/// What [`posts`] say.
pub(crate) const POST_TEXT: &str = "hi";

/// How many posts an account shows.
pub(crate) async fn posts_of(aerie: &Aerie, n: u64) -> u64 {
    let profile = format!("GET /xrpc/app.bsky.actor.getProfile?actor={}", did(n));
    let (_, body) = aerie.ask(&profile, "").await;
    let profile: Value = serde_json::from_str(&body).unwrap_or_default();
    profile["postsCount"].as_u64().unwrap_or(0)
}

/// PLC directory and webhook in one: what was posted to the latter.
pub(crate) async fn serve_documents() -> (String, Arc<Mutex<Vec<Value>>>) {
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
                let date = httpdate::fmt_http_date(std::time::SystemTime::now());
                let head = format!(
                    "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
            });
        }
    });
    (url, told)
}

/// A port that nobody listens on: of those that the system gives to no connection, which could have it by the time that it
/// is listened on.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 16_000 + u16::try_from(next % 16_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
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

/// The server.
pub(crate) struct Aerie {
    pub(crate) config: PathBuf,
    port: u16,
    child: Mutex<Child>,
    extra: Extra,
}

/// Arguments of `serve` and variables of the environment.
#[derive(Default)]
struct Extra {
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Aerie {
    /// With `config`, which `listen` and `password` of the operator are put before.
    pub(crate) async fn start(config: PathBuf, text: &str) -> Arc<Self> {
        let aerie = Self::launch(config, text, &[], &[]);
        aerie.serves().await;
        aerie
    }

    /// The same with arguments and environment, without waiting until it serves.
    pub(crate) fn launch(
        config: PathBuf,
        text: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Arc<Self> {
        let port = free_port();
        let head = format!("[server]\nlisten = \"127.0.0.1:{port}\"\n[admin]\npassword = \"x\"\n");
        fs::write(&config, head + text).unwrap();
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let extra = Extra {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(pair).collect(),
        };
        let child = Mutex::new(Self::spawn(&config, &extra));
        Arc::new(Self { config, port, child, extra })
    }

    fn spawn(config: &Path, extra: &Extra) -> Child {
        let log = File::options().create(true).append(true).open(config.with_extension("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
        command.args(["serve", "--config"]).arg(config).args(&extra.args).stdin(Stdio::null());
        command.envs(extra.env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
        let lines: Vec<_> =
            log.lines().filter(|line| !line.contains("Finished ingestion")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Status and body of an answer, 0 without one.
    pub(crate) async fn ask(&self, head: &str, body: &str) -> (u16, String) {
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

    /// The most bytes of memory that it had so far, as the kernel counts them.
    #[allow(dead_code, reason = "only one test weighs it")]
    pub(crate) fn peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.lock().id());
        let text = fs::read_to_string(path).unwrap();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        kib.unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    pub(crate) async fn status(&self) -> Value {
        let (_, body) = self.ask("GET /admin/status", "").await;
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Waits until `condition`.
    pub(crate) async fn until(
        &self,
        what: &str,
        seconds: u64,
        mut condition: impl AsyncFnMut() -> bool,
    ) {
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

    pub(crate) async fn serves(&self) {
        let healthy = async || self.ask("GET /xrpc/_health", "").await.0 == 200;
        self.until("it serves", 30, healthy).await;
    }
}

impl Aerie {
    /// Ends it as a power cut would, and starts it again.
    pub(crate) async fn kill_and_start(&self) {
        {
            let mut child = self.child.lock();
            child.kill().unwrap();
            child.wait().unwrap();
            *child = Self::spawn(&self.config, &self.extra);
        }
        self.serves().await;
    }

    /// The exit code of one that ends by itself.
    #[allow(dead_code, reason = "not every test lets it end")]
    pub(crate) async fn code(&self, seconds: u64) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(ended) = self.child.lock().try_wait().unwrap() {
                return ended.code();
            }
            assert!(Instant::now() < end, "it did not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&self) {
        let pid = self.child.lock().id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let code = self.child.lock().wait().unwrap();
        assert_eq!(code.code(), Some(0), "{}", self.log());
    }

    /// Runs a command on its configuration.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
        let ended = command.args(args).arg("--config").arg(&self.config).output().unwrap();
        let (out, err) = (&ended.stdout, &ended.stderr);
        let text = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
        assert!(ended.status.success(), "{args:?}: {text}");
        text
    }
}

impl Drop for Aerie {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
