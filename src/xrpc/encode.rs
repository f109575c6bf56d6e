//! From a reply or an error to a response: CORS, validators, compression.
//!
//! CPU-bound, so for anything but small answers it belongs on the read pool.

use std::cell::RefCell;
use std::error::Error;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::error::XrpcError;
use super::message::Response;
use super::reply::Reply;

/// Smaller bodies do not gain from compression.
const COMPRESS_FROM: usize = 1024;

/// What the request says about the form of the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Accept {
    gzip: bool,
    if_none_match: Option<HeaderValue>,
}

impl Accept {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let conditional = matches!(*method, Method::GET | Method::HEAD)
            && !headers
                .get(CACHE_CONTROL)
                .is_some_and(|value| value.to_str().unwrap_or_default().contains("no-cache"));
        Self {
            gzip: headers.get_all(ACCEPT_ENCODING).iter().any(accepts_gzip),
            if_none_match: if conditional { headers.get(IF_NONE_MATCH).cloned() } else { None },
        }
    }

    /// Whether the sender has what this validator names.
    pub(super) fn has(&self, etag: &HeaderValue) -> bool {
        self.if_none_match.as_ref().is_some_and(|wanted| matches_etag(wanted, etag))
    }

    /// Whether encoding this many bytes is work for the read pool.
    pub(super) fn is_costly(&self, bytes: usize) -> bool {
        self.gzip && bytes >= COMPRESS_FROM
    }
}

/// The answer to a handler's result. `nsid` names the call in the log.
pub(super) fn respond(nsid: &str, result: Result<Reply, XrpcError>, accept: &Accept) -> Response {
    match result {
        Ok(reply) => success(reply, accept),
        Err(error) => failure(nsid, error),
    }
}

pub(super) fn success(reply: Reply, accept: &Accept) -> Response {
    let mut headers = base_headers();
    for (name, value) in reply.headers {
        headers.insert(name, value);
    }
    let whole = reply.rest.is_none();
    if reply.status == StatusCode::OK && !reply.body.is_empty() && whole {
        let etag = etag(&reply.body);
        if accept.has(&etag) {
            headers.insert(ETAG, etag);
            return Response {
                status: StatusCode::NOT_MODIFIED,
                headers,
                body: Bytes::new(),
                rest: None,
            };
        }
        headers.insert(ETAG, etag);
    }
    if let Some(content_type) = reply.content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let mut body = reply.body;
    if body.len() >= COMPRESS_FROM && whole {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if accept.gzip
            && let Some(compressed) = gzip(&body)
        {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            body = compressed;
        }
    }
    Response { status: reply.status, headers, body: body.into(), rest: reply.rest }
}

pub(super) fn failure(nsid: &str, error: XrpcError) -> Response {
    if error.status().is_server_error()
        && let Some(cause) = error.cause()
    {
        let cause = chain(cause);
        if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(nsid, cause, "call failed");
        } else {
            tracing::debug!(nsid, cause, name = error.name(), "call failed");
        }
    }
    let (status, body, extra) = error.into_wire();
    let mut headers = base_headers();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in extra {
        headers.insert(name, value);
    }
    Response { status, headers, body: body.into(), rest: None }
}

/// The answer to any `OPTIONS` request (Fetch standard, CORS preflight).
pub(super) fn preflight(request: &HeaderMap) -> Response {
    let mut headers = base_headers();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Response { status: StatusCode::NO_CONTENT, headers, body: Bytes::new(), rest: None }
}

pub(super) fn base_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("atproto-content-labelers, atproto-repo-rev, retry-after"),
    );
    headers
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn Error + Send + Sync)) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        out.push_str(": ");
        out.push_str(&source.to_string());
        next = source.source();
    }
    out
}

fn accepts_gzip(value: &HeaderValue) -> bool {
    value.to_str().unwrap_or_default().split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

/// Weak, since the same body may be sent compressed or not.
fn etag(body: &[u8]) -> HeaderValue {
    let text = format!("W/\"{:x}-{:016x}\"", body.len(), xxhash_rust::xxh3::xxh3_64(body));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

fn matches_etag(wanted: &HeaderValue, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(wanted), Ok(etag)) = (wanted.to_str(), etag.to_str()) else {
        return false;
    };
    wanted.trim() == "*" || wanted.split(',').any(|tag| opaque(tag) == opaque(etag))
}

thread_local! {
    /// The compressor's tables are 300 KB: one per thread, not one per answer.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// One gzip member (RFC 1952); `None` if it does not fit in the size of the input, which makes it pointless.
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(&HEADER);
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        match deflate.compress_vec(body, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Some(()),
            _ => None,
        }
    })?;
    let mut crc = Crc::new();
    crc.update(body);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    // The length is modulo 2^32 by definition.
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn accept(pairs: &[(http::HeaderName, &'static str)]) -> Accept {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Accept::of(&Method::GET, &headers.collect())
    }

    #[test]
    fn large_bodies_are_compressed_when_accepted() {
        let text = "{\"a\":1}".repeat(1000);
        let reply = || Reply::json_bytes(text.clone().into_bytes());
        let cases = [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
        ];
        for (value, expect) in cases {
            let response = success(reply(), &accept(&[(ACCEPT_ENCODING, value)]));
            assert_eq!(response.headers.contains_key(CONTENT_ENCODING), expect, "{value}");
        }
        for _ in 0..2 {
            let response = success(reply(), &accept(&[(ACCEPT_ENCODING, "gzip")]));
            let mut out = String::new();
            flate2::read::GzDecoder::new(response.body.as_ref()).read_to_string(&mut out).unwrap();
            assert_eq!(out, text);
            assert!(response.body.len() < text.len() / 10);
        }
        let small =
            success(Reply::json_bytes(b"{}".to_vec()), &accept(&[(ACCEPT_ENCODING, "gzip")]));
        assert!(!small.headers.contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn incompressible_bodies_are_sent_as_they_are() {
        let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
        let response =
            success(Reply::json_bytes(noise.clone()), &accept(&[(ACCEPT_ENCODING, "gzip")]));
        assert!(!response.headers.contains_key(CONTENT_ENCODING));
        assert_eq!(response.body, noise);
    }

    #[test]
    fn an_unchanged_answer_is_not_sent_again() {
        let reply = || Reply::json_bytes(b"{\"a\":1}".to_vec());
        let first = success(reply(), &Accept::default());
        let etag = first.headers.get(ETAG).unwrap().clone();
        let again = |value: HeaderValue| {
            let accept = Accept { gzip: false, if_none_match: Some(value) };
            success(reply(), &accept).status.as_u16()
        };
        assert_eq!(again(etag.clone()), 304);
        assert_eq!(again(HeaderValue::from_static("\"x\", *")), 200);
        assert_eq!(again(HeaderValue::from_static("*")), 304);
        assert_eq!(again(HeaderValue::from_static("W/\"other\"")), 200);
        let other = success(Reply::json_bytes(b"{\"a\":2}".to_vec()), &Accept::default());
        assert_ne!(other.headers.get(ETAG), Some(&etag));
    }
}
