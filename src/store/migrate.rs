//! The format of keys and values on disk: written into a new store, and looked at whenever one is opened.

use crate::store::{Ks, Store, StoreError};

/// The format of keys and values on disk. Raised with a migration, never without.
pub const FORMAT: u32 = 2;

/// Its row in [`Ks::Meta`].
const FORMAT_KEY: &[u8] = b"format";

/// Says whether this version reads the store; a store without a format is new and gets it.
pub(super) fn check(store: &Store) -> Result<(), StoreError> {
    let meta = store.keyspace(Ks::Meta)?;
    let Some(v) = meta.get(FORMAT_KEY)? else {
        meta.insert(FORMAT_KEY, FORMAT.to_be_bytes())?;
        return store.sync();
    };
    let found =
        u32::from_be_bytes(v.as_ref().try_into().map_err(|_| StoreError::corrupt(Ks::Meta))?);
    if found == FORMAT {
        return Ok(());
    }
    let advice = if found > FORMAT {
        "start the newer version again"
    } else {
        "there is no migration from it"
    };
    Err(StoreError::Version { path: store.path().to_owned(), found, expected: FORMAT, advice })
}

/// Whether the row of the format is whole; `None` if it is another.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    (key == FORMAT_KEY).then_some(value.len() == 4)
}
