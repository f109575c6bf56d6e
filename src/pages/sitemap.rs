//! Which profiles there are, for search engines: sitemaps and their index (<https://www.sitemaps.org/protocol.html>).

use super::frame::Site;
use super::links;
use super::rss::Xml;
use crate::view::INVALID_HANDLE;
use crate::view::actor::ProfileView;

const NAMESPACE: (&str, &str) = ("xmlns", "http://www.sitemaps.org/schemas/sitemap/0.9");

/// An index of sitemaps, by date and number.
#[must_use]
pub fn sitemap_index<'a>(site: Site<'_>, pages: impl Iterator<Item = (&'a str, u32)>) -> String {
    let mut out = Xml::new();
    out.open("sitemapindex", &[NAMESPACE]);
    for (date, number) in pages {
        out.open("sitemap", &[]);
        out.element("loc", &format!("{}{}", site.url, links::sitemap(date, number)));
        out.close("sitemap");
    }
    out.close("sitemapindex");
    out.text
}

/// A sitemap as it grows.
pub struct Sitemap<'a> {
    site: Site<'a>,
    out: Xml,
}

impl<'a> Sitemap<'a> {
    /// One with nobody in it.
    #[must_use]
    pub fn new(site: Site<'a>) -> Self {
        let mut out = Xml::new();
        out.open("urlset", &[NAMESPACE]);
        Self { site, out }
    }

    /// Adds an account, unless nobody would know it by its name.
    pub fn add(&mut self, profile: &ProfileView) {
        if &*profile.handle == INVALID_HANDLE {
            return;
        }
        self.out.open("url", &[]);
        let path = links::account(links::name(profile));
        self.out.element("loc", &format!("{}{path}", self.site.url));
        self.out.close("url");
    }

    /// The whole.
    #[must_use]
    pub fn end(mut self) -> String {
        self.out.close("urlset");
        self.out.text
    }
}
