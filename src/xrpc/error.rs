//! Protocol errors: the only place that knows error names and status codes.
//!
//! The external message and the internal cause are two things: a cause is logged once, when the answer is encoded,
//! and never leaves the process.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::message::{REPO_REV, rate_headers};
use crate::limits::Refused;
use crate::store::StoreError;

type ErrorText = Cow<'static, str>;

/// What a call answers when it fails: `{"error": name, "message": message}` with a status.
#[derive(Debug)]
pub struct XrpcError {
    status: StatusCode,
    name: ErrorText,
    message: ErrorText,
    cause: Option<Box<dyn Error + Send + Sync>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Wire<'a> {
    error: &'a str,
    message: &'a str,
}

impl XrpcError {
    fn new(status: StatusCode, name: impl Into<ErrorText>, message: impl Into<ErrorText>) -> Self {
        Self {
            status,
            name: name.into(),
            message: message.into(),
            cause: None,
            headers: Vec::new(),
        }
    }

    /// 400 `InvalidRequest`: parameters, cursors, bodies, and everything the lexicon names no error for.
    pub fn invalid_request(message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    /// 400 with an error name of the method's lexicon, such as `NotFound` or `BlockedActor`.
    pub fn named(name: impl Into<ErrorText>, message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, name, message)
    }

    /// 401 `AuthenticationRequired`.
    pub fn auth_required(message: impl Into<ErrorText>) -> Self {
        Self::auth("AuthenticationRequired", message)
    }

    /// 401 with a name, such as `JwtExpired`. An empty message becomes the standard one.
    pub fn auth(name: &'static str, message: impl Into<ErrorText>) -> Self {
        let message = message.into();
        let message =
            if message.is_empty() { Cow::Borrowed("Authentication Required") } else { message };
        Self::new(StatusCode::UNAUTHORIZED, name, message)
    }

    /// 400 `BadRequestError`: paths outside of `/xrpc/`, which the reference names so.
    pub fn bad_path(message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestError", message)
    }

    /// 404 `NotFoundError`: an image or blob.
    pub fn not_found(message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", message)
    }

    /// 403 `NotAMember`: it would be kept for members, and the caller is none.
    pub fn not_a_member() -> Self {
        let message = "This server keeps notifications, mutes, bookmarks, drafts and settings for its members only. \
                       Whoever runs it can make you one.";
        Self::new(StatusCode::FORBIDDEN, "NotAMember", message)
    }

    /// 413 `PayloadTooLarge`.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "request entity too large")
    }

    /// 415 `UnsupportedMediaType`.
    pub fn unsupported_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "unsupported content-encoding",
        )
    }

    /// 501 `MethodNotImplemented`: an unknown method.
    pub fn not_implemented() -> Self {
        Self::not_configured("Method Not Implemented")
    }

    /// 501 `MethodNotImplemented`: the method needs a part that this server does not have.
    pub fn not_configured(message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", message)
    }

    /// 502 `UpstreamFailure`: another server did not do its part.
    pub fn upstream(message: impl Into<ErrorText>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", message)
    }

    /// An error of another service, passed on as it came. A status outside 400..=599 becomes 502.
    pub fn passed_on(
        status: u16,
        name: impl Into<ErrorText>,
        message: impl Into<ErrorText>,
    ) -> Self {
        let status = match StatusCode::from_u16(status) {
            Ok(status) if status.is_client_error() || status.is_server_error() => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, name, message)
    }

    /// 429 `RateLimitExceeded`, with the headers of a PDS (`RateLimit-*`, `Retry-After`).
    pub fn limited(refused: Refused, now_ms: i64) -> Self {
        let seconds = refused.wait.as_secs_f64().ceil().max(1.0) as u64;
        let message =
            format!("Rate Limit Exceeded: too many {}, try again in {seconds} s", refused.name);
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", message)
            .with_header(RETRY_AFTER, seconds.into());
        if let Some(rate) = refused.rate {
            error.headers.extend(rate_headers(rate, 0, refused.wait, now_ms));
        }
        error
    }

    /// 503 `NotEnoughResources` with `Retry-After: 1`: more is queued than can be served.
    pub fn overloaded() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotEnoughResources", "Not Enough Resources")
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 503 `NotEnoughResources`: too much of this is under way or was done lately; it may be tried again after `wait`.
    pub fn busy(message: impl Into<ErrorText>, wait: Duration) -> Self {
        // Whole seconds, and never at once.
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotEnoughResources", message)
            .with_header(RETRY_AFTER, seconds.into())
    }

    /// 503 `InsufficientStorage` with `Retry-After: 60`: the disk is full, so nothing can be kept; reads go on.
    pub fn no_room() -> Self {
        let message = "This server's disk is full: nothing can be saved for now";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "InsufficientStorage", message)
            .with_header(RETRY_AFTER, HeaderValue::from_static("60"))
    }

    /// 500 `InternalServerError`: the cause is logged, the caller sees a fixed message.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "Internal Server Error",
        );
        error.cause = Some(cause.into());
        error
    }

    /// Attaches what went wrong inside; logged for answers of 500 and above.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `atproto-repo-rev`, which PDS read-after-write needs on errors of getPostThread too.
    #[must_use]
    pub fn with_repo_rev(self, rev: Option<&str>) -> Self {
        match rev.and_then(|rev| HeaderValue::from_str(rev).ok()) {
            Some(value) => self.with_header(REPO_REV, value),
            None => self,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A header of the answer.
    #[cfg(test)]
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The protocol's error name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same for who counts errors: one that comes from another service has no name of its own.
    pub fn static_name(&self) -> &'static str {
        match self.name {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "PassedOn",
        }
    }

    /// The message that the caller sees.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What went wrong inside, for the log.
    pub(crate) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// The JSON body and the extra headers.
    pub(crate) fn into_wire(self) -> (StatusCode, Vec<u8>, Vec<(HeaderName, HeaderValue)>) {
        let wire = Wire { error: &self.name, message: &self.message };
        // Two strings always serialise; an empty body is still an error with the right status.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        (self.status, body, self.headers)
    }
}

/// Calls that the engine of the store failed, not what a row holds.
static FAILED_READS: AtomicU64 = AtomicU64::new(0);

/// Calls since the start that failed because the store cannot be read.
#[must_use]
pub fn failed_reads() -> u64 {
    FAILED_READS.load(Ordering::Relaxed)
}

impl From<StoreError> for XrpcError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoRoom => Self::no_room(),
            error => {
                if let StoreError::Engine(_) = error {
                    FAILED_READS.fetch_add(1, Ordering::Relaxed);
                }
                Self::internal(error)
            }
        }
    }
}

impl fmt::Display for XrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.name, self.message)
    }
}

impl Error for XrpcError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_hides_its_cause() {
        let (status, body, _) = XrpcError::internal("disk on fire").into_wire();
        assert_eq!(status, 500);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"error":"InternalServerError","message":"Internal Server Error"}"#
        );
    }

    #[test]
    fn a_passed_on_status_stays_an_error() {
        assert_eq!(XrpcError::passed_on(200, "X", "y").status(), 502);
        assert_eq!(XrpcError::passed_on(404, "X", "y").status(), 404);
    }
}
