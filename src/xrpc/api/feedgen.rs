//! Methods that ask feed generators: `app.bsky.feed.getFeed` and `getFeedGenerator`.
//!
//! A generator gives a skeleton (which posts), we hydrate it. Its server is not ours: what it answers is capped,
//! checked, and its errors are handed on.

use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::feed::request_items;
use super::page::limit;
use crate::hydrate::RecordId;
use crate::hydrate::post_state::PostState;
use crate::hydrate::timeline::FeedItem;
use crate::net::Response;
use crate::repo::fields;
use crate::schema::{Rows, Target, collections as c};
use crate::store::{Snapshot, StoreError};
use crate::syntax::{Did, is_at_uri};
use crate::view::feed::FeedViewPost;
use crate::view::feedgen::{GeneratorView, generator};
use crate::xrpc::call::TOPICS;
use crate::xrpc::context::WHATS_HOT;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

fn no_feed() -> XrpcError {
    XrpcError::invalid_request("could not find feed")
}

/// The service DID that a generator's record names, taken down or not; then nothing is shown either.
fn service(app: &AppCtx, call: &Call) -> Result<Did, XrpcError> {
    let session = Session::open(app, call)?;
    let feed = asked_for(app, call);
    let found = service_of(&session, &feed)?;
    if found.is_none() {
        call.to_fetch.record(&feed, 0);
    }
    found.ok_or_else(no_feed)
}

fn service_of(session: &Session, feed: &str) -> Result<Option<Did>, XrpcError> {
    let Some(id) = session.generator_id(feed)? else { return Ok(None) };
    let Some(record) = session.hydrator().read_record(id)? else { return Ok(None) };
    Ok(fields::text(&record.value, "did").and_then(|did| Did::parse(did).ok()))
}

/// The feed that is asked for, or the one that stands in for it.
fn asked_for(app: &AppCtx, call: &Call) -> String {
    let feed = call.params.str("feed").unwrap_or_default();
    app.client_config.load().stand_in(feed).unwrap_or(feed).to_owned()
}

/// Runs `read` on the read pool, and once more if what it lacked came in time.
async fn read_on_pool<T: Send + 'static>(
    app: &Arc<AppCtx>,
    call: &Arc<Call>,
    read: impl Fn(&AppCtx, &Call) -> Result<T, XrpcError> + Clone + Send + 'static,
) -> Result<T, XrpcError> {
    let run = || {
        let (ctx, asked, read) = (Arc::clone(app), Arc::clone(call), read.clone());
        async move { app.blocking(call.line(), move || read(&ctx, &asked)).await? }
    };
    app.read_and_bring(&call.to_fetch, run).await
}

async fn endpoint(app: &AppCtx, did: &Did) -> Result<String, XrpcError> {
    let found = app.feeds.endpoint(did).await.map_err(|cause| {
        XrpcError::invalid_request(format!("could not resolve identity: {did}")).with_cause(cause)
    })?;
    found.ok_or_else(|| {
        let message = format!("invalid feed generator service details in did document: {did}");
        XrpcError::invalid_request(message)
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Generator {
    view: GeneratorView,
    is_online: bool,
    is_valid: bool,
}

/// `app.bsky.feed.getFeedGenerator`
pub(crate) async fn get_feed_generator(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let on_pool = Arc::clone(&app);
    let (did, reply) = app.blocking(call.line(), move || generator_view(&on_pool, &call)).await??;
    // Only one whose service can be found is answered with.
    endpoint(&app, &did).await?;
    Ok(reply)
}

fn generator_view(app: &AppCtx, call: &Call) -> Result<(Did, Reply), XrpcError> {
    let session = Session::open(app, call)?;
    let feed = call.params.str("feed").unwrap_or_default();
    let id: RecordId = session.generator_id(feed)?.ok_or_else(no_feed)?;
    let h = session.hydrator();
    let mut state = h.state();
    h.feed_generators(&mut state, &[id])?;
    let view = generator(&state, id).ok_or_else(no_feed)?;
    let did = Did::parse(&view.did).map_err(|_| no_feed())?;
    let reply = session.reply(&Generator { view, is_online: true, is_valid: true })?;
    Ok((did, reply))
}

/// What a generator answers.
#[derive(Default, Deserialize)]
struct FeedSkeleton {
    feed: Vec<SkeletonItem>,
    cursor: Option<String>,
    #[serde(rename = "reqId")]
    req_id: Option<Box<RawValue>>,
    /// Handed on as it came.
    #[serde(flatten)]
    more: Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SkeletonItem {
    post: String,
    reason: Option<SkeletonReason>,
    feed_context: Option<String>,
}

#[derive(Deserialize)]
struct SkeletonReason {
    #[serde(rename = "$type")]
    kind: String,
    repost: Option<String>,
}

/// An error as servers answer it.
#[derive(Deserialize)]
struct ErrorOutput {
    error: String,
    #[serde(default)]
    message: String,
}

/// `app.bsky.feed.getFeed`
pub(crate) async fn get_feed(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let call = Arc::new(call);
    let asked_at = app.clock.now_us();
    let (skeleton, language) = match ask(&app, &call).await {
        Err(error) if is_taken_for_empty(&call, &error) => (FeedSkeleton::default(), None),
        answer => answer?,
    };
    let answered_at = app.clock.now_us();
    let skeleton = Arc::new(skeleton);
    let hydrate = move |app: &AppCtx, call: &Call| hydrate(app, call, &skeleton);
    let reply = read_on_pool(&app, &call, hydrate).await?;
    // How long the generator took, and how long this server.
    let millis = |from: u64, to: u64| to.saturating_sub(from) / 1000;
    let (skele, hydr) = (millis(asked_at, answered_at), millis(answered_at, app.clock.now_us()));
    let timing = HeaderValue::from_str(&format!("skele;dur={skele}, hydr;dur={hydr}"));
    let reply = match timing {
        Ok(timing) => reply.with_header(SERVER_TIMING, timing),
        Err(_) => reply,
    };
    Ok(match language {
        Some(language) => reply.with_header(CONTENT_LANGUAGE, language),
        None => reply,
    })
}

/// Asks the generator for a page, and in which language it is.
async fn ask(
    app: &Arc<AppCtx>,
    call: &Arc<Call>,
) -> Result<(FeedSkeleton, Option<HeaderValue>), XrpcError> {
    let did = read_on_pool(app, call, service).await?;
    let url = skeleton_url(&endpoint(app, &did).await?, &asked_for(app, call), call);
    let response = app
        .feeds
        .get(&url, &forwarded(call))
        .await
        .map_err(|cause| XrpcError::upstream("feed unavailable").with_cause(cause))?;
    let language = response.headers.get(CONTENT_LANGUAGE).cloned();
    Ok((read_skeleton(&response)?, language))
}

/// The official app asks for [`WHATS_HOT`] behind the end of Following, and after an error dozens of times more. Where that
/// feed cannot be had it is a feed that has ended; that this server has too much to do is told to everybody.
fn is_taken_for_empty(call: &Call, error: &XrpcError) -> bool {
    let too_much = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    call.params.str("feed") == Some(WHATS_HOT) && !too_much.contains(&error.status())
}

fn skeleton_url(endpoint: &str, feed: &str, call: &Call) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("feed", feed);
    query.append_pair("limit", &limit(call).to_string());
    if let Some(cursor) = call.params.str("cursor") {
        query.append_pair("cursor", cursor);
    }
    format!("{endpoint}/xrpc/app.bsky.feed.getFeedSkeleton?{}", query.finish())
}

/// The caller's own token goes along: the generator checks it itself.
fn forwarded(call: &Call) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [AUTHORIZATION, ACCEPT_LANGUAGE, TOPICS] {
        let values: Vec<&str> =
            call.headers.get_all(&name).iter().filter_map(|v| v.to_str().ok()).collect();
        if let Ok(value) = HeaderValue::from_str(&values.join(","))
            && !values.is_empty()
        {
            headers.insert(name, value);
        }
    }
    headers
}

fn read_skeleton(response: &Response) -> Result<FeedSkeleton, XrpcError> {
    let invalid =
        || XrpcError::passed_on(502, "InvalidFeedResponse", "feed provided an invalid response");
    if !response.status.is_success() {
        let Ok(failure) = serde_json::from_slice::<ErrorOutput>(&response.body) else {
            return Err(invalid());
        };
        // An error of theirs is not one of ours.
        let status = if response.status.as_u16() == 500 { 502 } else { response.status.as_u16() };
        return Err(XrpcError::passed_on(status, failure.error, failure.message));
    }
    let skeleton: FeedSkeleton = serde_json::from_slice(&response.body).map_err(|_| invalid())?;
    let valid = skeleton.feed.iter().all(|item| is_at_uri(&item.post));
    if valid { Ok(skeleton) } else { Err(invalid()) }
}

fn hydrate(app: &AppCtx, call: &Call, skeleton: &FeedSkeleton) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    // An empty page ends the feed whatever the cursor, and a cursor given back must not lead in circles.
    let cursor = skeleton
        .cursor
        .as_deref()
        .filter(|next| !skeleton.feed.is_empty() && call.params.str("cursor") != Some(*next));
    let mut items = Vec::new();
    for entry in skeleton.feed.iter().take(limit(call)) {
        let item = feed_item(&session.snapshot, entry)?;
        if item.is_none() {
            entry.request(call);
        }
        items.extend(item.map(|item| (item, entry.feed_context.as_deref())));
    }

    let mut state = PostState::new(&h);
    let skeleton_items: Vec<FeedItem> = items.iter().map(|(item, _)| *item).collect();
    h.feed_items(&mut state, &skeleton_items)?;
    request_items(&session, call, &state, &skeleton_items)?;

    items.retain(|(item, _)| !state.blocks_and_mutes(item).any());
    let views = items.iter().filter_map(|(item, context)| {
        let mut view = state.feed_view(item)?;
        view.feed_context = *context;
        view.req_id = skeleton.req_id.as_deref();
        Some(view)
    });
    session.reply(&GeneratedFeedOutput { more: &skeleton.more, feed: views.collect(), cursor })
}

#[derive(Serialize)]
struct GeneratedFeedOutput<'a> {
    #[serde(flatten)]
    more: &'a Map<String, serde_json::Value>,
    feed: Vec<FeedViewPost<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

impl SkeletonItem {
    /// Requests what the store has never heard of. What is there already is not asked for again.
    fn request(&self, call: &Call) {
        call.to_fetch.record(&self.post, 0);
        if let Some(repost) = self.reason.as_ref().and_then(|reason| reason.repost.as_deref()) {
            call.to_fetch.record(repost, 0);
        }
    }
}

/// The item of an entry; `None` if the store knows neither its post nor its repost.
fn feed_item(s: &Snapshot, entry: &SkeletonItem) -> Result<Option<FeedItem>, StoreError> {
    let Some(Target::Post(post)) = s.target(&entry.post)? else { return Ok(None) };
    let mut item = FeedItem::post(post);
    match &entry.reason {
        Some(reason) if reason.kind == "app.bsky.feed.defs#skeletonReasonPin" => item.pinned = true,
        Some(reason) if reason.kind == "app.bsky.feed.defs#skeletonReasonRepost" => {
            let uri = reason.repost.as_deref().unwrap_or_default();
            let repost = s.target(uri)?.and_then(Target::record).filter(|r| r.coll == c::REPOST);
            let Some(repost) = repost else { return Ok(None) };
            item.repost = Some(repost);
        }
        _ => {}
    }
    Ok(Some(item))
}
