//! An account: who it is, and what it posts.

use maud::{Markup, html};

use super::byline::{avatar, day, display_name};
use super::frame::{Head, Site, page};
use super::labels::{self, Cover};
use super::links::{self, REL, away};
use super::post::entry;
use super::text::{beginning, count, plain};
use crate::hydrate::post_state::PostState;
use crate::hydrate::timeline::FeedItem;
use crate::syntax::datetime::{Time, format_ms};
use crate::view::actor::ProfileView;

/// Which of its posts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Those that are no replies.
    Posts,
    /// Those with replies.
    Replies,
    /// Those with pictures or videos.
    Media,
}

impl Tab {
    const ALL: [Self; 3] = [Self::Posts, Self::Replies, Self::Media];

    /// By its name in the query; the first for others.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|tab| tab.name() == name).unwrap_or(Self::Posts)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Posts => "",
            Self::Replies => "replies",
            Self::Media => "media",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Posts => "Posts",
            Self::Replies => "Replies",
            Self::Media => "Media",
        }
    }

    /// As `app.bsky.feed.getAuthorFeed` calls it.
    #[must_use]
    pub fn filter(self) -> &'static str {
        match self {
            Self::Posts => "posts_and_author_threads",
            Self::Replies => "posts_with_replies",
            Self::Media => "posts_with_media",
        }
    }
}

/// The page of an account.
pub struct ProfilePage<'a> {
    /// Who.
    pub profile: &'a ProfileView,
    /// Which of its posts.
    pub tab: Tab,
    /// Where these begin.
    pub cursor: &'a str,
    /// The posts.
    pub state: &'a PostState,
    /// Their order.
    pub items: &'a [FeedItem],
    /// Where to go on.
    pub next: Option<&'a str>,
}

impl ProfilePage<'_> {
    /// As HTML.
    #[must_use]
    pub fn html(&self, site: Site<'_>) -> String {
        let profile = self.profile;
        let heeded = labels::of_account(&profile.labels);
        let is_open = heeded.cover == Cover::Open;
        let home = links::account(links::name(profile));
        let about = profile.description.as_deref().filter(|_| is_open).unwrap_or_default();
        let picture = profile.avatar.as_deref().filter(|_| is_open && heeded.no_media.is_none());
        let head = Head {
            title: match is_open {
                true => format!("{} (@{})", display_name(profile), profile.handle),
                false => format!("@{}", profile.handle),
            },
            description: beginning(about, 200),
            path: links::with(&home, &[("tab", self.tab.name())]),
            image: picture.map(str::to_owned),
            kind: "profile",
            // Pages further down change with every post.
            unlisted: !self.cursor.is_empty() || !is_open,
            feed: Some(format!("{}/rss", links::account(&profile.did))),
            ..Head::default()
        };
        let shown: Vec<Markup> = self
            .items
            .iter()
            .filter_map(|item| entry(self.state, &self.state.feed_view(item)?))
            .collect();
        let content = html! {
            (who(profile, is_open, heeded.no_media.is_some()))
            (labels::noted(&heeded))
            nav.tabs aria-label="Which posts" {
                @for tab in Tab::ALL {
                    a href=(links::with(&home, &[("tab", tab.name())]))
                        aria-current=[(tab == self.tab).then_some("page")] { (tab.title()) }
                }
            }
            section aria-label=(self.tab.title()) {
                @for post in &shown { (post) }
                @if shown.is_empty() { p.none { "Nothing here." } }
                @if let Some(next) = self.next {
                    a.next rel="next" href=(links::with(&home, &[("tab", self.tab.name()), ("cursor", next)])) {
                        "Older posts"
                    }
                }
            }
        };
        page(site, &head, &content)
    }
}

fn who(profile: &ProfileView, is_open: bool, no_media: bool) -> Markup {
    let banner = profile.banner.as_deref().filter(|_| is_open && !no_media);
    let website = profile.website.as_deref().and_then(away).filter(|_| is_open);
    let is_verified = profile
        .verification
        .as_ref()
        .is_some_and(|of| of.verified_status == "valid" || of.trusted_verifier_status == "valid");
    html! {
        section.who {
            @match banner {
                Some(url) => img.banner src=(url) alt="" width="600" height="200" decoding="async";,
                None => div.banner.blank aria-hidden="true" {},
            }
            (avatar(profile, 88))
            h1 {
                @if is_open { bdi { (display_name(profile)) } } @else { "@" (profile.handle) }
                @if is_verified { " " span.verified title="Verified" { "✓" span.unseen { " verified" } } }
            }
            p.handle {
                "@" (profile.handle)
                @if let Some(pronouns) = profile.pronouns.as_deref().filter(|_| is_open) { " · " bdi { (pronouns) } }
                @if profile.associated.labeler == Some(true) { " · Labeler" }
            }
            @if is_open {
                @if let Some(about) = &profile.description { p.text dir="auto" { (plain(about)) } }
            } @else {
                p.instead { "What this account says of itself is hidden by a moderator." }
            }
            ul.counts aria-label="Counts" {
                @for (many, one, more) in [
                    (profile.followers_count, "follower", "followers"),
                    (profile.follows_count, "following", "following"),
                    (profile.posts_count, "post", "posts"),
                ] {
                    @if let Some(many) = many { li { (count(many, one, more)) } }
                }
                @if let Some(url) = website {
                    li { a href=(url) rel=(REL) { (url.host_str().unwrap_or_default()) } }
                }
                @if let Some(Time(created)) = profile.created_at {
                    @let text = format_ms(created);
                    li { "Since " time datetime=(text) { (day(&text)) } }
                }
                li { a href={ (links::account(&profile.did)) "/rss" } { "RSS" } }
            }
        }
    }
}
