//! Search (`app.bsky.feed.searchPosts`, `searchPostsV2`): what a query means and what is found is `search`'s to know; here
//! is who gets to see what of it.

use serde::Serialize;

use super::page::limit;
use crate::hydrate::post_state::PostState;
use crate::hydrate::{ActorId, PostId, Target};
use crate::search::find::{FindError, Found, PostSearch};
use crate::search::language;
use crate::search::query::{Account, Leaf, QueryError, Search, Sort};
use crate::view::post::PostView;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

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

impl From<FindError> for XrpcError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::BadCursor(malformed) => Self::invalid_request(malformed.to_string()),
            FindError::Store(error) => error.into(),
            FindError::Index(error) => Self::internal(error),
        }
    }
}

/// `app.bsky.feed.searchPosts`
pub(crate) fn search_posts(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    posts(app, call, &Search::posts(&call.params)?, Vec::new())
}

/// `app.bsky.feed.searchPostsV2`
pub(crate) fn search_posts_v2(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let detected = language::detected(call.params.str("query").unwrap_or_default());
    posts(app, call, &Search::posts_v2(&call.params)?, detected)
}

fn posts(
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

/// A page of posts that a search finds, of those that the caller gets to see and wants to.
pub(in crate::xrpc) fn found_posts(
    app: &AppCtx,
    session: &Session,
    call: &Call,
    search: &Search,
    wanted: &dyn Fn(&PostState, PostId) -> bool,
) -> Result<(PostState, Found), XrpcError> {
    let seen = app.search.seen().ok_or_else(XrpcError::overloaded)?;
    let h = session.hydrator();
    let takedowns = &app.hydration.takedowns;
    let shows_all = session.ctx.include_takedowns;
    let hidden = |author: ActorId| !shows_all && takedowns.contains(Target::Actor(author));
    let who = (session.ctx.viewer, session.ctx.now);
    let found = PostSearch::new(&seen, &session.snapshot, search, who, &hidden)?;
    let mut state = PostState::new(&h);
    let names_author = search
        .query
        .any(|leaf| matches!(leaf, Leaf::From(Account::Me | Account::Handle(_) | Account::Did(_))));
    let found = found.page(call.params.str("cursor"), limit(call), |ids: Vec<PostId>| {
        h.posts(&mut state, &ids)?;
        let mut ids = ids;
        ids.retain(|id| {
            let base = &state.base;
            let author = id.author;
            if base.ctx.viewer == Some(author) {
                return true;
            }
            if base.viewer_block_exists(author) {
                return false;
            }
            // What waits for a moderator is for those who look for its author.
            let marked = !base.viewer_sees_needs_review(Target::Post(*id));
            !marked || (search.sort == Sort::Latest && names_author)
        });
        ids.retain(|id| state.post_view(*id, 0).is_some() && wanted(&state, *id));
        Ok::<_, XrpcError>(ids)
    })?;
    Ok((state, found))
}
