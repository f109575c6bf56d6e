//! From lexemes to a tree.

use super::ast::{Leaf, Node, Plain, Words, words};
use super::lex::{Atom, Lexeme, lex, normal};
use super::operators::{self, plain};
use super::{MAX_CHARACTERS, MAX_DEPTH, MAX_TERMS, QueryError};
use crate::search::analysis::{Analyzer, fold};

/// The tree of a text.
pub fn parse(text: &str) -> Result<Node<Leaf>, QueryError> {
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        return Err(QueryError::TooLong);
    }
    let text = normal(text);
    let lexemes = groups(lex(&text));
    let mut parser =
        Parser { lexemes: lexemes.into_iter(), analyzer: Analyzer::default(), terms: 0 };
    Ok(parser.or(0)?.unwrap_or_else(Node::all))
}

/// Without the brackets that have no other.
fn groups(mut lexemes: Vec<Lexeme<'_>>) -> Vec<Lexeme<'_>> {
    let (mut open, mut single) = (Vec::new(), Vec::new());
    for (at, lexeme) in lexemes.iter().enumerate() {
        match lexeme {
            Lexeme::Open => open.push(at),
            Lexeme::Close if open.pop().is_none() => single.push(at),
            _ => {}
        }
    }
    if open.is_empty() && single.is_empty() {
        return lexemes;
    }
    single.extend(open);
    single.sort_unstable();
    let mut at = 0;
    lexemes.retain(|_| {
        at += 1;
        single.binary_search(&(at - 1)).is_err()
    });
    lexemes
}

/// What ends a part of the text.
enum End {
    Or,
    Group,
}

struct Parser<'a> {
    lexemes: std::vec::IntoIter<Lexeme<'a>>,
    analyzer: Analyzer,
    terms: usize,
}

type Parsed = Result<Option<Node<Leaf>>, QueryError>;

impl Parser<'_> {
    /// All up to the end of the group; `None` if it says nothing.
    fn or(&mut self, depth: usize) -> Parsed {
        if depth > MAX_DEPTH {
            return Err(QueryError::TooDeep);
        }
        let mut any = Vec::new();
        loop {
            let (node, end) = self.and(depth)?;
            any.extend(node);
            if let End::Group = end {
                return Ok((!any.is_empty()).then(|| Node::or(any)));
            }
        }
    }

    fn and(&mut self, depth: usize) -> Result<(Option<Node<Leaf>>, End), QueryError> {
        let mut all = Vec::new();
        let mut negates = false;
        let end = loop {
            let node = match self.lexemes.next() {
                None | Some(Lexeme::Close) => break End::Group,
                Some(Lexeme::Or) => break End::Or,
                Some(Lexeme::And) => None,
                Some(Lexeme::Minus) => {
                    negates = true;
                    continue;
                }
                Some(Lexeme::Open) => self.or(depth + 1)?,
                Some(Lexeme::Atom(atom)) => self.leaf(atom)?,
            };
            all.extend(node.map(|node| if negates { node.negated() } else { node }));
            negates = false;
        };
        let all = any_of_each_field(all);
        Ok(((!all.is_empty()).then(|| Node::and(all)), end))
    }

    fn leaf(&mut self, atom: Atom<'_>) -> Parsed {
        let node = match atom {
            Atom::Phrase(text) => self.phrase(text),
            Atom::Tag { tag, quoted } => {
                let tag = operators::tag(tag, quoted);
                (!tag.is_empty()).then(|| plain(Plain::Tag(tag)))
            }
            Atom::Url(url) => match operators::url(url) {
                Some(leaf) => Some(Node::Leaf(leaf)),
                None => self.phrase(url),
            },
            Atom::Operator { operator, value, quoted, name } => {
                match operator.with(value, &mut self.analyzer) {
                    Some(node) => Some(node),
                    None if quoted => self.phrase(&format!("{name}:{value}")),
                    None => self.word(&format!("{name}:{value}")),
                }
            }
            Atom::Word(word) => {
                let mention = operators::mention(word).map(Leaf::Mention);
                match mention.or_else(|| operators::did(word).map(Leaf::From)) {
                    Some(leaf) => Some(Node::Leaf(leaf)),
                    None => self.word(word),
                }
            }
        };
        self.terms += usize::from(node.is_some());
        if self.terms > MAX_TERMS { Err(QueryError::TooManyTerms) } else { Ok(node) }
    }

    fn word(&mut self, typed: &str) -> Option<Node<Leaf>> {
        let words = words(&mut self.analyzer, typed)?;
        let tag = operators::tag(typed, false);
        Some(plain(Plain::Word(Words { literal: literal(typed), tag, ..words })))
    }

    fn phrase(&mut self, typed: &str) -> Option<Node<Leaf>> {
        Some(plain(Plain::Phrase(words(&mut self.analyzer, typed)?)))
    }
}

/// What of a word has to stand in the text as it is: it has a sign that is part of names, `c++`, `c#`.
fn literal(typed: &str) -> Option<String> {
    let is_sign = |c: char| matches!(c, '+' | '#');
    let word = typed
        .trim_start_matches(|c: char| !c.is_alphanumeric())
        .trim_end_matches(|c: char| !c.is_alphanumeric() && !is_sign(c));
    let mut before = ' ';
    let has = word.chars().any(|c| {
        let named = is_sign(c) && before.is_alphanumeric();
        before = c;
        named
    });
    has.then(|| fold(word))
}

/// Of conditions that only one value can fulfil, several are any of them: nobody is two authors.
fn any_of_each_field(all: Vec<Node<Leaf>>) -> Vec<Node<Leaf>> {
    let mut out: Vec<(u8, Vec<Node<Leaf>>)> = Vec::with_capacity(all.len());
    for node in all {
        let field = match &node {
            Node::Leaf(Leaf::From(_)) => 1,
            Node::Leaf(Leaf::Plain(Plain::Lang(_))) => 2,
            Node::Leaf(Leaf::Plain(Plain::Domain(_))) => 3,
            Node::Leaf(Leaf::Plain(Plain::Url(_)) | Leaf::Embeds(_)) => 4,
            _ => 0,
        };
        match out.iter_mut().find(|(known, _)| field != 0 && *known == field) {
            Some((_, of)) => of.push(node),
            None => out.push((field, vec![node])),
        }
    }
    out.into_iter().map(|(_, of)| Node::or(of)).collect()
}
