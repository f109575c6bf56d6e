//! Rows that are read again and again: the value, or that there is none, without a walk through the engine.
//!
//! A point read costs the engine 1 to 3 us (version, memtables, filter and block of every level). Views need several
//! hundred of them, and mostly the same: popular posts and their counters, who follows whom on a viewer's own page.
//! The writer needs the repo of who writes and the counters of what is liked; those rows have a place of their own
//! ([`WriterRows`]), where it leaves them itself, and readers find the counters too.
//! Here one costs 0.1 us. The engine's block cache stays in front of the disk for scans and everything rarer.
//!
//! # Invariants
//! - A snapshot gets from here what the engine would give it, no older row and no newer one. Every commit writes its
//!   epoch into the mark of each key it changes before it becomes visible, and an entry counts only if its epoch is at
//!   least its mark's and at most the snapshot's.
//! - A group of rows is kept whole under its prefix ([`Ks::group`]); a change of any of its rows is a change of it.
//! - Memory is bounded by the weight of keys and values; big values are not kept, and values are copies: one of the
//!   engine's may keep a whole block in memory.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::{DefaultHashBuilder, Weighter};

use super::Scales;
use super::small::WriterRows;
use crate::store::{Ks, Slice};

/// In place of a group that is longer. No group of rows has such a length.
const LONG: &[u8] = b"+";
/// Set in the keyspace of what was made of a row, beside the row itself.
const MADE: u8 = 1 << 7;
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

/// A cache of what was made of single rows, under the same promise as the rows themselves.
pub struct RowViews<T>(quick_cache::sync::Cache<RowKey, (u64, T), Scales<T>>);

impl<T> Weighter<RowKey, (u64, T)> for Scales<T> {
    fn weight(&self, _: &RowKey, (_, value): &(u64, T)) -> u64 {
        (self.0)(value)
    }
}

impl<T: Clone> RowViews<T> {
    /// A cache of up to `entries` values.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self(Scales::EVEN.entries(entries))
    }

    /// The same, where some values count as several.
    #[must_use]
    pub fn of_sizes(entries: usize, counts: fn(&T) -> u64) -> Self {
        Self(Scales(counts).entries(entries))
    }

    /// A cache of values that weigh no more than `bytes` together.
    #[must_use]
    pub fn weighed(bytes: u64, weight: fn(&T) -> u64) -> Self {
        Self(Scales(weight).cache(bytes))
    }
}

/// The cache of one store.
pub(in crate::store) struct RowCache {
    rows: quick_cache::sync::Cache<RowKey, Entry, Weight>,
    of_writer: WriterRows,
    /// Seeded: whoever writes records chooses keys.
    hasher: DefaultHashBuilder,
    marks: Box<[AtomicU64]>,
}

impl RowCache {
    /// A cache of about `bytes`, and of the writer's own rows in as many bytes for each kind.
    pub(in crate::store) fn new(bytes: u64, [repos, counters]: [u64; 2]) -> Self {
        let entries = usize::try_from(bytes / (ENTRY + 32)).unwrap_or(1 << 20);
        Self {
            rows: quick_cache::sync::Cache::with_weighter(entries, bytes, Weight),
            of_writer: WriterRows::new(repos, counters),
            hasher: DefaultHashBuilder::default(),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Bytes that it holds.
    pub(in crate::store) fn weight(&self) -> u64 {
        self.rows.weight()
    }

    /// The commit of `epoch`, which is about to become visible, changes a key.
    pub(in crate::store) fn mark(&self, ks: Ks, key: &[u8], epoch: u64) {
        let group = ks.group(key);
        for key in [Some(key), group].into_iter().flatten() {
            if let Some(mark) = RowKey::new(ks, key).and_then(|key| self.mark_of(&key)) {
                mark.store(epoch, Ordering::Release);
            }
        }
    }

    /// A group of rows (see [`Ks::group`]) as a snapshot of `epoch` has it, in the form that `load` gives it; `load` is told how
    /// many bytes are kept, and gives none if it would take more. `None` if it is too long to be kept.
    pub(in crate::store) fn group<E>(
        &self,
        ks: Ks,
        prefix: &[u8],
        epoch: u64,
        load: impl FnOnce(usize) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Slice>, E> {
        let packed = self.get((ks, prefix), epoch, true, || {
            Ok(Some(Slice(load(MAX_VALUE)?.map_or_else(|| LONG.into(), Into::into))))
        })?;
        Ok(packed.filter(|packed| **packed != *LONG))
    }

    /// What was made of a row, or of a group of rows, as a snapshot of `epoch` has it, if it is `fit`; otherwise made by
    /// `load`, which also says whether it may be kept.
    pub(in crate::store) fn view<T: Clone, E>(
        &self,
        views: &RowViews<T>,
        (ks, key): (Ks, &[u8]),
        epoch: u64,
        fit: impl FnOnce(&T) -> bool,
        load: impl FnOnce() -> Result<(T, bool), E>,
    ) -> Result<T, E> {
        let Some(key) = RowKey::new(ks, key) else { return Ok(load()?.0) };
        let mark = self.last_change(&key);
        if let Some((made, value)) = views.0.get(&key)
            && (mark..=epoch).contains(&made)
            && fit(&value)
        {
            return Ok(value);
        }
        let (value, keep) = load()?;
        if let Some(made) = stamp(mark, epoch).filter(|_| keep) {
            views.0.insert(key, (made, value.clone()));
        }
        Ok(value)
    }

    /// Whether [`Self::view`] would not have to load.
    pub(in crate::store) fn holds<T: Clone>(
        &self,
        views: &RowViews<T>,
        (ks, key): (Ks, &[u8]),
        epoch: u64,
    ) -> bool {
        let Some(key) = RowKey::new(ks, key) else { return false };
        let mark = self.last_change(&key);
        views.0.peek(&key).is_some_and(|(made, _)| (mark..=epoch).contains(&made))
    }

    fn last_change(&self, key: &RowKey) -> u64 {
        self.mark_of(key).map_or(u64::MAX, |mark| mark.load(Ordering::Acquire))
    }

    fn mark_of(&self, key: &RowKey) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % MARKS as u64).unwrap_or(0);
        self.marks.get(hash)
    }

    /// Whether the writer leaves the rows of a keyspace here, and reads them here.
    pub(in crate::store) fn keeps(ks: Ks) -> bool {
        matches!(ks, Ks::Actor | Ks::Agg)
    }

    /// The commit of `epoch`, which is in, made this of a row.
    pub(in crate::store) fn put(
        &self,
        ks: Ks,
        key: &[u8],
        epoch: u64,
        value: Option<fjall::Slice>,
    ) {
        if WriterRows::are(ks, key) {
            return self.of_writer.put(ks, key, value.as_deref());
        }
        let Some(key) = RowKey::new(ks, key) else { return };
        if value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE) {
            self.rows.insert(key, Entry { epoch, value: value.map(Slice) });
        }
    }

    /// The row as the last commit left it, for the writer between two commits.
    pub(in crate::store) fn get_to_write<E>(
        &self,
        ks: Ks,
        key: &[u8],
        epoch: u64,
        load: impl FnOnce() -> Result<Option<Slice>, E>,
    ) -> Result<Option<Slice>, E> {
        if !Self::keeps(ks) {
            return load();
        }
        if !WriterRows::are(ks, key) {
            return self.get((ks, key), epoch, true, load);
        }
        if let Some(value) = self.of_writer.get(ks, key) {
            return Ok(Some(Slice(value)));
        }
        let value = load()?;
        if let Some(value) = &value {
            self.of_writer.put(ks, key, Some(value));
        }
        Ok(value)
    }

    /// The row as a snapshot of `epoch` has it, read by `load` if it is not here, and then to `keep` or not.
    pub(in crate::store) fn get<E>(
        &self,
        (ks, key): (Ks, &[u8]),
        epoch: u64,
        keep: bool,
        load: impl FnOnce() -> Result<Option<Slice>, E>,
    ) -> Result<Option<Slice>, E> {
        let (text, Some(key)) = (key, RowKey::new(ks, key)) else { return load() };
        let mark = self.last_change(&key);
        // A commit marks a row before it puts it: what is here is of the last commit that the mark tells of.
        if WriterRows::are(ks, text)
            && mark <= epoch
            && let Some(value) = self.of_writer.get(ks, text)
            && self.last_change(&key) == mark
        {
            return Ok(Some(Slice(value)));
        }
        self.entry(key, (mark, epoch), keep, load)
    }

    /// What is here under a key, or what `load` gives, as long as the row of that mark is what the snapshot sees.
    fn entry<E>(
        &self,
        key: RowKey,
        (mark, epoch): (u64, u64),
        keep: bool,
        load: impl FnOnce() -> Result<Option<Slice>, E>,
    ) -> Result<Option<Slice>, E> {
        if let Some(entry) = self.rows.get(&key)
            && (mark..=epoch).contains(&entry.epoch)
        {
            return Ok(entry.value);
        }
        let value = load()?;
        if let Some(epoch) = stamp(mark, epoch).filter(|_| keep)
            && value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE)
        {
            let copy = value.as_deref().map(|value| Slice(fjall::Slice::from(value)));
            self.rows.insert(key, Entry { epoch, value: copy });
        }
        Ok(value)
    }

    /// A digest that `load` makes of a row and that is dearer to make than to keep, as a snapshot of `epoch` has it.
    pub(in crate::store) fn made<E>(
        &self,
        (ks, key): (Ks, &[u8]),
        epoch: u64,
        load: impl FnOnce() -> Result<Option<[u8; 32]>, E>,
    ) -> Result<Option<[u8; 32]>, E> {
        let Some(row) = RowKey::new(ks, key) else { return load() };
        let mark = self.last_change(&row);
        let made = RowKey { ks: row.ks | MADE, ..row };
        let load = || Ok(load()?.map(|digest| Slice(fjall::Slice::from(&digest[..]))));
        let value = self.entry(made, (mark, epoch), true, load)?;
        Ok(value.and_then(|value| (*value).try_into().ok()))
    }
}

/// The epoch under which what a snapshot read may be kept; `None` if a later commit changed it.
fn stamp(mark: u64, epoch: u64) -> Option<u64> {
    // A snapshot made during a commit may or may not have it: its entry must not pass for one made after.
    Some(epoch & !1).filter(|epoch| mark <= *epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::{Order, order_post_key, order_prefix};
    use crate::schema::{ActorId, PostId, Rkey, Target};

    fn get(cache: &RowCache, epoch: u64, stored: &'static str) -> (String, bool) {
        let mut read = false;
        let value = cache.get((Ks::Post, b"key"), epoch, true, || {
            read = true;
            Ok::<_, ()>(Some(Slice(fjall::Slice::from(stored.as_bytes()))))
        });
        (String::from_utf8(value.unwrap().unwrap().to_vec()).unwrap(), read)
    }

    #[test]
    fn a_row_is_read_once_until_a_commit_changes_it() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        assert_eq!(get(&cache, 4, "old"), ("old".to_owned(), true));
        assert_eq!(get(&cache, 4, "?"), ("old".to_owned(), false));
        assert_eq!(get(&cache, 8, "?"), ("old".to_owned(), false), "other commits do not matter");
        cache.mark(Ks::Post, b"key", 10);
        assert_eq!(get(&cache, 10, "new"), ("new".to_owned(), true));
        assert_eq!(get(&cache, 12, "?"), ("new".to_owned(), false));
    }

    #[test]
    fn a_snapshot_sees_neither_newer_nor_older_rows() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        cache.mark(Ks::Post, b"key", 10);
        assert_eq!(get(&cache, 10, "new"), ("new".to_owned(), true));
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true), "its snapshot is older");
        assert_eq!(get(&cache, 10, "?"), ("new".to_owned(), false), "and left nothing behind");
    }

    #[test]
    fn what_a_snapshot_reads_during_a_commit_does_not_outlive_it() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        // Epoch 11: the commit that makes 12 is under way, and the snapshot may have been made before it.
        assert_eq!(get(&cache, 11, "old"), ("old".to_owned(), true));
        cache.mark(Ks::Post, b"key", 12);
        assert_eq!(get(&cache, 12, "new"), ("new".to_owned(), true));
    }

    #[test]
    fn what_the_writer_leaves_is_seen_from_its_commit_on() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true));
        cache.mark(Ks::Post, b"key", 10);
        cache.put(Ks::Post, b"key", 10, Some(fjall::Slice::from(&b"new"[..])));
        assert_eq!(get(&cache, 8, "old"), ("old".to_owned(), true));
        assert_eq!(get(&cache, 10, "?"), ("new".to_owned(), false));
    }

    #[test]
    fn what_the_writer_counts_is_seen_by_the_snapshots_that_have_it_and_no_other() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let read = |epoch, stored: &str| {
            let load = || Ok::<_, ()>(Some(Slice(fjall::Slice::from(stored.as_bytes()))));
            let value = cache.get((Ks::Agg, b"key"), epoch, true, load).unwrap().unwrap();
            String::from_utf8(value.to_vec()).unwrap()
        };
        let write = |epoch, value: &str| {
            cache.mark(Ks::Agg, b"key", epoch);
            cache.put(Ks::Agg, b"key", epoch, Some(fjall::Slice::from(value.as_bytes())));
        };
        let of_writer = |stored: Option<&str>| {
            let load =
                || stored.ok_or("read").map(|s| Some(Slice(fjall::Slice::from(s.as_bytes()))));
            cache.get_to_write(Ks::Agg, b"key", 10, load).map(|v| v.unwrap().to_vec())
        };
        assert_eq!(of_writer(Some("one")), Ok(b"one".into()));
        assert_eq!(of_writer(None), Ok(b"one".into()), "it is read once");
        assert_eq!(read(8, "?"), "one");
        write(10, "two");
        assert_eq!(of_writer(None), Ok(b"two".into()));
        assert_eq!(read(8, "one"), "one", "its snapshot is older");
        assert_eq!([read(10, "?"), read(12, "?")], ["two", "two"]);
        cache.mark(Ks::Agg, b"key", 14);
        assert_eq!(read(12, "two"), "two");
        cache.put(Ks::Agg, b"key", 14, None);
        assert_eq!(of_writer(None), Err("read"));
        assert_eq!(read(14, "of the engine"), "of the engine");
    }

    #[test]
    fn absence_is_remembered_and_big_values_are_not() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let none =
            |load: bool| {
                cache.get((Ks::Rev, b"none"), 2, true, || {
                    if load { Ok(None) } else { Err("read again") }
                })
            };
        assert!(matches!(none(true), Ok(None)));
        assert!(matches!(none(false), Ok(None)));
        let big = |_| Some(Slice(fjall::Slice::from(vec![0; MAX_VALUE + 1])));
        for _ in 0..2 {
            let mut read = false;
            let value = cache.get((Ks::Rev, b"big"), 2, true, || {
                read = true;
                Ok::<_, ()>(big(()))
            });
            assert!(read && value.unwrap().is_some());
            // Nor does the writer leave it here.
            cache.put(Ks::Rev, b"big", 2, big(()).map(|slice| slice.0));
        }
    }

    #[test]
    fn what_is_read_once_is_taken_from_here_and_not_left_here() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let once = |epoch, stored: &'static str| {
            let load = || Ok::<_, ()>(Some(Slice(fjall::Slice::from(stored.as_bytes()))));
            let value = cache.get((Ks::Post, b"key"), epoch, false, load).unwrap().unwrap();
            String::from_utf8(value.to_vec()).unwrap()
        };
        assert_eq!([once(4, "first"), once(4, "second")], ["first", "second"]);
        assert_eq!(get(&cache, 4, "third"), ("third".to_owned(), true));
        assert_eq!(once(4, "?"), "third");
        cache.mark(Ks::Post, b"key", 6);
        assert_eq!(once(6, "fourth"), "fourth");
    }

    #[test]
    fn what_is_made_of_a_row_is_kept_beside_it_until_the_row_changes() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let made = |epoch, digest: Option<[u8; 32]>| {
            cache.made((Ks::Post, b"key"), epoch, || Ok::<_, ()>(digest)).unwrap()
        };
        assert_eq!(made(4, Some([1; 32])), Some([1; 32]));
        assert_eq!(made(6, Some([2; 32])), Some([1; 32]));
        assert_eq!(get(&cache, 6, "row"), ("row".to_owned(), true), "it is not the row");
        cache.mark(Ks::Post, b"key", 8);
        assert_eq!(made(6, Some([3; 32])), Some([3; 32]), "its snapshot is older");
        assert_eq!(made(8, None), None);
        assert_eq!(made(10, Some([4; 32])), None, "also that there is none");
    }

    #[test]
    fn keys_differ_by_their_length_and_memory_is_bounded_by_values() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let read = |key: &[u8], stored: &[u8]| {
            let load = || Ok::<_, ()>(Some(Slice(fjall::Slice::from(stored))));
            cache.get((Ks::Rev, key), 2, true, load).unwrap().unwrap().to_vec()
        };
        assert_eq!([read(b"a", b"1"), read(b"a\0", b"2"), read(b"a", b"3")], [b"1", b"2", b"1"]);
        for n in 0..2000_u32 {
            read(&n.to_be_bytes(), &[0; MAX_VALUE]);
        }
        let held = cache.rows.len();
        assert!((100..=256).contains(&held), "{held} of 4 KB");
    }

    #[test]
    fn a_view_is_made_once_until_its_row_changes_and_only_kept_if_it_may_be() {
        let (cache, views) = (RowCache::new(1 << 20, [1 << 16; 2]), RowViews::new(8));
        let made = |epoch, value: u8, keep| {
            let load = || Ok::<_, ()>((value, keep));
            cache.view(&views, (Ks::Post, b"key"), epoch, |_| true, load).unwrap()
        };
        let holds = |epoch| cache.holds(&views, (Ks::Post, b"key"), epoch);
        assert_eq!(made(4, 1, false), 1);
        assert!(!holds(4));
        assert_eq!(made(4, 2, true), 2, "the first was not kept");
        assert_eq!(made(6, 3, true), 2);
        assert!(holds(4) && holds(6) && !holds(3));
        cache.mark(Ks::Post, b"key", 8);
        assert!(!holds(8));
        assert_eq!(made(6, 4, true), 4, "an older snapshot is served by the engine");
        assert_eq!(made(8, 5, true), 5);
        assert_eq!(made(6, 6, true), 6, "what came later is not for it, and it leaves nothing");
        assert_eq!(made(8, 7, true), 5);
    }

    #[test]
    fn a_list_is_read_once_until_one_of_its_rows_changes() {
        let cache = RowCache::new(1 << 20, [1 << 16; 2]);
        let id = |n| PostId { author: ActorId(1), rkey: Rkey(n) };
        let (parent, other) = (Target::Post(id(1)), Target::Post(id(2)));
        let prefix = order_prefix(Order::Replies, parent);
        let read = |epoch, stored: u64| {
            let load = |most| {
                let all: Vec<u8> = (0..stored).flat_map(|n| id(n).to_bytes()).collect();
                Ok::<_, ()>(Some(all).filter(|all| all.len() <= most))
            };
            let group = cache.group(Ks::Order, &prefix, epoch, load).unwrap();
            group.map(|posts| posts.len() / PostId::LEN)
        };
        assert_eq!(read(4, 2), Some(2));
        cache.mark(Ks::Order, &order_post_key(Order::Replies, other, 5, id(3)), 6);
        cache.mark(Ks::Order, &order_post_key(Order::Quotes, parent, 5, id(3)), 6);
        assert_eq!(read(6, 9), Some(2), "other lists do not matter");
        cache.mark(Ks::Order, &order_post_key(Order::Replies, parent, 5, id(3)), 8);
        assert_eq!(read(8, 3), Some(3));
        assert_eq!(read(6, 2), Some(2), "its snapshot is older");
        cache.mark(Ks::Order, &order_post_key(Order::Replies, parent, 5, id(4)), 10);
        assert_eq!(read(10, 5_000), None, "too long to be kept");
        assert_eq!(read(10, 0), None, "which is known from then on");
        cache.mark(Ks::Order, &order_post_key(Order::Replies, parent, 5, id(4)), 12);
        assert_eq!(read(12, 0), Some(0));
    }
}
