//! What can go wrong with an index.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tantivy::TantivyError;
use tantivy::directory::error::OpenReadError;

use crate::store::StoreError;

/// What can go wrong with an index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A folder or file that the engine does not keep.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The engine.
    #[error("the search index: {0}")]
    Engine(#[from] TantivyError),
    /// Its files are not what they were written as.
    #[error("the search index is damaged: {0}")]
    Damaged(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IndexError {
    /// Whether its files are to blame, and not that the disk is full, too many files are open, or the like.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Io { .. } | Self::Store(_) => false,
            Self::Engine(error) => match error {
                TantivyError::IoError(io) => is_of_files(io.kind()),
                TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => {
                    is_of_files(io_error.kind())
                }
                TantivyError::LockFailure(..)
                | TantivyError::OpenDirectoryError(_)
                | TantivyError::OpenWriteError(_)
                | TantivyError::SystemError(_)
                | TantivyError::ErrorInThread(_)
                | TantivyError::Poisoned => false,
                _ => true,
            },
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// What the system says of files that are not there, too short, or not what they should be.
fn is_of_files(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

impl From<std::io::Error> for IndexError {
    fn from(error: std::io::Error) -> Self {
        Self::Engine(error.into())
    }
}
