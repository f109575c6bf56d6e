//! What strangers' bytes take of memory: all of a server, as the kernel counts it, and each repo and picture, as the
//! allocator does.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::io::Cursor;
use std::sync::Arc;

use aerie::crypto::PrivateKey;
use aerie::media::{OutputFormat, Preset, fuzzing::image};
use aerie::repo::dag_cbor::{encode, from_json};
use aerie::repo::mst;
use aerie::sync::fuzzing::repo;
use aerie::syntax::{Cid, Tid, cid};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use peak_alloc::PeakAlloc;
use serde_json::json;
use server::{Aerie, did};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a small server has for pictures.
const SHARE: u64 = 80 << 20;

/// Only one test counts at a time.
static COUNTING: Mutex<()> = Mutex::const_new(());

/// What `work` takes at its most beyond what is there before.
fn taken<T>(work: impl FnOnce() -> T) -> (T, u64) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let done = work();
    (done, MEMORY.peak_usage().saturating_sub(before) as u64)
}

fn section(parts: &[&[u8]]) -> Bytes {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = if len < 128 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] };
    assert!(len < 128 * 128);
    [length, parts.concat()].concat().into()
}

/// A CAR of a signed repo with nothing in it, and its root.
fn empty_repo(did: &str, key: &PrivateKey) -> (Cid, [Bytes; 3]) {
    let rev = Tid::from_micros(1_750_000_000_000_000, 1).to_string();
    let link = |cid: &Cid| json!({ "$link": cid::to_base32(cid) });
    let mut commit = json!({
        "did": did, "version": 3, "data": link(&mst::empty_root()), "rev": rev, "prev": null,
    });
    let signature = key.sign(&encode(&from_json(&commit)));
    commit["sig"] = json!({ "$bytes": data_encoding::BASE64_NOPAD.encode(&signature) });
    let (commit, node) =
        (encode(&from_json(&commit)), encode(&from_json(&json!({"e": [], "l": null}))));
    let root = cid::for_record(&commit);
    let header = encode(&from_json(&json!({ "roots": [link(&root)], "version": 1 })));
    let blocks = [
        section(&[&header]),
        section(&[&root.to_bytes(), &commit]),
        section(&[&mst::empty_root().to_bytes(), &node]),
    ];
    (root, blocks)
}

/// Blocks that nothing names.
fn junk(count: u32) -> impl Iterator<Item = Bytes> {
    (0..count).map(|n| {
        let block = [n.to_be_bytes(); 5].concat();
        section(&[&cid::for_record(&block).to_bytes(), &block])
    })
}

/// A host sends a good commit and then hundreds of thousands of blocks that nothing names: they are read to the end, and
/// the table of them goes to disk.
#[test]
fn hundreds_of_thousands_of_blocks_take_what_every_repo_has() {
    let _alone = COUNTING.blocking_lock();
    let dir = tempfile::tempdir().unwrap();
    let (_, first) = empty_repo("did:plc:abc", &PrivateKey::generate());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let work = || runtime.block_on(repo(first.into_iter().chain(junk(100_000)), dir.path()));
    let (records, most) = taken(work);
    assert_eq!(records, Some(0), "the repo is good, whatever else was sent");
    assert!(most < 3 << 20, "{most} bytes");
}

/// Directory and PDS of every account.
struct Host {
    key: PrivateKey,
    junk: Bytes,
    picture: Bytes,
}

impl Host {
    /// The address of the account's PDS: each has one of its own.
    fn pds(did: &str, port: u16) -> String {
        format!("http://127.0.0.{}:{port}", did.bytes().last().unwrap() - b'a' + 2)
    }

    fn answer(&self, path: &str, port: u16) -> Option<(&'static str, Vec<Bytes>)> {
        if let Some(did) = path.strip_prefix("/xrpc/com.atproto.sync.getRepo?did=") {
            let first = empty_repo(did, &self.key).1.into_iter();
            return Some(("application/vnd.ipld.car", first.chain([self.junk.clone()]).collect()));
        }
        if path.starts_with("/xrpc/com.atproto.sync.getBlob?") {
            return Some(("image/png", vec![self.picture.clone()]));
        }
        let did = path.strip_prefix('/').filter(|did| did.starts_with("did:plc:"))?;
        let document = json!({
            "id": did, "alsoKnownAs": [],
            "verificationMethod": [{ "id": "#atproto", "type": "Multikey", "controller": did,
                "publicKeyMultibase": self.key.public().to_multibase() }],
            "service": [{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": Self::pds(did, port) }],
        });
        Some(("application/json", vec![document.to_string().into()]))
    }

    async fn serve(self) -> u16 {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (port, host) = (listener.local_addr().unwrap().port(), Arc::new(self));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut request, mut line) = (String::new(), String::new());
                    stream.read_line(&mut request).await?;
                    while stream.read_line(&mut line).await? > 2 {
                        line.clear();
                    }
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let answer = host.answer(path, port);
                    let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
                    let (kind, parts) = answer.unwrap_or_default();
                    let len = parts.iter().map(Bytes::len).sum::<usize>();
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).await?;
                    for part in parts {
                        stream.write_all(&part).await?;
                    }
                    stream.shutdown().await
                });
            }
        });
        port
    }
}

/// Eight accounts whose hosts send hundreds of thousands of blocks each, and twenty requests for one large picture, all at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_to_its_budget_whatever_strangers_send() {
    const BUDGET: u64 = 192_000_000;
    let _alone = COUNTING.lock().await;
    let picture = encoded(&DynamicImage::from(RgbaImage::new(4000, 4000)), ImageFormat::Png);
    let picture_cid = cid::to_base32(&cid::for_raw(&picture));
    let junk = junk(150_000).collect::<Vec<_>>().concat().into();
    let host = Host { key: PrivateKey::generate(), junk, picture: picture.into() };
    let documents = format!("http://127.0.0.1:{}", host.serve().await);
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[store]\npath = {:?}\nmemory_budget = \"{BUDGET}B\"\n\
         [network]\nupstreams = []\nplc_url = {documents:?}\nallow_private_addresses = true\n\
         [labels]\nlabelers = []\n",
        dir.path().join("data"),
    );
    let aerie = Aerie::start(dir.path().join("aerie.toml"), &text).await;
    let calm = aerie.peak();
    let accounts: Vec<String> = (0..8).map(did).collect();
    let names = accounts.iter().map(String::as_str);
    aerie.command(&["repo", "add"].into_iter().chain(names).collect::<Vec<_>>());
    let pictures = (0..20).map(async |n| {
        let preset = ["avatar", "banner", "feed_thumbnail"][n % 3];
        let format = ["jpeg", "webp"][n % 2];
        let path = format!("GET /img/{preset}/plain/{}/{picture_cid}@{format}", accounts[0]);
        aerie.ask(&path, "").await.0
    });
    let answers = join_all(pictures).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let fetched = async || {
        let status = aerie.status().await;
        assert_eq!(status["resync"]["failed"], json!({}), "{}", aerie.log());
        status["resync"]["repos_left"] == 0
    };
    aerie.until("all repos are read", 120, fetched).await;
    let peak = aerie.peak();
    assert!(peak < BUDGET * 13 / 10, "{peak} bytes, {calm} before");
}

/// What a process may take of a budget.
fn most(budget: u64) -> u64 {
    budget * 12 / 10
}

fn settings(dir: &tempfile::TempDir, budget: u64, network: &str) -> String {
    format!(
        "[store]\npath = {:?}\nmemory_budget = \"{budget}B\"\n\
         [network]\nallow_private_addresses = true\n{network}\n[labels]\nlabelers = []\n",
        dir.path().join("data"),
    )
}

/// The DID of the account of this number; there are as many as one likes.
fn of_many(mut n: u64) -> String {
    let letters = (0..24).map(|_| {
        let letter = char::from(b'a' + u8::try_from(n % 26).unwrap());
        n /= 26;
        letter
    });
    format!("did:plc:{}", letters.collect::<String>())
}

/// A relay that sends the first commit of so many accounts.
async fn relay_of_new_accounts(count: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let key = PrivateKey::generate();
        let header = encode(&from_json(&json!({ "op": 1, "t": "#commit" })));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            for seq in 1..=count {
                let did = of_many(seq);
                let (root, blocks) = empty_repo(&did, &key);
                let time = i64::try_from(server::now() / 1000).unwrap();
                let body = encode(&from_json(&json!({
                    "seq": seq, "repo": did, "commit": { "$link": cid::to_base32(&root) },
                    "rev": Tid::from_micros(1_750_000_000_000_000, 1).to_string(), "since": null,
                    "blocks": { "$bytes": data_encoding::BASE64_NOPAD.encode(&blocks.concat()) },
                    "ops": [], "blobs": [], "tooBig": false, "rebase": false,
                    "time": aerie::syntax::datetime::format_ms(time),
                })));
                let frame = Message::binary([header.clone(), body].concat());
                if socket.send(frame).await.is_err() {
                    break;
                }
            }
            while let Some(Ok(_)) = socket.next().await {}
        }
    });
    url
}

/// Every account of a stream that begins is new, and the directory takes its time: thousands of frames wait for keys.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_keys_that_are_waited_for_take_next_to_nothing() {
    const BUDGET: u64 = 256_000_000;
    const WAIT: u64 = 3000;
    let _alone = COUNTING.lock().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("http://{}", silent.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let relay = relay_of_new_accounts(20_000).await;
    let network = format!("upstreams = [{relay:?}]\nplc_url = {directory:?}");
    let config = dir.path().join("aerie.toml");
    let aerie = Aerie::start(config, &settings(&dir, BUDGET, &network)).await;
    let waiting = async || aerie.status().await["pending"].as_u64().unwrap_or(0) >= WAIT;
    aerie.until("keys are waited for", 120, waiting).await;
    let peak = aerie.peak();
    assert!(peak < most(BUDGET) / 2, "{peak} bytes");
}

/// Everything that a catch-up fills: memtables, caches, the batch, frames.
#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_takes_a_fifth_more_than_its_budget_at_most() {
    const BUDGET: u64 = 256_000_000;
    const POSTS: u64 = 60_000;
    const ACCOUNTS: u64 = 600;
    let _alone = COUNTING.lock().await;
    let begin = server::now() - 3_600_000_000;
    let stream = server::jetstream(begin, POSTS, move |n| {
        let rkey = Tid::from_micros(begin + n, 1).to_string();
        let record = json!({
            "$type": "app.bsky.feed.post", "text": server::POST_TEXT, "other": server::noise(n, 2000),
            "createdAt": "2026-01-01T00:00:00.000Z",
        });
        let cid = cid::for_record(&encode(&from_json(&record)));
        let commit = json!({
            "rev": rkey, "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
            "record": record, "cid": cid.to_string(),
        });
        json!({
            "did": did(n % ACCOUNTS), "time_us": begin + n, "kind": "commit", "commit": commit,
        })
        .to_string()
    });
    let (stream, (documents, _)) = (stream.await, server::serve_documents().await);
    let dir = tempfile::tempdir().unwrap();
    let network = format!("upstreams = []\njetstream = [{stream:?}]\nplc_url = {documents:?}");
    let config = dir.path().join("aerie.toml");
    let aerie = Aerie::start(config, &settings(&dir, BUDGET, &network)).await;
    let last = async || {
        let held = server::posts_of(&aerie, (POSTS - 1) % ACCOUNTS).await;
        held == POSTS / ACCOUNTS
    };
    aerie.until("all posts are in", 300, last).await;
    let peak = aerie.peak();
    assert!(peak < most(BUDGET), "{peak} bytes");
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn jpeg(picture: &RgbImage, scans: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 60);
    scans.into_iter().for_each(|scans| encoder.set_progressive_scans(scans));
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder.encode(picture.as_raw(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// The encoder of WebP takes its memory elsewhere, so JPEGs are made here.
#[test]
fn a_picture_takes_what_was_planned() {
    let _alone = COUNTING.blocking_lock();
    // Of the larger ones those that can be decoded smaller.
    for (width, height, kinds) in [(900, 700, 6), (2400, 1800, 4)] {
        let pixels = |channels: usize| {
            let samples: Vec<u8> = (0..1_000_003).map(|n: u32| (n ^ (n >> 9)) as u8).collect();
            let len = width as usize * height as usize * channels;
            let mut pixels = samples.repeat(len.div_ceil(samples.len()));
            pixels.truncate(len);
            pixels
        };
        let opaque = RgbImage::from_raw(width, height, pixels(3)).unwrap();
        let clear = RgbaImage::from_raw(width, height, pixels(4)).unwrap();
        // Few colours, since choosing them takes long.
        let few = RgbImage::from_fn(width, height, |x, _| image::Rgb([(x % 16) as u8; 3]));
        let files: [(_, &dyn Fn() -> Vec<u8>); 6] = [
            ("jpeg", &|| jpeg(&opaque, None)),
            ("progressive", &|| jpeg(&opaque, Some(5))),
            ("png", &|| encoded(&opaque.clone().into(), ImageFormat::Png)),
            ("clear png", &|| encoded(&clear.clone().into(), ImageFormat::Png)),
            ("webp", &|| encoded(&opaque.clone().into(), ImageFormat::WebP)),
            ("gif", &|| encoded(&few.clone().into(), ImageFormat::Gif)),
        ];
        for (name, file) in files.into_iter().take(kinds) {
            let file = file();
            for preset in [Preset::AvatarThumbnail, Preset::FeedFullsize] {
                let (planned, most) = taken(|| image(&file, preset, OutputFormat::Jpeg, SHARE));
                let planned = planned.expect("a good picture that fits");
                assert!(
                    most <= planned + (2 << 20),
                    "{name} {width} {}: {most} of {planned}",
                    preset.name()
                );
            }
        }
    }
}
