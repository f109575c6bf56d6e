//! Rules over a [`HydrationState`]: who and what is hidden from whom.

use super::state::HydrationState;
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, Target};

impl HydrationState {
    /// Taken down here, by a label, or suspended upstream.
    #[must_use]
    pub fn is_taken_down(&self, id: ActorId) -> bool {
        let upstream = [AccountStatus::Takendown, AccountStatus::Suspended];
        self.actor(id).is_some_and(|a| a.taken_down || upstream.contains(&a.status))
            || self.labels.get(&Target::Actor(id)).is_some_and(|l| l.takedown)
    }

    /// Deactivated by its owner.
    #[must_use]
    pub fn is_deactivated(&self, id: ActorId) -> bool {
        self.actor(id).is_some_and(|a| a.status == AccountStatus::Deactivated)
    }

    /// Taken down or deactivated.
    #[must_use]
    pub fn is_no_hosted(&self, id: ActorId) -> bool {
        self.is_deactivated(id) || self.is_taken_down(id)
    }

    /// The viewer and an account block each other, in either direction, directly or by list.
    #[must_use]
    pub fn viewer_block_exists(&self, id: ActorId) -> bool {
        !self.ctx.skip_viewer_blocks
            && self.profile_viewers.get(&id).is_some_and(super::ProfileViewer::blocks)
    }

    /// The viewer follows an account, and no block is between them.
    #[must_use]
    pub fn viewer_follows(&self, id: ActorId) -> bool {
        self.profile_viewers.get(&id).is_some_and(|v| v.following.is_some() && !v.blocks())
    }

    /// The viewer muted an account entirely, directly or by list.
    #[must_use]
    pub fn viewer_mute_exists(&self, id: ActorId) -> bool {
        self.profile_viewers.get(&id).is_some_and(|v| v.muted || v.muted_by_list.is_some())
    }

    /// The viewer muted the reposts of an account.
    #[must_use]
    pub fn viewer_repost_mute_exists(&self, id: ActorId) -> bool {
        self.profile_viewers.get(&id).is_some_and(|v| v.muted_only_reposts)
    }

    /// The viewer muted the quote posts of an account.
    #[must_use]
    pub fn viewer_quotepost_mute_exists(&self, id: ActorId) -> bool {
        self.profile_viewers.get(&id).is_some_and(|v| v.muted_only_quoteposts)
    }

    /// Whether the viewer gets to see an account or record as far as `needs-review` goes: marked content is seen
    /// by its author and their followers only.
    #[must_use]
    pub fn viewer_sees_needs_review(&self, target: Target) -> bool {
        let marked = |t| self.labels.get(&t).is_some_and(|l| l.needs_review);
        let author = target.actor();
        if !marked(Target::Actor(author)) && !marked(target) {
            return true;
        }
        self.ctx.viewer == Some(author)
            || self.profile_viewers.get(&author).is_some_and(|v| v.following.is_some())
    }
}
