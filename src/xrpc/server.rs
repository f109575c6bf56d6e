//! The HTTP server: sockets, HTTP/1.1 and HTTP/2 without TLS, limits, graceful shutdown. The only user of hyper here.
//!
//! # Invariants
//! - Connections, header time, body size and body time are bounded; the kernel's backlog holds what exceeds the cap.
//! - After the shutdown signal no connection is accepted, requests under way get their answer up to the deadline,
//!   and `serve` returns.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Version};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::body::MAX_BODY;
use super::message::{Body, Request, Response};
use crate::limits::Client;

/// Longer than the idle time of the clients that matter, so that it is they who close.
const IDLE: Duration = Duration::from_secs(90);
const PING: Duration = Duration::from_secs(20);
const MAX_HEADERS: usize = 64 * 1024;
const MAX_STREAMS: u32 = 128;
/// Of a body that is too large this much is read and thrown away, so that its sender gets to see the 413 instead of a
/// reset connection.
const MAX_DISCARD: usize = 1024 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a client may use up.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Open connections; more wait in the kernel.
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
        drain: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = accepted?;
        let Ok(hold) = shared.app.ctx.limiter.connection(peer) else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            connection(&shared, stream, peer).await;
            drop((slot, hold));
        });
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer.ip(), slot)),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(shared: &Shared, stream: TcpStream, peer: IpAddr) {
    // Latency over packet count; a failure costs speed only.
    let _ = stream.set_nodelay(true);
    let activity = Activity::new();
    let service = service_fn(|request| {
        let running = activity.begin();
        let app = Arc::clone(&shared.app);
        let body_time = shared.limits.body_time;
        async move {
            let has_streams = request.version() >= Version::HTTP_2;
            let client = app.ctx.limiter.client(peer, request.headers());
            let (request, whole) = read(request, client, body_time).await;
            let mut response = app.handle(request).await;
            if !whole && !has_streams {
                // hyper closes the connection, and whoever sent too much must not put another request on it.
                response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(write(response, running))
        }
    });
    let connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut closing = false;
    let mut check = Instant::now() + shared.limits.header_time;
    loop {
        tokio::select! {
            // Errors are the client's: resets, garbage, timeouts. There is nobody left to tell.
            _ = connection.as_mut() => return,
            () = shared.cut.cancelled() => return,
            () = shared.drain.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(check) => {
                match activity.verdict() {
                    Verdict::Busy => {}
                    Verdict::NeverSpoke => return,
                    Verdict::Idle if closing => return,
                    Verdict::Idle => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
                check = Instant::now() + IDLE;
            }
        }
    }
}

/// What a connection is doing: hyper has no idle timeout for HTTP/2 and none for the first byte.
#[derive(Clone)]
struct Activity(Arc<ActivityState>);

struct ActivityState {
    running: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Busy,
    Idle,
    NeverSpoke,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(ActivityState { running: AtomicUsize::new(0), last: Mutex::new(None) }))
    }

    fn begin(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        *self.0.last.lock() = Some(Instant::now());
        Running(self.clone())
    }

    fn verdict(&self) -> Verdict {
        match *self.0.last.lock() {
            None => Verdict::NeverSpoke,
            Some(_) if self.0.running.load(Ordering::Relaxed) > 0 => Verdict::Busy,
            Some(last) if last.elapsed() < IDLE => Verdict::Busy,
            Some(_) => Verdict::Idle,
        }
    }
}

/// A request that is being answered.
struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
        *self.0.0.last.lock() = Some(Instant::now());
    }
}

/// The request, and whether its body was read to the end.
async fn read(
    request: http::Request<Incoming>,
    client: Client,
    body_time: Duration,
) -> (Request, bool) {
    let (head, incoming) = request.into_parts();
    let (body, whole) = if incoming.is_end_stream() {
        match head.headers.contains_key(CONTENT_LENGTH) {
            true => (Body::Bytes(Bytes::new()), true),
            false => (Body::Missing, true),
        }
    } else if incoming.size_hint().lower() > MAX_DISCARD as u64 {
        (Body::TooLarge, false)
    } else {
        timeout(body_time, collect(incoming)).await.unwrap_or((Body::Aborted, false))
    };
    let request =
        Request { method: head.method, uri: head.uri, headers: head.headers, body, client };
    (request, whole)
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

/// A response for hyper. `running` ends with its last byte if the body is not all in memory.
fn write(
    response: Response,
    running: Running,
) -> http::Response<impl hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + use<>> {
    let body = match response.rest {
        None => Either::Left(Full::new(response.body)),
        Some(rest) => {
            let whole = stream::once(async { Ok(response.body) }).chain(rest.0);
            Either::Right(StreamBody::new(whole.map(move |piece| {
                let _held = &running;
                piece.map(Frame::data)
            })))
        }
    };
    let mut out = http::Response::new(body);
    *out.status_mut() = response.status;
    *out.headers_mut() = response.headers;
    out
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
