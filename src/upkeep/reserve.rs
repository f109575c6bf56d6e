//! A file that holds some of the disk, so that there is something to give up when everything else is taken: with
//! ingest stopped, the store may still have to write tables and to compact them, and at the start to open.
//!
//! # Invariants
//! - Its blocks are allocated, not only its length. There is nothing in it: whatever a crash leaves of it is completed
//!   or given up by its allocated size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::store::disk_space;

const NAME: &str = "reserve";
/// At most this part of the file system.
const SHARE: u64 = 20;
const PIECE: usize = 1 << 20;

/// The reserve file of a store.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
}

impl Reserve {
    /// Of `size` bytes, or less on a small file system, in the store's folder.
    pub(super) fn new(folder: &Path, size: u64) -> Self {
        let most = disk_space(folder).map_or(size, |space| space.total / SHARE);
        Self { path: folder.join(NAME), size: size.min(most) }
    }

    /// What it should hold.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What it holds.
    pub(super) fn held(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.blocks() * 512)
    }

    /// Gives it up.
    pub(super) fn release(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes it what it should be. Blocks; what did not work out leaves nothing behind.
    pub(super) fn make(&self) -> io::Result<()> {
        if self.size == 0 {
            return self.release();
        }
        let made = self.fill();
        if made.is_err() {
            self.release()?;
        }
        made
    }

    fn fill(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        if file.metadata()?.len() > self.size {
            file.set_len(self.size)?;
        }
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.size) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, self.size),
            allocated => Ok(allocated?),
        }
    }
}

/// For file systems that allocate only what is written.
fn write_zeros(mut file: File, size: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        file.write_all(zeros.get(..n).unwrap_or_default())?;
        left -= n as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn it_holds_blocks_and_gives_them_up() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path(), 4 * MB);
        assert_eq!((reserve.size(), reserve.held()), (4 * MB, 0));
        reserve.release().unwrap();
        reserve.make().unwrap();
        assert!(reserve.held() >= 4 * MB, "{}", reserve.held());
        // As a crash may leave it: the length without the blocks.
        let file = File::create(dir.path().join(NAME)).unwrap();
        file.set_len(4 * MB).unwrap();
        assert_eq!(reserve.held(), 0);
        reserve.make().unwrap();
        assert!(reserve.held() >= 4 * MB);
        // Made smaller in the configuration.
        let smaller = Reserve::new(dir.path(), MB);
        smaller.make().unwrap();
        assert!((MB..2 * MB).contains(&smaller.held()), "{}", smaller.held());
        reserve.release().unwrap();
        assert_eq!(reserve.held(), 0);
        let none = Reserve::new(dir.path(), 0);
        none.make().unwrap();
        assert!(!dir.path().join(NAME).exists());
    }

    #[test]
    fn zeros_hold_blocks_too() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path(), 3 * MB + 5);
        write_zeros(File::create(&reserve.path).unwrap(), reserve.size()).unwrap();
        assert_eq!(std::fs::metadata(&reserve.path).unwrap().len(), 3 * MB + 5);
        assert!(reserve.held() >= 3 * MB);
    }

    #[test]
    fn it_never_takes_more_than_its_share() {
        let dir = tempfile::tempdir().unwrap();
        let total = disk_space(dir.path()).unwrap().total;
        assert_eq!(Reserve::new(dir.path(), u64::MAX).size(), total / SHARE);
    }
}
