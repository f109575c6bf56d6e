//! A CAR v1 as it comes over the network, read by `iroh-car`, which checks no hash and takes a stream that ends
//! between two sections for whole: both are seen to here and by whoever walks the tree.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use iroh_car::CarReader;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

use crate::net::NetError;
use crate::syntax::cid;

/// Pieces of a CAR.
pub(crate) type Pieces = flume::Receiver<Result<Bytes, NetError>>;

/// Why a stream is not a CAR.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarError {
    /// The stream ended with an error.
    #[error(transparent)]
    Net(NetError),
    /// The stream ended within a section.
    #[error("the CAR ends early")]
    Cut,
    /// It is no CAR v1, or a section is too large.
    #[error("not a CAR: {0}")]
    Format(iroh_car::Error),
    /// No root.
    #[error("the header names no root")]
    Root,
    /// A CID that is not one of the protocol's.
    #[error("a section has a CID of an unknown kind")]
    Cid,
    /// A block that is not what its CID says.
    #[error("a block does not match its CID")]
    Hash,
}

/// Pieces as bytes. Waits for the next one on this thread, so reading never yields.
struct Source<'p> {
    pieces: &'p Pieces,
    current: Bytes,
    end: &'p Cell<End>,
}

/// How the pieces ended.
#[derive(Default)]
enum End {
    #[default]
    NotYet,
    Closed,
    Failed(NetError),
}

impl AsyncRead for Source<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match self.pieces.recv() {
                Ok(Ok(piece)) => self.current = piece,
                Ok(Err(error)) => {
                    self.end.set(End::Failed(error));
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                Err(_) => {
                    self.end.set(End::Closed);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let n = buf.remaining().min(self.current.len());
        buf.put_slice(&self.current.split_to(n));
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end, hands each block with its digest to `block`, and gives the digest of the root.
pub(crate) fn read<E: From<CarError>>(
    pieces: &Pieces,
    mut block: impl FnMut([u8; 32], &[u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let mut root = [0; 32];
    read_from_root(pieces, |of, digest, bytes| {
        root = of;
        block(digest, bytes)
    })?;
    Ok(root)
}

/// The same; `block` gets the digest of the root too. A CAR without blocks has no root.
pub(crate) fn read_from_root<E: From<CarError>>(
    pieces: &Pieces,
    block: impl FnMut([u8; 32], [u8; 32], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // A source that never yields makes a future that is ready at once.
    blocks(pieces, block).now_or_never().unwrap_or_else(|| Err(CarError::Cut.into()))
}

async fn blocks<E: From<CarError>>(
    pieces: &Pieces,
    mut block: impl FnMut([u8; 32], [u8; 32], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let end = Cell::default();
    let format = |error| match end.take() {
        End::Failed(error) => E::from(CarError::Net(error)),
        End::Closed => CarError::Cut.into(),
        End::NotYet => CarError::Format(error).into(),
    };
    let mut car = CarReader::new(Source { pieces, current: Bytes::new(), end: &end })
        .await
        .map_err(format)?;
    let root = car.header().roots().first().and_then(cid::digest).ok_or(CarError::Root)?;
    while let Some((cid, bytes)) = car.next_block().await.map_err(format)? {
        let digest = cid::digest(&cid).ok_or(CarError::Cid)?;
        if Sha256::digest(&bytes)[..] != digest {
            return Err(CarError::Hash.into());
        }
        block(root, digest, &bytes)?;
    }
    // Between two sections an error looks like the end.
    match end.take() {
        End::Failed(error) => Err(CarError::Net(error).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::testing;
    use crate::syntax::Cid;

    fn sample() -> Vec<u8> {
        let blocks: Vec<Vec<u8>> = (0..6u8).map(|n| vec![n; usize::from(n) * 90]).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| cid::for_record(block)).collect();
        testing::car(&cids[2], cids.iter().zip(blocks.iter().map(Vec::as_slice)))
    }

    fn parse(bytes: &[u8], step: usize) -> Result<usize, CarError> {
        let (sender, pieces) = flume::unbounded();
        for piece in bytes.chunks(step) {
            sender.send(Ok(Bytes::copy_from_slice(piece))).unwrap();
        }
        drop(sender);
        let mut count = 0;
        read(&pieces, |_, _| {
            count += 1;
            Ok::<(), CarError>(())
        })?;
        Ok(count)
    }

    #[test]
    fn pieces_of_any_size_give_the_same_blocks() {
        let bytes = sample();
        for step in [1, 7, 64, 100_000] {
            assert_eq!(parse(&bytes, step).unwrap(), 6);
        }
    }

    #[test]
    fn damage_is_refused() {
        let mut bytes = sample();
        assert!(matches!(parse(&bytes[..bytes.len() - 1], 64), Err(CarError::Cut)));
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(parse(&bytes, 64), Err(CarError::Hash)));
        for garbage in [&[0xff; 40][..], &[3, 1, 2, 3, 4, 5, 6]] {
            assert!(matches!(parse(garbage, 64), Err(CarError::Format(_))));
        }
    }
}
