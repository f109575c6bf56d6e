//! A file that has no name any more, for what does not fit in memory. It goes with whoever wrote it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::free_space;

/// Bytes written between two looks at the free space.
const LOOK: u64 = 32 << 20;

static NAMES: AtomicU64 = AtomicU64::new(0);

/// Where such files are made, and the free bytes of the disk that are left to others: no host gets to fill it, and to stop
/// what it is for.
#[derive(Debug, Clone)]
pub(crate) struct SpillFolder {
    pub(crate) path: PathBuf,
    pub(crate) floor: u64,
}

pub(crate) struct Spill {
    folder: SpillFolder,
    out: BufWriter<File>,
    len: u64,
    /// Where it was when the free space was looked at.
    looked: Option<u64>,
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpillError {
    #[error("the repository does not fit beside the store: the disk is nearly full")]
    NoRoom,
    #[error("the spill file: {0}")]
    Io(#[from] std::io::Error),
}

impl Spill {
    pub(crate) fn new(folder: &SpillFolder) -> Result<Self, SpillError> {
        let out = BufWriter::new(unnamed(&folder.path)?);
        Ok(Self { folder: folder.clone(), out, len: 0, looked: None })
    }

    /// Writes at the end; gives where that was.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, SpillError> {
        if self.looked.is_none_or(|at| self.len >= at + LOOK) {
            if free_space(&self.folder.path) < self.folder.floor {
                return Err(SpillError::NoRoom);
            }
            self.looked = Some(self.len);
        }
        self.out.write_all(bytes)?;
        let at = self.len;
        self.len += bytes.len() as u64;
        Ok(at)
    }

    /// Makes everything readable.
    pub(crate) fn flush(&mut self) -> Result<(), SpillError> {
        Ok(self.out.flush()?)
    }

    /// Fills `into` with what was flushed.
    pub(crate) fn read(&self, into: &mut [u8], at: u64) -> std::io::Result<()> {
        self.out.get_ref().read_exact_at(into, at)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

fn unnamed(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("repo-{}-{number}.tmp", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
