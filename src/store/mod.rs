//! The embedded store: keyspaces, codecs, the single writer, snapshots.
//!
//! The only module that names the engine (fjall). One thread writes ([`Writer`]): whoever wants to change
//! something sends it a closure over a [`Tx`], and everything in one batch becomes visible at once, the
//! upstream cursors included. Readers take a [`Snapshot`]. Both are a [`Reader`], so a rule that needs to look
//! something up is written once.
//!
//! The store does not know what a record means: which rows an event touches is `index`' matter.
//!
//! # Invariants
//! - One owner: the engine locks the folder; a second process fails to open with a message that says so.
//! - After a crash the store holds a prefix of the committed batches; data and cursor in it agree.
//! - What [`Writer::durable`] answered is on disk.

pub mod bookmarks;
mod bulk;
pub mod cache;
pub mod collections;
pub mod community;
pub mod doubts;
pub mod drafts;
pub mod fetched;
pub mod ids;
pub mod jobs;
pub mod keyspaces;
pub mod meta;
mod names;
mod packed;
pub mod plc;
pub mod portable;
pub mod private;
pub mod read;
pub mod registrations;
pub mod rebuild;
pub mod repo_jobs;
mod room;
mod row_cache;
pub mod rows;
pub mod stats;
pub mod subscriptions;
pub mod takeout;
mod tx;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use cache::ActorCache;
pub use ids::{ActorId, CollId, Key, PostId, RecordId, Rkey, Target};
pub use keyspaces::Ks;
pub(crate) use names::counterpart as name_counterpart;
pub use read::{Reader, Snapshot};
pub use room::{DiskSpace, Room, disk_space, free_space};
pub use row_cache::RowViews;
pub use tx::Tx;
pub use writer::{Answer, Writer, WriterStats};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed: disk, permissions, a damaged journal.
    #[error("store: {0}")]
    Engine(#[from] fjall::Error),
    /// A row does not decode.
    #[error("store: a row of {0} does not decode")]
    Corrupt(&'static str),
    /// A number space is used up.
    #[error("store: out of {0}")]
    Full(&'static str),
    /// The folder was written by another version.
    #[error("store: {path} has format {found}, this version reads format {expected}; {advice}")]
    Version {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What this version reads.
        expected: u32,
        /// What to do.
        advice: &'static str,
    },
    /// Another process has it open.
    #[error("store: {0} is in use by another aerie process")]
    Locked(PathBuf),
    /// The folder cannot be made or read.
    #[error("store: {0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The writer has stopped.
    #[error("store: the writer has stopped")]
    Closed,
    /// The disk is nearly full: see [`Room`].
    #[error("store: the disk is full; nothing is written until there is room again")]
    NoRoom,
}

impl StoreError {
    pub(crate) fn corrupt(ks: Ks) -> Self {
        Self::Corrupt(ks.name())
    }
}

/// A value of the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Slice(fjall::Slice);

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

/// The format of keys and values on disk. Raised with a migration, never without.
pub const FORMAT: u32 = 2;

/// The longest wait of one commit for memory.
const MAX_STALL: std::time::Duration = std::time::Duration::from_secs(2);

/// The open store; a cheap handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keyspaces: Vec<fjall::Keyspace>,
    names: names::NameCache,
    rows: row_cache::RowCache,
    /// Bytes in memtables beyond which the writer waits.
    max_buffered: u64,
    /// Bytes of rows in a batch for [`Self::load`], which takes about four times as much memory.
    max_bulk: usize,
    /// Even: no commit is under way. Moves by two with each commit.
    epoch: AtomicU64,
    caches: parking_lot::RwLock<Vec<std::sync::Weak<dyn cache::Forget>>>,
    // Last, so that the keyspaces are dropped before it.
    db: fjall::Database,
}

impl Store {
    /// Opens the folder, making it if it is not there. `memory_budget` in bytes is shared between the block
    /// cache (a quarter), the row cache (an eighth), memtables (an eighth as the engine counts them, twice that in truth)
    /// and the name cache; the rest is for what comes in and for what is kept of accounts.
    pub fn open(path: &Path, memory_budget: u64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(|e| StoreError::Folder(path.to_owned(), e))?;
        let budget = memory_budget.max(64 << 20);
        let db = fjall::Database::builder(path.join("db"))
            .cache_size(budget / 4)
            .max_journaling_size((budget / 3).clamp(96 << 20, 256 << 20))
            .manual_journal_persist(true)
            .worker_threads(2)
            .open()
            .map_err(|e| match e {
                fjall::Error::Locked => StoreError::Locked(path.to_owned()),
                e => e.into(),
            })?;
        // 52 units over all keyspaces, each with one memtable filling and one being flushed.
        let unit = (budget / 6 / 104).max(256 << 10);
        let keyspaces = Ks::ALL
            .iter()
            .map(|ks| db.keyspace(ks.name(), || ks.tuning().options(unit)))
            .collect::<Result<Vec<_>, _>>()?;
        let names = names::NameCache::new(usize::try_from(budget / 4096).unwrap_or(100_000));
        let inner = Inner {
            path: path.to_owned(),
            keyspaces,
            names,
            rows: row_cache::RowCache::new(budget / 8),
            max_buffered: budget / 8,
            max_bulk: usize::try_from(budget / 8).unwrap_or(usize::MAX),
            epoch: AtomicU64::new(0),
            caches: parking_lot::RwLock::default(),
            db,
        };
        let store = Self(Arc::new(inner));
        store.check_format()?;
        bulk::recover(path, |ks| store.keyspace(ks))?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let meta = self.keyspace(Ks::Meta)?;
        let Some(v) = meta.get(meta::FORMAT_KEY)? else {
            meta.insert(meta::FORMAT_KEY, FORMAT.to_be_bytes())?;
            return Ok(self.0.db.persist(fjall::PersistMode::SyncAll)?);
        };
        let found =
            u32::from_be_bytes(v.as_ref().try_into().map_err(|_| StoreError::corrupt(Ks::Meta))?);
        if found == FORMAT {
            return Ok(());
        }
        let advice = if found > FORMAT {
            "start the newer version again"
        } else {
            "there is no migration from it"
        };
        Err(StoreError::Version { path: self.0.path.clone(), found, expected: FORMAT, advice })
    }

    /// Whether there is a store in the folder.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join("db").is_dir()
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

    /// Makes `cache` forget what a commit changes, as long as it lives.
    pub(crate) fn register(&self, cache: std::sync::Weak<dyn cache::Forget>) {
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
        let by_keyspace =
            Ks::ALL.iter().zip(&self.0.keyspaces).map(|(ks, k)| (*ks, k.disk_space())).collect();
        Ok((by_keyspace, self.0.db.journal_disk_space()?))
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

    /// About how many rows each keyspace has; shadowed versions and deletes count too.
    #[must_use]
    pub fn approximate_rows(&self) -> Vec<(Ks, usize)> {
        Ks::ALL.iter().zip(&self.0.keyspaces).map(|(ks, k)| (*ks, k.approximate_len())).collect()
    }

    /// Rewrites every keyspace into its smallest form. Minutes to hours on a big store.
    pub fn compact(&self, mut progress: impl FnMut(Ks)) -> Result<(), StoreError> {
        for (ks, k) in Ks::ALL.iter().zip(&self.0.keyspaces) {
            progress(*ks);
            k.rotate_memtable_and_wait()?;
            k.major_compact()?;
        }
        Ok(())
    }

    /// Moves what is only in the journal into tables, as far as `within` suffices: the next start has less to replay.
    fn settle(&self, within: std::time::Duration) -> Result<(), StoreError> {
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
        keyspace.rotate_memtable_and_wait()?;
        Ok(keyspace.major_compact()?)
    }

    fn db(&self) -> &fjall::Database {
        &self.0.db
    }

    fn keyspace(&self, ks: Ks) -> Result<&fjall::Keyspace, StoreError> {
        self.0.keyspaces.get(ks as usize).ok_or(StoreError::corrupt(ks))
    }

    fn max_bulk(&self) -> usize {
        self.0.max_bulk
    }

    fn rows(&self) -> &row_cache::RowCache {
        &self.0.rows
    }

    fn names(&self) -> &names::NameCache {
        &self.0.names
    }

    /// Waits until memtables are flushed to within the budget. The engine itself lets four of each keyspace wait,
    /// which is most of a small server's memory.
    fn make_room(&self) {
        let begun = std::time::Instant::now();
        while self.0.db.write_buffer_size() > self.0.max_buffered && begun.elapsed() < MAX_STALL {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn commit(&self, parts: tx::Committable) -> Result<(), StoreError> {
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
                    if row_cache::RowCache::keeps(ks) {
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
    fn load(&self, mut parts: tx::Committable) -> Result<(), StoreError> {
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
                if row_cache::RowCache::keeps(ks) {
                    rows.into_iter().for_each(|(k, v)| self.rows().put(ks, &k, epoch, v));
                }
            }
            Ok(())
        })
    }

    /// Moves the epoch over what `write` does, which gets the one after it, and tells whom it concerns.
    fn publish(
        &self,
        touched: Vec<ActorId>,
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

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.0.db.persist(fjall::PersistMode::SyncAll)?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.path).finish()
    }
}

#[cfg(test)]
mod tests;
