//! What all requests share: the caches, each of which is described beside what it holds, the takedown set, settings.
//!
//! Does not know: how anything is read; no file of this folder needs more of this one than a cache of its own.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::settings::HydrationSettings;
use super::{
    Result, actor, block_set, follow_sets, labels, list_membership, mute_set, notification,
    opt_outs, own_edges, post, prefetch, starter_pack, timeline,
};
use crate::moderation::Takedowns;
use crate::store::Store;

/// Caches and settings, made once at the start.
pub struct Shared {
    /// What the operator took down.
    pub takedowns: Takedowns,
    pub(super) settings: ArcSwap<HydrationSettings>,
    pub(super) actors: actor::ActorViewCache,
    pub(super) block_sets: block_set::BlockSetCache,
    pub(super) mute_sets: mute_set::MuteSetCache,
    pub(super) follow_sets: follow_sets::FollowSetsCache,
    pub(super) posts: post::PostCache,
    pub(super) account_labels: labels::AccountLabelsCache,
    pub(super) own_edges: own_edges::OwnEdgesCache,
    pub(super) list_members: list_membership::ListMembersCache,
    pub(super) newest_members: starter_pack::NewestMembersCache,
    pub(super) opt_outs: opt_outs::OptOutsCache,
    pub(super) newest_times: timeline::NewestTimesCache,
    pub(super) unread: notification::UnreadCache,
    /// Threads that may help one answer.
    pub(super) helpers: usize,
}

impl Shared {
    /// Caches for up to `entries` accounts over `store`.
    pub fn new(store: &Store, entries: usize, settings: HydrationSettings) -> Result<Self> {
        // Where values differ in size the cache is bounded in bytes.
        let budget = entries as u64 * 256 + (1 << 19);
        Ok(Self {
            takedowns: Takedowns::load(&store.snapshot())?,
            settings: ArcSwap::from_pointee(settings),
            actors: actor::cache(store, entries),
            block_sets: block_set::cache(store, entries),
            mute_sets: mute_set::cache(store, budget / 2),
            follow_sets: follow_sets::cache(store, budget),
            posts: post::cache(entries / 2 + 1),
            account_labels: labels::cache(entries.saturating_mul(2)),
            own_edges: own_edges::cache(budget),
            list_members: list_membership::cache(budget / 2),
            newest_members: starter_pack::cache(entries / 16 + 64),
            opt_outs: opt_outs::cache(budget / 4),
            newest_times: timeline::cache(store, entries.saturating_mul(4)),
            unread: notification::cache(entries),
            helpers: prefetch::helpers(),
        })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Arc<HydrationSettings> {
        self.settings.load_full()
    }

    /// Replaces the settings; what was derived from the old ones is forgotten.
    pub fn reload(&self, settings: HydrationSettings) {
        self.settings.store(Arc::new(settings));
        self.actors.clear();
    }
}
