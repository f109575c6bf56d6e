//! A CAR v1 in pieces, as it comes over the network.

use bytes::{Buf, Bytes, BytesMut};
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};

use crate::repo::dag_cbor;
use crate::syntax::Cid;
use crate::syntax::cid::{self, BINARY_LEN};

/// A section is one record or tree node, and its CID.
const MAX_SECTION: u64 = 2_000_000;

/// Why a stream is not a CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CarError {
    #[error("a section is larger than allowed")]
    TooLarge,
    #[error("the header is not that of a CAR v1 with a root")]
    Header,
    #[error("a section has a CID of an unknown kind")]
    Cid,
    #[error("a block does not match its CID")]
    Hash,
}

/// Takes pieces and gives blocks.
#[derive(Default)]
pub(crate) struct CarParser {
    buffer: BytesMut,
    root: Option<Cid>,
}

impl CarParser {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The root of the header, once that was read.
    pub(crate) fn root(&self) -> Option<Cid> {
        self.root
    }

    /// Whether everything pushed belonged to whole sections.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next block, compared with its CID; `None` until more was pushed.
    pub(crate) fn next(&mut self) -> Result<Option<([u8; 32], Bytes)>, CarError> {
        if self.root.is_none() {
            let Some(header) = self.section()? else { return Ok(None) };
            self.root = Some(root(&header).ok_or(CarError::Header)?);
        }
        let Some(mut section) = self.section()? else { return Ok(None) };
        let cid = section.get(..BINARY_LEN).ok_or(CarError::Cid)?;
        let cid = cid::from_binary(cid).and_then(|cid| cid::digest(&cid)).ok_or(CarError::Cid)?;
        section.advance(BINARY_LEN);
        if Sha256::digest(&section)[..] != cid {
            return Err(CarError::Hash);
        }
        Ok(Some((cid, section)))
    }

    fn section(&mut self) -> Result<Option<Bytes>, CarError> {
        let (mut len, mut shift, mut head) = (0u64, 0, 0usize);
        for byte in &self.buffer {
            len |= u64::from(byte & 0x7f) << shift;
            head += 1;
            if byte & 0x80 == 0 {
                if len > MAX_SECTION {
                    return Err(CarError::TooLarge);
                }
                let len = usize::try_from(len).map_err(|_| CarError::TooLarge)?;
                if self.buffer.len() - head < len {
                    return Ok(None);
                }
                self.buffer.advance(head);
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
            shift += 7;
            if shift > 28 {
                return Err(CarError::TooLarge);
            }
        }
        Ok(None)
    }
}

fn root(header: &[u8]) -> Option<Cid> {
    let Ipld::Map(map) = dag_cbor::decode(header).ok()? else { return None };
    match (map.get("version")?, map.get("roots")?) {
        (Ipld::Integer(1), Ipld::List(roots)) => match roots.first()? {
            Ipld::Link(root) => Some(*root),
            _ => None,
        },
        _ => None,
    }
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

    fn parse(bytes: &[u8], step: usize) -> Result<(usize, bool), CarError> {
        let (mut parser, mut count) = (CarParser::default(), 0);
        for piece in bytes.chunks(step) {
            parser.push(piece);
            while parser.next()?.is_some() {
                count += 1;
            }
        }
        Ok((count, parser.is_at_boundary()))
    }

    #[test]
    fn pieces_of_any_size_give_the_same_blocks() {
        let bytes = sample();
        for step in [1, 7, 64, 100_000] {
            assert_eq!(parse(&bytes, step), Ok((6, true)));
        }
        assert_eq!(parse(&bytes[..bytes.len() - 1], 64), Ok((5, false)), "cut short");
    }

    #[test]
    fn damage_is_refused() {
        let mut bytes = sample();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(parse(&bytes, 64), Err(CarError::Hash));
        assert_eq!(parse(&[0xff; 9], 64), Err(CarError::TooLarge));
        assert_eq!(parse(&[3, 1, 2, 3], 64), Err(CarError::Header));
    }
}
