//! What every folder needs to know of threads and tasks that go on for as long as the process does: whether they
//! still do ([`Failure`]), and whether those that have work get on with it ([`Pulse`]).
//!
//! Knows nothing of what runs on them, nor of what is done about one that does not; that is `runtime`'s to decide.

mod failure;
pub mod fault;
mod pulse;

pub use failure::{Failure, catch, catch_async, joined};
pub use pulse::Pulse;
