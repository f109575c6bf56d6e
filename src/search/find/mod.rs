//! From a query to pages of posts: the indexes give candidates, their records decide, the caller's rules decide last.
//!
//! ```text
//! query, resolved (world) -> plan -> candidates (eval) -> records read and verified -> the caller's rules -> page, cursor
//! ```
//!
//! # Invariants
//! - What a plan wants is never less than what its query finds, but for posts that a viewer's sets are too large to hold.
//! - A page is shorter than asked for only with a cursor, and ends without one only at the end.

mod plan;
mod posts;
mod respelled;
mod world;

pub use posts::{Found, PostSearch};

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use super::cursor::Malformed;
use super::index::IndexError;
use crate::store::StoreError;

/// Why a page cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The cursor is of another search, or none at all.
    #[error(transparent)]
    BadCursor(#[from] Malformed),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
