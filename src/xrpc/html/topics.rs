//! `/trending`, and `/`, which shows the same

use super::{Page, Visit, page, site};
use crate::pages::{self, Site, TrendRow};
use crate::xrpc::api::discovery::trends;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/`
pub(in crate::xrpc) const HOME: Page =
    Page { name: "/", make: |app, visit| topics(app, visit, "5", pages::home) };
/// `/trending`
pub(in crate::xrpc) const TRENDING: Page =
    Page { name: "/trending", make: |app, visit| topics(app, visit, "25", pages::trending) };

fn topics(
    app: &AppCtx,
    visit: &Visit,
    most: &str,
    html: fn(Site<'_>, &[TrendRow<'_>]) -> String,
) -> Result<Reply, XrpcError> {
    let trends = visit.ask("app.bsky.unspecced.getTrends", &[("limit", most)], |call| {
        trends(app, &Session::open(app, call)?, call)
    })?;
    let rows = trends.iter().map(|trend| TrendRow {
        name: &trend.display_name,
        path: &trend.link,
        posts: trend.post_count,
        hot: trend.status.is_some(),
        authors: &trend.actors,
    });
    let rows: Vec<TrendRow<'_>> = rows.collect();
    Ok(page(app, html(site(app), &rows)))
}
