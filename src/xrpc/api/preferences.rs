//! `app.bsky.notification.getPreferences`, `putPreferences` and `putPreferencesV2`: private state.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::hydrate::preferences::{saved, whole};
use crate::private::priority::{self, Notifying};
use crate::private::{preferences, seen};
use crate::schema::Rows;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// `chat` is always the default: the chat service has preferences of its own.
fn answer(mut preferences: Map<String, Value>) -> Value {
    preferences.insert("chat".into(), json!({ "include": "all", "push": true }));
    json!({ "preferences": preferences })
}

/// `app.bsky.notification.getPreferences`
pub(crate) fn get_preferences(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let saved = match session.ctx.viewer {
        Some(viewer) => saved(&session.snapshot, viewer)?,
        None => Value::Null,
    };
    Reply::json(&answer(whole(&saved)))
}

/// `app.bsky.notification.putPreferencesV2`: fields that the input has replace those that are saved.
pub(crate) async fn put_preferences_v2(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let input = call.input.unwrap_or_default();
    let merged = app
        .private
        .change(move |r| {
            let held = r.actor_id(&viewer)?.map_or(Ok(Value::Null), |id| saved(r, id))?;
            let mut merged = whole(&held);
            for (field, value) in &mut merged {
                if let Some(new) = input.get(field) {
                    *value = new.clone();
                }
            }
            let merged = whole(&Value::Object(merged));
            Ok((vec![preferences::save(&viewer, Value::Object(merged.clone()))], merged))
        })
        .await?;
    Reply::json(&answer(merged))
}

/// `app.bsky.notification.putPreferences`. An account that has not seen any notification yet has now.
pub(crate) async fn put_preferences(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let input = call.input.unwrap_or_default();
    let priority = input.get("priority").and_then(Value::as_bool).unwrap_or(false);
    let now = app.clock.now_ms();
    let notifying = if priority { Notifying::Followed } else { Notifying::Everyone };
    app.private
        .change(move |r| {
            let (mut changes, ()) = priority::set(r, &viewer, notifying, now)?;
            changes.extend(seen::begin(r, &viewer, now)?.0);
            Ok((changes, ()))
        })
        .await?;
    Ok(Reply::empty())
}
