//! `/external/sitemap/users.xml.gz` and `/external/sitemap/users/{date}/{number}.xml.gz`: which profiles there are, for search
//! engines (<https://www.sitemaps.org/protocol.html>), under the paths that the reference has.
//!
//! An account is on a page of the day on which this server first heard of it, so a page that is full stays the same but
//! for who came or went since. Both kinds are made from the days' rows and from accounts by their numbers: nothing is
//! searched for.

use http::HeaderValue;
use http::header::CONTENT_ENCODING;

use super::{Page, Visit, site};
use crate::hydrate::{ActorId, HydrateCtx, Hydrator};
use crate::pages::{Sitemap, sitemap_index};
use crate::schema::days::{Day, Newcomers, newcomers};
use crate::syntax::datetime::{format_ms, parse_strict};
use crate::view::actor::{profile_basic, says_no_unauthenticated};
use crate::xrpc::encode::gzip_file;
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/external/sitemap/users.xml.gz`
pub(in crate::xrpc) const SITEMAP: Page = Page { name: "/external/sitemap", make: index };
/// `/external/sitemap/users/{date}/{number}.xml.gz`
pub(in crate::xrpc) const SITEMAP_USERS: Page =
    Page { name: "/external/sitemap/users", make: users };

/// Numbers of accounts on a page.
const ACCOUNTS: u32 = 500;
/// Accounts that are read at a time.
const AT_ONCE: usize = 50;
/// Pages that an index names: the protocol allows no more.
const PAGES: usize = 50_000;
/// Search engines come again after days.
const FOR_AN_HOUR: &str = "public, max-age=3600";

/// How a file ends.
const ENDING: &str = ".xml.gz";

fn index(app: &AppCtx, _: &Visit) -> Result<Reply, XrpcError> {
    let days = newcomers(&app.store.snapshot())?;
    let pages: Vec<(String, u32)> = days.iter().rev().flat_map(pages_of).take(PAGES).collect();
    file(&sitemap_index(site(app), pages.iter().rev().map(|(date, n)| (&**date, *n))))
}

/// The pages of a day, the last first.
fn pages_of(day: &Newcomers) -> impl Iterator<Item = (String, u32)> {
    let date = date(day.day);
    let count = day.end.0.saturating_sub(day.first.0).div_ceil(ACCOUNTS);
    (1..=count).rev().map(move |number| (date.clone(), number))
}

fn date(day: Day) -> String {
    format_ms(day.begins_at()).chars().take_while(|x| *x != 'T').collect()
}

fn users(app: &AppCtx, visit: &Visit) -> Result<Reply, XrpcError> {
    let missing = || XrpcError::not_found("There is no such page of the sitemap.");
    let number = visit.part(1).strip_suffix(ENDING).ok_or_else(missing)?;
    let bad = |message| XrpcError::bad_path(message);
    let day = parse_strict(&format!("{}T00:00:00.000Z", visit.part(0)))
        .map(Day::of)
        // One way to write a day, and no 30th of February.
        .filter(|day| date(*day) == visit.part(0))
        .ok_or_else(|| bad("A date is written YYYY-MM-DD."))?;
    let number = number.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| bad("Pages of a day are numbered from 1 on."))?;

    let snapshot = app.store.snapshot();
    let days = newcomers(&snapshot)?;
    let found = days.iter().find(|found| found.day == day).ok_or_else(missing)?;
    let first = (number - 1).checked_mul(ACCOUNTS).and_then(|skip| found.first.0.checked_add(skip));
    let first = first.filter(|first| *first < found.end.0).ok_or_else(missing)?;
    let ids: Vec<ActorId> =
        (first..found.end.0.min(first.saturating_add(ACCOUNTS))).map(ActorId).collect();

    let ctx = HydrateCtx { now: app.clock.now_ms(), ..HydrateCtx::default() };
    let h = Hydrator { snapshot: &snapshot, ctx: &ctx, shared: &app.hydration };
    let mut sitemap = Sitemap::new(site(app));
    for some in ids.chunks(AT_ONCE) {
        let mut state = h.state();
        h.profiles(&mut state, some)?;
        for profile in some.iter().filter_map(|id| profile_basic(&state, *id)) {
            if !says_no_unauthenticated(&profile.labels) {
                sitemap.add(&profile);
            }
        }
    }
    file(&sitemap.end())
}

/// A file that is compressed whatever the client takes, as its name says.
fn file(xml: &str) -> Result<Reply, XrpcError> {
    let file = gzip_file(xml.as_bytes()).map_err(XrpcError::internal)?;
    Ok(Reply::with_type(file, "application/gzip")
        .with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"))
        .with_cache_control(FOR_AN_HOUR))
}
