//! Room on disk: how much the store has to have free to end what it began, and what the writer does with less.
//!
//! The engine does not survive a full disk: a failed write of a journal or of a table poisons it until the process
//! ends. So the writer looks before each batch, and below the floor writes nothing. Who waits for an answer is told so;
//! other changes wait, in their order, until there is room again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::Store;

/// What the journals grow by until what they hold is in tables.
const JOURNAL: u64 = 64 << 20;
/// One compaction at a time rewrites tables of 64 MB and those that overlap; this much at most, about.
const COMPACTION: u64 = 512 << 20;

/// A file system as an unprivileged process sees it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What may still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The file system that `path` is on.
pub fn disk_space(path: &Path) -> std::io::Result<DiskSpace> {
    let fs = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        free: fs.f_bavail.saturating_mul(fs.f_frsize),
        total: fs.f_blocks.saturating_mul(fs.f_frsize),
    })
}

/// Free bytes where `path` is; plenty if nobody can say.
#[must_use]
pub fn free_space(path: &Path) -> u64 {
    disk_space(path).map_or(u64::MAX, |space| space.free)
}

impl Store {
    /// Free bytes that it takes to bring what is in memory and in journals into tables and to compact these.
    #[must_use]
    pub fn headroom(&self) -> u64 {
        let largest = self.0.keyspaces.iter().map(fjall::Keyspace::disk_space).max().unwrap_or(0);
        // What is buffered, and as much of it again while it is merged.
        2 * self.0.max_buffered + JOURNAL + largest.min(COMPACTION)
    }
}

/// The writer's eye on the disk.
pub struct Room {
    free: Box<dyn Fn() -> u64 + Send + Sync>,
    floor: AtomicU64,
    short: AtomicBool,
    stops: AtomicU64,
}

impl Room {
    pub(super) fn new(free: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            free: Box::new(free),
            floor: AtomicU64::new(0),
            short: AtomicBool::new(false),
            stops: AtomicU64::new(0),
        }
    }

    /// Nothing is written while fewer bytes are free. At first it is 0: commands that own the store have nobody who
    /// waits for better times.
    pub fn set_floor(&self, bytes: u64) {
        self.floor.store(bytes, Ordering::Relaxed);
    }

    /// Whether writing stands still.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire)
    }

    /// How often writing stood still since the start.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }

    /// Whether there is too little; a little more is asked for once there was.
    pub(super) fn lacks(&self) -> bool {
        let floor = self.floor.load(Ordering::Relaxed);
        let wanted = if self.is_short() { floor.saturating_add(floor / 16) } else { floor };
        floor > 0 && (self.free)() < wanted
    }

    pub(super) fn shut(&self) {
        self.stops.fetch_add(1, Ordering::Relaxed);
        self.short.store(true, Ordering::Release);
    }

    pub(super) fn open(&self) {
        self.short.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_running_process_has_a_disk() {
        let space = disk_space(Path::new("/")).unwrap();
        assert!(space.free > 0 && space.free <= space.total, "{space:?}");
        assert!(disk_space(Path::new("/no/such/place")).is_err());
        assert_eq!(free_space(Path::new("/no/such/place")), u64::MAX);
    }
}
