//! `app.bsky.contact.*`: finding friends by phone number takes a service with phone numbers, which this is not.

use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// All of its methods, once the caller's credentials and input are found good. Reads nothing.
pub(crate) fn not_offered(_: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    Err(XrpcError::not_configured("This service is not configured to support contact imports."))
}
