//! A CAR v1 as it comes, in pieces of any size: its sections one after another, each block compared with its CID.
//!
//! A CAR that was cut between two sections looks whole here; who walks the tree finds blocks missing.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::net::NetError;
use crate::repo::CborError;
use crate::repo::car::header_roots;
use crate::syntax::cid::{self, BINARY_LEN};

/// A piece of a CAR, or why there are no more.
pub(crate) type Piece = Result<Bytes, NetError>;

/// Bytes of one section: more than any record or node may have.
const MAX_SECTION: usize = 4 << 20;

/// Why a stream is not a CAR.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarError {
    /// The stream ended with an error.
    #[error(transparent)]
    Net(NetError),
    /// The stream ended within a section.
    #[error("the CAR ends early")]
    Cut,
    /// A section is too large, or empty.
    #[error("not a CAR: a section of {0} bytes")]
    Section(u64),
    /// It does not begin like a CAR v1 with a root.
    #[error("not a CAR: {0}")]
    Header(CborError),
    /// A CID that is not one of the protocol's.
    #[error("a section has a CID of an unknown kind")]
    Cid,
    /// A block that is not what its CID says.
    #[error("a block does not match its CID")]
    Hash,
}

/// Pieces as one run of bytes.
struct Source<P> {
    pieces: P,
    current: Bytes,
    /// What of `current` was read.
    at: usize,
    /// What lies in more than one piece.
    joined: Vec<u8>,
}

impl<P: Iterator<Item = Piece>> Source<P> {
    /// Goes to the next piece if this one was read to its end; `false` if there is none.
    fn fill(&mut self) -> Result<bool, CarError> {
        while self.at >= self.current.len() {
            match self.pieces.next() {
                Some(piece) => (self.current, self.at) = (piece.map_err(CarError::Net)?, 0),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn byte(&mut self) -> Result<Option<u8>, CarError> {
        if !self.fill()? {
            return Ok(None);
        }
        let byte = self.current.get(self.at).copied();
        self.at += 1;
        Ok(byte)
    }

    /// The next section; nothing at the end.
    fn section(&mut self) -> Result<Option<&[u8]>, CarError> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let (mut len, mut byte, mut shift) = (u64::from(first & 0x7f), first, 0);
        while byte & 0x80 != 0 {
            shift += 7;
            byte = self.byte()?.ok_or(CarError::Cut)?;
            len |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(u64::MAX);
            if shift > 28 {
                return Err(CarError::Section(len));
            }
        }
        match usize::try_from(len) {
            Ok(len @ 1..=MAX_SECTION) => self.take(len).map(Some),
            _ => Err(CarError::Section(len)),
        }
    }

    fn take(&mut self, len: usize) -> Result<&[u8], CarError> {
        let end = self.at + len;
        if end <= self.current.len() {
            let at = std::mem::replace(&mut self.at, end);
            return self.current.get(at..end).ok_or(CarError::Cut);
        }
        self.joined.clear();
        while self.joined.len() < len {
            if !self.fill()? {
                return Err(CarError::Cut);
            }
            let rest = self.current.get(self.at..).unwrap_or_default();
            let part = rest.get(..len - self.joined.len()).unwrap_or(rest);
            self.joined.extend_from_slice(part);
            self.at += part.len();
        }
        Ok(&self.joined)
    }
}

/// Reads to the end, hands each block to `block` with its digest and that of the root, and gives the latter.
pub(crate) fn read<E: From<CarError>>(
    pieces: impl Iterator<Item = Piece>,
    mut block: impl FnMut([u8; 32], [u8; 32], &[u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let mut source = Source { pieces, current: Bytes::new(), at: 0, joined: Vec::new() };
    let header = source.section()?.ok_or(CarError::Cut)?;
    let roots = header_roots(header).map_err(CarError::Header)?;
    let root = roots.first().and_then(cid::digest).ok_or(CarError::Cid)?;
    while let Some(section) = source.section()? {
        let (cid, bytes) = section.split_first_chunk::<BINARY_LEN>().ok_or(CarError::Cid)?;
        let digest = cid::from_binary(cid).as_ref().and_then(cid::digest).ok_or(CarError::Cid)?;
        if Sha256::digest(bytes)[..] != digest {
            return Err(CarError::Hash.into());
        }
        block(root, digest, bytes)?;
    }
    Ok(root)
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
        let more = [&bytes[..], &[0x85]].concat();
        assert!(matches!(parse(&more, 64), Err(CarError::Cut)), "within a length");
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(parse(&bytes, 64), Err(CarError::Hash)));
        assert!(matches!(parse(&[3, 1, 2, 3, 4, 5, 6], 64), Err(CarError::Header(_))));
        for garbage in [&[0xff; 40][..], &[0; 40], &[0x81, 0x80, 0x80, 2, 1]] {
            assert!(matches!(parse(garbage, 64), Err(CarError::Section(_))));
        }
    }
}
