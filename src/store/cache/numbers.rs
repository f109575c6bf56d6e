//! Names and the numbers that stand for them, both ways. A number never changes its meaning, so nothing is ever forgotten
//! but for lack of room.

use std::sync::Arc;

/// A bounded cache, shared by the writer and all readers.
pub(crate) struct NumberCache {
    by_name: quick_cache::sync::Cache<Arc<str>, u32>,
    by_number: quick_cache::sync::Cache<u32, Arc<str>>,
}

impl NumberCache {
    /// Of up to `entries` names.
    pub(in crate::store) fn new(entries: usize) -> Self {
        Self {
            by_name: quick_cache::sync::Cache::new(entries),
            by_number: quick_cache::sync::Cache::new(entries),
        }
    }

    /// The number of a name, if it is held.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name)
    }

    /// The name behind a number, if it is held.
    pub(crate) fn name(&self, number: u32) -> Option<Arc<str>> {
        self.by_number.get(&number)
    }

    /// Keeps both.
    pub(crate) fn remember(&self, name: &Arc<str>, number: u32) {
        self.by_name.insert(Arc::clone(name), number);
        self.by_number.insert(number, Arc::clone(name));
    }
}
