//! The disk of the store: how much room there is, whether that fits the scope, and how fast it is.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::appetite::{appetite, unfit};
use super::{Finding, Patient, gb};
use crate::config::Config;
use crate::store::{DiskSpace, Store, disk_space};

/// What is written to see how fast a disk is, at most, and for how long.
const WRITTEN: usize = 64 << 20;
const BLOCK: usize = 1 << 20;
const FOR: Duration = Duration::from_secs(3);
/// Times that a block of a page is written through.
const SYNCS: usize = 32;
/// With less, a busy hour of the network is not written in an hour.
const SLOW_WRITE: f64 = 20e6;
/// Each commit that somebody waits for is written through; with more, answers that save something are slow.
const SLOW_SYNC: Duration = Duration::from_millis(50);
/// File systems on which a lock or an fsync may not mean what the store needs, by their numbers in statfs(2).
const REMOTE: [(i64, &str); 5] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
];

/// The store's folder, or the nearest above it that is there.
#[must_use]
pub fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|folder| folder.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

/// What the server says that the store uses; what its folder holds, if it does not run.
fn used(patient: &Patient) -> u64 {
    let said = patient.status().and_then(|status| status.get("disk")?.get("used")?.as_u64());
    said.unwrap_or_else(|| in_folder(&patient.config.store.path, 6))
}

/// Bytes of the files below a folder.
fn in_folder(folder: &Path, depth: usize) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(of) if of.is_dir() && depth > 0 => in_folder(&entry.path(), depth - 1),
        Ok(of) if of.is_file() => of.len(),
        _ => 0,
    });
    sizes.sum()
}

pub(super) fn space(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let folder = nearest(&patient.config.store.path);
    let found = match (disk_space(&folder), patient.status()) {
        (Err(cause), _) => {
            Finding::failed(format!("{}: {cause}", folder.display()), "mount the disk of the store")
        }
        (Ok(disk), Some(status)) => running(disk, status.get("disk").unwrap_or(&Value::Null)),
        (Ok(disk), None) => stopped(disk, patient.config.store.reserve),
    };
    Box::pin(std::future::ready(vec![found]))
}

fn running(disk: DiskSpace, status: &Value) -> Finding {
    let text = |key| status.get(key).and_then(Value::as_str).unwrap_or_default();
    let says = format!("{} free of {}", gb(disk.free), gb(disk.total));
    match text("step") {
        "normal" | "" => Finding::ok(says),
        "warn" => Finding::warning(format!("{says}: {}", text("advice")), MAKE_ROOM),
        step => Finding::failed(format!("{says}, {step}: {}", text("advice")), MAKE_ROOM),
    }
}

const MAKE_ROOM: &str =
    "free space, or keep less: `aerie scope plan --mode window` says what that frees";

fn stopped(disk: DiskSpace, reserve: u64) -> Finding {
    let says = format!("{} free of {}", gb(disk.free), gb(disk.total));
    if disk.free < reserve {
        let says =
            format!("{says}, less than store.reserve ({}): nothing is taken in", gb(reserve));
        return Finding::failed(says, MAKE_ROOM);
    }
    if disk.free < 2 * reserve {
        let says =
            format!("{says}, less than twice store.reserve ({}): backfill waits", gb(reserve));
        return Finding::warning(says, MAKE_ROOM);
    }
    Finding::ok(says)
}

pub(super) fn scope(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move { vec![scope_on_disk(&patient.config, used(patient))] })
}

/// Whether what the scope keeps fits the disk of a configuration whose server is not asked, in a sentence.
#[must_use]
pub fn fits(config: &Config) -> String {
    let Finding { says, fix, .. } = scope_on_disk(config, in_folder(&config.store.path, 6));
    match fix {
        Some(fix) => format!("scope: {says}: {fix}"),
        None => format!("scope: {says}"),
    }
}

fn scope_on_disk(config: &Config, used: u64) -> Finding {
    let Ok(disk) = disk_space(&nearest(&config.store.path)) else {
        return Finding::skipped("the disk cannot be looked at");
    };
    let mode = config.scope.mode.name();
    match (unfit(config, disk, used), appetite(config, disk, used)) {
        (Some((says, fix)), Some(expected)) => {
            Finding::warning(format!("{says}: {mode}, {expected}"), fix)
        }
        (_, Some(expected)) => Finding::ok(format!("{mode}: {expected}")),
        (_, None) => {
            Finding::ok(format!("{mode}: what it takes grows with members and whom they follow"))
        }
    }
}

pub(super) fn speed(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let store = &patient.config.store.path;
    // Into the store's own folder only if there is one: nothing is made where a new store would be.
    let folder = if Store::exists(store) { store.clone() } else { nearest(store) };
    let reserve = patient.config.store.reserve;
    Box::pin(async move {
        let shown = folder.display().to_string();
        let measured = tokio::task::spawn_blocking(move || measure(&folder, reserve)).await;
        let mut found = Vec::new();
        match measured {
            Ok(Ok(Some(speed))) => found.push(speed.judge()),
            Ok(Ok(None)) => found.push(Finding::skipped("too little is free to try")),
            Ok(Err(cause)) => found.push(Finding::skipped(format!(
                "{shown}: {cause}; run this as the server's user to see how fast its disk is"
            ))),
            Err(cause) => found.push(Finding::skipped(cause.to_string())),
        }
        found
    })
}

struct Speed {
    bytes_per_second: f64,
    /// The median.
    sync: Duration,
    remote: Option<&'static str>,
}

impl Speed {
    fn judge(&self) -> Finding {
        let says = format!(
            "{:.0} MB/s written, {:.1} ms to write through",
            self.bytes_per_second / 1e6,
            self.sync.as_secs_f64() * 1e3
        );
        if let Some(name) = self.remote {
            return Finding::warning(
                format!(
                    "{says}; the store is on {name}, where a file may be lost that was written"
                ),
                "put store.path on a disk of this machine",
            );
        }
        if self.bytes_per_second < SLOW_WRITE || self.sync > SLOW_SYNC {
            return Finding::warning(
                format!("{says}: slow for a store that follows the network"),
                "put store.path on an SSD of this machine, or keep less (`scope.mode`)",
            );
        }
        Finding::ok(says)
    }
}

/// Writes a file without a name, which is gone with its descriptor.
fn measure(folder: &Path, reserve: u64) -> std::io::Result<Option<Speed>> {
    let free = disk_space(folder)?.free;
    if free < reserve.saturating_add(4 * WRITTEN as u64) {
        return Ok(None);
    }
    let mut file = tempfile_in(folder)?;
    // What repeats may be packed by the file system.
    let mut block = vec![0_u8; BLOCK];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut block);
    let began = Instant::now();
    let mut written = 0;
    while written < WRITTEN && began.elapsed() < FOR {
        file.write_all(&block)?;
        written += BLOCK;
    }
    file.sync_data()?;
    let bytes_per_second = written as f64 / began.elapsed().as_secs_f64().max(1e-6);
    let page = block.get(..4096).unwrap_or(&block);
    let (began, mut syncs) = (Instant::now(), Vec::with_capacity(SYNCS));
    file.seek(SeekFrom::Start(0))?;
    while syncs.len() < SYNCS && began.elapsed() < FOR {
        let one = Instant::now();
        file.write_all(page)?;
        file.sync_data()?;
        syncs.push(one.elapsed());
    }
    syncs.sort_unstable();
    let sync = syncs.get(syncs.len() / 2).copied().unwrap_or(FOR);
    Ok(Some(Speed { bytes_per_second, sync, remote: remote(folder)? }))
}

fn tempfile_in(folder: &Path) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::from_raw_mode(0o600))?.into())
}

fn remote(folder: &Path) -> std::io::Result<Option<&'static str>> {
    let kind = rustix::fs::statfs(folder)?.f_type;
    Ok(REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_slow_or_foreign_disk_is_named_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let speed = measure(dir.path(), 0).unwrap().unwrap();
        assert!(speed.bytes_per_second > 0.0 && speed.remote.is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(measure(dir.path(), u64::MAX).unwrap().is_none(), "nothing is free");
        let of = |mb: f64, ms, remote| {
            let (bytes_per_second, sync) = (mb * 1e6, Duration::from_millis(ms));
            Speed { bytes_per_second, sync, remote }.judge().state
        };
        assert_eq!(of(500.0, 2, None), State::Ok);
        assert_eq!(of(500.0, 80, None), State::Warning);
        assert_eq!(of(5.0, 2, None), State::Warning);
        assert_eq!(of(500.0, 2, Some("NFS")), State::Warning);
    }

    #[test]
    fn space_is_judged_by_the_ladder_or_by_the_reserve() {
        let disk = |free| DiskSpace { free, total: 100_000 };
        assert_eq!(stopped(disk(999), 1000).state, State::Failed);
        assert_eq!(stopped(disk(1999), 1000).state, State::Warning);
        assert_eq!(stopped(disk(2000), 1000).state, State::Ok);
        let step = |step: &str| {
            running(disk(5), &serde_json::json!({"step": step, "advice": "make room"})).state
        };
        assert_eq!(
            [step("normal"), step("warn"), step("prune")],
            [State::Ok, State::Warning, State::Failed]
        );
    }

    #[test]
    fn what_is_not_there_yet_is_judged_by_what_is_above_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("a/b/c")), dir.path());
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/file"), [0; 100]).unwrap();
        assert_eq!(in_folder(dir.path(), 2), 100);
        assert_eq!(in_folder(dir.path(), 0), 0);
    }
}
