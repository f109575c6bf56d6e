//! What hydration found: maps by id, read by rules and views.

use std::cell::RefCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::value::RawValue;

use super::Hydrator;
use super::actor::Actor;
use super::block_set::BlockSet;
use super::context::HydrateCtx;
use super::list_membership::ListLookups;
use super::record::ShownRecord;
use super::room::RecordRoom;
use crate::moderation::{SubjectLabels, Tags};
use crate::private::subscriptions::Subscription;
use crate::schema::rows::AggRow;
use crate::schema::{ActorId, RecordId, Target};

/// Everything that is known for one answer.
#[derive(Default)]
pub struct HydrationState {
    /// Who asks.
    pub ctx: HydrateCtx,
    /// What image URLs begin with.
    pub images: Arc<str>,
    /// What video URLs begin with.
    pub videos: Arc<str>,
    /// What the operator tagged.
    pub tags: Arc<Tags>,
    /// Accounts; `None` for those that are not to be shown.
    pub actors: FxHashMap<ActorId, Option<Arc<Actor>>>,
    /// How the viewer and an account relate; empty for anonymous callers.
    pub profile_viewers: FxHashMap<ActorId, ProfileViewer>,
    /// Views of authors that were made: most answers show several posts of one account.
    pub authors: RefCell<FxHashMap<ActorId, Option<Arc<RawValue>>>>,
    /// Counters of accounts.
    pub profile_aggs: FxHashMap<ActorId, AggRow>,
    /// Counters of records.
    pub aggs: FxHashMap<Target, AggRow>,
    /// Labels by subject.
    pub labels: FxHashMap<Target, SubjectLabels>,
    /// Memory for the records of this answer.
    pub(super) room: RecordRoom,
    /// Lists, feed generators, starter packs and labelers; `None` for those that are not to be shown.
    pub records: FxHashMap<RecordId, Option<ShownRecord>>,
    /// How the viewer and a list relate.
    pub list_viewers: FxHashMap<RecordId, ListViewer>,
    /// The viewer's like of a feed generator or labeler, as AT-URI.
    pub likes: FxHashMap<Target, Option<String>>,
    /// The viewer's subscriptions to the activity of accounts.
    pub subscriptions: FxHashMap<ActorId, Subscription>,
    /// Whom the viewer follows among the followers of an account.
    pub known_followers: FxHashMap<ActorId, KnownFollowers>,
    /// Whom accounts block, as far as this answer asked.
    pub(super) block_sets: FxHashMap<ActorId, Arc<BlockSet>>,
    /// What this answer knows of who is on which list.
    pub(super) list_lookups: ListLookups,
    /// Blocks in either direction between two accounts, the smaller number first.
    pub blocks: FxHashMap<(ActorId, ActorId), bool>,
    /// Starter packs by the URI that a profile names.
    pub starter_packs: FxHashMap<String, RecordId>,
    /// How many joined through a starter pack within the last week.
    pub joined_week: FxHashMap<RecordId, u64>,
    /// What starter packs hold: only where a whole one is shown.
    pub packs: FxHashMap<RecordId, StarterPack>,
    /// Whether a list is a moderation list that is live, owner included.
    pub mod_lists: FxHashMap<RecordId, bool>,
}

/// How the viewer and an account relate. Lists are only named if they are live moderation lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileViewer {
    /// Muted entirely.
    pub muted: bool,
    /// Only reposts are muted.
    pub muted_only_reposts: bool,
    /// Only quote posts are muted.
    pub muted_only_quoteposts: bool,
    /// The muted list that it is on.
    pub muted_by_list: Option<RecordId>,
    /// The viewer's block, as AT-URI.
    pub blocking: Option<String>,
    /// Its block of the viewer, as AT-URI.
    pub blocked_by: Option<String>,
    /// The blocked list that it is on.
    pub blocking_by_list: Option<RecordId>,
    /// The list blocked by it that the viewer is on.
    pub blocked_by_list: Option<RecordId>,
    /// The viewer's follow, as AT-URI.
    pub following: Option<String>,
    /// Its follow of the viewer, as AT-URI.
    pub followed_by: Option<String>,
}

impl ProfileViewer {
    /// Whether there is a block in either direction.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.blocking.is_some()
            || self.blocked_by.is_some()
            || self.blocking_by_list.is_some()
            || self.blocked_by_list.is_some()
    }
}

/// How the viewer and a list relate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListViewer {
    /// The list is muted.
    pub muted: bool,
    /// The viewer's list block, as AT-URI.
    pub blocked: Option<String>,
    /// The viewer's wish not to be on the list, as AT-URI; of reference lists only.
    pub opt_out: Option<String>,
}

/// Whom the viewer follows among the followers of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFollowers {
    /// All of them.
    pub count: u64,
    /// A few of them.
    pub sample: Vec<ActorId>,
}

/// What a starter pack holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StarterPack {
    /// The list of its members, if the store has a number for it.
    pub list: Option<RecordId>,
    /// Its feeds, in the pack's order.
    pub feeds: Vec<RecordId>,
    /// Members with the most followers.
    pub sample: Vec<SampleItem>,
}

/// A member in the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleItem {
    /// The list item, as AT-URI.
    pub uri: String,
    /// Who.
    pub member: ActorId,
    /// Does not want to be on the list; only its owner gets to know.
    pub opted_out: bool,
}

impl Hydrator<'_> {
    /// An empty state for this request.
    #[must_use]
    pub fn state(&self) -> HydrationState {
        let settings = self.shared.settings();
        HydrationState {
            ctx: self.ctx.clone(),
            images: Arc::clone(&settings.images),
            videos: Arc::clone(&settings.videos),
            tags: Arc::clone(&settings.tags),
            ..HydrationState::default()
        }
    }
}

impl HydrationState {
    /// An account, if it may be shown.
    #[must_use]
    pub fn actor(&self, id: ActorId) -> Option<&Arc<Actor>> {
        self.actors.get(&id)?.as_ref()
    }

    /// A list, feed generator, starter pack or labeler, if it may be shown.
    #[must_use]
    pub fn record(&self, id: RecordId) -> Option<&ShownRecord> {
        self.records.get(&id)?.as_ref()
    }

    /// Counters of a record; all zero if they were not asked for.
    #[must_use]
    pub fn agg(&self, target: Target) -> AggRow {
        self.aggs.get(&target).copied().unwrap_or_default()
    }

    /// What the labels on a subject amount to, if it has any.
    #[must_use]
    pub fn subject_labels(&self, target: Target) -> Option<&SubjectLabels> {
        self.labels.get(&target)
    }

    /// Whether one of two accounts blocks the other.
    #[must_use]
    pub fn blocked(&self, a: ActorId, b: ActorId) -> bool {
        self.blocks.get(&pair(a, b)).copied().unwrap_or(false)
    }
}

/// The key of two accounts in [`HydrationState::blocks`].
#[must_use]
pub fn pair(a: ActorId, b: ActorId) -> (ActorId, ActorId) {
    if a <= b { (a, b) } else { (b, a) }
}
