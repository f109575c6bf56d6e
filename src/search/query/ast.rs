//! The tree of a query. What it names of accounts and records is still as somebody wrote it: see `resolve`.

use std::fmt;

use crate::search::analysis::{Analyzer, Term, Tokens};
use crate::search::document::Flag;
use crate::search::url_form::UrlForm;
use crate::syntax::datetime;

/// What a post has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<L> {
    /// All of these; of none, anything.
    And(Vec<Node<L>>),
    /// One of these; of none, nothing.
    Or(Vec<Node<L>>),
    /// Not this.
    Not(Box<Node<L>>),
    /// This.
    Leaf(L),
}

impl<L> Node<L> {
    /// What every post is.
    #[must_use]
    pub fn all() -> Self {
        Self::And(Vec::new())
    }

    /// What no post is.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Or(Vec::new())
    }

    /// Not this.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether it is what every post is.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self, Self::And(of) if of.is_empty())
    }

    /// All of these; one by itself is that one.
    pub(super) fn and(mut of: Vec<Self>) -> Self {
        if of.len() == 1 { of.pop().unwrap_or_else(Self::all) } else { Self::And(of) }
    }

    /// One of these; one by itself is that one.
    pub(super) fn or(mut of: Vec<Self>) -> Self {
        if of.len() == 1 { of.pop().unwrap_or_else(Self::nothing) } else { Self::Or(of) }
    }

    /// Calls `found` with every leaf.
    pub fn leaves<'a>(&'a self, found: &mut impl FnMut(&'a L)) {
        match self {
            Self::And(of) | Self::Or(of) => of.iter().for_each(|node| node.leaves(found)),
            Self::Not(node) => node.leaves(found),
            Self::Leaf(leaf) => found(leaf),
        }
    }

    /// Whether a leaf is such a one.
    pub fn any(&self, is: impl Fn(&L) -> bool) -> bool {
        let mut any = false;
        self.leaves(&mut |leaf| any |= is(leaf));
        any
    }

    /// The same tree with something else in place of each leaf.
    pub fn try_map<M, E>(
        &self,
        to: &mut impl FnMut(&L) -> Result<Node<M>, E>,
    ) -> Result<Node<M>, E> {
        let mut all =
            |of: &[Self]| of.iter().map(|node| node.try_map(to)).collect::<Result<Vec<_>, E>>();
        Ok(match self {
            Self::And(of) => Node::And(all(of)?),
            Self::Or(of) => Node::Or(all(of)?),
            Self::Not(node) => node.try_map(to)?.negated(),
            Self::Leaf(leaf) => to(leaf)?,
        })
    }
}

/// One condition of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// One that the record by itself decides.
    Plain(Plain),
    /// Written by this account.
    From(Account),
    /// Mentions this account.
    Mention(Account),
    /// Embeds this record.
    Embeds(RecordRef),
    /// Replies directly to this post.
    Parent(RecordRef),
    /// Is in the thread of this post.
    Thread(RecordRef),
    /// Is on this shelf of the viewer.
    In(Shelf),
}

/// A condition that a record by itself decides, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain {
    /// A word, anywhere, or equal to a tag.
    Word(Words),
    /// Words side by side in one text.
    Phrase(Words),
    /// Words side by side in what stands in place of a picture or video.
    Alt(Words),
    /// A tag, folded.
    Tag(String),
    /// A link to this host or one below.
    Domain(String),
    /// A link to this page.
    Url(UrlForm),
    /// A language: primary subtag or whole tag, in lower case.
    Lang(String),
    /// Not before this time, in milliseconds.
    Since(i64),
    /// Before this time.
    Until(i64),
    /// Has or is this.
    Flag(Flag),
}

/// Text that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// As typed, after NFKC.
    pub typed: String,
    /// Its tokens, which have to stand side by side.
    pub tokens: Tokens,
    /// The same with all marks.
    pub as_typed: Tokens,
    /// What else has to stand in the text, folded but with its signs: `c++`.
    pub literal: Option<String>,
    /// The tag that it would be.
    pub tag: String,
}

impl Words {
    /// Calls `found` with what the index is to have of it: of a long text, not all.
    pub fn terms<'a>(&'a self, found: &mut impl FnMut(Term<'a>)) {
        let mut left = Self::MOST_TERMS;
        self.tokens.terms(&mut |term| {
            if left > 0 {
                left -= 1;
                found(term);
            }
        });
    }

    /// Whether a text that has its terms has it: if not, the record is to be looked at.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let mut terms = 0;
        self.tokens.terms(&mut |_| terms += 1);
        terms == 1 && self.literal.is_none()
    }

    /// A term of an index as if it had been typed.
    #[must_use]
    pub fn of_term(analyzer: &mut Analyzer, term: &str) -> Option<Self> {
        words(analyzer, term).map(|words| Self { tag: term.to_owned(), ..words })
    }

    /// Terms that the index is asked for.
    const MOST_TERMS: usize = 32;
}

/// An account as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// Who asks.
    Me,
    /// Those whom the one who asks follows.
    Following,
    /// A handle, in lower case.
    Handle(String),
    /// A DID.
    Did(String),
}

impl Account {
    /// A handle or a DID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if crate::syntax::is_did(text) {
            return Some(Self::Did(text.to_owned()));
        }
        crate::syntax::is_handle(text).then(|| Self::Handle(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Me => "me",
            Self::Following => "following",
            Self::Handle(text) | Self::Did(text) => text,
        })
    }
}

/// A record as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordRef {
    /// Whose.
    pub account: Account,
    /// Of which collection.
    pub collection: String,
    /// Its key.
    pub rkey: String,
}

impl RecordRef {
    /// Its address, if the account has this DID.
    #[must_use]
    pub fn uri(&self, did: &str) -> String {
        format!("at://{did}/{}/{}", self.collection, self.rkey)
    }
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{}/{}", self.account, self.collection, self.rkey)
    }
}

/// Posts that the viewer has set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Liked.
    Likes,
    /// Bookmarked.
    Bookmarks,
    /// Own, liked, bookmarked, or those that mention the viewer.
    Library,
}

/// A tree as text that is parsed to the same tree, if it was parsed from text. Conditions that only parameters have are
/// written as operators that the grammar does not have.
impl fmt::Display for Node<Leaf> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(of) => join(f, of, " "),
            Self::Or(of) if of.is_empty() => f.write_str("nothing:"),
            Self::Or(of) => join(f, of, " OR "),
            Self::Not(node) => {
                f.write_str("-")?;
                inner(f, node)
            }
            Self::Leaf(leaf) => write!(f, "{leaf}"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, of: &[Node<Leaf>], between: &str) -> fmt::Result {
    for (at, node) in of.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        match node {
            Node::Not(_) => write!(f, "{node}")?,
            _ => inner(f, node)?,
        }
    }
    Ok(())
}

fn inner(f: &mut fmt::Formatter<'_>, node: &Node<Leaf>) -> fmt::Result {
    match node {
        Node::Leaf(leaf) => write!(f, "{leaf}"),
        _ => write!(f, "({node})"),
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain) => write!(f, "{plain}"),
            Self::From(account) => write!(f, "from:{account}"),
            Self::Mention(account) => write!(f, "to:{account}"),
            Self::Embeds(record) => write!(f, "url:{record}"),
            Self::Parent(record) => write!(f, "parent:{record}"),
            Self::Thread(record) => write!(f, "thread:{record}"),
            Self::In(Shelf::Likes) => f.write_str("in:likes"),
            Self::In(Shelf::Bookmarks) => f.write_str("in:bookmarks"),
            Self::In(Shelf::Library) => f.write_str("in:library"),
        }
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(words) => f.write_str(&words.typed),
            Self::Phrase(words) => write!(f, "\"{}\"", words.typed),
            Self::Alt(words) => write!(f, "alt:\"{}\"", words.typed),
            Self::Tag(tag) => write!(f, "#\"{tag}\""),
            Self::Domain(host) => write!(f, "domain:{host}"),
            Self::Url(form) => write!(f, "url:\"https://{}\"", form.as_str()),
            Self::Lang(tag) => write!(f, "lang:{tag}"),
            Self::Since(ms) => write!(f, "since:{}", datetime::format_ms(*ms)),
            Self::Until(ms) => write!(f, "until:{}", datetime::format_ms(*ms)),
            Self::Flag(Flag::Reply) => f.write_str("is:reply"),
            Self::Flag(flag) => write!(f, "has:{}", flag.term()),
        }
    }
}

/// Makes [`Words`] of texts.
pub(super) fn words(analyzer: &mut Analyzer, typed: &str) -> Option<Words> {
    let tokens = analyzer.query_tokens(typed);
    (!tokens.is_empty()).then(|| Words {
        typed: typed.to_owned(),
        tokens,
        as_typed: analyzer.tokens_as_typed(typed),
        literal: None,
        tag: String::new(),
    })
}
