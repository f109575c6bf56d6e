//! What can go wrong with the log and with those who follow it.

use crate::store::StoreError;

/// What can go wrong with the log and with those who follow it.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// Changes from there on are not all in the log any more, or were never written for who asks.
    #[error(
        "the log of changes begins at {oldest}, not at {asked}: read everything anew, then go on from the log"
    )]
    OutdatedCursor {
        /// Where somebody wanted to go on.
        asked: u64,
        /// The oldest number from which on nothing is missing.
        oldest: u64,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody who follows could not take a change in.
    #[error("{name} cannot take changes in: {cause}")]
    Follower {
        /// Who.
        name: &'static str,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}
