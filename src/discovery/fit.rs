//! Who may be suggested to a viewer.

use rustc_hash::FxHashSet;

use crate::hydrate::{
    ActorId, HydrationState, Hydrator, RecordId, RecordRoom, Result, Rkey, Target, collections as c,
};
use crate::repo::fields;
use crate::schema::Rows as _;

/// Labels of an account or its profile with which nobody is suggested, besides those that hide it anyway.
const UNFIT: [&str; 3] = ["spam", "!hide", "impersonation"];

const HIDDEN: [&str; 3] = ["!takedown", "!suspend", "needs-review"];

/// What the declaration of an account says of it.
const HIDE: &str = "hideFromAlgorithmicRecommendations";

/// Those of `ids` that may be suggested to the viewer, in their order. `state` has what their profile views need then.
pub(super) fn fit(
    h: &Hydrator<'_>,
    state: &mut HydrationState,
    ids: &[ActorId],
) -> Result<Vec<ActorId>> {
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

/// The same of an account alone, for who looks at many: by the rows of its labels.
pub(super) fn is_marked(h: &Hydrator<'_>, id: ActorId) -> Result<bool> {
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
    let record = h.load_record(declaration, &mut RecordRoom::default())?;
    let hidden = record.and_then(|record| fields::boolean(&record.value, HIDE));
    Ok(hidden == Some(true))
}
