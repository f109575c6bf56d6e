//! `app.bsky.actor.*`

use serde::Serialize;

use crate::hydrate::ShownAccounts;
use crate::schema::Rows as _;
use crate::view::actor::{ProfileView, profile_detailed};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// `app.bsky.actor.getProfile`
pub(crate) fn get_profile(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let profile = detailed(&session, call)?;
    Ok(session.reply(&profile)?.with_repo_rev(session.repo_rev()?.as_deref()))
}

/// The profile that a call names.
pub(in crate::xrpc) fn detailed(session: &Session, call: &Call) -> Result<ProfileView, XrpcError> {
    let not_found = || XrpcError::invalid_request("Profile not found");
    let actor = call.params.str("actor").unwrap_or_default();
    let id = session.wanted_actor(call, actor)?.ok_or_else(not_found)?;

    let h = session.hydrator();
    let mut state = h.state();
    h.profiles_detailed(&mut state, &[id], ShownAccounts::All)?;

    let profile = profile_detailed(&state, id).ok_or_else(not_found)?;
    if !session.ctx.include_takedowns {
        if state.is_taken_down(id) {
            return Err(XrpcError::named("AccountTakedown", "Account has been suspended"));
        }
        if state.is_deactivated(id) {
            return Err(XrpcError::named("AccountDeactivated", "Account is deactivated"));
        }
    }
    Ok(profile)
}

#[derive(Serialize)]
struct Profiles {
    profiles: Vec<ProfileView>,
}

/// `app.bsky.actor.getProfiles`
pub(crate) fn get_profiles(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let mut ids = Vec::new();
    for actor in call.params.strs("actors") {
        ids.extend(session.wanted_actor(call, actor)?);
    }

    let h = session.hydrator();
    let mut state = h.state();
    h.profiles_detailed(&mut state, &ids, ShownAccounts::Hosted)?;

    let profiles = ids.iter().filter_map(|id| profile_detailed(&state, *id)).collect();
    Ok(session.reply(&Profiles { profiles })?.with_repo_rev(session.repo_rev()?.as_deref()))
}

/// `internal.bsky.actor.getProfiles`: how a viewer that the caller names sees accounts, for the operator's own services.
pub(crate) fn get_profiles_for(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let mut session = Session::open(app, call)?;
    let viewer = call.params.str("viewer");
    session.ctx.viewer = viewer.map(|did| session.snapshot.actor_id(did)).transpose()?.flatten();
    session.ctx.signed_in = viewer.is_some();
    session.ctx.include_takedowns = call.params.bool("includeTakedowns") == Some(true);
    session.ctx.include_3p_blocks = false;
    session.ctx.skip_viewer_blocks = false;
    let mut ids = Vec::new();
    for did in call.params.strs("dids") {
        ids.extend(session.snapshot.actor_id(did)?.filter(|id| !ids.contains(id)));
    }
    let mut known = Vec::new();
    for did in call.params.strs("socialProof") {
        known.extend(session.snapshot.actor_id(did)?.filter(|id| ids.contains(id)));
    }

    let h = session.hydrator();
    let mut state = h.state();
    h.profiles_with_known(&mut state, &ids, &known, ShownAccounts::Hosted)?;

    let profiles = ids.iter().filter_map(|id| profile_detailed(&state, *id)).collect();
    session.reply(&Profiles { profiles })
}
