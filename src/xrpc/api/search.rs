//! Search for posts, accounts, starter packs and feeds: what a query means and what is found is `search`'s to know; here is
//! who gets to see what of it.

use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::page::limit;
use crate::discovery::is_marked;
use crate::hydrate::post_state::PostState;
use crate::hydrate::{ActorId, HydrationState, Hydrator, PostId, RecordId, Target};
use crate::limits::Client;
use crate::moderation::TagRules;
use crate::search::find::{
    AccountSearch, FindError, Found, PostSearch, Thing, ThingSearch, Things, Typed, Why,
};
use crate::search::index::{IndexError, Seen};
use crate::search::language;
use crate::search::query::{Account, Leaf, QueryError, Search, Sort};
use crate::store::StoreError;
use crate::syntax::Did;
use crate::view::actor::{ProfileView, profile, profile_basic};
use crate::view::feedgen::{GeneratorView, generator};
use crate::view::graph::{StarterPackView, StarterPackViewBasic, starter_pack, starter_pack_basic};
use crate::view::post::PostView;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Credentials, Reply, XrpcError};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostsOutput<'a> {
    posts: Vec<PostView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    hits_total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detected_query_languages: Vec<&'static str>,
}

impl From<QueryError> for XrpcError {
    fn from(error: QueryError) -> Self {
        match error.is_bad_query() {
            true => Self::named("BadQueryString", error.to_string()),
            false => Self::invalid_request(error.to_string()),
        }
    }
}

/// What ends a search.
enum Ends {
    Search(FindError),
    Answer(XrpcError),
}

impl From<FindError> for Ends {
    fn from(error: FindError) -> Self {
        Self::Search(error)
    }
}

impl<E: Into<XrpcError>> From<E> for Ends {
    fn from(error: E) -> Self {
        Self::Answer(error.into())
    }
}

impl Ends {
    fn said(self, app: &AppCtx) -> XrpcError {
        match self {
            Self::Answer(error) => error,
            Self::Search(FindError::Store(error)) => error.into(),
            Self::Search(FindError::BadCursor(malformed)) => {
                XrpcError::invalid_request(malformed.to_string())
            }
            Self::Search(FindError::Index(error)) => unreadable(app, &error),
        }
    }
}

/// How long one who searches waits until the index may be there.
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// What can be searched now; without, only search is not available.
fn seen(app: &AppCtx) -> Result<Seen, XrpcError> {
    let none = || XrpcError::busy("The search index is being made", MADE_WITHIN);
    app.search.seen().ok_or_else(none)
}

/// The index could not be read: it is looked at, and made anew if it is damaged.
fn unreadable(app: &AppCtx, error: &IndexError) -> XrpcError {
    tracing::error!(%error, "search: the index cannot be read");
    app.search.doubt();
    XrpcError::busy("The search index cannot be read", MADE_WITHIN)
}

/// Whether an account is taken down, so that no place is lost to it.
fn is_hidden(app: &AppCtx, session: &Session, account: ActorId) -> bool {
    !session.ctx.include_takedowns && app.hydration.takedowns.contains(Target::Actor(account))
}

/// `app.bsky.feed.searchPosts`
pub(crate) fn search_posts(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    answer(app, call, &Search::posts(&call.params)?, Vec::new())
}

/// `app.bsky.feed.searchPostsV2`
pub(crate) fn search_posts_v2(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let detected = language::detected(call.params.str("query").unwrap_or_default());
    answer(app, call, &Search::posts_v2(&call.params)?, detected)
}

/// Whether rules let somebody find a post; `by_author` says whether they look through the newest of its author.
pub(super) fn is_found(state: &PostState, id: PostId, by_author: bool) -> bool {
    let base = &state.base;
    if base.ctx.viewer == Some(id.author) {
        return true;
    }
    if base.viewer_block_exists(id.author) {
        return false;
    }
    let tags = post_tags(state, id);
    let marked = tags.hide_in_search || !base.viewer_sees_needs_review(Target::Post(id));
    !tags.hide_in_all_search && (by_author || !marked)
}

/// What the tags of a post and of its author say. The operator and the moderation service find everything.
fn post_tags(state: &PostState, id: PostId) -> TagRules {
    match state.post(id) {
        Some(post) if !state.base.ctx.include_takedowns => {
            let tags = &state.base.tags;
            tags.of_record(&post.record.uri).and(tags.of_account(&post.record.did))
        }
        _ => TagRules::default(),
    }
}

fn answer(
    app: &AppCtx,
    call: &Call,
    search: &Search,
    detected_query_languages: Vec<&'static str>,
) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (state, found) = found_posts(app, &session, call, search, &|_, _| true)?;
    let posts = found.posts.iter().filter_map(|id| state.post_view(*id, 0)).collect();
    session.reply(&PostsOutput {
        posts,
        cursor: found.cursor,
        hits_total: found.total,
        detected_query_languages,
    })
}

/// Whether the caller wants a post that may be shown.
type Wanted<'a> = dyn Fn(&PostState, PostId) -> bool + 'a;

/// A page of posts that a search finds, of those that the caller gets to see and wants to.
pub(in crate::xrpc) fn found_posts(
    app: &AppCtx,
    session: &Session,
    call: &Call,
    search: &Search,
    wanted: &Wanted<'_>,
) -> Result<(PostState, Found), XrpcError> {
    posts(app, call, session, (search, wanted), |_, found, state| Ok((state, found)))
}

/// A page of a search, as who asks gets to see it; `then` makes the answer of it.
fn posts<T>(
    app: &AppCtx,
    call: &Call,
    session: &Session,
    (search, wanted): (&Search, &Wanted<'_>),
    then: impl FnOnce(&PostSearch<'_>, Found, PostState) -> Result<T, XrpcError>,
) -> Result<T, XrpcError> {
    let seen = seen(app)?;
    let h = session.hydrator();
    let hidden = |author: ActorId| is_hidden(app, session, author);
    let who = (session.ctx.viewer, session.ctx.now);
    let posts = PostSearch::new(&seen, &session.snapshot, search, who, &hidden)?;
    let mut state = PostState::new(&h);
    // What waits for a moderator, or is tagged so, is for those who look for its author.
    let names_author = search
        .query
        .any(|leaf| matches!(leaf, Leaf::From(Account::Me | Account::Handle(_) | Account::Did(_))));
    let by_author = names_author && search.sort == Sort::Latest;
    let page = posts.page(call.params.str("cursor"), limit(call), |mut ids: Vec<PostId>| {
        h.posts(&mut state, &ids)?;
        ids.retain(|id| is_found(&state, *id, by_author));
        ids.retain(|id| state.post_view(*id, 0).is_some() && wanted(&state, *id));
        Ok::<_, Ends>(ids)
    });
    let found = page.map_err(|ends| ends.said(app))?;
    then(&posts, found, state)
}

/// What somebody who searches gets, and why: for the operator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    /// The query as it was understood.
    understood: String,
    /// Nothing was found, so words were looked for that may have been meant.
    respelled: bool,
    hits_total: u64,
    /// Posts that were looked at for this page.
    looked_at: usize,
    posts: Vec<PostView<'a>>,
    /// Of each post.
    why: Vec<Why>,
}

/// `app.bsky.feed.searchPosts` with these parameters as `viewer`, or nobody, gets it, with what each post was found by.
/// Blocks.
pub fn explained(app: &AppCtx, viewer: Option<Did>, query: &str) -> Result<Value, XrpcError> {
    let credentials = match viewer {
        Some(did) => Credentials::Viewer { did, mod_service: false },
        None => Credentials::None,
    };
    let from = (HeaderMap::new(), Client::Own);
    let call = Call::of_query("app.bsky.feed.searchPosts", query, credentials, from)?;
    let search = Search::posts(&call.params)?;
    let session = Session::open(app, &call)?;
    posts(app, &call, &session, (&search, &|_, _| true), |posts, found, state| {
        let why = posts.why(&found).map_err(|error| Ends::Search(error).said(app))?;
        let explained = Explained {
            understood: search.query.to_string(),
            respelled: found.respelled,
            hits_total: found.total,
            looked_at: found.looked_at,
            posts: found.posts.iter().filter_map(|id| state.post_view(*id, 0)).collect(),
            why,
        };
        serde_json::to_value(explained).map_err(XrpcError::internal)
    })
}

#[derive(Serialize)]
struct ActorsOutput {
    actors: Vec<ProfileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.actor.searchActors`
pub(crate) fn search_actors(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    actors(app, call, true, profile)
}

/// `app.bsky.actor.searchActorsTypeahead`: names alone, and one page.
pub(crate) fn search_actors_typeahead(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    actors(app, call, false, profile_basic)
}

fn actors(
    app: &AppCtx,
    call: &Call,
    is_whole: bool,
    view: impl Fn(&HydrationState, ActorId) -> Option<ProfileView>,
) -> Result<Reply, XrpcError> {
    let seen = seen(app)?;
    let text = call.params.str("q").or_else(|| call.params.str("term")).unwrap_or_default();
    let typed = Typed::of(text);
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let search = AccountSearch {
        seen: &seen,
        snapshot: &session.snapshot,
        viewer: session.ctx.viewer,
        hidden: &|account| is_hidden(app, &session, account),
        marked: &|account| is_marked(&h, account),
        descriptions: is_whole,
    };
    let mut state = h.state();
    let cursor = call.params.str("cursor").filter(|_| is_whole);
    let page = search.page(&typed, cursor, limit(call), |mut ids: Vec<ActorId>| {
        h.profiles(&mut state, &ids)?;
        ids.retain(|id| {
            let Some(actor) = state.actor(*id) else { return false };
            // Who is blocked is found to be unblocked, by who types the handle: there alone, as in the reference.
            let is_exact = || actor.handle.as_ref().is_some_and(|h| typed.is_handle(h));
            !state.viewer_block_exists(*id) || (!is_whole && is_exact())
        });
        Ok::<_, Ends>(ids)
    });
    let (ids, cursor) = page.map_err(|ends| ends.said(app))?;
    let actors = ids.iter().filter_map(|id| view(&state, *id)).collect();
    session.reply(&ActorsOutput { actors, cursor: cursor.filter(|_| is_whole) })
}

/// A page of things whose creators the viewer may see.
fn things(
    app: &AppCtx,
    call: &Call,
    session: &Session,
    (thing, text): (Thing, &str),
    hydrate: impl Fn(&Hydrator<'_>, &mut HydrationState, &[RecordId]) -> Result<(), StoreError>,
) -> Result<(Things, HydrationState), XrpcError> {
    let seen = seen(app)?;
    let h = session.hydrator();
    let hidden = |account: ActorId| is_hidden(app, session, account);
    let search = ThingSearch {
        seen: &seen,
        snapshot: &session.snapshot,
        thing,
        hidden: &hidden,
        now: session.ctx.now,
    };
    let mut state = h.state();
    let cursor = call.params.str("cursor");
    let found = search.page(&Typed::of(text), cursor, limit(call), |mut ids: Vec<RecordId>| {
        hydrate(&h, &mut state, &ids)?;
        ids.retain(|id| {
            let is_shown = state.record(*id).is_some() && state.actor(id.actor).is_some();
            is_shown && !state.viewer_block_exists(id.actor)
        });
        Ok::<_, Ends>(ids)
    });
    Ok((found.map_err(|ends| ends.said(app))?, state))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PacksOutput<T> {
    starter_packs: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits_total: Option<u64>,
}

/// `app.bsky.graph.searchStarterPacks`
pub(crate) fn search_starter_packs(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let asked = (Thing::StarterPack, call.params.str("q").unwrap_or_default());
    let (found, state) =
        things(app, call, &session, asked, |h, state, ids| h.starter_packs_basic(state, ids))?;
    let view = |id: &RecordId| starter_pack_basic(&state, *id);
    let starter_packs: Vec<StarterPackViewBasic> = found.ids.iter().filter_map(view).collect();
    session.reply(&PacksOutput { starter_packs, cursor: found.cursor, hits_total: None })
}

/// `app.bsky.graph.searchStarterPacksV2`: each in full, and how many there are.
pub(crate) fn search_starter_packs_v2(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let asked = (Thing::StarterPack, call.params.str("q").unwrap_or_default());
    let (found, state) =
        things(app, call, &session, asked, |h, state, ids| h.starter_packs(state, ids))?;
    let view = |id: &RecordId| starter_pack(&state, *id);
    let starter_packs: Vec<StarterPackView> = found.ids.iter().filter_map(view).collect();
    let hits_total = Some(found.total);
    session.reply(&PacksOutput { starter_packs, cursor: found.cursor, hits_total })
}

#[derive(Serialize)]
struct FeedsOutput {
    feeds: Vec<GeneratorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.unspecced.getPopularFeedGenerators` with a query.
pub(super) fn search_feeds(app: &AppCtx, call: &Call, query: &str) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let asked = (Thing::Feed, query);
    let (found, state) =
        things(app, call, &session, asked, |h, state, ids| h.feed_generators(state, ids))?;
    let feeds = found.ids.iter().filter_map(|id| generator(&state, *id)).collect();
    session.reply(&FeedsOutput { feeds, cursor: found.cursor })
}
