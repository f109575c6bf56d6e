//! Images that were made, on disk, up to a size.
//!
//! A file is found by its name alone, so the answer to a request never depends on the table in memory, which only
//! knows what to throw away next: the least recently used, roughly (second chance). After a start the table is filled
//! in the background; recency survives in the files' modification times.
//!
//! # Invariants
//! - A file is whole or absent: it is written under another name, renamed, and read back against its checksum, so that
//!   also what a power failure leaves behind is noticed.
//! - Once the folder has been looked through, the files together take no more than the limit.
//! - The cache gives way to the store: when free space falls below the floor, it shrinks and takes nothing in.
//! - Files that are not ours are not touched.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use flate2::Crc;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::key::{ImageKey, Owner};
use crate::threads::Clock;

/// Where files are while they are written.
const UNFINISHED: &str = ".unfinished";
const MAGIC: [u8; 4] = *b"AIM1";
const HEADER: usize = 12;
/// Disks give space in blocks of this size.
const BLOCK: u64 = 4096;
/// Entries looked at to make room for one file.
const STEPS: usize = 64;
/// Files removed at a time when the store needs the space.
const SHRINK_STEPS: usize = 2048;

/// Free bytes where a path is.
pub(super) type FreeSpace = fn(&Path) -> u64;

/// The cache. All calls block on files.
pub(super) struct DiskCache {
    root: PathBuf,
    limit: u64,
    /// Free space that the store may claim.
    floor: u64,
    free: FreeSpace,
    clock: Clock,
    table: Mutex<CacheTable>,
    unfinished: AtomicU64,
}

#[derive(Default)]
struct CacheTable {
    files: FxHashMap<ImageKey, CachedFile>,
    /// The next to be thrown away in front. May name files that are gone.
    order: VecDeque<ImageKey>,
    bytes: u64,
}

struct CachedFile {
    bytes: u64,
    /// Asked for since it was last considered for removal.
    used: bool,
}

impl DiskCache {
    /// Opens or makes the folder, and removes what an earlier process left unfinished.
    pub(super) fn open(root: PathBuf, limit: u64, floor: u64, free: FreeSpace) -> io::Result<Self> {
        let unfinished = root.join(UNFINISHED);
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&unfinished)?.flatten() {
            fs::remove_file(entry.path())?;
        }
        Ok(Self {
            root,
            limit,
            floor,
            free,
            clock: Clock::system(),
            table: Mutex::default(),
            unfinished: AtomicU64::new(0),
        })
    }

    /// Fills the table from the folder, the longest unused in front. Once, in the background.
    pub(super) fn scan(&self) {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let folder_name = folder.file_name();
            if folder_name.len() != 2 {
                continue;
            }
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = file.file_name();
                let key = folder_name.to_str().zip(name.to_str());
                let key = key.and_then(|(folder, name)| ImageKey::from_path(folder, name));
                if let Some(key) = key
                    && let Ok(meta) = file.metadata()
                    && meta.is_file()
                {
                    found.push((
                        meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                        key,
                        meta.len(),
                    ));
                }
            }
        }
        found.sort_unstable_by_key(|(modified, key, _)| (*modified, key.0));
        {
            let table = &mut *self.table.lock();
            let newer = std::mem::take(&mut table.order);
            for (_, key, len) in found {
                let bytes = on_disk(len);
                // What was written meanwhile is in the table already.
                if let std::collections::hash_map::Entry::Vacant(slot) = table.files.entry(key) {
                    slot.insert(CachedFile { bytes, used: false });
                    table.order.push_back(key);
                    table.bytes += bytes;
                }
            }
            table.order.extend(newer);
        }
        while self.make_room(0, SHRINK_STEPS) {}
    }

    /// An image, if it is here and whole.
    pub(super) fn get(&self, key: ImageKey) -> Option<Vec<u8>> {
        let path = self.path(key);
        let Ok(mut file) = File::open(&path) else {
            self.table.lock().forget(key);
            return None;
        };
        let Some(bytes) = read(&mut file) else {
            self.remove(key);
            return None;
        };
        if self.table.lock().touch(key) {
            // For the order after a restart; without it the file is only older than it is.
            let _ = file.set_modified(self.clock.file_time());
        }
        Some(bytes)
    }

    /// Keeps an image. Without room it is not kept.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn put(&self, key: ImageKey, image: &[u8]) -> io::Result<()> {
        let bytes = on_disk((HEADER + image.len()) as u64);
        if bytes > self.limit || (self.free)(&self.root) < self.floor.saturating_add(bytes) {
            return Ok(());
        }
        self.make_room(bytes, STEPS);
        if !self.table.lock().reserve(bytes, self.limit) {
            return Ok(());
        }
        let written = self.write(key, image);
        let mut table = self.table.lock();
        match written {
            Ok(()) => table.insert(key, bytes),
            Err(_) => table.bytes -= bytes,
        }
        written
    }

    /// Shrinks when the disk is about to be full. To be called every few seconds.
    pub(super) fn tend(&self) {
        let missing = self.floor.saturating_sub((self.free)(&self.root));
        let have = self.table.lock().bytes;
        if missing > 0 && have > 0 {
            self.evict(have.saturating_sub(missing), SHRINK_STEPS);
        }
    }

    /// Bytes on disk and the number of files, as far as they are known.
    pub(super) fn size(&self) -> (u64, usize) {
        let table = self.table.lock();
        (table.bytes, table.files.len())
    }

    /// Removes files until there is room for `bytes` more or `steps` are done; whether it should go on.
    fn make_room(&self, bytes: u64, steps: usize) -> bool {
        self.evict(self.limit.saturating_sub(bytes), steps)
    }

    /// Removes files until they take at most `target` bytes or `steps` were removed; whether it should go on.
    fn evict(&self, target: u64, steps: usize) -> bool {
        let mut victims = Vec::new();
        let more = {
            let table = &mut *self.table.lock();
            table.victims(target, steps, &mut victims);
            table.bytes > target && !table.order.is_empty()
        };
        for key in victims {
            // Gone already, or it stays and the next start finds it.
            let _ = fs::remove_file(self.path(key));
        }
        more
    }

    /// Removes every image of an account, also those that the table does not know yet. Those of another that begin like it
    /// go along, and are made again when somebody asks.
    pub(super) fn remove_all_of(&self, owner: Owner) {
        let folder = owner.folder();
        for file in fs::read_dir(self.root.join(&folder)).into_iter().flatten().flatten() {
            let name = file.file_name();
            let key = name.to_str().and_then(|name| ImageKey::from_path(&folder, name));
            if let Some(key) = key.filter(|key| key.is_of(owner)) {
                self.remove(key);
            }
        }
    }

    pub(super) fn remove(&self, key: ImageKey) {
        self.table.lock().forget(key);
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, key: ImageKey) -> PathBuf {
        let (folder, file) = key.path();
        self.root.join(folder).join(file)
    }

    fn write(&self, key: ImageKey, image: &[u8]) -> io::Result<()> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let draft = self.root.join(UNFINISHED).join(number.to_string());
        let path = self.path(key);
        let result = write_file(&draft, image).and_then(|()| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(&draft, &path)
        });
        if result.is_err() {
            let _ = fs::remove_file(&draft);
        }
        result
    }
}

impl CacheTable {
    /// Notes a use; whether it is the first since the file was last considered.
    fn touch(&mut self, key: ImageKey) -> bool {
        self.files.get_mut(&key).is_some_and(|entry| !std::mem::replace(&mut entry.used, true))
    }

    fn forget(&mut self, key: ImageKey) {
        if let Some(entry) = self.files.remove(&key) {
            self.bytes -= entry.bytes;
        }
    }

    /// Counts bytes of a file that is about to be written, unless they are too many.
    fn reserve(&mut self, bytes: u64, limit: u64) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= limit;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// A file whose bytes were reserved.
    fn insert(&mut self, key: ImageKey, bytes: u64) {
        match self.files.insert(key, CachedFile { bytes, used: false }) {
            Some(replaced) => self.bytes -= replaced.bytes,
            None => self.order.push_back(key),
        }
    }

    /// Takes out what is to be removed. Used files get a second chance, as long as steps are left for that.
    fn victims(&mut self, target: u64, steps: usize, out: &mut Vec<ImageKey>) {
        let mut spared = 0;
        while self.bytes > target && out.len() < steps {
            let Some(key) = self.order.pop_front() else { return };
            match self.files.get_mut(&key) {
                Some(entry) if entry.used && spared < steps => {
                    spared += 1;
                    entry.used = false;
                    self.order.push_back(key);
                }
                Some(_) => {
                    self.forget(key);
                    out.push(key);
                }
                None => {}
            }
        }
    }
}

fn on_disk(len: u64) -> u64 {
    len.div_ceil(BLOCK) * BLOCK
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn write_file(path: &Path, image: &[u8]) -> io::Result<()> {
    let mut header = [0; HEADER];
    let len = u32::try_from(image.len()).map_err(io::Error::other)?;
    let fields = MAGIC.into_iter().chain(len.to_le_bytes()).chain(checksum(image).to_le_bytes());
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let mut file = File::create(path)?;
    file.write_all(&header)?;
    file.write_all(image)
}

fn read(file: &mut File) -> Option<Vec<u8>> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return None;
    }
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    let on_disk = file.metadata().ok()?.len();
    if on_disk != HEADER as u64 + u64::from(len) {
        return None;
    }
    let mut image = Vec::with_capacity(len as usize + 1);
    file.read_to_end(&mut image).ok()?;
    (checksum(&image) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: FreeSpace = |_| u64::MAX;

    fn cache(root: &Path, limit: u64) -> DiskCache {
        DiskCache::open(root.to_owned(), limit, 0, PLENTY).unwrap()
    }

    fn files(root: &Path) -> usize {
        let folders = fs::read_dir(root).unwrap().flatten();
        folders.map(|folder| fs::read_dir(folder.path()).unwrap().count()).sum()
    }

    /// One block each.
    fn image(n: u8) -> Vec<u8> {
        vec![n; 1000]
    }

    #[test]
    fn the_least_used_go_first_and_the_limit_holds() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 4 * BLOCK);
        for n in 0..4 {
            cache.put(ImageKey(n), &image(n as u8)).unwrap();
        }
        assert!(cache.get(ImageKey(0)).is_some());
        for n in 4..6 {
            cache.put(ImageKey(n), &image(n as u8)).unwrap();
            assert!(cache.size().0 <= 4 * BLOCK);
        }
        let held: Vec<u128> = (0..6).filter(|n| cache.get(ImageKey(*n)).is_some()).collect();
        assert_eq!(held, [0, 3, 4, 5]);
        assert_eq!((cache.size(), files(dir.path())), ((4 * BLOCK, 4), 4));
        cache.put(ImageKey(9), &vec![0; 5 * BLOCK as usize]).unwrap();
        assert_eq!(cache.get(ImageKey(9)), None);
        // More would have to go for it than in one step: it is not kept.
        let other = tempfile::tempdir().unwrap();
        let small = DiskCache::open(other.path().to_owned(), 100 * BLOCK, 0, PLENTY).unwrap();
        for n in 0..100 {
            small.put(ImageKey(n), &image(1)).unwrap();
        }
        small.put(ImageKey(100), &vec![0; 90 * BLOCK as usize - HEADER]).unwrap();
        assert!(small.get(ImageKey(100)).is_none() && small.size().0 <= 100 * BLOCK);
        // All used: the limit holds nevertheless.
        for n in 10..300 {
            cache.put(ImageKey(n), &image(1)).unwrap();
            cache.get(ImageKey(n)).unwrap();
            assert!(cache.size().0 <= 4 * BLOCK);
        }
        assert_eq!(files(dir.path()), 4);
    }

    #[test]
    fn a_restart_keeps_files_and_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let first = cache(dir.path(), 10 * BLOCK);
        let at = |n| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n);
        for n in 0..5_u8 {
            first.put(ImageKey(n.into()), &image(n)).unwrap();
            let file = File::open(first.path(ImageKey(n.into()))).unwrap();
            file.set_modified(at(100 - u64::from(n))).unwrap();
        }
        fs::write(dir.path().join(UNFINISHED).join("7"), "half").unwrap();
        fs::write(dir.path().join("note.txt"), "mine").unwrap();
        fs::write(dir.path().join("00/note.txt"), "mine").unwrap();
        // Found before the folder has been looked through.
        let again = cache(dir.path(), 3 * BLOCK);
        assert_eq!(again.get(ImageKey(4)), Some(image(4)));
        again.scan();
        // A use shows in the file itself once it is in the table, so it outlives a restart.
        assert!(again.get(ImageKey(2)).is_some());
        assert!(fs::metadata(again.path(ImageKey(2))).unwrap().modified().unwrap() > at(1000));
        assert_eq!(again.size(), (3 * BLOCK, 3));
        let held: Vec<u128> = (0..5).filter(|n| again.get(ImageKey(*n)).is_some()).collect();
        assert_eq!(held, [0, 1, 2]);
        assert!(dir.path().join("note.txt").exists() && dir.path().join("00/note.txt").exists());
        assert!(!dir.path().join(UNFINISHED).join("7").exists());
    }

    #[test]
    fn damaged_files_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 100 * BLOCK);
        let damage: [fn(&mut Vec<u8>); 5] = [
            |bytes| bytes.clear(),
            |bytes| bytes.truncate(500),
            |bytes| bytes.push(0),
            |bytes| bytes[100] ^= 1,
            |bytes| bytes[0] ^= 1,
        ];
        for change in damage {
            cache.put(ImageKey(1), &image(1)).unwrap();
            let path = cache.path(ImageKey(1));
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get(ImageKey(1)), None);
            assert!(!path.exists());
            assert_eq!(cache.size(), (0, 0));
        }
        cache.put(ImageKey(1), &image(1)).unwrap();
        cache.put(ImageKey(1), &image(2)).unwrap();
        assert_eq!((cache.get(ImageKey(1)), cache.size()), (Some(image(2)), (BLOCK, 1)));
        fs::remove_file(cache.path(ImageKey(1))).unwrap();
        assert_eq!((cache.get(ImageKey(1)), cache.size()), (None, (0, 0)));
    }

    #[test]
    fn it_gives_way_to_the_store() {
        static FREE: AtomicU64 = AtomicU64::new(0);
        let dir = tempfile::tempdir().unwrap();
        let free: FreeSpace = |_| FREE.load(Ordering::Relaxed);
        let floor = 100 * BLOCK;
        let cache = DiskCache::open(dir.path().to_owned(), 100 * BLOCK, floor, free).unwrap();
        let put = |n, free| {
            FREE.store(free, Ordering::Relaxed);
            cache.put(ImageKey(n), &image(1)).unwrap();
        };
        put(1, floor);
        assert_eq!(cache.size().1, 0);
        for n in 0..10 {
            put(n, floor + BLOCK);
        }
        cache.tend();
        assert_eq!(cache.size().1, 10);
        FREE.store(floor - 3 * BLOCK, Ordering::Relaxed);
        cache.tend();
        assert_eq!((cache.size().1, files(dir.path())), (7, 7));
        FREE.store(0, Ordering::Relaxed);
        cache.tend();
        assert_eq!(files(dir.path()), 0);
    }
}
