//! `/profile/{actor}` and `/profile/{actor}/rss`

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::{Page, Visit, missing, not_for_strangers, page, site};
use crate::hydrate::post_state::PostState;
use crate::hydrate::timeline::FeedItem;
use crate::pages::{self, ProfilePage, Tab};
use crate::view::actor::{ProfileView, says_no_unauthenticated};
use crate::xrpc::api::actor::detailed;
use crate::xrpc::api::feed::author_feed;
use crate::xrpc::api::page::FetchedPage;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/profile/{actor}`
pub(in crate::xrpc) const PROFILE: Page = Page { name: "/profile", make: profile };
/// `/profile/{actor}/rss`
pub(in crate::xrpc) const RSS: Page = Page { name: "/profile/rss", make: rss };

/// Posts on a page.
const POSTS: &str = "25";
/// Posts in a feed, as bsky.app has it.
const ITEMS: &str = "30";

/// An account that strangers may see.
fn account(app: &AppCtx, visit: &Visit) -> Result<(Session, ProfileView), XrpcError> {
    let actor = visit.part(0);
    let (session, profile) = visit
        .ask("app.bsky.actor.getProfile", &[("actor", actor)], |call| {
            let session = Session::open(app, call)?;
            let profile = detailed(&session, call)?;
            Ok((session, profile))
        })
        .map_err(missing)?;
    match says_no_unauthenticated(&profile.labels) {
        true => Err(not_for_strangers()),
        false => Ok((session, profile)),
    }
}

fn posts(
    visit: &Visit,
    session: &Session,
    params: &[(&str, &str)],
) -> Result<(PostState, FetchedPage<FeedItem>), XrpcError> {
    visit.ask("app.bsky.feed.getAuthorFeed", params, |call| author_feed(session, call))
}

fn profile(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let (session, profile) = account(app, visit)?;
    let (tab, cursor) = (Tab::named(visit.param("tab")), visit.param("cursor"));
    let pins = if tab == Tab::Posts && cursor.is_empty() { "true" } else { "false" };
    let params = [
        ("actor", &*profile.did),
        ("filter", tab.filter()),
        ("includePins", pins),
        ("limit", POSTS),
        ("cursor", cursor),
    ];
    let (state, found) = posts(visit, &session, &params)?;
    let html = ProfilePage {
        profile: &profile,
        tab,
        cursor,
        state: &state,
        items: &found.items,
        next: found.cursor.as_deref(),
    };
    Ok(page(app, html.html(site(app))))
}

fn rss(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let (session, profile) = account(app, visit)?;
    // A handle may be somebody else's tomorrow; who follows a feed follows the account.
    if visit.part(0) != &*profile.did {
        let to = format!("/profile/{}/rss", profile.did);
        let to = HeaderValue::try_from(to).map_err(XrpcError::internal)?;
        return Ok(Reply::empty().with_status(StatusCode::FOUND).with_header(LOCATION, to));
    }
    let params = [("actor", &*profile.did), ("filter", "posts_no_replies"), ("limit", ITEMS)];
    let (state, found) = posts(visit, &session, &params)?;
    let xml = pages::rss(site(app), &profile, &state, &found.items);
    let reply = Reply::with_type(xml.into_bytes(), "application/xml; charset=utf-8");
    Ok(reply.with_cache_control(super::SOON))
}
