//! Blocks of one repo: in memory up to a limit, then in a file that has no name any more.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use crate::store::free_space;

/// The largest repositories have about two million records.
const MAX_BLOCKS: usize = 6_000_000;
/// Bytes written between two looks at the free space.
const LOOK: u64 = 32 << 20;
/// Blocks lie together in pieces of about so many bytes.
const CHUNK: usize = 64 << 10;

static NAMES: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Blocks {
    index: FxHashMap<[u8; 32], Place>,
    chunks: Vec<Vec<u8>>,
    memory: usize,
    limit: usize,
    folder: PathBuf,
    /// Free bytes that are left to others.
    floor: u64,
    spilled: Option<Spill>,
}

/// Small, as there are millions.
struct Place {
    /// Its chunk; `FILE` for the file.
    chunk: u16,
    len: u32,
    /// Where it begins in there, its low and its high part.
    at: u32,
    at_high: u16,
}

const FILE: u16 = u16::MAX;

struct Spill {
    out: BufWriter<File>,
    len: u64,
    /// Where it was when the free space was looked at.
    looked: Option<u64>,
}

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlocksError {
    #[error("the repository has too many blocks")]
    TooMany,
    #[error("the repository does not fit beside the store: the disk is nearly full")]
    NoRoom,
    #[error("the spill file: {0}")]
    Io(#[from] std::io::Error),
}

impl Blocks {
    /// Keeps `limit` bytes in memory and the rest in a file in `folder`.
    pub(crate) fn new(folder: &Path, limit: usize) -> Self {
        let (folder, limit) = (folder.to_owned(), limit.min(CHUNK * usize::from(FILE) / 4));
        let (index, chunks) = (FxHashMap::default(), Vec::new());
        Self { index, chunks, memory: 0, limit, folder, floor: 0, spilled: None }
    }

    /// So many free bytes of the disk are not touched: no host gets to fill it, and to stop what it is for.
    pub(crate) fn leaving(self, floor: u64) -> Self {
        Self { floor, ..self }
    }

    pub(crate) fn insert(&mut self, digest: [u8; 32], block: &[u8]) -> Result<(), BlocksError> {
        if self.index.len() >= MAX_BLOCKS {
            return Err(BlocksError::TooMany);
        }
        if self.index.contains_key(&digest) {
            return Ok(());
        }
        let place = if self.memory + block.len() <= self.limit {
            self.keep(block)
        } else {
            self.spill(block)?
        };
        self.index.insert(digest, place);
        Ok(())
    }

    fn keep(&mut self, block: &[u8]) -> Place {
        self.memory += block.len();
        if self.chunks.last().is_none_or(|chunk| chunk.len() + block.len() > CHUNK) {
            self.chunks.push(Vec::new());
        }
        let (chunk, mut at) = (self.chunks.len() - 1, 0);
        if let Some(chunk) = self.chunks.last_mut() {
            at = chunk.len();
            chunk.extend_from_slice(block);
        }
        place(chunk as u16, at as u64, block.len())
    }

    fn spill(&mut self, block: &[u8]) -> Result<Place, BlocksError> {
        let spill = match &mut self.spilled {
            Some(spill) => spill,
            none => {
                let out = BufWriter::new(unnamed(&self.folder)?);
                none.insert(Spill { out, len: 0, looked: None })
            }
        };
        if spill.looked.is_none_or(|at| spill.len >= at + LOOK) {
            if free_space(&self.folder) < self.floor {
                return Err(BlocksError::NoRoom);
            }
            spill.looked = Some(spill.len);
        }
        spill.out.write_all(block)?;
        let at = spill.len;
        spill.len += block.len() as u64;
        Ok(place(FILE, at, block.len()))
    }

    /// Makes everything readable; nothing is inserted after this.
    pub(crate) fn finish(&mut self) -> Result<(), BlocksError> {
        if let Some(spill) = &mut self.spilled {
            spill.out.flush()?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, digest: &[u8; 32]) -> Option<Cow<'_, [u8]>> {
        let Place { chunk, len, at, at_high } = self.index.get(digest)?;
        let (at, len) = (u64::from(*at_high) << 32 | u64::from(*at), *len as usize);
        if *chunk != FILE {
            let at = usize::try_from(at).ok()?;
            return Some(self.chunks.get(usize::from(*chunk))?.get(at..at + len)?.into());
        }
        let mut block = vec![0; len];
        // A block that cannot be read back is missing, and the fetch fails by that.
        self.spilled.as_ref()?.out.get_ref().read_exact_at(&mut block, at).ok()?;
        Some(block.into())
    }
}

/// Sections are of a few megabytes, files below 2^48 bytes.
fn place(chunk: u16, at: u64, len: usize) -> Place {
    Place { chunk, len: len as u32, at: at as u32, at_high: (at >> 32) as u16 }
}

fn unnamed(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("repo-{}-{number}.tmp", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_from_memory_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut blocks = Blocks::new(dir.path(), 250);
        for n in 0..10u8 {
            blocks.insert([n; 32], &[n; 100]).unwrap();
        }
        blocks.insert([3; 32], &[3; 100]).unwrap();
        blocks.finish().unwrap();
        for n in 0..10u8 {
            assert_eq!(blocks.get(&[n; 32]).as_deref(), Some(&[n; 100][..]), "{n}");
        }
        assert_eq!(blocks.get(&[11; 32]), None);
        let on_disk = blocks.spilled.as_ref().map(|spill| spill.len);
        assert_eq!((blocks.memory, on_disk), (200, Some(800)), "each once");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file is left behind");
        // With less free than it has to leave, what fits in memory is all.
        let mut blocks = Blocks::new(dir.path(), 250).leaving(u64::MAX);
        let full = (0..10u8).map(|n| blocks.insert([n; 32], &[n; 100])).position(|r| r.is_err());
        assert_eq!(full, Some(2));
    }
}
