//! What is typed to find an account, a starter pack or a feed: some words, or the beginning of a handle.
//!
//! There is no query language here: whatever is typed is looked for as it is.

use crate::search::analysis::{Analyzer, Kind, Tokens, fold, joined};
use crate::syntax::is_did;

/// Parts that count; nobody's name has so many words.
const MOST_PARTS: usize = 8;
/// Characters that are looked at.
const MOST_CHARS: usize = 256;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// All of it, folded.
    folded: String,
    /// What has to be there, each part somewhere.
    pub(super) parts: Vec<Part>,
    /// The parts in one, if they are a few words.
    pub(super) joined: Option<String>,
    /// The text of the last part, which may not be typed to its end.
    last: String,
}

/// A word, or a run of a script without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its text, folded.
    pub text: String,
    /// The terms that the index has of it.
    pub terms: Vec<String>,
    /// How many units of a script without spaces it is, which stand together; 0 of a word.
    pub units: usize,
}

impl Part {
    /// Whether it is a run of a script without spaces.
    pub(super) fn is_run(&self) -> bool {
        self.units > 0
    }
}

impl Typed {
    /// What a text looks for.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let end = text.char_indices().nth(MOST_CHARS).map_or(text.len(), |(at, _)| at);
        let text = text.get(..end).unwrap_or_default();
        let mut parts = parts(&Analyzer::default().query_tokens(text));
        let words: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
        let joined = joined(&words).filter(|_| !parts.iter().any(Part::is_run));
        let last = parts.last().map_or_else(String::new, |part| part.text.clone());
        parts.sort_by(|a, b| a.text.cmp(&b.text));
        parts.dedup();
        let folded = fold(text);
        Self { folded: folded.trim().trim_start_matches('@').to_owned(), parts, joined, last }
    }

    /// Whether it looks for nothing in particular.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(&*self.folded, "" | "*")
    }

    /// The handle or DID that it may be.
    #[must_use]
    pub fn identifier(&self) -> Option<&str> {
        let may_be = self.handle_begin().is_some() || is_did(&self.folded);
        may_be.then_some(&*self.folded)
    }

    /// Whether an account's handle is what was typed.
    #[must_use]
    pub fn is_handle(&self, handle: &str) -> bool {
        handle.eq_ignore_ascii_case(&self.folded)
    }

    /// What handles begin with that are meant: their first label, or more of them.
    pub(super) fn handle_begin(&self) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let is_one = !self.folded.is_empty() && self.folded.chars().all(fits);
        is_one.then(|| match self.folded.contains('.') {
            true => self.folded.clone(),
            false => format!("{}.", self.folded),
        })
    }

    /// All terms that the index is asked for.
    pub(super) fn terms(&self) -> Vec<&str> {
        self.parts.iter().flat_map(|part| &part.terms).map(String::as_str).collect()
    }

    /// Whether a part is the last one.
    pub(super) fn is_last(&self, part: &Part) -> bool {
        part.text == self.last
    }

    /// Whether a name is what was typed.
    pub(super) fn is_name(&self, name: &str) -> bool {
        !self.folded.is_empty() && fold(name).trim() == self.folded
    }

    /// A number that stands for it and for what is looked for.
    pub(super) fn hash(&self, what: &str) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{what}\n{}", self.folded).as_bytes())
    }
}

fn parts(tokens: &Tokens) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    let mut last = String::new();
    for (token, text) in tokens.iter() {
        let units = usize::from(token.kind == Kind::Unit);
        let is_full = out.len() == MOST_PARTS;
        match out.last_mut() {
            Some(run) if token.glued && run.is_run() => {
                if run.units == 1 {
                    // What stands by itself is in the index as a beginning; of two the pair is.
                    run.terms.clear();
                }
                run.terms.push(format!("{last}{text}"));
                run.text.push_str(text);
                run.units += 1;
            }
            _ if is_full => break,
            _ => out.push(Part { text: text.to_owned(), terms: vec![text.to_owned()], units }),
        }
        text.clone_into(&mut last);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        Typed::of(text).terms().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn words_and_runs_are_what_the_index_has_of_them() {
        for (text, expect) in [
            ("Bob JONES", &["bob", "jones"][..]),
            ("bob bob", &["bob"]),
            ("José's café", &["cafe", "joses"]),
            ("東", &["東"]),
            ("東京", &["東京"]),
            ("東京都", &["東京", "京都"]),
            ("🦀 crab", &["crab", "🦀"]),
            ("!!! ...", &[]),
        ] {
            assert_eq!(terms(text), expect, "{text}");
        }
        assert_eq!(Typed::of("bob jones").joined.as_deref(), Some("bobjones"));
        assert_eq!(Typed::of("bob").joined, None);
        assert_eq!(Typed::of("東京 bob").joined, None);
        assert_eq!(terms(&"word ".repeat(64)).len(), 1);
        let many: Vec<String> = (0..64).map(|n| format!("w{n}")).collect();
        assert_eq!(terms(&many.join(" ")).len(), MOST_PARTS);
        assert!(terms(&"x".repeat(10_000))[0].len() <= MOST_CHARS);
    }

    #[test]
    fn a_handle_is_one_however_it_is_pasted() {
        for text in ["alice.test", "@Alice.Test", "\u{2068}alice.test\u{2069} ", "＠alice.test"] {
            let typed = Typed::of(text);
            assert!(typed.is_handle("alice.test"), "{text}");
            assert_eq!(typed.identifier(), Some("alice.test"), "{text}");
        }
        assert_eq!(Typed::of("alice").handle_begin().as_deref(), Some("alice."));
        assert_eq!(Typed::of("alice.bs").handle_begin().as_deref(), Some("alice.bs"));
        for text in ["alice bob", "", "東京", "a%"] {
            assert_eq!(Typed::of(text).identifier(), None, "{text}");
        }
        assert_eq!(Typed::of("did:plc:abc").identifier(), Some("did:plc:abc"));
        for (text, all) in [("", true), (" * ", true), ("\u{200b}", true), ("**", false)] {
            assert_eq!(Typed::of(text).is_all(), all, "{text:?}");
        }
    }
}
