//! The tokens of a text in order, for what an index without positions cannot say: what stands beside what.

use std::ops::Range;

use super::scan::{Sink, Spelling};
use super::{Analyzer, MAX_TERM};

/// Tokens that are compared to find some in a text.
const MOST_STEPS: usize = 1 << 18;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// A unit of a run without spaces.
    Unit,
    /// An emoji.
    Emoji,
}

/// A token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// A unit that directly follows the one before it.
    pub glued: bool,
    /// Bytes of the text after NFKC.
    pub at: Range<usize>,
    text: Range<usize>,
}

/// What the index is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Term<'a> {
    /// This term.
    Exact(&'a str),
    /// Any term that begins so: one unit by itself.
    Prefix(&'a str),
}

/// The tokens of a text, each beside the next.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    list: Vec<Token>,
    /// The token and its next may also be read as this one.
    joined: Vec<(usize, Range<usize>)>,
}

impl Analyzer {
    /// The tokens of a text that is searched.
    #[must_use]
    pub fn tokens(&mut self, text: &str) -> Tokens {
        let mut reading = Reading::default();
        self.0.scan(text, &mut reading);
        reading.tokens
    }

    /// The same as they are spelled: in lower case, but with all marks. Each stands where its folded form does.
    #[must_use]
    pub fn tokens_as_typed(&mut self, text: &str) -> Tokens {
        let mut reading = Reading::default();
        self.0.scan_as(text, Spelling::AsTyped, &mut reading);
        reading.tokens
    }

    /// The tokens of what is looked for: where words have a joined form, that one alone, since it is a term of every text
    /// that has it in one spelling or the other.
    #[must_use]
    pub fn query_tokens(&mut self, text: &str) -> Tokens {
        let mut reading = Reading { joins: true, ..Reading::default() };
        self.0.scan(text, &mut reading);
        reading.tokens
    }
}

impl Tokens {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the text has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The token at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(&Token, &str)> {
        let token = self.list.get(place)?;
        Some((token, self.part(&token.text)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Token, &str)> {
        self.list.iter().map(|token| (token, self.part(&token.text)))
    }

    /// What the token at a place and the next one are together.
    #[must_use]
    pub fn joined(&self, place: usize) -> Option<&str> {
        // They come in order.
        let at = self.joined.binary_search_by_key(&place, |(at, _)| *at).ok()?;
        self.joined.get(at).map(|(_, text)| self.part(text))
    }

    /// Where these tokens stand side by side, from the given place on. No text that means anything has so many
    /// beginnings of them that it is given up.
    #[must_use]
    pub fn find(&self, wanted: &Tokens, from: usize) -> Option<Range<usize>> {
        let mut steps = MOST_STEPS;
        (from..self.len())
            .find_map(|start| self.end_from(wanted, start, &mut steps).map(|end| start..end))
    }

    /// Everywhere these tokens stand side by side, one place after the other.
    pub fn all(&self, wanted: &Tokens) -> impl Iterator<Item = Range<usize>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let found = self.find(wanted, from)?;
            from = found.end;
            Some(found)
        })
    }

    /// Where these tokens end, if they begin at this place.
    #[must_use]
    pub fn end_of(&self, wanted: &Tokens, start: usize) -> Option<usize> {
        self.end_from(wanted, start, &mut { MOST_STEPS })
    }

    fn end_from(&self, wanted: &Tokens, start: usize, steps: &mut usize) -> Option<usize> {
        let mut place = start;
        for (token, text) in wanted.iter() {
            *steps = steps.checked_sub(1)?;
            let (here, of_here) = self.get(place)?;
            place += if of_here == text && (here.glued || !token.glued) {
                1
            } else if self.joined(place) == Some(text) {
                2
            } else {
                return None;
            };
        }
        Some(place)
    }

    /// Calls `found` with what the index is to have of them.
    pub fn terms<'a>(&'a self, found: &mut impl FnMut(Term<'a>)) {
        let mut tokens = self.list.iter().peekable();
        while let Some(token) = tokens.next() {
            let next = tokens.peek().filter(|next| next.glued);
            match (token.kind, next) {
                (Kind::Unit, Some(next)) => {
                    // Glued units stand side by side here too.
                    found(Term::Exact(self.part(&(token.text.start..next.text.end))));
                }
                (Kind::Unit, None) if !token.glued => found(Term::Prefix(self.part(&token.text))),
                (Kind::Unit, None) => {}
                (Kind::Word | Kind::Emoji, _) => found(Term::Exact(self.part(&token.text))),
            }
        }
    }

    fn part(&self, of: &Range<usize>) -> &str {
        self.text.get(of.clone()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Reading {
    tokens: Tokens,
    joins: bool,
}

impl Reading {
    fn add(&mut self, kind: Kind, glued: bool, text: &str, at: Range<usize>) {
        let text = self.keep(text);
        self.tokens.list.push(Token { kind, glued, at, text });
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.tokens.text.len();
        self.tokens.text.push_str(text);
        start..self.tokens.text.len()
    }
}

impl Sink for Reading {
    fn word(&mut self, term: &str, at: Range<usize>) {
        self.add(Kind::Word, false, term, at);
    }

    fn joined(&mut self, term: &str) {
        let list = &mut self.tokens.list;
        if !self.joins {
            if let Some(place) = list.len().checked_sub(2) {
                let text = self.keep(term);
                self.tokens.joined.push((place, text));
            }
        } else if let (Some(second), Some(first)) = (list.pop(), list.pop()) {
            debug_assert!(term.len() <= MAX_TERM);
            self.add(Kind::Word, false, term, first.at.start..second.at.end);
        }
    }

    fn unit(&mut self, unit: &str, pair: Option<&str>, at: Range<usize>) {
        self.add(Kind::Unit, pair.is_some(), unit, at);
    }

    fn run_end(&mut self, _: &str) {}

    fn emoji(&mut self, term: &str, at: Range<usize>) {
        self.add(Kind::Emoji, false, term, at);
    }
}
