//! Where backups are: objects under names with slashes, each put whole.

use std::io::{self, Read};

/// A folder or a bucket. Errors have the kind that they are told by: `NotFound`, `PermissionDenied`, `TimedOut`, `StorageFull`.
pub trait Place: Send + Sync {
    /// As the operator named it.
    fn name(&self) -> String;

    /// Puts an object. It is there whole, and stays over a crash, or it is not there; what was there is replaced. Gives
    /// its length.
    ///
    /// # Errors
    /// It cannot be written, or `body` cannot be read.
    fn put(&self, key: &str, body: &mut (dyn Read + Send)) -> io::Result<u64>;

    /// Reads an object.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn get(&self, key: &str) -> io::Result<Box<dyn Read + Send>>;

    /// All objects whose names begin with this and a slash.
    ///
    /// # Errors
    /// They cannot be listed.
    fn list(&self, under: &str) -> io::Result<Vec<Found>>;

    /// Removes an object; one that is not there is gone already.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, key: &str) -> io::Result<()>;

    /// Clears away what `put` left when it was cut short. Nobody may be putting anything meanwhile.
    ///
    /// # Errors
    /// It cannot be removed.
    fn tidy(&self) -> io::Result<()>;
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub key: String,
    /// Its length.
    pub len: u64,
}
