//! A file that outlives the store: it says that there was one.
//!
//! A folder that is gone, since what it is mounted on is not there, looks like one that was never made. A server that
//! began anew in it would have another signing key, no private state and an empty index, and everything would seem to
//! work. So the first start leaves a mark where the store is not: in the folders that it is given, as far as they can be
//! written to. Where a mark is and no store, nothing is made.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::folder::is_there;
use crate::store::StoreError;

/// The marks of one store.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    store: PathBuf,
    files: Vec<PathBuf>,
}

impl Mark {
    /// Of the store in this folder: beside it, and in these folders.
    #[must_use]
    pub fn new(store: &Path, folders: &[PathBuf]) -> Self {
        let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
        let hash = xxhash_rust::xxh3::xxh3_64(store.as_os_str().as_encoded_bytes());
        let name = format!(".aerie-store-{hash:016x}");
        let beside = store.parent().map(Path::to_owned);
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in beside.iter().chain(folders) {
            let file = folder.join(&name);
            // One inside of the store would go with it.
            if !file.starts_with(&store) && !files.contains(&file) {
                files.push(file);
            }
        }
        Self { store, files }
    }

    /// Whether there is a store, or never was one.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub fn check(&self) -> Result<(), StoreError> {
        let mark = self.files.iter().find(|file| file.exists());
        match mark {
            Some(mark) if !is_there(&self.store) => {
                Err(StoreError::Gone { store: self.store.clone(), mark: mark.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Leaves the marks. Where none can be left there is one less.
    pub fn leave(&self) {
        let text = format!(
            "aerie has a store in {}.\nWithout it, it does not begin anew by itself: see `aerie serve --new-store`.\n",
            self.store.display()
        );
        for file in self.files.iter().filter(|file| !file.exists()) {
            let made =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            if let Err(error) = made.and_then(|mut file| file.write_all(text.as_bytes())) {
                tracing::debug!(file = %file.display(), %error, "no mark of the store is left there");
            }
        }
    }

    /// Takes the marks away: whoever opens the store next may make it.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn forget(&self) -> Result<(), StoreError> {
        for file in &self.files {
            match std::fs::remove_file(file) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Folder(file.clone(), e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::Store;

    #[test]
    fn what_was_there_once_is_not_made_again_unless_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (data, aside) = (dir.path().join("disk/data"), dir.path().join("etc"));
        fs::create_dir(&aside).unwrap();
        let mark = Mark::new(&data, &[aside.clone(), dir.path().join("nowhere")]);
        assert!(mark.check().is_ok(), "there never was one");
        drop(Store::open(&data, 64 << 20).unwrap());
        mark.leave();
        assert!(mark.check().is_ok());
        for gone in [data.clone(), dir.path().join("disk")] {
            fs::remove_dir_all(gone).unwrap();
            let error = mark.check().unwrap_err();
            let words = error.to_string();
            assert!(words.contains("--new-store") && words.contains("mount"), "{words}");
        }
        // An empty folder is what a lost mount leaves.
        fs::create_dir_all(&data).unwrap();
        assert!(mark.check().is_err());
        assert!(Mark::new(&dir.path().join("other"), &[aside]).check().is_ok());
        mark.forget().unwrap();
        mark.forget().unwrap();
        assert!(mark.check().is_ok());
    }
}
