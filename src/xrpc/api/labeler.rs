//! `app.bsky.labeler.*`

use serde::Serialize;

use crate::schema::Rows;
use crate::view::labeler::{LabelerViewUnion, service};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct Services {
    views: Vec<LabelerViewUnion>,
}

/// `app.bsky.labeler.getServices`
pub(crate) fn get_services(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let detailed = call.params.bool("detailed").unwrap_or(false);
    let mut ids = Vec::new();
    for did in call.params.strs("dids") {
        ids.extend(session.snapshot.actor_id(did)?);
    }

    let h = session.hydrator();
    let mut state = h.state();
    h.labelers(&mut state, &ids)?;

    let views = ids.iter().filter_map(|id| service(&state, *id, detailed)).collect();
    session.reply(&Services { views })
}
