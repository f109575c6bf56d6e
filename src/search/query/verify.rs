//! Whether a post is what a query asks for, by its record, and how well its text fits.

use std::ops::Range;

use super::ast::{Author, Query, Shelf};
use super::resolve::Person;
use super::text::{Place, Text};
use crate::schema::ActorId;
use crate::search::analysis::{Analyzer, Tokens, nfkc, tag_term};
use crate::search::document::PostDocument;

/// What is asked of a viewer about a post.
pub trait Viewer {
    /// Whether the viewer follows this account.
    fn follows(&self, author: ActorId) -> bool;
    /// Whether the viewer likes the post, or has bookmarked it.
    fn has(&self, shelf: Shelf) -> bool;
}

/// A post that may be what is asked for.
pub struct Candidate<'a> {
    document: &'a PostDocument<'a>,
    author: ActorId,
    sort_at: i64,
    viewer: &'a dyn Viewer,
    body: Part<'a>,
    alts: Vec<Part<'a>>,
    card: Vec<Part<'a>>,
    tags: Vec<String>,
}

struct Part<'a> {
    text: &'a str,
    tokens: Tokens,
}

impl<'a> Candidate<'a> {
    /// Reads a post.
    #[must_use]
    pub fn new(
        document: &'a PostDocument<'a>,
        (author, sort_at): (ActorId, i64),
        viewer: &'a dyn Viewer,
        analyzer: &mut Analyzer,
    ) -> Self {
        let mut part = |text: &&'a str| Part { text, tokens: analyzer.tokens(text) };
        Self {
            body: part(&document.body),
            alts: document.alts.iter().map(&mut part).collect(),
            card: document.card.iter().map(&mut part).collect(),
            tags: document.tags.iter().map(|tag| tag_term(tag)).collect(),
            document,
            author,
            sort_at,
            viewer,
        }
    }

    /// Whether it is what is asked for.
    #[must_use]
    pub fn is(&self, query: &Query<Person>) -> bool {
        let document = self.document;
        match query {
            Query::All => true,
            Query::Nothing => false,
            Query::Text(text) => self.says(text),
            Query::Tag(tag) => self.tags.contains(tag),
            Query::From(authors) => authors.iter().any(|author| match author {
                Author::One(person) => person.actor == Some(self.author),
                Author::Following => self.viewer.follows(self.author),
            }),
            Query::Mentions(person) => document.mentions.contains(&person.did.as_str()),
            Query::Domains(domains) => document
                .urls()
                .any(|url| url.domains().any(|domain| domains.iter().any(|known| known == domain))),
            Query::Links(links) => {
                links.iter().any(|link| {
                    link.post
                        .as_ref()
                        .is_some_and(|post| document.quote.is_some_and(|uri| post.is_at(uri)))
                }) || document
                    .urls()
                    .any(|url| links.iter().any(|link| link.page.as_ref() == Some(&url)))
            }
            Query::Langs(langs) => {
                let mut found = false;
                document.lang_terms(&mut |term| found |= langs.iter().any(|lang| lang == term));
                found
            }
            Query::Since(ms) => self.sort_at >= *ms,
            Query::Until(ms) => self.sort_at < *ms,
            Query::Has(flag) => document.has(*flag),
            Query::In(shelf) => self.viewer.has(*shelf),
            Query::Quotes(record) => document.quote.is_some_and(|uri| record.is_at(uri)),
            Query::Parent(record) => document.reply_parent.is_some_and(|uri| record.is_at(uri)),
            Query::Root(record) => document.reply_root.is_some_and(|uri| record.is_at(uri)),
            Query::And(parts) => parts.iter().all(|part| self.is(part)),
            Query::Or(parts) => parts.iter().any(|part| self.is(part)),
            Query::Not(inner) => !self.is(inner),
        }
    }

    fn says(&self, text: &Text) -> bool {
        if self.alts.iter().any(|part| part.says(text)) {
            return true;
        }
        text.place() == Place::Anywhere
            && (self.body.says(text)
                || self.card.iter().any(|part| part.says(text))
                || text.tag().is_some_and(|tag| self.tags.iter().any(|known| known == tag)))
    }
}

impl Part<'_> {
    fn says(&self, text: &Text) -> bool {
        self.find(text).is_some()
    }

    /// The tokens that are this text.
    fn find(&self, text: &Text) -> Option<Range<usize>> {
        let literal = text.literal();
        let normal = if literal.is_empty() { None } else { Some(nfkc(self.text)) };
        let mut from = 0;
        while let Some(found) = self.tokens.find(text.tokens(), from) {
            let Some(normal) = &normal else { return Some(found) };
            let last = found.end.checked_sub(1).and_then(|last| self.tokens.get(last));
            let after = last.and_then(|(token, _)| normal.get(token.at.end..)).unwrap_or_default();
            // As many as were typed: `c+` is not `c++`.
            let follows =
                after.strip_prefix(literal).is_some_and(|rest| !rest.starts_with(['+', '#']));
            if follows {
                return Some(found);
            }
            from = found.start + 1;
        }
        None
    }
}
