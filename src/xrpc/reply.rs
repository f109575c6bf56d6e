//! What a handler gives back: bytes that are ready to send, and a few headers.

use std::cell::RefCell;

use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::error::XrpcError;
use super::labelers::ParsedLabelers;
use super::message::{CONTENT_LABELERS, REPO_REV, Rest};

/// Bytes of the buffer that outlive an answer.
const BUFFER_KEPT: usize = 1 << 20;

thread_local! {
    /// Answers grow here and are copied once: growing each in memory of its own costs its size several times over.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What follows the body, if that is only its beginning.
    pub(crate) rest: Option<Rest>,
}

impl Reply {
    /// Status 200 with `value` as JSON. Serialise on the read pool, where the handler runs.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, XrpcError> {
        let body = BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT);
            serde_json::to_writer(&mut *buffer, value).map(|()| buffer.clone())
        });
        Ok(Self::json_bytes(body.map_err(XrpcError::internal)?))
    }

    /// Status 200 with a body that is JSON already.
    pub fn json_bytes(body: Vec<u8>) -> Self {
        Self::with_type(body, "application/json; charset=utf-8")
    }

    /// Status 200 without a body: procedures that have no output.
    pub fn empty() -> Self {
        Self {
            body: Vec::new(),
            content_type: None,
            status: StatusCode::OK,
            headers: Vec::new(),
            rest: None,
        }
    }

    /// Status 200 with a body of another type.
    pub fn with_type(body: Vec<u8>, content_type: &'static str) -> Self {
        Self { body, content_type: Some(HeaderValue::from_static(content_type)), ..Self::empty() }
    }

    /// What follows the body, made while it is sent. Such an answer is neither compressed nor compared with one that the
    /// client has.
    #[must_use]
    pub fn followed_by(mut self, rest: Rest) -> Self {
        self.rest = Some(rest);
        self
    }

    /// Replaces the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `atproto-content-labelers`: the labelers that were applied.
    #[must_use]
    pub fn with_labelers(self, labelers: &ParsedLabelers) -> Self {
        match labelers.header_value() {
            Some(value) => self.with_header(CONTENT_LABELERS, value),
            None => self,
        }
    }

    /// Adds `atproto-repo-rev` when the viewer's rev is known.
    #[must_use]
    pub fn with_repo_rev(self, rev: Option<&str>) -> Self {
        match rev.and_then(|rev| HeaderValue::from_str(rev).ok()) {
            Some(value) => self.with_header(REPO_REV, value),
            None => self,
        }
    }

    /// Sets `cache-control`; the reference sends none for XRPC answers.
    #[must_use]
    pub fn with_cache_control(self, value: &'static str) -> Self {
        self.with_header(CACHE_CONTROL, HeaderValue::from_static(value))
    }
}
