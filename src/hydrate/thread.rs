//! Threads: the posts above and below one.
//!
//! # Invariants
//! - However large a thread is, a bounded number of posts is read, those nearest to the anchor first; cycles, which
//!   references by URI allow, end.

use rustc_hash::{FxHashMap, FxHashSet};

use super::own_edges::OwnEdges;
use super::post_state::{KnownLikers, PostState};
use super::{Hydrator, Result};
use crate::schema::rows::{Counter, EdgeKind};
use crate::schema::{PostId, Rows, Target, each_reply, replies};

/// Posts below an anchor.
const MAX_BELOW: usize = 4_000;
/// Among so many of the latest likers those whom the viewer follows are looked for, and so many of these are shown.
const KNOWN_LIKERS: (usize, usize) = (500, 3);

/// Which posts a thread has.
#[derive(Debug, Clone)]
pub struct ThreadSkeleton {
    /// The post in question.
    pub anchor: PostId,
    /// Every post: above and below.
    pub posts: Vec<PostId>,
    /// Replies by parent, the newest first.
    pub children: FxHashMap<PostId, Vec<PostId>>,
}

impl Hydrator<'_> {
    /// The posts up to `above` levels above and `below` levels below `anchor`.
    pub fn thread_skeleton(
        &self,
        state: &mut PostState,
        anchor: PostId,
        above: usize,
        below: usize,
    ) -> Result<ThreadSkeleton> {
        let mut posts = vec![anchor];
        let mut seen: FxHashSet<PostId> = [anchor].into_iter().collect();
        let mut at = anchor;
        for _ in 0..above {
            self.load_posts(state, [at])?;
            let parent = state.post(at).and_then(|p| p.parent()).filter(|p| seen.insert(*p));
            let Some(parent) = parent else { break };
            posts.push(parent);
            at = parent;
        }
        let mut children = FxHashMap::default();
        let mut seen: FxHashSet<PostId> = [anchor].into_iter().collect();
        let mut level = vec![anchor];
        for depth in 0..below {
            let mut next = Vec::new();
            self.read_ahead(&level, below - depth, MAX_BELOW.saturating_sub(seen.len()));
            for parent in std::mem::take(&mut level) {
                let room = MAX_BELOW.saturating_sub(seen.len());
                if room == 0 {
                    break;
                }
                let replies: Vec<PostId> = self
                    .replies(state, parent, room)?
                    .into_iter()
                    .filter(|p| seen.insert(*p))
                    .collect();
                next.extend_from_slice(&replies);
                if !replies.is_empty() {
                    children.insert(parent, replies);
                }
            }
            posts.extend_from_slice(&next);
            level = next;
            if level.is_empty() {
                break;
            }
        }
        Ok(ThreadSkeleton { anchor, posts, children })
    }

    /// The newest replies to a post.
    fn replies(&self, state: &mut PostState, parent: PostId, limit: usize) -> Result<Vec<PostId>> {
        // Most posts have no replies, and the counters that say so are needed for the view anyway.
        if !self.post_agg(state, parent)?.has_replies() {
            return Ok(Vec::new());
        }
        if let Some(mut replies) = replies(self.snapshot, parent)? {
            replies.truncate(limit);
            return Ok(replies);
        }
        let mut out = Vec::new();
        each_reply(self.snapshot, parent, false, &mut |post| {
            out.push(post);
            out.len() < limit
        })?;
        Ok(out)
    }

    /// Hydrates the posts of a thread, and which of them the author of their root likes.
    pub fn thread_posts(&self, state: &mut PostState, thread: &ThreadSkeleton) -> Result<()> {
        self.posts(state, &thread.posts)?;
        let mut own_edges = OwnEdges::default();
        for id in &thread.posts {
            let root_author = state.post(*id).and_then(|p| match &p.record.reply {
                Some(reply) => reply.root.actor,
                None => Some(p.id.author),
            });
            let Some(author) = root_author else { continue };
            if state.base.agg(Target::Post(*id)).get(Counter::Likes) == 0 {
                continue;
            }
            if let Some(like) = self.own_edge(&mut own_edges, EdgeKind::Like, *id, author)? {
                state.root_author_likes.insert(*id, like);
            }
        }
        Ok(())
    }

    /// Who of the latest likers of a post the viewer follows.
    pub fn known_likers(&self, state: &mut PostState, post: PostId) -> Result<()> {
        let Some(viewer) = self.ctx.viewer else { return Ok(()) };
        let (latest, shown) = KNOWN_LIKERS;
        let mut fans = Vec::with_capacity(latest);
        self.each_fan(EdgeKind::Like, Target::Post(post), None, &mut |fan| {
            fans.push(fan.actor);
            fans.len() < latest
        })?;
        let sets = self.follow_sets(viewer)?;
        let mut known = Vec::new();
        for fan in fans {
            let follows = match &sets.follows {
                Some(follows) => follows.places.contains_key(&fan),
                None => self.snapshot.fan(EdgeKind::Follow, Target::Actor(fan), viewer)?.is_some(),
            };
            if follows {
                known.push(fan);
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        let count = known.len() as u64;
        known.truncate(shown);
        self.blocks(&mut state.base, known.iter().map(|a| (post.author, *a)))?;
        self.profiles(&mut state.base, &known)?;
        state.known_likers = Some(KnownLikers { post, count, actors: known });
        Ok(())
    }
}
