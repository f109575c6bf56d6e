//! `com.atproto.admin.*`: takedowns by the operator or their moderation service.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::hydrate::AccountStatus;
use crate::private::{self, Takedown};
use crate::schema::{Rows, Target};
use crate::store::Tx;
use crate::syntax::datetime::Time;
use crate::view::INVALID_HANDLE;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// What a takedown without a reference is called.
const UNNAMED: &str = "TAKEDOWN";

const REPO: &str = "com.atproto.admin.defs#repoRef";
const RECORD: &str = "com.atproto.repo.strongRef";
const BLOB: &str = "com.atproto.admin.defs#repoBlobRef";

/// `com.atproto.admin.getSubjectStatus`
pub(crate) fn get_subject_status(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let s = &session.snapshot;
    let (did, uri) = (call.params.str("did"), call.params.str("uri"));
    let missing = || XrpcError::named("NotFound", "Subject not found");
    let (subject, takedown) = if let Some(cid) = call.params.str("blob") {
        let did = did.ok_or_else(|| {
            XrpcError::invalid_request("Must provide a did to request blob state")
        })?;
        let takedown = match s.actor_id(did)? {
            Some(owner) => private::blob_takedown(s, owner, cid)?,
            None => None,
        };
        let takedown = takedown.map(|t| Takedown { reference: UNNAMED.to_owned(), ..t });
        (json!({ "$type": BLOB, "did": did, "cid": cid }), takedown)
    } else if let Some(uri) = uri {
        let record = s.target(uri)?.and_then(Target::record).ok_or_else(missing)?;
        let (cid, _) = super::repo::held(s, record)?.ok_or_else(missing)?;
        let takedown = private::takedown(s, Target::of(record))?;
        (json!({ "$type": RECORD, "uri": uri, "cid": cid }), takedown)
    } else if let Some(did) = did {
        let id = s.actor_id(did)?.ok_or_else(missing)?;
        session.hydrator().actor(id)?.ok_or_else(missing)?;
        (json!({ "$type": REPO, "did": did }), private::takedown(s, Target::Actor(id))?)
    } else {
        return Err(XrpcError::invalid_request("No provided subject"));
    };
    let mut status = json!({ "applied": takedown.is_some() });
    if let (Some(takedown), Some(status)) = (takedown, status.as_object_mut()) {
        status.insert("ref".to_owned(), takedown.reference.into());
    }
    Reply::json(&json!({ "subject": subject, "takedown": status }))
}

/// `com.atproto.admin.updateSubjectStatus`: answered once it is on disk and every read shows it.
pub(crate) async fn update_subject_status(
    app: Arc<AppCtx>,
    call: Call,
) -> Result<Reply, XrpcError> {
    if !call.access().can_perform_takedown {
        return Err(XrpcError::auth_required("Must be a full moderator to update subject state"));
    }
    let input = call.input.unwrap_or_default();
    let subject = input.get("subject").cloned().unwrap_or_default();
    let asked = input.get("takedown").cloned();
    if let Some(asked) = &asked {
        let applied = asked.get("applied").and_then(Value::as_bool).unwrap_or(false);
        let reference = asked.get("ref").and_then(Value::as_str).filter(|text| !text.is_empty());
        let takedown = applied.then(|| Takedown {
            at: app.clock.now_ms(),
            reference: reference.unwrap_or(UNNAMED).to_owned(),
        });
        apply(&app, &subject, takedown).await?;
    }
    let mut out = json!({ "subject": subject });
    if let (Some(asked), Some(out)) = (asked, out.as_object_mut()) {
        out.insert("takedown".to_owned(), asked);
    }
    Reply::json(&out)
}

/// `com.atproto.admin.getAccountInfos`: reads one cached account for each DID.
pub(crate) fn get_account_infos(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let include = session.ctx.include_takedowns;
    let mut infos = Vec::new();
    for did in call.params.strs("dids") {
        let Some(id) = session.snapshot.actor_id(did)? else { continue };
        let Some(actor) = h.actor(id)? else { continue };
        let suspended = [AccountStatus::Takendown, AccountStatus::Suspended];
        if !include && (actor.taken_down || suspended.contains(&actor.status)) {
            continue;
        }
        let profile = actor.profile.as_ref();
        let mut info = json!({
            "did": did,
            "handle": actor.handle.as_deref().unwrap_or(INVALID_HANDLE),
            "indexedAt": Time(profile.map_or(0, |profile| profile.record.sort)),
        });
        let shown = profile.filter(|profile| include || !profile.taken_down);
        if let (Some(profile), Some(info)) = (shown, info.as_object_mut()) {
            info.insert("relatedRecords".to_owned(), json!([profile.record.value]));
        }
        infos.push(info);
    }
    Reply::json(&json!({ "infos": infos }))
}

async fn apply(app: &AppCtx, subject: &Value, takedown: Option<Takedown>) -> Result<(), XrpcError> {
    let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text("$type");
    let target = match kind.as_str() {
        REPO => text("did"),
        RECORD => text("uri"),
        BLOB => {
            let (did, cid) = (text("did"), text("cid"));
            let change = private::takedowns::moderate_blob(&did, &cid, takedown);
            return Ok(app.private.change(move |_| Ok((vec![change], ()))).await?);
        }
        _ => {
            return Err(XrpcError::invalid_request(format!("Invalid subject type: {kind}")));
        }
    };
    let plan = move |_: &Tx<'_>| private::takedowns::moderate(&target, takedown);
    match app.private.change(plan).await? {
        true => Ok(()),
        false => Err(XrpcError::invalid_request("Invalid subject")),
    }
}
