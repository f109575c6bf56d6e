//! The indexes of search: what they hold, and how they are kept as the store is.
//!
//! ```text
//! log of changes -> keeper (what changed, gathered) -> documents (from a snapshot) -> set of four indexes -> commit
//!                                                                                         |
//!                                                            readers <- views (open segments, newest first)
//! ```
//!
//! Only this folder and `eval` name the engine. This one knows what is in a document and when it is written, and nothing
//! of queries.

mod deletes;
mod documents;
mod error;
mod files;
mod generations;
mod keeper;
mod merges;
mod schema;
mod segment;
mod set;
mod sweep;

pub use documents::interactions;
pub use error::IndexError;
pub use files::View;
pub use keeper::{Search, SearchStatus, Settings};
pub use schema::{ActorFields, BEGINNINGS, NumberField, RecordFields, TextField};
pub use segment::OpenSegment;
pub use set::Seen;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
