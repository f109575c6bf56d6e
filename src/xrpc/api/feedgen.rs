//! Methods that ask feed generators: `app.bsky.feed.getFeed` and `getFeedGenerator`.
//!
//! A generator gives a skeleton (which posts), we hydrate it. Its server is not ours: what it answers is capped,
//! checked, and its errors are handed on.

use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use serde_json::value::RawValue;
use url::form_urlencoded;

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
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

fn no_feed() -> XrpcError {
    XrpcError::invalid_request("could not find feed")
}

/// The service DID that a generator's record names, taken down or not; then nothing is shown either.
fn service(app: &AppCtx, call: &Call) -> Result<Did, XrpcError> {
    let session = Session::open(app, call)?;
    let feed = call.params.str("feed").unwrap_or_default();
    let id = session.generator_id(feed)?.ok_or_else(no_feed)?;
    let record = session.hydrator().read_record(id)?.ok_or_else(no_feed)?;
    fields::text(&record.value, "did").and_then(|did| Did::parse(did).ok()).ok_or_else(no_feed)
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
#[derive(Deserialize)]
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
    let (on_pool, asked) = (Arc::clone(&app), Arc::clone(&call));
    let did = app.blocking(call.line(), move || service(&on_pool, &asked)).await??;
    let url = skeleton_url(&endpoint(&app, &did).await?, &call);
    let response = app
        .feeds
        .get(&url, &forwarded(&call))
        .await
        .map_err(|cause| XrpcError::upstream("feed unavailable").with_cause(cause))?;
    let language = response.headers.get(CONTENT_LANGUAGE).cloned();
    let skeleton = read_skeleton(&response)?;
    let on_pool = Arc::clone(&app);
    let reply = app.blocking(call.line(), move || hydrate(&on_pool, &call, skeleton)).await??;
    Ok(match language {
        Some(language) => reply.with_header(CONTENT_LANGUAGE, language),
        None => reply,
    })
}

fn skeleton_url(endpoint: &str, call: &Call) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("feed", call.params.str("feed").unwrap_or_default());
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

fn hydrate(app: &AppCtx, call: &Call, skeleton: FeedSkeleton) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    // An empty page ends the feed whatever the cursor, and a cursor given back must not lead in circles.
    let cursor = skeleton.cursor.filter(|next| {
        !skeleton.feed.is_empty() && call.params.str("cursor") != Some(next.as_str())
    });
    let mut items = Vec::new();
    for entry in skeleton.feed.into_iter().take(limit(call)) {
        let item = feed_item(&session.snapshot, &entry)?;
        items.extend(item.map(|item| (item, entry.feed_context)));
    }

    let mut state = PostState::new(&h);
    let skeleton_items: Vec<FeedItem> = items.iter().map(|(item, _)| *item).collect();
    h.feed_items(&mut state, &skeleton_items)?;

    items.retain(|(item, _)| !state.blocks_and_mutes(item).any());
    let views = items.iter().filter_map(|(item, context)| {
        let mut view = state.feed_view(item)?;
        view.feed_context = context.as_deref();
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
    cursor: Option<String>,
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
