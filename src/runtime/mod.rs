//! Start and stop: which part is made when (`house`), which channel leads where, and what happens when one ends that
//! should not (`part`, `supervisor`, the list in `parts`). No rule of the protocol is here.
//!
//! Order of the start: store, writer, index, sources, then the server, so that its first answer knows of the sources.
//! The stop: everything but the writer is told to end at the same time, nothing new comes in and answers under way go
//! out; then the writer ends after its last fsync.

mod accounts;
mod backup;
mod desk;
mod error;
mod discovery;
mod flags;
mod follow_up;
mod followers;
mod house;
mod identities;
mod import;
mod keys;
mod members;
mod memory;
mod notify;
mod on_read;
mod operator;
mod part;
mod parts;
mod purge;
mod search;
mod serve;
mod signing_key;
mod sink;
mod sources;
mod status;
mod supervisor;
mod trends;
mod watchdog;
mod wire;

pub use backup::keys as backup_keys;
pub use error::ServeError;
pub use flags::Flags;
pub use identities::import as import_identities;
pub use import::import;
pub use operator::private_state;
pub use serve::run;
pub use signing_key::make_keys;
pub use supervisor::PartEnded;
