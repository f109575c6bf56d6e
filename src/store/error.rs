//! What can go wrong in the store, and whether it is survived.
//!
//! # Invariants
//! - [`StoreError::is_fatal`] is what the writer dies of: the engine, which refuses every write after its first failed
//!   one. Everything else concerns one change or one caller, who is told, and the rest goes on.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::store::{Damages, Ks};
use crate::telemetry::counters::Counters;

/// What was read, and none of what does not decode: for those who can do without it as if it were not there.
pub fn decodable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rows that were met and do not decode, by keyspace.
static CORRUPT: Counters = Counters::new("store.corrupt_rows");

/// Rows that were passed over and are named in the log.
const MOST_NAMED: usize = 1000;
/// Bytes of a key that are shown.
const SHOWN: usize = 64;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed: permissions, a broken disk, a damaged journal.
    #[error("store: {0}")]
    Engine(#[source] fjall::Error),
    /// The engine failed since the disk is full. Before it comes to that, changes are refused with [`Self::NoRoom`].
    #[error("store: the disk is full: free some of it and start again ({0})")]
    DiskFull(#[source] fjall::Error),
    /// A row does not decode.
    #[error("store: {0}")]
    Corrupt(CorruptRow),
    /// A number space is used up.
    #[error("store: out of {0}")]
    Full(&'static str),
    /// A change panicked and was taken back.
    #[error("store: a change panicked: {0}")]
    Panicked(String),
    /// The folder was written by another version.
    #[error("store: {path} has format {found}, this version reads format {expected}; {advice}")]
    Version {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What this version reads.
        expected: u32,
        /// What to do.
        advice: &'static str,
    },
    /// Another process has it open.
    #[error("store: {0} is in use by another aerie process")]
    Locked(PathBuf),
    /// The folder cannot be made, read or written.
    #[error("store: {0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// There was one, and it is not there: see [`Mark`](super::Mark).
    #[error(
        "store: {store} is not there, but was once ({mark} says so): nothing is made in its place. Is something not \
         mounted? Mount it, or put a backup there, and start again. To begin anew, with nothing of what was in it, start \
         once with `aerie serve --new-store`, or with what `aerie private export` wrote, `aerie private import --new-store`"
    )]
    Gone {
        /// The folder.
        store: PathBuf,
        /// What says that there was one.
        mark: PathBuf,
    },
    /// Files of it are not what they were.
    #[error(
        "store: {path} is damaged: {found} ({cause}). `aerie db repair` sets aside what is damaged, keeps the rest and \
         says what was lost; private state is exported daily into {path}/exports. Or put a backup in its place"
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// Which files.
        found: Damages,
        /// What the engine says.
        cause: String,
    },
    /// What names the keyspaces is damaged, and cannot be made again.
    #[error(
        "store: {0} is damaged, and what it held cannot be told from the rest: `aerie db repair --anew` begins anew"
    )]
    Nameless(PathBuf),
    /// The writer has stopped.
    #[error("store: the writer has stopped")]
    Closed,
    /// The disk is nearly full: see [`Room`](super::Room).
    #[error("store: the disk is full; nothing is written until there is room again")]
    NoRoom,
}

impl StoreError {
    /// The row under `key` does not decode; it is counted here.
    pub(crate) fn corrupt(ks: Ks, key: &[u8]) -> Self {
        CORRUPT.inc(ks.name());
        Self::Corrupt(CorruptRow { what: ks.name(), key: key.into() })
    }

    /// Part of a row does not decode, and where the row is, is not known here; it is counted here.
    pub(crate) fn undecodable(what: &'static str) -> Self {
        CORRUPT.inc(what);
        Self::Corrupt(CorruptRow { what, key: Box::default() })
    }

    /// A row of many does not decode, and the others are read on: it is counted, and named once.
    pub(crate) fn pass_over(ks: Ks, key: &[u8]) {
        static NAMED: Mutex<BTreeSet<(Ks, Box<[u8]>)>> = Mutex::new(BTreeSet::new());
        let error = Self::corrupt(ks, key);
        let mut named = NAMED.lock();
        if named.len() < MOST_NAMED && named.insert((ks, key.into())) {
            tracing::error!(%error, "it is passed over");
        }
    }

    /// Whether nothing can be written any more, so that the process has to end.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::DiskFull(_) | Self::Folder(..))
    }

    /// Whether nothing helps but what an operator does, so that another start is of no use.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::Gone { .. } | Self::Damaged { .. } | Self::Nameless(_))
    }

    /// A short stable name, to count by.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine",
            Self::DiskFull(_) => "disk-full",
            Self::Corrupt(_) => "corrupt-row",
            Self::Full(_) => "out-of-numbers",
            Self::Panicked(_) => "panic",
            Self::Version { .. } => "version",
            Self::Locked(_) => "locked",
            Self::Folder(..) => "folder",
            Self::Gone { .. } => "gone",
            Self::Damaged { .. } => "damaged",
            Self::Nameless(_) => "nameless",
            Self::Closed => "closed",
            Self::NoRoom => "no-room",
        }
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            let io = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(io, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
                return Self::DiskFull(error);
            }
            cause = inner.source();
        }
        Self::Engine(error)
    }
}

/// A row that does not decode, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptRow {
    /// The keyspace, or which part of a row.
    pub what: &'static str,
    /// The key; empty if it is not known.
    pub key: Box<[u8]>,
}

impl fmt::Display for CorruptRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of {} does not decode", self.what)?;
        if self.key.is_empty() {
            return Ok(());
        }
        let shown = self.key.get(..SHOWN).unwrap_or(&self.key);
        write!(f, ": {}", data_encoding::HEXLOWER.encode(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_another_failure_of_the_engine() {
        let io = |kind| StoreError::from(fjall::Error::Io(std::io::Error::from(kind)));
        let (full, broken) = (io(ErrorKind::StorageFull), io(ErrorKind::PermissionDenied));
        assert_eq!((full.cause(), broken.cause()), ("disk-full", "engine"));
        assert!(full.is_fatal() && broken.is_fatal() && !StoreError::NoRoom.is_fatal());
    }

    #[test]
    fn a_row_that_does_not_decode_is_named_and_counted() {
        let before = CORRUPT.counts().get("label_1").copied().unwrap_or(0);
        let error = StoreError::corrupt(Ks::Label, b"\x01\xff");
        assert_eq!(error.to_string(), "store: a row of label_1 does not decode: 01ff");
        assert!(CORRUPT.counts()["label_1"] > before);
    }
}
