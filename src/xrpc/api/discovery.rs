//! What is suggested: accounts (`app.bsky.actor.getSuggestions` and its many kin). How they are found is `discovery`'s to
//! know.

use http::HeaderName;
use serde::Serialize;

use super::page::limit;
use crate::discovery::{Cursor, List, Wish, fit};
use crate::hydrate::{ActorId, Hydrator, ShownAccounts};
use crate::view::actor::{ProfileView, profile, profile_known_followers};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// What the viewer is interested in, as clients say it.
const TOPICS: HeaderName = HeaderName::from_static("x-bsky-topics");
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
    let actor = session.actor(call.params.str("actor").unwrap_or_default())?;
    let actor = actor.ok_or_else(|| XrpcError::invalid_request("Actor not found"))?;
    let list = app.discovery.accounts_like(&h, actor)?;
    let (ids, _) = page(&h, &list, None, LIKE_ONE)?;
    session.reply(&Suggestions { suggestions: with_known_followers(&h, &ids)? })
}
