//! Search: what a text is to the index, what a query means, and whether a record is what it asks for.
//!
//! The index gives candidates, the record decides: an index knows which words a post has, but neither their order nor
//! whether 熱力学 stands together, and whatever it says is verified on the record that hydration reads anyway. So all that
//! is said about texts is said here once, for indexing, for queries and for verifying.
//!
//! | to see | look into |
//! |---|---|
//! | how a text becomes terms | [`analysis`] |
//! | which parts of a record are searched | [`document`] |
//! | what somebody looks for, and whether a record is it | [`query`] |
//! | where a page ended | [`cursor`] |
//! | when two URLs are the same | [`url_form`] |
//! | what the indexes hold, and how they are kept as the store is | [`index`] |
//! | what they are asked, newest first, best, how many | [`eval`] |
//! | from a query to pages | [`find`] |
//!
//! But for the last three nothing here knows an index or the store: records and texts go in, terms and answers come out.

pub mod analysis;
pub mod cursor;
pub mod document;
pub mod eval;
pub mod find;
pub mod index;
pub mod language;
pub mod query;
pub mod url_form;

#[cfg(test)]
mod document_tests;
