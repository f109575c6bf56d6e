//! The folder that a store is in.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Whether there is a store in it.
pub(super) fn is_there(store: &Path) -> bool {
    store.join("db").is_dir()
}

/// Makes the folder if it is not there, and sees to it that only its owner gets in.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mut permissions = std::fs::metadata(path)?.permissions();
    let mode = permissions.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    permissions.set_mode(mode & !0o077);
    match std::fs::set_permissions(path, permissions) {
        Ok(()) => {
            let folder = path.display();
            tracing::warn!(
                "{folder} was open to others (mode {mode:o}): it is its owner's only from now on"
            );
            Ok(())
        }
        // Of somebody else, who let us in: that is his to decide.
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            let folder = path.display();
            tracing::warn!(
                "{folder} is open to others (mode {mode:o}), and that cannot be changed: {e}"
            );
            Ok(())
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::Store;

    #[test]
    fn the_folder_is_its_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = dir.path().join("a/b");
        drop(Store::open(&new, 64 << 20).unwrap());
        assert_eq!(mode(&new), 0o700);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        drop(Store::open(&new, 64 << 20).unwrap());
        assert_eq!(mode(&new), 0o700);
    }
}
