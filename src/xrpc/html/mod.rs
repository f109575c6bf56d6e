//! Pages for people: what is asked of the functions behind the methods, and what a page is sent with.
//!
//! Whoever reads a page is a caller without credentials: a page shows what `getProfile`, `getAuthorFeed`,
//! `getPostThreadV2`, `searchPosts`, `searchPostsV2` and `getTrends` answer to nobody in particular, and is taken from the
//! same limits. How it looks is `pages`' matter.
//!
//! # Invariants
//! - Every answer of a path for people is a page, refusals among them (`tests`), and none is without the headers that keep
//!   a browser from running or loading anything else.

mod account;
mod found;
mod post;
mod sitemap;
mod topics;

#[cfg(test)]
mod sitemap_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::call::{Call, Credentials, Line};
use super::context::AppCtx;
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::fetch_requests::FetchRequests;
use super::message::{Request, Response};
use super::reply::Reply;
use crate::limits::Client;
use crate::pages::{self, Site};

pub(super) use account::{PROFILE, RSS};
pub(super) use found::{HASHTAG, SEARCH};
pub(super) use post::POST;
pub(super) use sitemap::{SITEMAP, SITEMAP_USERS};
pub(super) use topics::{HOME, TRENDING};

/// Bytes of a query, as of a call.
const MAX_QUERY: usize = 16 * 1024;
/// Whoever looks again within this time sees the same.
const SOON: &str = "public, max-age=15";

/// A page: how the log calls it, and what makes it. It runs on the read pool.
pub(super) struct Page {
    name: &'static str,
    make: fn(&AppCtx, &Visit) -> Result<Reply, XrpcError>,
}

/// Somebody looks at a page.
struct Visit {
    /// What the path has in the places that vary.
    parts: Vec<String>,
    /// What follows it, by name.
    query: Vec<(String, String)>,
    headers: HeaderMap,
    client: Client,
    /// What the store lacks for it.
    to_fetch: FetchRequests,
}

impl Visit {
    fn of(parts: &[&str], request: &Request) -> Result<Self, XrpcError> {
        let unreadable = || XrpcError::bad_path("This address cannot be read.");
        let decoded = |part: &&str| match percent_decode_str(part).decode_utf8() {
            Ok(part) => Ok(part.into_owned()),
            Err(_) => Err(unreadable()),
        };
        let query = request.uri.query().unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(unreadable());
        }
        let query = form_urlencoded::parse(query.as_bytes());
        Ok(Self {
            parts: parts.iter().map(decoded).collect::<Result<_, _>>()?,
            query: query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
            headers: request.headers.clone(),
            client: request.client,
            to_fetch: FetchRequests::default(),
        })
    }

    /// A part of the path; empty if the row of the path has fewer.
    fn part(&self, at: usize) -> &str {
        self.parts.get(at).map(String::as_str).unwrap_or_default()
    }

    /// A parameter; empty if it was not given.
    fn param(&self, name: &str) -> &str {
        let given = self.query.iter().find(|(known, _)| known == name);
        given.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Asks what a method is asked, as nobody in particular. The parameters go through its lexicon as those of a call do.
    fn ask<T>(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        answer: impl FnOnce(&Call) -> Result<T, XrpcError>,
    ) -> Result<T, XrpcError> {
        let given = params.iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        let from = (self.headers.clone(), self.client);
        let call = Call::of_query(nsid, &query, Credentials::None, from)?;
        let answer = answer(&call);
        self.to_fetch.extend(call.to_fetch.take());
        answer
    }
}

/// Whether a request names HTML among what it takes.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let (name, q) = encode::weighed(range);
        q > 0.0 && name.eq_ignore_ascii_case("text/html")
    })
}

/// Answers with a page, whatever comes.
pub(super) async fn answer(
    ctx: &Arc<AppCtx>,
    page: &'static Page,
    parts: &[&str],
    request: &Request,
    accept: Accept,
) -> Response {
    let visit = match Visit::of(parts, request) {
        Ok(visit) => Arc::new(visit),
        Err(error) => return failure(ctx, page.name, error),
    };
    if ctx.gives_up(true, request.client != Client::Own) {
        return failure(ctx, page.name, XrpcError::overloaded());
    }
    ctx.read_and_bring(&visit.to_fetch, || run(ctx, page, &visit, &accept)).await
}

async fn run(
    ctx: &Arc<AppCtx>,
    page: &'static Page,
    visit: &Arc<Visit>,
    accept: &Accept,
) -> Response {
    let line = Line { client: visit.client, spared: visit.client == Client::Own, first: false };
    let (here, visit, accept) = (Arc::clone(ctx), Arc::clone(visit), accept.clone());
    let made = move || match (page.make)(&here, &visit) {
        Ok(reply) => encode::success(reply, &accept),
        Err(error) => failure(&here, page.name, error),
    };
    ctx.blocking(line, made).await.unwrap_or_else(|error| failure(ctx, page.name, error))
}

/// An error as a page.
pub(super) fn failure(ctx: &AppCtx, name: &str, error: XrpcError) -> Response {
    encode::log_failure(name, &error);
    let of_error = error.static_name();
    let html = pages::failure(site(ctx), error.status().as_u16(), error.message());
    let mut reply = page(ctx, html).with_status(error.status());
    reply.headers.retain(|(name, _)| *name != CACHE_CONTROL);
    let (_, _, extra) = error.into_wire();
    reply.headers.extend(extra);
    Response { error: Some(of_error), ..encode::success(reply, &Accept::default()) }
}

/// For who asks for a page that is not there.
pub(super) fn not_found(ctx: &AppCtx) -> Response {
    failure(ctx, "", XrpcError::not_found("There is no page at this address."))
}

fn site(ctx: &AppCtx) -> Site<'_> {
    Site { url: &ctx.identity.public_url }
}

/// A page with the headers that all have.
fn page(ctx: &AppCtx, html: String) -> Reply {
    let settings = ctx.hydration.settings();
    let policy = pages::content_security_policy(&[&settings.images, &settings.videos]);
    let policy = HeaderValue::try_from(policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    Reply::with_type(html.into_bytes(), "text/html; charset=utf-8")
        .with_cache_control(SOON)
        .with_header(CONTENT_SECURITY_POLICY, policy)
        .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with_header(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
        // Some of these paths answer other things to who wants no page.
        .with_header(VARY, HeaderValue::from_static("Accept"))
}

/// Who is named by what cannot be the name of an account is not there.
fn missing(error: XrpcError) -> XrpcError {
    match error.status() {
        StatusCode::BAD_REQUEST => XrpcError::not_found(match error.name() {
            "AccountTakedown" => "This account has been suspended.",
            "AccountDeactivated" => "This account is deactivated.",
            _ => "There is no such account here.",
        }),
        _ => error,
    }
}

/// For the pages of accounts that want no strangers.
fn not_for_strangers() -> XrpcError {
    let message = "This account shows itself only to readers who are signed in to an app.";
    XrpcError::passed_on(StatusCode::FORBIDDEN.as_u16(), "NotPublic", message)
}
