//! What a change of private state means to other parts: to the index, which keeps sets of accounts in memory and what
//! was collected of them, to the set of what is taken down, and to the door that knows who is in. They are told inside the batch of the change, each time it
//! is applied, so they do the same twice over.

use std::sync::Arc;

use super::access::{Access, Hash};
use super::change::Afterwards;
use crate::schema::{ActorId, PostId, Target};
use crate::store::{StoreError, Tx};

/// Whoever has to do something when private state changes. What it leaves out means nothing to it.
#[allow(unused_variables, reason = "names say what is given")]
pub trait Effects: Send + Sync {
    /// The account is a member since `at`. Notifications from before are not the matter of this.
    fn joined(&self, tx: &mut Tx<'_>, member: ActorId, at: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// The account is a member no more.
    fn left(&self, tx: &mut Tx<'_>, member: ActorId) -> Result<(), StoreError> {
        Ok(())
    }

    /// The account opted out; its row says so already.
    fn opted_out(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// The account opted in; the row of its opt-out is gone.
    fn opted_in(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Everything that is held of the account goes.
    fn erased(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
        then: Afterwards,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was collected of the account goes.
    fn repo_removed(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// A community post that came at `at` is kept; it is there.
    fn post_kept(&self, tx: &mut Tx<'_>, post: PostId, at: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// A community post goes; it is still there.
    fn post_going(&self, tx: &mut Tx<'_>, post: PostId) -> Result<(), StoreError> {
        Ok(())
    }

    /// An account or record was taken down.
    fn taken_down(&self, tx: &mut Tx<'_>, target: Target) {}

    /// The takedown of an account or record was lifted.
    fn reinstated(&self, tx: &mut Tx<'_>, target: Target) {}

    /// Something lets somebody in from now on, or has changed.
    fn let_in(&self, tx: &mut Tx<'_>, access: &Access) {}

    /// Something lets nobody in any more.
    fn shut_out(&self, tx: &mut Tx<'_>, hash: &Hash) {}
}

/// Nothing follows.
impl Effects for () {}

/// Several, one after the other.
pub struct Together(pub Vec<Arc<dyn Effects>>);

impl Effects for Together {
    fn joined(&self, tx: &mut Tx<'_>, member: ActorId, at: i64) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.joined(tx, member, at))
    }

    fn left(&self, tx: &mut Tx<'_>, member: ActorId) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.left(tx, member))
    }

    fn opted_out(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.opted_out(tx, actor, at))
    }

    fn opted_in(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.opted_in(tx, actor, at))
    }

    fn erased(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
        then: Afterwards,
    ) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.erased(tx, actor, at, then))
    }

    fn repo_removed(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.repo_removed(tx, actor, at))
    }

    fn post_kept(&self, tx: &mut Tx<'_>, post: PostId, at: i64) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.post_kept(tx, post, at))
    }

    fn post_going(&self, tx: &mut Tx<'_>, post: PostId) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|one| one.post_going(tx, post))
    }

    fn taken_down(&self, tx: &mut Tx<'_>, target: Target) {
        self.0.iter().for_each(|one| one.taken_down(tx, target));
    }

    fn reinstated(&self, tx: &mut Tx<'_>, target: Target) {
        self.0.iter().for_each(|one| one.reinstated(tx, target));
    }

    fn let_in(&self, tx: &mut Tx<'_>, access: &Access) {
        self.0.iter().for_each(|one| one.let_in(tx, access));
    }

    fn shut_out(&self, tx: &mut Tx<'_>, hash: &Hash) {
        self.0.iter().for_each(|one| one.shut_out(tx, hash));
    }
}
