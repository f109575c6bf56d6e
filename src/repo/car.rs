//! CAR v1 over bytes that are already in memory: the `blocks` of a frame.
//!
//! Blocks stay where they are; the index is sorted by digest rather than hashed, so no choice of blocks makes it slow.
//! Whole repositories are streamed elsewhere; this parser wants everything at once.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::cbor::{CborError, Reader};
use crate::syntax::Cid;
use crate::syntax::cid::{self, BINARY_LEN};

const MAX_ROOTS: usize = 8;

/// What a CAR may weigh.
#[derive(Debug, Clone, Copy)]
pub struct CarLimits {
    /// Bytes in total.
    pub max_len: usize,
    /// Bytes of one block.
    pub max_block_len: usize,
    /// Number of blocks.
    pub max_blocks: usize,
}

/// Why bytes are not a CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// Above one of the limits.
    #[error("CAR is larger than allowed")]
    TooLarge,
    /// A length points past the end, or the end comes inside a section.
    #[error("CAR ends early")]
    Truncated,
    /// The header is not that of a CAR v1 with a root.
    #[error("CAR header is invalid")]
    Header(#[source] CborError),
    /// A section's CID is not a CIDv1 of SHA2-256 with codec dag-cbor or raw.
    #[error("CAR section has an unsupported CID")]
    Cid,
    /// A block is not what its CID says.
    #[error("CAR block does not match its CID")]
    Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    cid: [u8; BINARY_LEN],
    start: usize,
    end: usize,
}

/// An indexed CAR.
#[derive(Debug, Clone)]
pub struct CarSlice {
    data: Bytes,
    roots: SmallVec<[Cid; 1]>,
    /// Sorted by CID.
    blocks: Vec<Block>,
}

impl CarSlice {
    /// Indexes the blocks and compares every one with its CID.
    pub fn parse(data: Bytes, limits: &CarLimits) -> Result<CarSlice, CarError> {
        let car = CarSlice::parse_unhashed(data, limits)?;
        for block in &car.blocks {
            let bytes = car.data.get(block.start..block.end).ok_or(CarError::Truncated)?;
            if !matches(&block.cid, bytes) {
                return Err(CarError::Hash);
            }
        }
        Ok(car)
    }

    /// Indexes the blocks without hashing them: read them through [`CarSlice::get_hashed`].
    pub fn parse_unhashed(data: Bytes, limits: &CarLimits) -> Result<CarSlice, CarError> {
        if data.len() > limits.max_len {
            return Err(CarError::TooLarge);
        }
        let mut at = 0;
        let header = section(&data, &mut at)?;
        let roots =
            header_roots(data.get(header).ok_or(CarError::Truncated)?).map_err(CarError::Header)?;
        let mut blocks = Vec::with_capacity(16);
        while at < data.len() {
            let range = section(&data, &mut at)?;
            let (start, end) = (range.start, range.end);
            let bytes = data.get(range).ok_or(CarError::Truncated)?;
            let (cid, block) = bytes.split_first_chunk::<BINARY_LEN>().ok_or(CarError::Cid)?;
            cid::from_binary(cid).ok_or(CarError::Cid)?;
            if block.len() > limits.max_block_len || blocks.len() >= limits.max_blocks {
                return Err(CarError::TooLarge);
            }
            blocks.push(Block { cid: *cid, start: start + BINARY_LEN, end });
        }
        blocks.sort_unstable();
        Ok(CarSlice { data, roots, blocks })
    }

    /// The roots of the header, at least one.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    fn find(&self, cid: &Cid) -> Option<&Block> {
        let cid = cid::to_binary(cid)?;
        let at = self.blocks.binary_search_by(|block| block.cid.cmp(&cid)).ok()?;
        self.blocks.get(at)
    }

    /// A block's bytes.
    pub fn get(&self, cid: &Cid) -> Option<&[u8]> {
        let block = self.find(cid)?;
        self.data.get(block.start..block.end)
    }

    /// A block's bytes, sharing the memory of the whole.
    pub fn get_bytes(&self, cid: &Cid) -> Option<Bytes> {
        let block = self.find(cid)?;
        Some(self.data.slice(block.start..block.end))
    }

    /// A block's bytes if they match the CID, for a CAR from [`CarSlice::parse_unhashed`].
    pub fn get_hashed(&self, cid: &Cid) -> Result<Option<Bytes>, CarError> {
        let Some(block) = self.find(cid) else { return Ok(None) };
        let bytes = self.data.slice(block.start..block.end);
        if matches(&block.cid, &bytes) { Ok(Some(bytes)) } else { Err(CarError::Hash) }
    }
}

fn matches(cid: &[u8; BINARY_LEN], block: &[u8]) -> bool {
    cid.ends_with(&Sha256::digest(block))
}

/// Reads a length and steps over that many bytes, giving their range.
fn section(data: &[u8], at: &mut usize) -> Result<std::ops::Range<usize>, CarError> {
    let mut len = 0u64;
    let mut shift = 0;
    loop {
        let byte = *data.get(*at).ok_or(CarError::Truncated)?;
        *at += 1;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 28 {
            return Err(CarError::TooLarge);
        }
    }
    let start = *at;
    let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len));
    let end = end.filter(|end| *end <= data.len()).ok_or(CarError::Truncated)?;
    *at = end;
    Ok(start..end)
}

fn header_roots(header: &[u8]) -> Result<SmallVec<[Cid; 1]>, CborError> {
    let mut reader = Reader::new(header);
    let mut roots = SmallVec::new();
    if reader.map()? != 2 {
        return Err(CborError::Shape);
    }
    reader.expect_key("roots")?;
    let count = reader.list()?;
    if count == 0 || count > MAX_ROOTS {
        return Err(CborError::Shape);
    }
    for _ in 0..count {
        roots.push(reader.link()?);
    }
    reader.expect_key("version")?;
    if reader.uint()? != 1 {
        return Err(CborError::Shape);
    }
    reader.end()?;
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::cbor::{put_head, put_link, put_text};
    use crate::repo::testing;
    use proptest::prelude::*;

    const LIMITS: CarLimits = CarLimits { max_len: 10_000, max_block_len: 1000, max_blocks: 20 };

    fn sample() -> Vec<u8> {
        let blocks: Vec<Vec<u8>> = (0..10u8).map(|i| vec![i; usize::from(i) * 20]).collect();
        let cids: Vec<Cid> = blocks.iter().map(|b| cid::for_record(b)).collect();
        testing::car(&cids[3], cids.iter().zip(blocks.iter().map(Vec::as_slice)))
    }

    #[test]
    fn finds_blocks() {
        let car = CarSlice::parse(sample().into(), &LIMITS).unwrap();
        assert_eq!((car.blocks.len(), car.roots().len()), (10, 1));
        let cid = cid::for_record(&[3; 60]);
        assert_eq!(car.roots()[0], cid);
        assert_eq!(car.get(&cid), Some(&[3; 60][..]));
        assert_eq!(car.get_bytes(&cid).unwrap(), car.get_hashed(&cid).unwrap().unwrap());
        assert_eq!(car.get(&cid::for_raw(&[3; 60])), None, "another codec");
        assert_eq!(car.get(&cid::for_record(b"absent")), None);
    }

    #[test]
    fn a_header_names_roots_of_version_1_and_nothing_else() {
        let root = cid::for_record(b"root");
        let header = |roots: usize, version: u64, rest: &[u8]| {
            let mut out = Vec::new();
            put_head(&mut out, 5, 2);
            put_text(&mut out, "roots");
            put_head(&mut out, 4, roots as u64);
            (0..roots).for_each(|_| put_link(&mut out, &root));
            put_text(&mut out, "version");
            put_head(&mut out, 0, version);
            out.extend(rest);
            header_roots(&out).map(|roots| roots.len()).ok()
        };
        assert_eq!([1, MAX_ROOTS].map(|n| header(n, 1, &[])), [Some(1), Some(MAX_ROOTS)]);
        let bad = [
            header(0, 1, &[]),
            header(MAX_ROOTS + 1, 1, &[]),
            header(1, 2, &[]),
            header(1, 1, &[0]),
        ];
        assert_eq!(bad, [None; 4]);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = sample();
        let ends: Vec<usize> = (1..whole.len())
            .filter(|n| CarSlice::parse(whole[..*n].to_vec().into(), &LIMITS).is_ok())
            .collect();
        // Only a cut between two sections is well-formed; the missing block is then noticed by who needs it.
        assert_eq!(ends.len(), 10);
    }

    #[test]
    fn limits_and_damage() {
        let parse =
            |bytes: Vec<u8>, limits: CarLimits| CarSlice::parse(bytes.into(), &limits).err();
        let whole = sample();
        assert_eq!(
            parse(whole.clone(), CarLimits { max_len: 100, ..LIMITS }),
            Some(CarError::TooLarge)
        );
        assert_eq!(
            parse(whole.clone(), CarLimits { max_blocks: 9, ..LIMITS }),
            Some(CarError::TooLarge)
        );
        assert_eq!(
            parse(whole.clone(), CarLimits { max_block_len: 179, ..LIMITS }),
            Some(CarError::TooLarge)
        );
        let mut bad = whole.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(parse(bad.clone(), LIMITS), Some(CarError::Hash));
        let car = CarSlice::parse_unhashed(bad.into(), &LIMITS).unwrap();
        assert_eq!(car.get_hashed(&cid::for_record(&[9; 180])), Err(CarError::Hash));
        assert_eq!(parse(vec![0xff; 20], LIMITS), Some(CarError::TooLarge));
        assert_eq!(parse(vec![], LIMITS), Some(CarError::Truncated));
        let odd = testing::car(
            &cid::for_raw(b""),
            [(
                &Cid::try_from("QmY7Yh4UquoXHLPFo2XbhXkhBvFoPwmQUSa92pxnxjQuPU").unwrap(),
                &[0; 40][..],
            )],
        );
        assert_eq!(parse(odd, LIMITS), Some(CarError::Cid));
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = CarSlice::parse(bytes.into(), &LIMITS);
        }
    }
}
