//! What the operator took down, held in memory so that looking at a record costs no read.
//!
//! # Invariants
//! - The set follows the rows of `private`: it changes after the commit that changed them and before whoever
//!   changed them is answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use rustc_hash::FxHashSet;

use crate::changes::{Change, Log, Mark, What};
use crate::private::{self, Effects};
use crate::schema::Target;
use crate::store::{Reader, StoreError, Tx};

/// The accounts and records that are taken down; a cheap handle.
#[derive(Clone, Default)]
pub struct Takedowns(Arc<Inner>);

#[derive(Default)]
struct Inner {
    set: RwLock<FxHashSet<Target>>,
    /// Counts the changes of the set.
    changes: AtomicU64,
    log: OnceLock<Arc<Log>>,
}

impl Takedowns {
    /// Reads the set from the store.
    pub fn load(r: &impl Reader) -> Result<Self, StoreError> {
        let set = private::takedowns(r)?.into_iter().collect();
        Ok(Self(Arc::new(Inner { set: RwLock::new(set), ..Inner::default() })))
    }

    /// Tells this log what is taken down; the first one that is named here.
    pub fn log_to(&self, log: &Arc<Log>) {
        self.0.log.get_or_init(|| Arc::clone(log));
    }

    /// Whether an account or record is taken down itself; a record is not because its account is.
    #[must_use]
    pub fn contains(&self, target: Target) -> bool {
        self.0.set.read().contains(&target)
    }

    /// Another number each time the set has changed, for who remembers what was made with it.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    fn change(
        &self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut FxHashSet<Target>) + Send + 'static,
    ) {
        let inner = Arc::clone(&self.0);
        tx.after_commit(move || {
            change(&mut inner.set.write());
            inner.changes.fetch_add(1, Ordering::Release);
        });
    }

    /// Takes a subject down, or lifts that, as [`crate::private::Private`] with this among its effects does.
    #[cfg(test)]
    pub(crate) async fn set(
        &self,
        writer: &crate::store::Writer,
        subject: String,
        takedown: Option<private::Takedown>,
    ) -> Result<bool, StoreError> {
        let private = private::Private::new(writer.clone(), Arc::new(self.clone()));
        private.change(move |_| private::takedowns::moderate(&subject, takedown)).await
    }

    fn tell(&self, tx: &mut Tx<'_>, target: Target, on: bool) {
        if let Some(log) = self.0.log.get() {
            let what = What::Takedown { target, on };
            log.append(tx, Change { mark: Mark::Local, actor: target.actor(), what });
        }
    }
}

impl Effects for Takedowns {
    fn taken_down(&self, tx: &mut Tx<'_>, target: Target) {
        self.tell(tx, target, true);
        self.change(tx, move |set| _ = set.insert(target));
    }

    fn reinstated(&self, tx: &mut Tx<'_>, target: Target) {
        self.tell(tx, target, false);
        self.change(tx, move |set| _ = set.remove(&target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Takedown;
    use crate::schema::Rows;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn the_set_follows_the_rows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let takedowns = Takedowns::load(&store.snapshot()).unwrap();
        let uri = "at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a";
        let row = Takedown { at: 1, reference: "r".into() };
        assert!(takedowns.set(&writer, uri.into(), Some(row)).await.unwrap());
        assert!(!takedowns.set(&writer, "nobody".into(), None).await.unwrap());
        let target = store.snapshot().target(uri).unwrap().unwrap();
        assert!(takedowns.contains(target));
        assert!(!takedowns.contains(Target::Actor(target.actor())));
        assert!(Takedowns::load(&store.snapshot()).unwrap().contains(target));
        takedowns.set(&writer, uri.into(), None).await.unwrap();
        assert!(!takedowns.contains(target));
    }
}
