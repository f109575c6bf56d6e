//! Requests and responses as the rest of this folder sees them, without the HTTP server's types.

use std::fmt;
use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

/// Tells the client which labelers were applied.
pub(crate) const CONTENT_LABELERS: HeaderName = HeaderName::from_static("atproto-content-labelers");
/// The rev of the viewer's repo that the answer includes; the PDS adds newer writes itself.
pub(crate) const REPO_REV: HeaderName = HeaderName::from_static("atproto-repo-rev");

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
    /// Where it came from; none in this process.
    pub peer: Option<IpAddr>,
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
}

/// The end of a body that is not all in memory.
pub struct Rest(pub BoxStream<'static, io::Result<Bytes>>);

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}
