//! Why there is no image or blob.

use std::sync::Arc;

use crate::identity::IdentityError;
use crate::limits::Refused;
use crate::net::NetError;
use crate::store::StoreError;
use crate::threads::PoolError;

/// Cheap to clone, so that everybody who waits for one image gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediaError {
    /// The PDS has no such blob, or the account or blob is not to be shown.
    #[error("Blob not found")]
    NotFound,
    /// What the PDS gave is something else.
    #[error("Bad cid check")]
    WrongBytes,
    /// The account has no PDS.
    #[error("Origin not found")]
    NoOrigin,
    /// Not an image, or of a kind that is not read here.
    #[error("Not an image")]
    NotAnImage,
    /// Decoding it would take more memory or time than an image gets.
    #[error("The image is too large")]
    TooLarge,
    /// An image that cannot be decoded.
    #[error("The image is damaged")]
    Damaged,
    /// The PDS or the DID's document could not be had.
    #[error("Upstream Error")]
    Upstream(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The caller has as much as it may, or its host does.
    #[error(transparent)]
    Limited(#[from] Refused),
    /// More images are under way than may be.
    #[error("too many images are under way")]
    Overloaded,
    /// The store cannot be read.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// A thread of this folder is gone or panicked.
    #[error("image worker: {0}")]
    Worker(Arc<str>),
}

impl MediaError {
    /// A short stable name to count by.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::WrongBytes => "wrong-bytes",
            Self::NoOrigin => "no-origin",
            Self::NotAnImage => "not-an-image",
            Self::TooLarge => "too-large",
            Self::Damaged => "damaged",
            Self::Upstream(_) => "upstream",
            Self::Limited(_) => "limited",
            Self::Overloaded => "overloaded",
            Self::Store(_) => "store",
            Self::Worker(_) => "worker",
        }
    }
}

impl From<StoreError> for MediaError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<PoolError> for MediaError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Overloaded | PoolError::Crowded => Self::Overloaded,
            PoolError::Panicked(_) => Self::Worker(error.to_string().into()),
        }
    }
}

impl From<NetError> for MediaError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::TooBig(_) => Self::TooLarge,
            error => Self::Upstream(Arc::new(error)),
        }
    }
}

impl From<IdentityError> for MediaError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NotFound | IdentityError::Tombstoned => Self::NoOrigin,
            IdentityError::Busy(_) => Self::Overloaded,
            error => Self::Upstream(Arc::new(error)),
        }
    }
}
