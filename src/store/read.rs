//! Reading: one trait for the writer's view (its open batch over the store) and a request's snapshot.

use fjall::Readable as _;
use smallvec::SmallVec;

use crate::store::cache::RowViews;
use crate::store::{Ks, Slice, Store, StoreError};

/// A key under construction; most keys fit without an allocation.
pub type KeyBuf = SmallVec<[u8; 48]>;

/// Called for each row of a scan; `false` ends it.
pub type Visit<'f> = &'f mut dyn FnMut(&[u8], &[u8]) -> bool;

/// A consistent view of the store.
///
/// A row that does not decode is [`StoreError::Corrupt`].
pub trait Reader {
    /// The store behind the view.
    fn store(&self) -> &Store;

    /// One value.
    fn get(&self, ks: Ks, key: &[u8]) -> Result<Option<Slice>, StoreError>;

    /// A digest that `load` makes of this row. Views that are read by many keep it as long as the row is what it is.
    fn made(
        &self,
        _: (Ks, &[u8]),
        load: impl FnOnce() -> Result<Option<[u8; 32]>, StoreError>,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        load()
    }

    /// Whether the key exists.
    fn has(&self, ks: Ks, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(ks, key)?.is_some())
    }

    /// Visits `lo <= key < hi` (`None`: to the end) in order, or in reverse order.
    fn scan(
        &self,
        ks: Ks,
        lo: &[u8],
        hi: Option<&[u8]>,
        reverse: bool,
        f: Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Visits every key that begins with `prefix`, in order.
    fn scan_prefix(&self, ks: Ks, prefix: &[u8], f: Visit<'_>) -> Result<(), StoreError> {
        let end = prefix_end(prefix);
        self.scan(ks, prefix, end.as_deref(), false, f)
    }

    /// One decoded row.
    fn row<T>(
        &self,
        ks: Ks,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        decoded((ks, key), self.get(ks, key)?, decode)
    }
}

fn decoded<T>(
    (ks, key): (Ks, &[u8]),
    value: Option<Slice>,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    match value {
        None => Ok(None),
        Some(v) => decode(&v).map(Some).ok_or_else(|| StoreError::corrupt(ks, key)),
    }
}

/// The store as it was at one instant. Cheap to make, one for each request.
pub struct Snapshot {
    store: Store,
    epoch: u64,
    inner: fjall::Snapshot,
}

impl Snapshot {
    pub(super) fn new(store: Store) -> Self {
        let epoch = store.epoch();
        let inner = store.db().snapshot();
        Self { store, epoch, inner }
    }

    /// Whether nothing was committed since, nor is being committed.
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.is_multiple_of(2) && self.store.epoch() == self.epoch
    }
}

impl Snapshot {
    /// What `load` makes of one row and of what never changes, kept in `views` if it says so.
    pub fn view<T: Clone>(
        &self,
        views: &RowViews<T>,
        row: (Ks, &[u8]),
        load: impl FnOnce() -> Result<(T, bool), StoreError>,
    ) -> Result<T, StoreError> {
        self.store.rows().view(views, row, self.epoch, |_| true, load)
    }

    /// The same of a group of rows (see [`Ks::group`]) and of more, which `fit` holds against what is kept.
    pub fn view_of_group<T: Clone>(
        &self,
        views: &RowViews<T>,
        group: (Ks, &[u8]),
        fit: impl FnOnce(&T) -> bool,
        load: impl FnOnce() -> Result<(T, bool), StoreError>,
    ) -> Result<T, StoreError> {
        self.store.rows().view(views, group, self.epoch, fit, load)
    }

    /// A row of which something is made that is kept, here or in another cache; the row itself then need not be.
    pub fn once<T>(
        &self,
        ks: Ks,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        decoded((ks, key), self.read(ks, key, false)?, decode)
    }

    /// One value, to keep among the rows that are kept or not.
    fn read(&self, ks: Ks, key: &[u8], keep: bool) -> Result<Option<Slice>, StoreError> {
        let load = || Ok(self.inner.get(self.store.keyspace(ks)?, key)?.map(Slice));
        self.store.rows().get((ks, key), self.epoch, keep, load)
    }

    /// Whether a view of a row is kept that holds here.
    #[must_use]
    pub fn holds<T: Clone>(&self, views: &RowViews<T>, row: (Ks, &[u8])) -> bool {
        self.store.rows().holds(views, row, self.epoch)
    }

    /// A group of rows in the form that `load` gives it (see [`Ks::group`]), kept as long as none of them changes; `None` if it
    /// is too long for that, as `load` may say.
    pub fn group(
        &self,
        ks: Ks,
        prefix: &[u8],
        load: impl FnOnce(usize) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Option<Slice>, StoreError> {
        self.store.rows().group(ks, prefix, self.epoch, load)
    }
}

impl Reader for Snapshot {
    fn store(&self) -> &Store {
        &self.store
    }

    fn get(&self, ks: Ks, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        self.read(ks, key, true)
    }

    fn made(
        &self,
        row: (Ks, &[u8]),
        load: impl FnOnce() -> Result<Option<[u8; 32]>, StoreError>,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        self.store.rows().made(row, self.epoch, load)
    }

    fn scan(
        &self,
        ks: Ks,
        lo: &[u8],
        hi: Option<&[u8]>,
        reverse: bool,
        f: Visit<'_>,
    ) -> Result<(), StoreError> {
        let keyspace = self.store.keyspace(ks)?;
        let iter = match hi {
            Some(hi) if lo >= hi => return Ok(()),
            Some(hi) => self.inner.range(keyspace, lo..hi),
            None => self.inner.range(keyspace, lo..),
        };
        visit(iter, reverse, f)
    }
}

/// Drives a scan of the engine.
pub(super) fn visit(iter: fjall::Iter, reverse: bool, f: Visit<'_>) -> Result<(), StoreError> {
    let mut step = |guard: fjall::Guard| -> Result<bool, StoreError> {
        let (k, v) = guard.into_inner()?;
        Ok(f(&k, &v))
    };
    if reverse {
        for guard in iter.rev() {
            if !step(guard)? {
                break;
            }
        }
    } else {
        for guard in iter {
            if !step(guard)? {
                break;
            }
        }
    }
    Ok(())
}

/// The smallest key above every key that begins with `prefix`; `None` if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<KeyBuf> {
    let mut end = KeyBuf::from_slice(prefix);
    while let Some(last) = end.pop() {
        if last != u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(prefix_end(&[1, 255]).as_deref(), Some(&[2u8][..]));
        assert_eq!(prefix_end(&[255, 255]), None);
    }
}
