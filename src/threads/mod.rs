//! What every folder needs of threads and time: one bounded pool, one clock, one way to wait longer after each failure.
//!
//! Knows nothing of what runs on it. The only folder that reads the wall clock (`tests/layers.rs`).

mod backoff;
mod clock;
mod pool;

pub use backoff::{Backoff, Retries};
pub use clock::Clock;
pub use pool::{Pool, PoolError, Priority, Threads, panic_text};
