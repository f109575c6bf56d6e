//! `app.bsky.feed.defs#feedViewPost`: a post with the reason why it is in a feed, and what it replies to.

use serde::Serialize;
use serde_json::value::RawValue;

use super::actor::{ProfileView, profile_basic};
use super::post::{MaybePost, PostView};
use crate::hydrate::post_flags;
use crate::hydrate::post_state::{Post, PostState};
use crate::hydrate::timeline::FeedItem;
use crate::syntax::datetime::Time;

/// `app.bsky.feed.defs#feedViewPost`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct FeedViewPost<'a> {
    pub post: PostView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyRef<'a>>,
    /// What a feed generator wants to hear again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_context: Option<&'a str>,
    /// The feed generator's number of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req_id: Option<&'a RawValue>,
}

/// Why a post is in a feed, if not for its own sake.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub enum ReasonView<'a> {
    #[serde(rename = "app.bsky.feed.defs#reasonRepost", rename_all = "camelCase")]
    Repost { by: Box<ProfileView>, uri: &'a str, cid: &'a str, indexed_at: Time },
    #[serde(rename = "app.bsky.feed.defs#reasonPin")]
    Pin {},
}

/// `app.bsky.feed.defs#replyRef`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ReplyRef<'a> {
    pub root: MaybePost<'a>,
    pub parent: MaybePost<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grandparent_author: Option<ProfileView>,
}

impl PostState {
    /// The view of a feed item; `None` if [`PostState::has_feed_view`] says so.
    #[must_use]
    pub fn feed_view(&self, item: &FeedItem) -> Option<FeedViewPost<'_>> {
        if !self.has_feed_view(item) {
            return None;
        }
        let reason = match item.repost {
            _ if item.pinned => Some(ReasonView::Pin {}),
            Some(id) => {
                let repost = self.reposts.get(&id)?;
                Some(ReasonView::Repost {
                    by: Box::new(profile_basic(&self.base, id.actor)?),
                    uri: &repost.uri,
                    cid: &repost.cid,
                    indexed_at: Time(repost.sort),
                })
            }
            None => None,
        };
        let post = self.post(item.post)?;
        let gated = post.has(post_flags::VIOLATES_THREADGATE);
        Some(FeedViewPost {
            post: self.post_view(item.post, 0)?,
            reason,
            reply: if gated { None } else { self.reply_ref(post) },
            feed_context: None,
            req_id: None,
        })
    }

    fn reply_ref<'a>(&'a self, post: &'a Post) -> Option<ReplyRef<'a>> {
        let reply = post.record.reply.as_ref()?;
        let mut root = self.maybe_post(&reply.root);
        let mut parent = self.maybe_post(&reply.parent);
        if !self.base.ctx.include_3p_blocks {
            let child = self.blocks.get(&post.id).copied().unwrap_or_default();
            let above = reply.parent.post().and_then(|p| self.blocks.get(&p)).copied();
            if child.parent && matches!(parent, MaybePost::Post(_)) {
                parent = MaybePost::Blocked(self.blocked_post(&reply.parent));
            }
            let root_blocked = child.root || above.is_some_and(|b| b.root);
            if root_blocked && matches!(root, MaybePost::Post(_)) {
                root = MaybePost::Blocked(self.blocked_post(&reply.root));
            }
        }
        let grandparent = match &parent {
            MaybePost::Post(_) => self.post_at(&reply.parent).and_then(|p| p.record.reply.as_ref()),
            _ => None,
        };
        let grandparent_author =
            grandparent.and_then(|r| profile_basic(&self.base, r.parent.actor?));
        Some(ReplyRef { root, parent, grandparent_author })
    }
}
