//! Reads what backups have, and believes nothing of it before its hash fits.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::create::Progress;
use super::crypt::opened;
use super::id::Id;
use super::manifest::{Entry, Head, hex};
use super::repository::Repository;

const PIECE: usize = 256 << 10;

/// What a look at a backup found.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Which.
    pub id: Id,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether every byte was read; of one that is encrypted, without an identity, only lengths are looked at.
    pub contents: bool,
    /// What is the matter with it, if anything is.
    pub damaged: Vec<String>,
}

/// Names of what is damaged that are listed.
const NAMED: usize = 20;

impl Repository {
    /// Reads all that a backup has.
    ///
    /// # Errors
    /// The place cannot be read, or the manifest is not whole; what else is damaged is in the answer.
    pub fn verify(&self, id: &Id, progress: &Progress) -> Result<Verified, BackupError> {
        let manifest = self.manifest(id)?;
        let contents = manifest.head.encrypted.is_none() || self.identities.is_some();
        let (files, bytes) = (manifest.files.len(), manifest.bytes());
        progress.of.store(bytes, Ordering::Relaxed);
        let mut out = Verified { id: id.clone(), files, bytes, contents, damaged: Vec::new() };
        let objects = self.objects()?;
        let mut seen = HashSet::new();
        for entry in &manifest.files {
            progress.go_on()?;
            let object = manifest.head.object(&entry.sha256);
            let what = match objects.get(&object) {
                None => Some(format!("{object} is missing")),
                Some(len) if *len != entry.stored => {
                    Some(format!("{object} has {len} bytes instead of {}", entry.stored))
                }
                Some(_) if !contents || !seen.insert(&entry.sha256) => None,
                Some(_) => match self.fetch(id, &manifest.head, entry, &mut io::sink(), progress) {
                    Ok(()) => None,
                    Err(BackupError::Damaged { what, .. }) => Some(what),
                    Err(error) => return Err(error),
                },
            };
            out.damaged.extend(what.filter(|_| out.damaged.len() < NAMED));
        }
        Ok(out)
    }

    /// Gives a file of a backup to `out`. What it gave is only good if it ends well.
    pub(super) fn fetch(
        &self,
        id: &Id,
        head: &Head,
        entry: &Entry,
        out: &mut dyn Write,
        progress: &Progress,
    ) -> Result<(), BackupError> {
        let key = head.object(&entry.sha256);
        let damaged = |what: String| BackupError::Damaged { id: id.clone(), what };
        let object = match self.place.get(&key) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!("{key} is missing")));
            }
            object => object.map_err(self.failed(&key))?,
        };
        let mut bytes = opened(self.identities.as_ref(), id, head, object)?;
        let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
        loop {
            progress.go_on()?;
            let read = match bytes.read(&mut piece) {
                Ok(read) => read,
                // What age says of a piece that was changed or cut off.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    return Err(damaged(format!("{key} is cut short or was changed")));
                }
                Err(e) => return Err(self.failed(&key)(e)),
            };
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
            size += read as u64;
            if size > entry.size {
                break;
            }
            hash.update(piece);
            out.write_all(piece).map_err(|e| BackupError::File(PathBuf::from(&entry.path), e))?;
            progress.done.fetch_add(read as u64, Ordering::Relaxed);
        }
        if size != entry.size || hex(&hash.finalize()) != entry.sha256 {
            let size_is = if size > entry.size { "more".to_owned() } else { size.to_string() };
            return Err(damaged(format!(
                "{key} is not what was put there ({size_is} of {} bytes)",
                entry.size
            )));
        }
        Ok(())
    }
}
