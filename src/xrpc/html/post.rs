//! `/profile/{actor}/post/{rkey}`

use super::{Page, Visit, missing, not_for_strangers, page, site};
use crate::pages;
use crate::view::thread_v2::ThreadValue;
use crate::xrpc::api::unspecced;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/profile/{actor}/post/{rkey}`
pub(in crate::xrpc) const POST: Page = Page { name: "/profile/post", make: post };

/// Levels below the post, and replies to each reply there: the rest is on the pages of these.
const BELOW: &str = "3";
const BRANCHING: &str = "5";

fn post(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let uri = format!("at://{}/app.bsky.feed.post/{}", visit.part(0), visit.part(1));
    let params = [
        ("anchor", uri.as_str()),
        ("below", BELOW),
        ("branchingFactor", BRANCHING),
        ("sort", "top"),
    ];
    let found = visit.ask("app.bsky.unspecced.getPostThreadV2", &params, |call| {
        let session = Session::open(app, call)?;
        unspecced::thread(app, &session, call)
    });
    let gone = || XrpcError::not_found("There is no such post here.");
    let (uri, found) = found.map_err(|error| match missing(error) {
        error if error.status() == http::StatusCode::NOT_FOUND => gone(),
        error => error,
    })?;
    let found = found.ok_or_else(gone)?;
    let thread = found.view(&uri);
    let anchor = thread.thread.iter().find(|item| item.depth == 0);
    if anchor.is_some_and(|anchor| matches!(anchor.value, ThreadValue::NoUnauthenticated {})) {
        return Err(not_for_strangers());
    }
    let html = pages::thread(site(app), &found.state, &thread).ok_or_else(gone)?;
    Ok(page(app, html))
}
