//! `com.atproto.temp.*`: methods that the lexicons keep and that no AppView serves any more.

use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// `com.atproto.temp.fetchLabels`: always refused; `com.atproto.label.queryLabels` took its place.
pub(crate) fn fetch_labels(_ctx: &AppCtx, _call: &Call) -> Result<Reply, XrpcError> {
    Err(XrpcError::invalid_request("not implemented: use com.atproto.label.queryLabels"))
}
