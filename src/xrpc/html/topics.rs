//! `/trending`, and `/`, which shows the same

use serde_json::Value;

use super::{Page, Visit, page, site};
use crate::pages::{self, Now, Site, TrendRow};
use crate::xrpc::api::discovery::trends;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/`
pub(in crate::xrpc) const HOME: Page = Page {
    name: "/",
    make: |app, visit| {
        let now = now(&(app.status)());
        topics(app, visit, "5", |site, rows| pages::home(site, &now, rows))
    },
};
/// `/trending`
pub(in crate::xrpc) const TRENDING: Page =
    Page { name: "/trending", make: |app, visit| topics(app, visit, "25", pages::trending) };

fn topics(
    app: &AppCtx,
    visit: &Visit,
    most: &str,
    html: impl FnOnce(Site<'_>, &[TrendRow<'_>]) -> String,
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

/// What of the status is for everybody.
fn now(status: &Value) -> Now {
    let upstreams =
        status.get("upstreams").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_connected = |of: &&Value| of.get("connected") == Some(&Value::Bool(true));
    let lags = upstreams.iter().filter_map(|of| of.get("lag_ms")?.as_i64());
    let rows = status.get("store").and_then(|store| store.get("rows"));
    let count = |rows_of: &str| rows.and_then(|rows| rows.get(rows_of)?.as_u64()).unwrap_or(0);
    Now {
        streams: upstreams.len(),
        connected: upstreams.iter().filter(is_connected).count(),
        per_second: upstreams.iter().filter_map(|of| of.get("events_per_s")?.as_f64()).sum(),
        behind_s: lags.max().map(|ms| u64::try_from(ms / 1000).unwrap_or(0)),
        posts: count("post_1"),
        accounts: count("actor_1"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_page_shows_of_the_status_what_is_for_everybody() {
        let status = json!({
            "upstreams": [
                {"url": "wss://secret", "connected": true, "lag_ms": 1500, "events_per_s": 10.5},
                {"url": "wss://b", "connected": false, "lag_ms": 90_000, "events_per_s": 0.0},
            ],
            "store": {"rows": {"post_1": 7, "actor_1": 3}},
        });
        let now = now(&status);
        let expected = Now {
            streams: 2,
            connected: 1,
            per_second: 10.5,
            behind_s: Some(90),
            posts: 7,
            accounts: 3,
        };
        assert_eq!(now, expected);
        let page = pages::home(Site { url: "https://a.example" }, &now, &[]);
        assert!(
            page.contains("90 seconds after") && page.contains("7 posts of 3 accounts"),
            "{page}"
        );
        assert!(!page.contains("secret"));
        assert_eq!(super::now(&Value::Null), Now::default());
    }
}
