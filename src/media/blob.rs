//! A blob on its way through: its bytes are hashed while they pass, and the end is held back until they are right.
//!
//! # Invariants
//! - A blob that fits in [`HEAD`] is checked before anything of it is shown.
//! - A larger one that turns out wrong ends in an error, so that its receiver sees a broken transfer. That is why its
//!   length is not announced.
//! - A receiver that stalls, or takes almost nothing, loses the blob; it does not hold the PDS's connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

use super::error::MediaError;
use crate::limits::Hold;
use crate::net::{BodyStream, StreamResponse};
use crate::syntax::cid::{self, Cid};

/// Read and checked before the answer begins.
const HEAD: usize = 256 << 10;
/// Pieces read ahead of the receiver.
const AHEAD: usize = 4;
/// A receiver takes at least so much of a blob...
const SLOWEST: usize = 64 << 10;
/// ...in the time that it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// The place of a blob on its way, in all and of those who have to do with it.
pub(super) struct Slot {
    pub(super) _all: OwnedSemaphorePermit,
    pub(super) _holds: [Hold; 2],
}

/// How fast a receiver is, by the time that was spent waiting for it and not for the PDS.
#[derive(Default)]
struct Speed {
    waited: Duration,
    taken: usize,
}

impl Speed {
    /// How long the receiver is waited for now.
    fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.waited)
    }

    /// It took so many bytes after so long.
    fn took(&mut self, bytes: usize, waited: Duration) {
        self.waited += waited;
        self.taken += bytes;
        if self.taken >= SLOWEST {
            *self = Self::default();
        }
    }
}

/// Begins to read a blob. `slot` is held until its end.
pub(super) async fn open(
    response: StreamResponse,
    cid: &Cid,
    slot: Slot,
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
                Err(MediaError::WrongBytes)
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
    _slot: Slot,
) {
    let mut speed = Speed::default();
    loop {
        let piece = match body.next().await {
            Some(Ok(piece)) => {
                hash.update(&piece);
                Ok(piece)
            }
            Some(Err(error)) => Err(error.into()),
            None if wanted == <[u8; 32]>::from(hash.finalize_reset()) => return,
            None => Err(MediaError::WrongBytes),
        };
        let (last, bytes) = (piece.is_err(), piece.as_ref().map_or(0, Bytes::len));
        let began = Instant::now();
        let sent = timeout(speed.patience(), to.send(piece)).await;
        speed.took(bytes, began.elapsed());
        match sent {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces of this size a receiver gets that takes one in each of these times.
    fn pieces(bytes: usize, each: u64, most: usize) -> usize {
        let (mut speed, each) = (Speed::default(), Duration::from_secs(each));
        for n in 0..most {
            if each > speed.patience() {
                return n;
            }
            speed.took(bytes, each);
        }
        most
    }

    #[test]
    fn who_takes_almost_nothing_is_not_waited_for() {
        // A kilobyte in five seconds; never quiet for thirty, and yet it would take days.
        assert_eq!(pieces(1 << 10, 5, 1000), 6);
        assert_eq!(pieces(16 << 10, 31, 1000), 0);
        // Three kilobytes a second.
        assert_eq!(pieces(16 << 10, 5, 1000), 1000);
    }
}
