//! The clients against servers in this process, well-behaved and not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use http::header::{HOST, LOCATION};
use http::{HeaderMap, Response as HttpResponse};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::testing::{serve, serve_raw, serve_tls, tls_roots};
use super::*;

fn client(allow_private: bool) -> HttpClient {
    HttpClient::new(&Dialer::new(allow_private).unwrap(), "https://appview.example")
}

fn body(text: impl Into<String>) -> HttpResponse<String> {
    HttpResponse::new(text.into())
}

fn redirect_to(location: &str) -> HttpResponse<String> {
    HttpResponse::builder().status(302).header(LOCATION, location).body(String::new()).unwrap()
}

fn short() -> Limits {
    Limits { timeout: Duration::from_millis(300), ..Limits::default() }
}

fn patient() -> Limits {
    Limits { timeout: Duration::from_secs(60), ..Limits::default() }
}

#[tokio::test]
async fn get_gives_status_headers_and_body() {
    let url = serve(|r| body(r.headers()["user-agent"].to_str().unwrap())).await;
    let response = client(true).get(&url, &Limits::default()).await.unwrap().success().unwrap();
    let agent = format!("aerie/{} (+https://appview.example)", env!("CARGO_PKG_VERSION"));
    assert_eq!(response.body, agent);
    let by_name = url.replace("127.0.0.1", "localhost");
    assert!(client(true).get(&by_name, &Limits::default()).await.is_ok());
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_form() {
    for url in [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
    ] {
        let error = client(false).get(url, &Limits::default()).await.unwrap_err();
        assert_eq!(error.cause(), "refused-address", "{url}: {error}");
    }
    let url = serve(|_| body("secret")).await;
    assert_eq!(client(false).get(&url, &patient()).await.unwrap_err().cause(), "insecure");
    let credentials = client(false).get("https://a:b@example.com", &patient()).await;
    assert_eq!(credentials.unwrap_err().cause(), "url");
}

#[tokio::test]
async fn redirects_are_followed_only_when_asked_and_checked_each_time() {
    let other = serve(|r| body(format!("{:?}", r.headers().get("x-secret")))).await;
    let url = serve(move |r| match r.uri().path() {
        "/same" => redirect_to("/end"),
        "/end" => body("end"),
        "/other" => redirect_to(&other),
        "/file" => redirect_to("file:///etc/passwd"),
        _ => redirect_to("/loop"),
    })
    .await;
    let client = client(true);
    let get = async |path: &str, redirects| {
        let headers = HeaderMap::from_iter([("x-secret".parse().unwrap(), "s".parse().unwrap())]);
        let limits = Limits { redirects, ..Limits::default() };
        client.get_with(&format!("{url}{path}"), &headers, &limits).await
    };
    assert_eq!(get("/same", 0).await.unwrap().status, 302);
    assert_eq!(get("/same", 1).await.unwrap().body, "end");
    assert_eq!(get("/loop", 3).await.unwrap_err(), NetError::Redirects);
    assert_eq!(get("/file", 1).await.unwrap_err().cause(), "url");
    assert_eq!(get("/other", 1).await.unwrap().body, "None", "headers stay with their origin");
}

#[tokio::test]
async fn caps_hold_against_hostile_answers() {
    let endless_body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases: [(&'static [u8], &'static [u8], &str); 6] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n", b"", "too-big"),
        (endless_body, b"4\r\nabcd\r\n", "too-big"),
        (b"HTTP/1.1 200 OK\r\n", b"x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "too-big"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow", b"", "timeout"),
        (b"", b"", "timeout"),
        (b"\x00\x01\x02 not http \r\n\r\n", b"", "protocol"),
    ];
    for (head, rest, cause) in cases {
        let url = format!("http://{}/", serve_raw(head, rest).await);
        // What does not end by the clock has all the time that a busy machine needs.
        let limits = if cause == "timeout" { short() } else { patient() };
        let limits = Limits { max_bytes: 1000, ..limits };
        let error = client(true).get(&url, &limits).await.unwrap_err();
        let shown = String::from_utf8_lossy(head);
        assert_eq!(error.cause(), cause, "{shown}: {error}");
    }
}

#[tokio::test]
async fn nobody_listening_and_no_tls_have_their_own_causes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(true).get(&format!("http://{address}"), &patient()).await.unwrap_err();
    assert_eq!(error.cause(), "connect");
    let plain = serve_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    let error = client(true).get(&format!("https://{plain}"), &patient()).await.unwrap_err();
    assert_eq!(error.cause(), "tls", "{error}");
}

/// Answers with the protocol version and the host that the request names.
async fn https_server(alpn: &[&str]) -> u16 {
    let service =
        hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            let host = host.or(request.uri().host()).unwrap_or_default();
            let text = format!("{:?} {host}", request.version());
            Ok::<_, std::convert::Infallible>(HttpResponse::new(http_body_util::Full::new(
                Bytes::from(text),
            )))
        });
    serve_tls(alpn, move |stream| async move {
        let builder =
            hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
    })
    .await
}

#[tokio::test]
async fn https_uses_http2_where_it_can_and_checks_certificates() {
    let trusting = Dialer::with_roots(true, tls_roots()).unwrap();
    let trusting = HttpClient::new(&trusting, "https://appview.example");
    let port = https_server(&["h2", "http/1.1"]).await;
    let url = format!("https://localhost:{port}/");
    assert_eq!(trusting.get(&url, &patient()).await.unwrap().body, "HTTP/2.0 localhost");
    let headers = HeaderMap::from_iter([(HOST, "alice.test".parse().unwrap())]);
    let named = trusting.get_with(&url, &headers, &patient()).await.unwrap();
    assert_eq!(named.body, "HTTP/1.1 alice.test", "HTTP/2 has no Host to replace");
    let old = https_server(&[]).await;
    let old = trusting.get(&format!("https://localhost:{old}/"), &patient()).await.unwrap();
    assert!(old.body.starts_with(b"HTTP/1.1"));
    let wrong_name = trusting.get(&format!("https://127.0.0.1:{port}/"), &patient()).await;
    assert_eq!(wrong_name.unwrap_err().cause(), "tls");
    assert_eq!(
        client(true).get(&url, &patient()).await.unwrap_err().cause(),
        "tls",
        "unknown issuer"
    );
}

#[tokio::test]
async fn websocket_over_tls() {
    let port = serve_tls(&[], |stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send(WsMessage::text("hello")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let url = format!("wss://localhost:{port}/");
    let dialer = Dialer::with_roots(true, tls_roots()).unwrap();
    let mut socket =
        WsStream::connect(&dialer, &url, "https://appview.example", 1000, Arc::default())
            .await
            .unwrap();
    assert_eq!(socket.next().await, Ok(Message::Text(Bytes::from("hello"))));
    assert_eq!(websocket(&url, true).await.unwrap_err().cause(), "tls", "unknown issuer");
}

#[tokio::test]
async fn a_host_header_replaces_the_urls() {
    let url = serve(|r| body(r.headers()[HOST].to_str().unwrap())).await;
    let headers = HeaderMap::from_iter([(HOST, "alice.test".parse().unwrap())]);
    let response = client(true).get_with(&url, &headers, &Limits::default()).await.unwrap();
    assert_eq!(response.body, "alice.test");
}

#[tokio::test]
async fn post_sends_its_body() {
    let url =
        serve(|r| body(format!("{} {:?}", r.method(), r.headers().get("content-length")))).await;
    let body = Bytes::from("four");
    let response = client(true).post(&url, &HeaderMap::new(), body, &Limits::default()).await;
    assert_eq!(response.unwrap().body, "POST Some(\"4\")");
}

#[tokio::test]
async fn streams_are_capped_in_size_and_silence() {
    let minute = Duration::from_secs(60);
    let limits = StreamLimits {
        max_bytes: 1000,
        header_timeout: minute,
        idle_timeout: minute,
        timeout: minute,
        redirects: 0,
    };
    let hasty = StreamLimits { idle_timeout: Duration::from_millis(200), ..limits };
    let read = async |url: String, limits: StreamLimits| {
        let response = client(true).get_stream(&url, &HeaderMap::new(), &limits).await?;
        response.body.try_fold(0, async |sum, piece| Ok(sum + piece.len())).await
    };
    let good = serve(|_| body("x".repeat(1000))).await;
    assert_eq!(read(good, limits).await, Ok(1000));
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n";
    let endless = format!("http://{}", serve_raw(chunked, b"4\r\nabcd\r\n").await);
    assert_eq!(read(endless, limits).await, Err(NetError::TooBig("body")));
    let silent = format!("http://{}", serve_raw(chunked, b"").await);
    assert_eq!(read(silent, hasty).await, Err(NetError::Timeout("body")));
}

/// Accepts one WebSocket, sends `messages`, then echoes.
async fn websocket_server(messages: Vec<WsMessage>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/xrpc/x?cursor=1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        for message in messages {
            socket.send(message).await.unwrap();
        }
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    url
}

async fn websocket(url: &str, allow_private: bool) -> Result<WsStream, NetError> {
    let dialer = Dialer::new(allow_private).unwrap();
    WsStream::connect(&dialer, url, "https://appview.example", 1000, Arc::default()).await
}

#[tokio::test]
async fn websocket_messages_pings_and_goodbyes() {
    let url =
        websocket_server(vec![WsMessage::binary(&b"frame"[..]), WsMessage::text("text")]).await;
    let mut socket = websocket(&url, true).await.unwrap();
    assert_eq!(socket.next().await, Ok(Message::Binary(Bytes::from("frame"))));
    assert_eq!(socket.next().await, Ok(Message::Text(Bytes::from("text"))));
    socket.ping().unwrap();
    assert_eq!(socket.next().await, Ok(Message::Alive));
    socket.send_text("echo").await.unwrap();
    assert_eq!(socket.next().await, Ok(Message::Text(Bytes::from("echo"))));
    socket.close().await.unwrap();
    assert!(matches!(socket.next().await, Ok(Message::Closed(..))));
}

/// A WebSocket whose server writes `first`, then `piece` again and again if there is one, and reads nothing; gives the
/// bytes that its socket took.
async fn flooded(first: Vec<u8>, piece: Vec<u8>) -> (WsStream, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut raw = tokio_tungstenite::accept_async(stream).await.unwrap().into_inner();
        raw.write_all(&first).await.unwrap();
        if piece.is_empty() {
            std::future::pending::<()>().await;
        }
        while raw.write_all(&piece).await.is_ok() {
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    (websocket(&url, true).await.unwrap(), taken)
}

/// What ends it; none of its messages but signs of life may come before.
async fn end_of(mut socket: WsStream) -> NetError {
    loop {
        match socket.next().await {
            Ok(Message::Alive) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_peer_that_floods_pings_is_left() {
    // Each with as much in it as fits, so that the answers are large too.
    let ping = [&[0x89, 125][..], &[0; 125]].concat();
    let (socket, taken) = flooded(Vec::new(), ping.repeat(16)).await;
    let error = end_of(socket).await;
    assert_eq!(error, NetError::Misbehaves("sends more than 1,000 pings and pongs a second"));
    // What lay in the buffers of both sockets, and not what it would have sent.
    assert!(taken.load(Ordering::SeqCst) < 64 << 20);
    let (socket, _) = flooded(Vec::new(), [0x8a, 0].repeat(100)).await;
    assert_eq!(end_of(socket).await.cause(), "misbehaves", "pongs that nobody asked for");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_left_before_what_is_said_to_it_piles_up() {
    let (mut socket, _) = flooded(Vec::new(), Vec::new()).await;
    let said = (0..10_000_000).position(|_| socket.ping().is_err()).unwrap();
    // The kernel takes some, a quarter of a megabyte waits here.
    assert!(said * 6 < 64 << 20, "{said}");
    assert_eq!(
        socket.ping().unwrap_err(),
        NetError::Misbehaves("does not read what is sent to it")
    );
}

#[tokio::test]
async fn pieces_of_a_message_that_never_ends_are_cut() {
    // The beginning of a binary message, then empty continuations.
    let (socket, _) = flooded(vec![0x02, 0], [0x00, 0].repeat(1000)).await;
    let error = tokio::time::timeout(Duration::from_secs(60), end_of(socket)).await.unwrap();
    assert_eq!(error, NetError::Misbehaves("sends pieces of messages without an end"));
}

#[tokio::test]
async fn messages_in_many_small_pieces_are_no_flood() {
    // A kilobyte in pieces of ten bytes, ten thousand times.
    let mut message = vec![0x02, 0];
    (0..99).for_each(|_| message.extend([&[0x00, 10][..], &[7; 10]].concat()));
    message.extend([0x80, 0]);
    let (mut socket, _) = flooded(Vec::new(), message).await;
    for _ in 0..10_000 {
        assert_eq!(socket.next().await, Ok(Message::Binary(vec![7; 990].into())));
    }
}

#[tokio::test]
async fn websocket_caps_and_refusals() {
    let url = websocket_server(vec![WsMessage::binary(vec![0; 1001])]).await;
    let mut socket = websocket(&url, true).await.unwrap();
    assert_eq!(socket.next().await, Err(NetError::TooBig("message")));
    assert_eq!(websocket(&url, false).await.unwrap_err().cause(), "insecure");
    let private = websocket("wss://127.0.0.1/", false).await.unwrap_err();
    assert_eq!(private.cause(), "refused-address");
    let http = serve(|_| HttpResponse::builder().status(503).body(String::new()).unwrap()).await;
    let refused = websocket(&http.replace("http", "ws"), true).await.unwrap_err();
    assert_eq!(refused, NetError::Status(503));
}
