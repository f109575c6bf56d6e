//! Who asks, and what they may see.

use crate::moderation::Labelers;
use crate::schema::{ActorId, Target};

/// The part of a request that decides what is shown.
#[derive(Debug, Clone, Default)]
pub struct HydrateCtx {
    /// The account that asks. `None` for anonymous callers, and for accounts that the store has no number for, since
    /// nothing in the store can refer to them.
    pub viewer: Option<ActorId>,
    /// The caller is not anonymous, though [`Self::viewer`] may be `None`.
    pub signed_in: bool,
    /// The labelers that apply.
    pub labelers: Labelers,
    /// Taken-down accounts and records are shown: for the operator.
    pub include_takedowns: bool,
    /// Blocks between others do not hide.
    pub include_3p_blocks: bool,
    /// The viewer's own blocks do not hide.
    pub skip_viewer_blocks: bool,
    /// The caller belongs to the community: its posts, whose content is kept here, exist for nobody else.
    pub community: bool,
    /// What the operator tagged is shown with it.
    pub explained: bool,
    /// The time, milliseconds since the epoch.
    pub now: i64,
}

impl HydrateCtx {
    /// Whether what is said about a record may be shown: about community posts only to those who belong to it.
    #[must_use]
    pub fn admits(&self, about: Target) -> bool {
        self.community || !about.is_community()
    }
}
