//! The open store: the engine's keyspaces, the caches over them, and how a batch gets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use fjall::AbstractTree as _;

use super::cache::{Forget, NumberCache, RowCache};
use super::folder::{is_there, private_folder};
use super::{Ks, Snapshot, StoreError, bulk, damage, migrate, tx};
use crate::config::memory::{self, Share};

/// A value of the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Slice(pub(super) fjall::Slice);

impl std::ops::Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How often it is looked whether a flush is done.
const FLUSH_LOOK: std::time::Duration = std::time::Duration::from_millis(5);
/// The longest wait of one commit for memory.
const MAX_STALL: std::time::Duration = std::time::Duration::from_secs(2);

/// The open store; a cheap handle.
#[derive(Clone)]
pub struct Store(pub(super) Arc<Inner>);

pub(super) struct Inner {
    path: PathBuf,
    budget: u64,
    pub(super) keyspaces: Vec<fjall::Keyspace>,
    names: NumberCache,
    rows: RowCache,
    /// Bytes in memtables beyond which the writer waits.
    pub(super) max_buffered: u64,
    /// Bytes of rows in a batch, which takes about four times as much memory: for [`Self::load`], and otherwise.
    max_bulk: usize,
    max_batch: usize,
    /// Even: no commit is under way. Moves by two with each commit.
    epoch: AtomicU64,
    compacting: AtomicUsize,
    caches: parking_lot::RwLock<Vec<std::sync::Weak<dyn Forget>>>,
    // Last, so that the keyspaces are dropped before it.
    db: fjall::Database,
}

impl Store {
    /// Opens the folder, making it if it is not there. Of `memory_budget` in bytes it takes
    /// its shares ([`Share`]): block cache, row cache, memtables, the name cache and the open batch.
    ///
    /// A store of another format is refused; `schema::migrations::open` brings older ones to this one.
    #[cfg(any(test, feature = "testing"))]
    pub fn open(path: &Path, memory_budget: u64) -> Result<Self, StoreError> {
        Self::open_with(path, memory_budget, &[], &mut |_| {})
    }

    /// The same, for stores that these steps bring to this format too.
    pub(crate) fn open_with(
        path: &Path,
        memory_budget: u64,
        steps: &[migrate::Step],
        told: &mut dyn FnMut(&migrate::Progress),
    ) -> Result<Self, StoreError> {
        Self::open_after(path, memory_budget, steps, &mut |_, _| Ok(()), told)
    }

    /// The same; `before` is told first of a store of an older format that no step was begun with.
    pub(crate) fn open_after(
        path: &Path,
        memory_budget: u64,
        steps: &[migrate::Step],
        before: &mut dyn FnMut(&Self, u32) -> Result<(), StoreError>,
        told: &mut dyn FnMut(&migrate::Progress),
    ) -> Result<Self, StoreError> {
        let opened = Self::opened(path, memory_budget, steps, before, told);
        opened.map_err(|error| damage::explained(path, error))
    }

    fn opened(
        path: &Path,
        memory_budget: u64,
        steps: &[migrate::Step],
        before: &mut dyn FnMut(&Self, u32) -> Result<(), StoreError>,
        told: &mut dyn FnMut(&migrate::Progress),
    ) -> Result<Self, StoreError> {
        migrate::refuse_newer(path)?;
        private_folder(path).map_err(|e| StoreError::Folder(path.to_owned(), e))?;
        let budget = memory_budget.max(memory::LEAST);
        damage::refuse_headless(path)?;
        let db = fjall::Database::builder(path.join("db"))
            .cache_size(Share::Blocks.of(budget))
            .max_journaling_size((budget / 3).clamp(96 << 20, 256 << 20))
            .manual_journal_persist(true)
            // Of two, one would do nothing but hand the compaction that waits back to the queue while the other compacts.
            .worker_threads(1)
            .open()
            .map_err(|e| match e {
                fjall::Error::Locked => StoreError::Locked(path.to_owned()),
                e => e.into(),
            })?;
        migrate::refuse(&db, path, steps)?;
        // As the engine counts them, which is half of what they take.
        let buffered = Share::Memtables.of(budget) / 2;
        let keyspaces = Ks::ALL
            .iter()
            .map(|ks| db.keyspace(ks.name(), || ks.tuning().options(buffered)))
            .collect::<Result<Vec<_>, _>>()?;
        let inner = Inner {
            path: path.to_owned(),
            budget,
            keyspaces,
            names: NumberCache::new(Share::Names.of(budget)),
            rows: RowCache::new(
                Share::Rows.of(budget),
                [Share::Repos, Share::Counters].map(|s| s.of(budget)),
            ),
            max_buffered: buffered,
            max_bulk: usize::try_from(buffered).unwrap_or(usize::MAX),
            max_batch: Share::Batch.entries(budget, 4),
            epoch: AtomicU64::new(0),
            compacting: AtomicUsize::new(0),
            caches: parking_lot::RwLock::default(),
            db,
        };
        let store = Self(Arc::new(inner));
        // What it puts in is in the format that the store had when it was written.
        bulk::recover(path, |ks| store.keyspace(ks))?;
        if let Some(format) = migrate::untouched(&store)?.filter(|format| *format < migrate::FORMAT)
        {
            before(&store, format)?;
        }
        migrate::run(&store, steps, told)?;
        Ok(store)
    }

    /// Whether there is a store in the folder.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        is_there(path)
    }

    /// The state as of now, for one request.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.clone())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What a share of the memory is that the store was opened with: for what is remembered beside its rows.
    pub(crate) fn share(&self, share: Share) -> u64 {
        share.of(self.0.budget)
    }

    /// Makes `cache` forget what a commit changes, as long as it lives.
    pub(crate) fn register(&self, cache: std::sync::Weak<dyn Forget>) {
        let mut caches = self.0.caches.write();
        caches.retain(|c| c.strong_count() > 0);
        caches.push(cache);
    }

    /// Changes with each commit, and is odd while one is under way.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::SeqCst)
    }

    /// Bytes on disk by keyspace, and of the journals. The engine leaves filters and block indexes out, up to a fifteenth
    /// where rows are small.
    pub fn disk(&self) -> Result<(Vec<(Ks, u64)>, u64), StoreError> {
        Ok((self.tables(), self.0.db.journal_disk_space()?))
    }

    /// The same, to the byte: what is in the folders, with tables that were merged away but are not yet deleted.
    pub fn files(&self) -> Result<(Vec<(Ks, u64)>, u64), StoreError> {
        let tables = |k: &fjall::Keyspace| -> u64 {
            let files = std::fs::read_dir(k.path().join("tables")).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
        };
        let by_keyspace = Ks::ALL.iter().zip(&self.0.keyspaces).map(|(ks, k)| (*ks, tables(k)));
        Ok((by_keyspace.collect(), self.0.db.journal_disk_space()?))
    }

    /// Bytes on disk by keyspace, as [`Self::disk`], without asking the journals, which a commit may hold. Does not wait.
    #[must_use]
    pub fn tables(&self) -> Vec<(Ks, u64)> {
        Ks::ALL.iter().zip(&self.0.keyspaces).map(|(ks, k)| (*ks, k.disk_space())).collect()
    }

    /// About how many rows each keyspace has; shadowed versions and deletes count too.
    #[must_use]
    pub fn approximate_rows(&self) -> Vec<(Ks, usize)> {
        Ks::ALL.iter().zip(&self.0.keyspaces).map(|(ks, k)| (*ks, k.approximate_len())).collect()
    }

    /// The number of the newest change of a keyspace; none if there was none.
    #[must_use]
    pub fn last_change(&self, ks: Ks) -> Option<u64> {
        self.keyspace(ks).ok()?.tree.get_highest_seqno()
    }

    /// Rewrites every keyspace into its smallest form. Minutes to hours on a big store.
    pub fn compact(&self, mut progress: impl FnMut(Ks)) -> Result<(), StoreError> {
        for (ks, k) in Ks::ALL.iter().zip(&self.0.keyspaces) {
            progress(*ks);
            self.flush(k)?;
            k.major_compact()?;
        }
        Ok(())
    }

    /// Moves what is only in the journal into tables, as far as `within` suffices: the next start has less to replay.
    pub(super) fn settle(&self, within: std::time::Duration) -> Result<(), StoreError> {
        for keyspace in &self.0.keyspaces {
            keyspace.rotate_memtable()?;
        }
        let begun = std::time::Instant::now();
        let busy = || self.0.keyspaces.iter().any(|k| k.sealed_memtable_count() > 0);
        while busy() && begun.elapsed() < within {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Rewrites one keyspace into its smallest form while it is in use. Needs about as much free disk as it takes.
    pub fn compact_one(&self, ks: Ks) -> Result<(), StoreError> {
        let keyspace = self.keyspace(ks)?;
        self.0.compacting.fetch_add(1, Ordering::Relaxed);
        let done = self.flush(keyspace).and_then(|()| Ok(keyspace.major_compact()?));
        self.0.compacting.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// Moves everything that is only in the journals into tables, so that the journals go: they may be hundreds of megabytes.
    pub fn flush_all(&self) -> Result<(), StoreError> {
        self.0.keyspaces.iter().try_for_each(|keyspace| self.flush(keyspace))
    }

    /// Moves what is only in the journal into tables. The engine would wait for ever if the thread that does it died.
    fn flush(&self, keyspace: &fjall::Keyspace) -> Result<(), StoreError> {
        keyspace.rotate_memtable()?;
        while keyspace.sealed_memtable_count() > 0 {
            self.is_alive()?;
            std::thread::sleep(FLUSH_LOOK);
        }
        Ok(())
    }

    /// Bytes that caches and buffers hold now, as far as they are weighed.
    #[must_use]
    pub fn memory(&self) -> [(Share, u64); 3] {
        let db = self.db();
        [
            (Share::Blocks, db.cache_size()),
            (Share::Memtables, 2 * db.write_buffer_size()),
            (Share::Rows, self.rows().weight()),
        ]
    }

    /// Whether [`Self::compact_one`] is at work: the engine may hold the writer until it is done.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.0.compacting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn db(&self) -> &fjall::Database {
        &self.0.db
    }

    pub(super) fn keyspace(&self, ks: Ks) -> Result<&fjall::Keyspace, StoreError> {
        self.0.keyspaces.get(ks as usize).ok_or_else(|| StoreError::undecodable(ks.name()))
    }

    pub(super) fn max_bulk(&self) -> usize {
        self.0.max_bulk
    }

    pub(super) fn max_batch(&self) -> usize {
        self.0.max_batch
    }

    pub(super) fn rows(&self) -> &RowCache {
        &self.0.rows
    }

    /// Numbers and the texts that they stand for.
    pub(crate) fn names(&self) -> &NumberCache {
        &self.0.names
    }

    /// Moves the memtable that is the biggest for its weight towards a file once all together are two thirds of what there
    /// is memory for. The fuller they are then, the fewer files there are to merge; the last third is for what comes while
    /// the file is written.
    fn flush_fullest(&self) -> Result<(), StoreError> {
        let sizes = self.0.keyspaces.iter().map(|keyspace| keyspace.tree.active_memtable().size());
        let sizes: Vec<u64> = sizes.collect();
        if sizes.iter().sum::<u64>() < self.0.max_buffered / 3 * 2 {
            return Ok(());
        }
        let all = Ks::ALL.iter().zip(&self.0.keyspaces).zip(sizes);
        let fullest = all.max_by_key(|((ks, _), size)| size / ks.tuning().weight);
        if let Some(((_, keyspace), _)) = fullest {
            keyspace.rotate_memtable()?;
        }
        Ok(())
    }

    /// Waits until memtables are flushed to within the budget. The engine itself lets four of each keyspace wait,
    /// which is most of a small server's memory.
    pub(super) fn make_room(&self) {
        let begun = std::time::Instant::now();
        while self.0.db.write_buffer_size() > self.0.max_buffered && begun.elapsed() < MAX_STALL {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    pub(super) fn commit(&self, parts: tx::Committable) -> Result<(), StoreError> {
        self.flush_fullest()?;
        self.make_room();
        let mut kept = Vec::new();
        let mut batch =
            fjall::OwnedWriteBatch::with_capacity(self.db().clone(), 1024).durability(None);
        self.publish(parts.touched, parts.after, |epoch| {
            for (ks, mut rows) in parts.rows {
                let keyspace = self.keyspace(ks)?;
                rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in rows {
                    self.rows().mark(ks, &key, epoch);
                    if RowCache::keeps(ks) {
                        kept.push((ks, key.clone(), value.clone()));
                    }
                    match value {
                        Some(value) => batch.insert(keyspace, key, value),
                        None => batch.remove(keyspace, key),
                    }
                }
            }
            batch.commit()?;
            kept.into_iter().for_each(|(ks, key, value)| self.rows().put(ks, &key, epoch, value));
            Ok(())
        })
    }

    /// Commits a big batch as tables of its own. On disk when it returns; until then the keyspaces disagree, so nobody may
    /// read meanwhile.
    pub(super) fn load(&self, mut parts: tx::Committable) -> Result<(), StoreError> {
        if self.0.db.write_buffer_size() > 0 {
            self.sync()?;
            for keyspace in &self.0.keyspaces {
                keyspace.rotate_memtable_and_wait()?;
            }
        }
        self.publish(parts.touched, parts.after, |epoch| {
            for (ks, rows) in &parts.rows {
                rows.iter().for_each(|(key, _)| self.rows().mark(*ks, key, epoch));
            }
            bulk::sort(&mut parts.rows);
            bulk::load(self.path(), |ks| self.keyspace(ks), &parts.rows)?;
            for (ks, rows) in parts.rows {
                if RowCache::keeps(ks) {
                    rows.into_iter().for_each(|(k, v)| self.rows().put(ks, &k, epoch, v));
                }
            }
            Ok(())
        })
    }

    /// Moves the epoch over what `write` does, which gets the one after it, and tells whom it concerns.
    pub(super) fn publish(
        &self,
        touched: Vec<u32>,
        after: Vec<Box<dyn FnOnce() + Send>>,
        write: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let epoch = self.0.epoch.fetch_add(1, Ordering::SeqCst) + 2;
        write(epoch)?;
        for cache in self.0.caches.read().iter().filter_map(std::sync::Weak::upgrade) {
            cache.forget(&touched);
        }
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        for f in after {
            f();
        }
        Ok(())
    }

    /// Whether the engine still works: one of its threads may have died, and it tells that only to who writes.
    pub(super) fn is_alive(&self) -> Result<(), StoreError> {
        Ok(self.0.db.persist(fjall::PersistMode::Buffer)?)
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.0.db.persist(fjall::PersistMode::SyncAll)?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.path).finish()
    }
}
