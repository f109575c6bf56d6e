//! Whether a record is what a query asks for, and how well it fits. The index only knows which words it has.

use super::ast::{Node, Plain, Words};
use super::boundaries;
use super::resolve::Test;
use crate::schema::PostId;
use crate::search::analysis::{Analyzer, Tokens, fold, tag_term};
use crate::search::document::PostDocument;
use crate::search::url_form::UrlForm;

/// A post that may fit.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a, 'r> {
    /// Which.
    pub post: PostId,
    /// Its place in lists by time, in milliseconds.
    pub sort: i64,
    /// What is searched of it.
    pub document: &'a PostDocument<'r>,
}

/// Points of a post that has all words in its body, and again if they stand there in this order.
const IN_BODY: i32 = 2;
/// Points if they have the marks that were typed.
const AS_TYPED: i32 = 1;
/// Points less for what looks like an advertisement.
const STUFFED: i32 = 2;
/// A word of the query more often than that does.
const MOST_REPEATED: usize = 3;
/// So do more tags.
const MOST_TAGS: usize = 8;

/// Reads candidates; its buffers serve all of them.
#[derive(Debug, Default)]
pub struct Verifier {
    analyzer: Analyzer,
}

impl Verifier {
    /// A candidate, of which is read what is asked about.
    pub fn read<'a, 'r>(&'a mut self, subject: Subject<'a, 'r>) -> Reading<'a, 'r> {
        Reading {
            analyzer: &mut self.analyzer,
            subject,
            body: None,
            alts: None,
            card: None,
            folded: None,
            tags: None,
            urls: None,
        }
    }
}

/// A candidate that is being read.
#[derive(Debug)]
pub struct Reading<'a, 'r> {
    analyzer: &'a mut Analyzer,
    subject: Subject<'a, 'r>,
    body: Option<Tokens>,
    alts: Option<Vec<Tokens>>,
    card: Option<Vec<Tokens>>,
    folded: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    urls: Option<Vec<UrlForm>>,
}

impl Reading<'_, '_> {
    /// Whether it fits.
    #[must_use]
    pub fn fits(&mut self, query: &Node<Test>) -> bool {
        match query {
            Node::And(of) => of.iter().all(|node| self.fits(node)),
            Node::Or(of) => of.iter().any(|node| self.fits(node)),
            Node::Not(node) => !self.fits(node),
            Node::Leaf(test) => self.passes(test),
        }
    }

    fn passes(&mut self, test: &Test) -> bool {
        let (post, document) = (self.subject.post, self.subject.document);
        match test {
            Test::Plain(plain) => self.plain(plain),
            Test::From(actor) => post.author == *actor,
            Test::FromAny(actors) => actors.contains(&post.author),
            Test::Mention(known) => document.mentions.contains(&known.did.as_str()),
            Test::Posts(posts) => posts.contains(&post),
            Test::Embeds(target) => document.quote == Some(target.uri.as_str()),
            Test::Parent(target) => document.reply_parent == Some(target.uri.as_str()),
            Test::Thread(target) => {
                target.post == Some(post) || document.reply_root == Some(target.uri.as_str())
            }
        }
    }

    fn plain(&mut self, plain: &Plain) -> bool {
        let document = self.subject.document;
        match plain {
            Plain::Word(words) => match &words.literal {
                Some(literal) => {
                    self.has_tag(&words.tag)
                        || self.folded().iter().any(|text| has_literal(text, literal))
                }
                None => self.has_text(words) || self.has_tag(&words.tag),
            },
            Plain::Phrase(words) => self.has_text(words),
            Plain::Alt(words) => self.alts().iter().any(|text| has(text, words)),
            Plain::Tag(tag) => self.has_tag(tag),
            Plain::Domain(domain) => {
                self.urls().iter().any(|form| form.domains().any(|known| known == domain))
            }
            Plain::Url(wanted) => self.urls().contains(wanted),
            Plain::Lang(wanted) => {
                let mut any = false;
                document.lang_terms(&mut |term| any |= term == wanted);
                any
            }
            Plain::Since(ms) => self.subject.sort >= *ms,
            Plain::Until(ms) => self.subject.sort < *ms,
            Plain::Flag(flag) => document.has(*flag),
        }
    }

    /// How well a post that fits does so, beside its interactions and its age.
    #[must_use]
    pub fn quality(&mut self, query: &Node<Test>) -> i32 {
        let mut wanted = Vec::new();
        self.wanted(query, &mut wanted);
        let mut points = 0;
        let document = self.subject.document;
        if document.tags.len() > MOST_TAGS {
            points -= STUFFED;
        }
        let body = self.body();
        let all = !wanted.is_empty() && wanted.iter().all(|words| has(body, words));
        if all {
            points += IN_BODY;
            if side_by_side(body, &wanted) {
                points += IN_BODY;
            }
        }
        if wanted.iter().any(|words| body.all(&words.tokens).nth(MOST_REPEATED).is_some()) {
            points -= STUFFED;
        }
        if all {
            points += boundaries::points(document.body, body, &wanted);
            let typed = self.analyzer.tokens_as_typed(document.body);
            if wanted.iter().all(|words| typed.find(&words.as_typed, 0).is_some()) {
                points += AS_TYPED;
            }
        }
        points
    }

    /// The words that made it fit.
    fn wanted<'q>(&mut self, query: &'q Node<Test>, out: &mut Vec<&'q Words>) {
        match query {
            Node::And(of) => of.iter().for_each(|node| self.wanted(node, out)),
            Node::Or(of) => {
                if let Some(node) = of.iter().find(|node| self.fits(node)) {
                    self.wanted(node, out);
                }
            }
            Node::Leaf(Test::Plain(Plain::Word(words) | Plain::Phrase(words))) => out.push(words),
            Node::Leaf(_) | Node::Not(_) => {}
        }
    }

    fn has_text(&mut self, words: &Words) -> bool {
        has(self.body(), words)
            || self.alts().iter().any(|text| has(text, words))
            || self.card().iter().any(|text| has(text, words))
    }

    fn has_tag(&mut self, tag: &str) -> bool {
        let document = self.subject.document;
        let tags = self
            .tags
            .get_or_insert_with(|| document.tags.iter().map(|tag| tag_term(tag)).collect());
        !tag.is_empty() && tags.iter().any(|known| known == tag)
    }

    fn folded(&mut self) -> &[String] {
        let document = self.subject.document;
        self.folded.get_or_insert_with(|| document.texts().map(fold).collect())
    }

    fn urls(&mut self) -> &[UrlForm] {
        let document = self.subject.document;
        self.urls.get_or_insert_with(|| document.urls().collect())
    }

    fn body(&mut self) -> &Tokens {
        self.body.get_or_insert_with(|| self.analyzer.tokens(self.subject.document.body))
    }

    fn alts(&mut self) -> &[Tokens] {
        let texts = &self.subject.document.alts;
        self.alts
            .get_or_insert_with(|| texts.iter().map(|text| self.analyzer.tokens(text)).collect())
    }

    fn card(&mut self) -> &[Tokens] {
        let texts = &self.subject.document.card;
        self.card
            .get_or_insert_with(|| texts.iter().map(|text| self.analyzer.tokens(text)).collect())
    }
}

fn has(text: &Tokens, words: &Words) -> bool {
    text.find(&words.tokens, 0).is_some()
}

/// Whether more than one stand in a row, in their order.
fn side_by_side(text: &Tokens, wanted: &[&Words]) -> bool {
    let Some((first, others)) = wanted.split_first().filter(|(_, others)| !others.is_empty())
    else {
        return false;
    };
    let mut from = 0;
    while let Some(found) = text.find(&first.tokens, from) {
        let end = others.iter().try_fold(found.end, |at, words| text.end_of(&words.tokens, at));
        if end.is_some() {
            return true;
        }
        from = found.start + 1;
    }
    false
}

/// Whether a folded text has this, not as a part of a longer name.
fn has_literal(text: &str, literal: &str) -> bool {
    let ends_as_word = literal.chars().next_back().is_some_and(char::is_alphanumeric);
    text.match_indices(literal).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + literal.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(char::is_alphanumeric)
            && !after
                .is_some_and(|c| if ends_as_word { c.is_alphanumeric() } else { "+#".contains(c) })
    })
}
