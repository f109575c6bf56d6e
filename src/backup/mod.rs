//! Copies of the store, or of private state alone, in a folder or a bucket, and the way back.
//!
//! ```text
//! store::Pinned ----+                        objects/ab/abcdef…   bytes, by their SHA-256; put once
//! private export ---+--> create --> place <  backups/TIME-KIND-HASH.json   what a backup has: its manifest
//!                        (age)               pending/…            a backup is under way
//! place --> read, verify --> restore --> a store that opens
//! ```
//!
//! A whole backup has the tables of the store as of one instant; tables do not change, so the next one brings only those
//! that are new. The index of search is not in it: the server makes it anew.
//!
//! Knows the store as files, and private state as lines; not what is in them, nor who asks. All of it blocks.
//!
//! # Invariants
//! - A manifest is put last, after all that it names was seen in the place: a backup is there whole or not at all.
//! - Nothing that a manifest names is removed before the manifest, and nothing at all while a backup is under way.
//! - A restore is seen when it is whole: until then nobody takes it for a store.

mod bucket;
mod crypt;
mod create;
mod error;
mod folder;
mod id;
mod manifest;
mod place;
mod prune;
mod read;
mod repository;
mod restore;
mod schedule;

pub use create::{Made, Progress};
pub use crypt::{Identities, Recipients};
pub use error::BackupError;
pub use id::{Id, Kind};
pub use manifest::Manifest;
pub use place::Place;
pub use prune::{Keep, Pruned};
pub use read::Verified;
pub use repository::{Listed, Repository};
pub use restore::{restore_private, restore_whole};
pub use schedule::{BackupStatus, Schedule, Server, Tell};

#[cfg(test)]
mod tests;
