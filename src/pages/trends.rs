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
pub fn home(site: Site<'_>, rows: &[TrendRow<'_>]) -> String {
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
        section aria-label="Trending" {
            h2 { "Trending" }
            (list(rows))
        }
    };
    page(site, &head, &content)
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
