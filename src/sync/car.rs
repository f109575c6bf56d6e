//! A CAR v1 as it comes, in pieces of any size, read by `iroh-car`: it checks no hash and takes a stream that ends
//! between two sections for whole. The first is done here; who walks the tree finds blocks missing.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use iroh_car::CarReader;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

use crate::net::NetError;
use crate::syntax::cid::{self, Cid};

/// Longest section: the largest record, and its CID. The reader would take four times as much, twice.
const MAX_SECTION: u64 = (1 << 20) + 1024;

/// A piece of a CAR, or why there are no more.
pub(crate) type Piece = Result<Bytes, NetError>;

/// Why a stream is not a CAR.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarError {
    /// The stream ended with an error.
    #[error(transparent)]
    Net(NetError),
    /// The stream ended within a section.
    #[error("the CAR ends early")]
    Cut,
    /// It is no CAR v1.
    #[error("not a CAR: {0}")]
    Format(iroh_car::Error),
    /// A block that no record and no node is as large as.
    #[error("a section of more than {MAX_SECTION} bytes")]
    TooLong,
    /// A CID, or that of the root, that is not one of the protocol's.
    #[error("a section has a CID of an unknown kind")]
    Cid,
    /// A block that is not what its CID says.
    #[error("a block does not match its CID")]
    Hash,
}

/// How the pieces ended.
#[derive(Default)]
enum End {
    #[default]
    NotYet,
    Closed,
    TooLong,
    Failed(NetError),
}

/// Follows the lengths of sections, without looking into them.
#[derive(Default)]
struct Lengths {
    /// Bytes of the section that are still to come.
    left: u64,
    /// What was read of a length, and how many bits.
    length: u64,
    bits: u32,
}

impl Lengths {
    /// Whether no section that begins in `bytes` is too long.
    fn fit(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let within = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= within as u64;
                bytes = bytes.get(within..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            if self.bits > 56 {
                return false;
            }
            self.length |= u64::from(first & 0x7f) << self.bits;
            self.bits += 7;
            if first & 0x80 == 0 {
                self.left = std::mem::take(&mut self.length);
                self.bits = 0;
                if self.left > MAX_SECTION {
                    return false;
                }
            }
        }
        true
    }
}

/// Pieces as one run of bytes. Waits for the next one on this thread, so reading never yields.
struct Source<'a, P> {
    pieces: &'a mut P,
    current: Bytes,
    lengths: Lengths,
    end: &'a Cell<End>,
}

impl<P: Iterator<Item = Piece>> AsyncRead for Source<'_, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match self.pieces.next() {
                Some(Ok(piece)) if self.lengths.fit(&piece) => self.current = piece,
                Some(Ok(_)) => {
                    self.end.set(End::TooLong);
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Some(Err(error)) => {
                    self.end.set(End::Failed(error));
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                None => {
                    self.end.set(End::Closed);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let n = buf.remaining().min(self.current.len());
        buf.put_slice(self.current.get(..n).unwrap_or_default());
        self.current.advance(n);
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end, hands each block to `block` with the root's digest and its own, and gives the former.
pub(crate) fn read<E: From<CarError>>(
    pieces: impl Iterator<Item = Piece>,
    block: impl FnMut([u8; 32], [u8; 32], &[u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    // A source that never yields makes a future that is ready at once.
    blocks(pieces, block).now_or_never().unwrap_or_else(|| Err(CarError::Cut.into()))
}

async fn blocks<E: From<CarError>>(
    mut pieces: impl Iterator<Item = Piece>,
    mut block: impl FnMut([u8; 32], [u8; 32], &[u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let end = Cell::default();
    let format = |error| match end.take() {
        End::Failed(error) => E::from(CarError::Net(error)),
        End::TooLong => CarError::TooLong.into(),
        End::Closed => CarError::Cut.into(),
        End::NotYet => CarError::Format(error).into(),
    };
    let source = Source {
        pieces: &mut pieces,
        current: Bytes::new(),
        lengths: Lengths::default(),
        end: &end,
    };
    let mut car = CarReader::new(source).await.map_err(format)?;
    let root = car.header().roots().first().and_then(digest_of).ok_or(CarError::Cid)?;
    while let Some((cid, bytes)) = car.next_block().await.map_err(format)? {
        let digest = digest_of(&cid).ok_or(CarError::Cid)?;
        if Sha256::digest(&bytes)[..] != digest {
            return Err(CarError::Hash.into());
        }
        block(root, digest, &bytes)?;
    }
    // Within a section's length `iroh-car` takes an error, or the end, for the end of the whole.
    match end.take() {
        End::Failed(error) => Err(CarError::Net(error).into()),
        End::TooLong => Err(CarError::TooLong.into()),
        _ => Ok(root),
    }
}

fn digest_of(cid: &Cid) -> Option<[u8; 32]> {
    cid::to_binary(cid)?.last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::testing;

    fn sample() -> Vec<u8> {
        let blocks: Vec<Vec<u8>> = (0..6u8).map(|n| vec![n; usize::from(n) * 90]).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| cid::for_record(block)).collect();
        testing::car(&cids[2], cids.iter().zip(blocks.iter().map(Vec::as_slice)))
    }

    fn parse(bytes: &[u8], step: usize) -> Result<usize, CarError> {
        let pieces = bytes.chunks(step).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let mut count = 0;
        read(pieces, |_, _, _| {
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
        for step in [64, 100_000] {
            assert!(matches!(parse(&bytes[..bytes.len() - 1], step), Err(CarError::Cut)));
        }
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(parse(&bytes, 64), Err(CarError::Hash)));
        let (long, whole) = (vec![7; MAX_SECTION as usize], vec![7; MAX_SECTION as usize - 36]);
        let car = |block: &[u8]| {
            let cid = cid::for_record(block);
            parse(&testing::car(&cid, [(&cid, block)]), 100_000)
        };
        assert!(matches!(car(&long), Err(CarError::TooLong)));
        assert_eq!(car(&whole).unwrap(), 1);
        let garbage =
            [&[0xff; 40][..], &[0; 40], &[0x81, 0x80, 0x80, 2, 1], &[3, 1, 2, 3, 4, 5, 6]];
        for bytes in garbage {
            assert!(matches!(parse(bytes, 64), Err(CarError::Format(_) | CarError::TooLong)));
        }
    }
}
