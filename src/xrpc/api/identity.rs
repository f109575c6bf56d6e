//! `com.atproto.identity.*`

use serde::Serialize;

use crate::schema::Rows;
use crate::xrpc::session::{Identified, identify};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct Resolved<'a> {
    did: &'a str,
}

/// `com.atproto.identity.resolveHandle`: from the index, where handles were verified in both directions.
pub(crate) fn resolve_handle(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let handle = call.params.str("handle").unwrap_or_default();
    let snapshot = app.store.snapshot();
    match identify(&snapshot, handle)? {
        Identified::Known(id) => Reply::json(&Resolved { did: &snapshot.did(id)? }),
        Identified::UnknownDid | Identified::UnknownHandle => {
            Err(XrpcError::invalid_request("Unable to resolve handle"))
        }
    }
}
