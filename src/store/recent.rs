//! Rows that the writer reads again and again: the repo of who writes, the counters of what is liked.
//!
//! Filled by the writer's reads and by its commits, read by nobody else.
//!
//! # Invariants
//! - An entry is what the last commit left: the open batch lies over it, and a rollback does not touch it.
//! - Values are copies. A value of the engine may keep a whole block in memory.

use super::keyspaces::Ks;

type Rows = quick_cache::sync::Cache<fjall::Slice, Option<fjall::Slice>>;

/// The cache.
pub(super) struct Recent {
    actor: Rows,
    agg: Rows,
}

impl Recent {
    pub(super) fn new(entries: usize) -> Self {
        Self { actor: Rows::new(entries), agg: Rows::new(entries) }
    }

    fn rows(&self, ks: Ks) -> Option<&Rows> {
        match ks {
            Ks::Actor => Some(&self.actor),
            Ks::Agg => Some(&self.agg),
            _ => None,
        }
    }

    /// Whether rows of a keyspace are kept.
    pub(super) fn keeps(ks: Ks) -> bool {
        matches!(ks, Ks::Actor | Ks::Agg)
    }

    /// The row, from here or from `load`.
    pub(super) fn get<E>(
        &self,
        ks: Ks,
        key: &[u8],
        load: impl FnOnce() -> Result<Option<fjall::Slice>, E>,
    ) -> Result<Option<fjall::Slice>, E> {
        let Some(rows) = self.rows(ks) else { return load() };
        if let Some(row) = rows.get(key) {
            return Ok(row);
        }
        let row = load()?.map(|v| fjall::Slice::from(&*v));
        rows.insert(fjall::Slice::from(key), row.clone());
        Ok(row)
    }

    /// A row was committed.
    pub(super) fn put(&self, ks: Ks, key: fjall::Slice, value: Option<fjall::Slice>) {
        if let Some(rows) = self.rows(ks) {
            rows.insert(key, value);
        }
    }
}
