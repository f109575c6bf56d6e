//! The posts of an account as RSS 2.0, as bsky.app has it: posts without a title, since they have none, no replies and no
//! reposts, pictures as Media RSS.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::byline::{author, day};
use super::frame::Site;
use super::labels::{self, Cover};
use super::links;
use super::text::PostText;
use crate::hydrate::post_state::PostState;
use crate::hydrate::timeline::FeedItem;
use crate::syntax::datetime::{format_ms, normalize_ms};
use crate::view::actor::ProfileView;
use crate::view::embed::{EmbedView, MediaView};
use crate::view::post::PostView;

/// A feed of what `items` hold.
#[must_use]
pub fn rss(site: Site<'_>, profile: &ProfileView, state: &PostState, items: &[FeedItem]) -> String {
    let home = format!("{}{}", site.url, links::account(links::name(profile)));
    let own = format!("{}{}/rss", site.url, links::account(&profile.did));
    let mut out = Xml::new();
    out.text.push_str(
        "<rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\" \
         xmlns:atom=\"http://www.w3.org/2005/Atom\">\n<channel>\n",
    );
    out.tag("atom:link", &[("rel", "self"), ("type", "application/rss+xml"), ("href", &own)]);
    let name = profile.display_name.as_deref().filter(|name| !name.is_empty());
    let title = match name {
        Some(name) => format!("@{} - {name}", profile.handle),
        None => format!("@{}", profile.handle),
    };
    out.element("title", &title);
    out.element("link", &home);
    // RSS 2.0 requires one.
    out.element("description", profile.description.as_deref().unwrap_or_default());
    for item in items.iter().filter(|item| item.repost.is_none()) {
        let view = state.post_view(item.post, 0).filter(|view| &*profile.did == did(view.uri));
        let is_reply = state.post(item.post).is_some_and(|post| post.record.reply.is_some());
        if let Some(view) = view.filter(|_| !is_reply) {
            post(&mut out, site, state, &view);
        }
    }
    out.text.push_str("</channel>\n</rss>\n");
    out.text
}

fn did(uri: &str) -> &str {
    uri.strip_prefix("at://").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn post(out: &mut Xml, site: Site<'_>, state: &PostState, view: &PostView<'_>) {
    let Some(author) = author(state, view.id) else { return };
    let heeded = labels::of_post(&view.labels, &author.labels);
    // A reader of feeds folds nothing.
    if heeded.cover != Cover::Open {
        return;
    }
    let text = PostText::of(view.record);
    out.text.push_str("<item>\n");
    out.element("link", &format!("{}{}", site.url, links::post(&author, view.uri)));
    out.element("description", &said(&text, view));
    if let Some(date) = text.created_at.as_deref().and_then(date) {
        out.element("pubDate", &date);
    }
    out.open("guid", &[("isPermaLink", "false")]);
    out.escaped(view.uri);
    out.text.push_str("</guid>\n");
    if heeded.no_media.is_none() {
        media(out, view);
    }
    out.text.push_str("</item>\n");
}

/// The text with what readers of feeds would not see otherwise.
fn said(text: &PostText<'_>, view: &PostView<'_>) -> String {
    let mut out = text.expanded();
    match view.embed.as_deref() {
        Some(EmbedView::Media(MediaView::External { external })) if !out.contains(external.uri) => {
            let _ = write!(out, "\n{}", external.uri);
        }
        Some(EmbedView::Record(_) | EmbedView::RecordWithMedia(_)) => {
            out.push_str("\n\n[contains quote post or other embedded content]");
        }
        _ => {}
    }
    out
}

/// `14 Nov 2023 22:13 +0000`, in the form that RSS takes from RFC 822, with the four digits of a year.
fn date(created: &str) -> Option<String> {
    let ms = normalize_ms(created);
    let text = format_ms(ms);
    let day = day(&text);
    let (number, rest) = day.split_once(' ')?;
    (ms != 0).then(|| format!("{number:0>2} {rest} {} +0000", text.get(11..16).unwrap_or_default()))
}

/// The files of an embed, as its record names them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Files {
    images: Vec<File>,
    items: Vec<File>,
    video: Option<Blob>,
    media: Option<Box<Files>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    image: Option<Blob>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    size: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Embedding {
    embed: Option<Files>,
}

impl Files {
    fn of(record: &RawValue) -> Self {
        let embed = serde_json::from_str::<Embedding>(record.get()).unwrap_or_default().embed;
        let embed = embed.unwrap_or_default();
        match embed.media {
            Some(media) => *media,
            None => embed,
        }
    }
}

fn media(out: &mut Xml, view: &PostView<'_>) {
    let media = match view.embed.as_deref() {
        Some(EmbedView::Media(media)) => media,
        Some(EmbedView::RecordWithMedia(both)) => &both.media,
        Some(EmbedView::Record(_)) | None => return,
    };
    let files = Files::of(view.record);
    let pictures = |files: Vec<File>| files.into_iter().map(|file| file.image);
    let shown: Vec<(&str, &str, Option<Blob>)> = match media {
        MediaView::Images { images } => images
            .iter()
            .zip(pictures(files.images))
            .map(|(view, blob)| (&*view.fullsize, view.alt, blob))
            .collect(),
        MediaView::Gallery { items } => items
            .iter()
            .zip(pictures(files.items))
            .map(|(view, blob)| (&*view.fullsize, view.alt, blob))
            .collect(),
        MediaView::Video(view) => {
            vec![(&*view.playlist, view.alt.unwrap_or_default(), files.video)]
        }
        MediaView::External { .. } => return,
    };
    let many = shown.len() > 1;
    out.text.push_str(if many { "<media:group>\n" } else { "" });
    for (url, alt, blob) in shown {
        let Some(Blob { mime_type, size }) = blob else { continue };
        let size = size.to_string();
        out.open("media:content", &[("url", url), ("type", &mime_type), ("fileSize", &size)]);
        if !alt.is_empty() {
            out.element("media:title", alt);
        }
        out.text.push_str("</media:content>\n");
    }
    out.text.push_str(if many { "</media:group>\n" } else { "" });
}

/// XML 1.0 as it grows.
pub(super) struct Xml {
    pub(super) text: String,
}

impl Xml {
    pub(super) fn new() -> Self {
        Self { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") }
    }

    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.start(name, attributes);
        self.text.push('>');
    }

    pub(super) fn close(&mut self, name: &str) {
        let _ = writeln!(self.text, "</{name}>");
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.start(name, attributes);
        self.text.push_str("/>\n");
    }

    fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            let _ = write!(self.text, " {key}=\"");
            self.escaped(value);
            self.text.push('"');
        }
    }

    pub(super) fn element(&mut self, name: &str, text: &str) {
        self.open(name, &[]);
        self.escaped(text);
        self.close(name);
    }

    /// What XML 1.0 has no character for (section 2.2) becomes the one that stands for what cannot be shown.
    fn escaped(&mut self, text: &str) {
        for x in text.chars() {
            match x {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\n' | '\t' => self.text.push(x),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.text.push('\u{fffd}'),
                x => self.text.push(x),
            }
        }
    }
}

#[cfg(test)]
mod xml_tests {
    use super::*;

    #[test]
    fn texts_are_xml_whatever_they_hold() {
        let mut xml = Xml { text: String::new() };
        xml.element("a", "<b> & \"c\" \u{0}\u{b}\u{ffff}\n]]> é");
        assert_eq!(
            xml.text,
            "<a>&lt;b&gt; &amp; &quot;c&quot; \u{fffd}\u{fffd}\u{fffd}\n]]&gt; é</a>\n"
        );
    }

    #[test]
    fn dates() {
        assert_eq!(date("2023-11-04T22:13:20.000Z").as_deref(), Some("04 Nov 2023 22:13 +0000"));
        assert_eq!(date("when?"), None);
    }
}
