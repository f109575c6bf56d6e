//! From names to accounts: who `me` is, which DID has a handle, and what an unknown one means.

use super::ast::{Account, Author, Link, Query, Record, Shelf};
use crate::schema::ActorId;

/// An account that a name was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its DID.
    pub did: String,
    /// Its number, if it is known here.
    pub actor: Option<ActorId>,
}

/// Who knows accounts.
pub trait Names {
    /// Why it cannot say.
    type Error;

    /// Who asks.
    fn viewer(&mut self) -> Result<Option<Person>, Self::Error>;

    /// The account of a handle or a DID.
    fn person(&mut self, name: &str) -> Result<Option<Person>, Self::Error>;
}

impl Query<Account> {
    /// The same with accounts in place of names. What names somebody whom nobody knows, or a viewer where there is none,
    /// matches nothing.
    pub fn resolve<N: Names>(self, names: &mut N) -> Result<Query<Person>, N::Error> {
        Ok(match self {
            Self::All => Query::All,
            Self::Nothing => Query::Nothing,
            Self::Text(text) => Query::Text(text),
            Self::Tag(tag) => Query::Tag(tag),
            Self::Domains(domains) => Query::Domains(domains),
            Self::Langs(langs) => Query::Langs(langs),
            Self::Since(ms) => Query::Since(ms),
            Self::Until(ms) => Query::Until(ms),
            Self::Has(flag) => Query::Has(flag),
            Self::From(authors) => from(authors, names)?,
            Self::Mentions(account) => {
                person(&account, names)?.map_or(Query::Nothing, Query::Mentions)
            }
            Self::Links(links) => {
                let links = links.into_iter().map(|link| resolve_link(link, names));
                Query::Links(links.collect::<Result<_, _>>()?)
            }
            Self::In(shelf) => shelved(shelf, names)?,
            Self::Quotes(of) => record(of, names)?.map_or(Query::Nothing, Query::Quotes),
            Self::Parent(of) => record(of, names)?.map_or(Query::Nothing, Query::Parent),
            Self::Root(of) => record(of, names)?.map_or(Query::Nothing, Query::Root),
            Self::And(parts) => Query::every(each(parts, names)?),
            Self::Or(parts) => Query::any(each(parts, names)?),
            Self::Not(inner) => inner.resolve(names)?.negated(),
        })
    }
}

fn each<N: Names>(
    parts: Vec<Query<Account>>,
    names: &mut N,
) -> Result<Vec<Query<Person>>, N::Error> {
    parts.into_iter().map(|part| part.resolve(names)).collect()
}

fn person<N: Names>(account: &Account, names: &mut N) -> Result<Option<Person>, N::Error> {
    match account {
        Account::Me => names.viewer(),
        Account::Named(name) => names.person(name),
    }
}

fn from<N: Names>(authors: Vec<Author<Account>>, names: &mut N) -> Result<Query<Person>, N::Error> {
    let mut known = Vec::new();
    for author in authors {
        match author {
            Author::One(account) => {
                let person = person(&account, names)?.filter(|person| person.actor.is_some());
                known.extend(person.map(Author::One));
            }
            Author::Following => {
                known.extend(names.viewer()?.map(|_| Author::Following));
            }
        }
    }
    Ok(if known.is_empty() { Query::Nothing } else { Query::From(known) })
}

fn shelved<N: Names>(shelf: Shelf, names: &mut N) -> Result<Query<Person>, N::Error> {
    let Some(viewer) = names.viewer()? else { return Ok(Query::Nothing) };
    Ok(match shelf {
        Shelf::Likes | Shelf::Bookmarks => Query::In(shelf),
        Shelf::Library => Query::any(vec![
            Query::From(vec![Author::One(viewer.clone())]),
            Query::In(Shelf::Likes),
            Query::In(Shelf::Bookmarks),
            Query::Mentions(viewer),
        ]),
    })
}

fn record<N: Names>(
    of: Record<Account>,
    names: &mut N,
) -> Result<Option<Record<Person>>, N::Error> {
    let author = person(&of.author, names)?;
    Ok(author.map(|author| Record { author, collection: of.collection, rkey: of.rkey }))
}

fn resolve_link<N: Names>(link: Link<Account>, names: &mut N) -> Result<Link<Person>, N::Error> {
    let post = match link.post {
        Some(post) => record(post, names)?,
        None => None,
    };
    Ok(Link { text: link.text, page: link.page, post })
}

impl Record<Person> {
    /// Whether a URI is its own.
    #[must_use]
    pub fn is_at(&self, uri: &str) -> bool {
        let mut parts = uri.strip_prefix("at://").unwrap_or_default().split('/');
        parts.next() == Some(self.author.did.as_str())
            && parts.next() == Some(self.collection.as_str())
            && parts.next() == Some(self.rkey.as_str())
            && parts.next().is_none()
    }
}
