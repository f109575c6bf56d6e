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
//! | what a query means, and whether a post is that | [`query`] |
//! | what somebody looks for, and whether a record is it | [`query`] |
//! | where a page ended | [`cursor`] |
//! | when two URLs are the same | [`url_form`] |
//!
//! This half knows no index and no store: records and texts go in, terms and answers come out.

pub mod analysis;
pub mod cursor;
pub mod document;
pub mod language;
pub mod query;
pub mod url_form;

#[cfg(test)]
mod document_tests;
