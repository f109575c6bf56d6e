//! Why a backup was not made, read or put back: each with what to do.

use std::io;
use std::path::PathBuf;

use super::id::Id;
use crate::private::lines::ExportError;
use crate::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder or bucket.
    #[error("{place}: {what}: {cause}")]
    Place {
        /// Which.
        place: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// Something of the store or beside it cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Private state.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// There is no such backup.
    #[error("{place}: there is no backup {wanted}: `aerie backup list` names those that are there")]
    Unknown {
        /// Where.
        place: String,
        /// What was asked for.
        wanted: String,
    },
    /// What the place holds is not what was put there.
    #[error(
        "backup {id} is damaged: {what}. Take another one: `aerie backup list` names them, and `aerie backup verify` says \
         which are good"
    )]
    Damaged {
        /// Which.
        id: Id,
        /// What is the matter.
        what: String,
    },
    /// A manifest cannot be read.
    #[error("{0} is no manifest of a backup that this version reads: {1}")]
    Manifest(String, String),
    /// It is encrypted, and no identity was named.
    #[error(
        "backup {0} is encrypted: name the file with the identity, with --identity or backup.identity_file"
    )]
    Encrypted(Id),
    /// It is encrypted to somebody else.
    #[error(
        "backup {0} is encrypted to another key: none of the identities in {1} opens it. It needs the identity (AGE-SECRET-KEY-…) \
         whose recipient was in backup.encrypt_to when it was made"
    )]
    WrongKey(Id, PathBuf),
    /// Not an age key.
    #[error("{0}")]
    Key(String),
    /// It was made by a newer version.
    #[error(
        "backup {id} has format {found} and was made by aerie {by}; this version reads format {reads}: restore it with aerie {by} \
         or a newer one. Nothing was changed"
    )]
    Newer {
        /// Which.
        id: Id,
        /// Its format.
        found: u32,
        /// By which version.
        by: String,
        /// The newest format that is known here.
        reads: u32,
    },
    /// There is something where it would go.
    #[error(
        "{0} is not empty ({1} is there): a backup is only put where nothing is. Move it away, or name another folder with --to"
    )]
    NotEmpty(PathBuf, String),
    /// There is no room for it.
    #[error(
        "{folder}: {need} bytes are needed and {free} are free: make room, or name another folder with --to"
    )]
    NoRoom {
        /// Where it would go.
        folder: PathBuf,
        /// For all of it.
        need: u64,
        /// What there is.
        free: u64,
    },
    /// Another process is at it.
    #[error("{0}: another restore is at work there")]
    Busy(PathBuf),
    /// Told to stop.
    #[error("stopped: {0}")]
    Stopped(String),
    /// There is nothing to be put back.
    #[error("private state is empty: there is nothing to back up")]
    Nothing,
}
