//! The lexemes of a query. Everything that stands nowhere is left out here: lone signs, what was opened and never closed.

use super::error::QueryError;
use crate::search::analysis::nfkc;

/// Characters of the longest query.
pub const MAX_CHARS: usize = 3_000;

/// NFKC makes the wide one of the first.
pub(super) const QUOTES: [char; 5] = ['"', '“', '”', '„', '‟'];
const MINUSES: [char; 3] = ['-', '−', '–'];

/// A piece of a query, with or without a minus before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lexeme<'a> {
    pub(super) negated: bool,
    pub(super) kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Open,
    Close,
    Or,
    And,
    Phrase(&'a str),
    Word(&'a str),
    /// `name:"value"`.
    QuotedValue(&'a str, &'a str),
}

/// The query as it is read: NFKC, one kind of space, nothing invisible.
pub(super) fn cleaned(text: &str) -> Result<String, QueryError> {
    if text.len() > MAX_CHARS * 4 || text.chars().count() > MAX_CHARS {
        return Err(QueryError::BadQuery("query must not be longer than 3000 characters"));
    }
    let text: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let text = nfkc(&text);
    let mut out = String::with_capacity(text.len());
    let mut last = ' ';
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        // In an emoji it joins.
        if c != '\u{200d}' || !last.is_ascii() {
            out.push(c);
            last = c;
        }
    }
    Ok(out)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The lexemes of a cleaned query; brackets come in pairs.
pub(super) fn lexemes(text: &str) -> Vec<Lexeme<'_>> {
    let mut reader = Reader { rest: text, quotes_left: true };
    let mut out = Vec::new();
    while let Some(lexeme) = reader.next_lexeme() {
        out.push(lexeme);
    }
    paired(out)
}

struct Reader<'a> {
    rest: &'a str,
    /// There may be another quote.
    quotes_left: bool,
}

impl<'a> Reader<'a> {
    fn next_lexeme(&mut self) -> Option<Lexeme<'a>> {
        let mut negated = false;
        loop {
            let first = self.rest.chars().next()?;
            let after = self.rest.get(first.len_utf8()..).unwrap_or_default();
            let kind = match first {
                ' ' => {
                    self.rest = after;
                    negated = false;
                    continue;
                }
                _ if MINUSES.contains(&first) && !negated => {
                    self.rest = after;
                    negated = true;
                    continue;
                }
                '(' => {
                    self.rest = after;
                    Kind::Open
                }
                ')' => {
                    self.rest = after;
                    negated = false;
                    Kind::Close
                }
                _ if QUOTES.contains(&first) => {
                    self.rest = after;
                    let Some(phrase) = self.until_quote() else { continue };
                    Kind::Phrase(phrase)
                }
                _ => self.word(),
            };
            let kind = match kind {
                Kind::Word("OR" | "|") if !negated => Kind::Or,
                Kind::Word("AND") if !negated => Kind::And,
                other => other,
            };
            return Some(Lexeme { negated, kind });
        }
    }

    /// What stands before the next quote; it and the quote are read.
    fn until_quote(&mut self) -> Option<&'a str> {
        if !self.quotes_left {
            return None;
        }
        let found = self.rest.split_once(QUOTES);
        self.quotes_left = found.is_some();
        let (phrase, rest) = found?;
        self.rest = rest;
        Some(phrase)
    }

    fn word(&mut self) -> Kind<'a> {
        let mut open = 0_usize;
        let end = self.rest.find(|c| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return true,
                ')' => open -= 1,
                _ => {}
            }
            c == ' ' || QUOTES.contains(&c)
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let name = word
            .strip_suffix(':')
            .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()));
        if let Some(name) = name
            && let Some(quoted) = rest.strip_prefix(QUOTES)
        {
            self.rest = quoted;
            if let Some(value) = self.until_quote() {
                return Kind::QuotedValue(name, value);
            }
            self.rest = rest;
        }
        Kind::Word(word)
    }
}

/// Without the brackets that have no other; a minus before such a one is before what follows.
fn paired(mut lexemes: Vec<Lexeme<'_>>) -> Vec<Lexeme<'_>> {
    let (mut open, mut alone) = (Vec::new(), vec![false; lexemes.len()]);
    for (at, (lexeme, alone)) in lexemes.iter().zip(&mut alone).enumerate() {
        match lexeme.kind {
            Kind::Open => open.push(at),
            Kind::Close => *alone = open.pop().is_none(),
            _ => {}
        }
    }
    for at in open {
        alone.get_mut(at).into_iter().for_each(|alone| *alone = true);
    }
    let (mut alone, mut negated) = (alone.into_iter(), false);
    lexemes.retain_mut(|lexeme| {
        if alone.next().unwrap_or_default() {
            negated |= lexeme.negated;
            return false;
        }
        if negated
            && matches!(
                lexeme.kind,
                Kind::Open | Kind::Phrase(_) | Kind::Word(_) | Kind::QuotedValue(..)
            )
        {
            lexeme.negated = true;
        }
        negated = false;
        true
    });
    lexemes
}
