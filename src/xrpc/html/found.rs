//! `/search` and `/hashtag/{tag}`

use super::{Page, Visit, page, site};
use crate::hydrate::PostId;
use crate::hydrate::post_state::PostState;
use crate::pages::SearchPage;
use crate::search::query::Search;
use crate::xrpc::api::search::found_posts;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/search`
pub(in crate::xrpc) const SEARCH: Page = Page { name: "/search", make: search };
/// `/hashtag/{tag}`
pub(in crate::xrpc) const HASHTAG: Page = Page { name: "/hashtag", make: hashtag };

/// Posts on a page.
const POSTS: &str = "25";

/// Posts of authors who want no strangers are looked past, so that a page is full without them.
fn is_for_strangers(state: &PostState, post: PostId) -> bool {
    !state.is_no_unauthenticated(post.author)
}

fn is_latest(visit: &Visit) -> bool {
    visit.param("sort") == "latest"
}

fn search(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let (query, cursor) = (visit.param("q").trim(), visit.param("cursor"));
    let latest = is_latest(visit);
    let (state, found) = if query.is_empty() {
        Default::default()
    } else {
        let sort = if latest { "latest" } else { "top" };
        let params = [("q", query), ("sort", sort), ("limit", POSTS), ("cursor", cursor)];
        visit.ask("app.bsky.feed.searchPosts", &params, |call| {
            let search = Search::posts(&call.params)?;
            let session = Session::open(app, call)?;
            found_posts(app, &session, call, &search, &is_for_strangers)
        })?
    };
    let html = SearchPage {
        query: Some(query),
        tag: None,
        latest,
        cursor,
        state: &state,
        posts: &found.posts,
        total: found.total,
        next: found.cursor.as_deref(),
    };
    Ok(page(app, html.html(site(app))))
}

fn hashtag(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let tag = visit.part(0).trim_start_matches(['#', '＃']).trim();
    if tag.is_empty() {
        return Err(XrpcError::not_found("There is no tag without a word."));
    }
    let cursor = visit.param("cursor");
    let latest = is_latest(visit);
    let sort = if latest { "recent" } else { "top" };
    let params = [
        ("hashtags", tag),
        ("allTime", "true"),
        ("sort", sort),
        ("limit", POSTS),
        ("cursor", cursor),
    ];
    let (state, found) = visit.ask("app.bsky.feed.searchPostsV2", &params, |call| {
        let search = Search::posts_v2(&call.params)?;
        let session = Session::open(app, call)?;
        found_posts(app, &session, call, &search, &is_for_strangers)
    })?;
    let html = SearchPage {
        query: None,
        tag: Some(tag),
        latest,
        cursor,
        state: &state,
        posts: &found.posts,
        total: found.total,
        next: found.cursor.as_deref(),
    };
    Ok(page(app, html.html(site(app))))
}
