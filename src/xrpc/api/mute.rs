//! `app.bsky.graph.mute*` and `unmute*`: private state, answered once it is on disk.

use std::sync::Arc;

use super::graph::is_record_uri;
use super::quota;
use crate::private::mutes::{self, MutedRecord};
use crate::private::{Change, Mute};
use crate::schema::Rows;
use crate::xrpc::session::{Identified, identify};
use crate::xrpc::{AppCtx, Call, FetchRequest, Line, Reply, XrpcError};

fn text<'a>(call: &'a Call, key: &str) -> &'a str {
    call.input.as_ref().and_then(|input| input.get(key)?.as_str()).unwrap_or_default()
}

fn flag(call: &Call, key: &str) -> bool {
    call.input.as_ref().and_then(|input| input.get(key)?.as_bool()).unwrap_or(false)
}

fn now(app: &AppCtx) -> i64 {
    app.clock.now_ms()
}

/// The DID behind the `actor` of the input; a handle that nobody here has is looked up.
async fn subject(app: &AppCtx, call: &Call) -> Result<String, XrpcError> {
    let identifier = text(call, "actor");
    if crate::syntax::is_did(identifier) {
        return Ok(identifier.to_owned());
    }
    let mut did = owner(app, call.line(), identifier).await?;
    if did.is_none() && app.bring(vec![FetchRequest::Account(identifier.to_owned())]).await {
        did = owner(app, call.line(), identifier).await?;
    }
    did.ok_or_else(|| XrpcError::invalid_request("Actor not found"))
}

async fn owner(app: &AppCtx, line: Line, handle: &str) -> Result<Option<String>, XrpcError> {
    let (store, handle) = (app.store.clone(), handle.to_owned());
    let look = move || {
        let snapshot = store.snapshot();
        match identify(&snapshot, &handle)? {
            Identified::Known(id) => snapshot.did(id).map(|did| Some(did.to_string())),
            Identified::UnknownDid | Identified::UnknownHandle => Ok(None),
        }
    };
    Ok(app.blocking(line, look).await??)
}

/// `app.bsky.graph.muteActor`
pub(crate) async fn mute_actor(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let subject = subject(&app, &call).await?;
    if subject == viewer {
        return Err(XrpcError::invalid_request("Actor cannot mute themselves"));
    }
    let mute = Mute {
        at: now(&app),
        only_reposts: flag(&call, "onlyReposts"),
        only_quoteposts: flag(&call, "onlyQuoteposts"),
    };
    quota::room_for(quota::MUTES, &app, &call, &subject).await?;
    app.private.change(move |r| mutes::mute_account(r, &viewer, &subject, mute)).await?;
    Ok(Reply::empty())
}

/// `app.bsky.graph.unmuteActor`
pub(crate) async fn unmute_actor(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str();
    let subject = subject(&app, &call).await?;
    unmute(&app, mutes::unmute_account(viewer, &subject)).await
}

/// `app.bsky.graph.muteActorList`
pub(crate) async fn mute_actor_list(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    mute_record(app, &call, MutedRecord::List, "list", &["app.bsky.graph.list"]).await
}

/// `app.bsky.graph.unmuteActorList`
pub(crate) async fn unmute_actor_list(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str();
    let list = text(&call, "list");
    unmute(&app, mutes::unmute_record(viewer, MutedRecord::List, list)).await
}

/// `app.bsky.graph.muteThread`
pub(crate) async fn mute_thread(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let posts = ["app.bsky.feed.post", "community.blacksky.feed.post"];
    mute_record(app, &call, MutedRecord::Thread, "root", &posts).await
}

/// `app.bsky.graph.unmuteThread`
pub(crate) async fn unmute_thread(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str();
    let root = text(&call, "root");
    unmute(&app, mutes::unmute_record(viewer, MutedRecord::Thread, root)).await
}

async fn mute_record(
    app: Arc<AppCtx>,
    call: &Call,
    what: MutedRecord,
    key: &str,
    collections: &[&str],
) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let uri = text(call, key).to_owned();
    if !collections.iter().any(|collection| is_record_uri(&uri, collection)) {
        let message = format!("{key} must be the URI of a {}", collections.join(" or "));
        return Err(XrpcError::invalid_request(message));
    }
    let kept = match what {
        MutedRecord::List => quota::LIST_MUTES,
        MutedRecord::Thread => quota::THREAD_MUTES,
    };
    quota::room_for(kept, &app, call, &uri).await?;
    let at = now(&app);
    app.private.change(move |r| mutes::mute_record(r, &viewer, what, &uri, at)).await?;
    Ok(Reply::empty())
}

/// Unmuting what was not muted is fine.
async fn unmute(app: &AppCtx, change: Change) -> Result<Reply, XrpcError> {
    app.private.change(move |_| Ok((vec![change], ()))).await?;
    Ok(Reply::empty())
}
