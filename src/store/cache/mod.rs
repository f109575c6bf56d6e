//! Caches over the store, each with a promise about what it may be asked: rows by key, values by account, numbers by name.

mod accounts;
mod numbers;
mod rows;
mod sets;
mod small;

use quick_cache::Weighter;

pub use accounts::ActorCache;
pub(crate) use accounts::Forget;
pub(crate) use numbers::NumberCache;
pub(super) use rows::RowCache;
pub use rows::RowViews;
pub(crate) use sets::Sets;

/// What a value is taken to weigh, mostly, where values are weighed.
const TYPICAL: u64 = 1024;

/// Weighs values.
pub(super) struct Scales<T>(pub(super) fn(&T) -> u64);

impl<T> Scales<T> {
    /// All values weigh the same.
    pub(super) const EVEN: Self = Self(|_| 1);

    /// A cache of values that weigh no more than `bytes` together.
    pub(super) fn cache<K, V>(self, bytes: u64) -> quick_cache::sync::Cache<K, V, Self>
    where
        K: Eq + std::hash::Hash,
        V: Clone,
        Self: Weighter<K, V>,
    {
        let entries = usize::try_from(bytes / TYPICAL).unwrap_or(1 << 20);
        quick_cache::sync::Cache::with_weighter(entries, bytes, self)
    }

    /// A cache of values that count as no more than `entries` together.
    pub(super) fn entries<K, V>(self, entries: usize) -> quick_cache::sync::Cache<K, V, Self>
    where
        K: Eq + std::hash::Hash,
        V: Clone,
        Self: Weighter<K, V>,
    {
        quick_cache::sync::Cache::with_weighter(entries, entries as u64, self)
    }
}

impl<T> Clone for Scales<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T> Weighter<u32, T> for Scales<T> {
    fn weight(&self, _: &u32, value: &T) -> u64 {
        (self.0)(value)
    }
}
