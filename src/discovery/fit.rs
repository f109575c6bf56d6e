//! Who may be suggested to a viewer.

use rustc_hash::FxHashSet;

use crate::hydrate::{
    ActorId, HydrationState, Hydrator, RecordId, Result, Rkey, Target, collections as c,
};
use crate::repo::fields;
use crate::schema::Rows as _;

/// Labels of an account or its profile with which nobody is suggested, besides those that hide it anyway.
const UNFIT: [&str; 3] = ["spam", "!hide", "impersonation"];

const HIDDEN: [&str; 3] = ["!takedown", "!suspend", "needs-review"];

/// What the declaration of an account says of it.
const HIDE: &str = "hideFromAlgorithmicRecommendations";

/// Those of `ids` that may be suggested to the viewer, in their order. `state` has what their profile views need then.
pub fn fit(h: &Hydrator<'_>, state: &mut HydrationState, ids: &[ActorId]) -> Result<Vec<ActorId>> {
    h.profiles(state, ids)?;
    let mut out = Vec::with_capacity(ids.len());
    let mut seen = FxHashSet::default();
    for &id in ids {
        let followed = state.profile_viewers.get(&id).is_some_and(|v| v.following.is_some());
        let known = followed || h.ctx.viewer == Some(id);
        if !known && seen.insert(id) && may_be_shown(h, state, id)? {
            out.push(id);
        }
    }
    Ok(out)
}

/// Those of `ids` who may be shown to the viewer, whether they know them or not, in their order. `state` has what their
/// profile views need then.
pub fn fit_authors(
    h: &Hydrator<'_>,
    state: &mut HydrationState,
    ids: &[ActorId],
) -> Result<Vec<ActorId>> {
    h.profiles(state, ids)?;
    let mut out = Vec::with_capacity(ids.len());
    for &id in ids {
        if may_be_shown(h, state, id)? {
            out.push(id);
        }
    }
    Ok(out)
}

/// Whether an account, whose profile `state` has, may be shown to the viewer unasked, whether they know it or not.
pub(super) fn may_be_shown(h: &Hydrator<'_>, state: &HydrationState, id: ActorId) -> Result<bool> {
    Ok(state.actor(id).is_some()
        && !state.is_no_hosted(id)
        && !state.viewer_block_exists(id)
        && !state.viewer_mute_exists(id)
        && !is_labelled(state, id)
        && !opted_out(h, id)?)
}

/// Whether a label says that an account is not to be shown to who did not ask for it.
fn is_labelled(state: &HydrationState, id: ActorId) -> bool {
    let profile = RecordId { actor: id, coll: c::PROFILE, rkey: Rkey::SELF };
    let subjects = [Target::Actor(id), Target::Record(profile)];
    subjects.iter().filter_map(|subject| state.subject_labels(*subject)).any(|labels| {
        labels.takedown
            || labels.needs_review
            || labels.impersonation
            || labels.shown.iter().any(|label| UNFIT.contains(&label.val.as_str()))
    })
}

/// Whether somebody is there and no label speaks against them, for who looks at many: by rows alone.
pub(super) fn counts(h: &Hydrator<'_>, id: ActorId) -> Result<bool> {
    Ok(h.snapshot.actor(id)?.is_some_and(|row| row.is_active()) && !is_marked(h, id)?)
}

/// Whether a label of an account itself says that it is not to be shown unasked, by the rows of its labels.
pub fn is_marked(h: &Hydrator<'_>, id: ActorId) -> Result<bool> {
    let labels = h.snapshot.labels(Target::Actor(id))?;
    Ok(labels.iter().any(|label| {
        let value = label.val.as_str();
        let counts = !label.neg && h.ctx.labelers.redacts(label.src).is_some();
        counts && (UNFIT.contains(&value) || HIDDEN.contains(&value))
    }))
}

/// Whether an account asks not to be recommended.
fn opted_out(h: &Hydrator<'_>, id: ActorId) -> Result<bool> {
    let declaration = RecordId { actor: id, coll: c::CONTENT_VISIBILITY, rkey: Rkey::SELF };
    let record = h.read_record(declaration)?;
    let hidden = record.and_then(|record| fields::boolean(&record.value, HIDE));
    Ok(hidden == Some(true))
}
