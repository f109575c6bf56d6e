//! `/search` and `/hashtag/{tag}`

use super::{Page, Visit, page, site};
use crate::hydrate::PostId;
use crate::hydrate::post_state::PostState;
use crate::lexicon::Params;
use crate::pages::SearchPage;
use crate::search::find::Found;
use crate::search::query::{QueryError, Search};
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
    let found = if query.is_empty() {
        Default::default()
    } else {
        let sort = if latest { "latest" } else { "top" };
        let params = [("q", query), ("sort", sort), ("limit", POSTS), ("cursor", cursor)];
        posts(app, visit, ("app.bsky.feed.searchPosts", &params), Search::posts)?
    };
    Ok(results(app, visit, (Some(query), None), &found))
}

fn hashtag(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let tag = visit.part(0).trim_start_matches(['#', '＃']).trim();
    if tag.is_empty() {
        return Err(XrpcError::not_found("There is no tag without a word."));
    }
    let sort = if is_latest(visit) { "recent" } else { "top" };
    let params = [
        ("hashtags", tag),
        ("allTime", "true"),
        ("sort", sort),
        ("limit", POSTS),
        ("cursor", visit.param("cursor")),
    ];
    let found = posts(app, visit, ("app.bsky.feed.searchPostsV2", &params), Search::posts_v2)?;
    Ok(results(app, visit, (None, Some(tag)), &found))
}

/// What a method of search finds for strangers.
fn posts(
    app: &AppCtx,
    visit: &Visit,
    (nsid, params): (&str, &[(&str, &str)]),
    search: fn(&Params) -> Result<Search, QueryError>,
) -> Result<(PostState, Found), XrpcError> {
    visit.ask(nsid, params, |call| {
        let search = search(&call.params)?;
        let session = Session::open(app, call)?;
        found_posts(app, &session, call, &search, &is_for_strangers)
    })
}

fn results(
    app: &AppCtx,
    visit: &Visit,
    (query, tag): (Option<&str>, Option<&str>),
    (state, found): &(PostState, Found),
) -> Reply {
    let html = SearchPage {
        query,
        tag,
        latest: is_latest(visit),
        cursor: visit.param("cursor"),
        state,
        posts: &found.posts,
        total: found.total,
        next: found.cursor.as_deref(),
    };
    page(app, html.html(site(app)))
}
