//! Posts, and everything that post views need beside them: filled by `post`, `thread`, `feed` and `site`, read by views.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Hydrator;
use super::post_record::{PostRecord, Postgate, RecordRef, Threadgate};
use super::state::HydrationState;
use crate::schema::{ActorId, PostId, RecordId, Target, collections};

/// A post that is shown.
#[derive(Debug, Clone)]
pub struct Post {
    /// Which post.
    pub id: PostId,
    /// See [`super::post_flags`].
    pub flags: u16,
    /// `sortAt`: what views call `indexedAt`, milliseconds.
    pub sort: i64,
    /// The record.
    pub record: Arc<PostRecord>,
}

impl Post {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The URI of the thread's first post: its own if it is not a reply.
    #[must_use]
    pub fn root_uri(&self) -> &Arc<str> {
        self.record.reply.as_ref().map_or(&self.record.uri, |r| &r.root.uri)
    }

    /// The thread's first post, if the store has a number for it.
    #[must_use]
    pub fn root(&self) -> Option<PostId> {
        match &self.record.reply {
            Some(reply) => reply.root.post(),
            None => Some(self.id),
        }
    }

    /// What a mute of the thread is kept under, if the store has a number for it.
    #[must_use]
    pub fn root_target(&self) -> Option<Target> {
        match &self.record.reply {
            Some(reply) => reply.root.target,
            None => Some(Target::Post(self.id)),
        }
    }

    /// The parent, if it is a reply to a post that the store has a number for.
    #[must_use]
    pub fn parent(&self) -> Option<PostId> {
        self.record.reply.as_ref().and_then(|r| r.parent.post())
    }

    /// The record in its embed.
    #[must_use]
    pub fn embedded(&self) -> Option<&RecordRef> {
        self.record.embed.as_ref().and_then(|e| e.record())
    }

    /// Whether it quotes a post.
    #[must_use]
    pub fn is_quote(&self) -> bool {
        let posts = [Some(collections::POST), Some(collections::COMMUNITY_POST)];
        self.embedded().is_some_and(|r| posts.contains(&r.coll))
    }
}

/// The viewer's relation to a post.
#[derive(Debug, Clone, Default)]
pub struct PostViewer {
    /// URI of the viewer's like.
    pub like: Option<String>,
    /// URI of the viewer's repost.
    pub repost: Option<String>,
    /// Whether the viewer bookmarked it.
    pub bookmarked: bool,
    /// Whether the viewer muted the thread.
    pub thread_muted: bool,
}

/// Blocks between a post's author and others.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostBlocks {
    /// With the owner of the embedded record.
    pub embed: bool,
    /// With the author of the parent.
    pub parent: bool,
    /// With the author of the root.
    pub root: bool,
}

/// A repost that gives a feed item its reason.
#[derive(Debug, Clone)]
pub struct Repost {
    /// Its URI.
    pub uri: String,
    /// Its CID.
    pub cid: String,
    /// `sortAt`, milliseconds.
    pub sort: i64,
    /// What it reposts.
    pub subject: Target,
}

/// Who liked a post among those whom the viewer follows.
#[derive(Debug, Clone)]
pub struct KnownLikers {
    /// The post.
    pub post: PostId,
    /// How many of the latest likers.
    pub count: u64,
    /// Some of them, the latest first.
    pub actors: Vec<ActorId>,
}

/// The records behind a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SitePair {
    /// `site.standard.document`
    pub document: Option<RecordId>,
    /// `site.standard.publication`
    pub publication: Option<RecordId>,
}

/// Everything that post views need.
#[derive(Default)]
pub struct PostState {
    /// Accounts, lists, feed generators, labels.
    pub base: HydrationState,
    /// Posts; `None` for those that are not there or not to be shown.
    pub posts: FxHashMap<PostId, Option<Post>>,
    /// The viewer's relation; empty for anonymous callers.
    pub viewers: FxHashMap<PostId, PostViewer>,
    /// Third-party blocks.
    pub blocks: FxHashMap<PostId, PostBlocks>,
    /// Thread gates by the post they are for.
    pub threadgates: FxHashMap<PostId, Threadgate>,
    /// Post gates by the post they are for.
    pub postgates: FxHashMap<PostId, Postgate>,
    /// Lists in thread gates that the viewer is on.
    pub viewer_lists: FxHashSet<RecordId>,
    /// URI of the thread author's like, by post; only in threads.
    pub root_author_likes: FxHashMap<PostId, String>,
    /// Records behind the links of posts.
    pub sites: FxHashMap<PostId, SitePair>,
    /// Reposts.
    pub reposts: FxHashMap<RecordId, Repost>,
    /// Known likers of a thread's anchor.
    pub known_likers: Option<KnownLikers>,
}

impl PostState {
    /// A state that holds nothing yet.
    #[must_use]
    pub fn new(h: &Hydrator<'_>) -> Self {
        Self { base: h.state(), ..Self::default() }
    }

    /// A post that is to be shown.
    #[must_use]
    pub fn post(&self, id: PostId) -> Option<&Post> {
        self.posts.get(&id)?.as_ref()
    }

    /// The same for a reference.
    #[must_use]
    pub fn post_at(&self, r: &RecordRef) -> Option<&Post> {
        self.post(r.post()?)
    }
}
