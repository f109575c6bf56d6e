//! Whole calls without a socket: routing, checks, panics, CORS, the pages beside XRPC.

use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};

use super::*;
use crate::limits::{Elapsed, Limits, Proxies};
use crate::store::StoreError;
use crate::syntax::Did;
use crate::xrpc::auth::{Auth, TokenRule};
use crate::xrpc::method::Method;
use crate::xrpc::testing::{
    ALICE, NOW, TokenSpec, app, app_within, basic, headers, json_of, request,
};
use crate::xrpc::{AppCtx, Body, Members, Reply};

fn echo(ctx: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let labelers = ctx.labelers(call);
    let body = json!({
        "actor": call.params.str("actor"),
        "limit": call.params.int("limit"),
        "viewer": call.viewer().map(|did| did.as_str()),
        "admin": call.access().can_perform_takedown,
        "input": call.input,
        "thread": std::thread::current().name(),
    });
    Ok(Reply::json(&body)?.with_labelers(&labelers).with_repo_rev(Some("3k")))
}

fn explode(_: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    panic!("secret of a reader")
}

fn failing(_: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    Err(XrpcError::named("NotFound", "Post not found: x").with_repo_rev(Some("3k")))
}

static METHODS: &[Method] = &[
    Method::read("app.bsky.actor.getProfile", Auth::OptionalOrAdmin, echo),
    Method::read("app.bsky.feed.getTimeline", Auth::Required, echo),
    Method::read("app.bsky.actor.getProfiles", Auth::Optional, echo).tokens(TokenRule::OrChat),
    Method::read("app.bsky.graph.muteActor", Auth::Required, echo),
    Method::read("app.bsky.graph.muteThread", Auth::Required, echo).counts_as(Limit::Writes),
    Method::read("app.bsky.graph.muteActorList", Auth::Required, echo).keeps(),
    Method::read("app.bsky.feed.getAuthorFeed", Auth::OptionalOrAdmin, echo).costly(),
    Method::read("app.bsky.feed.getPostThread", Auth::Optional, failing),
    Method::read("app.bsky.feed.getLikes", Auth::Optional, explode),
    Method::asynchronous("app.bsky.feed.getQuotes", Auth::Optional, |_, _| {
        panic!("secret of a starter")
    }),
    Method::asynchronous("app.bsky.feed.getFeed", Auth::Optional, |ctx, call| {
        Box::pin(async move {
            let name = || std::thread::current().name().map(str::to_owned);
            let thread = ctx.blocking(call.line(), name).await?;
            Reply::json(&json!({ "thread": thread, "text": "x".repeat(2000) }))
        })
    }),
];

/// Nobody is a member, nor becomes one.
struct Strangers;

impl Members for Strangers {
    fn ensure<'a>(&'a self, _viewer: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async { Ok(false) })
    }
}

#[tokio::test]
async fn what_would_be_kept_is_refused_to_who_is_no_member() {
    let (app, key) = app(METHODS);
    let mut ctx = Arc::into_inner(Arc::into_inner(app).unwrap().ctx).unwrap();
    ctx.members = Arc::new(Strangers);
    let app = App::with_methods(Arc::new(ctx), METHODS).unwrap();
    let ask = async |nsid: &str, verb: Verb, body: &str| {
        let token = format!("Bearer {}", TokenSpec::new(nsid).sign(&key));
        let mut request = request(verb, &format!("/xrpc/{nsid}"));
        request.headers = headers(&token);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = match body {
            "" => Body::Missing,
            body => Body::Bytes(body.to_owned().into()),
        };
        let response = app.handle(request).await;
        let json = json_of(&response);
        (response.status.as_u16(), json["error"].clone())
    };
    let actor = r#"{"actor":"a.test"}"#;
    assert_eq!(ask("app.bsky.feed.getTimeline", Verb::GET, "").await.0, 200);
    let refused = (403, json!("NotAMember"));
    assert_eq!(ask("app.bsky.graph.muteActorList", Verb::POST, LIST).await, refused);
    assert_eq!(ask("app.bsky.graph.muteActorList", Verb::POST, "{}").await.0, 400);
    assert_eq!(ask("app.bsky.graph.muteActor", Verb::POST, actor).await.0, 200);
}

const LIST: &str = r#"{"list":"at://did:plc:a/app.bsky.graph.list/1"}"#;

async fn get(target: &str, authorization: Option<&str>) -> (u16, Value) {
    let (app, _) = app(METHODS);
    let mut request = request(Verb::GET, target);
    if let Some(authorization) = authorization {
        request.headers = headers(authorization);
    }
    let response = app.handle(request).await;
    (response.status.as_u16(), json_of(&response))
}

#[tokio::test]
async fn a_query_gets_parameters_and_answers_from_the_pool() {
    let (app, _) = app(METHODS);
    let response =
        app.handle(request(Verb::GET, "/xrpc/app.bsky.actor.getProfile?actor=did%3Aplc%3Ax")).await;
    assert_eq!(response.status, 200);
    let body = json_of(&response);
    assert_eq!(body["actor"], "did:plc:x");
    assert!(body["thread"].as_str().unwrap().starts_with("read-"));
    let header = |name: &str| response.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("atproto-content-labelers"), "did:plc:default;redact");
    assert_eq!(header("atproto-repo-rev"), "3k");
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn the_clients_labelers_are_taken() {
    let (app, _) = app(METHODS);
    let cases = [
        ("did:plc:a;redact, did:plc:b", "did:plc:a;redact,did:plc:b"),
        ("", ""),
        ("nonsense", "did:plc:default;redact"),
    ];
    for (sent, expect) in cases {
        let mut request = request(Verb::GET, "/xrpc/app.bsky.actor.getProfile?actor=a.test");
        request.headers.insert("atproto-accept-labelers", HeaderValue::from_static(sent));
        let response = app.handle(request).await;
        assert_eq!(response.headers.get("atproto-content-labelers").unwrap(), expect, "{sent}");
    }
}

#[tokio::test]
async fn errors_before_the_handler() {
    let cases = [
        (Verb::GET, "/xrpc/app.bsky.feed.nope", 501, "MethodNotImplemented"),
        (Verb::GET, "/xrpc/hello", 501, "MethodNotImplemented"),
        (Verb::GET, "/xrpc/", 400, "InvalidRequest"),
        (Verb::GET, "/xrpc/a..b", 400, "InvalidRequest"),
        (Verb::POST, "/xrpc/app.bsky.actor.getProfile?actor=a.test", 400, "InvalidRequest"),
        (Verb::GET, "/xrpc/app.bsky.graph.muteActor", 400, "InvalidRequest"),
        (Verb::PUT, "/xrpc/app.bsky.graph.muteActor", 501, "MethodNotImplemented"),
        (Verb::GET, "/xrpc/app.bsky.actor.getProfile", 400, "InvalidRequest"),
        (Verb::GET, "/xrpc/app.bsky.feed.getTimeline", 401, "AuthMissing"),
        // Parameters are checked before the caller.
        (Verb::GET, "/xrpc/app.bsky.feed.getTimeline?limit=0", 400, "InvalidRequest"),
        (Verb::POST, "/xrpc/app.bsky.graph.muteActor", 401, "AuthMissing"),
    ];
    let (app, _) = app(METHODS);
    for (verb, target, status, name) in cases {
        let response = app.handle(request(verb.clone(), target)).await;
        assert_eq!(response.status.as_u16(), status, "{verb} {target}");
        assert_eq!(json_of(&response)["error"], name, "{verb} {target}");
    }
}

#[tokio::test]
async fn a_handlers_error_keeps_its_headers() {
    let (app, _) = app(METHODS);
    let uri = "at%3A%2F%2Fdid%3Aplc%3Ax%2Fapp.bsky.feed.post%2F1";
    let response = app
        .handle(request(Verb::GET, &format!("/xrpc/app.bsky.feed.getPostThread?uri={uri}")))
        .await;
    assert_eq!(response.status, 400);
    assert_eq!(json_of(&response), json!({ "error": "NotFound", "message": "Post not found: x" }));
    assert_eq!(response.headers.get("atproto-repo-rev").unwrap(), "3k");
}

#[tokio::test]
async fn a_panic_is_one_requests_500() {
    let uri = "at%3A%2F%2Fdid%3Aplc%3Ax%2Fapp.bsky.feed.post%2F1";
    for method in ["getLikes", "getQuotes"] {
        let (status, body) = get(&format!("/xrpc/app.bsky.feed.{method}?uri={uri}"), None).await;
        assert_eq!(status, 500);
        assert_eq!(
            body,
            json!({ "error": "InternalServerError", "message": "Internal Server Error" })
        );
    }
}

#[tokio::test]
async fn an_async_handler_reads_on_the_pool_and_is_compressed_there() {
    let (app, _) = app(METHODS);
    let uri = "at%3A%2F%2Fdid%3Aplc%3Ax%2Fapp.bsky.feed.generator%2F1";
    let target = format!("/xrpc/app.bsky.feed.getFeed?feed={uri}");
    let plain = app.handle(request(Verb::GET, &target)).await;
    assert!(json_of(&plain)["thread"].as_str().unwrap().starts_with("read-"));
    let mut gzip = request(Verb::GET, &target);
    gzip.headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    let response = app.handle(gzip).await;
    assert_eq!(response.headers.get(CONTENT_ENCODING).unwrap(), "gzip");
}

#[tokio::test]
async fn callers() {
    let target = "/xrpc/app.bsky.actor.getProfile?actor=a.test";
    let (_, body) = get(target, Some(&basic("admin:admin-pass"))).await;
    assert_eq!(body["admin"], true);
    let (status, _) = get(target, Some(&basic("admin:nope"))).await;
    assert_eq!(status, 401);
    let (status, body) = get(target, Some("Bearer garbage")).await;
    assert_eq!((status, &body["error"]), (401, &json!("BadJwt")));
}

#[tokio::test]
async fn inputs() {
    let nsid = "app.bsky.graph.muteActor";
    let (app, key) = app(METHODS);
    let token = format!("Bearer {}", TokenSpec::new(nsid).sign(&key));
    let bytes = |text: &'static str| Body::Bytes(text.into());
    let json_type = Some("application/json; charset=utf-8");
    let cases = [
        (bytes(r#"{"actor":"did:plc:b"}"#), json_type, 200),
        (bytes(r#"{}"#), json_type, 400),
        (bytes(""), json_type, 400),
        (bytes("{"), json_type, 400),
        (bytes(r#"{"actor":"did:plc:b"}"#), Some("text/plain"), 400),
        (bytes(r#"{"actor":"did:plc:b"}"#), None, 400),
        (Body::Missing, None, 400),
        (Body::TooLarge, json_type, 413),
        (Body::Aborted, json_type, 400),
    ];
    for (body, content_type, status) in cases {
        let mut request = request(Verb::POST, &format!("/xrpc/{nsid}"));
        request.headers = headers(&token);
        if let Some(content_type) = content_type {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let shown = format!("{body:?} {content_type:?}");
        request.body = body;
        let response = app.handle(request).await;
        assert_eq!(response.status.as_u16(), status, "{shown}");
        if status == 200 {
            assert_eq!(json_of(&response)["viewer"], ALICE);
            assert_eq!(json_of(&response)["input"]["actor"], "did:plc:b");
        }
    }
    let mut query = request(Verb::GET, "/xrpc/app.bsky.actor.getProfile?actor=a.test");
    query.body = bytes("{}");
    assert_eq!(app.handle(query).await.status, 400);
}

#[tokio::test]
async fn preflight_and_head() {
    let (app, _) = app(METHODS);
    let mut options = request(Verb::OPTIONS, "/xrpc/app.bsky.actor.getProfile");
    options.headers.insert(
        "access-control-request-headers",
        HeaderValue::from_static("atproto-accept-labelers"),
    );
    let response = app.handle(options).await;
    assert_eq!(response.status, 204);
    assert_eq!(
        response.headers.get("access-control-allow-headers").unwrap(),
        "atproto-accept-labelers"
    );
    assert_eq!(response.headers.get("access-control-max-age").unwrap(), "86400");
    let response =
        app.handle(request(Verb::HEAD, "/xrpc/app.bsky.actor.getProfile?actor=a.test")).await;
    assert_eq!(response.status, 200);
    assert!(response.body.is_empty());
    assert_ne!(response.headers.get("content-length").unwrap(), "0");
}

#[tokio::test]
async fn the_site() {
    let (app, _) = app(METHODS);
    let page = async |target: &str| app.handle(request(Verb::GET, target)).await;
    assert!(String::from_utf8_lossy(&page("/").await.body).contains("app.bsky.graph.muteActor"));
    assert!(page("/robots.txt").await.body.starts_with(b"# Hello Friends!"));
    assert_eq!(json_of(&page("/xrpc/_health").await)["version"], env!("CARGO_PKG_VERSION"));
    let document = json_of(&page("/.well-known/did.json").await);
    assert_eq!(document["service"][1]["id"], "#bsky_appview");
    assert_eq!(document["service"][0]["type"], "BskyNotificationService");
    assert_eq!(document["verificationMethod"][0]["publicKeyMultibase"], "zKey");
    assert_eq!(page("/nothing").await.status, 404);
    assert_eq!(page("/admin/status").await.status, 401);
    let mut status = request(Verb::GET, "/admin/status");
    status.headers = headers(&basic("admin:admin-pass"));
    assert_eq!(json_of(&app.handle(status).await), json!({ "upstreams": [] }));
}

#[tokio::test]
async fn a_verb_that_a_path_does_not_have_is_told_which_it_has() {
    let (app, _) = app(METHODS);
    for (verb, path, status) in [
        (Verb::POST, "/robots.txt", 405),
        (Verb::DELETE, "/admin/status", 405),
        (Verb::PUT, "/img/x", 405),
        (Verb::POST, "/nothing", 404),
        (Verb::POST, "/blob/x", 404),
        // The protocol's answer to a name that is none.
        (Verb::POST, "/xrpc/_health", 400),
        (Verb::HEAD, "/robots.txt", 200),
    ] {
        let response = app.handle(request(verb.clone(), path)).await;
        assert_eq!(response.status.as_u16(), status, "{verb} {path}");
        let allowed = response.headers.get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, (status == 405).then_some("GET, HEAD"), "{verb} {path}");
    }
    let mut ctx = crate::xrpc::testing::context(Arc::default());
    Arc::get_mut(&mut ctx).unwrap().identity.did = crate::xrpc::testing::did("did:plc:appview");
    let app = App::with_methods(ctx, METHODS).unwrap();
    for verb in [Verb::GET, Verb::POST] {
        let response = app.handle(request(verb, "/.well-known/did.json")).await;
        assert_eq!(response.status, 404, "a document that others publish");
    }
}

#[tokio::test]
async fn what_is_not_ready_is_still_alive() {
    let mut ctx = crate::xrpc::testing::context(Arc::default());
    let full = || Err("the disk is full".to_owned());
    Arc::get_mut(&mut ctx).unwrap().ready = Box::new(full);
    let (well, _) = app(METHODS);
    let ill = App::with_methods(ctx, METHODS).unwrap();
    for (app, path, status, body) in
        [(&*well, "/readyz", 200, "ready\n"), (&ill, "/readyz", 503, "the disk is full\n")]
    {
        let response = app.handle(request(Verb::GET, path)).await;
        assert_eq!((response.status.as_u16(), &*response.body), (status, body.as_bytes()));
    }
    assert_eq!(ill.handle(request(Verb::GET, "/xrpc/_health")).await.status, 200);
}

/// Has what is asked of it at the second read, or never.
struct Bringer {
    comes: bool,
    asked: std::sync::Mutex<Vec<crate::xrpc::FetchRequest>>,
}

impl crate::xrpc::OnRead for Bringer {
    fn bring(
        &self,
        missing: Vec<crate::xrpc::FetchRequest>,
        within: std::time::Duration,
    ) -> BoxFuture<'_, bool> {
        assert!(within <= std::time::Duration::from_millis(300));
        self.asked.lock().unwrap().extend(missing);
        Box::pin(async { self.comes })
    }
}

static READS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn wishing(_: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let n = READS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    call.to_fetch.account(call.params.str("actor").unwrap_or_default());
    Reply::json(&json!({ "read": n }))
}

static WISHING: &[Method] =
    &[Method::read("app.bsky.actor.getProfile", Auth::OptionalOrAdmin, wishing)];

#[tokio::test]
async fn a_read_that_lacks_something_is_made_again_once_if_it_came() {
    use std::sync::atomic::Ordering::Relaxed;
    for (on_read, comes, reads) in [(true, true, 2), (true, false, 1), (false, true, 1)] {
        let bringer = Arc::new(Bringer { comes, asked: std::sync::Mutex::default() });
        let mut ctx = crate::xrpc::testing::context(Arc::default());
        if on_read {
            Arc::get_mut(&mut ctx).unwrap().on_read = Some(Arc::clone(&bringer) as _);
        }
        let app = App::with_methods(ctx, WISHING).unwrap();
        READS.store(0, Relaxed);
        let get = request(Verb::GET, "/xrpc/app.bsky.actor.getProfile?actor=did:plc:a");
        let answer = json_of(&app.handle(get).await);
        assert_eq!(
            (READS.load(Relaxed), answer["read"].as_u64()),
            (reads, Some(u64::from(reads) - 1))
        );
        let asked = bringer.asked.lock().unwrap().clone();
        let want = vec![crate::xrpc::FetchRequest::Account("did:plc:a".to_owned())];
        assert_eq!(asked, if on_read { want } else { Vec::new() });
    }
}

/// Sends `target` with a header as `client`; gives the status, the error and the headers.
async fn ask(
    app: &App,
    client: Client,
    target: &str,
    authorization: Option<&str>,
) -> (u16, Value, http::HeaderMap) {
    let mut request = request(Verb::GET, target);
    request.client = client;
    request.headers = authorization.map(headers).unwrap_or_default();
    let response = app.handle(request).await;
    let body = serde_json::from_slice(&response.body).unwrap_or_default();
    (response.status.as_u16(), body, response.headers)
}

fn few(limit: Limit, n: u32) -> (Arc<App>, crate::crypto::PrivateKey, Elapsed) {
    let time = Elapsed::stopped();
    let limits = Limits::with_time(Proxies::default(), &[(limit, n)], time.clone());
    let (app, alice) = app_within(limits, METHODS);
    (app, alice, time)
}

const PROFILE: &str = "/xrpc/app.bsky.actor.getProfile?actor=a.test";

fn stranger(last: u8) -> Client {
    Client::address(std::net::IpAddr::from([192, 0, 2, last]))
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_so_as_a_pds_does() {
    let (app, _, time) = few(Limit::Requests, 2);
    let (status, _, headers) = ask(&app, stranger(1), PROFILE, None).await;
    let header = |headers: &http::HeaderMap, name| headers[name].to_str().unwrap().to_owned();
    assert_eq!((status, header(&headers, "ratelimit-remaining").as_str()), (200, "1"));
    assert_eq!(header(&headers, "ratelimit-limit"), "2");
    assert_eq!(header(&headers, "ratelimit-policy"), "2;w=300");
    let reset = NOW + 150;
    assert_eq!(header(&headers, "ratelimit-reset"), reset.to_string());
    // Errors count as well, whatever they are.
    let (status, _, headers) = ask(&app, stranger(1), "/xrpc/no.such.method", None).await;
    assert_eq!((status, header(&headers, "ratelimit-remaining").as_str()), (501, "0"));
    let (status, body, headers) = ask(&app, stranger(1), PROFILE, None).await;
    assert_eq!((status, &body["error"]), (429, &json!("RateLimitExceeded")));
    assert_eq!(header(&headers, "retry-after"), "150");
    assert_eq!(header(&headers, "ratelimit-remaining"), "0");
    assert_eq!(ask(&app, stranger(2), PROFILE, None).await.0, 200);
    time.advance(std::time::Duration::from_secs(150));
    assert_eq!(ask(&app, stranger(1), PROFILE, None).await.0, 200);
}

#[tokio::test]
async fn what_an_account_signs_is_its_own_and_what_nobody_signed_is_the_addresss() {
    let (app, alice, _) = few(Limit::Requests, 2);
    let token = format!("Bearer {}", TokenSpec::new("app.bsky.actor.getProfile").sign(&alice));
    let forged = crate::crypto::PrivateKey::generate();
    let forged = format!("Bearer {}", TokenSpec::new("app.bsky.actor.getProfile").sign(&forged));
    // From two addresses: the account is one.
    assert_eq!(ask(&app, stranger(1), PROFILE, Some(&token)).await.0, 200);
    assert_eq!(ask(&app, stranger(2), PROFILE, Some(&token)).await.0, 200);
    assert_eq!(ask(&app, stranger(3), PROFILE, Some(&token)).await.0, 429);
    for status in [401, 401, 429, 429] {
        assert_eq!(ask(&app, stranger(1), PROFILE, Some(&forged)).await.0, status);
    }
    // Nobody can use up an account's share without its key.
    assert_eq!(ask(&app, stranger(4), PROFILE, None).await.0, 200);
    assert_eq!(ask(&app, stranger(1), PROFILE, None).await.0, 429);
}

#[tokio::test]
async fn the_operator_and_health_are_never_too_much() {
    let (app, _, _) = few(Limit::Requests, 1);
    let admin = basic("admin:admin-pass");
    for _ in 0..3 {
        assert_eq!(ask(&app, stranger(1), PROFILE, Some(&admin)).await.0, 200);
        for page in ["/readyz", "/xrpc/_health"] {
            assert_eq!(ask(&app, stranger(1), page, None).await.0, 200, "{page}");
        }
        assert_eq!(ask(&app, stranger(1), "/admin/status", Some(&admin)).await.0, 200);
        assert_eq!(ask(&app, Client::Own, PROFILE, None).await.0, 200);
    }
    assert_eq!(ask(&app, stranger(1), "/", None).await.0, 200);
    assert_eq!(ask(&app, stranger(1), "/", None).await.0, 429);
}

#[tokio::test]
async fn passwords_can_be_guessed_ten_times() {
    let (app, _, time) = few(Limit::Logins, 10);
    let (wrong, right) = (basic("admin:guess"), basic("admin:admin-pass"));
    for n in 0..10 {
        // At the page and at methods: the guesses are one.
        let target = if n % 2 == 0 { "/admin/status" } else { PROFILE };
        assert_eq!(ask(&app, stranger(1), target, Some(&wrong)).await.0, 401, "{n}");
    }
    // From then on a right one is as good as a wrong one, so nothing can be learnt.
    for header in [&wrong, &right] {
        let (status, body, headers) = ask(&app, stranger(1), "/admin/status", Some(header)).await;
        assert_eq!((status, &body["error"]), (429, &json!("RateLimitExceeded")));
        assert_eq!(headers["retry-after"], "60");
    }
    assert_eq!(ask(&app, stranger(2), "/admin/status", Some(&right)).await.0, 200);
    time.advance(std::time::Duration::from_secs(60));
    assert_eq!(ask(&app, stranger(1), "/admin/status", Some(&right)).await.0, 200);
}

#[tokio::test]
async fn an_account_changes_so_much_in_an_hour() {
    let (app, alice, time) = few(Limit::Writes, 2);
    let token = format!("Bearer {}", TokenSpec::new("app.bsky.graph.muteThread").sign(&alice));
    let change = async |client| {
        let mut request = request(Verb::POST, "/xrpc/app.bsky.graph.muteThread");
        request.client = client;
        request.headers = headers(&token);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let root = r#"{"root":"at://did:plc:a/app.bsky.feed.post/3k"}"#;
        request.body = Body::Bytes(root.into());
        let response = app.handle(request).await;
        (response.status.as_u16(), json_of(&response)["error"].clone())
    };
    assert_eq!(change(stranger(1)).await.0, 200);
    assert_eq!(change(stranger(2)).await.0, 200);
    assert_eq!(change(stranger(3)).await, (429, json!("RateLimitExceeded")));
    time.advance(std::time::Duration::from_secs(1800));
    assert_eq!(change(stranger(3)).await.0, 200);
}

/// Fills the threads, then lets one call of each of these clients wait until the sender is dropped.
async fn crowd(
    app: &App,
    clients: impl Iterator<Item = Client>,
) -> (flume::Sender<()>, Vec<BoxFuture<'static, Result<(), XrpcError>>>) {
    let (release, gate) = flume::bounded::<()>(0);
    let mut all = Vec::new();
    let begin = |client, work: Box<dyn FnOnce() + Send>| {
        let ctx = Arc::clone(&app.ctx);
        let line = crate::xrpc::Line { client, spared: false, first: false };
        async move { ctx.blocking(line, work).await }.boxed()
    };
    for name in ["a", "b"] {
        let ((begun, has_begun), gate) = (flume::bounded(1), gate.clone());
        let work = move || {
            let _ = begun.send(());
            let _ = gate.recv();
        };
        let mut busy = begin(Client::host(name), Box::new(work));
        assert!(futures_util::poll!(&mut busy).is_pending());
        has_begun.recv_async().await.unwrap();
        all.push(busy);
    }
    for client in clients {
        let mut waiting = begin(client, Box::new(|| ()));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        all.push(waiting);
    }
    (release, all)
}

#[tokio::test]
async fn who_floods_is_told_so_and_others_wait_their_turn() {
    let (app, _) = app(METHODS);
    let flood = std::iter::repeat_n(stranger(1), 64);
    let (release, waiting) = crowd(&app, flood).await;
    let (status, body, headers) = ask(&app, stranger(1), PROFILE, None).await;
    assert_eq!((status, &body["error"]), (429, &json!("RateLimitExceeded")));
    assert_eq!(headers["retry-after"], "1");
    let mut other = Box::pin(ask(&app, stranger(2), PROFILE, None));
    assert!(futures_util::poll!(&mut other).is_pending());
    drop(release);
    assert_eq!(other.await.0, 200);
    for waited in futures_util::future::join_all(waiting).await {
        waited.unwrap();
    }
}

#[tokio::test]
async fn when_too_many_wait_costly_calls_go_first_and_the_operators_never() {
    let (app, alice) = app(METHODS);
    let feed = "/xrpc/app.bsky.feed.getAuthorFeed?actor=a.test";
    let timeline = "/xrpc/app.bsky.feed.getTimeline";
    let token = format!("Bearer {}", TokenSpec::new("app.bsky.feed.getTimeline").sign(&alice));
    let admin = basic("admin:admin-pass");
    let many = |n: u32| (0..n).map(|n| Client::V6(n.into()));
    for (clients, sheds_costly, sheds_anonymous) in
        [(255, false, false), (256, true, false), (511, true, false), (512, true, true)]
    {
        let (release, waiting) = crowd(&app, many(clients)).await;
        let is_shed = async |target: &'static str, header: Option<&str>| {
            let mut asked = Box::pin(ask(&app, Client::V4([192, 0, 2, 1].into()), target, header));
            match futures_util::poll!(&mut asked) {
                std::task::Poll::Ready((status, body, _)) => {
                    assert_eq!((status, &body["error"]), (503, &json!("NotEnoughResources")));
                    true
                }
                std::task::Poll::Pending => false,
            }
        };
        assert_eq!(is_shed(feed, None).await, sheds_costly, "{clients}");
        assert_eq!(is_shed(PROFILE, None).await, sheds_anonymous, "{clients}");
        assert!(!is_shed(timeline, Some(&token)).await, "{clients}: it is signed");
        assert!(!is_shed(feed, Some(&admin)).await, "{clients}: the operator");
        drop(release);
        futures_util::future::join_all(waiting).await;
    }
}
