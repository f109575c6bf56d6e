//! A folder as a place.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::place::{Found, Place};

/// What is being written, before it has its name.
const PARTS: &str = "tmp";
/// Folders below each other at most.
const DEEP: u32 = 4;

/// Files below a folder, for their owner only.
pub(super) struct Folder {
    root: PathBuf,
    parts: AtomicU64,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, parts: AtomicU64::new(0) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

impl Place for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, key: &str, body: &mut (dyn Read + Send)) -> io::Result<u64> {
        make(&self.root.join(PARTS))?;
        let n = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = self.root.join(PARTS).join(format!("{}-{n}", std::process::id()));
        let to = self.path(key);
        let parent = to.parent().unwrap_or(&self.root);
        make(parent)?;
        let written = write(&part, body).and_then(|len| fs::rename(&part, &to).map(|()| len));
        let len = written.inspect_err(|_| drop(fs::remove_file(&part)))?;
        File::open(parent)?.sync_all()?;
        Ok(len)
    }

    fn get(&self, key: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.path(key))?))
    }

    fn list(&self, under: &str) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        walk(&self.path(under), under, DEEP, &mut found)?;
        Ok(found)
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn tidy(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(PARTS)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Makes a folder, and says to the disk that it is there.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn write(part: &Path, body: &mut dyn Read) -> io::Result<u64> {
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(part)?;
    let len = io::copy(body, &mut file)?;
    file.flush()?;
    file.sync_all()?;
    Ok(len)
}

fn walk(folder: &Path, name: &str, deep: u32, found: &mut Vec<Found>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(own) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let key = format!("{name}/{own}");
        let metadata = match entry.metadata() {
            // Gone meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() && deep > 0 {
            walk(&entry.path(), &key, deep - 1, found)?;
        } else if metadata.is_file() {
            found.push(Found { key, len: metadata.len() });
        }
    }
    Ok(())
}
