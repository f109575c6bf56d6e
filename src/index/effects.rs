//! What a change of private state means to the index: who is a member, of whom nothing is collected, whom a community post
//! notifies.

use super::{Index, notify};
use crate::private::{Afterwards, Effects};
use crate::schema::{ActorId, PostId};
use crate::store::{StoreError, Tx};

impl Effects for Index {
    fn joined(&self, tx: &mut Tx<'_>, member: ActorId, at: i64) -> Result<(), StoreError> {
        self.member_joined(tx, member, at)
    }

    fn left(&self, tx: &mut Tx<'_>, member: ActorId) -> Result<(), StoreError> {
        self.member_left(tx, member)
    }

    fn opted_out(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.collect_no_more(tx, actor, at)
    }

    fn opted_in(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.collect_again(tx, actor, at)
    }

    fn erased(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        at: i64,
        then: Afterwards,
    ) -> Result<(), StoreError> {
        self.erase(tx, actor, at, then)
    }

    fn repo_removed(&self, tx: &mut Tx<'_>, actor: ActorId, at: i64) -> Result<(), StoreError> {
        self.begin_anew(tx, actor, at)
    }

    fn post_kept(&self, tx: &mut Tx<'_>, post: PostId, at: i64) -> Result<(), StoreError> {
        self.push.event_at(at);
        self.tell_of_community_post(tx, post)
    }

    fn post_going(&self, tx: &mut Tx<'_>, post: PostId) -> Result<(), StoreError> {
        self.lost(post.record());
        notify::gone(self, tx, post.record())
    }
}
