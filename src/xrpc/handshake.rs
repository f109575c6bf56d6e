//! How a socket is opened (RFC 6455 section 4.2): who may, and what they are answered.
//!
//! A further one is a [`SocketRow`] in `paths`: its function looks at the request, refuses it as any other is refused, or
//! gives a [`Talk`], which is then given the open socket.
//!
//! # Invariants
//! - Where a cookie says who it is, a page of another origin cannot open one ([`is_own_origin`]).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::Url;

use super::context::AppCtx;
use super::error::XrpcError;
use super::message::{Request, Response};
use super::socket::{Bounds, Talk, Upgrade};
use crate::limits::Limit;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A path with a socket.
pub(super) struct SocketRow {
    pub(super) bounds: Bounds,
    /// Whether whoever asks may have one, and what is said in it.
    pub(super) open: fn(&Arc<AppCtx>, &Request) -> Result<Talk, XrpcError>,
}

/// The answer to who asks for a socket.
pub(super) fn answer(
    ctx: &Arc<AppCtx>,
    row: &'static SocketRow,
    request: &Request,
) -> Result<Response, XrpcError> {
    let key = handshake(&request.headers)?;
    let talk = (row.open)(ctx, request)?;
    let hold = ctx.limiter.hold(Limit::Sockets, request.client, 1);
    let hold = hold.map_err(|refused| ctx.limited(refused))?;
    let place = Arc::clone(&ctx.sockets.places).try_acquire_owned();
    let place = place.map_err(|_| XrpcError::overloaded())?;
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(XrpcError::internal)?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let upgrade = Upgrade { bounds: row.bounds, talk, held: (place, hold) };
    let response = Response::whole(StatusCode::SWITCHING_PROTOCOLS, headers, Bytes::new());
    Ok(Response { upgrade: Some(upgrade), ..response })
}

/// The key of an opening handshake (RFC 6455 section 4.2.1); 426 says what is wanted of one that is none.
fn handshake(headers: &HeaderMap) -> Result<&[u8], XrpcError> {
    let names = |name: HeaderName, token: &str| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    // Sixteen bytes in base64.
    let key = key.filter(|key| key.len() == 24 && key.ends_with(b"=="));
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    match key {
        Some(key) if version && names(CONNECTION, "upgrade") && names(UPGRADE, "websocket") => {
            Ok(key)
        }
        _ => {
            let status = StatusCode::UPGRADE_REQUIRED.as_u16();
            let error = XrpcError::passed_on(status, "UpgradeRequired", "this is a WebSocket");
            Err(error
                .with_header(UPGRADE, HeaderValue::from_static("websocket"))
                .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")))
        }
    }
}

/// Whether what a browser sends comes from a page of this server: by `Origin`, which browsers send with sockets and with
/// everything that changes something, and which is this server's public URL or names the host that the request names.
/// A host that another name leads to has no cookie of ours in it.
pub(super) fn is_own_origin(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text(ORIGIN) else { return false };
    let Ok(url) = Url::parse(origin) else { return false };
    if Url::parse(public_url).is_ok_and(|own| own.origin() == url.origin()) {
        return true;
    }
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|a| text(HOST).is_some_and(|host| host.eq_ignore_ascii_case(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_handshake_is_one_or_is_told_what_is_wanted() {
        const KEY: (HeaderName, &str) = (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        const VERSION: (HeaderName, &str) = (SEC_WEBSOCKET_VERSION, "13");
        let good = [KEY, VERSION, (CONNECTION, "keep-alive, Upgrade"), (UPGRADE, "WebSocket")];
        assert_eq!(
            derive_accept_key(handshake(&headers(&good)).unwrap()),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        for without in 0..good.len() {
            let mut some = good.to_vec();
            some.remove(without);
            let error = handshake(&headers(&some)).unwrap_err();
            assert_eq!(error.status(), StatusCode::UPGRADE_REQUIRED, "{some:?}");
            assert_eq!(error.header(&SEC_WEBSOCKET_VERSION).unwrap(), "13");
        }
        let old = [KEY, (SEC_WEBSOCKET_VERSION, "8"), good[2].clone(), good[3].clone()];
        assert!(handshake(&headers(&old)).is_err());
    }

    #[test]
    fn only_pages_of_this_server_are_its_own() {
        let of = |pairs: &[(HeaderName, &str)]| is_own_origin(&headers(pairs), "https://a.example");
        assert!(of(&[(ORIGIN, "https://a.example")]));
        assert!(of(&[(ORIGIN, "https://a.example:443")]));
        assert!(of(&[(ORIGIN, "http://127.0.0.1:2584"), (HOST, "127.0.0.1:2584")]));
        assert!(of(&[(ORIGIN, "https://a.example"), (FETCH_SITE, "same-origin")]));
        for others in [
            &[][..],
            &[(HOST, "a.example")],
            &[(ORIGIN, "null"), (HOST, "null")],
            &[(ORIGIN, "http://a.example")],
            &[(ORIGIN, "https://a.example.evil.example")],
            &[(ORIGIN, "https://evil.example"), (HOST, "a.example")],
            &[(ORIGIN, "https://a.example"), (FETCH_SITE, "same-site")],
            &[(ORIGIN, "https://a.example"), (FETCH_SITE, "cross-site")],
        ] {
            assert!(!of(others), "{others:?}");
        }
    }
}
