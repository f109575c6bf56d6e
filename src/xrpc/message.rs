//! Requests and responses as the rest of this folder sees them, without the HTTP server's types.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

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
    /// The other end of the connection: behind a proxy that is the proxy.
    pub peer: SocketAddr,
}

/// A response, complete and ready to be written.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers; `content-length` and `date` are the server's.
    pub headers: HeaderMap,
    /// The body, compressed already if it is.
    pub body: Bytes,
}
