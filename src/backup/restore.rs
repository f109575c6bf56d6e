//! Puts a backup back: beside where it goes, opened there to see that it is a store, and then moved into its place.
//!
//! It is made in a folder within the one that it goes to, since that may be a disk of its own. What says that there is a
//! store, its folder `db`, comes last, in one step.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::BackupError;
use super::create::{PRIVATE, Progress};
use super::id::{Id, Kind};
use super::manifest::{Entry, Manifest};
use super::repository::Repository;
use crate::store::{FORMAT, Store, free_space};

/// Where it is made.
const PART: &str = "restore.part";
/// What may be in the folder already: keys that the operator put there, what is no part of a store, and what a restore
/// left that was killed.
const HARMLESS: &[&str] =
    &[PART, "signing_key", "vapid_key.pem", "lost+found", "exports", "format"];
/// Free bytes that are left: the store opens, and writes.
const SPARE: u64 = 128 << 20;

/// Puts a whole backup into a folder without a store. `open` opens it where it is made; `keys` says where a key of the
/// server goes, and none goes where one is already. Gives what it was and what `open` gave.
///
/// # Errors
/// See [`BackupError`]: there is no store in the folder then, and what was made of it goes with the next attempt.
pub fn restore_whole<T>(
    from: &Repository,
    id: &Id,
    to: &Path,
    keys: &dyn Fn(&str) -> Option<PathBuf>,
    open: &mut dyn FnMut(&Path) -> Result<T, BackupError>,
    progress: &Progress,
) -> Result<(Manifest, T), BackupError> {
    let failed = |e| BackupError::File(to.to_owned(), e);
    let manifest = readable(from, id, Kind::Whole)?;
    folder(to).map_err(failed)?;
    refuse_full(to)?;
    let part = to.join(PART);
    folder(&part).map_err(failed)?;
    let lock = part.join("lock");
    let lock = File::options().write(true).create(true).truncate(true).mode(0o600).open(&lock);
    let lock = lock.map_err(failed)?;
    lock.try_lock().map_err(|_| BackupError::Busy(to.to_owned()))?;
    let new = part.join("new");
    clear(&new).map_err(failed)?;
    let need = manifest.bytes().saturating_add(SPARE);
    let free = free_space(to);
    if free < need {
        return Err(BackupError::NoRoom { folder: to.to_owned(), need, free });
    }
    progress.of.store(manifest.bytes(), Ordering::Relaxed);
    for entry in &manifest.files {
        let path = place_of(&entry.path).ok_or_else(|| BackupError::Damaged {
            id: id.clone(),
            what: format!("it has a file where none of a store is: {:?}", entry.path),
        })?;
        write(from, id, &manifest, entry, &new.join(path), progress)?;
    }
    sync_folders(&new).map_err(failed)?;
    let opened = open(&new)?;
    put_keys(&new.join("keys"), keys).map_err(failed)?;
    // Nobody may have begun another one meanwhile.
    refuse_full(to)?;
    let _ = fs::remove_file(to.join("format"));
    fs::rename(new.join("format"), to.join("format")).map_err(failed)?;
    fs::rename(new.join("db"), to.join("db")).map_err(failed)?;
    sync(to).map_err(failed)?;
    drop(lock);
    clear(&part).map_err(failed)?;
    Ok((manifest, opened))
}

/// Writes the export of a backup of private state into a file.
///
/// # Errors
/// See [`BackupError`]; what is in the file then is not whole.
pub fn restore_private(
    from: &Repository,
    id: &Id,
    to: &Path,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let manifest = readable(from, id, Kind::Private)?;
    progress.of.store(manifest.bytes(), Ordering::Relaxed);
    let entry = manifest.files.iter().find(|entry| entry.path == PRIVATE);
    let entry = entry.ok_or_else(|| BackupError::Damaged {
        id: id.clone(),
        what: "it has no export".to_owned(),
    })?;
    write(from, id, &manifest, entry, to, progress)?;
    Ok(manifest)
}

fn readable(from: &Repository, id: &Id, kind: Kind) -> Result<Manifest, BackupError> {
    let manifest = from.manifest(id)?;
    let head = &manifest.head;
    if head.of != kind {
        return Err(BackupError::Unknown {
            place: from.name(),
            wanted: format!("{id} of kind {}", kind.name()),
        });
    }
    if head.of == Kind::Whole && head.format > FORMAT {
        let (id, found, by) = (id.clone(), head.format, head.aerie.clone());
        return Err(BackupError::Newer { id, found, by, reads: FORMAT });
    }
    if head.encrypted.is_some() && from.identities.is_none() {
        return Err(BackupError::Encrypted(id.clone()));
    }
    Ok(manifest)
}

/// Refuses a folder that has a store, or anything of one.
fn refuse_full(to: &Path) -> Result<(), BackupError> {
    let failed = |e| BackupError::File(to.to_owned(), e);
    for entry in fs::read_dir(to).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            return Err(BackupError::NotEmpty(to.to_owned(), name.display().to_string()));
        }
    }
    match Store::exists(to) {
        true => Err(BackupError::NotEmpty(to.to_owned(), "db".to_owned())),
        false => Ok(()),
    }
}

/// Where a file of a backup goes, if it may go there: who writes a manifest does not choose any path.
fn place_of(path: &str) -> Option<&Path> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = path.split('/').collect();
    let known = match parts.as_slice() {
        ["format"] | ["db", "version" | "lock"] => true,
        ["keys", name] => ["signing_key", "vapid_key.pem"].contains(name),
        ["db", name] => name.strip_suffix(".jnl").is_some_and(number),
        ["db", "keyspaces", keyspace, "tables", table] => number(keyspace) && number(table),
        ["db", "keyspaces", keyspace, name] => {
            number(keyspace) && (*name == "current" || name.strip_prefix('v').is_some_and(number))
        }
        _ => false,
    };
    known.then(|| Path::new(path))
}

fn write(
    from: &Repository,
    id: &Id,
    manifest: &Manifest,
    entry: &Entry,
    to: &Path,
    progress: &Progress,
) -> Result<(), BackupError> {
    let failed = |e| BackupError::File(to.to_owned(), e);
    if let Some(parent) = to.parent() {
        folder(parent).map_err(failed)?;
    }
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut file = file.map_err(failed)?;
    let fetched = from.fetch(id, &manifest.head, entry, &mut file, progress);
    fetched.map_err(|error| match error {
        BackupError::File(_, cause) => failed(cause),
        error => error,
    })?;
    file.flush().and_then(|()| file.sync_all()).map_err(failed)
}

/// Puts keys where there are none.
fn put_keys(from: &Path, to: &dyn Fn(&str) -> Option<PathBuf>) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let Some(to) = entry.file_name().to_str().and_then(to).filter(|to| !to.exists()) else {
            continue;
        };
        let bytes = fs::read(entry.path())?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&to)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync(folder)
}
