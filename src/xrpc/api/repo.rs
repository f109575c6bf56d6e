//! `com.atproto.repo.*`

use serde::Serialize;

use crate::hydrate::{Json, RecordId, Target, record::record_cid};
use crate::schema::rows::EdgeKind;
use crate::schema::{PostId, Rows, collections as c, rebuild};
use crate::store::{Snapshot, StoreError};
use crate::xrpc::session::{Identified, Session};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct GetRecordOutput {
    uri: String,
    cid: String,
    value: Json,
}

/// `com.atproto.repo.getRecord`: any record that the index holds.
pub(crate) fn get_record(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let param = |name| call.params.str(name).unwrap_or_default();
    let (repo, collection, rkey) = (param("repo"), param("collection"), param("rkey"));
    // A PDS looks here which service a feed has before it passes a call for it on.
    let asked = format!("at://{repo}/{collection}/{rkey}");
    if let Some(feed) = app.client_config.load().stand_in(&asked)
        && let Some(id) = session.generator_id(feed)?
        && let Some((cid, value)) = held(&session.snapshot, id)?
    {
        return Reply::json(&GetRecordOutput { uri: asked, cid, value });
    }
    let result = find(app, call, &session);
    if result.is_err() {
        let complete = match session.actor(repo)? {
            Some(actor) => session.is_complete(actor)?,
            None => false,
        };
        if !complete {
            call.to_fetch.record(&asked, 0);
        }
    }
    result
}

fn find(app: &AppCtx, call: &Call, session: &Session) -> Result<Reply, XrpcError> {
    let param = |name| call.params.str(name).unwrap_or_default();
    let (repo, collection, rkey) = (param("repo"), param("collection"), param("rkey"));
    let no_repo = || XrpcError::invalid_request(format!("Could not find repo: {repo}"));
    let Identified::Known(actor) = session.identify(repo)? else { return Err(no_repo()) };
    let account = session.hydrator().actor(actor)?.ok_or_else(no_repo)?;
    if !session.ctx.include_takedowns && !account.is_hosted() {
        return Err(no_repo());
    }

    let uri = format!("at://{}/{collection}/{rkey}", account.did);
    let missing =
        |uri: &str| XrpcError::named("RecordNotFound", format!("Could not locate record: {uri}"));
    let snapshot = &session.snapshot;
    let (Some(coll), Some(rkey)) = (snapshot.coll_id(collection)?, snapshot.rkey(rkey)?) else {
        return Err(missing(&uri));
    };
    let id = RecordId { actor, coll, rkey };
    let taken_down = app.hydration.takedowns.contains(Target::of(id));
    if taken_down && !session.ctx.include_takedowns {
        return Err(missing(&uri));
    }
    let (cid, value) = held(snapshot, id)?.ok_or_else(|| missing(&uri))?;
    if call.params.str("cid").is_some_and(|asked| asked != cid) {
        return Err(missing(&uri));
    }
    Reply::json(&GetRecordOutput { uri, cid, value })
}

/// The CID and value of a record, wherever it is held.
pub(super) fn held(s: &Snapshot, id: RecordId) -> Result<Option<(String, Json)>, StoreError> {
    let found = if id.coll == c::POST {
        match s.post(PostId { author: id.actor, rkey: id.rkey })? {
            Some(row) => Some((s.unpack(&row.packed)?, s.digest(row.cid, &row.packed)?)),
            None => held_row(s, id)?,
        }
    } else if let Some(kind) = EdgeKind::compact(id.coll)
        && let Some(edge) = s.edge(kind, id.actor, id.rkey)?
    {
        rebuild::edge_record(s, kind, id.actor, id.rkey, &edge)?
    } else {
        held_row(s, id)?
    };
    Ok(found.map(|(value, digest)| (record_cid(&digest), Json::from(value))))
}

fn held_row(
    s: &Snapshot,
    id: RecordId,
) -> Result<Option<(ipld_core::ipld::Ipld, [u8; 32])>, StoreError> {
    match s.record(id)? {
        Some(row) => Ok(Some((s.unpack(&row.packed)?, s.digest(row.cid, &row.packed)?))),
        None => Ok(None),
    }
}
