//! What every folder needs of threads, tasks and time: one bounded pool, one way to count bytes, one clock, one pace, one
//! way to wait longer after each failure; and whether those that go on for as long as the process does still do
//! ([`Failure`]) and get on with their
//! work ([`Pulse`]).
//!
//! Knows nothing of what runs on it, nor of what is done about one that does not; that is `runtime`'s to decide. The only
//! folder that reads the wall clock (`tests/layers.rs`).

mod backoff;
mod budget;
mod clock;
mod failure;
mod fair;
pub mod fault;
mod pace;
mod pool;
mod pulse;

pub use backoff::{Backoff, Retries};
pub use budget::{Budget, Held};
#[cfg(feature = "testing")]
pub use clock::shift_by_file;
pub use clock::{Clock, Standing, leap};
pub use failure::{Failure, catch, catch_async, joined};
pub use fair::Turn;
pub use pace::{Pace, Paced};
pub use pool::{Pool, PoolError, Priority, Threads, panic_text};
pub use pulse::Pulse;
