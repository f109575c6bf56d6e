//! What every page has around its content: head, search box, links to the other pages; and pages that say that there is none.

use std::sync::LazyLock;

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use url::Url;

/// Written as it is, so it must not hold `</style`.
pub(super) const STYLE: &str = include_str!("style.css");

/// The one thing that a page may run, by its hash (CSP Level 3, section 2.3.1).
static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(STYLE))));

/// What a page is allowed: its style sheet, the search form, and pictures of this server and of those hosts that views
/// name.
#[must_use]
pub fn content_security_policy(picture_urls: &[&str]) -> String {
    let mut hosts = vec!["'self'".to_owned()];
    for origin in picture_urls.iter().filter_map(|url| Some(Url::parse(url).ok()?.origin())) {
        let origin = origin.ascii_serialization();
        if !hosts.contains(&origin) {
            hosts.push(origin);
        }
    }
    format!(
        "default-src 'none'; style-src {}; img-src {}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH,
        hosts.join(" ")
    )
}

/// Where pages are.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Scheme, host and port, without a slash at the end.
    pub url: &'a str,
}

impl Site<'_> {
    /// What people know it by.
    pub(super) fn name(&self) -> &str {
        self.url.split_once("://").map_or(self.url, |(_, host)| host)
    }
}

/// What is said of a page, for those who list or link it.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) title: String,
    pub(super) description: String,
    /// Where it is, with what matters of its query.
    pub(super) path: String,
    /// A picture that stands for it.
    pub(super) image: Option<String>,
    /// It is a large one: the page is about it.
    pub(super) large: bool,
    /// `og:type`
    pub(super) kind: &'static str,
    /// Search engines should pass it by.
    pub(super) unlisted: bool,
    /// The path of a feed of it.
    pub(super) feed: Option<String>,
    /// What the search box holds.
    pub(super) query: &'a str,
}

/// More than anybody types; what a query may be is said by who reads it.
const MOST_TYPED: &str = "500";

/// A whole page.
pub(super) fn page(site: Site<'_>, head: &Head<'_>, content: &Markup) -> String {
    let url = format!("{}{}", site.url, head.path);
    let name = site.name();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (head.title) " – " (name) }
                @if head.unlisted { meta name="robots" content="noindex"; }
                link rel="icon" href="/favicon.ico" type="image/svg+xml";
                @if !head.path.is_empty() { link rel="canonical" href=(url); }
                @if let Some(feed) = &head.feed {
                    link rel="alternate" type="application/rss+xml" title=(head.title) href=(feed);
                }
                @if !head.description.is_empty() { meta name="description" content=(head.description); }
                @if !head.kind.is_empty() {
                    meta property="og:type" content=(head.kind);
                    meta property="og:title" content=(head.title);
                    meta property="og:url" content=(url);
                    meta property="og:site_name" content=(name);
                    @if !head.description.is_empty() {
                        meta property="og:description" content=(head.description);
                    }
                    @if let Some(image) = &head.image { meta property="og:image" content=(image); }
                    meta name="twitter:card" content=(if head.large { "summary_large_image" } else { "summary" });
                }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    nav aria-label="Site" {
                        a.home href="/" { (name) }
                        a href="/trending" { "Trending" }
                    }
                    form role="search" action="/search" method="get" {
                        label.unseen for="q" { "Search posts" }
                        input #q type="search" name="q" value=(head.query) placeholder="Search posts"
                            maxlength=(MOST_TYPED) autocomplete="off";
                        button type="submit" { "Search" }
                    }
                }
                main #content { (content) }
                footer.bottom {
                    p {
                        "What you see is public on the "
                        a href="https://atproto.com" rel="noopener" { "AT Protocol" }
                        " network. This server only shows it, to readers without an account. "
                        a href="/docs" { "Methods for programs" }
                    }
                }
            }
        }
    }
    .into_string()
}

/// A page that says why there is no other: for the status `status`.
#[must_use]
pub fn failure(site: Site<'_>, status: u16, message: &str) -> String {
    let headline = match status {
        400 => "That cannot be read",
        403 => "Not shown here",
        404 => "Not found",
        429 => "Too many requests",
        503 => "Too busy",
        _ => "Something went wrong",
    };
    let head = Head { title: headline.to_owned(), unlisted: true, ..Head::default() };
    let content = html! {
        section.failure {
            h1 { (headline) }
            p { (message) }
            p { a href="/" { "To the beginning" } }
        }
    };
    page(site, &head, &content)
}
