//! Texts of people: with the links, mentions and tags that their facets name, and without them for titles.

use std::borrow::Cow;

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::links::{self, REL, away};

/// The parts of a post's record that only readers need. What is not as the lexicon says is not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PostText<'a> {
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
    #[serde(borrow)]
    facets: Option<Vec<&'a RawValue>>,
    tags: Option<Vec<String>>,
    langs: Option<Vec<String>>,
    pub(super) created_at: Option<String>,
}

#[derive(Deserialize)]
struct Facet {
    index: Index,
    features: Vec<Feature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    byte_start: usize,
    byte_end: usize,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Feature {
    #[serde(rename = "app.bsky.richtext.facet#mention")]
    Mention { did: String },
    #[serde(rename = "app.bsky.richtext.facet#link")]
    Link { uri: String },
    #[serde(rename = "app.bsky.richtext.facet#tag")]
    Tag { tag: String },
    #[serde(other)]
    Other,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Plain(&'t str),
    /// Inside of this server.
    Inside(&'t str, String),
    /// What it says, and where it leads.
    Away(&'t str, String),
}

impl Feature {
    fn piece(self, text: &str) -> Option<Piece<'_>> {
        match self {
            Self::Mention { did } => Some(Piece::Inside(text, links::account(&did))),
            Self::Tag { tag } => Some(Piece::Inside(text, links::tag(&tag))),
            Self::Link { uri } => away(&uri).map(|url| Piece::Away(text, url.into())),
            Self::Other => None,
        }
    }
}

impl<'a> PostText<'a> {
    /// Of a record.
    pub(super) fn of(record: &'a RawValue) -> Self {
        serde_json::from_str(record.get()).unwrap_or_default()
    }

    /// The language to read it in, if it has one.
    pub(super) fn language(&self) -> Option<&str> {
        match self.langs.as_deref()? {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Tags that are not in the text.
    pub(super) fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    /// The facets that fit the text, in its order; of those that overlap the first.
    fn facets(&self) -> Vec<Facet> {
        let text = &*self.text;
        let all = self.facets.iter().flatten();
        let mut facets: Vec<Facet> = all
            .filter_map(|facet| serde_json::from_str::<Facet>(facet.get()).ok())
            .filter(|Facet { index, .. }| {
                index.byte_start < index.byte_end
                    && text.get(index.byte_start..index.byte_end).is_some()
            })
            .collect();
        facets.sort_by_key(|facet| facet.index.byte_start);
        let mut end = 0;
        facets.retain(|Facet { index, .. }| {
            let fits = index.byte_start >= end;
            if fits {
                end = index.byte_end;
            }
            fits
        });
        facets
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        let (text, mut at, mut out) = (&*self.text, 0, Vec::new());
        for Facet { index, features } in self.facets() {
            let Some(said) = text.get(index.byte_start..index.byte_end) else { continue };
            let Some(piece) = features.into_iter().find_map(|feature| feature.piece(said)) else {
                continue;
            };
            out.extend(text.get(at..index.byte_start).map(Piece::Plain));
            out.push(piece);
            at = index.byte_end;
        }
        out.extend(text.get(at..).map(Piece::Plain));
        out
    }

    /// As a paragraph.
    pub(super) fn html(&self) -> Markup {
        html! {
            @if !self.text.is_empty() {
                p.text dir="auto" lang=[self.language()] { (written(&self.pieces())) }
            }
        }
    }

    /// With the links written out that clients shorten, for readers of a text without links.
    pub(super) fn expanded(&self) -> String {
        let (text, mut at, mut out) = (&*self.text, 0, String::new());
        for Facet { index, features } in self.facets() {
            let said = text.get(index.byte_start..index.byte_end).unwrap_or_default();
            let Some(short) = said.strip_suffix("...").or_else(|| said.strip_suffix('…')) else {
                continue;
            };
            let whole = features.into_iter().find_map(|feature| match feature {
                Feature::Link { uri } if uri.contains(short) => Some(uri),
                _ => None,
            });
            let Some(whole) = whole else { continue };
            out.push_str(text.get(at..index.byte_start).unwrap_or_default());
            out.push_str(&whole);
            at = index.byte_end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }
}

fn written(pieces: &[Piece<'_>]) -> Markup {
    html! {
        @for piece in pieces {
            @match piece {
                Piece::Plain(text) => (text),
                Piece::Inside(text, path) => a href=(path) { (text) },
                Piece::Away(text, url) => a href=(url) rel=(REL) title=(url) { (text) },
            }
        }
    }
}

/// A text without facets, such as the description of an account: links and names are found in it.
pub(super) fn plain(text: &str) -> Markup {
    let (mut at, mut pieces) = (0, Vec::new());
    for word in text.split_whitespace() {
        let Some(start) = text.get(at..).and_then(|rest| rest.find(word)).map(|found| at + found)
        else {
            continue;
        };
        let word = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '\'']);
        let (skip, word) = match word.strip_prefix('(') {
            Some(rest) => (1, rest),
            None => (0, word),
        };
        let (start, end) = (start + skip, start + skip + word.len());
        if let Some(piece) = linked(word) {
            pieces.extend(text.get(at..start).map(Piece::Plain));
            pieces.push(piece);
            at = end;
        }
    }
    pieces.extend(text.get(at..).map(Piece::Plain));
    written(&pieces)
}

fn linked(word: &str) -> Option<Piece<'_>> {
    if word.starts_with("https://") || word.starts_with("http://") {
        return away(word).map(|url| Piece::Away(word, url.into()));
    }
    let handle = word.strip_prefix('@').filter(|handle| crate::syntax::is_handle(handle))?;
    Some(Piece::Inside(word, links::account(handle)))
}

/// The beginning of a text in one line.
pub(super) fn beginning(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, word) in text.split_whitespace().enumerate() {
        if out.chars().count() + word.chars().count() >= most {
            if count == 0 {
                out.extend(word.chars().take(most));
            }
            out.push('…');
            break;
        }
        if count > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// A number with its thousands set apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something: `1 like`, `2 likes`.
pub(super) fn count(many: u64, one: &str, more: &str) -> String {
    format!("{} {}", number(many), if many == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(text: &str, facets: serde_json::Value) -> String {
        let json = serde_json::json!({ "text": text, "facets": facets }).to_string();
        let raw = RawValue::from_string(json).unwrap();
        PostText::of(&raw).html().into_string()
    }

    fn facet(start: usize, end: usize, feature: serde_json::Value) -> serde_json::Value {
        serde_json::json!({ "index": { "byteStart": start, "byteEnd": end }, "features": [feature] })
    }

    fn link(uri: &str) -> serde_json::Value {
        serde_json::json!({ "$type": "app.bsky.richtext.facet#link", "uri": uri })
    }

    #[test]
    fn facets_become_links_and_all_else_is_escaped() {
        let mention =
            serde_json::json!({ "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:b" });
        let tag = serde_json::json!({ "$type": "app.bsky.richtext.facet#tag", "tag": "a\"b" });
        let html = post(
            "<b>é @bob #tag here",
            serde_json::json!([
                facet(11, 15, tag),
                facet(6, 10, mention),
                facet(16, 20, link("https://x.example/?a=1&b=\"2\"")),
            ]),
        );
        assert_eq!(
            html,
            "<p class=\"text\" dir=\"auto\">&lt;b&gt;é <a href=\"/profile/did:plc:b\">@bob</a> \
             <a href=\"/hashtag/a%22b\">#tag</a> <a href=\"https://x.example/?a=1&amp;b=%222%22\" \
             rel=\"nofollow noopener ugc\" title=\"https://x.example/?a=1&amp;b=%222%22\">here</a></p>"
        );
    }

    #[test]
    fn facets_that_do_not_fit_are_left_out() {
        let plain = "<p class=\"text\" dir=\"auto\">é word</p>";
        for bad in [
            facet(0, 1, link("https://x.example")),
            facet(3, 3, link("https://x.example")),
            facet(5, 3, link("https://x.example")),
            facet(3, 99, link("https://x.example")),
            facet(3, 7, link("javascript:alert(1)")),
            facet(3, 7, serde_json::json!({ "$type": "a.b#c" })),
            facet(3, 7, serde_json::json!({})),
            serde_json::json!({ "index": { "byteStart": -1, "byteEnd": 2 }, "features": [] }),
            serde_json::json!("x"),
        ] {
            assert_eq!(post("é word", serde_json::json!([bad])), plain, "{bad}");
        }
        let overlapping = serde_json::json!([
            facet(3, 7, link("https://first.example")),
            facet(4, 7, link("https://second.example")),
        ]);
        let html = post("é word", overlapping);
        assert!(html.contains("first.example") && !html.contains("second.example"), "{html}");
        assert_eq!(post("", serde_json::json!(null)), "");
    }

    #[test]
    fn shortened_links_are_written_out() {
        let json = serde_json::json!({ "text": "see x.example/a... ok", "facets": [
            facet(4, 18, link("https://x.example/a/b/c"))] });
        let raw = RawValue::from_string(json.to_string()).unwrap();
        assert_eq!(PostText::of(&raw).expanded(), "see https://x.example/a/b/c ok");
    }

    #[test]
    fn links_and_names_in_descriptions() {
        let html =
            plain("I am @a.example.\n(https://b.example/x?y=1), <i> @no https://").into_string();
        assert_eq!(
            html,
            "I am <a href=\"/profile/a.example\">@a.example</a>.\n(<a href=\"https://b.example/x?y=1\" \
             rel=\"nofollow noopener ugc\" title=\"https://b.example/x?y=1\">https://b.example/x?y=1</a>), \
             &lt;i&gt; @no https://"
        );
    }

    #[test]
    fn beginnings_and_numbers() {
        assert_eq!(beginning("a\n b  c", 10), "a b c");
        assert_eq!(beginning("one two three", 9), "one two…");
        assert_eq!(beginning("日本語のとても長い文", 4), "日本語の…");
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(super::number(number), text);
        }
        assert_eq!(
            (count(1, "like", "likes"), count(0, "like", "likes")),
            ("1 like".into(), "0 likes".into())
        );
    }
}
