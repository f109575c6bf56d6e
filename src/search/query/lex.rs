//! From text to what the grammar is made of.
//!
//! ```text
//! query = or ;                 or  = and { ("OR" | "|") and } ;       and = { ["AND"] unit } ;
//! unit  = [ minus ] atom ;                              (* the minus only directly before an atom *)
//! atom  = "(" or ")" | phrase | op ":" value | "#" tag | "@" handle | url | did | word ;
//! ```

use icu_normalizer::ComposingNormalizerBorrowed;

use super::operators::Operator;
use crate::search::url_form::UrlForm;
use crate::syntax::AtUriRef;

/// What the grammar is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme<'a> {
    Open,
    Close,
    Or,
    And,
    Minus,
    Atom(Atom<'a>),
}

/// What a leaf is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atom<'a> {
    Phrase(&'a str),
    Operator {
        operator: Operator,
        value: &'a str,
        quoted: bool,
        name: &'a str,
    },
    /// Without its sign.
    Tag {
        tag: &'a str,
        quoted: bool,
    },
    /// A URL that can be read.
    Url(&'a str),
    /// Any other word; of a mention with its sign.
    Word(&'a str),
}

/// The text that is read: NFKC, one kind of space, nothing invisible. What joins emoji stays, since without it they are
/// others.
pub(super) fn normal(text: &str) -> String {
    if text.bytes().all(|b| (b' '..0x7f).contains(&b)) {
        return text.to_owned();
    }
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let nfkc = ComposingNormalizerBorrowed::new_nfkc().normalize(&visible);
    let spaced = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    nfkc.chars().map(spaced).collect()
}

/// Bidi controls and what has no width.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

pub(super) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '‟')
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '−' | '–')
}

fn ends_word(c: char) -> bool {
    c == ' ' || matches!(c, '(' | ')' | '|') || is_quote(c)
}

/// All of a text that [`normal`] made.
pub(super) fn lex(text: &str) -> Vec<Lexeme<'_>> {
    let mut lexer = Lexer { rest: text, out: Vec::new() };
    while lexer.step() {}
    lexer.out
}

struct Lexer<'a> {
    rest: &'a str,
    out: Vec<Lexeme<'a>>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> bool {
        let Some(c) = self.rest.chars().next() else { return false };
        let after_minus = self.out.last() == Some(&Lexeme::Minus);
        match c {
            ' ' => self.skip(c),
            '(' => self.sign(c, Lexeme::Open),
            ')' => self.sign(c, Lexeme::Close),
            '|' => self.sign(c, Lexeme::Or),
            _ if is_quote(c) => match self.quoted() {
                Some(inner) => self.out.push(Lexeme::Atom(Atom::Phrase(inner))),
                None => self.skip(c),
            },
            _ if is_minus(c) && !after_minus => {
                self.skip(c);
                // Alone it says nothing.
                let next = self.rest.chars().next();
                if next.is_some_and(|next| !matches!(next, ' ' | ')' | '|')) {
                    self.out.push(Lexeme::Minus);
                }
            }
            '#' => self.tag(),
            _ => self.word(after_minus),
        }
        true
    }

    fn skip(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
    }

    fn sign(&mut self, c: char, lexeme: Lexeme<'a>) {
        self.skip(c);
        self.out.push(lexeme);
    }

    /// What stands between the quote here and the next one, if there is one.
    fn quoted(&mut self) -> Option<&'a str> {
        let mut chars = self.rest.chars();
        chars.next().filter(|c| is_quote(*c))?;
        let (inner, after) = chars.as_str().split_once(is_quote)?;
        self.rest = after;
        Some(inner)
    }

    /// All up to where `ends` says.
    fn take(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn tag(&mut self) {
        self.skip('#');
        let quoted = self.quoted();
        let tag = quoted.unwrap_or_else(|| self.take(ends_word));
        self.out.push(Lexeme::Atom(Atom::Tag { tag, quoted: quoted.is_some() }));
    }

    fn word(&mut self, after_minus: bool) {
        if let Some(atom) = self.operator().or_else(|| self.url().map(Atom::Url)) {
            self.out.push(Lexeme::Atom(atom));
            return;
        }
        // It is not empty: what ends a word was read before.
        let word = self.take(ends_word);
        self.out.push(match word {
            "OR" if !after_minus => Lexeme::Or,
            "AND" if !after_minus => Lexeme::And,
            _ => Lexeme::Atom(Atom::Word(word)),
        });
    }

    fn operator(&mut self) -> Option<Atom<'a>> {
        let begin = self.rest;
        // No name is longer; looking further at each word would take the square of the text.
        let name = begin.get(..begin.bytes().take(16).position(|b| b == b':')?)?;
        let operator = Operator::named(name)?;
        self.rest = begin.get(name.len() + 1..)?;
        if let Some(value) = self.quoted() {
            return Some(Atom::Operator { operator, value, quoted: true, name });
        }
        // A quote that is never closed is as if it were not there.
        if let Some(c) = self.rest.chars().next().filter(|c| is_quote(*c)) {
            self.skip(c);
        }
        let value = self.take(|c| c == ' ' || c == ')' || is_quote(c));
        Some(Atom::Operator { operator, value, quoted: false, name })
    }

    /// A URL that can be read; a bracket at its end belongs to it only if it is opened in it.
    fn url(&mut self) -> Option<&'a str> {
        let begins = |with: &str| {
            self.rest.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with))
        };
        if !begins("http://") && !begins("https://") && !begins("at://") {
            return None;
        }
        let all = self.rest.split(|c| c == ' ' || is_quote(c)).next().unwrap_or_default();
        let mut open = 0usize;
        let end = all.find(|c| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return true,
                ')' => open -= 1,
                _ => {}
            }
            false
        });
        // What is no URL with its brackets may be one without.
        let short = all.split(ends_word).next().unwrap_or_default();
        let url = [all.get(..end.unwrap_or(all.len()))?, short].into_iter().find(|url| {
            AtUriRef::parse(url).is_some_and(|uri| uri.rkey.is_some())
                || UrlForm::parse(url).is_some()
        })?;
        self.rest = self.rest.get(url.len()..)?;
        Some(url)
    }
}
