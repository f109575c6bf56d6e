//! A store as it is looked through for everybody: by who labels for those who name nobody, and without a viewer.

use crate::hydrate::{HydrateCtx, Hydrator, Result, Shared};
use crate::schema::Rows as _;
use crate::store::Store;
use crate::syntax::Did;
use crate::threads::Clock;

/// What is looked through, and how.
pub struct Ground<'a> {
    /// The store.
    pub store: &'a Store,
    /// Caches and takedowns.
    pub shared: &'a Shared,
    /// Who says what is spam.
    pub labelers: &'a [Did],
    /// The time.
    pub clock: &'a Clock,
    /// It rests so many times as long as it works.
    pub rest: u32,
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Ground<'_> {
    /// Looks at the store as it is now; the snapshot is held for no longer.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Hydrator<'_>) -> Result<T>) -> Result<T> {
        let snapshot = self.store.snapshot();
        let mut labelers = Vec::new();
        for did in self.labelers {
            labelers.extend(snapshot.actor_id(did.as_str())?.map(|id| (id, true)));
        }
        let ctx = HydrateCtx {
            labelers: labelers.into_iter().collect(),
            now: self.clock.now_ms(),
            ..HydrateCtx::default()
        };
        look(&Hydrator { snapshot: &snapshot, ctx: &ctx, shared: self.shared })
    }
}
