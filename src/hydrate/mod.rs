//! Hydration: from ids to everything that views need to show them.
//!
//! A [`Hydrator`] reads one [`Snapshot`] on a read-pool thread and fills a [`State`]; views are pure functions over
//! that. What does not depend on who asks is cached by account ([`Shared`]) and forgotten with the commit that
//! changes it. Reads are point reads for the ids at hand; nothing here scans more than a page.
//!
//! Does not know: JSON, HTTP, where ids come from (skeletons, in `xrpc::api`).
//!
//! # Invariants
//! - An entry `None` in a map of [`State`] means "looked for and not to be shown"; absent means "not asked for".
//! - Whoever is not hosted (taken down, deactivated, suspended, deleted) is `None` unless the caller may see it.

pub mod actor;
mod ahead;
mod blocks;
mod community;
mod context;
pub mod fans;
pub mod feed;
pub mod edges;
pub mod fields;
pub mod bookmark;
pub mod graph;
mod images;
mod known;
pub mod label_query;
mod labels;
mod made;
mod on_list;
mod profiles;
pub mod notification;
pub mod page;
pub mod post;
pub mod post_record;
pub mod preferences;
pub mod record;
mod rules;
mod shared;
pub mod site;
pub mod starter_pack;
pub mod state;
pub mod thread;
pub mod timeline;
mod viewer;
pub mod whole;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod tests;

pub use actor::{Actor, Profile, Status, Verification};
pub use context::HydrateCtx;
pub use edges::{Edge, Edges, ListItem};
pub use fans::Fan;
pub use images::Preset;
pub use page::{Collector, Page, TimeCursor};
pub use record::{Json, JsonRef, Record};
pub use shared::{Against, Muted, Settings, Shared};
pub use starter_pack::StarterPack;
pub use state::{KnownFollowers, ListViewer, ProfileViewer, State};

pub use crate::schema::collections;
pub use crate::schema::{ActorId, PostId, RecordId, Rkey, Target};
pub use crate::schema::{
    rows::AccountStatus, rows::AggRow, rows::Counter, rows::NotifRow, rows::Reason,
    rows::post_flags,
};
use crate::store::{Snapshot, StoreError};

/// What hydration answers: the store is the only thing that can fail.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Reads one snapshot for one request.
#[derive(Clone, Copy)]
pub struct Hydrator<'a> {
    /// The store as of the beginning of the request.
    pub snapshot: &'a Snapshot,
    /// Who asks, and what they may see.
    pub ctx: &'a HydrateCtx,
    /// Caches and settings.
    pub shared: &'a Shared,
}
