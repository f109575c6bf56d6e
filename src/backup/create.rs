//! Makes a backup: brings what the place does not have yet, looks that all of it is there, and puts the manifest last.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::id::{Id, Kind};
use super::manifest::{Entry, Head, Manifest, hex};
use super::repository::{PENDING, RENEW_EVERY, Repository};
use crate::private::lines::{export, last_change};
use crate::store::{Pinned, Store};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// How far a backup or a restore is, and the way to stop it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes to go through; 0 until that is known.
    pub of: AtomicU64,
    /// Bytes gone through.
    pub done: AtomicU64,
    /// Bytes brought to the place.
    pub brought: AtomicU64,
    stop: Mutex<Option<String>>,
}

impl Progress {
    /// Stops it, for a reason.
    pub fn stop(&self, why: &str) {
        *self.stop.lock() = Some(why.to_owned());
    }

    pub(super) fn go_on(&self) -> Result<(), BackupError> {
        match &*self.stop.lock() {
            Some(why) => Err(BackupError::Stopped(why.clone())),
            None => Ok(()),
        }
    }
}

/// A backup that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    /// Its name.
    pub id: Id,
    /// Of what it is.
    pub kind: Kind,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that the place did not have yet.
    pub brought: u64,
    /// Milliseconds for which nothing could be written because of it.
    pub pause_ms: u64,
    /// Whether the server's keys are in it: only if it is encrypted.
    pub keys: bool,
}

type Opens<'a> = Box<dyn Fn() -> io::Result<Box<dyn Read + Send + 'a>> + 'a>;

/// A file that goes into a backup.
struct Item<'a> {
    path: String,
    same: Option<(u64, u128)>,
    open: Opens<'a>,
}

impl Repository {
    /// Makes a backup of a store. The server's keys, by their names, go with it if it is encrypted.
    ///
    /// # Errors
    /// See [`BackupError`]; no backup is there then.
    pub fn whole(
        &self,
        pin: &Pinned,
        keys: &[(&str, PathBuf)],
        now: i64,
        progress: &Progress,
    ) -> Result<Made, BackupError> {
        let mut head = self.head(Kind::Whole, now, pin.format());
        head.rows = pin.rows().iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
        let with_keys = head.encrypted.is_some();
        let keys = keys.iter().filter(|(_, file)| with_keys && file.exists());
        let keys = keys.map(|(name, file)| Item::of_file(format!("keys/{name}"), file));
        let of_store = pin.files().iter().map(|file| Item {
            path: file.path().to_owned(),
            same: file.same(),
            open: Box::new(|| file.open()),
        });
        let items: Vec<Item<'_>> = keys.chain(of_store).collect();
        let mut made = self.make(head, &items, now, progress)?;
        made.pause_ms = u64::try_from(pin.took().as_millis()).unwrap_or(u64::MAX);
        made.keys = with_keys;
        Ok(made)
    }

    /// Makes a backup of private state. It is written to `scratch` first, a file that goes again.
    ///
    /// # Errors
    /// See [`BackupError`]; there is no backup of nothing.
    pub fn private(
        &self,
        store: &Store,
        format: u32,
        scratch: &Path,
        now: i64,
        progress: &Progress,
    ) -> Result<Made, BackupError> {
        let change = last_change(store);
        let written = export(&store.snapshot(), scratch, now)?;
        if written.rows == 0 {
            return Err(BackupError::Nothing);
        }
        let mut head = Head { change: Some(change), ..self.head(Kind::Private, now, format) };
        head.rows.insert("private".to_owned(), written.rows);
        let items = [Item::of_file(PRIVATE.to_owned(), scratch)];
        let made = self.make(head, &items, now, progress);
        let removed = std::fs::remove_file(scratch);
        let made = made?;
        removed.map_err(|e| BackupError::File(scratch.to_owned(), e))?;
        Ok(made)
    }

    fn head(&self, kind: Kind, now: i64, format: u32) -> Head {
        let tag = self.recipients.as_ref().map(|recipients| recipients.tag().to_owned());
        Head::new(kind, now, format, tag)
    }

    fn make(
        &self,
        head: Head,
        items: &[Item<'_>],
        now: i64,
        progress: &Progress,
    ) -> Result<Made, BackupError> {
        let mark = Mark::put(self, now)?;
        let known = self.known(&head)?;
        let objects = self.objects()?;
        let total: u64 = items.iter().filter_map(|item| item.same.map(|(len, _)| len)).sum();
        progress.of.store(total, Ordering::Relaxed);
        let mut work =
            Work { repository: self, head, objects, progress, mark, pace: Pace::new(self.rate) };
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            work.progress.go_on()?;
            let same = item.same.and_then(|same| known.get(&same));
            let entry = match same.filter(|entry| work.has(entry)) {
                Some(entry) => {
                    progress.done.fetch_add(entry.size, Ordering::Relaxed);
                    Entry { path: item.path.clone(), ..entry.clone() }
                }
                None => work.bring(item)?,
            };
            files.push(entry);
        }
        work.finish(files)
    }

    /// Files of earlier backups, by what tells that they are the same.
    fn known(&self, head: &Head) -> Result<HashMap<(u64, u128), Entry>, BackupError> {
        let mut known = HashMap::new();
        // The newest has nearly all that is left of older ones; one that cannot be read brings nothing.
        let ids = self.ids()?.into_iter().rev().filter(|id| id.kind() == head.of).take(2);
        for manifest in ids.filter_map(|id| self.manifest(&id).ok()) {
            if manifest.head.encrypted != head.encrypted {
                continue;
            }
            for file in manifest.files {
                let checksum = file.checksum.as_deref().map(|hex| u128::from_str_radix(hex, 16));
                if let Some(Ok(checksum)) = checksum {
                    known.entry((file.size, checksum)).or_insert(file);
                }
            }
        }
        Ok(known)
    }
}

/// The file of a backup of private state.
pub(super) const PRIVATE: &str = "private.jsonl";

impl<'a> Item<'a> {
    fn of_file(path: String, file: &'a Path) -> Self {
        Self { path, same: None, open: Box::new(move || Ok(Box::new(File::open(file)?))) }
    }
}

struct Work<'a> {
    repository: &'a Repository,
    head: Head,
    /// What the place has.
    objects: HashMap<String, u64>,
    progress: &'a Progress,
    mark: Mark<'a>,
    pace: Pace,
}

impl Work<'_> {
    fn has(&self, entry: &Entry) -> bool {
        self.objects.get(&self.head.object(&entry.sha256)) == Some(&entry.stored)
    }

    /// Brings a file to the place, unless its bytes are there.
    fn bring(&mut self, item: &Item<'_>) -> Result<Entry, BackupError> {
        let local = |e| BackupError::File(PathBuf::from(&item.path), e);
        let mut hash = Sha256::new();
        let (mut size, mut bytes) = (0, (item.open)().map_err(local)?);
        let mut piece = vec![0; PIECE];
        loop {
            let read = bytes.read(&mut piece).map_err(local)?;
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            size += read as u64;
            self.progress.go_on()?;
            self.mark.renew()?;
            self.pace.take(read as u64);
        }
        let sha256 = hex(&hash.finalize());
        let key = self.head.object(&sha256);
        let stored = match self.objects.get(&key) {
            Some(stored) => *stored,
            None => {
                let plain = (item.open)().map_err(local)?;
                let plain =
                    Box::new(Watched { plain, progress: self.progress, pace: &mut self.pace });
                let mut body: Box<dyn Read + Send + '_> = match &self.repository.recipients {
                    Some(recipients) => recipients.encrypt(plain).map_err(local)?,
                    None => plain,
                };
                let put = self.repository.place.put(&key, &mut *body);
                drop(body);
                self.progress.go_on()?;
                let stored = put.map_err(self.repository.failed(&key))?;
                self.progress.brought.fetch_add(stored, Ordering::Relaxed);
                self.objects.insert(key, stored);
                stored
            }
        };
        self.progress.done.fetch_add(size, Ordering::Relaxed);
        let checksum = item.same.map(|(_, checksum)| format!("{checksum:032x}"));
        Ok(Entry { path: item.path.clone(), size, sha256, stored, checksum })
    }

    /// Looks that the place has all of it, and puts the manifest.
    fn finish(self, files: Vec<Entry>) -> Result<Made, BackupError> {
        let place = &self.repository.place;
        let there = self.repository.objects()?;
        let lost = files
            .iter()
            .find(|entry| there.get(&self.head.object(&entry.sha256)) != Some(&entry.stored));
        let failed = |key: &str, why: String| {
            let cause = io::Error::other(why);
            BackupError::Place { place: place.name(), what: key.to_owned(), cause }
        };
        if let Some(entry) = lost {
            let key = self.head.object(&entry.sha256);
            let has = there.get(&key).copied().unwrap_or(0);
            let why = format!(
                "it said that it had this, and has {has} of {} bytes of it: nothing that it says can be relied on",
                entry.stored
            );
            return Err(failed(&key, why));
        }
        self.progress.go_on()?;
        let manifest = Manifest { head: self.head, files };
        let (id, bytes) = manifest.encode().map_err(|e| failed("manifest", e.to_string()))?;
        let key = id.key();
        place.put(&key, &mut bytes.as_slice()).map_err(self.repository.failed(&key))?;
        if self.repository.manifest(&id)? != manifest {
            return Err(failed(&key, "it does not give back what was put there".to_owned()));
        }
        let (files, bytes) = (manifest.files.len(), manifest.bytes());
        let (kind, brought) = (manifest.head.of, self.progress.brought.load(Ordering::Relaxed));
        Ok(Made { id, kind, files, bytes, brought, pause_ms: 0, keys: false })
    }
}

/// What is read for the place: at a pace, and no longer than wanted.
struct Watched<'a, 'p> {
    plain: Box<dyn Read + Send + 'a>,
    progress: &'p Progress,
    pace: &'p mut Pace,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.progress.go_on().map_err(io::Error::other)?;
        let read = self.plain.read(out)?;
        self.pace.take(read as u64);
        Ok(read)
    }
}

/// So many bytes in a second, and no more at once than in a tenth of one.
pub(super) struct Pace {
    rate: u64,
    begun: Instant,
    taken: u64,
}

impl Pace {
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, begun: Instant::now(), taken: 0 }
    }

    /// Waits until so many more are due; with a rate of 0, not at all.
    pub(super) fn take(&mut self, bytes: u64) {
        self.taken += bytes;
        let Some(ms) = (self.taken.saturating_mul(1000)).checked_div(self.rate) else { return };
        let (due, gone) = (Duration::from_millis(ms), self.begun.elapsed());
        match due.checked_sub(gone) {
            Some(ahead) if ahead > Duration::from_millis(5) => std::thread::sleep(ahead),
            Some(_) => {}
            // What was not used is not made up for.
            None if gone - due > Duration::from_millis(100) => {
                (self.begun, self.taken) = (Instant::now(), 0);
            }
            None => {}
        }
    }
}

/// Says in the place that a backup is under way, until it ends.
struct Mark<'a> {
    repository: &'a Repository,
    key: String,
    now: AtomicI64,
    begun: i64,
    since: Instant,
    renewed: Instant,
}

impl<'a> Mark<'a> {
    fn put(repository: &'a Repository, now: i64) -> Result<Self, BackupError> {
        // What was killed before.
        if !repository.is_busy(now)? {
            repository.place.tidy().map_err(repository.failed("clear away"))?;
        }
        let key = format!("{PENDING}/{:016x}", rand::random::<u64>());
        let instant = Instant::now();
        let this =
            Self { repository, key, now: now.into(), begun: now, since: instant, renewed: instant };
        this.write()?;
        Ok(this)
    }

    fn write(&self) -> Result<(), BackupError> {
        let text = format!("{}\n", self.now.load(Ordering::Relaxed));
        let put = self.repository.place.put(&self.key, &mut text.as_bytes());
        put.map(drop).map_err(self.repository.failed(&self.key))
    }

    fn renew(&mut self) -> Result<(), BackupError> {
        if self.renewed.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        self.renewed = Instant::now();
        let gone = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.now.store(self.begun.saturating_add(gone), Ordering::Relaxed);
        self.write()
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.repository.place.remove(&self.key) {
            tracing::warn!(%error, "the mark of a backup that has ended cannot be removed: it counts no more in a while");
        }
    }
}
