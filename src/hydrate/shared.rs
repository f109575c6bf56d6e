//! What all requests share: caches by account, the takedown set, settings.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::actor::Actor;
use super::post::PostCache;
use super::timeline::Activity;
use super::{Hydrator, Result};
use crate::moderation::Takedowns;
use crate::store::rows::EdgeKind;
use crate::store::{
    ActorCache, ActorId, Ks, Reader, RecordId, Rkey, Snapshot, Store, Target, collections, private,
};

/// Settings that a reload may change.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What image URLs begin with: `{public_url}/img`.
    pub images: Arc<str>,
    /// What video URLs begin with: `{public_url}/vid`.
    pub videos: Arc<str>,
    /// DIDs whose verifications count.
    pub trusted_verifiers: Vec<Arc<str>>,
}

impl Settings {
    /// Settings of a server that clients reach at `public_url`.
    #[must_use]
    pub fn new(public_url: &str) -> Self {
        let base = public_url.trim_end_matches('/');
        Self {
            images: format!("{base}/img").into(),
            videos: format!("{base}/vid").into(),
            ..Self::default()
        }
    }
}

/// The lists that an account uses against others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Lists it blocks, the oldest block first.
    pub blocked: Vec<RecordId>,
    /// Lists it muted.
    pub muted: Vec<RecordId>,
}

/// Caches and settings, made once at the start.
pub struct Shared {
    /// What the operator took down.
    pub takedowns: Takedowns,
    settings: ArcSwap<Settings>,
    actors: ActorCache<Option<Arc<Actor>>>,
    lists: ActorCache<Arc<Lists>>,
    pub(super) posts: PostCache,
    pub(super) activity: Activity,
}

impl Shared {
    /// Caches for up to `entries` accounts over `store`.
    pub fn new(store: &Store, entries: usize, settings: Settings) -> Result<Self> {
        Ok(Self {
            takedowns: Takedowns::load(&store.snapshot())?,
            settings: ArcSwap::from_pointee(settings),
            actors: ActorCache::new(store, entries),
            lists: ActorCache::new(store, entries),
            // A parsed post is several times an account.
            posts: PostCache::new(entries / 4 + 1),
            activity: Activity::new(store, entries.saturating_mul(4)),
        })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Replaces the settings; what was derived from the old ones is forgotten.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.actors.clear();
    }
}

impl Hydrator<'_> {
    /// An account whatever its status; `None` if the network never showed it.
    pub fn actor(&self, id: ActorId) -> Result<Option<Arc<Actor>>> {
        self.shared
            .actors
            .get(self.snapshot, id, || Actor::load(self.snapshot, id, &self.shared.settings.load()))
    }

    /// The lists that an account blocks and mutes.
    pub fn lists_of(&self, id: ActorId) -> Result<Arc<Lists>> {
        self.shared.lists.get(self.snapshot, id, || Ok(Arc::new(load_lists(self.snapshot, id)?)))
    }
}

fn load_lists(s: &Snapshot, actor: ActorId) -> Result<Lists> {
    let first = RecordId { actor, coll: collections::LISTBLOCK, rkey: Rkey(0) };
    let prefix = first.to_bytes();
    let mut rows = Vec::new();
    s.scan_prefix(Ks::Record, prefix.get(..8).unwrap_or_default(), &mut |key, value| {
        let id = RecordId::from_bytes(key);
        let row = crate::store::rows::RecordRow::decode(value);
        rows.extend(id.zip(row).filter(|(_, row)| row.valid));
        true
    })?;
    let mut lists = Lists::default();
    for (id, row) in rows {
        let value = s.unpack(&row.packed)?;
        let Some(uri) = super::fields::text(&value, "subject") else { continue };
        let Some(target @ Target::Record(list)) = s.target(uri)? else { continue };
        // A second record on the same list has no effect of its own.
        if s.fan(EdgeKind::ListBlock, target, actor)?.is_some_and(|fan| fan.rkey == id.rkey) {
            lists.blocked.push(list);
        }
    }
    for (target, _) in private::all(s, private::Kind::MutedList, actor)? {
        lists.muted.extend(target.record());
    }
    Ok(lists)
}
