//! Start and stop: which part is made when, and which channel leads where. No rule of the protocol is here.
//!
//! Order of the start: store, index, writer, server (it answers from what is held), operator's socket, then
//! whatever brings new data. The stop is the other way round: nothing new comes in, answers under way go out, the
//! writer ends after its last fsync.

mod alerts;
mod backfill;
mod disk;
mod followers;
mod identities;
mod import;
mod keys;
mod members;
mod on_read;
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

pub use identities::import as import_identities;
pub use import::import;
pub use private::{Private, Tally};
pub use retention::{Keeper, Report};
pub use serve::{ServeError, run};

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
