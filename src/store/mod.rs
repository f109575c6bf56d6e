//! The embedded store: keyspaces, the single writer, snapshots.
//!
//! The only module that names the engine (fjall). One thread writes ([`Writer`]): whoever wants to change
//! something sends it a closure over a [`Tx`], and everything in one batch becomes visible at once, the
//! upstream cursors included. Readers take a [`Snapshot`]. Both are a [`Reader`], so a rule that needs to look
//! something up is written once.
//!
//! Here a row is bytes under bytes. What they mean is `schema`'s matter, and which rows an event touches is `index`'.
//!
//! # Invariants
//! - One owner: the engine locks the folder; a second process fails to open with a message that says so.
//! - After a crash the store holds a prefix of the committed batches; data and cursor in it agree.
//! - What [`Writer::durable`] answered is on disk.

mod bulk;
pub mod cache;
mod damage;
mod damages;
mod db;
mod error;
mod folder;
mod format;
mod guard;
mod journal;
mod keyspace;
mod mark;
pub(crate) mod migrate;
mod pin;
mod plan;
mod probe;
mod read;
mod salvage;
mod tx;
mod writer;

pub(crate) use cache::Sets;
pub use cache::{ActorCache, RowViews};
pub use damage::explained;
pub use damages::{Damage, Damages};
pub use db::{Slice, Store};
pub use error::{CorruptRow, StoreError, decodable};
pub use guard::{DiskSpace, Room, disk_space, free_space};
pub use keyspace::Ks;
pub use mark::Mark;
pub use migrate::{FORMAT, Migrated, OfRow, Progress, Rewrite, Step};
pub use pin::{Pinned, PinnedFile};
pub use plan::Plan;
pub(crate) use plan::plan;
pub use read::{KeyBuf, Reader, Snapshot, Visit, prefix_end};
pub use salvage::{Lost, Salvaged, salvage, set_aside};
pub use tx::{Collector, Tx, Update};
pub use writer::{Answer, Writer, WriterStats};

#[cfg(test)]
mod tests;
