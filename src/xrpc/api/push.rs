//! `app.bsky.notification.registerPush` and `unregisterPush`: private state, answered once it is on disk.
//!
//! Tokens of Apple and Google need the operator's endpoint to be of use; without one they are refused as the reference
//! refuses all. WebPush and UnifiedPush are always served.

use std::sync::Arc;

use serde_json::Value;

use crate::private::registrations::{self, MAX_TOKEN, Platform, Registration};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// Most bytes of an app's name; the largest bundle identifier of a store has 255.
const MAX_APP_ID: usize = 512;

/// The registration in the input.
fn registration(app: &AppCtx, call: &Call) -> Result<Registration, XrpcError> {
    let field = |key: &str| call.input.as_ref().and_then(|input| input.get(key));
    let text = |key: &str| field(key).and_then(Value::as_str).unwrap_or_default();
    let mut new = Registration {
        at: app.clock.now_ms(),
        platform: Platform::Web,
        app_id: text("appId").to_owned(),
        token: text("token").to_owned(),
        age_restricted: field("ageRestricted").and_then(Value::as_bool).unwrap_or(false),
    };
    if !app.identity.push_endpoint && new.web_push().is_none() {
        return Err(XrpcError::not_configured(
            "This service is not configured to support push token registration.",
        ));
    }
    if !app.auth.is_own_did(text("serviceDid")) {
        return Err(XrpcError::invalid_request("Invalid serviceDid."));
    }
    new.platform = Platform::parse(text("platform")).ok_or_else(|| {
        let message = "Unsupported platform: must be \"ios\", \"android\", or \"web\".";
        XrpcError::invalid_request(message)
    })?;
    if new.token.len() > MAX_TOKEN || new.app_id.len() > MAX_APP_ID {
        return Err(XrpcError::invalid_request("token or appId is too long"));
    }
    Ok(new)
}

/// `app.bsky.notification.registerPush`
pub(crate) async fn register_push(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?;
    let new = registration(&app, &call)?;
    let viewer = viewer.as_str().to_owned();
    app.private.change(move |r| registrations::register(r, &viewer, &new)).await?;
    Ok(Reply::empty())
}

/// `app.bsky.notification.unregisterPush`: to take away what is not there is fine.
pub(crate) async fn unregister_push(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let old = registration(&app, &call)?;
    app.private
        .change(move |_| Ok((vec![registrations::unregister(&viewer, &old.id())], ())))
        .await?;
    Ok(Reply::empty())
}
