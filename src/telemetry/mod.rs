//! Logging and counters.
