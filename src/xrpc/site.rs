//! Pages of [`super::paths`]: health, who asks, DID document, robots, the icon, the docs page, the key for web push, the operator's status.

use http::header::VARY;
use http::{HeaderValue, StatusCode};
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

/// A peak with a nest on it. Browsers ask for it under this name whatever a page says.
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"7\" \
fill=\"#0a5cc0\"/><path d=\"M4 27 13 12h6l9 15z\" fill=\"#fff\"/><path d=\"M10 9c1 4 11 4 12 0\" fill=\"none\" stroke=\"#fff\" \
stroke-width=\"2.5\" stroke-linecap=\"round\"/></svg>";

const TEXT: &str = "text/plain; charset=utf-8";

/// The fixed pages, made once.
pub(super) struct Site {
    docs: String,
    did_document: Option<Vec<u8>>,
    health: Vec<u8>,
    vapid_key: String,
    pages: bool,
}

impl Site {
    pub(super) fn new(identity: &ServerIdentity, community: bool) -> Self {
        Self {
            docs: listing::page(community),
            did_document: did_document(identity),
            health: json!({ "version": env!("CARGO_PKG_VERSION") }).to_string().into_bytes(),
            vapid_key: identity.vapid_key.clone(),
            pages: identity.pages,
        }
    }

    /// Whether there are pages for people.
    pub(super) fn has_pages(&self) -> bool {
        self.pages
    }

    pub(super) fn docs(&self, _ctx: &AppCtx) -> Result<Reply, XrpcError> {
        let reply = Reply::with_type(self.docs.clone().into_bytes(), "text/html; charset=utf-8");
        Ok(reply.with_header(VARY, HeaderValue::from_static("Accept")))
    }

    pub(super) fn robots(&self, _ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Ok(Reply::with_type(ROBOTS.into(), TEXT))
    }

    pub(super) fn icon(&self, _ctx: &AppCtx) -> Result<Reply, XrpcError> {
        let reply = Reply::with_type(ICON.into(), "image/svg+xml");
        Ok(reply.with_cache_control("public, max-age=86400"))
    }

    /// As the reference does: its version, and 503 while its store cannot be read.
    pub(super) fn health(&self, ctx: &AppCtx) -> Result<Reply, XrpcError> {
        if (ctx.reports.reads)().is_ok() {
            return Ok(Reply::json_bytes(self.health.clone()));
        }
        let version = env!("CARGO_PKG_VERSION");
        let reply = Reply::json(&json!({ "version": version, "error": "Service Unavailable" }))?;
        Ok(reply.with_status(StatusCode::SERVICE_UNAVAILABLE).with_cache_control("no-store"))
    }

    /// Whether our DID is one whose document we publish ourselves.
    pub(super) fn has_document(&self) -> bool {
        self.did_document.is_some()
    }

    pub(super) fn document(&self, _ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Ok(Reply::json_bytes(self.did_document.clone().unwrap_or_default()))
    }

    pub(super) fn vapid_key(&self, _ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Ok(Reply::with_type(self.vapid_key.clone().into_bytes(), TEXT))
    }

    /// For load balancers and monitors, unlike `_health`, which answers as long as reads do.
    pub(super) fn ready(&self, ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Ok(well_or_not("ready", (ctx.ready)()))
    }

    /// For whoever starts a process again that is stuck: unlike `readyz` it says nothing of disk, clock and upstreams, which
    /// a restart does not mend.
    pub(super) fn live(&self, ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Ok(well_or_not("alive", (ctx.reports.alive)()))
    }

    pub(super) fn metrics(&self, ctx: &AppCtx) -> Result<Reply, XrpcError> {
        let (content_type, text) = (ctx.reports.metrics)();
        Ok(Reply::with_type(text.into_bytes(), content_type).with_cache_control("no-store"))
    }

    pub(super) fn status(&self, ctx: &AppCtx) -> Result<Reply, XrpcError> {
        Reply::json(&(ctx.status)()).map(|reply| reply.with_cache_control("no-store"))
    }
}

/// Whom limits take the asker for, and whether that is because of a proxy's word: what `aerie doctor` asks through the
/// public name.
pub(super) fn whoami(ctx: &AppCtx, request: &Request) -> Result<Reply, XrpcError> {
    let names = ["x-forwarded-for", "forwarded"];
    let forwarded = match names.iter().any(|name| request.headers.contains_key(*name)) {
        true if ctx.limiter.is_proxy(request.peer) => "believed",
        true => "ignored",
        false => "none",
    };
    let answer = json!({
        "service": ctx.identity.did,
        "instance": ctx.identity.instance,
        "client": request.client.to_string(),
        "forwarded": forwarded,
    });
    Reply::json(&answer).map(|reply| reply.with_cache_control("no-store"))
}

fn well_or_not(well: &str, is_well: Result<(), String>) -> Reply {
    let (status, text) = match is_well {
        Ok(()) => (StatusCode::OK, well.to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let reply = Reply::with_type(format!("{text}\n").into_bytes(), TEXT);
    reply.with_status(status).with_cache_control("no-store")
}

/// A sentence for who asks for what is not here.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response {
    let reply = Reply::with_type(text.into(), TEXT).with_status(status);
    encode::success(reply, &Accept::default())
}

/// Plain text, since such a path is not of the protocol.
pub(super) fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "Not Found\n")
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
