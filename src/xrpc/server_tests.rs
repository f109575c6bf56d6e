//! The server over real sockets: both versions of HTTP, shutdown, limits.

use std::net::SocketAddr;

use http::Method as Verb;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::limits::{Limit, Limits, Proxies};
use crate::xrpc::testing::app_within;
use crate::xrpc::{AppCtx, Auth, Call, Method, Reply, XrpcError};

fn who(_: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    Reply::json(&serde_json::json!({ "input": call.input }))
}

static METHODS: &[Method] = &[
    Method::read("app.bsky.actor.getProfile", Auth::Optional, who),
    Method::read("app.bsky.graph.muteActor", Auth::None, who),
    Method::asynchronous("app.bsky.feed.getTimeline", Auth::None, |_, _| {
        Box::pin(async {
            BEGUN.notify_one();
            FINISH.notified().await;
            Reply::json("slow")
        })
    }),
    Method::asynchronous("app.bsky.graph.getMutes", Auth::None, |_, _| {
        Box::pin(async {
            STUCK.notify_one();
            std::future::pending().await
        })
    }),
];

static BEGUN: Notify = Notify::const_new();
static FINISH: Notify = Notify::const_new();
static STUCK: Notify = Notify::const_new();

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

async fn start(limits: ServerLimits) -> Running {
    start_within(limits, Limits::new(Proxies::default(), &[])).await
}

async fn start_within(limits: ServerLimits, clients: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (app, _) = app_within(clients, METHODS);
    let task = tokio::spawn(serve(listener, app, limits, shutdown.clone()));
    Running { address, shutdown, task }
}

fn client(http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    verb: Verb,
    url: String,
    body: impl Into<Bytes>,
) -> (u16, Bytes) {
    let request = http::Request::builder()
        .method(verb)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn both_versions_of_http() {
    let server = start(ServerLimits::default()).await;
    let base = format!("http://{}/xrpc", server.address);
    for http2 in [false, true] {
        let client = client(http2);
        for _ in 0..3 {
            let url = format!("{base}/app.bsky.actor.getProfile?actor=a.test");
            let (status, body) = send(&client, Verb::GET, url, "").await;
            assert_eq!((status, &body[..]), (200, &br#"{"input":null}"#[..]));
        }
        let (status, body) = send(&client, Verb::HEAD, format!("{base}/_health"), "").await;
        assert_eq!((status, body.len()), (200, 0));
        let mute = format!("{base}/app.bsky.graph.muteActor");
        let (status, _) = send(&client, Verb::POST, mute.clone(), r#"{"actor":"a.test"}"#).await;
        assert_eq!(status, 200);
        let (status, _) = send(&client, Verb::POST, mute, vec![b' '; MAX_BODY + 1]).await;
        assert_eq!(status, 413);
    }
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_idle_connections_go() {
    let server = start(ServerLimits::default()).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /xrpc/app.bsky.feed.getTimeline HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    BEGUN.notified().await;
    server.shutdown.cancel();
    // The listener closes first, so the answer comes after the signal.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    FINISH.notify_one();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\"slow\""), "{answer}");
    server.task.await.unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn the_deadline_cuts_what_does_not_end() {
    let limits =
        ServerLimits { shutdown_time: Duration::from_millis(10), ..ServerLimits::default() };
    let server = start(limits).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /xrpc/app.bsky.graph.getMutes HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    STUCK.notified().await;
    server.shutdown.cancel();
    server.task.await.unwrap().unwrap();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_its_slot_reused() {
    let limits = ServerLimits {
        connections: 1,
        // The second client has as long to send its request.
        header_time: Duration::from_secs(1),
        ..ServerLimits::default()
    };
    let server = start(limits).await;
    // The first bytes of the HTTP/2 preface, then nothing.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"PR").await.unwrap();
    let url = format!("http://{}/xrpc/_health", server.address);
    let (status, _) = send(&client(false), Verb::GET, url, "").await;
    assert_eq!(status, 200);
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_capped() {
    let server = start(ServerLimits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /xrpc/app.bsky.graph.muteActor HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..30 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn an_answer_says_when_the_connection_ends_with_it() {
    let server = start(ServerLimits::default()).await;
    // Announced, or sent in chunks until nobody reads on.
    let head = |more: &str| {
        format!(
            "POST /xrpc/app.bsky.graph.muteActor HTTP/1.1\r\nhost: x\r\n\
             content-type: application/json\r\n{more}\r\n\r\n"
        )
    };
    let chunks = format!("1000\r\n{}\r\n", " ".repeat(0x1000)).repeat(MAX_DISCARD / 0x1000 + 1);
    let fits = MAX_DISCARD;
    for (request, closes) in [
        (head(&format!("content-length: {}", MAX_DISCARD + 1)), true),
        (head("transfer-encoding: chunked") + &chunks, true),
        (head(&format!("content-length: {fits}")) + &" ".repeat(fits), false),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The other end may have stopped reading.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
        assert!(answer.starts_with("http/1.1 413"), "{answer}");
        assert_eq!(answer.contains("connection: close"), closes, "{answer}");
    }
}

const HEALTH: &[u8] = b"GET /xrpc/_health HTTP/1.1\r\nhost: x\r\n\r\n";

/// The status with which the server answers on a connection, and 0 if it ends it.
async fn status_of(stream: &mut TcpStream, request: &[u8]) -> u16 {
    if stream.write_all(request).await.is_err() {
        return 0;
    }
    let mut answer = Vec::new();
    loop {
        let Ok(byte) = stream.read_u8().await else { return 0 };
        answer.push(byte);
        if answer.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap_or("0");
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    head[9..12].parse().unwrap()
}

async fn is_answered(stream: &mut TcpStream, request: &[u8]) -> bool {
    status_of(stream, request).await == 200
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_proxy_any_number() {
    let connect = async |server: &Running| TcpStream::connect(server.address).await.unwrap();
    let few = [(Limit::Connections, 2)];
    let server = start_within(ServerLimits::default(), Limits::new(Proxies::default(), &few)).await;
    let mut first = connect(&server).await;
    let mut second = connect(&server).await;
    assert!(is_answered(&mut first, HEALTH).await && is_answered(&mut second, HEALTH).await);
    assert!(!is_answered(&mut connect(&server).await, HEALTH).await);
    assert!(is_answered(&mut first, HEALTH).await, "who was there stays");
    let here = Proxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let server = start_within(ServerLimits::default(), Limits::new(here, &few)).await;
    let mut all = Vec::new();
    for _ in 0..9 {
        all.push(connect(&server).await);
    }
    for stream in &mut all {
        assert!(is_answered(stream, HEALTH).await);
    }
}

#[tokio::test]
async fn behind_a_proxy_the_forwarded_address_counts() {
    let here = Proxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let server =
        start_within(ServerLimits::default(), Limits::new(here, &[(Limit::Requests, 1)])).await;
    let of = |client: &str| {
        format!("GET /robots.txt HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {client}\r\n\r\n")
    };
    for (client, is_well) in
        [("192.0.2.1", true), ("192.0.2.2", true), ("10.9.9.9, 192.0.2.1", false)]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(is_answered(&mut stream, of(client).as_bytes()).await, is_well, "{client}");
    }
}
