//! One XRPC call: route, parameters, authentication, input, handler, answer, in the reference's order, because the
//! first failure decides the answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::Method as Verb;
use http::header::{AUTHORIZATION, USER_AGENT};

use super::app::App;
use super::auth::Wanted;
use super::body;
use super::call::{Call, Credentials};
use super::community;
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::fetch_requests::FetchRequests;
use super::message::{Request, Response};
use super::method::{AsyncFn, Handler, Method, ReadFn};
use super::router::{self, Route};
use crate::limits::{Client, Limit, Standing};
use crate::threads::{PoolError, panic_text};

/// Answers a request whose path begins with `/xrpc/`.
pub(super) async fn call(app: &App, request: Request) -> Response {
    let mut counted = Counted { app, client: request.client, standing: None };
    let response = counted.answer(request).await;
    response.with_standing(counted.standing, app.ctx.clock.now_ms())
}

/// A call, and whose share of [`Limit::Requests`] it is taken from: the account's if one signed it, else the address's.
struct Counted<'a> {
    app: &'a App,
    client: Client,
    standing: Option<Standing>,
}

impl Counted<'_> {
    async fn answer(&mut self, request: Request) -> Response {
        let accept = Accept::of(&request.method, &request.headers);
        let is_signed = request.headers.contains_key(AUTHORIZATION);
        if !is_signed && let Err(error) = self.count() {
            return encode::failure("", error);
        }
        let (nsid, error) = match find(self.app, &request) {
            Err(error) => ("", error),
            Ok(route) => match self.prepare(route, request, is_signed).await {
                Ok(call) => return run(self.app, route.method, call, accept).await,
                Err(error) => (route.method.nsid, error),
            },
        };
        // Whoever signs so that nobody knows who it is has an address.
        let counted = if is_signed && self.standing.is_none() { self.count() } else { Ok(()) };
        encode::failure(nsid, counted.err().unwrap_or(error))
    }

    fn count(&mut self) -> Result<(), XrpcError> {
        self.standing = self.app.ctx.take(Limit::Requests, self.client)?;
        Ok(())
    }

    async fn prepare(
        &mut self,
        route: Route,
        request: Request,
        is_signed: bool,
    ) -> Result<Call, XrpcError> {
        let (Route { method, schema }, ctx) = (route, &self.app.ctx);
        let params = schema
            .parse_params(request.uri.query())
            .map_err(|invalid| XrpcError::invalid_request(invalid.to_string()))?;
        let from = self.client;
        let wanted = Wanted { auth: method.auth, tokens: method.tokens, nsid: method.nsid };
        let credentials = ctx.auth.authenticate(wanted, &request.headers, from).await?;
        if is_signed {
            self.client = credentials.counts_as(from);
            self.count()?;
            if let Some(limit) = method.limit {
                ctx.take(limit, self.client)?;
            }
        }
        let agent = request.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let now = ctx.clock.now_ms();
        ctx.callers.note(&self.client, agent.unwrap_or_default(), method.nsid, now);
        let input = body::input(schema, &request.headers, &request.body)?;
        let headers = request.headers;
        let to_fetch = FetchRequests::default();
        let client = self.client;
        let mut call =
            Call { params, input, credentials, headers, client, to_fetch, community: false };
        if method.keeps {
            ctx.keep_for(call.require_viewer()?).await?;
        }
        if community::is_named(&call.params) {
            ctx.seek_community(&mut call).await?;
        }
        Ok(call)
    }
}

async fn run(app: &App, method: &'static Method, call: Call, accept: Accept) -> Response {
    let nsid = method.nsid;
    if is_given_up(app, method, &call) {
        return encode::failure(nsid, XrpcError::overloaded());
    }
    match method.handler {
        Handler::Read(handler) => {
            let read = ReadCall { nsid, handler, call: Arc::new(call), accept: Arc::new(accept) };
            read.answer(app).await
        }
        Handler::Async(handler) => run_async(app, nsid, handler, call, accept).await,
    }
}

/// Whether a call has to go so that others are answered at all.
fn is_given_up(app: &App, method: &Method, call: &Call) -> bool {
    let is_anonymous = call.credentials == Credentials::None && call.client != Client::Own;
    app.ctx.gives_up(method.costly, is_anonymous) && !call.line().first
}

/// A call of a method that reads.
struct ReadCall {
    nsid: &'static str,
    handler: ReadFn,
    call: Arc<Call>,
    accept: Arc<Accept>,
}

impl ReadCall {
    async fn answer(self, app: &App) -> Response {
        app.ctx.read_and_bring(&self.call.to_fetch, || self.run(app)).await
    }

    async fn run(&self, app: &App) -> Response {
        let (ctx, call, accept) =
            (Arc::clone(&app.ctx), Arc::clone(&self.call), Arc::clone(&self.accept));
        let (nsid, handler) = (self.nsid, self.handler);
        let run = move || encode::respond(nsid, handler(&ctx, &call), &accept);
        let response = app.ctx.blocking(self.call.line(), run).await;
        response.unwrap_or_else(|error| encode::failure(nsid, error))
    }
}

async fn run_async(
    app: &App,
    nsid: &'static str,
    handler: AsyncFn,
    call: Call,
    accept: Accept,
) -> Response {
    let (ctx, line) = (Arc::clone(&app.ctx), call.line());
    // The handler itself, not only its future, may panic: both are inside.
    let handler = AssertUnwindSafe(async move { handler(ctx, call).await });
    let result = match handler.catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(XrpcError::internal(PoolError::Panicked(panic_text(panic.as_ref())))),
    };
    match result {
        Ok(reply) if accept.is_costly(reply.body.len()) => {
            let response = app.ctx.blocking(line, move || encode::success(reply, &accept)).await;
            response.unwrap_or_else(|error| encode::failure(nsid, error))
        }
        result => encode::respond(nsid, result, &accept),
    }
}

fn find(app: &App, request: &Request) -> Result<Route, XrpcError> {
    let Some(nsid) = router::nsid(request.uri.path()) else {
        return Err(XrpcError::invalid_request("invalid xrpc path"));
    };
    let route = app.router.find(nsid).ok_or_else(XrpcError::not_implemented)?;
    let expected = router::expected_verb(route.schema);
    match (expected, &request.method) {
        ("GET", &(Verb::GET | Verb::HEAD)) | ("POST", &Verb::POST) => Ok(route),
        (_, &(Verb::GET | Verb::HEAD | Verb::POST)) => Err(XrpcError::invalid_request(format!(
            "Incorrect HTTP method ({}) expected {expected}",
            request.method
        ))),
        // The reference has no routes for other HTTP methods at all.
        _ => Err(XrpcError::not_implemented()),
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
