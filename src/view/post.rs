//! `app.bsky.feed.defs#postView` and what stands in for it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::actor::{
    ActorDebug, ProfileView, ViewerState, actor_debug, author, blocked_viewer_state, profile_basic,
};
use super::embed::EmbedView;
use super::graph::{ListView, list_basic};
use crate::hydrate::post_flags;
use crate::hydrate::post_record::{GateRule, RecordRef, Threadgate};
use crate::hydrate::post_state::{Post, PostState};
use crate::hydrate::record::own_labels;
use crate::hydrate::{ActorId, Counter, PostId, Target};
use crate::moderation::ShownLabel;
use crate::syntax::datetime::Time;

/// `app.bsky.feed.defs#postView`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct PostView<'a> {
    /// Which post; clients have the URI.
    #[serde(skip)]
    pub id: PostId,
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<&'static str>,
    pub uri: &'a str,
    pub cid: &'a str,
    pub(super) author: Arc<RawValue>,
    pub record: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embed: Option<Box<EmbedView<'a>>>,
    pub(super) bookmark_count: u64,
    pub reply_count: u64,
    pub repost_count: u64,
    pub like_count: u64,
    pub quote_count: u64,
    pub indexed_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) viewer: Option<PostViewerView<'a>>,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threadgate: Option<ThreadgateView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) debug: Option<Box<PostDebug>>,
}

/// What the operator tagged a post and its author with.
#[derive(Debug, Serialize)]
pub(super) struct PostDebug {
    post: RecordDebug,
    author: Option<ActorDebug>,
}

#[derive(Debug, Serialize)]
struct RecordDebug {
    tags: Vec<String>,
}

/// `app.bsky.feed.defs#viewerState`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostViewerView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    repost: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    like: Option<&'a str>,
    bookmarked: bool,
    thread_muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_disabled: Option<bool>,
    embedding_disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_likers: Option<KnownLikersView>,
}

#[derive(Debug, Serialize)]
struct KnownLikersView {
    count: u64,
    actors: Vec<ProfileView>,
}

/// `app.bsky.feed.defs#threadgateView`
#[derive(Debug, Serialize)]
pub struct ThreadgateView<'a> {
    uri: &'a str,
    cid: &'a str,
    record: &'a RawValue,
    lists: Vec<ListView>,
}

/// `app.bsky.feed.defs#blockedPost`
#[derive(Debug, Serialize)]
pub struct BlockedPost<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    uri: &'a str,
    blocked: bool,
    author: BlockedAuthor<'a>,
}

/// `app.bsky.feed.defs#blockedAuthor`
#[derive(Debug, Serialize)]
pub struct BlockedAuthor<'a> {
    did: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer: Option<Box<ViewerState>>,
}

/// `app.bsky.feed.defs#notFoundPost`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotFoundPost<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    uri: &'a str,
    not_found: bool,
}

impl<'a> NotFoundPost<'a> {
    /// For a URI.
    #[must_use]
    pub fn new(uri: &'a str) -> Self {
        Self { tag: "app.bsky.feed.defs#notFoundPost", uri, not_found: true }
    }
}

/// A post, or what stands in for it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum MaybePost<'a> {
    /// It is shown.
    Post(Box<PostView<'a>>),
    /// There is a block.
    Blocked(BlockedPost<'a>),
    /// It is not there.
    NotFound(NotFoundPost<'a>),
}

impl PostState {
    /// The view of a post; `None` if it or its author is not to be shown. `depth` counts how deep it is embedded.
    #[must_use]
    pub fn post_view(&self, id: PostId, depth: u8) -> Option<PostView<'_>> {
        let post = self.post(id)?;
        let author = author(&self.base, id.author)?;
        let target = Target::Post(id);
        let agg = self.base.agg(target);
        let embed = post.record.embed.as_ref().filter(|_| depth < 2);
        let is_root = post.record.reply.is_none();
        Some(PostView {
            id,
            tag: None,
            uri: &post.record.uri,
            cid: &post.record.cid,
            author,
            record: &post.record.json,
            embed: embed.and_then(|e| self.embed_view(post, e, depth + 1)).map(Box::new),
            bookmark_count: agg.get(Counter::Bookmarks),
            reply_count: agg.get(Counter::Replies),
            repost_count: agg.get(Counter::Reposts),
            like_count: agg.get(Counter::Likes),
            quote_count: agg.get(Counter::Quotes),
            indexed_at: Time(post.sort),
            viewer: self.viewer_view(post),
            labels: self.post_labels(post),
            threadgate: if is_root { self.threadgate_view(id) } else { None },
            debug: self.post_debug(post).map(Box::new),
        })
    }

    fn post_debug(&self, post: &Post) -> Option<PostDebug> {
        if !self.base.ctx.explained {
            return None;
        }
        let tags = self.base.tags.names_of_record(&post.record.uri).to_vec();
        let author = self.base.actor(post.id.author);
        Some(PostDebug {
            post: RecordDebug { tags },
            author: author.and_then(|author| actor_debug(&self.base, author)),
        })
    }

    fn viewer_view(&self, post: &Post) -> Option<PostViewerView<'_>> {
        let viewer = self.viewers.get(&post.id)?;
        Some(PostViewerView {
            repost: viewer.repost.as_deref(),
            like: viewer.like.as_deref(),
            bookmarked: viewer.bookmarked,
            thread_muted: viewer.thread_muted,
            reply_disabled: self.reply_disabled(post),
            embedding_disabled: self.embedding_disabled(post.id),
            pinned: self.pinned(post),
            known_likers: self.known_likers_view(post.id),
        })
    }

    pub(super) fn post_labels(&self, post: &Post) -> Vec<ShownLabel> {
        let shown = self.base.subject_labels(Target::Post(post.id));
        let mut labels = shown.map(|l| l.shown.clone()).unwrap_or_default();
        let record = &post.record;
        let (uri, cid, created) = (&record.uri, &record.cid, &record.created_at);
        labels.extend(own_labels(&record.did, uri, cid, Some(created), &record.self_labels));
        labels
    }

    /// Whether the viewer may not reply; `None` if nothing restricts it.
    #[must_use]
    pub fn reply_disabled(&self, post: &Post) -> Option<bool> {
        if post.has(post_flags::VIOLATES_THREADGATE) {
            return Some(true);
        }
        let root = post.root()?;
        let gate = self.threadgates.get(&root)?;
        if !self.base.ctx.signed_in {
            return None;
        }
        Some(!self.may_reply(root, gate))
    }

    fn may_reply(&self, root: PostId, gate: &Threadgate) -> bool {
        let Some(rules) = &gate.allow else { return true };
        let Some(viewer) = self.base.ctx.viewer else { return false };
        if viewer == root.author {
            return true;
        }
        let relation = self.base.profile_viewers.get(&root.author);
        rules.iter().any(|rule| match rule {
            GateRule::Mention => self.mentions(root, viewer),
            GateRule::Follower => relation.is_some_and(|r| r.following.is_some()),
            GateRule::Following => relation.is_some_and(|r| r.followed_by.is_some()),
            GateRule::List(list) => list.record().is_some_and(|l| self.viewer_lists.contains(&l)),
        })
    }

    fn mentions(&self, post: PostId, who: ActorId) -> bool {
        self.post(post).is_some_and(|p| p.record.mentions.contains(&who))
    }

    /// Whether the viewer may not quote a post.
    #[must_use]
    pub fn embedding_disabled(&self, id: PostId) -> bool {
        self.base.ctx.viewer != Some(id.author)
            && self.postgates.get(&id).is_some_and(|gate| gate.disabled)
    }

    /// Whether the viewer pinned it; `None` unless it is the viewer's own and something is pinned.
    fn pinned(&self, post: &Post) -> Option<bool> {
        if self.base.ctx.viewer != Some(post.id.author) {
            return None;
        }
        Some(self.base.actor(post.id.author)?.pinned_post()? == &*post.record.uri)
    }

    fn known_likers_view(&self, id: PostId) -> Option<KnownLikersView> {
        let known = self.known_likers.as_ref().filter(|k| k.post == id)?;
        let base = &self.base;
        let shown = known.actors.iter().filter(|a| {
            !base.viewer_block_exists(**a)
                && !base.blocked(id.author, **a)
                && !base.is_no_hosted(**a)
        });
        let actors = shown.filter_map(|a| profile_basic(base, *a)).collect();
        Some(KnownLikersView { count: known.count, actors })
    }

    /// The thread gate of a post.
    #[must_use]
    pub fn threadgate_view(&self, root: PostId) -> Option<ThreadgateView<'_>> {
        let gate = self.threadgates.get(&root).filter(|gate| !gate.uri.is_empty())?;
        Some(ThreadgateView {
            uri: &gate.uri,
            cid: &gate.cid,
            record: &gate.json,
            lists: gate.lists().filter_map(|l| list_basic(&self.base, l.record()?)).collect(),
        })
    }

    /// A referenced post, or what stands in for it.
    pub(super) fn maybe_post<'a>(&'a self, r: &'a RecordRef) -> MaybePost<'a> {
        match r.post().and_then(|id| self.post_view(id, 0).map(|view| (id, view))) {
            None => MaybePost::NotFound(NotFoundPost::new(&r.uri)),
            Some((id, _)) if self.base.viewer_block_exists(id.author) => {
                MaybePost::Blocked(self.blocked_post(r))
            }
            Some((_, mut view)) => {
                view.tag = Some("app.bsky.feed.defs#postView");
                MaybePost::Post(Box::new(view))
            }
        }
    }

    /// Stands in for a post behind a block.
    pub(super) fn blocked_post<'a>(&'a self, r: &'a RecordRef) -> BlockedPost<'a> {
        self.blocked_post_at(&r.uri, self.blocked_author(r))
    }

    pub(super) fn blocked_post_at<'a>(
        &'a self,
        uri: &'a str,
        author: BlockedAuthor<'a>,
    ) -> BlockedPost<'a> {
        BlockedPost { tag: "app.bsky.feed.defs#blockedPost", uri, blocked: true, author }
    }

    pub(super) fn blocked_author<'a>(&'a self, r: &'a RecordRef) -> BlockedAuthor<'a> {
        BlockedAuthor {
            did: r.authority(),
            viewer: r.actor.and_then(|a| blocked_viewer_state(&self.base, a)).map(Box::new),
        }
    }

    /// The author of a post that the store has.
    pub(super) fn blocked_author_of<'a>(&'a self, post: &'a Post) -> BlockedAuthor<'a> {
        BlockedAuthor {
            did: &post.record.did,
            viewer: blocked_viewer_state(&self.base, post.id.author).map(Box::new),
        }
    }
}
