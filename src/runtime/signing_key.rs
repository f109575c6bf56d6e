//! The server's own keys: made at the first start, kept in files that only their owner can read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::crypto::PrivateKey;
use crate::push::vapid::{NotAKey, VapidKey};

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
    /// The file of the key for web push holds something else.
    #[error(
        "push.vapid_key_file {0}: {1}; put the right file there, or remove it to have a new key made"
    )]
    Vapid(PathBuf, #[source] NotAKey),
}

/// Makes the keys that a server of this configuration has, where they are not there.
///
/// # Errors
/// As at the start of the server.
pub fn make_keys(config: &Config) -> Result<(), SigningKeyError> {
    load_or_make(&config.server.signing_key_file)?;
    load_or_make_vapid(&config.push.vapid_key_file).map(drop)
}

/// Reads the key, or makes one where there is no file.
pub(super) fn load_or_make(path: &Path) -> Result<PrivateKey, SigningKeyError> {
    let text = read_or_make(path, || Ok(format!("{}\n", PrivateKey::generate().to_hex())))
        .map_err(|e| SigningKeyError::File(path.to_owned(), e))?;
    PrivateKey::from_hex(text.trim()).map_err(|_| SigningKeyError::Malformed(path.to_owned()))
}

/// The same for the key that web push services know.
pub(super) fn load_or_make_vapid(path: &Path) -> Result<VapidKey, SigningKeyError> {
    let make =
        || VapidKey::generate_pem().ok_or_else(|| std::io::Error::other("no random numbers"));
    let text = read_or_make(path, make).map_err(|e| SigningKeyError::File(path.to_owned(), e))?;
    VapidKey::from_pem(&text).map_err(|e| SigningKeyError::Vapid(path.to_owned(), e))
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> std::io::Result<String>,
) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        read => return read,
    }
    let text = make()?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
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
        assert!(matches!(load_or_make_vapid(&path), Err(SigningKeyError::Vapid(..))));
        let path = dir.path().join("sub/vapid.pem");
        let made = load_or_make_vapid(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_make_vapid(&path).unwrap().public(), made.public());
    }
}
