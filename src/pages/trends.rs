//! What many write of at the moment; and the first page, which shows the same below a word of what this is.

use maud::{Markup, html};

use super::byline::{avatar, display_name};
use super::frame::{Head, Site, page};
use super::links;
use super::text::count;
use crate::view::actor::{ProfileView, says_no_unauthenticated};

/// A topic.
pub struct TrendRow<'a> {
    /// As most write it.
    pub name: &'a str,
    /// The page that shows what is written of it.
    pub path: &'a str,
    /// Posts of the last three hours.
    pub posts: u64,
    /// It is rising.
    pub hot: bool,
    /// Some who write of it.
    pub authors: &'a [ProfileView],
}

/// What the server is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Now {
    /// Streams of the network that it follows, and how many of them are connected.
    pub streams: usize,
    /// The same.
    pub connected: usize,
    /// Events a second of all of them.
    pub per_second: f64,
    /// Seconds that the one that is furthest behind is behind, if that is known.
    pub behind_s: Option<u64>,
    /// Posts that are here, about.
    pub posts: u64,
    /// Accounts that are known, about.
    pub accounts: u64,
}

/// What trends.
#[must_use]
pub fn trending(site: Site<'_>, rows: &[TrendRow<'_>]) -> String {
    let head = Head {
        title: "Trending".to_owned(),
        description: format!("What many write of at the moment, as {} sees it", site.name()),
        path: "/trending".to_owned(),
        kind: "website",
        ..Head::default()
    };
    page(site, &head, &html! { h1 { "Trending" } (list(rows)) })
}

/// The first page.
#[must_use]
pub fn home(site: Site<'_>, now: &Now, rows: &[TrendRow<'_>]) -> String {
    let head = Head {
        title: "Posts, people and tags".to_owned(),
        description: format!(
            "Posts, profiles and threads of the AT Protocol network, as {} sees them",
            site.name()
        ),
        path: "/".to_owned(),
        kind: "website",
        ..Head::default()
    };
    let content = html! {
        h1 { (site.name()) }
        p {
            "Posts, profiles and threads of the AT Protocol network, for reading. A link of bsky.app works here too, with "
            "the host changed: " code { "/profile/handle" } ", " code { "/profile/handle/post/key" } ", "
            code { "/hashtag/tag" } "."
        }
        section aria-label="Now" { h2 { "Now" } (doing(now)) }
        section aria-label="Trending" {
            h2 { "Trending" }
            (list(rows))
        }
    };
    page(site, &head, &content)
}

fn doing(now: &Now) -> Markup {
    html! {
        p {
            @match (now.streams, now.connected) {
                (0, _) => "No stream of the network is followed. ",
                (_, 0) => "The network is not reached at the moment. ",
                (_, _) => {
                    (format!("{:.0}", now.per_second)) " events a second come in"
                    @match now.behind_s {
                        None => ". ",
                        Some(0..10) => ", seconds after they happen. ",
                        Some(seconds @ 10..120) => { ", " (seconds) " seconds after they happened. " }
                        Some(seconds) => { ", " (count(seconds / 60, "minute", "minutes")) " after they happened. " }
                    }
                }
            }
            (count(now.posts, "post", "posts")) " of " (count(now.accounts, "account", "accounts")) " are here, about. "
            a href="/docs" { "What can be called" } "."
        }
    }
}

fn list(rows: &[TrendRow<'_>]) -> Markup {
    html! {
        @if rows.is_empty() {
            p.none { "Nothing stands out at the moment." }
        } @else {
            ol.trends {
                @for row in rows {
                    li {
                        a.title href=(row.path) dir="auto" { (row.name) }
                        p {
                            @if row.hot { strong { "Rising" } " · " }
                            (count(row.posts, "post", "posts")) " in three hours"
                        }
                        (faces(row.authors))
                    }
                }
            }
        }
    }
}

fn faces(authors: &[ProfileView]) -> Markup {
    html! {
        p.faces {
            @for author in authors.iter().filter(|author| !says_no_unauthenticated(&author.labels)) {
                a href=(links::account(links::name(author))) title=(display_name(author)) {
                    (avatar(author, 28))
                    span.unseen { (display_name(author)) }
                }
            }
        }
    }
}
