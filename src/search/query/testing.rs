//! Looks at every post there is: what an index and all that goes with it must find as well.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use ipld_core::ipld::Ipld;
use rustc_hash::FxHashSet;
use serde_json::{Value, json};

use super::resolve::Known;
use super::*;
use crate::repo::dag_cbor::from_json;
use crate::schema::{ActorId, PostId, Rkey};
use crate::search::document::PostDocument;
use crate::syntax::{Did, datetime};

/// What people and attackers type.
pub(crate) const STRANGE: &[&str] = &[
    "",
    " ",
    "\0",
    "\u{202e}\u{200b}\u{feff}",
    "\"",
    "\"\"",
    "\"\"\"",
    "(",
    ")",
    ")(",
    "(((",
    "()()",
    "-",
    "--",
    "---a",
    "-(",
    "-\"",
    "- -",
    "#",
    "##",
    "#-",
    "-#",
    "@",
    "@@",
    "@ann",
    ":",
    "::",
    "a:",
    ":a",
    "from:",
    "from::",
    "from:@",
    "from:(",
    "from:)",
    "from:\"",
    "from:\"\"",
    "since:",
    "since:0",
    "since:99999-01-01",
    "until:-1",
    "after:9999",
    "before:0000",
    "lang:",
    "lang:-",
    "has:",
    "is:",
    "in:",
    "alt:",
    "alt:\"\"",
    "url:",
    "url:at://",
    "at://",
    "http://",
    "https://(",
    "http://[",
    "domain:.",
    "domain:..",
    "domain:[::1]",
    "OR",
    "AND",
    "OR OR",
    "| |",
    "a |",
    "NOT a",
    "\\",
    "\\\"",
    "a*",
    "*",
    "?",
    "~",
    "^2",
    "[a TO b]",
    "{a}",
    "a~1",
    "+a",
    "&&",
    "/re/",
    "'",
    "''",
    "’",
    "%00",
    "%",
    "\u{1f3fb}",
    "\u{200d}",
    "\u{fe0f}",
    "\u{301}",
    "\u{fdfa}",
    "ｆｒｏｍ：ａ",
    "e\u{200b}\u{301}",
    "\u{1f1e9}",
    "\u{e0067}",
    "@fox",
    "fox:",
    ":fox",
    "domain:xn--",
    "AND AND",
    "fox |",
    "fox*",
    "fox^2",
    "+fox",
    "/fox/",
    "{}",
    "${x}",
    "'; drop table posts; --",
    "<script>",
    "../../etc/passwd",
    "in:likes",
    "from:me",
    "from:following",
];

/// Posts by name, and whoever looks at them.
#[derive(Default)]
pub(crate) struct Posts {
    posts: Vec<(String, PostId, i64, Ipld)>,
    accounts: Vec<String>,
    viewer: Option<ActorId>,
    following: FxHashSet<ActorId>,
    likes: FxHashSet<PostId>,
    bookmarks: FxHashSet<PostId>,
}

impl Posts {
    /// An account of this name; its handle is `name.test`, its DID `did:plc:name`.
    pub(crate) fn actor(&mut self, name: &str) -> ActorId {
        let known = self.accounts.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.accounts.push(name.to_owned());
            self.accounts.len() - 1
        });
        ActorId(at as u32)
    }

    /// Adds a post: its record key is its name.
    pub(crate) fn add(&mut self, name: &str, author: &str, sort: &str, record: &Value) {
        let id = PostId { author: self.actor(author), rkey: Rkey(self.posts.len() as u64) };
        let sort = datetime::parse_strict(&format!("{sort}T12:00:00Z")).unwrap();
        self.posts.push((name.to_owned(), id, sort, from_json(record)));
    }

    /// Who looks, whom they follow, and the names of posts that they liked and bookmarked.
    pub(crate) fn look_as(&mut self, name: &str, follows: &[&str], likes: &[&str], marks: &[&str]) {
        self.viewer = Some(self.actor(name));
        self.following = follows.iter().map(|name| self.actor(name)).collect();
        let named = |names: &[&str]| {
            let posts = self.posts.iter().filter(|(name, ..)| names.contains(&name.as_str()));
            posts.map(|(_, id, ..)| *id).collect()
        };
        (self.likes, self.bookmarks) = (named(likes), named(marks));
    }

    /// Who looks goes.
    pub(crate) fn look_as_nobody(&mut self) {
        self.viewer = None;
    }

    /// All accounts.
    pub(crate) fn dids(&self) -> Vec<String> {
        (0..self.accounts.len()).map(|at| self.did(ActorId(at as u32))).collect()
    }

    /// All posts: name, author, time, record.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, String, i64, &Ipld)> {
        self.posts
            .iter()
            .map(|(name, id, sort, record)| (name.as_str(), self.did(id.author), *sort, record))
    }

    /// Who looks.
    pub(crate) fn who_looks(&self) -> Option<String> {
        self.viewer.map(|viewer| self.did(viewer))
    }

    /// Whom they follow.
    pub(crate) fn followed(&self) -> Vec<String> {
        self.following.iter().map(|actor| self.did(*actor)).collect()
    }

    /// What they liked: author and name.
    pub(crate) fn liked(&self) -> Vec<(String, String)> {
        self.named(&self.likes)
    }

    /// What they bookmarked: author and name.
    pub(crate) fn bookmarked(&self) -> Vec<(String, String)> {
        self.named(&self.bookmarks)
    }

    fn named(&self, of: &FxHashSet<PostId>) -> Vec<(String, String)> {
        let posts = self.posts.iter().filter(|(_, id, ..)| of.contains(id));
        posts.map(|(name, id, ..)| (self.did(id.author), name.clone())).collect()
    }

    fn did(&self, actor: ActorId) -> String {
        format!("did:plc:{}", self.accounts[actor.0 as usize])
    }

    /// The names of the posts that fit a tree, in their order.
    pub(crate) fn of(&mut self, query: &Node<Leaf>) -> Vec<String> {
        let Ok(query) = resolve(query, self);
        let mut verifier = Verifier::default();
        let mut fits = |(_, post, sort, record): &&(String, PostId, i64, Ipld)| {
            let document = &PostDocument::of(record);
            verifier.read(Subject { post: *post, sort: *sort, document }).fits(&query)
        };
        self.posts.iter().filter(|post| fits(post)).map(|(name, ..)| name.clone()).collect()
    }

    /// The names of the posts that fit a text, with a space between.
    pub(crate) fn find(&mut self, text: &str) -> String {
        self.of(&parse(text).unwrap()).join(" ")
    }

    /// The names of those that fit with their points and times, the best first, then the newest.
    pub(crate) fn ranked(&mut self, text: &str) -> Vec<(String, i32)> {
        let Ok(query) = resolve(&parse(text).unwrap(), self);
        let mut verifier = Verifier::default();
        let mut found = Vec::new();
        for (name, post, sort, record) in &self.posts {
            let document = &PostDocument::of(record);
            let mut reading = verifier.read(Subject { post: *post, sort: *sort, document });
            if reading.fits(&query) {
                found.push((name.clone(), reading.quality(&query), *sort));
            }
        }
        found.sort_by_key(|(_, points, sort)| std::cmp::Reverse((*points, *sort)));
        found.into_iter().map(|(name, points, _)| (name, points)).collect()
    }
}

impl World for Posts {
    type Error = Infallible;

    fn account(&mut self, name: &str) -> Result<Option<Known>, Infallible> {
        let name = name.strip_prefix("did:plc:").or_else(|| name.strip_suffix(".test"));
        let at = self.accounts.iter().position(|known| Some(known.as_str()) == name);
        Ok(at.map(|at| self.known(ActorId(at as u32))))
    }

    fn viewer(&self) -> Option<Known> {
        self.viewer.map(|actor| self.known(actor))
    }

    fn following(&mut self, _: ActorId) -> Result<Arc<FxHashSet<ActorId>>, Infallible> {
        Ok(Arc::new(self.following.clone()))
    }

    fn likes(&mut self, _: ActorId) -> Result<Arc<FxHashSet<PostId>>, Infallible> {
        Ok(Arc::new(self.likes.clone()))
    }

    fn bookmarks(&mut self, _: ActorId) -> Result<Arc<FxHashSet<PostId>>, Infallible> {
        Ok(Arc::new(self.bookmarks.clone()))
    }

    fn post(&mut self, author: ActorId, record: &RecordRef) -> Result<Option<PostId>, Infallible> {
        let by_key = |(name, id, ..): &&(String, PostId, i64, Ipld)| {
            *name == record.rkey && id.author == author
        };
        Ok(self.posts.iter().find(by_key).map(|(_, id, ..)| *id))
    }
}

impl Posts {
    fn known(&self, actor: ActorId) -> Known {
        Known { actor, did: Did::parse(&self.did(actor)).unwrap() }
    }
}

/// A post of a text, with other fields of its record.
pub(crate) fn post(text: &str, with: Value) -> Value {
    let mut record = json!({"$type": "app.bsky.feed.post", "text": text});
    let fields = HashMap::<String, Value>::from_iter(
        with.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())),
    );
    record.as_object_mut().unwrap().extend(fields);
    record
}

/// Facets of these kinds and values.
pub(crate) fn facets(of: &[(&str, &str, &str)]) -> Value {
    let features: Vec<_> = of
        .iter()
        .map(|(kind, key, value)| json!({"$type": format!("app.bsky.richtext.facet#{kind}"), *key: value}))
        .collect();
    json!([{"features": features}])
}
