//! Who is meant in a query, and which accounts and posts its conditions name: read once for a query.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::private::bookmarks;
use crate::schema::{ActorId, PostId, Rows, Target, graph, relations};
use crate::search::query::{Author, Names, Person, Query, Record, Shelf, Viewer};
use crate::store::{Snapshot, StoreError};
use crate::syntax::is_did;

/// Accounts that a viewer follows, as far as a search looks at them: the newest follows.
const MOST_FOLLOWS: usize = 20_000;
/// Likes, bookmarks, quotes of a record, replies: the newest of them.
const MOST_POSTS: usize = 10_000;

/// Who knows accounts: the store, for one viewer.
pub struct Known<'a> {
    snapshot: &'a Snapshot,
    viewer: Option<(ActorId, &'a str)>,
}

impl<'a> Known<'a> {
    /// For who asks, if that is an account that the store knows.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, viewer: Option<(ActorId, &'a str)>) -> Self {
        Self { snapshot, viewer }
    }
}

impl Names for Known<'_> {
    type Error = StoreError;

    fn viewer(&mut self) -> Result<Option<Person>, StoreError> {
        Ok(self.viewer.map(|(id, did)| Person { did: did.to_owned(), actor: Some(id) }))
    }

    fn person(&mut self, name: &str) -> Result<Option<Person>, StoreError> {
        if is_did(name) {
            let actor = self.snapshot.actor_id(name)?;
            return Ok(Some(Person { did: name.to_owned(), actor }));
        }
        let Some(owner) = self.snapshot.handle_owner(name)? else { return Ok(None) };
        let did = self.snapshot.did(owner)?;
        Ok(Some(Person { did: did.as_ref().to_owned(), actor: Some(owner) }))
    }
}

type Posts = Arc<FxHashSet<PostId>>;

/// The sets that a query names.
#[derive(Default)]
pub(super) struct Sets {
    follows: Option<Arc<FxHashSet<ActorId>>>,
    likes: Option<Posts>,
    bookmarks: Option<Posts>,
    records: FxHashMap<(Relation, String), Posts>,
}

/// How a post relates to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Relation {
    /// It embeds it.
    Quotes,
    /// It replies to it.
    Parent,
    /// It is below it.
    Root,
}

impl Sets {
    /// Reads what a query names.
    pub(super) fn read(
        s: &Snapshot,
        viewer: Option<ActorId>,
        query: &Query<Person>,
    ) -> Result<Self, StoreError> {
        let mut out = Self::default();
        out.add(s, viewer, query)?;
        Ok(out)
    }

    fn add(
        &mut self,
        s: &Snapshot,
        viewer: Option<ActorId>,
        query: &Query<Person>,
    ) -> Result<(), StoreError> {
        match query {
            Query::And(parts) | Query::Or(parts) => {
                parts.iter().try_for_each(|part| self.add(s, viewer, part))
            }
            Query::Not(inner) => self.add(s, viewer, inner),
            Query::From(authors) if authors.contains(&Author::Following) => {
                if let Some(viewer) = viewer.filter(|_| self.follows.is_none()) {
                    let follows = graph::newest_follows(s, viewer, MOST_FOLLOWS)?;
                    self.follows = Some(Arc::new(follows.into_iter().collect()));
                }
                Ok(())
            }
            Query::In(shelf) => self.add_shelf(s, viewer, *shelf),
            Query::Links(links) => links
                .iter()
                .filter_map(|link| link.post.as_ref())
                .try_for_each(|post| self.add_record(s, Relation::Quotes, post)),
            Query::Quotes(record) => self.add_record(s, Relation::Quotes, record),
            Query::Parent(record) => self.add_record(s, Relation::Parent, record),
            Query::Root(record) => self.add_record(s, Relation::Root, record),
            _ => Ok(()),
        }
    }

    fn add_shelf(
        &mut self,
        s: &Snapshot,
        viewer: Option<ActorId>,
        shelf: Shelf,
    ) -> Result<(), StoreError> {
        let Some(viewer) = viewer else { return Ok(()) };
        if shelf != Shelf::Bookmarks && self.likes.is_none() {
            self.likes = Some(Arc::new(relations::liked_posts(s, viewer, MOST_POSTS)?));
        }
        if shelf != Shelf::Likes && self.bookmarks.is_none() {
            let page = bookmarks::page(s, viewer, None, MOST_POSTS)?;
            self.bookmarks = Some(Arc::new(page.into_iter().map(|(_, post)| post).collect()));
        }
        Ok(())
    }

    fn add_record(
        &mut self,
        s: &Snapshot,
        relation: Relation,
        record: &Record<Person>,
    ) -> Result<(), StoreError> {
        let uri = uri(record);
        let Some(target) = s.target(&uri)? else { return Ok(()) };
        let posts = match (relation, target) {
            (Relation::Quotes, target) => relations::newest_quotes(s, target, MOST_POSTS)?,
            (Relation::Parent, Target::Post(post)) => {
                relations::newest_replies(s, post, MOST_POSTS)?
            }
            (Relation::Root, Target::Post(post)) => relations::in_thread(s, post, MOST_POSTS)?,
            _ => FxHashSet::default(),
        };
        self.records.insert((relation, uri), Arc::new(posts));
        Ok(())
    }

    /// Whom the viewer follows.
    pub(super) fn follows(&self) -> Arc<FxHashSet<ActorId>> {
        self.follows.clone().unwrap_or_default()
    }

    /// What the viewer keeps there; both for the library.
    pub(super) fn shelf(&self, shelf: Shelf) -> Vec<Posts> {
        let (likes, bookmarks) = (self.likes.iter(), self.bookmarks.iter());
        let wanted = |is: bool| move |_: &&Posts| is;
        let likes = likes.filter(wanted(shelf != Shelf::Bookmarks));
        likes.chain(bookmarks.filter(wanted(shelf != Shelf::Likes))).cloned().collect()
    }

    /// Posts that relate to a record.
    pub(super) fn related(&self, relation: Relation, record: &Record<Person>) -> Posts {
        self.records.get(&(relation, uri(record))).cloned().unwrap_or_default()
    }

    /// What the viewer has to do with a post.
    pub(super) fn about(&self, post: PostId) -> About<'_> {
        About { sets: self, post }
    }
}

fn uri(record: &Record<Person>) -> String {
    format!("at://{}/{}/{}", record.author.did, record.collection, record.rkey)
}

/// What a viewer has to do with one post.
pub(super) struct About<'a> {
    sets: &'a Sets,
    post: PostId,
}

impl Viewer for About<'_> {
    fn follows(&self, author: ActorId) -> bool {
        self.sets.follows.as_ref().is_some_and(|follows| follows.contains(&author))
    }

    fn has(&self, shelf: Shelf) -> bool {
        self.sets.shelf(shelf).iter().any(|posts| posts.contains(&self.post))
    }
}
