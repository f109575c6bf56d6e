//! The largest of many that come one by one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// So many of the largest; of those that are equal the smallest number.
pub(super) struct Top<T> {
    most: usize,
    held: BinaryHeap<Reverse<(u64, Reverse<T>)>>,
}

impl<T: Ord> Top<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: BinaryHeap::new() }
    }

    /// Takes one that counts so much; what counts nothing is none of them.
    pub(super) fn add(&mut self, count: u64, of: T) {
        if count == 0 || self.most == 0 {
            return;
        }
        let new = (count, Reverse(of));
        if self.held.len() < self.most {
            self.held.push(Reverse(new));
        } else if self.held.peek().is_some_and(|Reverse(least)| *least < new) {
            self.held.pop();
            self.held.push(Reverse(new));
        }
    }

    /// Them, the largest first.
    pub(super) fn best(self) -> Vec<T> {
        let sorted = self.held.into_sorted_vec().into_iter();
        sorted.map(|Reverse((_, Reverse(of)))| of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_first_and_of_the_same_the_smallest_number() {
        let mut top = Top::new(3);
        for (count, of) in [(1, 9), (5, 8), (0, 7), (3, 6), (5, 5), (3, 4), (3, 3)] {
            top.add(count, of);
        }
        assert_eq!(top.best(), [5, 8, 3]);
        let mut none = Top::new(0);
        none.add(1, 1);
        assert_eq!(none.best(), [0; 0]);
    }
}
