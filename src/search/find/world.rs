//! What a query names, looked up in the store: accounts, whom the viewer follows, what they set apart.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::private::bookmarks;
use crate::schema::{ActorId, PostId, Rows, Target, graph, relations};
use crate::search::query::resolve::Known;
use crate::search::query::{RecordRef, World};
use crate::store::{Snapshot, StoreError};
use crate::syntax::{Did, is_did};

/// Accounts that a viewer follows, as far as a search looks at them: by the newest follows.
const MOST_FOLLOWS: usize = 20_000;
/// Likes and bookmarks: the newest of them.
const MOST_KEPT: usize = 10_000;

/// A store as one viewer sees it; what was looked up once is kept for the query.
pub(super) struct StoreWorld<'a> {
    snapshot: &'a Snapshot,
    viewer: Option<Known>,
    following: Option<Arc<FxHashSet<ActorId>>>,
    likes: Option<Arc<FxHashSet<PostId>>>,
    bookmarks: Option<Arc<FxHashSet<PostId>>>,
}

impl<'a> StoreWorld<'a> {
    /// For who asks, if that is an account that the store knows.
    pub(super) fn new(snapshot: &'a Snapshot, viewer: Option<ActorId>) -> Result<Self, StoreError> {
        let viewer = match viewer {
            Some(actor) => known(snapshot, actor)?,
            None => None,
        };
        Ok(Self { snapshot, viewer, following: None, likes: None, bookmarks: None })
    }
}

fn known(s: &Snapshot, actor: ActorId) -> Result<Option<Known>, StoreError> {
    Ok(Did::parse(&s.did(actor)?).ok().map(|did| Known { actor, did }))
}

impl World for StoreWorld<'_> {
    type Error = StoreError;

    fn account(&mut self, name: &str) -> Result<Option<Known>, StoreError> {
        let actor = match is_did(name) {
            true => self.snapshot.actor_id(name)?,
            false => self.snapshot.handle_owner(name)?,
        };
        match actor {
            Some(actor) => known(self.snapshot, actor),
            None => Ok(None),
        }
    }

    fn viewer(&self) -> Option<Known> {
        self.viewer.clone()
    }

    fn following(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<ActorId>>, StoreError> {
        if let Some(known) = &self.following {
            return Ok(Arc::clone(known));
        }
        let follows = graph::newest_follows(self.snapshot, viewer, MOST_FOLLOWS)?;
        let follows = Arc::new(follows.into_iter().collect());
        Ok(Arc::clone(self.following.insert(follows)))
    }

    fn likes(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<PostId>>, StoreError> {
        if let Some(known) = &self.likes {
            return Ok(Arc::clone(known));
        }
        let likes = relations::liked_posts(self.snapshot, viewer, MOST_KEPT)?;
        Ok(Arc::clone(self.likes.insert(Arc::new(likes))))
    }

    fn bookmarks(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<PostId>>, StoreError> {
        if let Some(known) = &self.bookmarks {
            return Ok(Arc::clone(known));
        }
        let page = bookmarks::page(self.snapshot, viewer, None, MOST_KEPT)?;
        let posts = Arc::new(page.into_iter().map(|(_, post)| post).collect());
        Ok(Arc::clone(self.bookmarks.insert(posts)))
    }

    fn post(&mut self, author: ActorId, record: &RecordRef) -> Result<Option<PostId>, StoreError> {
        let uri = record.uri(&self.snapshot.did(author)?);
        Ok(match self.snapshot.target(&uri)? {
            Some(Target::Post(post)) => Some(post),
            _ => None,
        })
    }
}
