//! The query language: from what is typed to what it means, and whether a post is that.
//!
//! ```text
//! query = or ;                    or    = and { ("OR" | "|") and } ;      and  = { ["AND"] unit } ;
//! unit  = [ "-" ] atom ;
//! atom  = "(" or ")" | phrase | op ":" value | "#" tag | "@" handle | url | did | word ;
//! ```
//!
//! | to see | look into |
//! |---|---|
//! | what a query is | [`Query`] |
//! | what is typed for it | [`parse`] |
//! | what the parameters of a method add | [`SearchPosts`], [`SearchPostsV2`] |
//! | who is meant by a name | [`Names`] |
//! | whether a post is it | [`Candidate`] |
//!
//! # Invariants
//! - Only a query that is too long, has too many terms or groups too deep is refused ([`QueryError`]).
//! - An operator that nobody knows, or with a value that cannot be read, is its words: nothing that was typed is dropped but
//!   signs.
//! - What is printed is parsed to the same again.

mod ast;
mod error;
mod lexer;
mod parameters;
mod parser;
mod resolve;
mod text;
mod values;
mod verify;

pub use ast::{Account, Author, Link, Query, Record, Shelf};
pub use error::QueryError;
pub use lexer::MAX_CHARS;
pub use parameters::{Request, SearchPosts, SearchPostsV2};
pub use parser::{MAX_DEPTH, MAX_TERMS, parse};
pub use resolve::{Names, Person};
pub use text::{Place, Text};
pub use verify::{Candidate, Viewer};

#[cfg(test)]
pub(in crate::search) mod testing;
#[cfg(test)]
mod tests;
