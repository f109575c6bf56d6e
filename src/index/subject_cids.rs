//! The CIDs that likes and reposts of a subject agree on, remembered for those that are liked now, so that the next like
//! does not read the post for its CID.
//!
//! # Invariants
//! - What is remembered of a subject is what [`shared_cid`](crate::schema::rebuild::shared_cid) says of it in the open batch.
//!   Whoever changes that, or takes such a change back, forgets it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::schema::Target;
use crate::store::Sets;

/// A subject and a CID, each as a hash with a key of this process: 32 bits beside the place for the one, 64 for the other.
/// A subject that is taken for another only costs a like 32 bytes: it then has a CID of its own.
pub(super) struct SubjectCids {
    pairs: Sets<3, 8>,
    /// Part of what is hashed, so that nothing of before is found after it changed.
    generation: AtomicU64,
}

impl SubjectCids {
    /// As many as fit into so many bytes, twelve for each.
    pub(super) fn new(bytes: u64) -> Self {
        Self { pairs: Sets::new(bytes), generation: AtomicU64::new(0) }
    }

    /// Whether this is the CID of the subject, if one is remembered.
    pub(super) fn is(&self, target: Target, digest: &[u8; 32]) -> Option<bool> {
        let (place, tag) = self.place(target);
        let [_, high, low] = self.pairs.get(place, |pair| is(pair, tag))?;
        Some([high, low] == self.cid(place, digest))
    }

    pub(super) fn remember(&self, target: Target, digest: &[u8; 32]) {
        let (place, tag) = self.place(target);
        let [high, low] = self.cid(place, digest);
        self.pairs.put(place, |pair| is(pair, tag), [tag, high, low]);
    }

    pub(super) fn forget(&self, target: Target) {
        let (place, tag) = self.place(target);
        self.pairs.remove(place, |pair| is(pair, tag));
    }

    /// Nothing is remembered any more. After what was taken back, as it may have agreed on a CID that no row has now.
    pub(super) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn place(&self, target: Target) -> (u64, [u8; 4]) {
        let place = self.pairs.hash((self.generation.load(Ordering::Relaxed), target));
        let [_, [a, b, c, last]] = halves(place);
        // Zero is no entry.
        (place, [a, b, c, last | 1])
    }

    fn cid(&self, place: u64, digest: &[u8; 32]) -> [[u8; 4]; 2] {
        halves(self.pairs.hash((place, digest)))
    }
}

fn is([held, ..]: &[[u8; 4]; 3], tag: [u8; 4]) -> bool {
    *held == tag
}

fn halves(hash: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
    [[a, b, c, d], [e, f, g, h]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ActorId, PostId, Rkey};

    fn post(n: u64) -> Target {
        Target::Post(PostId { author: ActorId(1), rkey: Rkey(n) })
    }

    #[test]
    fn a_subject_has_the_cid_that_was_remembered_last_until_it_is_forgotten() {
        let cids = SubjectCids::new(1 << 20);
        assert_eq!(cids.is(post(1), &[1; 32]), None);
        cids.remember(post(1), &[1; 32]);
        cids.remember(post(2), &[2; 32]);
        let said = |n, digest| cids.is(post(n), &[digest; 32]);
        assert_eq!([said(1, 1), said(1, 2), said(2, 2)], [Some(true), Some(false), Some(true)]);
        cids.remember(post(1), &[3; 32]);
        assert_eq!([said(1, 1), said(1, 3)], [Some(false), Some(true)]);
        cids.forget(post(1));
        assert_eq!([said(1, 3), said(2, 2)], [None, Some(true)]);
        cids.clear();
        assert_eq!(said(2, 2), None);
        cids.remember(post(2), &[4; 32]);
        assert_eq!([said(2, 2), said(2, 4)], [Some(false), Some(true)]);
    }

    #[test]
    fn hundreds_of_thousands_are_remembered_in_a_few_megabytes() {
        let cids = SubjectCids::new(8 << 20);
        for n in 0..400_000 {
            cids.remember(post(n), &[7; 32]);
        }
        let held = (0..400_000).filter(|n| cids.is(post(*n), &[7; 32]) == Some(true)).count();
        assert!(held > 390_000, "{held}");
    }
}
