//! Posts that were looked for, by words or by a tag.

use maud::html;

use super::frame::{Head, Site, page};
use super::links;
use super::post::{Size, card};
use super::text::count;
use crate::hydrate::PostId;
use crate::hydrate::post_state::PostState;

/// What a search found.
pub struct SearchPage<'a> {
    /// What was typed; none on the page of a tag.
    pub query: Option<&'a str>,
    /// The tag, without its mark.
    pub tag: Option<&'a str>,
    /// The newest first instead of the best.
    pub latest: bool,
    /// Where these begin.
    pub cursor: &'a str,
    /// The posts.
    pub state: &'a PostState,
    /// Their order.
    pub posts: &'a [PostId],
    /// How many there are.
    pub total: u64,
    /// Where to go on.
    pub next: Option<&'a str>,
}

impl SearchPage<'_> {
    /// As HTML.
    #[must_use]
    pub fn html(&self, site: Site<'_>) -> String {
        let typed = self.query.unwrap_or_default();
        let (headline, path) = match self.tag {
            Some(tag) => (format!("#{tag}"), links::tag(tag)),
            None if typed.is_empty() => ("Search".to_owned(), "/search".to_owned()),
            None => (format!("Search: {typed}"), "/search".to_owned()),
        };
        let to = |latest: bool, cursor: &str| {
            let sort = if latest { "latest" } else { "" };
            links::with(&path, &[("q", typed), ("sort", sort), ("cursor", cursor)])
        };
        let head = Head {
            title: headline.clone(),
            description: format!("Posts on {}: {headline}", site.name()),
            path: to(self.latest, ""),
            kind: "website",
            // What is found is for who asks, and changes all the time.
            unlisted: self.tag.is_none() || !self.cursor.is_empty(),
            query: typed,
            ..Head::default()
        };
        // What is on this page is counted as it is shown, without what is kept from strangers.
        let total = if self.next.is_some() { self.total } else { self.posts.len() as u64 };
        let was_asked = self.tag.is_some() || !typed.is_empty();
        let content = html! {
            h1 dir="auto" { (headline) }
            @if was_asked {
                nav.tabs aria-label="Order" {
                    @for (latest, title) in [(false, "Top"), (true, "Latest")] {
                        a href=(to(latest, "")) aria-current=[(latest == self.latest).then_some("page")] { (title) }
                    }
                }
                section aria-label="Posts" {
                    @if total > 0 && self.cursor.is_empty() { p.total { (count(total, "post", "posts")) } }
                    @for view in self.posts.iter().filter_map(|id| self.state.post_view(*id, 0)) {
                        (card(self.state, &view, Size::InList, &html! {}))
                    }
                    @if self.posts.is_empty() { p.none { "No posts found." } }
                    @if let Some(next) = self.next {
                        a.next rel="next" href=(to(self.latest, next)) { "More posts" }
                    }
                }
            } @else {
                p { "Type words above. All of them have to be in a post, in any order; "
                    code { "\"words in quotes\"" } " stand together, " code { "from:handle" } ", "
                    code { "#tag" } ", " code { "lang:en" } ", " code { "since:2026-01-31" } " and "
                    code { "-word" } " say more of it." }
            }
        };
        page(site, &head, &content)
    }
}
