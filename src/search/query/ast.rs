//! What a query means: conditions on a post, joined by and, or and not.

use std::fmt;

use super::text::Text;
use crate::search::document::Flag;
use crate::search::url_form::UrlForm;
use crate::syntax::datetime::format_ms;

/// A condition on a post. `A` is how accounts are named: as they were written, or by what they were resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query<A> {
    /// Every post.
    All,
    /// No post.
    Nothing,
    /// It says this.
    Text(Text),
    /// It has this tag; folded.
    Tag(String),
    /// It is by one of these.
    From(Vec<Author<A>>),
    /// It mentions this account.
    Mentions(A),
    /// It links to one of these hosts, or to one below.
    Domains(Vec<String>),
    /// It links to one of these.
    Links(Vec<Link<A>>),
    /// It is in one of these languages: terms of [`PostDocument::lang_terms`].
    ///
    /// [`PostDocument::lang_terms`]: crate::search::document::PostDocument::lang_terms
    Langs(Vec<String>),
    /// It is of this time or later; milliseconds.
    Since(i64),
    /// It is of before this time.
    Until(i64),
    /// It has or is this.
    Has(Flag),
    /// The viewer has it there.
    In(Shelf),
    /// It quotes this record.
    Quotes(Record<A>),
    /// It replies to this record.
    Parent(Record<A>),
    /// It is in the thread of this record.
    Root(Record<A>),
    /// All of these; two or more.
    And(Vec<Self>),
    /// One of these; two or more.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

/// An account as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// The viewer.
    Me,
    /// A handle or a DID.
    Named(String),
}

/// Who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author<A> {
    /// This account.
    One(A),
    /// Somebody whom the viewer follows.
    Following,
}

/// Where a viewer keeps posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// What it likes.
    Likes,
    /// What it has bookmarked.
    Bookmarks,
    /// Both, its own posts and those that mention it.
    Library,
}

impl Shelf {
    pub(super) const NAMES: [(&str, Self); 3] =
        [("likes", Self::Likes), ("bookmarks", Self::Bookmarks), ("library", Self::Library)];
}

/// A record of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<A> {
    /// Whose.
    pub author: A,
    /// Its collection.
    pub collection: String,
    /// Its record key.
    pub rkey: String,
}

/// What a post may link to, or quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<A> {
    /// As it was written.
    pub text: String,
    /// The page.
    pub page: Option<UrlForm>,
    /// The post that it is the address of.
    pub post: Option<Record<A>>,
}

impl<A: PartialEq> Query<A> {
    /// All of these; of several lists of the same field, any value.
    #[must_use]
    pub fn all(parts: Vec<Self>) -> Self {
        let parts = flat(parts, |part| match part {
            Self::And(inner) => Ok(inner),
            other => Err(other),
        });
        let mut out: Vec<Self> = Vec::with_capacity(parts.len());
        for part in parts {
            let mut left = Some(part);
            for known in &mut out {
                left = left.and_then(|part| known.take_in(part));
            }
            out.extend(left);
        }
        Self::every(out)
    }

    /// Both of these, neither of which widens the other.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self::every(vec![self, other])
    }

    /// All of these, as they are; of none, everything.
    #[must_use]
    pub fn every(mut parts: Vec<Self>) -> Self {
        if parts.contains(&Self::Nothing) {
            return Self::Nothing;
        }
        parts.retain(|part| *part != Self::All);
        one_or(parts, Self::And).unwrap_or(Self::All)
    }

    /// Any of these; of none, nothing.
    #[must_use]
    pub fn any(parts: Vec<Self>) -> Self {
        let mut parts = flat(parts, |part| match part {
            Self::Or(inner) => Ok(inner),
            other => Err(other),
        });
        if parts.contains(&Self::All) {
            return Self::All;
        }
        parts.retain(|part| *part != Self::Nothing);
        one_or(parts, Self::Or).unwrap_or(Self::Nothing)
    }

    /// Not this.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            Self::All => Self::Nothing,
            Self::Nothing => Self::All,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Calls `found` with every text that a post may be found by: those that it must not have are left out.
    pub fn texts<'a>(&'a self, found: &mut impl FnMut(&'a Text)) {
        match self {
            Self::Text(text) => found(text),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.texts(found)),
            _ => {}
        }
    }

    /// Adds the values of another list of the same field; gives back what is none.
    fn take_in(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::From(to), Self::From(from)) => add(to, from),
            (Self::Domains(to), Self::Domains(from)) | (Self::Langs(to), Self::Langs(from)) => {
                add(to, from);
            }
            (Self::Links(to), Self::Links(from)) => add(to, from),
            (_, other) => return Some(other),
        }
        None
    }
}

fn add<T: PartialEq>(to: &mut Vec<T>, from: Vec<T>) {
    for value in from {
        if !to.contains(&value) {
            to.push(value);
        }
    }
}

/// With the parts of parts in place of those; what has parts was made here, so that one level is all there is.
fn flat<T>(parts: Vec<T>, open: impl Fn(T) -> Result<Vec<T>, T>) -> Vec<T> {
    parts.into_iter().flat_map(|part| open(part).unwrap_or_else(|part| vec![part])).collect()
}

fn one_or<T>(mut parts: Vec<T>, join: impl Fn(Vec<T>) -> T) -> Option<T> {
    let last = parts.pop()?;
    if parts.is_empty() {
        return Some(last);
    }
    parts.push(last);
    Some(join(parts))
}

/// Written in the query language, where it has words for it; parsed again it is the same.
impl fmt::Display for Query<Account> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Nothing => f.write_str("nothing:"),
            Self::Text(text) => write!(f, "{text}"),
            Self::Tag(tag) => write!(f, "#{tag}"),
            Self::From(authors) => list(f, authors, |author, f| match author {
                Author::One(account) => write!(f, "from:{account}"),
                Author::Following => f.write_str("from:following"),
            }),
            Self::Mentions(account) => write!(f, "to:{account}"),
            Self::Domains(domains) => list(f, domains, |domain, f| write!(f, "domain:{domain}")),
            Self::Links(links) => list(f, links, |link, f| write!(f, "url:\"{}\"", link.text)),
            Self::Langs(langs) => list(f, langs, |lang, f| write!(f, "lang:{lang}")),
            Self::Since(ms) => write!(f, "since:{}", format_ms(*ms)),
            Self::Until(ms) => write!(f, "until:{}", format_ms(*ms)),
            Self::Has(Flag::Reply) => f.write_str("is:reply"),
            Self::Has(flag) => write!(f, "has:{}", flag.term()),
            Self::In(shelf) => {
                let name = Shelf::NAMES.iter().find(|(_, known)| known == shelf);
                write!(f, "in:{}", name.map_or("", |(name, _)| name))
            }
            Self::Quotes(record) => write!(f, "quotes:{record}"),
            Self::Parent(record) => write!(f, "parent:{record}"),
            Self::Root(record) => write!(f, "root:{record}"),
            Self::And(parts) => list(f, parts, |part, f| match part {
                Self::Or(_) | Self::And(_) => write!(f, "( {part} )"),
                _ => write!(f, "{part}"),
            }),
            Self::Or(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { " OR " })?;
                    write!(f, "{part}")?;
                }
                Ok(())
            }
            Self::Not(inner) => match &**inner {
                Self::Text(_) | Self::Tag(_) | Self::Has(_) | Self::In(_) => write!(f, "-{inner}"),
                _ => write!(f, "-( {inner} )"),
            },
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Me => "me",
            Self::Named(name) => name,
        })
    }
}

impl<A: fmt::Display> fmt::Display for Record<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{}/{}", self.author, self.collection, self.rkey)
    }
}

/// Values of a field, or parts that all hold, with a space between.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    parts: &[T],
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { " " })?;
        write(part, f)?;
    }
    Ok(())
}
