//! One try to fetch one repo.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::blocks::Blocks;
use super::car::{CarError, Piece};
use super::import::{Expected, ImportError, Told, import};
use super::quota::Quota;
use super::state::{Home, Need, Progress};
use super::{Setup, SinkClosed};
use crate::event::{Body, Event, HostingStatus};
use crate::identity::{DidDoc, Freshness, IdentityError};
use crate::net::{BodyStream, Limits, NetError, StreamLimits};
use crate::schema::Rows;
use crate::syntax::{Did, Tid};
use crate::threads::{Budget, Held};

const LIMITS: StreamLimits = StreamLimits {
    max_bytes: 8 << 30,
    header_timeout: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(60),
    timeout: Duration::from_secs(2 * 3600),
    redirects: REDIRECTS,
};
const REDIRECTS: u8 = 3;
/// A host has to send so much in so long a time of waiting for it.
const CRAWL_SPAN: Duration = Duration::from_secs(60);
const CRAWL_BYTES: usize = 64 << 10;
/// Pieces between the socket and the thread that reads them, of up to some hundred kilobytes.
const PIECES: usize = 4;
/// Parts between that thread and the sink.
const PARTS: usize = 4;
const MAX_ERROR: usize = 16 << 10;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the DID document: {0}")]
    Identity(#[from] IdentityError),
    #[error("the PLC directory: {0}")]
    Directory(IdentityError),
    #[error("the DID document has no {0}")]
    Lacks(&'static str),
    #[error("the PDS answers: {0}")]
    Refused(String, Option<HostingStatus>),
    #[error("the answer is {0}, not a CAR")]
    ContentType(String),
    #[error("{0}")]
    List(&'static str),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Closed(#[from] SinkClosed),
}

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The repo's alone.
    Repo,
    /// The host's, so its other repos need not try.
    Host,
    /// Nobody's document can be read.
    Directory,
    /// Ours.
    Own,
}

impl From<NetError> for FetchError {
    fn from(error: NetError) -> Self {
        Self::Import(CarError::Net(error).into())
    }
}

impl FetchError {
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Identity(error) => error.cause(),
            Self::Directory(_) => "directory",
            Self::Lacks(_) => "no-pds-or-key",
            Self::Refused(_, Some(_)) => "not-hosted",
            Self::Refused(..) => "refused",
            Self::ContentType(_) => "content-type",
            Self::List(_) => "bad-list",
            Self::Import(ImportError::Car(CarError::Net(NetError::Status(429)))) => "rate-limited",
            Self::Import(error) => error.cause(),
            Self::Closed(_) => "stopped",
        }
    }

    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::Directory(_) => Blame::Directory,
            Self::Closed(_) => Blame::Own,
            Self::ContentType(_) | Self::List(_) => Blame::Host,
            Self::Import(ImportError::Car(CarError::Net(error))) => match error {
                NetError::Status(status) if *status != 429 && *status < 500 => Blame::Repo,
                NetError::TooBig(_) => Blame::Repo,
                _ => Blame::Host,
            },
            _ => Blame::Repo,
        }
    }

    /// Whether nothing but a change at the other end helps.
    pub(crate) fn is_definite(&self) -> bool {
        match self {
            Self::Identity(error) => !error.is_transient(),
            Self::Lacks(_) | Self::Refused(..) => true,
            Self::Import(ImportError::Car(CarError::Net(error))) => !error.is_transient(),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct XrpcError {
    error: String,
}

/// Reads whom to ask for a repo.
pub(crate) async fn home(
    setup: &Setup,
    did: &Did,
    freshness: Freshness,
) -> Result<Home, FetchError> {
    let doc = setup.identity.resolve_did(did, freshness).await.map_err(|error| {
        let plc = did.starts_with("did:plc:");
        if plc && error.is_transient() { FetchError::Directory(error) } else { error.into() }
    })?;
    home_in(&doc)
}

/// Whom the document names.
pub(crate) fn home_in(doc: &DidDoc) -> Result<Home, FetchError> {
    let pds = doc.pds().ok_or(FetchError::Lacks("PDS"))?.into();
    let key = doc.signing_key().ok_or(FetchError::Lacks("signing key"))?.clone();
    Ok(Home { pds, key })
}

/// Fetches a repo to the end, if there is need; says whether there was. `told` gets what answers say beside their
/// bodies.
pub(crate) async fn fetch(
    setup: &Arc<Setup>,
    did: &Did,
    home: &Home,
    need: Need,
    progress: &Arc<Progress>,
    told: impl Fn(StatusCode, &HeaderMap),
) -> Result<bool, FetchError> {
    if need == Need::Look && latest(setup, did, home, &told).await? <= held_rev(setup, did).await {
        return Ok(false);
    }
    let event = |body| vec![Event::found_here(did.clone(), setup.clock.now_ms(), body)];
    // What the host sends from now on has at least what is held.
    setup.sink.apply_parts(did.clone(), event(Body::Wanted)).await?;
    let fetched = tokio::select! {
        fetched = transfer(setup, did, home, progress, told) => fetched,
        () = progress.dropped.cancelled() => Err(ImportError::Stopped.into()),
    };
    if fetched.is_err() {
        setup.sink.apply_parts(did.clone(), event(Body::GivenUp)).await?;
    }
    fetched.map(|()| true)
}

async fn held_rev(setup: &Setup, did: &Did) -> u64 {
    let (store, did) = (setup.store.clone(), did.clone());
    let read = move || {
        let s = store.snapshot();
        let row = s.actor_id(&did).ok().flatten().and_then(|actor| s.repo(actor).ok().flatten());
        row.map_or(0, |row| row.rev)
    };
    tokio::task::spawn_blocking(read).await.unwrap_or(0)
}

#[derive(Deserialize)]
struct Latest {
    rev: String,
}

/// The rev that the host has.
async fn latest(
    setup: &Setup,
    did: &Did,
    home: &Home,
    told: &impl Fn(StatusCode, &HeaderMap),
) -> Result<u64, FetchError> {
    let url = format!("{}/xrpc/com.atproto.sync.getLatestCommit?did={did}", home.pds);
    let answer =
        setup.http.get(&url, &Limits { redirects: REDIRECTS, ..Limits::default() }).await?;
    told(answer.status, &answer.headers);
    if !answer.status.is_success() {
        return Err(refusal(answer.status, &answer.body));
    }
    let latest = serde_json::from_slice::<Latest>(&answer.body).ok();
    // A host that cannot say has to give the repo.
    Ok(latest.and_then(|l| Tid::parse(&l.rev)).map_or(u64::MAX, Tid::as_u64))
}

async fn transfer(
    setup: &Arc<Setup>,
    did: &Did,
    home: &Home,
    progress: &Arc<Progress>,
    told: impl Fn(StatusCode, &HeaderMap),
) -> Result<(), FetchError> {
    let url = format!("{}/xrpc/com.atproto.sync.getRepo?did={did}", home.pds);
    // Nothing is asked for before there is memory for it.
    let quota = Quota::growing(&setup.fetches).await;
    let answer = setup.http.get_stream(&url, &HeaderMap::new(), &LIMITS).await?;
    told(answer.status, &answer.headers);
    if !answer.status.is_success() {
        return Err(refused(answer.status, answer.body).await);
    }
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/") || kind.starts_with("application/json")) {
        return Err(FetchError::ContentType(kind.unwrap_or_default().chars().take(60).collect()));
    }
    let expected =
        Expected { did: did.clone(), key: home.key.clone(), now_us: setup.clock.now_us() };
    take_in(setup, expected, quota, answer.body, progress).await
}

/// Takes a repo in from the pieces of its CAR.
pub(crate) async fn take_in(
    setup: &Arc<Setup>,
    expected: Expected,
    quota: Quota,
    mut body: impl Stream<Item = Piece> + Unpin,
    progress: &Arc<Progress>,
) -> Result<(), FetchError> {
    let (pieces, from_socket) = flume::bounded(PIECES);
    let (parts, to_sink) = flume::bounded::<(Body, Held)>(PARTS);
    let (begun, applied_begin) = flume::bounded::<()>(1);
    let (own, did) = (Arc::clone(setup), expected.did.clone());
    let walked = Arc::clone(progress);
    let to = ToSink { runtime: Handle::current(), records: setup.records.clone(), parts };
    let import = tokio::task::spawn_blocking(move || {
        let blocks = Blocks::new(&own.spill, quota).leaving(own.spill_floor);
        let held = || {
            // An error means that the sink is gone, which the next part finds out.
            let _ = applied_begin.recv();
            own.held.held(&expected.did)
        };
        let result = import(from_socket.iter(), blocks, &expected, held, &walked.records, to);
        // The socket is not read on for nothing.
        drop(from_socket);
        result
    });
    let read = async move {
        let mut crawl = Crawl::default();
        loop {
            let asked = Instant::now();
            let Some(mut piece) = body.next().await else { break };
            if let Ok(bytes) = &piece {
                progress.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                if crawl.is_too_slow(asked.elapsed(), bytes.len()) {
                    piece = Err(NetError::Timeout("a body that only trickles"));
                }
            }
            let failed = piece.is_err();
            if pieces.send_async(piece).await.is_err() || failed {
                break;
            }
        }
    };
    let (sink, clock) = (Arc::clone(&setup.sink), setup.clock.clone());
    // Owns the receiver, so that the thread does not wait for a sink that is gone.
    let apply = async move {
        while let Ok((body, held)) = to_sink.recv_async().await {
            let begins = matches!(body, Body::Fetching { .. });
            let time = clock.now_ms();
            // By a clock that is ahead all of it might be too old to be kept.
            if clock.leapt(time) {
                return Ok(false);
            }
            let event = |body| Event::found_here(did.clone(), time, body);
            let (mut events, mut held) = (vec![event(body)], vec![held]);
            // What is ready goes along: a small repo ends with its only part.
            for (body, more) in to_sink.drain() {
                events.push(event(body));
                held.push(more);
            }
            sink.apply_parts(did.clone(), events).await?;
            if begins {
                let _ = begun.send_async(()).await;
            }
        }
        Ok::<bool, SinkClosed>(true)
    };
    let ((), applied, imported) = tokio::join!(read, apply, import);
    if !applied? {
        return Err(ImportError::Stopped.into());
    }
    // A thread that panicked was reported by the hook; the repo is tried again like after any failure.
    Ok(imported.unwrap_or(Err(ImportError::Stopped))?)
}

/// The way from the thread that reads a repo to the sink.
struct ToSink {
    runtime: Handle,
    records: Budget,
    parts: flume::Sender<(Body, Held)>,
}

impl Told for ToSink {
    fn room(&mut self, bytes: u64) -> Held {
        self.runtime.block_on(self.records.take(bytes))
    }

    fn tell(&mut self, body: Body, held: Held) -> bool {
        self.parts.send((body, held)).is_ok()
    }
}

/// Sees that a host sends, or takes its connection back.
#[derive(Default)]
struct Crawl {
    waited: Duration,
    bytes: usize,
}

impl Crawl {
    /// Only time spent waiting for the host counts.
    fn is_too_slow(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < CRAWL_SPAN {
            return false;
        }
        let slow = self.bytes < CRAWL_BYTES;
        *self = Self::default();
        slow
    }
}

async fn refused(status: StatusCode, mut body: BodyStream) -> FetchError {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        text.extend_from_slice(&piece);
        if text.len() > MAX_ERROR {
            break;
        }
    }
    refusal(status, &text)
}

pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> FetchError {
    let Ok(XrpcError { error }) = serde_json::from_slice(body) else {
        return NetError::Status(status.as_u16()).into();
    };
    // These are the host's, whatever it says.
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return NetError::Status(status.as_u16()).into();
    }
    let hosting = match error.as_str() {
        "RepoTakendown" => Some(HostingStatus::Takendown),
        "RepoSuspended" => Some(HostingStatus::Suspended),
        "RepoDeactivated" => Some(HostingStatus::Deactivated),
        _ => None,
    };
    FetchError::Refused(error.chars().take(100).collect(), hosting)
}

/// The host says that it does not serve the account.
pub(crate) async fn refused_as(setup: &Setup, did: &Did, status: HostingStatus) {
    let event = Event::found_here(did.clone(), setup.clock.now_ms(), Body::Account(status));
    // An error means that everything ends.
    let _ = setup.sink.apply_parts(did.clone(), vec![event]).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_trickles_is_left_and_a_slow_disk_is_not_its_fault() {
        let second = Duration::from_secs(1);
        let pieces_until_slow = |waited: Duration, bytes: usize| {
            let mut crawl = Crawl::default();
            (1..=1000).find(|_| crawl.is_too_slow(waited, bytes))
        };
        assert_eq!(pieces_until_slow(second, 100), Some(60), "a hundred bytes a second");
        assert_eq!(pieces_until_slow(CRAWL_SPAN, 1), Some(1), "a byte a minute");
        assert_eq!(pieces_until_slow(second, 2000), None);
        assert_eq!(pieces_until_slow(Duration::ZERO, 1), None, "nobody waited for it");
        // A minute that was good does not count for the next.
        let mut crawl = Crawl::default();
        assert!(!crawl.is_too_slow(CRAWL_SPAN, 10 * CRAWL_BYTES));
        assert!(crawl.is_too_slow(CRAWL_SPAN, CRAWL_BYTES - 1));
    }
}
