//! A post as a card: who, when, what, and what became of it.

use maud::{Markup, html};

use super::byline::{NOT_FOR_STRANGERS, author, byline, display_name};
use super::text::{PostText, count};
use super::{embed, labels, links};
use crate::hydrate::post_state::PostState;
use crate::view::actor::says_no_unauthenticated;
use crate::view::feed::{FeedViewPost, ReasonView};
use crate::view::post::{MaybePost, PostView};

/// How large a post is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    InList,
    /// The page is about it.
    Main,
}

/// A post; none if strangers may not see it. `above` says why it is here.
pub(super) fn card(state: &PostState, view: &PostView<'_>, size: Size, above: &Markup) -> Markup {
    let Some(author) = author(state, view.id) else {
        return html! { p.instead { (NOT_FOR_STRANGERS) } };
    };
    let text = PostText::of(view.record);
    let path = links::post(&author, view.uri);
    let heeded = labels::of_post(&view.labels, &author.labels);
    let content = html! {
        (text.html())
        @if !text.tags().is_empty() {
            p.tags { @for tag in text.tags() { a href=(links::tag(tag)) { "#" (tag) } " " } }
        }
        @if let Some(embed) = &view.embed { (embed::embed(state, embed, heeded.no_media)) }
    };
    html! {
        article.post.main[size == Size::Main] aria-label={ "Post by " (display_name(&author)) } {
            (above)
            (byline(&author, &path, view.indexed_at))
            (labels::covered(&heeded, &content))
            (labels::noted(&heeded))
            (counts(view, &path))
        }
    }
}

/// What became of a post; of what did not happen nothing is said.
fn counts(view: &PostView<'_>, path: &str) -> Markup {
    let others = [
        (view.repost_count, "repost", "reposts"),
        (view.quote_count, "quote", "quotes"),
        (view.like_count, "like", "likes"),
    ];
    html! {
        @if view.reply_count > 0 || others.iter().any(|(many, ..)| *many > 0) {
            ul.counts aria-label="Counts" {
                @if view.reply_count > 0 {
                    li { a href=(path) { (count(view.reply_count, "reply", "replies")) } }
                }
                @for (many, one, more) in others {
                    @if many > 0 { li { (count(many, one, more)) } }
                }
            }
        }
    }
}

/// An entry of a feed; none if strangers may not see it.
pub(super) fn entry(state: &PostState, entry: &FeedViewPost<'_>) -> Option<Markup> {
    author(state, entry.post.id)?;
    let reposted = match &entry.reason {
        Some(ReasonView::Repost { by, .. }) if says_no_unauthenticated(&by.labels) => return None,
        Some(ReasonView::Repost { by, .. }) => Some(by),
        _ => None,
    };
    let above = html! {
        @match (&entry.reason, reposted) {
            (Some(ReasonView::Pin {}), _) => p.why { "Pinned" },
            (_, Some(by)) => {
                p.why { "Reposted by " a href=(links::account(links::name(by))) { bdi { (display_name(by)) } } }
            }
            _ => {}
        }
        @if let Some(reply) = &entry.reply { (reply_to(state, &reply.parent)) }
    };
    Some(card(state, &entry.post, Size::InList, &above))
}

/// To whom it is a reply.
fn reply_to(state: &PostState, parent: &MaybePost<'_>) -> Markup {
    let shown = match parent {
        MaybePost::Post(parent) => author(state, parent.id).map(|author| (parent.uri, author)),
        MaybePost::Blocked(_) | MaybePost::NotFound(_) => None,
    };
    html! {
        p.why {
            @match shown {
                Some((uri, author)) => {
                    "Reply to " a href=(links::post(&author, uri)) { bdi { (display_name(&author)) } }
                }
                None => "Reply",
            }
        }
    }
}
