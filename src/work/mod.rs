//! Durable work: what is to be done and must not be forgotten, each kind in the batch of its cause.
//!
//! Rows of `jobs`, and of `meta` for the oldest kinds. Whoever works something off takes its row away in the batch of the
//! result, so after a crash it is done again or was done, never lost.

pub mod gate_rechecks;
pub mod on_read;
pub mod outbox;
pub mod purge;
pub mod recheck;
pub mod repo_queue;
pub mod retention;
