//! What the process says about itself: log lines to standard error, and counters for the status page.
//!
//! Knows no domain word: modules declare their own counters and name their own causes.

pub mod counters;
mod log;

pub use log::{LogControl, LogError, LogOptions, init};
