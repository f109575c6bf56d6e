//! What somebody looks for: text and parameters of a search become a tree, and a record fits it or not.
//!
//! | to see | look into |
//! |---|---|
//! | the tree, and how it is written as text | [`ast`] |
//! | the grammar | `lex`, `parse`, `operators` |
//! | parameters of the methods | [`parameters`] |
//! | who `from:` is, what `in:likes` holds | [`mod@resolve`] |
//! | whether a record fits, and how well | [`verify`] |
//!
//! No text is an error but one that is too long, of too many terms or too deep. What cannot be read as an operator is
//! looked for as it stands and never dropped: a filter that silently falls away shows what nobody asked for.
//!
//! # Invariants
//! - A tree that was parsed, written as text and parsed again is the same tree.
//! - Reading takes time in proportion to the text.

pub mod ast;
mod boundaries;
mod lex;
mod operators;
pub mod parameters;
mod parse;
pub mod resolve;
pub mod verify;

pub use ast::{Account, Leaf, Node, Plain, RecordRef, Shelf, Words};
pub use parameters::{Search, Sort};
pub use parse::parse;
pub use resolve::{Test, World, resolve};
pub use verify::{Subject, Verifier};

/// Characters of the longest query.
pub const MAX_CHARACTERS: usize = 3_000;
/// Words, phrases and operators that a query may have.
pub const MAX_TERMS: usize = 64;
/// How deep groups may be in one another.
pub const MAX_DEPTH: usize = 16;

/// Why a search is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than [`MAX_CHARACTERS`].
    #[error("query is too long (maximum {MAX_CHARACTERS} characters)")]
    TooLong,
    /// More than [`MAX_TERMS`].
    #[error("query has too many terms (maximum {MAX_TERMS})")]
    TooManyTerms,
    /// More than [`MAX_DEPTH`].
    #[error("query has groups too deep in one another (maximum {MAX_DEPTH})")]
    TooDeep,
    /// Neither a query nor a filter.
    #[error("a query or at least one filter is required")]
    Nothing,
    /// A time that cannot be read.
    #[error("{0} is no date")]
    BadTime(&'static str),
    /// A parameter that cannot be read, or two that exclude each other.
    #[error("{0}")]
    BadParameter(&'static str),
}

impl QueryError {
    /// Whether the lexicon has a name for it, `BadQueryString`; the others are invalid requests.
    #[must_use]
    pub fn is_bad_query(self) -> bool {
        !matches!(self, Self::BadParameter(_))
    }
}

#[cfg(test)]
mod language_tests;
#[cfg(test)]
mod parameter_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
