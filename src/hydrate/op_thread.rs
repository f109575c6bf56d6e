//! The line of replies in which the author of a thread goes on with it.
//!
//! From the root on, each post of the line is the oldest reply to the one before that the author wrote, in the order of
//! record keys. A deleted reply keeps its place while replies below it are there. Once nothing is below it, only what was
//! written after the deletion takes the place: what stood beside it before was a fork, and stays one. The reference has
//! the same rules, by the name of OP thread (`data-plane/server/op-thread.ts`).

use std::vec::IntoIter;

use rustc_hash::{FxHashMap, FxHashSet};

use super::post_state::PostState;
use super::{Hydrator, Result};
use crate::schema::vacated::{self, vacated};
use crate::schema::{PostId, Rkey, Rows, each_reply, replies};

/// Replies to one post that are looked through for the author's own.
const MAX_REPLIES: usize = 20_000;
/// Posts that are looked at for the line, which is no longer than that.
const MAX_OP_THREAD: usize = 1_000;

/// A reply of the author to themselves.
struct Own {
    post: PostId,
    /// When it was deleted, if it was.
    deleted: Option<i64>,
}

/// A post of the line, and what may come after it.
struct Step {
    /// `None` for the root.
    reply: Option<Own>,
    /// The oldest first.
    next: IntoIter<Own>,
    /// When the place after it was given up by the last that had it and nothing below.
    vacated: Option<i64>,
}

impl Step {
    fn next(&mut self) -> Option<Own> {
        let vacated = self.vacated;
        self.next.find(|own| vacated.is_none_or(|since| own.post.rkey.is_after(since)))
    }
}

/// What is known of a thread while its line is followed.
struct Thread {
    root: PostId,
    root_uri: String,
    /// Deleted replies of the author to themselves, by what they replied to.
    vacated: FxHashMap<Rkey, Vec<Own>>,
}

impl Hydrator<'_> {
    /// The line, the root first, whichever post of the thread is the anchor. Those of it that are deleted are counted too,
    /// so not every one can be read. `None` if there is only the root.
    pub fn op_thread(&self, state: &mut PostState, anchor: PostId) -> Result<Option<Vec<PostId>>> {
        self.load_posts(state, [anchor])?;
        let root = match state.post(anchor) {
            Some(post) => post.root(),
            None => Some(anchor),
        };
        let Some(root) = root else { return Ok(None) };
        let mut thread = self.thread_of(root)?;
        let mut seen: FxHashSet<PostId> = [root].into_iter().collect();
        let next = self.own_replies(state, &mut thread, root)?.into_iter();
        let mut line = vec![Step { reply: None, next, vacated: None }];
        let mut looked_at = 1;
        while let Some(last) = line.last_mut() {
            if let Some(own) = last.next().filter(|_| looked_at < MAX_OP_THREAD) {
                looked_at += 1;
                // References by URI allow posts that reply to one another in a circle: that is no line.
                if !seen.insert(own.post) {
                    return Ok(None);
                }
                let next = self.own_replies(state, &mut thread, own.post)?.into_iter();
                line.push(Step { reply: Some(own), next, vacated: None });
                continue;
            }
            // Nothing comes after it. If it is there, the line ends with it.
            let Some(Own { post, deleted: Some(deleted) }) = last.reply else { break };
            seen.remove(&post);
            line.pop();
            if let Some(above) = line.last_mut() {
                above.vacated = above.vacated.max(Some(deleted));
            }
        }
        let line: Vec<PostId> =
            line.iter().map(|step| step.reply.as_ref().map_or(root, |own| own.post)).collect();
        Ok((line.len() > 1).then_some(line))
    }

    fn thread_of(&self, root: PostId) -> Result<Thread> {
        let mut by_parent: FxHashMap<Rkey, Vec<Own>> = FxHashMap::default();
        for (post, row) in vacated(self.snapshot, root, vacated::MOST)? {
            by_parent.entry(row.parent).or_default().push(Own { post, deleted: Some(row.deleted) });
        }
        Ok(Thread { root, root_uri: self.snapshot.post_uri(root)?, vacated: by_parent })
    }

    /// The replies to `parent` in the thread that the author wrote, the oldest first, with those that were deleted.
    fn own_replies(
        &self,
        state: &mut PostState,
        thread: &mut Thread,
        parent: PostId,
    ) -> Result<Vec<Own>> {
        let mut own = Vec::new();
        for post in self.replies_by_author(state, thread.root, parent)? {
            self.load_posts(state, [post])?;
            let Some(found) = state.post(post) else { continue };
            if **found.root_uri() == *thread.root_uri {
                own.push((found.record.uri.to_string(), Own { post, deleted: None }));
            }
        }
        if parent.author == thread.root.author {
            for gone in thread.vacated.remove(&parent.rkey).unwrap_or_default() {
                // One that came again is there.
                if !own.iter().any(|(_, own)| own.post == gone.post) {
                    own.push((self.snapshot.post_uri(gone.post)?, gone));
                }
            }
        }
        own.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(own.into_iter().map(|(_, own)| own).collect())
    }

    fn replies_by_author(
        &self,
        state: &mut PostState,
        root: PostId,
        parent: PostId,
    ) -> Result<Vec<PostId>> {
        if !self.post_agg(state, parent)?.has_replies() {
            return Ok(Vec::new());
        }
        if let Some(mut replies) = replies(self.snapshot, parent)? {
            replies.retain(|post| post.author == root.author);
            return Ok(replies);
        }
        let (mut out, mut read) = (Vec::new(), 0);
        each_reply(self.snapshot, parent, true, &mut |post| {
            out.extend(Some(post).filter(|post| post.author == root.author));
            read += 1;
            read < MAX_REPLIES
        })?;
        Ok(out)
    }
}
