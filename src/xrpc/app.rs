//! The entry: any request in, a response out, whatever happens in between; and what each took.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::FutureExt;
use http::{Method as Verb, StatusCode};

use super::context::AppCtx;
use super::dispatch;
use super::encode;
use super::error::XrpcError;
use super::measures::Measures;
use super::message::{Request, Response};
#[cfg(test)]
use super::method::Method;
use super::paths;
use super::router::{self, Router, TableError};
use super::site::Site;
use crate::telemetry::counters::Counters;
use crate::threads::{PoolError, panic_text};

static ANSWERS: Counters = Counters::new("xrpc.answers");

/// Everything that answers requests.
pub struct App {
    pub(super) ctx: Arc<AppCtx>,
    pub(super) router: Router,
    pub(super) site: Site,
    measures: Measures,
}

impl App {
    /// An app that answers the methods of [`super::METHODS`].
    ///
    /// # Errors
    /// The table does not fit the lexicons.
    pub fn new(ctx: Arc<AppCtx>) -> Result<Self, TableError> {
        Self::with_router(ctx, Router::new()?)
    }

    /// An app that answers the methods of another table.
    ///
    /// # Errors
    /// The table does not fit the lexicons.
    #[cfg(test)]
    pub fn with_methods(ctx: Arc<AppCtx>, methods: &'static [Method]) -> Result<Self, TableError> {
        Self::with_router(ctx, Router::of(methods)?)
    }

    fn with_router(ctx: Arc<AppCtx>, router: Router) -> Result<Self, TableError> {
        let site = Site::new(&ctx.identity, ctx.community.is_some());
        let measures = Measures::new(router.names().chain(paths::names()));
        Ok(Self { ctx, router, site, measures })
    }

    /// Answers one request. Never panics, never fails.
    pub async fn handle(&self, request: Request) -> Response {
        let head = request.method == Verb::HEAD;
        let (begun, received, name) = (Instant::now(), request.wire_size(), OnceLock::new());
        let answer = AssertUnwindSafe(self.answer(request, &name)).catch_unwind().await;
        let mut response = answer.unwrap_or_else(|panic| {
            let cause = PoolError::Panicked(panic_text(panic.as_ref()));
            encode::failure("", XrpcError::internal(cause))
        });
        ANSWERS.inc(cause(response.status));
        if head {
            if response.rest.take().is_none() {
                response.headers.insert(http::header::CONTENT_LENGTH, response.body.len().into());
            }
            response.body = bytes::Bytes::new();
        }
        self.measures.answered(name.get(), (begun, received), response)
    }

    /// Answers, and says in `name` what was asked for as soon as that is known.
    async fn answer(&self, request: Request, name: &OnceLock<&'static str>) -> Response {
        if request.method == Verb::OPTIONS {
            return encode::preflight(&request.headers);
        }
        if let Some(response) = paths::answer(self, &request, name).await {
            return response;
        }
        let path = request.uri.path();
        if path.starts_with("/xrpc/") {
            let route = router::nsid(path).and_then(|nsid| self.router.find(nsid));
            route.map(|route| name.get_or_init(|| route.method.nsid));
            return dispatch::call(self, request).await;
        }
        paths::not_found(self, &request)
    }
}

fn cause(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "ok",
        304 => "unchanged",
        401 => "unauthorized",
        400..=499 => "refused",
        501 => "not-implemented",
        502 | 504 => "upstream",
        503 => "overloaded",
        _ => "failed",
    }
}
