//! Durable work: what is to be done and must not be forgotten, each kind in the batch of its cause.
//!
//! What is due at a time is a kind of `due`, and what is sent to somebody a kind of `outbox` over it; the other modules
//! are queues in an order of their own. Rows of `jobs`, and of `meta` for the oldest ones. Whoever works something off takes its row away in the batch of the
//! result, so after a crash it is done again or was done, never lost.

pub mod clock;
pub mod due;
pub mod gate_rechecks;
pub mod handles;
pub mod on_read;
pub mod outbox;
pub mod purge;
pub mod pushes;
pub mod recheck;
pub mod refetch;
pub mod repo_queue;
pub mod retention;
pub mod tables;
