//! What the process says about itself: log lines to standard error, of which the last are kept, counters for the status
//! page, and how many different callers there were.
//!
//! Knows no domain word: modules declare their own counters and name their own causes.

pub mod callers;
pub mod counters;
mod log;
pub mod recent;

pub use log::{LogControl, LogError, LogOptions, init};
