//! The folders of generations: one is served, and the newest may be one that is being made.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::IndexError;

/// Says which generation is served.
const SERVED: &str = "served";

/// The folder that has them.
pub(super) struct Generations(PathBuf);

impl Generations {
    /// Those in a folder.
    #[must_use]
    pub(super) fn new(home: &Path) -> Self {
        Self(home.to_owned())
    }

    /// The folder of a generation.
    #[must_use]
    pub(super) fn folder(&self, number: u64) -> PathBuf {
        self.0.join(number.to_string())
    }

    /// Which is served, if one is.
    pub(super) fn served(&self) -> Result<Option<u64>, IndexError> {
        let file = self.0.join(SERVED);
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let number = text.trim().parse().ok();
                Ok(number.filter(|number| self.folder(*number).is_dir()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IndexError::io(&file)(error)),
        }
    }

    /// From now on this one is served.
    pub(super) fn serve(&self, number: u64) -> Result<(), IndexError> {
        let (file, part) = (self.0.join(SERVED), self.0.join("served.part"));
        let write = || {
            let mut out = std::fs::File::create(&part)?;
            out.write_all(number.to_string().as_bytes())?;
            out.sync_all()?;
            std::fs::rename(&part, &file)?;
            std::fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(IndexError::io(&file))
    }

    /// The newest that is there.
    pub(super) fn newest(&self) -> Result<Option<u64>, IndexError> {
        Ok(self.all()?.into_iter().max())
    }

    fn all(&self) -> Result<Vec<u64>, IndexError> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(IndexError::io(&self.0)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(IndexError::io(&self.0))?;
            found.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(found)
    }

    /// A generation goes.
    pub(super) fn remove(&self, number: u64) -> Result<(), IndexError> {
        let folder = self.folder(number);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(IndexError::io(&folder)(error))
            }
            _ => Ok(()),
        }
    }

    /// All but this one go.
    pub(super) fn remove_but(&self, number: u64) -> Result<(), IndexError> {
        self.all()?.into_iter().filter(|other| *other != number).try_for_each(|n| self.remove(n))
    }
}
