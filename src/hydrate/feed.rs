//! Feeds of one account, quotes and likes: which posts a page has, and what their feed views need.

use rustc_hash::FxHashMap;

use super::page::{Collector, Page, TimeCursor};
use super::post_state::PostState;
use super::timeline::FeedItem;
use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{FeedRow, Order, feed_prefix, order_prefix, post_flags};
use crate::schema::{ActorId, PostId, Target, whole};
use crate::store::{Ks, Reader, prefix_end};

/// Entries that a filter may leave out of one page: after so many the page ends early, with a cursor. An entry whose post
/// has to be read counts as `READ` of them.
const MAX_PASSED: usize = 2_000;
const READ: usize = 10;

/// `filter` of `app.bsky.feed.getAuthorFeed`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFilter {
    /// `posts_with_replies`
    All,
    /// `posts_no_replies`
    NoReplies,
    /// `posts_with_media`
    Media,
    /// `posts_with_video`
    Video,
    /// `posts_and_author_threads`
    AuthorThreads,
}

impl FeedFilter {
    /// The filter of that name; unknown names filter nothing.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "posts_no_replies" => Self::NoReplies,
            "posts_with_media" => Self::Media,
            "posts_with_video" => Self::Video,
            "posts_and_author_threads" => Self::AuthorThreads,
            _ => Self::All,
        }
    }

    /// Whether an entry passes, as far as its flags tell.
    fn passes(self, row: &FeedRow) -> bool {
        let own = row.repost_of.is_none();
        let has = |flag: u16| u16::from(row.flags) & flag != 0;
        match self {
            Self::All | Self::AuthorThreads => true,
            Self::NoReplies => !own || !has(post_flags::REPLY),
            Self::Media => own && has(post_flags::MEDIA),
            Self::Video => own && has(post_flags::VIDEO),
        }
    }
}

impl Hydrator<'_> {
    /// A page of an account's feed.
    pub fn author_feed(
        &self,
        actor: ActorId,
        filter: FeedFilter,
        limit: usize,
        cursor: Option<&TimeCursor>,
    ) -> Result<Page<FeedItem>> {
        let mut items = Collector::new(limit, cursor);
        let mut passed = 0;
        let mut stopped_at = None;
        let mut failed = Ok(());
        let prefix = feed_prefix(actor);
        let end = prefix_end(&prefix);
        let lo = match cursor {
            Some(c) => prefix.newest_first(c.ms),
            None => prefix,
        };
        self.snapshot.scan(Ks::Feed, &lo, end.as_deref(), false, &mut |k, v| {
            let row = whole(Ks::Feed, k, FeedRow::decode(k, v));
            let Some((_, row)) = row else { return true };
            let item = FeedItem::of(actor, &row);
            let (passes, cost) = match filter.passes(&row) {
                true if filter == FeedFilter::AuthorThreads => {
                    (self.in_own_thread(&item, &row), READ)
                }
                passes => (Ok(passes), 1),
            };
            match passes {
                Ok(true) => return items.push(row.sort, item),
                Ok(false) => passed += cost,
                Err(e) => {
                    failed = Err(e);
                    return false;
                }
            }
            if passed >= MAX_PASSED {
                stopped_at = Some((row.sort, item));
            }
            passed < MAX_PASSED
        })?;
        failed?;
        let mut page = items.page(|item| self.feed_item_cid(item))?;
        if page.cursor.is_none()
            && let Some((ms, item)) = stopped_at
        {
            page.cursor = Some(TimeCursor { ms, tie: self.feed_item_cid(&item)? }.to_string());
        }
        Ok(page)
    }

    /// Not a reply, or a reply in a thread that its author began.
    fn in_own_thread(&self, item: &FeedItem, row: &FeedRow) -> Result<bool> {
        if item.repost.is_some() || u16::from(row.flags) & post_flags::REPLY == 0 {
            return Ok(true);
        }
        let Some(post) = self.read_post(item.post)? else { return Ok(false) };
        let root = post.record.reply.as_ref().map(|r| &r.root);
        Ok(root.is_none_or(|r| r.actor == Some(item.post.author)))
    }

    /// A page of the posts that embed a record; empty if the record is not for the caller.
    pub fn quotes(
        &self,
        target: Target,
        limit: usize,
        cursor: Option<&TimeCursor>,
    ) -> Result<Page<PostId>> {
        if !self.ctx.admits(target) {
            return Ok(Page::empty());
        }
        let mut posts = Collector::new(limit, cursor);
        let prefix = order_prefix(Order::Quotes, target);
        let end = prefix_end(&prefix);
        let skip = prefix.len();
        let lo = match cursor {
            Some(c) => prefix.newest_first(c.ms),
            None => prefix,
        };
        self.snapshot.scan(Ks::Order, &lo, end.as_deref(), false, &mut |k, _| {
            let mut key = ByteReader::new(k.get(skip..).unwrap_or_default());
            match (key.newest_first(), key.post()) {
                (Some(ms), Some(post)) => posts.push(ms, post),
                _ => true,
            }
        })?;
        posts.page(|post| self.feed_item_cid(&FeedItem::post(*post)))
    }

    /// Hydrates `items` as `app.bsky.feed.defs#feedViewPost`.
    pub fn feed_items(&self, state: &mut PostState, items: &[FeedItem]) -> Result<()> {
        self.load_posts(state, items.iter().map(|i| i.post))?;
        let mut refs = Vec::with_capacity(items.len() * 2);
        let mut parents = Vec::new();
        for post in items.iter().filter_map(|i| state.post(i.post)) {
            refs.push(post.id);
            if post.record.reply.is_some() {
                refs.extend(post.root());
                refs.extend(post.parent());
                parents.extend(post.parent());
            }
        }
        refs.sort_unstable();
        refs.dedup();
        self.load_posts(state, parents.iter().copied())?;
        let mut actors: Vec<ActorId> = parents
            .iter()
            .filter_map(|id| state.post(*id)?.record.reply.as_ref()?.parent.actor)
            .collect();
        self.posts(state, &refs)?;
        for id in items.iter().filter_map(|i| i.repost) {
            actors.push(id.actor);
            if !state.reposts.contains_key(&id)
                && let Some(repost) = self.repost(id)?
            {
                state.reposts.insert(id, repost);
            }
        }
        actors.sort_unstable();
        actors.dedup();
        self.profiles(&mut state.base, &actors)
    }
}

/// Why a feed item may be left out (`app.bsky.feed.getTimeline` and its like).
#[derive(Debug, Clone, Copy, Default)]
pub struct BlocksAndMutes {
    /// Who brings it is muted.
    pub originator_muted: bool,
    /// It is a repost, and those of the reposter are muted.
    pub originator_repost_muted: bool,
    /// Who brings it and the viewer block each other.
    pub originator_blocked: bool,
    /// The author is muted.
    pub author_muted: bool,
    /// It quotes, and the author's quotes are muted.
    pub author_quotepost_muted: bool,
    /// The author and the viewer block each other.
    pub author_blocked: bool,
    /// The author of the parent or grandparent and the viewer block each other.
    pub ancestor_blocked: bool,
}

impl BlocksAndMutes {
    /// Whether timelines and feeds leave it out.
    #[must_use]
    pub fn any(self) -> bool {
        self.author_blocked
            || self.author_muted
            || self.author_quotepost_muted
            || self.originator_blocked
            || self.originator_muted
            || self.originator_repost_muted
            || self.ancestor_blocked
    }
}

impl PostState {
    /// The blocks and mutes that bear on a feed item.
    #[must_use]
    pub fn blocks_and_mutes(&self, item: &FeedItem) -> BlocksAndMutes {
        let s = &self.base;
        let (author, originator) = (item.post.author, item.originator());
        let post = self.post(item.post);
        let parent = post.and_then(|p| p.record.reply.as_ref()).map(|r| &r.parent);
        let grandparent = parent
            .and_then(|p| self.post_at(p))
            .and_then(|p| p.record.reply.as_ref())
            .map(|r| &r.parent);
        let ancestors = [parent, grandparent].into_iter().flatten().filter_map(|r| r.actor);
        BlocksAndMutes {
            originator_muted: s.viewer_mute_exists(originator),
            originator_repost_muted: item.repost.is_some()
                && s.viewer_repost_mute_exists(originator),
            originator_blocked: s.viewer_block_exists(originator),
            author_muted: s.viewer_mute_exists(author),
            author_quotepost_muted: post.is_some_and(|p| p.is_quote())
                && s.viewer_quotepost_mute_exists(author),
            author_blocked: s.viewer_block_exists(author),
            ancestor_blocked: ancestors.into_iter().any(|a| s.viewer_block_exists(a)),
        }
    }

    /// Whether a feed item has a view: its post, its author and, for a repost, who reposted.
    #[must_use]
    pub fn has_feed_view(&self, item: &FeedItem) -> bool {
        let repost = item.pinned
            || item.repost.is_none_or(|id| {
                self.reposts.get(&id).is_some_and(|r| r.subject == Target::Post(item.post))
                    && self.base.actor(id.actor).is_some()
            });
        repost && self.post(item.post).is_some() && self.base.actor(item.post.author).is_some()
    }
}

/// Finds the posts of a page whose every ancestor is on the page too (`posts_and_author_threads`).
#[derive(Debug)]
pub struct SelfThreads {
    known: FxHashMap<PostId, Option<bool>>,
}

impl SelfThreads {
    /// Over the items of one page.
    #[must_use]
    pub fn new(items: &[FeedItem]) -> Self {
        let own = items.iter().filter(|i| i.repost.is_none());
        Self { known: own.map(|i| (i.post, None)).collect() }
    }

    /// Whether a post belongs to a complete thread of its author.
    pub fn complete(&mut self, state: &PostState, post: PostId) -> bool {
        let (mut path, mut at) = (Vec::new(), post);
        let ok = loop {
            match self.known.get(&at) {
                None => break false,
                Some(Some(known)) => break *known,
                Some(None) if path.contains(&at) => break false,
                Some(None) => path.push(at),
            }
            let Some(post) = state.post(at) else { break false };
            match (&post.record.reply, post.parent()) {
                (None, _) => break true,
                (Some(_), Some(parent)) => at = parent,
                (Some(_), None) => break false,
            }
        };
        for post in path {
            self.known.insert(post, Some(ok));
        }
        ok
    }
}
