//! How a page heeds labels. Clients know what their viewer wants to see; a page has a reader of whom nothing is known, who
//! gets what the official app shows without a login: adult content is not shown, what carries a warning is folded.

use std::borrow::Cow;

use maud::{Markup, html};

use crate::moderation::ShownLabel;

/// What is done with a text and all that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// It is shown.
    Open,
    /// It is folded behind a warning.
    Warned,
    /// It is not shown.
    Hidden,
}

/// What labels make of a post or a profile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heeded<'a> {
    pub(super) cover: Cover,
    /// Pictures are not shown; because of what.
    pub(super) no_media: Option<&'static str>,
    /// What is said of it besides, in words.
    pub(super) notes: Vec<Cow<'a, str>>,
}

/// What a label that all clients know is called.
fn known(val: &str) -> Option<&'static str> {
    Some(match val {
        "porn" => "Adult content",
        "sexual" => "Sexually suggestive",
        "nudity" => "Non-sexual nudity",
        "graphic-media" | "gore" => "Graphic media",
        "spam" => "Spam",
        "impersonation" => "Impersonation",
        _ => return None,
    })
}

/// For adults, whom a page cannot tell from others.
fn hides_media(val: &str) -> Option<&'static str> {
    known(val).filter(|_| matches!(val, "porn" | "sexual" | "graphic-media" | "gore"))
}

fn cover<'a>(labels: impl Iterator<Item = &'a ShownLabel>) -> Cover {
    labels.fold(Cover::Open, |cover, label| match (label.val.as_str(), cover) {
        ("!hide", _) | (_, Cover::Hidden) => Cover::Hidden,
        ("!warn", _) => Cover::Warned,
        _ => cover,
    })
}

/// What the labels on a post and on its author make of the post.
pub(super) fn of_post<'a>(post: &'a [ShownLabel], author: &[ShownLabel]) -> Heeded<'a> {
    Heeded {
        cover: cover(post.iter().chain(author)),
        // Adult labels on an account are about how it looks: its own posts have their own.
        no_media: post.iter().find_map(|label| hides_media(&label.val)),
        notes: notes(post),
    }
}

/// Whether the words of an account, its name among them, are shown as they are.
pub(super) fn are_words_open(account: &[ShownLabel]) -> bool {
    cover(account.iter()) == Cover::Open
}

/// What the labels on an account make of its profile.
pub(super) fn of_account(labels: &[ShownLabel]) -> Heeded<'_> {
    Heeded {
        cover: cover(labels.iter()),
        no_media: labels.iter().find_map(|label| hides_media(&label.val)),
        notes: notes(labels),
    }
}

fn notes(labels: &[ShownLabel]) -> Vec<Cow<'_, str>> {
    let mut out: Vec<Cow<'_, str>> = Vec::new();
    // Those that begin so are orders to clients.
    for label in labels.iter().filter(|label| !label.val.starts_with('!')) {
        let note = match known(&label.val) {
            Some(words) => Cow::Borrowed(words),
            None => Cow::Owned(label.val.replace('-', " ")),
        };
        if !out.contains(&note) {
            out.push(note);
        }
    }
    out
}

/// Text and embed of a post, as far as labels let it be seen.
pub(super) fn covered(heeded: &Heeded<'_>, content: &Markup) -> Markup {
    html! {
        @match heeded.cover {
            Cover::Open => (content),
            Cover::Warned => {
                details.warned {
                    summary { "Content warning" @for note in &heeded.notes { ": " (note) } }
                    (content)
                }
            }
            Cover::Hidden => p.instead { "This post is hidden by a moderator." },
        }
    }
}

/// What labels say of a post, in words.
pub(super) fn noted(heeded: &Heeded<'_>) -> Markup {
    html! {
        @if !heeded.notes.is_empty() {
            ul.notes aria-label="Labels" {
                @for note in &heeded.notes { li { (note) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(vals: &[&str]) -> Vec<ShownLabel> {
        let label = |val: &&str| ShownLabel {
            src: "did:plc:labeler".into(),
            uri: "did:plc:a".into(),
            cid: None,
            val: (*val).to_owned(),
            cts: String::new(),
            exp: None,
        };
        vals.iter().map(label).collect()
    }

    #[test]
    fn labels_cover_text_and_take_pictures_away() {
        for (post, author, cover, no_media, notes) in [
            (&[][..], &[][..], Cover::Open, None, &[][..]),
            (&["porn", "porn"], &[], Cover::Open, Some("Adult content"), &["Adult content"]),
            (&["nudity"], &[], Cover::Open, None, &["Non-sexual nudity"]),
            (&["gore"], &["porn"], Cover::Open, Some("Graphic media"), &["Graphic media"]),
            (&[], &["porn", "spam"], Cover::Open, None, &[]),
            (&["!warn", "so-rude"], &[], Cover::Warned, None, &["so rude"]),
            (&[], &["!warn"], Cover::Warned, None, &[]),
            (&["!hide"], &["!warn"], Cover::Hidden, None, &[]),
            (&["!warn"], &["!hide"], Cover::Hidden, None, &[]),
        ] {
            let (on_post, on_author) = (labels(post), labels(author));
            let heeded = of_post(&on_post, &on_author);
            assert_eq!((heeded.cover, heeded.no_media), (cover, no_media), "{post:?} {author:?}");
            assert_eq!(heeded.notes, notes, "{post:?} {author:?}");
        }
        let account = labels(&["sexual"]);
        assert_eq!(of_account(&account).no_media, Some("Sexually suggestive"));
        assert!(are_words_open(&account) && !are_words_open(&labels(&["!warn"])));
    }
}
