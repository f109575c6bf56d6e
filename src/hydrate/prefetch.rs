//! Prefetching: what a big answer needs and no cache has is read by several threads at once.
//!
//! A post that nobody saw lately, with its author, costs the better part of 0.1 ms, most of it for blocks that have to be
//! unpacked, and a thread has a thousand of them. What is read here only fills the caches, so the answer is the same
//! without it. Replies are followed here rather than level by level: helpers that wait for one another at each of ten
//! levels lose a seventh of the time.

use std::collections::VecDeque;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::{Hydrator, Result};
use crate::schema::{PostId, Rows, Target};
use crate::store::Ks;

/// Fewer posts than that are read by whoever needs them.
const FEW: usize = 48;
/// Posts that are looked up first, to tell whether the rest is cached.
const SAMPLE: usize = 16;
/// Posts that a thread takes at a time.
const BATCH: usize = 4;
/// Threads that help a single answer.
const MAX_HELPERS: usize = 3;

/// How many threads may help an answer on this machine.
pub(super) fn helpers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).min(MAX_HELPERS)
}

/// Posts that several threads read, and the replies to them, which they find on the way.
struct PrefetchQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

struct QueueState {
    /// Each with how many levels below it are wanted.
    waiting: VecDeque<(PostId, usize)>,
    /// Threads that may still find more.
    busy: usize,
    /// How many more posts may be added.
    room: usize,
}

impl PrefetchQueue {
    /// The next posts to read; `None` when all is read.
    fn take(&self) -> Option<PrefetchBatch<'_>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && state.busy > 0 {
            self.changed.wait(&mut state);
        }
        if state.waiting.is_empty() {
            return None;
        }
        let many = state.waiting.len().min(BATCH);
        let posts = state.waiting.drain(..many).collect();
        state.busy += 1;
        Some(PrefetchBatch { queue: self, posts, found: Vec::new() })
    }
}

/// The posts that one thread reads. When it is dropped, also in a panic, the replies that were found go into the queue for
/// the others.
struct PrefetchBatch<'q> {
    queue: &'q PrefetchQueue,
    posts: Vec<(PostId, usize)>,
    found: Vec<(PostId, usize)>,
}

impl Drop for PrefetchBatch<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        let many = self.found.len().min(state.room);
        state.room -= many;
        state.waiting.extend(self.found.drain(..many));
        state.busy -= 1;
        self.queue.changed.notify_all();
    }
}

impl Hydrator<'_> {
    /// Reads what the views of `ids` need, and of up to `room` posts on the `below` levels below them. Does nothing if
    /// these are few or cached already.
    pub(super) fn read_ahead(&self, ids: &[PostId], below: usize, room: usize) {
        if self.shared.helpers == 0 || ids.len() < FEW {
            return;
        }
        // Mostly everything is cached already; a sample tells without looking at each post.
        let some = ids.iter().step_by(ids.len() / SAMPLE);
        let missing = some.filter(|id| !self.holds(**id)).count();
        if missing * (ids.len() / SAMPLE) < FEW / 2 {
            return;
        }
        let missing = ids.iter().filter(|id| !self.holds(**id));
        let waiting: VecDeque<_> = missing.map(|id| (*id, below)).collect();
        if waiting.len() < FEW {
            return;
        }
        let state = Mutex::new(QueueState { waiting, busy: 0, room });
        let queue = PrefetchQueue { state, changed: Condvar::new() };
        let work = || {
            while let Some(mut part) = queue.take() {
                for (id, below) in part.posts.drain(..) {
                    // An error is not lost: the answer reads the post again and meets it there.
                    let replies = self.touch(id, below).unwrap_or_default();
                    part.found.extend(replies.into_iter().map(|id| (id, below - 1)));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.shared.helpers {
                let helper = thread::Builder::new().name("read-ahead".to_owned());
                // If the system refuses a thread, the others read what is left.
                drop(helper.spawn_scoped(scope, work));
            }
            work();
        });
    }

    fn holds(&self, id: PostId) -> bool {
        id.is_community() || self.snapshot.holds(&self.shared.posts, (Ks::Post, &id.to_bytes()))
    }

    /// Reads what a view of a post needs; gives the replies to it if levels below it are wanted.
    fn touch(&self, id: PostId, below: usize) -> Result<Vec<PostId>> {
        let replies = match self.snapshot.agg(Target::Post(id))?.has_replies() && below > 0 {
            true => crate::schema::replies(self.snapshot, id)?.unwrap_or_default(),
            false => Vec::new(),
        };
        self.read_post(id)?;
        self.actor(id.author)?;
        self.block_set(id.author)?;
        self.touch_labels(id.author)?;
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::super::post_state::PostState;
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;

    #[test]
    fn a_big_thread_is_read_ahead_once_and_changes_nothing() {
        let f = Fixture::new();
        let alice = f.account("alice");
        let root = f.post(alice, NOW - 1000, serde_json::json!({}));
        let people: Vec<_> = (0..FEW).map(|n| f.account(&format!("p{n}"))).collect();
        let mut replies = Vec::new();
        for (n, author) in people.iter().enumerate() {
            replies.push(f.reply(*author, NOW - 500 + n as i64, root, root));
        }
        let below = f.reply(alice, NOW, root, replies[3]);
        let held = |f: &Fixture| {
            f.hydrate(&seen_by(None), |h| replies.iter().filter(|id| h.holds(**id)).count())
        };
        let deepest = f.reply(alice, NOW + 1, root, below);
        let others =
            |f: &Fixture| f.hydrate(&seen_by(None), |h| [below, deepest].map(|id| h.holds(id)));
        f.hydrate(&seen_by(None), |h| h.read_ahead(&replies[1..], 10, 100));
        assert_eq!(held(&f), 0, "too few");
        f.hydrate(&seen_by(None), |h| h.read_ahead(&replies, 1, 100));
        assert_eq!((held(&f), others(&f)), (FEW, [true, false]));
        f.hydrate(&seen_by(None), |h| {
            let mut state = PostState::new(&h);
            let thread = h.thread_skeleton(&mut state, root, 0, 10).unwrap();
            assert_eq!(thread.posts.len(), FEW + 3);
            h.thread_posts(&mut state, &thread).unwrap();
            assert_eq!(thread.children[&replies[3]], [below]);
            assert!(thread.posts.iter().all(|id| state.post(*id).is_some()));
        });
    }
}
