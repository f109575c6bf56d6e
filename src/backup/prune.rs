//! Takes old backups away, and the objects that no backup names.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::BackupError;
use super::id::{Id, Kind};
use super::manifest::Manifest;
use super::repository::Repository;

/// What stays of each kind: the newest so many, and all that are younger. The last good one of a kind always stays.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// So many.
    pub count: usize,
    /// Milliseconds.
    pub age: i64,
}

/// What was taken away.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Backups.
    pub removed: Vec<Id>,
    /// Backups that are left.
    pub left: usize,
    /// Objects.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Why objects stay that no backup names, if they do.
    pub waits: Option<String>,
}

/// A backup, when it was made, and whether all that it names is there.
struct Seen {
    id: Id,
    manifest: Option<Manifest>,
}

impl Repository {
    /// Takes away what is not kept; with `dry`, only says what that would be.
    ///
    /// # Errors
    /// The place cannot be listed, read or written. What was taken away until then is gone.
    pub fn prune(&self, keep: Keep, now: i64, dry: bool) -> Result<Pruned, BackupError> {
        let objects = self.objects()?;
        let mut seen = Vec::new();
        for id in self.ids()? {
            let manifest = match self.manifest(&id) {
                Ok(manifest) => Some(manifest),
                Err(BackupError::Damaged { .. }) => None,
                // Perhaps it is good, and only cannot be read now, or by this version.
                Err(error) => return Err(error),
            };
            seen.push(Seen { id, manifest });
        }
        let goes: HashSet<Id> =
            Kind::ALL.iter().flat_map(|kind| surplus(&seen, *kind, &objects, keep, now)).collect();
        let mut out = Pruned { left: seen.len() - goes.len(), ..Pruned::default() };
        for id in &goes {
            if !dry {
                let key = id.key();
                self.place.remove(&key).map_err(self.failed(&key))?;
            }
        }
        out.removed = goes.iter().cloned().collect();
        out.removed.sort_unstable();
        if self.is_busy(now)? {
            out.waits = Some(
                "a backup is under way: what no backup names goes with the next prune".to_owned(),
            );
            return Ok(out);
        }
        let left = seen.iter().filter(|seen| !goes.contains(&seen.id));
        let named: HashSet<String> = left
            .filter_map(|seen| seen.manifest.as_ref())
            .flat_map(|manifest| manifest.files.iter().map(|f| manifest.head.object(&f.sha256)))
            .collect();
        for (key, len) in objects.iter().filter(|(key, _)| !named.contains(*key)) {
            if !dry {
                self.place.remove(key).map_err(self.failed(key))?;
            }
            out.objects += 1;
            out.bytes += len;
        }
        if !dry {
            self.place.tidy().map_err(self.failed("clear away"))?;
        }
        Ok(out)
    }
}

/// Backups of a kind that go.
fn surplus(
    seen: &[Seen],
    kind: Kind,
    objects: &HashMap<String, u64>,
    keep: Keep,
    now: i64,
) -> Vec<Id> {
    let is_there = |manifest: &Manifest| {
        manifest
            .files
            .iter()
            .all(|file| objects.get(&manifest.head.object(&file.sha256)) == Some(&file.stored))
    };
    let (mut good, mut goes) = (0, Vec::new());
    for seen in seen.iter().rev().filter(|seen| seen.id.kind() == kind) {
        let manifest = seen.manifest.as_ref().filter(|manifest| is_there(manifest));
        let stays = match manifest {
            Some(manifest) => {
                good += 1;
                good <= keep.count.max(1) || now - manifest.head.made < keep.age
            }
            // What cannot be put back is kept only until there is a better one.
            None => good == 0,
        };
        if !stays {
            goes.push(seen.id.clone());
        }
    }
    goes
}
