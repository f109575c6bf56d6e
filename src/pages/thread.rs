//! A post with what is above and below it.

use maud::{Markup, html};

use super::byline::{NOT_FOR_STRANGERS, author, display_name};
use super::frame::{Head, Site, page};
use super::labels::{self, Cover};
use super::post::{Size, card};
use super::text::{PostText, beginning, count};
use super::{embed, links};
use crate::hydrate::post_state::PostState;
use crate::view::actor::ProfileView;
use crate::view::post::PostView;
use crate::view::thread_v2::{FlatThread, ThreadItem, ThreadValue};

/// Posts on a page: all replies to one may be ten thousand.
const MOST: usize = 200;
/// Further in nothing is moved to the right any more.
const DEEPEST: i64 = 4;

/// The page of a thread; none if its post is not there for strangers.
#[must_use]
pub fn thread(site: Site<'_>, state: &PostState, thread: &FlatThread<'_>) -> Option<String> {
    let items = &thread.thread;
    let anchor = items.iter().find(|item| item.depth == 0)?;
    let ThreadValue::Post(main) = &anchor.value else { return None };
    let head = head(state, &main.post, &author(state, main.post.id)?);
    // What is above comes first, so that a long thread keeps what it replies to.
    let left_out = items.len().saturating_sub(MOST);
    let others = items.iter().take(MOST).filter(|item| item.depth != 0);
    let (above, below): (Vec<_>, Vec<_>) = others.partition(|item| item.depth < 0);
    let content = html! {
        h1.unseen { (head.title) }
        @if !above.is_empty() {
            section.above aria-label="What it replies to" { @for item in above { (node(state, item)) } }
        }
        (card(state, &main.post, Size::Main, &html! {}))
        section.below aria-label="Replies" {
            @for item in &below { (node(state, item)) }
            @if below.is_empty() { p.none { "No replies here." } }
            @if left_out > 0 { p.none { (count(left_out as u64, "more reply is", "more replies are")) " not shown." } }
            @if thread.has_other_replies { p.none { "Some replies are not shown, since the author of the thread hides them." } }
        }
    };
    Some(page(site, &head, &content))
}

fn head<'a>(state: &PostState, post: &PostView<'_>, author: &ProfileView) -> Head<'a> {
    let heeded = labels::of_post(&post.labels, &author.labels);
    let is_open = heeded.cover == Cover::Open;
    let text = PostText::of(post.record).expanded();
    let shows = |picture: &&str| is_open && heeded.no_media.is_none() && !picture.is_empty();
    let picture = post.embed.as_deref().and_then(embed::picture).filter(shows);
    let face = author.avatar.as_deref().filter(shows);
    let name = display_name(author);
    let path = match state.post(post.id) {
        Some(_) => links::post(author, post.uri),
        None => String::new(),
    };
    Head {
        title: match beginning(&text, 60) {
            said if is_open && !said.is_empty() => format!("{name}: {said}"),
            _ => format!("Post by {name}"),
        },
        description: if is_open { beginning(&text, 300) } else { String::new() },
        path,
        image: picture.or(face).map(str::to_owned),
        large: picture.is_some(),
        kind: "article",
        unlisted: !is_open,
        ..Head::default()
    }
}

fn node(state: &PostState, item: &ThreadItem<'_>) -> Markup {
    let depth = item.depth.clamp(0, DEEPEST);
    html! {
        div class={ "depth" (depth) } {
            @match &item.value {
                ThreadValue::Post(entry) => {
                    (card(state, &entry.post, Size::InList, &html! {}))
                }
                ThreadValue::NoUnauthenticated {} => p.instead { (NOT_FOR_STRANGERS) },
                ThreadValue::NotFound {} => p.instead { "This post is gone." },
                ThreadValue::Blocked { .. } => p.instead { "This post is blocked." },
            }
        }
    }
}
