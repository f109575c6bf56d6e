//! Terms of what is no running text: tags and handles.

use super::chars::{Class, Folded, look};
use super::scan::{cut, normalized};
use super::{Analyzer, MAX_TERM, MAX_TEXT};

/// What a handle ends with that says nothing of its own.
pub const COMMON_DOMAIN: &str = ".bsky.social";

/// Words of a name that are also looked for as one.
const JOINED: std::ops::RangeInclusive<usize> = 2..=4;

/// The terms that an account is found by.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AccountNames {
    /// Labels of the handle, and what those with a hyphen split into.
    pub labels: Vec<String>,
    /// Words of the display name; of a few the last is all of them in one.
    pub words: Vec<String>,
}

impl AccountNames {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().chain(&self.words).map(String::as_str)
    }
}

/// Words in one, if they are a few.
pub fn joined<S: AsRef<str>>(words: &[S]) -> Option<String> {
    let all = || words.iter().map(AsRef::as_ref).collect::<String>();
    JOINED.contains(&words.len()).then(all)
}

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

impl Analyzer {
    /// The terms of an account with a handle and a display name, either of which may be empty.
    pub fn account_names(&mut self, handle: &str, name: &str) -> AccountNames {
        let mut out = AccountNames::default();
        if !handle.is_empty() {
            // The first is the handle itself.
            let mut first = true;
            self.handle_terms(handle, &mut |term| {
                if !std::mem::take(&mut first) {
                    out.labels.push(term.to_owned());
                }
            });
        }
        self.terms(name, &mut |term| out.words.push(term.to_owned()));
        out.words.extend(joined(&out.words));
        out
    }
}

fn labels(handle: &str) -> impl Iterator<Item = &str> {
    let own = handle.strip_suffix(COMMON_DOMAIN).unwrap_or(handle);
    own.split('.').filter(|label| !label.is_empty())
}
