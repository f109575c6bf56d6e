//! Blocks of one repo: in memory as far as its quota goes, then in a file that has no name any more.

use std::borrow::Cow;
use std::path::Path;

use super::quota::Quota;
use super::spill::{Spill, SpillError, SpillFolder};
use super::table::{Digest, FILE, Place, Table};

/// The largest repositories have about two million records.
const MAX_BLOCKS: usize = 6_000_000;
/// Blocks of a tree are larger than this: a record names its type, which has three parts, and a node has a link of 41
/// bytes for everything below it.
const MIN_MEAN: usize = 15;
/// So many may come before that is looked at.
const SMALL: usize = 10_000;
/// Blocks lie together in pieces of about so many bytes.
const CHUNK: usize = 16 << 10;

pub(crate) struct Blocks {
    table: Table,
    chunks: Vec<Vec<u8>>,
    memory: u64,
    bytes: usize,
    quota: Quota,
    folder: SpillFolder,
    spilled: Option<Spill>,
}

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlocksError {
    #[error("the repository has too many blocks")]
    TooMany,
    #[error("the repository has blocks that hold next to nothing, {SMALL} of them")]
    TooSmall,
    #[error(transparent)]
    Spill(#[from] SpillError),
}

impl Blocks {
    /// Keeps as much in memory as `quota` has, and the rest in files in `folder`.
    pub(crate) fn new(folder: &Path, quota: Quota) -> Self {
        let folder = SpillFolder { path: folder.to_owned(), floor: 0 };
        let (table, chunks) = (Table::default(), Vec::new());
        Self { table, chunks, memory: 0, bytes: 0, quota, folder, spilled: None }
    }

    /// So many free bytes of the disk are not touched.
    pub(crate) fn leaving(mut self, floor: u64) -> Self {
        self.folder.floor = floor;
        self
    }

    pub(crate) fn insert(&mut self, digest: Digest, block: &[u8]) -> Result<(), BlocksError> {
        let count = self.table.len();
        if count >= MAX_BLOCKS {
            return Err(BlocksError::TooMany);
        }
        if count >= SMALL && self.bytes / MIN_MEAN < count {
            return Err(BlocksError::TooSmall);
        }
        self.bytes = self.bytes.saturating_add(block.len());
        let place = if self.has_room(block.len()) { self.keep(block) } else { self.spill(block)? };
        Ok(self.table.insert(digest, place, &mut self.quota, &self.folder)?)
    }

    /// Whether a block fits in the last chunk, or in a new one beside what the table may come to need.
    fn has_room(&mut self, len: usize) -> bool {
        if self.chunks.last().is_some_and(|chunk| chunk.len() + len <= chunk.capacity()) {
            return true;
        }
        let size = chunk_size(len) as u64;
        let fits = self.chunks.len() < usize::from(FILE)
            && self.memory + size <= self.quota.blocks()
            && self.quota.fits(size);
        if fits {
            self.memory += size;
            self.chunks.push(Vec::with_capacity(chunk_size(len)));
        }
        fits
    }

    fn keep(&mut self, block: &[u8]) -> Place {
        let (chunk, mut at) = (self.chunks.len().saturating_sub(1), 0);
        if let Some(chunk) = self.chunks.last_mut() {
            at = chunk.len();
            chunk.extend_from_slice(block);
        }
        place(chunk as u16, at as u64, block.len())
    }

    fn spill(&mut self, block: &[u8]) -> Result<Place, SpillError> {
        let spill = match &mut self.spilled {
            Some(spill) => spill,
            none => none.insert(Spill::new(&self.folder)?),
        };
        Ok(place(FILE, spill.append(block)?, block.len()))
    }

    /// Makes everything readable; nothing is inserted after this.
    pub(crate) fn finish(&mut self) -> Result<(), BlocksError> {
        if let Some(spill) = &mut self.spilled {
            spill.flush()?;
        }
        Ok(self.table.finish(&self.folder)?)
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Cow<'_, [u8]>> {
        let Place { chunk, at_high, at, len } = self.table.get(digest)?;
        let (at, len) = (u64::from(at_high) << 32 | u64::from(at), len as usize);
        if chunk != FILE {
            let at = usize::try_from(at).ok()?;
            return Some(self.chunks.get(usize::from(chunk))?.get(at..at + len)?.into());
        }
        let mut block = vec![0; len];
        // A block that cannot be read back is missing, and the fetch fails by that.
        self.spilled.as_ref()?.read(&mut block, at).ok()?;
        Some(block.into())
    }
}

/// The chunk that a block begins.
fn chunk_size(block: usize) -> usize {
    block.max(CHUNK)
}

/// Sections are of a few megabytes, files below 2^48 bytes.
fn place(chunk: u16, at: u64, len: usize) -> Place {
    Place { chunk, at_high: (at >> 32) as u16, at: at as u32, len: len as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::quota;
    use crate::threads::Budget;

    async fn blocks(folder: &Path) -> (Blocks, Budget) {
        let all = Budget::new(quota::LEAST);
        (Blocks::new(folder, Quota::growing(&all).await), all)
    }

    #[tokio::test]
    async fn blocks_come_back_from_memory_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut blocks, all) = blocks(dir.path()).await;
        let block = |n: u8| vec![n; 100_000];
        for n in 0..20 {
            blocks.insert([n; 32], &block(n)).unwrap();
        }
        blocks.insert([30; 32], &[30; 1000]).unwrap();
        blocks.insert([3; 32], &block(3)).unwrap();
        blocks.finish().unwrap();
        for n in 0..20 {
            assert_eq!(blocks.get(&[n; 32]).as_deref(), Some(&block(n)[..]), "{n}");
        }
        assert_eq!(blocks.get(&[30; 32]).as_deref(), Some(&[30; 1000][..]));
        assert_eq!(blocks.get(&[31; 32]), None);
        let on_disk = blocks.spilled.as_ref().map_or(0, Spill::len);
        assert!(blocks.memory > 300_000 && on_disk > 1_000_000, "{} {on_disk}", blocks.memory);
        assert_eq!(all.held(), quota::LEAST);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file is left behind");
    }

    #[tokio::test]
    async fn a_full_disk_leaves_what_fits_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (blocks, _all) = blocks(dir.path()).await;
        let mut blocks = blocks.leaving(u64::MAX);
        let mut put = (0..40).map(|n| blocks.insert([n; 32], &[n; 100_000]));
        let full = put.position(|put| matches!(put, Err(BlocksError::Spill(SpillError::NoRoom))));
        assert!((4..6).contains(&full.unwrap()), "{full:?}");
    }

    #[tokio::test]
    async fn millions_of_blocks_that_hold_nothing_end_early_and_small_records_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let digest = |n: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        let (mut junk, _all) = blocks(dir.path()).await;
        let ended = (0..20_000).map(|n| junk.insert(digest(n), &[0; 4])).position(|r| r.is_err());
        assert_eq!(ended, Some(SMALL));
        let (mut records, _all) = blocks(dir.path()).await;
        let record = b"\xa1\x65$type\x67aa.bb.c";
        assert!((0..50_000).all(|n| records.insert(digest(n), record).is_ok()));
    }
}
