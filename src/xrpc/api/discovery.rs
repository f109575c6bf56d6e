//! What is suggested: accounts (`app.bsky.actor.getSuggestions` and its many kin), feeds, starter packs, and what many
//! write of. How that is found is `discovery`'s to know.

use serde::Serialize;

use super::page::{is_outdated, limit};
use super::search::search_feeds;
use crate::discovery::{Cursor, List, Records, Wish, fit, fit_authors, fit_records};
use crate::hydrate::{ActorId, Hydrator, RecordId, ShownAccounts};
use crate::syntax::datetime::format_ms;
use crate::view::actor::{ProfileView, profile, profile_basic, profile_known_followers};
use crate::view::feedgen::{GeneratorView, generator};
use crate::view::graph::{StarterPackView, starter_pack};
use crate::xrpc::call::TOPICS;
use crate::xrpc::session::{Identified, Session};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// Accounts like one that are shown: there are no pages of them.
const LIKE_ONE: usize = 25;

#[derive(Serialize)]
struct Actors {
    actors: Vec<ProfileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A cursor of ours; 400 if it is malformed.
fn cursor(call: &Call) -> Result<Option<Cursor>, XrpcError> {
    match call.params.str("cursor").filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match Cursor::parse(text) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(XrpcError::invalid_request("Malformed cursor")),
        },
    }
}

/// What the call says of whom it asks for.
fn wish(call: &Call) -> Wish {
    let topics = call.header_list(&TOPICS).into_iter().map(str::to_owned);
    Wish {
        category: call.params.str("category").map(str::to_owned),
        topics: topics.collect(),
        languages: call.languages(),
    }
}

/// A page of accounts.
fn page(
    h: &Hydrator<'_>,
    list: &List<ActorId>,
    from: Option<Cursor>,
    limit: usize,
) -> Result<(Vec<ActorId>, Option<String>), XrpcError> {
    let mut state = h.state();
    let (ids, next) = list.page(from, limit, |ids| fit(h, &mut state, ids))?;
    Ok((ids, next.map(|cursor| cursor.to_string())))
}

/// `app.bsky.actor.getSuggestions`
pub(crate) fn get_suggestions(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (h, from) = (session.hydrator(), cursor(call)?);
    let Some(list) = app.discovery.accounts(&h, &wish(call), from)? else {
        return session.reply(&Actors { actors: Vec::new(), cursor: None });
    };
    let (ids, cursor) = page(&h, &list, from, limit(call))?;
    // As in the reference a page that is full leads on, even if there is nobody behind it.
    let is_full = ids.len() == limit(call);
    let cursor = cursor.or_else(|| is_full.then(|| list.end().to_string()));
    session.reply(&Actors { actors: with_known_followers(&h, &ids)?, cursor })
}

fn with_known_followers(h: &Hydrator<'_>, ids: &[ActorId]) -> Result<Vec<ProfileView>, XrpcError> {
    let mut state = h.state();
    h.profiles_detailed(&mut state, ids, ShownAccounts::Hosted)?;
    Ok(ids.iter().filter_map(|id| profile_known_followers(&state, *id)).collect())
}

/// `app.bsky.unspecced.getSuggestedUsers`, `getSuggestedOnboardingUsers`, and those for Discover, Explore and SeeMore: all
/// give the same list.
pub(crate) fn get_suggested_users(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut actors = Vec::new();
    if let Some(list) = app.discovery.accounts(&h, &wish(call), None)? {
        let (ids, _) = page(&h, &list, None, limit(call))?;
        let mut state = h.state();
        h.profiles(&mut state, &ids)?;
        actors.extend(ids.iter().filter_map(|id| profile(&state, *id)));
    }
    session.reply(&Actors { actors, cursor: None })
}

#[derive(Serialize)]
struct Suggestions {
    suggestions: Vec<ProfileView>,
}

/// `app.bsky.graph.getSuggestedFollowsByActor`: nobody rather than anybody.
pub(crate) fn get_suggested_follows_by_actor(
    app: &AppCtx,
    call: &Call,
) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let actor = match session.identify(call.params.str("actor").unwrap_or_default())? {
        Identified::Known(actor) => actor,
        Identified::UnknownDid => return session.reply(&Suggestions { suggestions: Vec::new() }),
        Identified::UnknownHandle => return Err(XrpcError::invalid_request("Actor not found")),
    };
    let list = app.discovery.accounts_like(&h, actor)?;
    let (ids, _) = page(&h, &list, None, LIKE_ONE)?;
    session.reply(&Suggestions { suggestions: with_known_followers(&h, &ids)? })
}

#[derive(Serialize)]
struct Feeds {
    feeds: Vec<GeneratorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A page of feeds or starter packs.
fn page_of_records(
    app: &AppCtx,
    call: &Call,
    h: &Hydrator<'_>,
    which: Records,
) -> Result<(Vec<RecordId>, Option<String>), XrpcError> {
    let from = cursor(call)?;
    let Some(list) = app.discovery.records(h, which, from)? else {
        return Ok((Vec::new(), None));
    };
    let mut state = h.state();
    let (ids, next) = list.page(from, limit(call), |ids| fit_records(h, &mut state, ids))?;
    Ok((ids, next.map(|cursor| cursor.to_string())))
}

fn feeds(app: &AppCtx, call: &Call, which: Records, pages: bool) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let (ids, cursor) = page_of_records(app, call, &h, which)?;
    let mut state = h.state();
    h.feed_generators(&mut state, &ids)?;
    let feeds = ids.iter().filter_map(|id| generator(&state, *id)).collect();
    session.reply(&Feeds { feeds, cursor: cursor.filter(|_| pages) })
}

/// `app.bsky.feed.getSuggestedFeeds`
pub(crate) fn get_suggested_feeds(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    feeds(app, call, Records::Feeds, true)
}

/// `app.bsky.unspecced.getSuggestedFeeds`: the beginning of the same.
pub(crate) fn get_first_suggested_feeds(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    feeds(app, call, Records::Feeds, false)
}

/// `app.bsky.unspecced.getPopularFeedGenerators`: by likes, or those that a query finds.
pub(crate) fn get_popular_feed_generators(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    // A cursor of the form that was used long ago ends it.
    if call.params.str("cursor").is_some_and(is_outdated) {
        return Session::open(app, call)?.reply(&Feeds { feeds: Vec::new(), cursor: None });
    }
    match call.params.str("query").map(str::trim).filter(|query| !query.is_empty()) {
        None => feeds(app, call, Records::PopularFeeds, true),
        Some(query) => search_feeds(app, call, query),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Packs {
    starter_packs: Vec<StarterPackView>,
}

/// `app.bsky.unspecced.getSuggestedStarterPacks` and `getOnboardingSuggestedStarterPacks`
pub(crate) fn get_suggested_starter_packs(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let (ids, _) = page_of_records(app, call, &h, Records::Packs)?;
    let mut state = h.state();
    h.starter_packs(&mut state, &ids)?;
    let starter_packs = ids.iter().filter_map(|id| starter_pack(&state, *id)).collect();
    session.reply(&Packs { starter_packs })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaggedSuggestion {
    tag: String,
    subject_type: &'static str,
    subject: String,
}

#[derive(Serialize)]
struct TaggedSuggestions {
    suggestions: Vec<TaggedSuggestion>,
}

/// `app.bsky.unspecced.getTaggedSuggestions`
pub(crate) fn get_tagged_suggestions(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let tagged = app.discovery.tagged(&session.hydrator())?.into_iter();
    let suggestions = tagged.map(|tagged| TaggedSuggestion {
        tag: tagged.tag,
        subject_type: if tagged.is_feed { "feed" } else { "actor" },
        subject: tagged.subject,
    });
    session.reply(&TaggedSuggestions { suggestions: suggestions.collect() })
}

/// Who is shown of those who write of a trend.
const AUTHORS: usize = 5;
/// Topics that are shown behind the trends.
const SUGGESTED: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::xrpc) struct TrendView {
    topic: String,
    pub(in crate::xrpc) display_name: String,
    pub(in crate::xrpc) link: String,
    started_at: String,
    pub(in crate::xrpc) post_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::xrpc) status: Option<&'static str>,
    pub(in crate::xrpc) actors: Vec<ProfileView>,
}

#[derive(Serialize)]
struct TrendViews {
    trends: Vec<TrendView>,
}

/// `app.bsky.unspecced.getTrends`
pub(crate) fn get_trends(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    session.reply(&TrendViews { trends: trends(app, &session, call)? })
}

/// What trends, in the caller's languages first.
pub(in crate::xrpc) fn trends(
    app: &AppCtx,
    session: &Session,
    call: &Call,
) -> Result<Vec<TrendView>, XrpcError> {
    let (h, mut state) = (session.hydrator(), session.hydrator().state());
    let mut trends = Vec::new();
    for trend in app.trends.shown(&call.languages()).into_iter().take(limit(call)) {
        let authors = fit_authors(&h, &mut state, &trend.authors)?;
        let actors = authors.iter().take(AUTHORS).filter_map(|id| profile_basic(&state, *id));
        trends.push(TrendView {
            actors: actors.collect(),
            topic: trend.name.clone(),
            display_name: trend.name,
            link: trend.link,
            started_at: format_ms(trend.started_at),
            post_count: trend.posts,
            status: trend.hot.then_some("hot"),
        });
    }
    Ok(trends)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Topic {
    topic: String,
    display_name: String,
    link: String,
}

#[derive(Serialize)]
struct Topics {
    topics: Vec<Topic>,
    suggested: Vec<Topic>,
}

/// `app.bsky.unspecced.getTrendingTopics`
pub(crate) fn get_trending_topics(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let trends = app.trends.shown(&call.languages()).into_iter();
    let mut all = trends.map(|trend| Topic {
        topic: trend.name.clone(),
        display_name: trend.name,
        link: trend.link,
    });
    let topics = all.by_ref().take(limit(call)).collect();
    Session::open(app, call)?.reply(&Topics { topics, suggested: all.take(SUGGESTED).collect() })
}
