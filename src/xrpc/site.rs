//! What is not XRPC: health, DID document, robots, the docs page, the key for web push, the operator's status.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method as Verb, StatusCode};
use serde_json::json;

use super::context::{AppCtx, ServerIdentity};
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::listing;
use super::message::{Request, Response};
use super::reply::Reply;

/// Word for word what the public AppView tells crawlers.
const ROBOTS: &str = "# Hello Friends!\n\n# Crawling the public parts of the API is allowed. HTTP 429 (\"backoff\") \
status codes are used for rate-limiting. Up to a handful concurrent requests should be ok.\nUser-agent: *\nAllow: /";

/// The fixed pages, made once.
pub(super) struct Site {
    docs: String,
    did_document: Option<Vec<u8>>,
    health: Vec<u8>,
    vapid_key: String,
}

impl Site {
    pub(super) fn new(identity: &ServerIdentity, community: bool) -> Self {
        Self {
            docs: listing::page(community),
            did_document: did_document(identity),
            health: json!({ "version": env!("CARGO_PKG_VERSION") }).to_string().into_bytes(),
            vapid_key: identity.vapid_key.clone(),
        }
    }

    /// `None` when the path is not one of these.
    pub(super) fn answer(&self, ctx: &AppCtx, request: &Request) -> Option<Response> {
        if !matches!(request.method, Verb::GET | Verb::HEAD) {
            return None;
        }
        let reply = match request.uri.path() {
            "/" => Reply::with_type(self.docs.clone().into_bytes(), "text/html; charset=utf-8"),
            "/robots.txt" => Reply::with_type(ROBOTS.into(), "text/plain; charset=utf-8"),
            "/xrpc/_health" => Reply::json_bytes(self.health.clone()),
            "/readyz" => ready(ctx),
            "/.well-known/did.json" => Reply::json_bytes(self.did_document.clone()?),
            "/push/vapid-key" => {
                Reply::with_type(self.vapid_key.clone().into_bytes(), "text/plain; charset=utf-8")
            }
            "/admin/status" => match status(ctx, request) {
                Ok(reply) => reply,
                Err(error) => return Some(encode::failure("/admin/status", error)),
            },
            _ => return None,
        };
        Some(encode::success(reply, &Accept::of(&request.method, &request.headers)))
    }
}

/// For load balancers and monitors, unlike `_health`, which answers as long as reads do.
fn ready(ctx: &AppCtx) -> Reply {
    let (status, text) = match (ctx.ready)() {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    Reply::with_type(format!("{text}\n").into_bytes(), "text/plain; charset=utf-8")
        .with_status(status)
        .with_cache_control("no-store")
}

/// Plain text, since such a path is not of the protocol.
pub(super) fn not_found() -> Response {
    let reply = Reply::with_type(b"Not Found\n".to_vec(), "text/plain; charset=utf-8")
        .with_status(StatusCode::NOT_FOUND);
    encode::success(reply, &Accept::default())
}

fn status(ctx: &AppCtx, request: &Request) -> Result<Reply, XrpcError> {
    if !ctx.auth.is_admin(&request.headers) {
        let challenge = HeaderValue::from_static("Basic realm=\"admin\"");
        return Err(XrpcError::auth_required("").with_header(WWW_AUTHENTICATE, challenge));
    }
    Reply::json(&(ctx.status)()).map(|reply| reply.with_cache_control("no-store"))
}

/// The document of a did:web (<https://w3c-ccg.github.io/did-method-web>); other methods publish theirs elsewhere.
fn did_document(identity: &ServerIdentity) -> Option<Vec<u8>> {
    let did = identity.did.as_str();
    if !did.starts_with("did:web:") {
        return None;
    }
    let keys: Vec<_> = identity
        .signing_key
        .iter()
        .map(|key| {
            json!({
                "id": format!("{did}#atproto"),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key,
            })
        })
        .collect();
    let service = |id: &str, kind: &str| json!({ "id": id, "type": kind, "serviceEndpoint": identity.public_url });
    let document = json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": keys,
        "service": [
            service("#bsky_notif", "BskyNotificationService"),
            service("#bsky_appview", "BskyAppView"),
        ],
    });
    Some(document.to_string().into_bytes())
}
