//! What can go wrong in the store, and whether it is survived.

use std::path::PathBuf;

use crate::store::Ks;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed: disk, permissions, a damaged journal.
    #[error("store: {0}")]
    Engine(#[from] fjall::Error),
    /// A row does not decode.
    #[error("store: a row of {0} does not decode")]
    Corrupt(&'static str),
    /// A number space is used up.
    #[error("store: out of {0}")]
    Full(&'static str),
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
    /// The folder cannot be made or read.
    #[error("store: {0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The writer has stopped.
    #[error("store: the writer has stopped")]
    Closed,
    /// The disk is nearly full: see [`Room`].
    #[error("store: the disk is full; nothing is written until there is room again")]
    NoRoom,
}

impl StoreError {
    pub(crate) fn corrupt(ks: Ks) -> Self {
        Self::Corrupt(ks.name())
    }
}
