//! What a row of the store is: numbers for names, keys, values, and the kinds of rows.
//!
//! It knows what a record, an edge or a counter looks like on disk, and neither where it came from nor what follows from
//! it: which rows an event touches is `index`' matter. Everything here is frozen once released: the saved store in
//! `tests/fixtures` must open and read the same for ever.

pub mod bytes;
pub mod collections;
pub mod counted;
pub mod cursors;
pub mod days;
mod edit;
mod encoded;
pub mod graph;
mod ids;
mod key;
pub mod migrations;
pub mod names;
mod packed;
pub mod plc;
mod read;
pub mod rebuild;
pub mod relations;
pub mod rows;
pub mod stats;
pub mod tables;
pub mod vacated;

pub use collections::CollId;
pub use edit::Edit;
pub use ids::{ActorId, PostId, RecordId, Rkey, Target};
pub use key::{Key, inverted_millis};
pub use read::{Rows, each_reply, replies, whole};
