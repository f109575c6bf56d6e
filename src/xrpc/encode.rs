//! From a reply or an error to a response: CORS, validators, compression.
//!
//! CPU-bound, so for anything but small answers it belongs on the read pool.
//!
//! zstd is sent to whoever names it, gzip to others: of the same page it makes a third less in two thirds of the time.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use zstd::bulk::Compressor;

use super::error::XrpcError;
use super::message::Response;
use super::reply::Reply;

/// Smaller bodies do not gain from compression.
const COMPRESS_FROM: usize = 1024;

/// What the request says about the form of the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Accept {
    coding: Coding,
    if_none_match: Option<HeaderValue>,
}

impl Accept {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let conditional = matches!(*method, Method::GET | Method::HEAD)
            && !headers
                .get(CACHE_CONTROL)
                .is_some_and(|value| value.to_str().unwrap_or_default().contains("no-cache"));
        Self {
            coding: Coding::of(headers),
            if_none_match: if conditional { headers.get(IF_NONE_MATCH).cloned() } else { None },
        }
    }

    /// Whether the sender has what this validator names.
    pub(super) fn has(&self, etag: &HeaderValue) -> bool {
        self.if_none_match.as_ref().is_some_and(|wanted| matches_etag(wanted, etag))
    }

    /// Whether encoding this many bytes is work for the read pool.
    pub(super) fn is_costly(&self, bytes: usize) -> bool {
        self.coding != Coding::Identity && bytes >= COMPRESS_FROM
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
    // What is a compressed file by its name is not compressed again.
    let varies =
        reply.body.len() >= COMPRESS_FROM && whole && !headers.contains_key(CONTENT_ENCODING);
    if varies {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if reply.status == StatusCode::OK && !reply.body.is_empty() && whole {
        let etag = etag(&reply.body);
        if accept.has(&etag) {
            headers.insert(ETAG, etag);
            return Response::whole(StatusCode::NOT_MODIFIED, headers, Bytes::new());
        }
        headers.insert(ETAG, etag);
    }
    if let Some(content_type) = reply.content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let mut body = reply.body;
    if varies && let Some((compressed, name)) = accept.coding.compress(&body) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        body = compressed;
    }
    Response { rest: reply.rest, ..Response::whole(reply.status, headers, body) }
}

pub(super) fn failure(nsid: &str, error: XrpcError) -> Response {
    log_failure(nsid, &error);
    let name = error.static_name();
    let (status, body, extra) = error.into_wire();
    let mut headers = base_headers();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in extra {
        headers.insert(name, value);
    }
    Response { error: Some(name), ..Response::whole(status, headers, body) }
}

/// Logs what went wrong inside, if something did.
pub(super) fn log_failure(nsid: &str, error: &XrpcError) {
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
    Response::whole(StatusCode::NO_CONTENT, headers, Bytes::new())
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

/// A form in which bodies are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// What the client likes best of what there is (RFC 9110 section 12.5.3). Only who names zstd gets it: many that take
    /// anything have never heard of it. Who refuses all of it gets the body as it is.
    fn of(headers: &HeaderMap) -> Self {
        let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        for coding in lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')) {
            let (name, q) = weighed(coding);
            let known = match name {
                "*" => &mut any,
                _ if name.eq_ignore_ascii_case("zstd") => &mut zstd,
                // The second is the same by an old name (section 8.4.1.3).
                _ if ["gzip", "x-gzip"].iter().any(|own| name.eq_ignore_ascii_case(own)) => {
                    &mut gzip
                }
                _ if name.eq_ignore_ascii_case("identity") => &mut identity,
                _ => continue,
            };
            *known = Some(q);
        }
        let (zstd, gzip) = (zstd.unwrap_or(0.0), gzip.or(any).unwrap_or(0.0));
        let least = identity.unwrap_or(0.0).max(f32::MIN_POSITIVE);
        match (zstd >= gzip, zstd >= least, gzip >= least) {
            (true, true, _) => Self::Zstd,
            (_, _, true) => Self::Gzip,
            _ => Self::Identity,
        }
    }

    /// The body in this form, and how it is called; `None` if that is not smaller.
    fn compress(self, body: &[u8]) -> Option<(Vec<u8>, &'static str)> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some((with_scratch(body.len(), |out| gzip(body, out))?, "gzip")),
            Self::Zstd => Some((with_scratch(body.len(), |out| zstd(body, out))?, "zstd")),
        }
    }
}

/// A coding and its weight. One that cannot be read is none.
pub(super) fn weighed(coding: &str) -> (&str, f32) {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let q = weight.map_or(Some(1.0), |text| text.parse().ok().filter(|q| (0.0..=1.0).contains(q)));
    (name, q.unwrap_or(0.0))
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

/// Bytes of the buffer that outlive an answer.
const SCRATCH_KEPT: usize = 1 << 20;
/// Of the levels of either, the first costs least by far.
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    /// The compressor's tables are 300 KB: one per thread, not one per answer.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    /// The same; made when it is first wanted.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    /// Where compressed bodies are made: what they are kept in is as large as they are.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What `compress` makes, if it takes no more than so many bytes.
fn with_scratch(most: usize, compress: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.shrink_to(SCRATCH_KEPT);
        scratch.reserve(most);
        compress(scratch)?;
        (scratch.len() < most).then(|| scratch.clone())
    })
}

/// One gzip member (RFC 1952); `None` if it does not fit, which makes it pointless.
fn gzip(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
    out.extend_from_slice(&HEADER);
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        match deflate.compress_vec(body, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Some(()),
            _ => None,
        }
    })?;
    let mut crc = Crc::new();
    crc.update(body);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    // The length is modulo 2^32 by definition.
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    Some(())
}

/// A file that is kept compressed.
pub(super) fn gzip_file(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    file.write_all(body)?;
    file.finish()
}

/// One zstd frame (RFC 8878), with the same condition. Its window is far below what clients have to take (RFC 9659).
fn zstd(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    ZSTD.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(ZSTD_LEVEL).ok()?),
        };
        compressor.compress_to_buffer(body, out).ok().map(drop)
    })
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

    fn decoded(response: &Response) -> Vec<u8> {
        let mut out = Vec::new();
        match response.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => out.extend_from_slice(&response.body),
            Some(b"gzip") => {
                let mut decoder = flate2::read::GzDecoder::new(response.body.as_ref());
                decoder.read_to_end(&mut out).map(drop).unwrap();
            }
            Some(b"zstd") => out = zstd::decode_all(response.body.as_ref()).unwrap(),
            Some(other) => panic!("{other:?}"),
        }
        out
    }

    #[test]
    fn large_bodies_are_sent_in_the_form_that_the_client_likes_best() {
        let text = "{\"a\":1}".repeat(1000);
        let reply = || Reply::json_bytes(text.clone().into_bytes());
        let cases = [
            ("gzip", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("br, gzip;q=0.5", Some("gzip")),
            ("*", Some("gzip")),
            ("zstd", Some("zstd")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip;q=1.0, zstd;q=0.9", Some("gzip")),
            ("gzip; Q=0.8 , zstd;q=0.9", Some("zstd")),
            ("zstd;q=0, *", Some("gzip")),
            ("zstd;q=0.001", Some("zstd")),
            ("gzip;q=1.0, deflate;q=0.9, br;q=0.8, identity;q=0.1", Some("gzip")),
            ("identity, gzip;q=0.5, zstd;q=0.7", None),
            ("gzip;q=0", None),
            ("gzip;q=0, *", None),
            ("gzip;q=0.000", None),
            ("gzip;q=much", None),
            ("zstd;q=2", None),
            ("*;q=0", None),
            ("identity;q=0", None),
            ("identity", None),
            ("br", None),
            ("", None),
        ];
        for (value, expect) in cases {
            let response = success(reply(), &accept(&[(ACCEPT_ENCODING, value)]));
            let coding = response.headers.get(CONTENT_ENCODING).map(|name| name.to_str().unwrap());
            assert_eq!(coding, expect, "{value}");
            assert_eq!(response.headers[VARY], "Accept-Encoding", "{value}");
            assert_eq!(decoded(&response), text.as_bytes(), "{value}");
            assert_eq!(response.body.len() < text.len() / 10, expect.is_some(), "{value}");
        }
        let lines = [(ACCEPT_ENCODING, "gzip"), (ACCEPT_ENCODING, "zstd")];
        assert_eq!(success(reply(), &accept(&lines)).headers[CONTENT_ENCODING], "zstd");
        for coding in ["gzip", "zstd"] {
            let json = Reply::json_bytes(b"{}".to_vec());
            let small = success(json, &accept(&[(ACCEPT_ENCODING, coding)]));
            assert_eq!(small.body, "{}");
            assert!(!small.headers.contains_key(CONTENT_ENCODING));
            assert!(!small.headers.contains_key(VARY));
        }
    }

    #[test]
    fn a_thread_makes_one_answer_after_the_other() {
        for length in [1024, 5_000, 300_000, 2_000_000, 40_000] {
            let body: Vec<u8> = (0..length).map(|n| (n / 7 % 251) as u8).collect();
            for coding in ["zstd", "gzip"] {
                let reply = Reply::json_bytes(body.clone());
                let response = success(reply, &accept(&[(ACCEPT_ENCODING, coding)]));
                assert_eq!(response.headers[CONTENT_ENCODING], coding);
                assert_eq!(decoded(&response), body, "{coding} {length}");
            }
        }
        assert!(SCRATCH.with_borrow(Vec::capacity) <= SCRATCH_KEPT);
    }

    #[test]
    fn incompressible_bodies_are_sent_as_they_are() {
        let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
        for coding in ["gzip", "zstd"] {
            let reply = Reply::json_bytes(noise.clone());
            let response = success(reply, &accept(&[(ACCEPT_ENCODING, coding)]));
            assert!(!response.headers.contains_key(CONTENT_ENCODING));
            assert_eq!(response.body, noise);
        }
    }

    #[test]
    fn an_unchanged_answer_is_not_sent_again() {
        let reply = || Reply::json_bytes(b"{\"a\":1}".to_vec());
        let first = success(reply(), &Accept::default());
        let etag = first.headers.get(ETAG).unwrap().clone();
        let again = |value: HeaderValue| {
            let accept = Accept { if_none_match: Some(value), ..Accept::default() };
            success(reply(), &accept).status.as_u16()
        };
        assert_eq!(again(etag.clone()), 304);
        assert_eq!(again(HeaderValue::from_static("\"x\", *")), 200);
        assert_eq!(again(HeaderValue::from_static("*")), 304);
        assert_eq!(again(HeaderValue::from_static("W/\"other\"")), 200);
        let other = success(Reply::json_bytes(b"{\"a\":2}".to_vec()), &Accept::default());
        assert_ne!(other.headers.get(ETAG), Some(&etag));
        // Whatever form it has, it is the same; and what decides about that is said without it too.
        let text = "{\"a\":1}".repeat(1000);
        let large = |coding, etag: Option<&HeaderValue>| {
            let mut accept = accept(&[(ACCEPT_ENCODING, coding)]);
            accept.if_none_match = etag.cloned();
            success(Reply::json_bytes(text.clone().into_bytes()), &accept)
        };
        let etag = large("zstd", None).headers[ETAG].clone();
        assert_eq!(large("gzip", None).headers[ETAG], etag);
        let unchanged = large("gzip", Some(&etag));
        assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
        assert_eq!(unchanged.headers[VARY], "Accept-Encoding");
        assert!(!unchanged.headers.contains_key(CONTENT_ENCODING));
    }
}
