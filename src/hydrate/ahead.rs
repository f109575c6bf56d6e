//! Reading ahead: what a big answer needs and no cache has is read by several threads at once.
//!
//! A post that nobody saw lately, with its author, costs the better part of 0.1 ms, most of it for blocks that have to be
//! unpacked, and a thread has a thousand of them. What is read here lands in the caches, where the answer finds it: it is
//! the same without.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Hydrator, Result};
use crate::store::{Ks, PostId, Reader, Target};

/// Fewer posts than that are read by whoever needs them.
const FEW: usize = 48;
/// Posts by which it is told whether the others are held.
const SAMPLE: usize = 16;
/// Posts that a thread takes at a time.
const PART: usize = 8;
/// Threads that help a single answer.
const MAX_HELPERS: usize = 3;

/// How many threads may help an answer on this machine.
pub(super) fn helpers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).min(MAX_HELPERS)
}

impl Hydrator<'_> {
    /// Reads what views of `ids` need, with `replies` what is below them too, unless it is little or held already.
    pub(super) fn read_ahead(&self, ids: &[PostId], replies: bool) {
        if self.shared.helpers == 0 || ids.len() < FEW {
            return;
        }
        // Mostly all of it is held, which some of them tell.
        let some = ids.iter().step_by(ids.len() / SAMPLE);
        let missing = some.filter(|id| !self.holds(**id)).count();
        if missing * (ids.len() / SAMPLE) < FEW / 2 {
            return;
        }
        let missing: Vec<PostId> = ids.iter().copied().filter(|id| !self.holds(*id)).collect();
        if missing.len() < FEW {
            return;
        }
        let parts: Vec<&[PostId]> = missing.chunks(PART).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Whoever reads it again meets the same error.
                part.iter().for_each(|id| drop(self.touch(*id, replies)));
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.shared.helpers {
                let helper = thread::Builder::new().name("read-ahead".to_owned());
                // Where the system has no thread to give, the others do its part.
                drop(helper.spawn_scoped(scope, work));
            }
            work();
        });
    }

    fn holds(&self, id: PostId) -> bool {
        id.is_community() || self.snapshot.holds(&self.shared.posts, (Ks::Post, &id.to_bytes()))
    }

    fn touch(&self, id: PostId, replies: bool) -> Result<()> {
        if self.snapshot.agg(Target::Post(id))?.has_replies() && replies {
            self.snapshot.replies(id)?;
        }
        self.read_post(id)?;
        self.actor(id.author)?;
        self.against(id.author)?;
        self.touch_labels(id.author)
    }
}

#[cfg(test)]
mod tests {
    use super::super::post::PostState;
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
        f.hydrate(&seen_by(None), |h| h.read_ahead(&replies[1..], true));
        assert_eq!(held(&f), 0, "too few");
        f.hydrate(&seen_by(None), |h| h.read_ahead(&replies, true));
        assert_eq!(held(&f), FEW);
        f.hydrate(&seen_by(None), |h| {
            let mut state = PostState::new(&h);
            let thread = h.thread_skeleton(&mut state, root, 0, 10).unwrap();
            assert_eq!(thread.posts.len(), FEW + 2);
            h.thread_posts(&mut state, &thread).unwrap();
            assert_eq!(thread.children[&replies[3]], [below]);
            assert!(thread.posts.iter().all(|id| state.post(*id).is_some()));
        });
    }
}
