//! Start and stop: which part is made when, and which channel leads where; and what the operator or the clock asks for and
//! more than one folder is needed for: retention and the ladder of the disk, members, rights, backfill, import. The rules of
//! the protocol are in those folders.
//!
//! Order of the start: store, index, writer, server (it answers from what is held), operator's socket, then
//! whatever brings new data. The stop is the other way round: nothing new comes in, answers under way go out, the
//! writer ends after its last fsync.

mod accounts;
mod follow_up;
mod followers;
mod identities;
mod import;
mod keys;
mod members;
mod on_read;
mod operator;
mod purge;
mod serve;
mod signing_key;
mod sink;
mod sources;
mod status;

pub use identities::import as import_identities;
pub use import::import;
pub use operator::private_state;
pub use serve::{ServeError, run};
