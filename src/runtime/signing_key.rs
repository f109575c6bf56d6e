//! The server's own key: made at the first start, kept in a file that only its owner can read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::crypto::PrivateKey;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read or made.
    #[error("signing key {0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// The file holds something else.
    #[error(
        "signing key {0}: not the hex of a secp256k1 private key; put the right file there, or remove it to have a new key made"
    )]
    Malformed(PathBuf),
}

/// Reads the key, or makes one where there is no file.
pub(super) fn load_or_make(path: &Path) -> Result<PrivateKey, SigningKeyError> {
    let failed = |e| SigningKeyError::File(path.to_owned(), e);
    match std::fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_hex(text.trim())
            .map_err(|_| SigningKeyError::Malformed(path.to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let key = PrivateKey::generate();
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).map_err(failed)?;
            }
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            writeln!(file, "{}", key.to_hex()).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            Ok(key)
        }
        Err(e) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_make(&path).unwrap().to_hex(), made.to_hex());
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(load_or_make(&path), Err(SigningKeyError::Malformed(_))));
    }
}
