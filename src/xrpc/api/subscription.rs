//! `app.bsky.notification.putActivitySubscription` and `listActivitySubscriptions`: private state, shown in the subject's
//! profile.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::page::{FetchedPage, fill, is_outdated, limit, once, tid_cursor};
use super::quota;
use crate::private::subscriptions::{self, Subscription};
use crate::view::actor::{ProfileView, profile};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// `app.bsky.notification.putActivitySubscription`: from now on the account's notifications are kept.
pub(crate) async fn put_activity_subscription(
    app: Arc<AppCtx>,
    call: Call,
) -> Result<Reply, XrpcError> {
    let did = call.require_viewer()?.clone();
    let viewer = did.as_str().to_owned();
    let no_input = Value::Null;
    let input = call.input.as_ref().unwrap_or(&no_input);
    let subject = input.get("subject").and_then(Value::as_str).unwrap_or_default().to_owned();
    if subject == viewer {
        return Err(XrpcError::invalid_request("Cannot subscribe to own activity"));
    }
    let asked = input.get("activitySubscription");
    let flag = |key: &str| asked.and_then(|a| a.get(key)?.as_bool()).unwrap_or(false);
    let at = app.clock.now_ms();
    let to = Subscription { at, post: flag("post"), reply: flag("reply") };
    let mut out = json!({ "subject": subject });
    if let (true, Some(out)) = (to.post || to.reply, out.as_object_mut()) {
        out.insert("activitySubscription".to_owned(), asked.cloned().unwrap_or_default());
    }
    if to.post || to.reply {
        app.keep_for(&did).await?;
        quota::room_for(quota::SUBSCRIPTIONS, &app, &call, &subject).await?;
    }
    app.private.change(move |r| subscriptions::subscribe(r, &viewer, &subject, to)).await?;
    Reply::json(&out)
}

#[derive(Serialize)]
struct SubscriptionsOutput {
    subscriptions: Vec<ProfileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.notification.listActivitySubscriptions`: the last made first.
pub(crate) fn list_activity_subscriptions(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut held = None;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let outdated = cursor.is_some_and(is_outdated);
        let Some(viewer) = session.ctx.viewer.filter(|_| !outdated) else {
            return Ok(FetchedPage::empty());
        };
        let before = tid_cursor(cursor)?;
        let page = once(&mut held, || h.subscriptions(viewer))?.page(before, limit);
        let mut state = h.state();
        h.profiles(&mut state, &page.items)?;
        for &id in &page.items {
            let to = subscriptions::get(&session.snapshot, viewer, id)?;
            state.subscriptions.extend(to.map(|to| (id, to)));
        }
        let shown = page.items.iter().filter(|id| !state.viewer_block_exists(**id));
        let items = shown.filter_map(|id| profile(&state, *id)).collect();
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    session.reply(&SubscriptionsOutput { subscriptions: page.items, cursor: page.cursor })
}
