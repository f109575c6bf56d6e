//! From what is looked for to pages of it: the indexes give candidates, their records decide, the caller's rules decide last.
//!
//! ```text
//! query, resolved (world) -> plan -> candidates (eval) -> records read and verified -> the caller's rules -> page, cursor
//! ```
//!
//! Accounts, starter packs and feeds have no query language: what is typed of them is looked for as it is.
//!
//! | to see | look into |
//! |---|---|
//! | posts | [`PostSearch`] |
//! | accounts | [`AccountSearch`] |
//! | starter packs and feeds | [`ThingSearch`] |
//!
//! # Invariants
//! - What a plan wants is never less than what its query finds, but for posts that a viewer's sets are too large to hold.
//! - A page is shorter than asked for only with a cursor, and ends without one only at the end.

mod accounts;
mod plan;
mod posts;
mod ranked;
mod respelled;
mod things;
mod typed;
mod world;

pub use accounts::AccountSearch;
pub use posts::{Found, PostSearch, Why};
pub use things::{Thing, ThingSearch, Things};
pub use typed::Typed;

#[cfg(test)]
mod accounts_tests;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod things_tests;

use super::cursor::Malformed;
use super::index::IndexError;
use crate::store::StoreError;

/// Memory that a profile, starter pack or feed may take to be read for a search, which reads a hundred of them: those that
/// people write take a tenth of it.
const RECORD: usize = 128 << 10;

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
