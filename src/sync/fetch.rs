//! One try to fetch one repo.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use http::HeaderMap;
use serde::Deserialize;

use super::blocks::Blocks;
use super::car::CarError;
use super::import::{Expected, ImportError, import};
use super::{Setup, SinkClosed};
use crate::event::{Body, Event, HostingStatus};
use crate::identity::{Freshness, IdentityError};
use crate::net::{BodyStream, NetError, StreamLimits};
use crate::syntax::Did;

const LIMITS: StreamLimits = StreamLimits {
    max_bytes: 8 << 30,
    header_timeout: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(60),
    timeout: Duration::from_secs(2 * 3600),
};
/// Pieces between the socket and the thread that reads them.
const PIECES: usize = 16;
/// Parts between that thread and the sink.
const PARTS: usize = 4;
const MAX_ERROR: usize = 16 << 10;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the DID document: {0}")]
    Identity(#[from] IdentityError),
    #[error("the DID document has no {0}")]
    Lacks(&'static str),
    #[error("the PDS answers: {0}")]
    Refused(String, Option<HostingStatus>),
    /// What was fetched is in, and more is wanted: the host is behind what the relay said, or the repo went on in a
    /// way that has to be fetched too.
    #[error("the PDS has an older state than was announced")]
    Behind,
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Closed(#[from] SinkClosed),
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
            Self::Lacks(_) => "no-pds-or-key",
            Self::Refused(_, Some(_)) => "not-hosted",
            Self::Refused(_, None) => "refused",
            Self::Behind => "behind",
            Self::Import(error) => error.cause(),
            Self::Closed(_) => "stopped",
        }
    }
}

#[derive(Deserialize)]
struct XrpcError {
    error: String,
}

/// Fetches a repo to the end; `progress` gets what is happening.
pub(crate) async fn fetch(
    setup: &Arc<Setup>,
    did: &Did,
    progress: impl Fn(String),
) -> Result<(), FetchError> {
    progress("reading the DID document".to_owned());
    // The key of a forged or old document would refuse the repo or, worse, accept it.
    let doc = setup.identity.resolve_did(did, Freshness::Fresh).await?;
    let pds = doc.pds().ok_or(FetchError::Lacks("PDS"))?.to_owned();
    let key = doc.signing_key().ok_or(FetchError::Lacks("signing key"))?.clone();
    let url = format!("{pds}/xrpc/com.atproto.sync.getRepo?did={did}");
    progress(format!("waiting for {pds}"));
    let permit = setup.throttle.acquire(&pds).await;
    progress(format!("fetching from {pds}"));
    let answer = setup.http.get_stream(&url, &HeaderMap::new(), &LIMITS).await?;
    permit.observe(answer.status, &answer.headers);
    if !answer.status.is_success() {
        return Err(refused(answer.status.as_u16(), answer.body).await);
    }
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let now_us = u64::try_from(now_us).unwrap_or(u64::MAX);
    take_in(setup, Expected { did: did.clone(), key, now_us }, answer.body).await
}

async fn take_in(
    setup: &Arc<Setup>,
    expected: Expected,
    mut body: BodyStream,
) -> Result<(), FetchError> {
    let (pieces, from_socket) = flume::bounded(PIECES);
    let (parts, to_sink) = flume::bounded::<Body>(PARTS);
    let (begun, applied_begin) = flume::bounded::<()>(1);
    let (own, did) = (Arc::clone(setup), expected.did.clone());
    let import = tokio::task::spawn_blocking(move || {
        let blocks = Blocks::new(&own.spill, own.memory);
        let held = || {
            // An error means that the sink is gone, which the next part finds out.
            let _ = applied_begin.recv();
            own.held.held(&expected.did)
        };
        let result = import(&from_socket, blocks, &expected, held, |body| parts.send(body).is_ok());
        // The socket is not read on for nothing.
        drop(from_socket);
        result
    });
    let read = async move {
        while let Some(piece) = body.next().await {
            let failed = piece.is_err();
            if pieces.send_async(piece).await.is_err() || failed {
                break;
            }
        }
    };
    let sink = Arc::clone(&setup.sink);
    // Owns the receiver, so that the thread does not wait for a sink that is gone.
    let apply = async move {
        while let Ok(body) = to_sink.recv_async().await {
            let begins = matches!(body, Body::Fetching { .. });
            let event = Event { did: did.clone(), time: now_ms(), body };
            sink.apply_parts(did.clone(), vec![event]).await?;
            if begins {
                let _ = begun.send_async(()).await;
            }
        }
        Ok::<(), SinkClosed>(())
    };
    let ((), applied, imported) = tokio::join!(read, apply, import);
    applied?;
    // A thread that panicked was reported by the hook; the repo is tried again like after any failure.
    Ok(imported.unwrap_or(Err(ImportError::Stopped))?)
}

async fn refused(status: u16, mut body: BodyStream) -> FetchError {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        text.extend_from_slice(&piece);
        if text.len() > MAX_ERROR {
            break;
        }
    }
    let Ok(XrpcError { error }) = serde_json::from_slice(&text) else {
        return NetError::Status(status).into();
    };
    let hosting = match error.as_str() {
        "RepoTakendown" => Some(HostingStatus::Takendown),
        "RepoSuspended" => Some(HostingStatus::Suspended),
        "RepoDeactivated" => Some(HostingStatus::Deactivated),
        _ => None,
    };
    FetchError::Refused(error.chars().take(100).collect(), hosting)
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
