//! What lets somebody in, held in memory so that asking costs no read: it follows the rows of `private`.

use std::sync::Arc;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use crate::private::{Access, Effects, Hash, accesses};
use crate::store::{Reader, StoreError, Tx};

/// The rows; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<RwLock<FxHashMap<Hash, Held>>>);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) access: Access,
    /// It lets nobody in any more.
    pub(super) ended: CancellationToken,
}

impl Door {
    /// As the store has them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(r: &impl Reader) -> Result<Self, StoreError> {
        let held = accesses(r)?
            .into_iter()
            .map(|access| (access.hash, Held { access, ended: CancellationToken::new() }));
        Ok(Self(Arc::new(RwLock::new(held.collect()))))
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Held> {
        self.0.read().get(hash).cloned()
    }

    pub(super) fn all(&self) -> Vec<Access> {
        self.0.read().values().map(|held| held.access.clone()).collect()
    }
}

impl Effects for Door {
    fn let_in(&self, tx: &mut Tx<'_>, access: &Access) {
        let (door, access) = (self.clone(), access.clone());
        tx.after_commit(move || {
            let mut held = door.0.write();
            let ended = held.get(&access.hash).map(|held| held.ended.clone());
            held.insert(access.hash, Held { access, ended: ended.unwrap_or_default() });
        });
    }

    fn shut_out(&self, tx: &mut Tx<'_>, hash: &Hash) {
        let (door, hash) = (self.clone(), *hash);
        tx.after_commit(move || {
            if let Some(held) = door.0.write().remove(&hash) {
                held.ended.cancel();
            }
        });
    }
}
