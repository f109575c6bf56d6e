//! Terms of what is no running text: tags and handles.

use super::chars::{Class, Folded, look};
use super::scan::{cut, normalized};
use super::{Analyzer, MAX_TERM, MAX_TEXT};

/// What a handle ends with that says nothing of its own.
const COMMON_DOMAIN: &str = ".bsky.social";

/// A text folded as words are, but whole: with its spaces and punctuation.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut buffer = String::new();
    let text = normalized(cut(text, MAX_TEXT), &mut buffer);
    let mut out = String::with_capacity(text.len());
    let mut after_emoji = false;
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c.to_ascii_lowercase());
            after_emoji = false;
            continue;
        }
        let (class, folded) = look(c);
        match (class, folded) {
            (Class::Skip | Class::DroppedMark, _) => continue,
            (Class::Joiner | Class::EmojiTag, _) if !after_emoji => continue,
            (Class::Emoji | Class::Regional | Class::Joiner | Class::EmojiTag, _) => out.push(c),
            (_, Folded::One(to)) => out.push(to),
            (_, Folded::Many(to)) => out.push_str(to),
        }
        after_emoji = class == Class::Emoji;
    }
    out
}

/// The term of a tag, with or without its `#`; empty if nothing is left of it.
#[must_use]
pub fn tag_term(tag: &str) -> String {
    let mut term = fold(tag.trim());
    // NFKC made the wide one this.
    let start = usize::from(term.starts_with('#'));
    term.drain(..start);
    term.truncate(cut(&term, MAX_TERM).len());
    term.truncate(term.trim_end().len());
    term
}

impl Analyzer {
    /// Calls `found` with the terms of a handle: whole, its labels, and what those with a hyphen split into. Of
    /// `x.bsky.social` only the first label says anything.
    pub fn handle_terms(&mut self, handle: &str, found: &mut impl FnMut(&str)) {
        let handle = handle.to_ascii_lowercase();
        found(cut(&handle, MAX_TERM));
        for label in labels(&handle) {
            found(cut(label, MAX_TERM));
            if label.contains('-') {
                self.terms(label, found);
            }
        }
    }
}

fn labels(handle: &str) -> impl Iterator<Item = &str> {
    let own = handle.strip_suffix(COMMON_DOMAIN).unwrap_or(handle);
    own.split('.').filter(|label| !label.is_empty())
}
