//! Rows that are read again and again: the value, or that there is none, without a walk through the engine.
//!
//! A point read costs the engine 1 to 3 us (version, memtables, filter and block of every level). Views need several
//! hundred of them, and mostly the same: popular posts and their counters, who follows whom on a viewer's own page.
//! The writer needs the repo of who writes and the counters of what is liked; those rows it leaves here itself.
//! Here one costs 0.1 us. The engine's block cache stays in front of the disk for scans and everything rarer.
//!
//! # Invariants
//! - A snapshot gets from here what the engine would give it, no older row and no newer one. Every commit writes its
//!   epoch into the mark of each key it changes before it becomes visible, and an entry counts only if its epoch is at
//!   least its mark's and at most the snapshot's.
//! - Memory is bounded by the weight of keys and values; big values are not kept, and values are copies: one of the
//!   engine's may keep a whole block in memory.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::{DefaultHashBuilder, Weighter};

use super::Slice;
use super::keyspaces::Ks;

/// Keys share marks; a shared one costs a read from the engine, never a wrong answer.
const MARKS: usize = 1 << 18;
/// Longer keys are not kept.
const MAX_KEY: usize = 30;
/// Bigger values are not kept.
const MAX_VALUE: usize = 4096;
/// What an entry takes besides its value.
const ENTRY: u64 = 112;

/// A keyspace and a key, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RowKey {
    ks: u8,
    len: u8,
    bytes: [u8; MAX_KEY],
}

impl RowKey {
    fn new(ks: Ks, key: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_KEY];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { ks: ks as u8, len: key.len() as u8, bytes })
    }
}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u16(u16::from_be_bytes([self.ks, self.len]));
        state.write(&self.bytes);
    }
}

#[derive(Clone)]
struct Entry {
    epoch: u64,
    value: Option<Slice>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<RowKey, Entry> for Weight {
    fn weight(&self, _: &RowKey, entry: &Entry) -> u64 {
        ENTRY + entry.value.as_ref().map_or(0, |value| value.len() as u64)
    }
}

/// The cache of one store.
pub(super) struct RowCache {
    rows: quick_cache::sync::Cache<RowKey, Entry, Weight>,
    /// Seeded: whoever writes records chooses keys.
    hasher: DefaultHashBuilder,
    marks: Box<[AtomicU64]>,
}

impl RowCache {
    /// A cache of about `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / (ENTRY + 32)).unwrap_or(1 << 20);
        Self {
            rows: quick_cache::sync::Cache::with_weighter(entries, bytes, Weight),
            hasher: DefaultHashBuilder::default(),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The commit of `epoch`, which is about to become visible, changes a key.
    pub(super) fn mark(&self, ks: Ks, key: &[u8], epoch: u64) {
        if let Some(mark) = RowKey::new(ks, key).and_then(|key| self.mark_of(&key)) {
            mark.store(epoch, Ordering::Release);
        }
    }

    fn mark_of(&self, key: &RowKey) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % MARKS as u64).unwrap_or(0);
        self.marks.get(hash)
    }

    /// Whether the writer leaves the rows of a keyspace here, and reads them here.
    pub(super) fn keeps(ks: Ks) -> bool {
        matches!(ks, Ks::Actor | Ks::Agg)
    }

    /// The commit of `epoch`, which is in, made this of a row.
    pub(super) fn put(&self, ks: Ks, key: &[u8], epoch: u64, value: Option<fjall::Slice>) {
        let Some(key) = RowKey::new(ks, key) else { return };
        if value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE) {
            self.rows.insert(key, Entry { epoch, value: value.map(Slice) });
        }
    }

    /// The row as a snapshot of `epoch` has it, read by `load` if it is not here.
    pub(super) fn get<E>(
        &self,
        ks: Ks,
        key: &[u8],
        epoch: u64,
        load: impl FnOnce() -> Result<Option<Slice>, E>,
    ) -> Result<Option<Slice>, E> {
        let Some(key) = RowKey::new(ks, key) else { return load() };
        let mark = self.mark_of(&key).map_or(u64::MAX, |mark| mark.load(Ordering::Acquire));
        if let Some(entry) = self.rows.get(&key)
            && (mark..=epoch).contains(&entry.epoch)
        {
            return Ok(entry.value);
        }
        let value = load()?;
        // A snapshot made during a commit may or may not have it: its entry must not pass for one made after.
        let epoch = epoch & !1;
        if mark <= epoch && value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE) {
            let copy = value.as_deref().map(|value| Slice(fjall::Slice::from(value)));
            self.rows.insert(key, Entry { epoch, value: copy });
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &RowCache, epoch: u64, stored: &'static str) -> (String, bool) {
        let mut read = false;
        let value = cache.get(Ks::Post, b"key", epoch, || {
            read = true;
            Ok::<_, ()>(Some(Slice(fjall::Slice::from(stored.as_bytes()))))
        });
        (String::from_utf8(value.unwrap().unwrap().to_vec()).unwrap(), read)
    }

    #[test]
    fn a_row_is_read_once_until_a_commit_changes_it() {
        let cache = RowCache::new(1 << 20);
        assert_eq!(get(&cache, 4, "old"), ("old".to_owned(), true));
        assert_eq!(get(&cache, 4, "?"), ("old".to_owned(), false));
        assert_eq!(get(&cache, 8, "?"), ("old".to_owned(), false), "other commits do not matter");
        cache.mark(Ks::Post, b"key", 10);
        assert_eq!(get(&cache, 10, "new"), ("new".to_owned(), true));
        assert_eq!(get(&cache, 12, "?"), ("new".to_owned(), false));
    }

    #[test]
    fn a_snapshot_sees_neither_newer_nor_older_rows() {
        let cache = RowCache::new(1 << 20);
        cache.mark(Ks::Post, b"key", 10);
        assert_eq!(get(&cache, 10, "new"), ("new".to_owned(), true));
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true), "its snapshot is older");
        assert_eq!(get(&cache, 10, "?"), ("new".to_owned(), false), "and left nothing behind");
    }

    #[test]
    fn what_a_snapshot_reads_during_a_commit_does_not_outlive_it() {
        let cache = RowCache::new(1 << 20);
        // Epoch 11: the commit that makes 12 is under way, and the snapshot may have been made before it.
        assert_eq!(get(&cache, 11, "old"), ("old".to_owned(), true));
        cache.mark(Ks::Post, b"key", 12);
        assert_eq!(get(&cache, 12, "new"), ("new".to_owned(), true));
    }

    #[test]
    fn what_the_writer_leaves_is_seen_from_its_commit_on() {
        let cache = RowCache::new(1 << 20);
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true));
        cache.mark(Ks::Post, b"key", 10);
        cache.put(Ks::Post, b"key", 10, Some(fjall::Slice::from(&b"new"[..])));
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true));
        assert_eq!(get(&cache, 10, "?"), ("new".to_owned(), false));
    }

    #[test]
    fn absence_is_remembered_and_big_values_are_not() {
        let cache = RowCache::new(1 << 20);
        let none = |load: bool| {
            cache.get(Ks::Rev, b"none", 2, || if load { Ok(None) } else { Err("read again") })
        };
        assert!(matches!(none(true), Ok(None)));
        assert!(matches!(none(false), Ok(None)));
        let big = |_| Some(Slice(fjall::Slice::from(vec![0; MAX_VALUE + 1])));
        for _ in 0..2 {
            let mut read = false;
            let value = cache.get(Ks::Rev, b"big", 2, || {
                read = true;
                Ok::<_, ()>(big(()))
            });
            assert!(read && value.unwrap().is_some());
        }
    }
}
