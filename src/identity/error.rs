//! Why an identity could not be resolved.

use std::time::Duration;

use crate::net::NetError;

/// A failure, with [`IdentityError::cause`] for counting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The directory or host does not know the DID.
    #[error("DID not found")]
    NotFound,
    /// The DID was deleted.
    #[error("DID deleted")]
    Tombstoned,
    /// A DID that cannot be looked up, such as did:web with a path.
    #[error("unsupported DID: {0}")]
    Unsupported(&'static str),
    /// The answer is not a document of this DID.
    #[error("bad DID document: {0}")]
    Malformed(&'static str),
    /// Nobody was asked: the host wants to be left alone, or readers ask for too much already. It may be tried again
    /// then.
    #[error("too much was asked for; again in {} s", .0.as_secs() + 1)]
    Busy(Duration),
    /// No answer.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl IdentityError {
    /// A short stable name to count by.
    pub fn cause(&self) -> &'static str {
        match self {
            IdentityError::NotFound => "did-not-found",
            IdentityError::Tombstoned => "did-tombstoned",
            IdentityError::Unsupported(_) => "did-unsupported",
            IdentityError::Malformed(_) => "did-document",
            IdentityError::Busy(_) => "did-busy",
            IdentityError::Net(error) => error.cause(),
        }
    }

    /// Whether another try later may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            IdentityError::Net(error) => error.is_transient(),
            IdentityError::Busy(_) => true,
            _ => false,
        }
    }
}
