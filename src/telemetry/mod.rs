//! What the process says about itself: log lines, of which the last are kept, counters, how long things take, bytes in and
//! out, and how many different callers there were.
//!
//! Knows no domain word: modules declare their own counters and name their own causes. What is recorded here is read by
//! the status, by `/metrics` and by what an operator's server costs.
//!
//! # Invariants
//! - Recording takes no lock and no memory, so that it can stand anywhere.

pub mod calls;
pub mod callers;
pub mod counters;
pub mod links;
mod log;
pub mod timing;
pub mod recent;

pub use log::{LogControl, LogError, LogOptions, init};
