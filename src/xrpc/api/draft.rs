//! `app.bsky.draft.*`: private state, answered once it is on disk, and its pages.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::page::{limit, time_cursor};
use crate::private::drafts;
use crate::store::StoreError;
use crate::syntax::Tid;
use crate::syntax::datetime::{self, Time};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

fn now(app: &AppCtx) -> i64 {
    app.clock.now_ms()
}

/// The draft in the input or in a part of it, as it is kept.
fn draft(of: &Value) -> Value {
    of.get("draft").cloned().unwrap_or_default()
}

/// An id that is not canonical is valid, but no draft has it.
fn id(of: &Value) -> Option<Tid> {
    Tid::parse(of.get("id")?.as_str()?)
}

#[derive(Serialize)]
struct Created {
    id: String,
}

/// `app.bsky.draft.createDraft`
pub(crate) async fn create_draft(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let draft = draft(&call.input.unwrap_or_default());
    let (at, limit) = (now(&app), app.limits.load().drafts as usize);
    let made = app.private.change(move |r| drafts::create(r, &viewer, draft, at, limit)).await?;
    match made {
        Some(id) => Reply::json(&Created { id: id.to_string() }),
        None => Err(XrpcError::named("DraftLimitReached", "Drafts limit reached")),
    }
}

/// `app.bsky.draft.updateDraft`: a draft that is not there stays so, or this would get around the limit.
pub(crate) async fn update_draft(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let input = call.input.unwrap_or_default();
    let changed = input.get("draft").cloned().unwrap_or_default();
    let (Some(id), draft, at) = (id(&changed), draft(&changed), now(&app)) else {
        return Ok(Reply::empty());
    };
    app.private.change(move |r| drafts::update(r, &viewer, id, draft, at)).await?;
    Ok(Reply::empty())
}

/// `app.bsky.draft.deleteDraft`: to take away what is not there is fine.
pub(crate) async fn delete_draft(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let Some(id) = id(&call.input.unwrap_or_default()) else { return Ok(Reply::empty()) };
    app.private.change(move |_| Ok((vec![drafts::delete(&viewer, id)], ()))).await?;
    Ok(Reply::empty())
}

/// `app.bsky.draft.defs#draftView`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DraftView {
    id: String,
    draft: Box<RawValue>,
    created_at: Time,
    updated_at: Time,
}

#[derive(Serialize)]
struct Drafts {
    drafts: Vec<DraftView>,
    /// Empty on the last page, as clients know it from the reference.
    cursor: String,
}

/// `app.bsky.draft.getDrafts`: the last changed first. Labels have no part in it.
pub(crate) fn get_drafts(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (before, limit) = (time_cursor(call.params.str("cursor"))?, limit(call));
    let mut page = match session.ctx.viewer {
        Some(viewer) => drafts::page(&session.snapshot, viewer, before, limit.saturating_add(1))?,
        None => Vec::new(),
    };
    let more = page.len() > limit;
    page.truncate(limit);
    let cursor = page.last().filter(|_| more).map(|(_, draft)| datetime::format_ms(draft.updated));
    let views = page.into_iter().map(|(id, held)| {
        let draft =
            RawValue::from_string(held.json).map_err(|_| StoreError::undecodable("draft"))?;
        let (created_at, updated_at) = (Time(held.created), Time(held.updated));
        Ok(DraftView { id: id.to_string(), draft, created_at, updated_at })
    });
    let drafts = views.collect::<Result<_, StoreError>>()?;
    Reply::json(&Drafts { drafts, cursor: cursor.unwrap_or_default() })
}
