//! The log of changes behind the commit: what happened to which record or account, in one order, for everything here that
//! may lag behind a read: search, streams, rules.
//!
//! It is a log of pointers: a row says that a record was put or deleted, and whoever wants the record reads it from a
//! snapshot. `index` appends to it in the batch of the change ([`Log::append`]), so log, index and upstream cursors
//! never differ. A [`Follower`] names itself, says what it wants and applies it; [`catch_up`] brings it from wherever it
//! is to the tip, and keeps it there.
//!
//! ```text
//! index -> Tx (collects) -> commit: row of events_1 -> tail: ring in memory -> followers, sockets
//!                                        |                                        ^
//!                                        +--------- cold read from a seq ---------+
//! ```
//!
//! What must agree with a read (counters, links) and what must happen once (outbox rows) is no follower's work: it is
//! written in the batch of its cause. This folder knows neither records nor who follows.
//!
//! # Invariants
//! - A change that is rolled back is not in the log; one that is in the store and that a follower wants is.
//! - Numbers go up by one from 1 and are never given twice; a number may be missing where a follower was added.
//! - A follower that cannot have every change from its position on is told so, and never simply given the rest.

pub mod catch_up;
mod change;
mod columns;
mod error;
mod follower;
mod log;
mod read;
mod row;
mod scan;
mod tail;
pub mod trim;

pub use change::{Change, Entry, Mark, What};
pub use error::ChangesError;
pub use follower::{Cause, Follower, Position};
pub use log::Log;
pub use read::Read;
pub use row::Page;

pub(crate) use log::meta_decodes;
pub(crate) use row::decodes;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
