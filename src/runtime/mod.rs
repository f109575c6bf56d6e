//! Start and stop: which part is made when (`house`), which channel leads where, and what happens when one ends that
//! should not (`part`, `supervisor`, the list in `parts`). No rule of the protocol is here.
//!
//! Order of the start: store, writer, index, sources, then the server, so that its first answer knows of the sources.
//! The stop: everything but the writer is told to end at the same time, nothing new comes in and answers under way go
//! out; then the writer ends after its last fsync.

mod alerts;
mod backfill;
mod commands;
mod disk;
mod error;
mod house;
mod identities;
mod import;
mod keys;
mod members;
mod notify;
mod on_read;
mod part;
mod parts;
mod private;
mod purge;
mod reserve;
mod retention;
mod rights;
mod serve;
mod signing_key;
mod sink;
mod sources;
mod status;
mod supervisor;
mod watchdog;
mod wire;

pub use error::ServeError;
pub use identities::import as import_identities;
pub use import::import;
pub use private::{Private, Tally};
pub use retention::{Keeper, Report};
pub use serve::run;
pub use supervisor::PartEnded;

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
