//! `app.bsky.feed.defs#threadViewPost`: a thread as a tree, for `app.bsky.feed.getPostThread`.

use std::sync::Arc;

use serde::Serialize;

use super::post::{BlockedPost, NotFoundPost, PostView};
use crate::hydrate::post_flags;
use crate::hydrate::post_state::PostState;
use crate::hydrate::thread::ThreadSkeleton;
use crate::hydrate::{PostId, Target};

/// A node of a thread.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ThreadNode<'a> {
    /// A post.
    Post(Box<ThreadViewPost<'a>>),
    /// There is a block.
    Blocked(BlockedPost<'a>),
    /// It is not there.
    NotFound(NotFoundPost<'a>),
}

/// `app.bsky.feed.defs#threadViewPost`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadViewPost<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    post: PostView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ThreadNode<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<Vec<ThreadNode<'a>>>,
    thread_context: ThreadContext<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThreadContext<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    root_author_like: Option<&'a str>,
}

impl PostState {
    /// The thread around the anchor; `None` if the anchor is not to be shown.
    #[must_use]
    pub fn thread_view(
        &self,
        thread: &ThreadSkeleton,
        height: usize,
        depth: usize,
    ) -> Option<ThreadNode<'_>> {
        let view = self.post_view(thread.anchor, 0)?;
        let post = self.post(thread.anchor)?;
        if self.base.viewer_block_exists(post.id.author) {
            let author = self.blocked_author_of(post);
            return Some(ThreadNode::Blocked(self.blocked_post_at(&post.record.uri, author)));
        }
        let gated = post.has(post_flags::VIOLATES_THREADGATE);
        let (mut parent, mut replies) = (None, None);
        if !gated {
            parent = self.parents(thread.anchor, post.root_uri(), height);
            replies = self.replies(thread, thread.anchor, post.root_uri(), depth);
        }
        Some(self.node(view, thread.anchor, parent, replies))
    }

    fn node<'a>(
        &'a self,
        post: PostView<'a>,
        id: PostId,
        parent: Option<ThreadNode<'a>>,
        replies: Option<Vec<ThreadNode<'a>>>,
    ) -> ThreadNode<'a> {
        ThreadNode::Post(Box::new(ThreadViewPost {
            tag: "app.bsky.feed.defs#threadViewPost",
            post,
            parent,
            replies,
            thread_context: ThreadContext {
                root_author_like: self.root_author_likes.get(&id).map(String::as_str),
            },
        }))
    }

    /// The posts above `child`, from the top down so that a long line needs no deep recursion.
    fn parents(&self, child: PostId, root: &Arc<str>, height: usize) -> Option<ThreadNode<'_>> {
        let mut line = Vec::new();
        let (mut at, mut top) = (child, None);
        for _ in 0..height {
            let Some(reply) = self.post(at).and_then(|p| p.record.reply.as_ref()) else { break };
            let third_party = self.blocks.get(&at).is_some_and(|b| b.parent);
            if third_party && !self.base.ctx.include_3p_blocks {
                top = Some(ThreadNode::Blocked(self.blocked_post(&reply.parent)));
                break;
            }
            let shown = reply.parent.post().and_then(|id| Some((id, self.post_view(id, 0)?)));
            let Some((id, view)) = shown else {
                top = Some(ThreadNode::NotFound(NotFoundPost::new(&reply.parent.uri)));
                break;
            };
            // A parent that belongs to another thread is not shown.
            if self.post(id).is_none_or(|p| p.root_uri() != root) {
                break;
            }
            if self.base.viewer_block_exists(id.author) {
                top = Some(ThreadNode::Blocked(self.blocked_post(&reply.parent)));
                break;
            }
            line.push((id, view));
            at = id;
        }
        let above = line.into_iter().rev();
        above.fold(top, |above, (id, view)| Some(self.node(view, id, above, None)))
    }

    fn replies(
        &self,
        thread: &ThreadSkeleton,
        parent: PostId,
        root: &Arc<str>,
        depth: usize,
    ) -> Option<Vec<ThreadNode<'_>>> {
        if depth == 0 {
            return None;
        }
        let children = thread.children.get(&parent).map(Vec::as_slice).unwrap_or_default();
        Some(children.iter().filter_map(|id| self.reply_node(thread, *id, root, depth)).collect())
    }

    fn reply_node(
        &self,
        thread: &ThreadSkeleton,
        id: PostId,
        root: &Arc<str>,
        depth: usize,
    ) -> Option<ThreadNode<'_>> {
        let post = self.post(id)?;
        let third_party = self.blocks.get(&id).is_some_and(|b| b.parent);
        if post.has(post_flags::VIOLATES_THREADGATE)
            || (third_party && !self.base.ctx.include_3p_blocks)
            || post.root_uri() != root
        {
            return None;
        }
        let view = Box::new(self.post_view(id, 0)?);
        if self.base.viewer_block_exists(id.author) {
            let author = self.blocked_author_of(post);
            return Some(ThreadNode::Blocked(self.blocked_post_at(&post.record.uri, author)));
        }
        if !self.base.viewer_sees_needs_review(Target::Post(id)) {
            return None;
        }
        let replies = self.replies(thread, id, root, depth - 1);
        Some(self.node(*view, id, None, replies))
    }
}
