//! Which segments are made one.
//!
//! Neighbours in time of one size are merged, ten at once, so that each document is written a few times only and a segment
//! stays a span of time: a query that goes from the newest on then passes over most of them. Segments of different
//! partitions are not merged, and those that span several are merged with each other only. A partition that is over is
//! merged into one segment.

use super::segment::PARTITION_MS;

/// A segment, as far as merging asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<Id> {
    /// Its number.
    pub id: Id,
    /// Documents that are not deleted.
    pub alive: u32,
    /// Documents that are.
    pub deleted: u32,
    /// The times of the newest and of the oldest.
    pub newest: i64,
    /// See there.
    pub oldest: i64,
}

/// How many are merged at once.
const AT_ONCE: usize = 10;
/// Below this, segments are of one size.
const SMALL: u32 = 1_000;
/// So long after its end a partition is taken to be over.
const OVER_MS: i64 = 2 * 24 * 3600 * 1000;
/// What came late to a partition that is over is merged with the rest once it is one part in so many.
const LATE: u64 = 20;

impl<Id: Copy> Piece<Id> {
    /// The partition that it is in; none if it spans several.
    fn partition(&self) -> Option<i64> {
        let first = partition(self.oldest);
        (first == partition(self.newest)).then_some(first)
    }

    fn size(&self) -> u32 {
        (self.alive / SMALL).max(1).ilog10()
    }
}

/// The partition of a time.
#[must_use]
pub(super) fn partition(ts: i64) -> i64 {
    ts.div_euclid(PARTITION_MS)
}

/// What is merged next, if anything; never into more than `most` documents. Partitions are over by the newest time that
/// there is.
pub(super) fn next<Id: Copy>(mut pieces: Vec<Piece<Id>>, most: u32) -> Option<Vec<Id>> {
    pieces
        .sort_by_key(|piece| (piece.partition(), std::cmp::Reverse((piece.newest, piece.oldest))));
    let now = pieces.iter().map(|piece| piece.newest).max()?;
    let fits = |group: &[&Piece<Id>]| {
        group.iter().map(|piece| u64::from(piece.alive)).sum::<u64>() <= u64::from(most)
    };
    let ids = |group: &[&Piece<Id>]| Some(group.iter().map(|piece| piece.id).collect());
    for group in pieces.chunk_by(|a, b| a.partition() == b.partition()) {
        for size in 0..=most.max(1).ilog10() {
            let of_size: Vec<_> = group.iter().filter(|piece| piece.size() == size).collect();
            if let Some(found) = of_size.windows(AT_ONCE).rfind(|found| fits(found)) {
                return ids(found);
            }
        }
        let all: Vec<_> = group.iter().collect();
        let over = |p: i64| (p + 1).saturating_mul(PARTITION_MS).saturating_add(OVER_MS) < now;
        let partition = group.first().and_then(Piece::partition);
        if partition.is_some_and(over) && all.len() > 1 && fits(&all) {
            let largest = group.iter().map(|piece| u64::from(piece.alive)).max().unwrap_or(0);
            let sum: u64 = group.iter().map(|piece| u64::from(piece.alive)).sum();
            if (sum - largest).saturating_mul(LATE) >= largest {
                return ids(&all);
            }
        }
    }
    // What is mostly deleted is written anew without that.
    let half = |piece: &&Piece<Id>| piece.deleted >= SMALL && piece.deleted / 2 >= piece.alive / 2;
    pieces.iter().find(half).map(|piece| vec![piece.id])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    fn piece(id: u32, alive: u32, newest: i64, oldest: i64) -> Piece<u32> {
        Piece { id, alive, deleted: 0, newest, oldest }
    }

    #[test]
    fn ten_neighbours_of_one_size_become_one() {
        let at = |id: u32| i64::from(id) * 1000;
        let small =
            |n: u32| (0..n).map(|id| piece(id, 5, at(id) + 999, at(id))).collect::<Vec<_>>();
        assert_eq!(next(small(9), 5_000_000), None);
        assert_eq!(next(small(10), 5_000_000), Some((0..10).rev().collect()));
        // A large one between them is not touched, and ten that would be too many are not merged.
        let mut with_large = small(10);
        with_large.push(piece(99, 50_000, 5_500, 5_400));
        assert_eq!(next(with_large, 5_000_000).map(|ids| ids.contains(&99)), Some(false));
        let large = (0..10).map(|id| piece(id, 600_000, at(id), at(id))).collect();
        assert_eq!(next(large, 5_000_000), None);
    }

    #[test]
    fn partitions_stay_apart_and_are_merged_once_they_are_over() {
        let p = |n: i64| n * PARTITION_MS;
        let five_of = |from: u32, part: i64| {
            (0..5).map(move |n| piece(from + n, 100, p(part) + i64::from(n), p(part)))
        };
        let both: Vec<_> = five_of(0, 10).chain(five_of(10, 11)).collect();
        assert_eq!(next(both.clone(), 5_000_000), None);
        let mut later = both;
        later.push(piece(50, 1, p(11) + 3 * DAY, p(11) + 3 * DAY));
        assert_eq!(next(later, 5_000_000), Some(vec![4, 3, 2, 1, 0]));
        // Merged, with a little that came late.
        let done =
            vec![piece(1, 500, p(10), p(10)), piece(2, 5, p(10), p(10)), piece(3, 1, p(12), p(12))];
        assert_eq!(next(done, 5_000_000), None);
    }

    #[test]
    fn what_spans_partitions_is_merged_with_its_like_only() {
        let p = |n: i64| n * PARTITION_MS;
        let mut pieces: Vec<_> = (0..10).map(|id| piece(id, 10, p(8), p(2))).collect();
        pieces.push(piece(77, 10, p(4), p(4)));
        assert_eq!(next(pieces, 5_000_000).map(|ids| ids.contains(&77)), Some(false));
    }

    #[test]
    fn what_is_mostly_deleted_is_written_anew() {
        let one = |alive, deleted| Piece { id: 1, alive, deleted, newest: 0, oldest: 0 };
        assert_eq!(next(vec![one(1_000, 2_000)], 5_000_000), Some(vec![1]));
        assert_eq!(next(vec![one(5_000, 2_000)], 5_000_000), None);
    }
}
