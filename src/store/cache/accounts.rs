//! Caches of what was derived from the store, kept right by the writer.
//!
//! # Invariants
//! - An entry never outlives a commit that touched its account. A reader whose snapshot is older than the last
//!   commit may not fill the cache: its value could be the one that the commit made stale.

use std::sync::Arc;

use super::Scales;
use crate::store::{Snapshot, Store, StoreError};

/// Told by the writer, after each commit, whose state changed.
pub(crate) trait Forget: Send + Sync {
    /// Drops what is held of these accounts.
    fn forget(&self, actors: &[u32]);
}

struct Entries<T>(quick_cache::sync::Cache<u32, T, Scales<T>>);

impl<T: Clone + Send + Sync> Forget for Entries<T> {
    fn forget(&self, actors: &[u32]) {
        for a in actors {
            self.0.remove(a);
        }
    }
}

/// A bounded cache by account.
pub struct ActorCache<T>(Arc<Entries<T>>);

impl<T: Clone + Send + Sync + 'static> ActorCache<T> {
    /// A cache of up to `entries` values over `store`.
    #[must_use]
    pub fn new(store: &Store, entries: usize) -> Self {
        Self::over(store, Scales::EVEN.entries(entries))
    }

    /// The same, where some values count as several.
    #[must_use]
    pub fn of_sizes(store: &Store, entries: usize, counts: fn(&T) -> u64) -> Self {
        Self::over(store, Scales(counts).entries(entries))
    }

    /// A cache of values that weigh no more than `bytes` together.
    #[must_use]
    pub fn weighed(store: &Store, bytes: u64, weight: fn(&T) -> u64) -> Self {
        Self::over(store, Scales(weight).cache(bytes))
    }

    fn over(store: &Store, cache: quick_cache::sync::Cache<u32, T, Scales<T>>) -> Self {
        let this = Arc::new(Entries(cache));
        let weak: std::sync::Weak<dyn Forget> = Arc::downgrade(&this) as _;
        store.register(weak);
        Self(this)
    }

    /// Drops everything: what values are derived from besides the store has changed.
    pub fn clear(&self) {
        self.0.0.clear();
    }

    /// The value for `actor`, loaded from `snapshot` if it is not held.
    pub fn get(
        &self,
        snapshot: &Snapshot,
        actor: impl Into<u32>,
        load: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let actor = actor.into();
        if let Some(v) = self.0.0.get(&actor) {
            return Ok(v);
        }
        let v = load()?;
        if snapshot.is_current() {
            self.0.0.insert(actor, v.clone());
            // A commit that began since the check may have forgotten the account before the insert.
            if !snapshot.is_current() {
                self.0.0.remove(&actor);
            }
        }
        Ok(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ActorId, Edit};
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn values_that_are_weighed_take_no_more_than_they_may() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let cache = ActorCache::weighed(&store, 1 << 20, |value: &Arc<[u8]>| value.len() as u64);
        let s = store.snapshot();
        for n in 0..1000 {
            cache.get(&s, ActorId(n), || Ok([0; 8192].into())).unwrap();
        }
        let held = cache.0.0.len();
        assert!((64..=128).contains(&held), "{held} of 8 KB");
    }

    #[tokio::test]
    async fn only_what_holds_now_is_kept_until_its_account_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let cache = ActorCache::new(&store, 10);
        let get = |s: &Snapshot, n| cache.get(s, ActorId(1), || Ok(n)).unwrap();
        let old = store.snapshot();
        writer.durable(|tx| tx.intern_actor("did:plc:a").map(drop)).await.unwrap();
        assert_eq!([get(&old, 1), get(&store.snapshot(), 2), get(&store.snapshot(), 3)], [1, 2, 2]);
        writer
            .durable(|tx| {
                tx.touch(ActorId(1));
                tx.intern_actor("did:plc:b").map(drop)
            })
            .await
            .unwrap();
        assert_eq!(get(&store.snapshot(), 4), 4);
    }
}
