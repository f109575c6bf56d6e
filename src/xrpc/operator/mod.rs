//! What operators ask for in the browser: signing in and out, the dashboard, its actions and its socket. What the dashboard
//! shows and does is behind [`Dashboard`](super::ports::Dashboard).
//!
//! # Invariants
//! - Whatever changes something comes from a page of this server by `Origin`, and from a form of the same session by its
//!   token; signing in, which no session is there for yet, by `Origin` alone (`tests`).
//! - No answer is kept by anybody on the way, nor shown in a frame, nor given to a page of another origin.

mod desk;
mod sign_in;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method as Verb, StatusCode};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use super::context::AppCtx;
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::handshake::is_own_origin;
use super::message::{Body, Request, Response};
use super::reply::Reply;
use crate::login::{Cookie, Visitor};
use crate::pages::{Site, operator};

pub(super) use desk::{ACT, DASHBOARD, LIVE};
pub(super) use sign_in::{LINK, SIGN_IN, SIGN_OUT};

/// Fields of a form: the largest has three.
const MOST_FIELDS: usize = 16;

type Made<'a> = BoxFuture<'a, Result<Reply, XrpcError>>;

/// A page or an action. It must not block.
pub(super) struct Desk {
    /// As the log calls it.
    name: &'static str,
    make: for<'a> fn(&'a Asked<'a>) -> Made<'a>,
}

/// What is asked, by whom.
struct Asked<'a> {
    ctx: &'a Arc<AppCtx>,
    /// What the path has in the places that vary.
    parts: &'a [&'a str],
    request: &'a Request,
    /// What a form sends.
    form: Vec<(String, String)>,
}

impl Asked<'_> {
    fn site(&self) -> Site<'_> {
        Site { url: &self.ctx.identity.public_url }
    }

    fn cookie(&self) -> Cookie {
        Cookie::of(&self.ctx.identity.public_url)
    }

    fn is_post(&self) -> bool {
        self.request.method == Verb::POST
    }

    fn field(&self, name: &str) -> &str {
        let found = self.form.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn part(&self) -> &str {
        self.parts.first().copied().unwrap_or_default()
    }

    /// Who is signed in, if anybody; from then on their session was used.
    async fn visitor(&self) -> Result<Option<Visitor>, XrpcError> {
        let Some(visitor) = visitor(self.ctx, self.request) else { return Ok(None) };
        self.ctx.login.used(&visitor).await?;
        Ok(Some(visitor))
    }

    /// Whether the form is one of this visitor's pages.
    fn is_form_of(&self, visitor: &Visitor) -> Result<(), XrpcError> {
        match self.field("token").as_bytes().ct_eq(visitor.token.as_bytes()).into() {
            true => Ok(()),
            false => Err(forbidden("This form is of another session: open the page anew.")),
        }
    }
}

fn visitor(ctx: &AppCtx, request: &Request) -> Option<Visitor> {
    let secret = Cookie::of(&ctx.identity.public_url).read(&request.headers)?;
    ctx.login.visitor(&secret)
}

fn forbidden(message: &'static str) -> XrpcError {
    XrpcError::passed_on(StatusCode::FORBIDDEN.as_u16(), "Forbidden", message)
}

/// Answers with a page, whatever comes.
pub(super) async fn answer(
    ctx: &Arc<AppCtx>,
    desk: &Desk,
    parts: &[&str],
    request: &Request,
    accept: &Accept,
) -> Response {
    let site = Site { url: &ctx.identity.public_url };
    let made = match form(ctx, request) {
        Ok(form) => (desk.make)(&Asked { ctx, parts, request, form }).await,
        Err(error) => Err(error),
    };
    let mut response = match made {
        Ok(reply) => encode::success(reply, accept),
        Err(error) => failure(site, desk.name, error),
    };
    response.headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    response
}

/// An error as a page.
pub(super) fn failure(site: Site<'_>, name: &str, error: XrpcError) -> Response {
    encode::log_failure(name, &error);
    let status = error.status();
    let html = operator::failure(site, status.as_u16(), error.message());
    let mut reply = page(html).with_status(status);
    reply.headers.extend(error.into_wire().2);
    encode::success(reply, &Accept::default())
}

/// What a form sends, if it is one of ours; nothing for who only looks.
fn form(ctx: &AppCtx, request: &Request) -> Result<Vec<(String, String)>, XrpcError> {
    if request.method != Verb::POST {
        return Ok(Vec::new());
    }
    if !is_own_origin(&request.headers, &ctx.identity.public_url) {
        return Err(forbidden("This was not sent by a page of this server."));
    }
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    match &request.body {
        Body::Missing => Ok(Vec::new()),
        Body::Bytes(bytes) if is_form || bytes.is_empty() => {
            let pairs = form_urlencoded::parse(bytes).take(MOST_FIELDS);
            Ok(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
        }
        Body::TooLarge => Err(XrpcError::too_large()),
        _ => Err(XrpcError::invalid_request("This is not a form.")),
    }
}

/// A page with the headers that all have.
fn page(html: String) -> Reply {
    let policy = HeaderValue::try_from(operator::content_security_policy())
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    Reply::with_type(html.into_bytes(), "text/html; charset=utf-8")
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .with_header(CONTENT_SECURITY_POLICY, policy)
        .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        // With less a form would have no `Origin`; to others nothing is told.
        .with_header(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
}

/// On to another page, with a cookie to keep or to forget.
fn onward(to: &'static str, cookie: Option<HeaderValue>) -> Reply {
    let reply = Reply::empty()
        .with_status(StatusCode::SEE_OTHER)
        .with_header(LOCATION, HeaderValue::from_static(to))
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match cookie {
        Some(cookie) => reply.with_header(SET_COOKIE, cookie),
        None => reply,
    }
}
