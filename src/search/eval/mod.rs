//! What the indexes are asked: a plan goes in, candidates come out.
//!
//! | to see | look into |
//! |---|---|
//! | what can be asked | [`Plan`] |
//! | the newest first, from a position on | [`Newest`] |
//! | candidates for the best | [`top`] |
//! | how many there are | [`count`] |
//! | accounts by handle and name, with a slip | [`actors::Accounts`] |
//! | what was meant by a word that no post has | [`Respelling`] |
//!
//! Candidates are verified by whoever asks, on the records: see the page of `search`.

pub mod actors;
mod count;
mod docs;
mod newest;
mod plan;
mod respelling;
mod slips;
mod top;

pub use count::{Count, count};
pub use newest::{Candidate, Newest, Next, Position};
pub use plan::{Ask, Plan, Span};
pub use respelling::Respelling;
pub use top::top;

#[cfg(test)]
mod actors_tests;
#[cfg(test)]
mod tests;
