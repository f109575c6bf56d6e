//! `com.atproto.label.*`

use serde::Serialize;

use crate::moderation::{Label, Labelers};
use crate::store::Reader;
use crate::syntax::is_uri;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct Labels {
    labels: Vec<Label>,
}

/// `com.atproto.label.queryLabels`: exact subjects only, as in the reference.
pub(crate) fn query_labels(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let patterns = call.params.strs("uriPatterns");
    let sources = call.params.strs("sources");
    if sources.is_empty() {
        return Err(XrpcError::invalid_request("source dids are required"));
    }
    if patterns.iter().any(|pattern| pattern.contains('*')) {
        return Err(XrpcError::invalid_request("wildcards not supported"));
    }
    if !patterns.iter().all(|pattern| is_uri(pattern)) {
        return Err(XrpcError::invalid_request("invalid uri pattern"));
    }
    let mut session = Session::open(app, call)?;
    let mut labelers = Vec::new();
    for source in sources {
        labelers.extend(session.snapshot.actor_id(source)?.map(|id| (id, false)));
    }
    session.ctx.labelers = Labelers::from_iter(labelers);

    let h = session.hydrator();
    let mut state = h.state();
    let mut labels = Vec::new();
    for pattern in patterns {
        if let Some(target) = session.snapshot.target(pattern)? {
            h.labels(&mut state, [target])?;
            labels.extend(crate::view::labels(&state, target));
        }
    }
    Reply::json(&Labels { labels })
}
