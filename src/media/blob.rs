//! A blob on its way through: its bytes are hashed while they pass, and the end is held back until they are right.
//!
//! # Invariants
//! - A blob that fits in [`HEAD`] is checked before anything of it is shown.
//! - A larger one that turns out wrong ends in an error, so that its receiver sees a broken transfer. That is why its
//!   length is not announced.
//! - A receiver that stalls loses the blob; it does not hold the PDS's connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::error::MediaError;
use crate::net::{BodyStream, StreamResponse};
use crate::syntax::cid::{self, Cid};

/// Read and checked before the answer begins.
const HEAD: usize = 256 << 10;
/// Pieces read ahead of the receiver.
const AHEAD: usize = 4;
/// How long a receiver may take nothing.
const STALL: Duration = Duration::from_secs(30);

/// The beginning of a blob, and the rest unless it is whole.
pub struct Blob {
    /// What the PDS said about it.
    pub headers: HeaderMap,
    /// The first bytes.
    pub first: Bytes,
    /// What follows, if anything does.
    pub rest: Option<Pieces>,
}

/// The rest of a blob; ends with an error if it was not the blob.
pub struct Pieces(mpsc::Receiver<Result<Bytes, MediaError>>);

impl Stream for Pieces {
    type Item = Result<Bytes, MediaError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// Begins to read a blob. `slot` is held until its end.
pub(super) async fn open(
    response: StreamResponse,
    cid: &Cid,
    slot: OwnedSemaphorePermit,
) -> Result<Blob, MediaError> {
    let StreamResponse { headers, mut body, .. } = response;
    let wanted = cid::digest(cid).ok_or(MediaError::NotFound)?;
    let mut hash = Sha256::new();
    let mut first = BytesMut::new();
    while first.len() < HEAD {
        let Some(piece) = body.next().await.transpose()? else {
            return if wanted == <[u8; 32]>::from(hash.finalize()) {
                Ok(Blob { headers, first: first.freeze(), rest: None })
            } else {
                Err(MediaError::NotFound)
            };
        };
        hash.update(&piece);
        first.extend_from_slice(&piece);
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(pump(body, hash, wanted, sender, slot));
    Ok(Blob { headers, first: first.freeze(), rest: Some(Pieces(receiver)) })
}

async fn pump(
    mut body: BodyStream,
    mut hash: Sha256,
    wanted: [u8; 32],
    to: mpsc::Sender<Result<Bytes, MediaError>>,
    _slot: OwnedSemaphorePermit,
) {
    loop {
        let piece = match body.next().await {
            Some(Ok(piece)) => {
                hash.update(&piece);
                Ok(piece)
            }
            Some(Err(error)) => Err(error.into()),
            None if wanted == <[u8; 32]>::from(hash.finalize_reset()) => return,
            None => Err(MediaError::NotFound),
        };
        let last = piece.is_err();
        match timeout(STALL, to.send(piece)).await {
            Ok(Ok(())) if !last => {}
            // The end, or nobody listens any more. A stalled receiver must not take the end for a good one.
            Ok(_) => return,
            Err(_) => {
                let _ = to.send(Err(MediaError::Overloaded)).await;
                return;
            }
        }
    }
}
