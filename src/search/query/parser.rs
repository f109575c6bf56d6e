//! From the text of a query to what it means. Only what is too long, has too many terms or is too deep is refused; whatever
//! else is typed means something, if need be the words themselves.

use super::ast::{Account, Author, Query, Shelf};
use super::error::QueryError;
use super::lexer::{Kind, Lexeme, cleaned, lexemes};
use super::text::{Place, Text};
use super::values::{self, When};
use crate::search::analysis::tag_term;
use crate::search::document::Flag;
use crate::search::url_form;

/// Terms of the longest query.
pub const MAX_TERMS: usize = 64;
/// Groups in one another.
pub const MAX_DEPTH: usize = 16;

/// What ends a sentence, and with it a tag or a handle in it.
const STOPS: [char; 11] = ['.', ',', ';', ':', '!', '?', '、', '。', '،', '؟', '।'];

/// Words that join others.
const JOINS: [&str; 2] = ["OR", "AND"];

type Asked = Query<Account>;

/// Reads a query; [`Query::All`] if nothing is asked for.
pub fn parse(text: &str) -> Result<Query<Account>, QueryError> {
    let text = cleaned(text)?;
    let lexemes = lexemes(&text);
    let mut parser = Parser { lexemes: lexemes.iter(), terms: 0 };
    if let Some(query) = parser.or(0)? {
        return Ok(query);
    }
    // Words that join nothing are words.
    let word = text.split(' ').find(|word| JOINS.contains(word));
    let word = word.and_then(|word| Text::phrase(word, Place::Anywhere));
    Ok(word.map_or(Query::All, Query::Text))
}

struct Parser<'a> {
    lexemes: std::slice::Iter<'a, Lexeme<'a>>,
    terms: usize,
}

impl Parser<'_> {
    fn or(&mut self, depth: usize) -> Result<Option<Asked>, QueryError> {
        if depth > MAX_DEPTH {
            return Err(QueryError::BadQuery("query has groups that are too deep"));
        }
        let mut arms = Vec::new();
        loop {
            arms.extend(self.and(depth)?);
            // Its own bracket, if any, is read by whoever opened it.
            match self.lexemes.as_slice().first().map(|lexeme| lexeme.kind) {
                Some(Kind::Or) => _ = self.lexemes.next(),
                _ => break,
            }
        }
        Ok((!arms.is_empty()).then(|| Query::any(arms)))
    }

    fn and(&mut self, depth: usize) -> Result<Option<Asked>, QueryError> {
        let mut units = Vec::new();
        while let Some(lexeme) = self.lexemes.as_slice().first() {
            let unit = match lexeme.kind {
                Kind::Or | Kind::Close => break,
                Kind::And => {
                    self.lexemes.next();
                    continue;
                }
                Kind::Open => {
                    self.lexemes.next();
                    let group = self.or(depth + 1)?;
                    // Brackets come in pairs.
                    self.lexemes.next();
                    group
                }
                kind => {
                    self.lexemes.next();
                    self.atom(kind)?
                }
            };
            units.extend(unit.map(|unit| if lexeme.negated { unit.negated() } else { unit }));
        }
        Ok((!units.is_empty()).then(|| Query::all(units)))
    }

    fn atom(&mut self, kind: Kind<'_>) -> Result<Option<Asked>, QueryError> {
        let atom = match kind {
            Kind::Phrase(text) => Text::phrase(text, Place::Anywhere).map(Query::Text),
            Kind::QuotedValue(name, value) => operator(name, value, true).or_else(|| {
                Text::phrase(&format!("{name}:{value}"), Place::Anywhere).map(Query::Text)
            }),
            Kind::Word(text) => word(text),
            Kind::Open | Kind::Close | Kind::Or | Kind::And => None,
        };
        self.terms += usize::from(atom.is_some());
        if self.terms > MAX_TERMS {
            return Err(QueryError::BadQuery("query has more than 64 terms"));
        }
        Ok(atom)
    }
}

fn word(text: &str) -> Option<Asked> {
    let literal = || {
        // Where it is printed it must not join.
        let make = if JOINS.contains(&text) { Text::phrase } else { Text::word };
        make(text, Place::Anywhere).map(Query::Text)
    };
    if let Some(tag) = text.strip_prefix('#') {
        let tag = tag_term(tag.trim_start_matches('#'));
        let tag = tag.trim_end_matches(STOPS);
        return if tag.is_empty() { literal() } else { Some(Query::Tag(tag.to_owned())) };
    }
    if let Some(handle) = text.strip_prefix('@') {
        return values::named(handle.trim_end_matches(STOPS)).map(Query::Mentions).or_else(literal);
    }
    if text.starts_with("did:") {
        let account = values::named(text);
        return account.map(|account| Query::From(vec![Author::One(account)])).or_else(literal);
    }
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    if ["http://", "https://", "at://"].into_iter().any(begins) {
        return values::link(text).map(|link| Query::Links(vec![link])).or_else(literal);
    }
    let operator = text.split_once(':').and_then(|(name, value)| operator(name, value, false));
    operator.or_else(literal)
}

/// What an operator says; `None` if there is no such operator, or it has no such value.
fn operator(name: &str, value: &str, quoted: bool) -> Option<Asked> {
    let value_of = |known: &[(&str, Asked)]| {
        known.iter().find(|(text, _)| text.eq_ignore_ascii_case(value)).map(|(_, is)| is.clone())
    };
    match name.to_ascii_lowercase().as_str() {
        "from" | "author" | "by" => {
            let author = if value.eq_ignore_ascii_case("following") {
                Author::Following
            } else {
                Author::One(values::account(value)?)
            };
            Some(Query::From(vec![author]))
        }
        "to" | "mentions" => values::account(value).map(Query::Mentions),
        "domain" | "site" => url_form::domain(value).map(|domain| Query::Domains(vec![domain])),
        "url" => values::link(value).map(|link| Query::Links(vec![link])),
        "lang" | "language" => values::lang(value).map(|lang| Query::Langs(vec![lang])),
        "since" => When::parse(value).map(|when| Query::Since(when.start)),
        "after" => When::parse(value).map(|when| Query::Since(when.end)),
        "until" | "before" => When::parse(value).map(|when| Query::Until(when.start)),
        "has" | "filter" => value_of(&[
            ("media", Query::Has(Flag::Media)),
            ("image", Query::Has(Flag::Image)),
            ("images", Query::Has(Flag::Image)),
            ("video", Query::Has(Flag::Video)),
            ("videos", Query::Has(Flag::Video)),
            ("link", Query::Has(Flag::Link)),
            ("links", Query::Has(Flag::Link)),
            ("quote", Query::Has(Flag::Quote)),
            ("alt", Query::Has(Flag::Alt)),
        ]),
        "is" => value_of(&[
            ("reply", Query::Has(Flag::Reply)),
            ("quote", Query::Has(Flag::Quote)),
            ("post", Query::Has(Flag::Reply).negated()),
        ]),
        "in" => value_of(&Shelf::NAMES.map(|(name, shelf)| (name, Query::In(shelf)))),
        "replies" => value_of(&[
            ("only", Query::Has(Flag::Reply)),
            ("none", Query::Has(Flag::Reply).negated()),
        ]),
        "media" => value_of(&[
            ("true", Query::Has(Flag::Media)),
            ("false", Query::Has(Flag::Media).negated()),
        ]),
        "alt" => {
            let make = if quoted { Text::phrase } else { Text::word };
            make(value, Place::Alt).map(Query::Text)
        }
        _ => None,
    }
}
