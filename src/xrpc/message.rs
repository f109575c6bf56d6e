//! Requests and responses as the rest of this folder sees them, without the HTTP server's types.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::socket::Upgrade;
use crate::limits::{Client, Rate, Standing};
use crate::net::wire_size;

/// Tells the client which labelers were applied.
pub(crate) const CONTENT_LABELERS: HeaderName = HeaderName::from_static("atproto-content-labelers");
/// The rev of the viewer's repo that the answer includes; the PDS adds newer writes itself.
pub(crate) const REPO_REV: HeaderName = HeaderName::from_static("atproto-repo-rev");

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const RATE_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What a client has left of a rate, as PDSes tell it: the reset is a time of the clock in seconds.
pub(super) fn rate_headers(
    rate: Rate,
    remaining: u32,
    reset: Duration,
    now_ms: i64,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let reset_ms = now_ms.saturating_add(i64::try_from(reset.as_millis()).unwrap_or(i64::MAX));
    let policy = format!("{};w={}", rate.count, rate.per.as_secs());
    let numbers = [
        (RATE_LIMIT, rate.count.into()),
        (RATE_REMAINING, remaining.into()),
        (RATE_RESET, HeaderValue::from(reset_ms.saturating_add(999) / 1000)),
    ];
    let policy = HeaderValue::try_from(policy).ok().map(|policy| (RATE_POLICY, policy));
    numbers.into_iter().chain(policy)
}

impl Response {
    /// Tells a client where it stands.
    pub(super) fn with_standing(mut self, standing: Option<Standing>, now_ms: i64) -> Self {
        if let Some(Standing { rate, remaining, reset }) = standing {
            self.headers.extend(rate_headers(rate, remaining, reset, now_ms));
        }
        self
    }
}

/// The body of a request, read before routing because it is capped at 100 KB.
#[derive(Debug, Clone)]
pub enum Body {
    /// None was sent.
    Missing,
    /// What was sent, `content-encoding` still applied.
    Bytes(Bytes),
    /// More than the cap was sent or announced.
    TooLarge,
    /// The client stopped sending, or was too slow.
    Aborted,
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Path and query, as sent.
    pub uri: Uri,
    /// Headers, as sent.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Who sent it.
    pub client: Client,
    /// Who is connected: a proxy, or the client itself.
    pub peer: IpAddr,
}

/// A response, ready to be written.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers; `content-length` and `date` are the server's.
    pub headers: HeaderMap,
    /// The body, compressed already if it is; its beginning if there is a rest.
    pub body: Bytes,
    /// What follows the body. An error in it breaks the connection, so that the receiver does not take it for the end.
    pub rest: Option<Rest>,
    /// The name of the error that it tells, for who counts them.
    pub error: Option<&'static str>,
    /// What the connection becomes once this is out.
    pub upgrade: Option<Upgrade>,
}

impl Request {
    /// About how many bytes it took; of a body that was not read to its end nothing counts.
    pub(super) fn wire_size(&self) -> u64 {
        let body = match &self.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Missing | Body::TooLarge | Body::Aborted => 0,
        };
        let target = self.uri.path().len() + self.uri.query().map_or(0, str::len);
        wire_size(&self.headers) + (target + body) as u64
    }
}

impl Response {
    /// One that is all there.
    pub(super) fn whole(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        Self { status, headers, body: body.into(), rest: None, error: None, upgrade: None }
    }

    /// About how many bytes it takes, without the rest.
    pub(super) fn wire_size(&self) -> u64 {
        wire_size(&self.headers) + self.body.len() as u64
    }
}

/// The end of a body that is not all in memory.
pub struct Rest(pub BoxStream<'static, io::Result<Bytes>>);

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}
