//! A search without an index: every post of a small world is read and verified.

use std::convert::Infallible;

use serde_json::{Value, json};

use super::*;
use crate::repo::dag_cbor::from_json;
use crate::schema::ActorId;
use crate::search::analysis::Analyzer;
use crate::search::document::PostDocument;

/// Accounts by handle, whom the viewer follows and who asks.
pub(in crate::search) struct World {
    pub(in crate::search) posts: Vec<Post>,
    pub(in crate::search) viewer: Option<&'static str>,
}

/// A post of the world.
pub(in crate::search) struct Post {
    /// What tests call it.
    pub(in crate::search) name: String,
    pub(in crate::search) author: ActorId,
    pub(in crate::search) sort_at: i64,
    pub(in crate::search) record: Value,
    pub(in crate::search) shelves: Vec<Shelf>,
}

/// Those who write; the viewer follows the second.
const PEOPLE: [&str; 4] = ["ann", "bob", "carl", "dora"];

pub(in crate::search) fn did(name: &str) -> String {
    format!("did:plc:{name:a<24}")
}

pub(in crate::search) fn actor(name: &str) -> ActorId {
    ActorId(PEOPLE.iter().position(|known| *known == name).unwrap() as u32 + 1)
}

impl Post {
    pub(in crate::search) fn new(name: &str, author: &str, date: &str, record: Value) -> Self {
        let sort_at = crate::syntax::datetime::parse_strict(date).unwrap();
        Self { name: name.into(), author: actor(author), sort_at, record, shelves: Vec::new() }
    }

    pub(in crate::search) fn saying(name: &str, text: &str) -> Self {
        Self::new(name, "carl", "2020-01-01T00:00:00.000Z", json!({"text": text}))
    }
}

struct Known(Option<&'static str>);

impl Names for Known {
    type Error = Infallible;

    fn viewer(&mut self) -> Result<Option<Person>, Infallible> {
        Ok(self.0.and_then(person))
    }

    fn person(&mut self, name: &str) -> Result<Option<Person>, Infallible> {
        let known =
            PEOPLE.iter().find(|known| *name == did(known) || name == format!("{known}.example"));
        Ok(known.and_then(|known| person(known)))
    }
}

fn person(name: &str) -> Option<Person> {
    Some(Person { did: did(name), actor: Some(actor(name)) })
}

struct Shelves<'a>(&'a Post);

impl Viewer for Shelves<'_> {
    fn follows(&self, author: ActorId) -> bool {
        author == ActorId(2)
    }

    fn has(&self, shelf: Shelf) -> bool {
        self.0.shelves.contains(&shelf)
    }
}

impl World {
    /// The names of the posts that a query finds, in the order of the world.
    pub(in crate::search) fn search(&self, query: Query<Account>) -> Vec<&str> {
        let Ok(query) = query.resolve(&mut Known(self.viewer));
        let mut analyzer = Analyzer::default();
        let found = self.posts.iter().filter(|post| {
            let record = from_json(&post.record);
            let document = PostDocument::of(&record);
            let shelves = Shelves(post);
            let when = (post.author, post.sort_at);
            let candidate = Candidate::new(&document, when, &shelves, &mut analyzer);
            let found = candidate.is(&query);
            drop(candidate);
            found
        });
        found.map(|post| post.name.as_str()).collect()
    }

    pub(in crate::search) fn find(&self, query: &str) -> String {
        self.search(parse(query).unwrap()).join(" ")
    }
}
