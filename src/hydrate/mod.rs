//! Hydration: from ids to everything that views need to show them.
//!
//! A [`Hydrator`] reads one [`Snapshot`] on a read-pool thread and fills a [`HydrationState`]; views are pure functions over
//! that. What does not depend on who asks is cached by account ([`Shared`]) and forgotten with the commit that
//! changes it. Reads are point reads for the ids at hand; nothing here scans more than a page.
//!
//! Does not know: HTTP, the shape of answers (`view`), where ids come from (skeletons, in `xrpc::api`). The JSON of records
//! is made here ([`record::Json`], [`post_record::PostRecord`]), since it is cached with them.
//!
//! # Invariants
//! - An entry `None` in a map of [`HydrationState`] means "looked for and not to be shown"; absent means "not asked for".
//! - What an answer holds of records beyond the small ones is bounded (`room`); what is beyond that is not shown.
//! - Whoever is not hosted (taken down, deactivated, suspended, deleted) is `None` unless the caller may see it.

pub mod actor;
mod block_set;
mod blocks;
pub mod bookmark;
mod community;
mod context;
pub mod edges;
pub mod feed;
mod follow_sets;
pub mod graph;
mod images;
mod known_followers;
pub mod label_query;
mod labels;
mod list_membership;
mod mute_set;
pub mod notification;
mod opt_outs;
mod op_thread;
mod own_edges;
pub mod page;
mod post;
pub mod post_record;
pub mod post_state;
pub mod preferences;
mod prefetch;
mod profiles;
pub mod record;
pub mod reverse_edges;
mod room;
mod rules;
mod settings;
mod shared;
pub mod site;
pub mod sorted_pages;
pub mod starter_pack;
pub mod state;
pub mod thread;
pub mod timeline;
mod viewer;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod op_thread_tests;
#[cfg(test)]
mod tests;

pub use actor::{Actor, LiveStatus, Profile, Verification};
pub use context::HydrateCtx;
pub use edges::{Edge, Edges, ListItem};
pub use images::ImagePreset;
pub use page::{Collector, Page, TimeCursor};
pub use profiles::ShownAccounts;
pub use record::{Json, JsonRef, ShownRecord};
pub use reverse_edges::Fan;
pub use room::RecordRoom;
pub use settings::HydrationSettings;
pub use shared::Shared;
pub use state::{HydrationState, KnownFollowers, ListViewer, ProfileViewer, StarterPack};

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
