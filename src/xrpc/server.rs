//! The HTTP server: sockets, HTTP/1.1 and HTTP/2 without TLS, limits, graceful shutdown. The only user of hyper here.
//!
//! # Invariants
//! - Connections in all and by address, header time, body size and body time are bounded. When no slot is free, the
//!   connection that has been idle for longest goes; if none is, the kernel's backlog holds what exceeds the cap.
//! - What answers take on their way out is bounded for each connection, each address and in all. Whoever takes nothing
//!   of an answer for a while loses its connection.
//! - After the shutdown signal no connection is accepted, requests under way get their answer up to the deadline, sockets
//!   are told that it stops, and `serve` returns.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderValue, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::body::MAX_BODY;
use super::encode;
use super::error::XrpcError;
use super::message::{Body, Request, Response};
use super::socket::Upgrade;
use crate::limits::{ANSWER_COUNTS, Client, Elapsed, Hold, Limit};

/// Longer than the idle time of the clients that matter, so that it is they who close.
const IDLE: Duration = Duration::from_secs(90);
const PING: Duration = Duration::from_secs(20);
const MAX_HEADERS: usize = 64 * 1024;
const MAX_STREAMS: u32 = 32;
/// How long a connection that was asked to end may take.
const GRACE: Duration = Duration::from_secs(1);
/// How often each connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long an answer waits for room among those on their way.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// Of a body that is too large this much is read and thrown away, so that its sender gets to see the 413 instead of a
/// reset connection.
const MAX_DISCARD: usize = 1024 * 1024;

mod answer;
mod connections;
mod sockets;

use answer::{Answer, Outgoing};
use connections::{Connections, Running, Verdict};
use sockets::Ground;

/// What a client may use up.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Open connections; for more than that idle ones go, and if there are none they wait in the kernel.
    pub connections: usize,
    /// From accepting a connection to its first complete request header.
    pub header_time: Duration,
    /// For sending a request body.
    pub body_time: Duration,
    /// For answering requests under way after the shutdown signal.
    pub shutdown_time: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(15),
            shutdown_time: Duration::from_secs(4),
        }
    }
}

/// Serves until `shutdown` is cancelled, then until the last answer is out or the deadline has come.
///
/// # Errors
/// None today: failures to accept are waited out, because they come from a passing shortage of descriptors.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    limits: ServerLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let shared = Arc::new(Shared {
        app,
        limits,
        builder: builder(),
        connections: Connections::new(Elapsed::since_now()),
        drain: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&shared, &listener, &slots) => accepted,
        };
        let Accepted { stream, peer, held } = accepted?;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { connection(&shared, stream, peer, &Arc::new(held)).await });
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if timeout(limits.shutdown_time, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("requests were still running at the shutdown deadline and were cut off");
        shared.cut.cancel();
    }
    Ok(())
}

struct Shared {
    app: Arc<App>,
    limits: ServerLimits,
    builder: Builder<TokioExecutor>,
    connections: Arc<Connections>,
    /// Finish what was begun, then close.
    drain: CancellationToken,
    /// Close now.
    cut: CancellationToken,
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Runs between requests too, so it is the idle time as well.
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS as u32);
    builder
}

struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    held: (OwnedSemaphorePermit, Hold),
}

async fn accept(
    shared: &Shared,
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<Accepted> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = peer.ip();
                // Closed at once: whoever floods is to cost no slot.
                let Ok(hold) = shared.app.ctx.limiter.connection(peer) else { continue };
                let slot = slot(&shared.connections, slots).await?;
                return Ok(Accepted { stream, peer, held: (slot, hold) });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A slot, for which somebody idle makes room if there is none.
async fn slot(
    connections: &Connections,
    slots: &Arc<Semaphore>,
) -> io::Result<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Ok(slot);
    }
    loop {
        connections.send_idle_away();
        // Those who are busy now may be idle then.
        let slot = timeout(GRACE, Arc::clone(slots).acquire_owned()).await;
        if let Ok(slot) = slot {
            return slot.map_err(io::Error::other);
        }
    }
}

/// What a connection holds, and a socket that it becomes: its slot, and its place among those of its address.
type Place = Arc<(OwnedSemaphorePermit, Hold)>;

async fn connection(shared: &Arc<Shared>, stream: TcpStream, peer: IpAddr, place: &Place) {
    // Latency over packet count; a failure costs speed only.
    let _ = stream.set_nodelay(true);
    let opened = shared.connections.open();
    let this = &opened.0;
    let service = service_fn(|request| {
        let (shared, place, running) = (Arc::clone(shared), Arc::clone(place), this.begin());
        async move { Ok::<_, Infallible>(answer(&shared, request, peer, &place, running).await) }
    });
    let connection = shared.builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut closing = false;
    let look_every = LOOK_EVERY.min(shared.limits.header_time);
    loop {
        tokio::select! {
            // Errors are the client's: resets, garbage, timeouts. There is nobody left to tell.
            _ = connection.as_mut() => return,
            () = shared.cut.cancelled() => return,
            () = this.gone.cancelled() => {
                if !this.is_busy() {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(GRACE, connection.as_mut()).await;
                }
                return;
            }
            () = shared.drain.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep(look_every) => match this.verdict(shared.limits.header_time, IDLE) {
                Verdict::Busy => {}
                Verdict::NeverSpoke => return,
                Verdict::Stalled => return,
                Verdict::Idle if closing => return,
                Verdict::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn answer(
    shared: &Shared,
    mut request: http::Request<Incoming>,
    peer: IpAddr,
    place: &Place,
    running: Running,
) -> http::Response<Outgoing> {
    // What one client leaves unread on the connection of a proxy must not be in the way of others.
    if !shared.app.ctx.limiter.is_proxy(peer) {
        running.0.has_room().await;
    }
    let client = shared.app.ctx.limiter.client(peer, request.headers());
    let has_streams = request.version() >= Version::HTTP_2;
    if !names_one_host(&request) {
        let error = XrpcError::invalid_request("a request names one host");
        let mut response = encode::failure("", error);
        if !has_streams {
            response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        return write(shared, response, client, running).await;
    }
    let upgrade = request.headers().contains_key(UPGRADE) && !has_streams;
    let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (mut response, whole) = match read(shared, request, client, peer).await {
        Ok((request, whole)) => (shared.app.handle(request).await, whole),
        Err(error) => (encode::failure("", error), false),
    };
    if !whole && !has_streams {
        // hyper closes the connection, and whoever sent too much must not put another request on it.
        response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(granted) = response.upgrade.take() {
        // Only a request with such a header is granted one.
        if let Some(upgrade) = upgrade {
            open(shared, (upgrade, granted), client, place);
        }
    }
    write(shared, response, client, running).await
}

/// Lets a socket begin once its answer is out. It keeps the place of its connection.
fn open(shared: &Shared, (request, granted): (OnUpgrade, Upgrade), client: Client, place: &Place) {
    let ground = Ground {
        ctx: Arc::clone(&shared.app.ctx),
        client,
        stop: shared.drain.clone(),
        cut: shared.cut.clone(),
    };
    let place = Arc::clone(place);
    tokio::spawn(async move {
        sockets::carry(ground, request, granted).await;
        drop(place);
    });
}

/// RFC 9112 section 3.2: a request of HTTP/1.1 has one `Host`. That of HTTP/2 may have none, but none that differs from
/// its `:authority` (RFC 9113 section 8.3.1). Lines that end with a bare LF are hyper's to read, and it takes them, as
/// section 2.2 of RFC 9112 permits.
fn names_one_host(request: &http::Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, further) = (hosts.next(), hosts.next());
    if further.is_some() {
        return false;
    }
    match request.version() {
        Version::HTTP_11 => first.is_some(),
        Version::HTTP_2 => match (first, request.uri().authority()) {
            (Some(host), Some(authority)) => {
                host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
            }
            _ => true,
        },
        _ => true,
    }
}

/// The request, and whether its body was read to the end.
async fn read(
    shared: &Shared,
    request: http::Request<Incoming>,
    client: Client,
    peer: IpAddr,
) -> Result<(Request, bool), XrpcError> {
    let (head, incoming) = request.into_parts();
    let (body, whole) = if incoming.is_end_stream() {
        match head.headers.contains_key(CONTENT_LENGTH) {
            true => (Body::Bytes(Bytes::new()), true),
            false => (Body::Missing, true),
        }
    } else if incoming.size_hint().lower() > MAX_DISCARD as u64 {
        (Body::TooLarge, false)
    } else {
        let ctx = &shared.app.ctx;
        let bytes = incoming.size_hint().upper().unwrap_or(u64::MAX).min(MAX_BODY as u64);
        let hold = ctx.limiter.hold(Limit::Bodies, client, bytes);
        let _hold = hold.map_err(|refused| ctx.limited(refused))?;
        let collected = timeout(shared.limits.body_time, collect(incoming)).await;
        collected.unwrap_or((Body::Aborted, false))
    };
    let request =
        Request { method: head.method, uri: head.uri, headers: head.headers, body, client, peer };
    Ok((request, whole))
}

async fn collect(mut incoming: Incoming) -> (Body, bool) {
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else { return (Body::Aborted, false) };
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen <= MAX_BODY {
            bytes.extend_from_slice(data);
        } else if seen > MAX_DISCARD {
            break;
        }
    }
    let body = if seen > MAX_BODY { Body::TooLarge } else { Body::Bytes(bytes.into()) };
    (body, seen <= MAX_DISCARD)
}

/// A response for hyper, counted until its last byte is out; another one if there is no room for it.
async fn write(
    shared: &Shared,
    mut response: Response,
    client: Client,
    running: Running,
) -> http::Response<Outgoing> {
    let ctx = &shared.app.ctx;
    let mut hold = None;
    if response.body.len() >= ANSWER_COUNTS {
        let bytes = response.body.len() as u64;
        match ctx.limiter.hold(Limit::Answers, client, bytes) {
            Ok(held) => hold = Some(held),
            Err(refused) => {
                response = encode::failure("", ctx.limited(refused));
            }
        }
    }
    let mut bytes = response.body.len() as u64;
    if !ctx.outflow.enter(bytes) {
        shared.connections.cut_slowest();
        if !ctx.outflow.enter_within(bytes, ROOM_WAIT).await {
            (response, hold, bytes) = (encode::failure("", XrpcError::overloaded()), None, 0);
        }
    }
    let mut out = http::Response::new(());
    *out.status_mut() = response.status;
    *out.headers_mut() = response.headers;
    let answer = Answer::new(bytes, Arc::clone(&ctx.outflow), running, hold);
    out.map(|()| Outgoing::new(response.body, response.rest, answer))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
