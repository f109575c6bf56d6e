//! The file that says which format a store has, beside the engine's folder: it is read before anything else is.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::damages::{Damage, Damages};
use crate::store::StoreError;

/// Its name.
pub(super) const FILE: &str = "format";

/// What it says, if there is one.
pub(super) fn file_format(path: &Path) -> Result<Option<u32>, StoreError> {
    let file = path.join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse() {
            Ok(format) => Ok(Some(format)),
            Err(_) => Err(nonsense(path)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(nonsense(path)),
        Err(error) => Err(StoreError::Folder(file, error)),
    }
}

fn nonsense(path: &Path) -> StoreError {
    let found = Damages(vec![format_file(path)]);
    let cause = "the row that says the same is enough".to_owned();
    StoreError::Damaged { path: path.to_owned(), found, cause }
}

fn format_file(path: &Path) -> Damage {
    Damage { file: path.join(FILE), what: "it is no number of a format".to_owned() }
}

/// The file of the format, if it says nothing.
pub(super) fn damaged_file(path: &Path) -> Option<Damage> {
    matches!(file_format(path), Err(StoreError::Damaged { .. })).then(|| format_file(path))
}

/// Under another name first, so that a crash leaves the old one or the new one.
pub(super) fn set_file_format(path: &Path, format: u32) -> std::io::Result<()> {
    let part = path.join(format!("{FILE}.part"));
    let mut file = File::create(&part)?;
    writeln!(file, "{format}")?;
    file.sync_all()?;
    std::fs::rename(&part, path.join(FILE))?;
    File::open(path)?.sync_all()
}
