//! `app.bsky.ageassurance.*` and its first version in `unspecced`: which rules clients apply where, and whom the operator
//! vouches for. No vendor is asked: accounts whose age the operator knows are listed in the configuration.

use serde::Serialize;

use crate::syntax::datetime::Time;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// `app.bsky.ageassurance.begin` and `app.bsky.unspecced.initAgeAssurance`. Reads nothing.
pub(crate) fn not_offered(_: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    Err(XrpcError::not_configured("This service is not configured to support age assurance."))
}

/// `app.bsky.ageassurance.getConfig`: the configured rules. Reads nothing.
pub(crate) fn get_config(app: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    Ok(Reply::json_bytes(app.client_config.load().age_rules.clone()))
}

#[derive(Serialize)]
struct AgeAssuranceOutput {
    state: AgeAssuranceState,
    metadata: Metadata,
}

#[derive(Serialize)]
struct AgeAssuranceState {
    status: &'static str,
    access: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_created_at: Option<Time>,
}

fn assured(app: &AppCtx, call: &Call) -> Result<bool, XrpcError> {
    let viewer = call.require_viewer()?;
    Ok(app.client_config.load().assured.contains(viewer))
}

/// `app.bsky.ageassurance.getState`: reads the viewer's own account.
pub(crate) fn get_state(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let viewer = match session.ctx.viewer {
        Some(id) => session.hydrator().actor(id)?,
        None => None,
    };
    let (status, access) =
        if assured(app, call)? { ("assured", "full") } else { ("unknown", "unknown") };
    let account_created_at = viewer.and_then(|actor| actor.created).map(Time);
    Reply::json(&AgeAssuranceOutput {
        state: AgeAssuranceState { status, access },
        metadata: Metadata { account_created_at },
    })
}

/// `app.bsky.unspecced.getAgeAssuranceState`. Reads nothing.
pub(crate) fn get_state_v1(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let status = if assured(app, call)? { "assured" } else { "unknown" };
    Reply::json(&serde_json::json!({ "status": status }))
}
