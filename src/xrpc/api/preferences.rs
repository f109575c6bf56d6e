//! `app.bsky.notification.getPreferences`, `putPreferences` and `putPreferencesV2`: private state.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::hydrate::preferences::{saved, whole};
use crate::private::{self, Kind};
use crate::schema::Edit;
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
        .writer
        .durable(move |tx| {
            let viewer = tx.intern_actor(&viewer)?;
            let mut merged = whole(&saved(tx, viewer)?);
            for (field, value) in &mut merged {
                if let Some(new) = input.get(field) {
                    *value = new.clone();
                }
            }
            let merged = whole(&Value::Object(merged));
            private::put_preferences(tx, viewer, &Value::Object(merged.clone()).to_string());
            Ok(merged)
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
    app.writer
        .durable(move |tx| {
            let viewer = tx.intern_actor(&viewer)?;
            if priority {
                private::put(tx, Kind::Priority, viewer, None, now)?;
            } else {
                private::remove(tx, Kind::Priority, viewer, None);
            }
            match private::get(tx, Kind::Seen, viewer, None)? {
                Some(_) => Ok(()),
                None => private::put(tx, Kind::Seen, viewer, None, now),
            }
        })
        .await?;
    Ok(Reply::empty())
}
