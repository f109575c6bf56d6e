//! Whose repos are wanted because of one that is in: those a member follows, and the threads they see.

use crate::config::Scope;
use crate::index::{context_to_fetch, follows_to_fetch};
use crate::schema::ActorId;
use crate::store::{Store, StoreError};
use crate::sync::FollowUp;
use crate::work::repo_queue::Priority;

/// What comes after a member's repo, read from the index.
pub(super) struct WantedByIndex {
    store: Store,
    /// Of each member.
    max_follows: usize,
}

impl WantedByIndex {
    pub(super) fn new(store: &Store, scope: &Scope) -> Self {
        Self { store: store.clone(), max_follows: scope.max_follows as usize }
    }
}

impl FollowUp for WantedByIndex {
    fn next(
        &self,
        actor: ActorId,
        priority: Priority,
    ) -> Result<Vec<(ActorId, Priority)>, StoreError> {
        let s = self.store.snapshot();
        let mut out = Vec::new();
        if priority == Priority::Member {
            let follows = follows_to_fetch(&s, actor, self.max_follows)?;
            out.extend(follows.into_iter().map(|a| (a, Priority::Follow)));
        }
        if matches!(priority, Priority::Member | Priority::Follow) {
            out.extend(context_to_fetch(&s, actor)?.into_iter().map(|a| (a, Priority::Context)));
        }
        Ok(out)
    }
}
