//! What a post is to say: a word, or words that stand side by side.

use std::fmt;

use crate::search::analysis::{Analyzer, Kind, Term, Tokens, tag_term};

/// Terms that the index is asked for of one text. It only gives candidates, so those of a long phrase that are left out
/// cost nothing but a look at their records.
const MOST_TERMS: usize = 16;

/// After a word these are meant: `c++` is not `c`.
const MEANT: [char; 2] = ['+', '#'];

/// Where a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the body, in alternative texts, on the card.
    Anywhere,
    /// In alternative texts.
    Alt,
}

/// Tokens that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    text: String,
    phrase: bool,
    place: Place,
    tokens: Tokens,
    tag: Option<String>,
}

impl Text {
    /// A word as it was typed; `None` if nothing of it is ever found.
    #[must_use]
    pub fn word(text: &str, place: Place) -> Option<Self> {
        let tag = tag_term(text);
        let tag = (place == Place::Anywhere && !tag.is_empty()).then_some(tag);
        Self::new(text, false, place, tag)
    }

    /// What stood between quotes.
    #[must_use]
    pub fn phrase(text: &str, place: Place) -> Option<Self> {
        Self::new(text, true, place, None)
    }

    fn new(text: &str, phrase: bool, place: Place, tag: Option<String>) -> Option<Self> {
        let tokens = Analyzer::default().query_tokens(text);
        (!tokens.is_empty()).then(|| Self { text: text.to_owned(), phrase, place, tokens, tag })
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it is looked for.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The tag that does as well as the word itself.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What has to follow the last token, punctuation though it is.
    #[must_use]
    pub fn literal(&self) -> &str {
        let end = self.text.trim_end_matches(MEANT).len();
        let (before, literal) = self.text.split_at_checked(end).unwrap_or_default();
        let after_word = before.chars().next_back().is_some_and(char::is_alphanumeric);
        if self.phrase || !after_word { "" } else { literal }
    }

    /// Calls `found` with terms that a text has where it has this one, be it in the body or in what else is searched.
    pub fn terms<'a>(&'a self, found: &mut impl FnMut(Term<'a>)) {
        let mut left = MOST_TERMS;
        self.tokens.terms(&mut |term| {
            if left > 0 {
                left -= 1;
                found(term);
            }
        });
    }

    /// Whether its one term says it all: then a post that has the term in a field that is searched needs no verifying.
    #[must_use]
    pub fn is_one_term(&self) -> bool {
        self.tokens.len() == 1
            && self.literal().is_empty()
            && self.place == Place::Anywhere
            && self.tokens.get(0).is_some_and(|(token, _)| token.kind != Kind::Unit)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.place == Place::Alt { "alt:" } else { "" })?;
        if self.phrase { write!(f, "\"{}\"", self.text) } else { f.write_str(&self.text) }
    }
}
