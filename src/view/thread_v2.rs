//! Threads as flat lists (`app.bsky.unspecced.getPostThreadV2` and `getPostThreadOtherV2`): the anchor at depth 0,
//! parents above it at negative depths, replies below, sorted, bumped and cut to the branching factor.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::Serialize;

use super::actor::{actor_labels, says_no_unauthenticated};
use super::post::{BlockedAuthor, PostView};
use crate::hydrate::post_flags;
use crate::hydrate::post_record::RecordRef;
use crate::hydrate::post_state::{Post, PostState};
use crate::hydrate::thread::ThreadSkeleton;
use crate::hydrate::{Actor, ActorId, PostId, Target};

/// An entry of a flat thread.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ThreadItem<'a> {
    pub uri: &'a str,
    pub depth: i64,
    pub value: ThreadValue<'a>,
}

/// What an entry shows.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
#[expect(missing_docs, reason = "the lexicon says it")]
pub enum ThreadValue<'a> {
    #[serde(rename = "app.bsky.unspecced.defs#threadItemPost")]
    Post(Box<ThreadItemPost<'a>>),
    #[serde(rename = "app.bsky.unspecced.defs#threadItemNoUnauthenticated")]
    NoUnauthenticated {},
    #[serde(rename = "app.bsky.unspecced.defs#threadItemNotFound")]
    NotFound {},
    #[serde(rename = "app.bsky.unspecced.defs#threadItemBlocked")]
    Blocked { author: BlockedAuthor<'a> },
}

/// `app.bsky.unspecced.defs#threadItemPost`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ThreadItemPost<'a> {
    pub post: PostView<'a>,
    more_parents: bool,
    pub more_replies: u64,
    pub op_thread: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_thread_post_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_thread_post_count: Option<usize>,
    hidden_by_threadgate: bool,
    muted_by_viewer: bool,
}

/// `sort` of `app.bsky.unspecced.getPostThreadV2`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadSort {
    /// `oldest`
    Oldest,
    /// `top`
    Top,
    /// `newest`, and every other name.
    Newest,
}

impl ThreadSort {
    /// The sort of that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "oldest" => Self::Oldest,
            "top" => Self::Top,
            _ => Self::Newest,
        }
    }
}

/// What part of a thread is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ThreadShape<'t> {
    /// Levels above.
    pub above: usize,
    /// Levels below.
    pub below: usize,
    /// Replies to each reply; all replies to the anchor are there.
    pub branching: usize,
    /// The order of replies.
    pub sort: ThreadSort,
    /// The line of the author's own replies, root first.
    pub op_thread: Option<&'t [PostId]>,
}

/// A flat thread.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlatThread<'a> {
    /// Whether `getPostThreadOtherV2` has more.
    pub has_other_replies: bool,
    /// The entries.
    pub thread: Vec<ThreadItem<'a>>,
}

impl<'a> FlatThread<'a> {
    /// A thread whose anchor is not there.
    #[must_use]
    pub fn not_found(uri: &'a str) -> Self {
        let item = ThreadItem { uri, depth: 0, value: ThreadValue::NotFound {} };
        Self { has_other_replies: false, thread: vec![item] }
    }
}

/// A reply while it is sorted.
struct TreeNode<'a> {
    id: PostId,
    sort: i64,
    likes: u64,
    op_like: bool,
    followed: bool,
    /// One of its tags puts it behind others.
    bumped_down: bool,
    item: ThreadItem<'a>,
    replies: Vec<TreeNode<'a>>,
}

/// What keeps a reply out of the main thread.
#[derive(Debug, Clone, Copy, Default)]
struct Other {
    hidden: bool,
    muted: bool,
    pushpin: bool,
    /// One of its tags hides it from this viewer.
    tagged: bool,
    /// One of its tags hides it from some.
    tagged_for_some: bool,
}

impl Other {
    fn any(self) -> bool {
        self.hidden || self.muted || self.pushpin || self.tagged
    }
}

struct Builder<'a, 't> {
    state: &'a PostState,
    thread: &'t ThreadSkeleton,
    shape: ThreadShape<'t>,
    root: &'a Arc<str>,
    /// The author of the root.
    op: Option<ActorId>,
}

impl PostState {
    /// The thread around its anchor.
    #[must_use]
    pub fn thread_v2<'a>(
        &'a self,
        thread: &ThreadSkeleton,
        shape: ThreadShape<'_>,
        anchor_uri: &'a str,
    ) -> FlatThread<'a> {
        let found = self.post(thread.anchor).zip(self.post_view(thread.anchor, 0));
        let Some((post, view)) = found else { return FlatThread::not_found(anchor_uri) };
        let uri = &*post.record.uri;
        if self.base.viewer_block_exists(post.id.author) {
            let value = ThreadValue::Blocked { author: self.blocked_author_of(post) };
            let item = ThreadItem { uri, depth: 0, value };
            return FlatThread { has_other_replies: false, thread: vec![item] };
        }
        let b = Builder::new(self, thread, shape, post);
        let gated = post.has(post_flags::VIOLATES_THREADGATE);
        let own = b.op == Some(post.id.author);
        let (mut items, line) = if gated { (Vec::new(), None) } else { b.parents(post) };
        let in_line = own && line.unwrap_or(true);
        let mut has_other_replies = false;
        let mut replies = Vec::new();
        let hidden = self.is_no_unauthenticated(thread.anchor.author);
        if hidden {
            items.push(ThreadItem { uri, depth: 0, value: ThreadValue::NoUnauthenticated {} });
        } else {
            // The anchor's replies are all in the answer, so it never says that there are more.
            items.push(b.item(view, uri, 0, in_line, 0));
            if !gated {
                (replies, has_other_replies) = b.replies(thread.anchor, in_line, 1);
            }
        }
        b.flatten(replies, 0, &mut items);
        b.number(&mut items);
        FlatThread { has_other_replies, thread: items }
    }

    /// The replies to the anchor that the thread leaves out.
    #[must_use]
    pub fn thread_other_v2(&self, thread: &ThreadSkeleton) -> Vec<ThreadItem<'_>> {
        let Some(post) = self.post(thread.anchor) else { return Vec::new() };
        if self.base.actor(post.id.author).is_none()
            || self.base.viewer_block_exists(post.id.author)
        {
            return Vec::new();
        }
        let shape = ThreadShape {
            above: 0,
            below: 1,
            branching: 0,
            sort: ThreadSort::Newest,
            op_thread: None,
        };
        Builder::new(self, thread, shape, post).others(thread.anchor)
    }

    /// Anonymous callers do not see posts of authors who ask for that with a label.
    #[must_use]
    pub fn is_no_unauthenticated(&self, author: ActorId) -> bool {
        let says_so =
            |actor: &Arc<Actor>| says_no_unauthenticated(&actor_labels(&self.base, actor));
        !self.base.ctx.signed_in && self.base.actor(author).is_some_and(says_so)
    }
}

impl<'a, 't> Builder<'a, 't> {
    fn new(
        state: &'a PostState,
        thread: &'t ThreadSkeleton,
        shape: ThreadShape<'t>,
        anchor: &'a Post,
    ) -> Self {
        let op = match &anchor.record.reply {
            Some(reply) => reply.root.actor,
            None => Some(anchor.id.author),
        };
        Self { state, thread, shape, root: anchor.root_uri(), op }
    }

    fn item(
        &self,
        post: PostView<'a>,
        uri: &'a str,
        depth: i64,
        op_thread: bool,
        more_replies: u64,
    ) -> ThreadItem<'a> {
        let value = ThreadItemPost {
            post,
            more_parents: false,
            more_replies,
            op_thread,
            op_thread_post_index: None,
            op_thread_post_count: None,
            hidden_by_threadgate: false,
            muted_by_viewer: false,
        };
        ThreadItem { uri, depth, value: ThreadValue::Post(Box::new(value)) }
    }

    /// The entries above the anchor, the topmost first, and whether they are an unbroken line of the author's own; `None`
    /// if there is nothing above.
    fn parents(&self, anchor: &'a Post) -> (Vec<ThreadItem<'a>>, Option<bool>) {
        let state = self.state;
        let (mut items, mut at, mut depth) = (Vec::new(), anchor, -1i64);
        let mut line = true;
        // The walk ended at the topmost entry, which is a post of the thread.
        let mut complete = true;
        while depth.unsigned_abs() <= self.shape.above as u64 {
            let Some(reply) = at.record.reply.as_ref() else { break };
            let uri = &*reply.parent.uri;
            let found =
                reply.parent.post().and_then(|id| Some((state.post(id)?, state.post_view(id, 0)?)));
            let Some((post, view)) = found else {
                items.push((ThreadItem { uri, depth, value: ThreadValue::NotFound {} }, None));
                complete = false;
                break;
            };
            if post.root_uri() != self.root {
                break;
            }
            if self.is_blocked_parent(at, &reply.parent) {
                let value = ThreadValue::Blocked { author: state.blocked_author_of(post) };
                items.push((ThreadItem { uri, depth, value }, None));
                complete = false;
                break;
            }
            let item = if state.is_no_unauthenticated(post.id.author) {
                ThreadItem { uri, depth, value: ThreadValue::NoUnauthenticated {} }
            } else {
                self.item(view, uri, depth, false, 0)
            };
            items.push((item, Some(post)));
            at = post;
            depth -= 1;
        }
        let any = !items.is_empty();
        // From the top down, a post is in the author's line if all above it are.
        let mut above_in_line = complete;
        let mut first = true;
        for (item, post) in items.iter_mut().rev() {
            let Some(post) = post else {
                above_in_line = false;
                first = false;
                continue;
            };
            let in_line = above_in_line && self.op == Some(post.id.author);
            if let ThreadValue::Post(value) = &mut item.value {
                value.op_thread = in_line;
                value.more_parents = first && post.record.reply.is_some();
            }
            above_in_line = in_line;
            first = false;
            line = in_line;
        }
        if !complete && items.len() == 1 {
            line = false;
        }
        let entries = items.into_iter().rev().map(|(item, _)| item).collect();
        (entries, any.then_some(line))
    }

    fn is_blocked_parent(&self, child: &Post, parent: &RecordRef) -> bool {
        let state = self.state;
        let third_party = !state.base.ctx.include_3p_blocks
            && state.blocks.get(&child.id).is_some_and(|b| b.parent);
        third_party || parent.actor.is_some_and(|a| state.base.viewer_block_exists(a))
    }

    /// The replies to a post, and whether some were left for the other thread.
    fn replies(&self, parent: PostId, in_line: bool, depth: usize) -> (Vec<TreeNode<'a>>, bool) {
        let mut others = false;
        if depth > self.shape.below {
            return (Vec::new(), false);
        }
        let mut nodes = Vec::new();
        for &id in self.children(parent) {
            let Some((post, view)) = self.included(id) else { continue };
            if self.other(post).any() {
                others |= depth == 1;
                continue;
            }
            let in_line = in_line && self.op == Some(id.author);
            let (replies, _) = self.replies(id, in_line, depth + 1);
            let room = if depth == self.shape.below { 0 } else { self.shape.branching as u64 };
            let more = view.reply_count.saturating_sub(room);
            nodes.push(self.node(post, view, depth, in_line, more, replies));
        }
        (nodes, others)
    }

    fn node(
        &self,
        post: &'a Post,
        view: PostView<'a>,
        depth: usize,
        in_line: bool,
        more: u64,
        replies: Vec<TreeNode<'a>>,
    ) -> TreeNode<'a> {
        TreeNode {
            id: post.id,
            sort: post.sort,
            likes: view.like_count,
            op_like: self.state.root_author_likes.contains_key(&post.id),
            followed: self.state.base.viewer_follows(post.id.author),
            bumped_down: self.state.base.tags.of_record(&post.record.uri).bump_down,
            item: self.item(
                view,
                &post.record.uri,
                i64::try_from(depth).unwrap_or(0),
                in_line,
                more,
            ),
            replies,
        }
    }

    fn children(&self, parent: PostId) -> &'t [PostId] {
        self.thread.children.get(&parent).map(Vec::as_slice).unwrap_or_default()
    }

    /// A reply that belongs to the thread and is to be shown.
    fn included(&self, id: PostId) -> Option<(&'a Post, PostView<'a>)> {
        let state = self.state;
        let post = state.post(id)?;
        let third_party =
            !state.base.ctx.include_3p_blocks && state.blocks.get(&id).is_some_and(|b| b.parent);
        if post.has(post_flags::VIOLATES_THREADGATE)
            || third_party
            || post.root_uri() != self.root
            || state.base.viewer_block_exists(id.author)
            || !state.base.viewer_sees_needs_review(Target::Post(id))
        {
            return None;
        }
        let view = state.post_view(id, 0)?;
        (!state.is_no_unauthenticated(id.author)).then_some((post, view))
    }

    fn other(&self, post: &Post) -> Other {
        let state = self.state;
        let gate = post.root().and_then(|root| state.threadgates.get(&root));
        let author = post.id.author;
        let own = state.base.ctx.viewer == Some(author);
        let spared = own || self.op == Some(author) || state.base.viewer_follows(author);
        let tagged_for_some = state.base.tags.of_record(&post.record.uri).hide_in_threads;
        Other {
            hidden: !own && gate.is_some_and(|g| g.hidden.iter().any(|u| **u == *post.record.uri)),
            muted: state.base.viewer_mute_exists(author),
            pushpin: post.record.only_pushpin,
            tagged: tagged_for_some && !spared,
            tagged_for_some,
        }
    }

    /// Whether a reply comes before others, by the first of these that tells: the author's line, the author, the viewer,
    /// whom the viewer follows.
    fn bumps(&self, node: &TreeNode<'_>) -> [bool; 4] {
        let author = Some(node.id.author);
        [
            self.shape.op_thread.is_some_and(|line| line.contains(&node.id)),
            self.op == author,
            self.state.base.ctx.viewer == author,
            node.followed,
        ]
    }

    fn order(&self, a: &TreeNode<'_>, b: &TreeNode<'_>) -> Ordering {
        let (bumps_a, bumps_b) = (self.bumps(a), self.bumps(b));
        for (in_a, in_b) in bumps_a.iter().zip(&bumps_b) {
            match (in_a, in_b) {
                (true, true) => break,
                (true, false) => return Ordering::Less,
                (false, true) => return Ordering::Greater,
                (false, false) => {}
            }
        }
        // If one of these rules held for both, it leaves the rest to the time.
        let undecided = bumps_a.iter().zip(&bumps_b).all(|(in_a, in_b)| !in_a && !in_b);
        if undecided && a.bumped_down != b.bumped_down {
            return a.bumped_down.cmp(&b.bumped_down);
        }
        match self.shape.sort {
            ThreadSort::Oldest => a.sort.cmp(&b.sort),
            ThreadSort::Top => top(b).total_cmp(&top(a)).then(b.sort.cmp(&a.sort)),
            ThreadSort::Newest => b.sort.cmp(&a.sort),
        }
    }

    /// Sorts the replies to a post, cuts them unless they are the anchor's, and appends them with what is below.
    fn flatten(&self, mut nodes: Vec<TreeNode<'a>>, depth: usize, out: &mut Vec<ThreadItem<'a>>) {
        nodes.sort_by(|a, b| self.order(a, b));
        if depth > 0 {
            nodes.truncate(self.shape.branching);
        }
        for node in nodes {
            out.push(node.item);
            self.flatten(node.replies, depth + 1, out);
        }
    }

    /// Numbers the posts of the author's line, which then also decides what belongs to it.
    fn number(&self, items: &mut [ThreadItem<'a>]) {
        let Some(line) = self.shape.op_thread else { return };
        for item in items {
            let ThreadValue::Post(value) = &mut item.value else { continue };
            let at = line
                .iter()
                .position(|id| self.state.post(*id).is_some_and(|p| *p.record.uri == *item.uri));
            value.op_thread = at.is_some();
            value.op_thread_post_index = at.map(|i| i + 1);
            value.op_thread_post_count = at.map(|_| line.len());
        }
    }

    /// The replies to `anchor` that the thread leaves out: those hidden by the gate come last.
    fn others(&self, anchor: PostId) -> Vec<ThreadItem<'a>> {
        let mut nodes: Vec<(Other, TreeNode<'a>)> = Vec::new();
        for &id in self.children(anchor) {
            let Some((post, view)) = self.included(id) else { continue };
            let other = self.other(post);
            if !other.any() {
                continue;
            }
            let mut node = self.node(post, view, 1, false, 0, Vec::new());
            if let ThreadValue::Post(value) = &mut node.item.value {
                value.hidden_by_threadgate = other.hidden;
                value.muted_by_viewer = other.muted;
            }
            nodes.push((other, node));
        }
        nodes.sort_by(|(other_a, a), (other_b, b)| {
            let up = |n: &TreeNode<'_>| {
                let [_, op, viewer, _] = self.bumps(n);
                [op, viewer]
            };
            let key = |n: &TreeNode<'_>, o: &Other| {
                let [op, viewer] = up(n);
                // The first rule that holds for both leaves it to the time.
                if op {
                    0
                } else if viewer {
                    1
                } else if o.muted {
                    5
                } else if o.tagged_for_some {
                    4
                } else if o.hidden {
                    3
                } else {
                    2
                }
            };
            key(a, other_a).cmp(&key(b, other_b)).then(b.sort.cmp(&a.sort))
        });
        nodes.into_iter().map(|(_, node)| node.item).collect()
    }
}

/// What a reply is worth: likes with diminishing returns, more if the thread's author is among them.
fn top(node: &TreeNode<'_>) -> f64 {
    let likes = u32::try_from(node.likes).unwrap_or(u32::MAX);
    (3.0 + f64::from(likes)).ln() * if node.op_like { 1.45 } else { 1.0 }
}
