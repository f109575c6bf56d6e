//! `com.atproto.label.*`

use serde::Serialize;

use super::page::limit;
use crate::hydrate::label_query::{LabelCursor, Pattern};
use crate::moderation::{Labelers, ShownLabel};
use crate::schema::Rows;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct LabelsOutput {
    labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `com.atproto.label.queryLabels`: reads the labels on each subject, or for a pattern with a `*` those on up to 2,000
/// subjects that may match, in the order of keys. The reference knows no `*` and has no pages; both need sources.
pub(crate) fn query_labels(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let sources = call.params.strs("sources");
    if sources.is_empty() {
        return Err(XrpcError::invalid_request("source dids are required"));
    }
    let patterns = call.params.strs("uriPatterns").iter().map(|text| Pattern::parse(text));
    let patterns: Option<Vec<Pattern>> = patterns.collect();
    let patterns = patterns.ok_or_else(|| XrpcError::invalid_request("invalid uri pattern"))?;
    let from = call.params.str("cursor").filter(|text| !text.is_empty()).map(|text| {
        LabelCursor::parse(text).ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
    });
    let from = from.transpose()?;
    let mut session = Session::open(app, call)?;
    let mut labelers = Vec::new();
    for source in sources {
        labelers.extend(session.snapshot.actor_id(source)?.map(|id| (id, false)));
    }
    session.ctx.labelers = Labelers::from_iter(labelers);

    let h = session.hydrator();
    let (labels, next) = h.labels_matching(&patterns, from.as_ref(), limit(call))?;
    Reply::json(&LabelsOutput { labels, cursor: next.map(|place| place.to_string()) })
}
