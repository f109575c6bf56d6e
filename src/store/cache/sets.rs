//! Memory of a fixed size for many small things: entries of so many words in sets of a few, of which the one that was not
//! used for longest makes room. A cache with a queue and a map takes 50 to 100 bytes beside each entry; here it is none.
//!
//! Where an entry may stand is decided by a hash with a key of this process, so nobody can choose things that push each
//! other out, or two that are taken for one. Pages that no entry came to are not there: what is empty takes no memory.

use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Range;

use parking_lot::Mutex;

/// What entries are made of.
type Word = [u8; 4];

const NONE: Word = [0; 4];

/// Each has a lock of its own.
const SHARDS: u64 = 64;

/// Entries of `WORDS` words in sets of `WAYS`. An entry whose first word is zero is none.
pub(crate) struct Sets<const WORDS: usize, const WAYS: usize> {
    shards: Vec<Mutex<Vec<[Word; WORDS]>>>,
    /// Of each shard.
    sets: u64,
    hasher: RandomState,
}

impl<const WORDS: usize, const WAYS: usize> Sets<WORDS, WAYS> {
    /// As many entries as fit into so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let of_set = (WAYS * size_of::<[Word; WORDS]>()) as u64;
        let sets = (bytes / of_set / SHARDS).max(1);
        let entries = usize::try_from(sets).unwrap_or(1) * WAYS;
        let shard = |_| Mutex::new(vec![[NONE; WORDS]; entries]);
        Self { shards: (0..SHARDS).map(shard).collect(), sets, hasher: RandomState::new() }
    }

    /// Where a thing belongs; its low half tells it from others of its set.
    pub(crate) fn hash(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The entry of a thing; it stays longer than the others of its set.
    pub(crate) fn get(
        &self,
        hash: u64,
        is: impl Fn(&[Word; WORDS]) -> bool,
    ) -> Option<[Word; WORDS]> {
        self.with(hash, |set| {
            let at = set.iter().position(is)?;
            set.get_mut(..=at)?.rotate_right(1);
            set.first().copied()
        })
    }

    /// Puts an entry in the place of the one that is the same thing, or of the one that was not used for longest.
    pub(crate) fn put(&self, hash: u64, is: impl Fn(&[Word; WORDS]) -> bool, entry: [Word; WORDS]) {
        self.with(hash, |set| {
            let at = set.iter().position(|held| is(held) || held.first() == Some(&NONE));
            let at = at.unwrap_or(WAYS.saturating_sub(1));
            set.get_mut(..=at)?.rotate_right(1);
            set.first_mut().map(|first| *first = entry)
        });
    }

    /// Forgets a thing.
    pub(crate) fn remove(&self, hash: u64, is: impl Fn(&[Word; WORDS]) -> bool) {
        self.with(hash, |set| {
            let at = set.iter().position(is)?;
            // Those that are none stand at the end.
            set.get_mut(at..)?.rotate_left(1);
            set.last_mut().map(|last| *last = [NONE; WORDS])
        });
    }

    fn with<T>(&self, hash: u64, f: impl FnOnce(&mut [[Word; WORDS]]) -> Option<T>) -> Option<T> {
        let (shard, set) = self.place(hash);
        f(self.shards.get(shard)?.lock().get_mut(set)?)
    }

    fn place(&self, hash: u64) -> (usize, Range<usize>) {
        let shard = usize::try_from(hash / (u64::MAX / SHARDS + 1)).unwrap_or(0);
        let within = u128::from(hash.wrapping_mul(SHARDS)) * u128::from(self.sets);
        let first = usize::try_from(within >> u64::BITS).unwrap_or(0) * WAYS;
        (shard, first..first + WAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(n: u32) -> impl Fn(&[Word; 2]) -> bool {
        move |entry| entry[0] == n.to_be_bytes()
    }

    fn entry(n: u32, value: u32) -> [Word; 2] {
        [n.to_be_bytes(), value.to_be_bytes()]
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_makes_room() {
        let sets = Sets::<2, 4>::new(0);
        for n in 1..=4 {
            sets.put(7, is(n), entry(n, 10 * n));
        }
        assert_eq!(sets.get(7, is(1)), Some(entry(1, 10)));
        sets.put(7, is(3), entry(3, 33));
        sets.put(7, is(5), entry(5, 50));
        let held =
            [1, 2, 3, 4, 5].map(|n| sets.get(7, is(n)).map(|[_, value]| u32::from_be_bytes(value)));
        assert_eq!(held, [Some(10), None, Some(33), Some(40), Some(50)]);
        sets.remove(7, is(4));
        sets.remove(7, is(9));
        assert_eq!(sets.get(7, is(4)), None);
        sets.put(7, is(6), entry(6, 60));
        let held = [1, 3, 5, 6].map(|n| sets.get(7, is(n)).is_some());
        assert_eq!(held, [true; 4], "there was room for it");
    }

    #[test]
    fn all_of_its_room_is_used() {
        let sets = Sets::<2, 8>::new(1 << 20);
        let room = (1_u32 << 20) / 8;
        for n in 1..=room {
            sets.put(sets.hash(n), is(n), entry(n, n));
        }
        let held = (1..=room).filter(|n| sets.get(sets.hash(n), is(*n)).is_some()).count();
        // Of sets that are full by chance one half gives what the other half has no use for.
        assert!(held > room as usize * 8 / 10, "{held} of {room}");
        let places: std::collections::HashSet<_> =
            (0..room).map(|n| sets.place(sets.hash(n))).map(|(s, set)| (s, set.start)).collect();
        assert!(places.len() > room as usize / 8 * 9 / 10, "{}", places.len());
    }
}
