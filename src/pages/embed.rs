//! What a post shows besides its text: pictures, a video's still, a link, another record.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::byline::{NOT_FOR_STRANGERS, author, byline, display_name};
use super::labels::{self, Cover, covered, noted};
use super::links::{self, REL, away};
use super::text::PostText;
use crate::hydrate::post_state::PostState;
use crate::repo::fields;
use crate::view::actor::{ProfileView, says_no_unauthenticated};
use crate::view::embed::{
    EmbedView, EmbeddedRecord, ExternalView, MediaView, RecordEmbedView, VideoView, ViewRecord,
};

/// The embed of a post. `no_media` says why pictures are not shown, if they are not.
pub(super) fn embed(
    state: &PostState,
    embed: &EmbedView<'_>,
    no_media: Option<&'static str>,
) -> Markup {
    match embed {
        EmbedView::Media(view) => media(view, no_media),
        EmbedView::Record(view) => record(state, view),
        EmbedView::RecordWithMedia(view) => {
            html! { (media(&view.media, no_media)) (record(state, &view.record)) }
        }
    }
}

/// The first picture of an embed, large enough to stand for the post.
pub(super) fn picture<'v>(embed: &'v EmbedView<'_>) -> Option<&'v str> {
    let media = match embed {
        EmbedView::Media(media) => media,
        EmbedView::RecordWithMedia(both) => &both.media,
        EmbedView::Record(_) => return None,
    };
    match media {
        MediaView::Images { images } => Some(&images.first()?.fullsize),
        MediaView::Gallery { items } => Some(&items.first()?.fullsize),
        MediaView::Video(video) => Some(&video.thumbnail),
        MediaView::External { external } => external.picture(),
    }
}

/// Width and height, so that nothing moves when the picture comes.
#[derive(Clone, Copy, Deserialize)]
struct Ratio {
    width: u32,
    height: u32,
}

impl Ratio {
    /// Larger numbers are nobody's picture.
    const MOST: u32 = 100_000;

    fn of(written: Option<&RawValue>) -> Option<Self> {
        let ratio: Self = serde_json::from_str(written?.get()).ok()?;
        let is_sane = |side| (1..=Self::MOST).contains(&side);
        (is_sane(ratio.width) && is_sane(ratio.height)).then_some(ratio)
    }
}

fn media(view: &MediaView<'_>, no_media: Option<&'static str>) -> Markup {
    if let (Some(why), false) = (no_media, matches!(view, MediaView::External { .. })) {
        return html! { p.instead { "Pictures are not shown: " (why.to_lowercase()) "." } };
    }
    match view {
        MediaView::Images { images } => pictures(
            &images
                .iter()
                .map(|i| (&*i.thumb, &*i.fullsize, i.alt, Ratio::of(i.aspect_ratio)))
                .collect::<Vec<_>>(),
        ),
        MediaView::Gallery { items } => pictures(
            &items
                .iter()
                .map(|i| (&*i.thumbnail, &*i.fullsize, i.alt, Ratio::of(i.aspect_ratio)))
                .collect::<Vec<_>>(),
        ),
        MediaView::Video(view) => video(view),
        MediaView::External { external } => link(external, no_media.is_none()),
    }
}

/// Pictures, each with a link to itself in full size: `(small, large, alternative text, ratio)`.
fn pictures(all: &[(&str, &str, &str, Option<Ratio>)]) -> Markup {
    html! {
        div.pictures.many[all.len() > 1] {
            @for (small, large, alt, ratio) in all {
                a href=(large) {
                    img src=(small) alt=(if alt.is_empty() { "Picture without a description" } else { alt })
                        width=[ratio.map(|r| r.width)] height=[ratio.map(|r| r.height)]
                        loading="lazy" decoding="async";
                }
            }
        }
    }
}

fn video(view: &VideoView<'_>) -> Markup {
    let ratio = Ratio::of(view.aspect_ratio);
    let alt = view.alt.filter(|alt| !alt.is_empty()).unwrap_or("Video without a description");
    html! {
        figure.video {
            img src=(view.thumbnail) alt=(alt) width=[ratio.map(|r| r.width)] height=[ratio.map(|r| r.height)]
                loading="lazy" decoding="async";
            figcaption { "Video: a still of it. " a href=(view.playlist) rel="noopener" { "The stream" } }
        }
    }
}

fn link(view: &ExternalView<'_>, picture: bool) -> Markup {
    let Some(url) = away(view.uri) else {
        return html! { p.instead { "A link that is not one of the web." } };
    };
    let title = if view.title.trim().is_empty() { view.uri } else { &view.title };
    html! {
        a.card href=(url) rel=(REL) {
            @if let Some(thumb) = view.picture().filter(|_| picture) {
                img src=(thumb) alt="" loading="lazy" decoding="async";
            }
            span.title dir="auto" { (title) }
            @if !view.description.is_empty() { span.about dir="auto" { (view.description) } }
            span.host { (url.host_str().unwrap_or_default()) }
        }
    }
}

fn record(state: &PostState, view: &RecordEmbedView<'_>) -> Markup {
    match &*view.record {
        EmbeddedRecord::Post(post) => quote(state, post),
        EmbeddedRecord::NotFound { .. } => html! { p.instead { "The quoted post is gone." } },
        EmbeddedRecord::Blocked { .. } => html! { p.instead { "The quoted post is blocked." } },
        EmbeddedRecord::Detached { .. } => {
            html! { p.instead { "The author of the quoted post took it out of this one." } }
        }
        EmbeddedRecord::Generator(feed) => {
            thing("Feed", &feed.display_name, feed.description.as_deref(), Some(&feed.creator))
        }
        EmbeddedRecord::List(list) => {
            thing("List", &list.name, list.description.as_deref(), list.creator.as_deref())
        }
        EmbeddedRecord::Labeler(labeler) => {
            thing("Labeler", display_name(&labeler.creator), None, Some(&labeler.creator))
        }
        EmbeddedRecord::StarterPack(pack) => {
            let text = |key| fields::text(&pack.record, key);
            let name = text("name").unwrap_or_default();
            thing("Starter pack", name, text("description"), Some(&pack.creator))
        }
    }
}

/// A record that has no page here.
fn thing(kind: &str, name: &str, about: Option<&str>, creator: Option<&ProfileView>) -> Markup {
    let creator = creator.filter(|creator| !says_no_unauthenticated(&creator.labels));
    html! {
        div.card {
            span.host { (kind) }
            span.title dir="auto" { (name) }
            @if let Some(about) = about { span.about dir="auto" { (about) } }
            @if let Some(creator) = creator {
                span.host { "by " a href=(links::account(links::name(creator))) { "@" (creator.handle) } }
            }
        }
    }
}

fn quote(state: &PostState, post: &ViewRecord<'_>) -> Markup {
    let Some(author) = author(state, post.id) else {
        return html! { p.instead { (NOT_FOR_STRANGERS) } };
    };
    let heeded = labels::of_post(&post.labels, &author.labels);
    let text = PostText::of(post.value);
    let content = html! {
        (text.html())
        @for inner in post.embeds.iter().flatten() { (embed(state, inner, heeded.no_media)) }
    };
    html! {
        blockquote.quote cite=[Some(links::post(&author, post.uri)).filter(|_| heeded.cover == Cover::Open)] {
            (byline(&author, &links::post(&author, post.uri), post.indexed_at))
            (covered(&heeded, &content))
            (noted(&heeded))
        }
    }
}
