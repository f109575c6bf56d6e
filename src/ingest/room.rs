//! Memory for what frames become: a record may take a thousand times its bytes.
//!
//! What is made of a frame is paid for by the frame's weight in the budget of its upstream, as nearly all are. What takes
//! more takes it from one budget of all upstreams, and where that is not enough it is not made: the repo is fetched whole.
//! Nobody waits for it, since frames that are settled wait for those before them.

use crate::repo::dag_cbor::MAX_MEMORY;
use crate::threads::{Budget, Held};

/// Who wants more than this beyond its weight leaves a quarter of the budget to those who want less: ordinary posts and the
/// follows of a starter pack.
const MUCH: u64 = 256 << 10;

/// What may be made of one frame.
#[derive(Debug)]
pub(crate) struct Room {
    of: Budget,
    /// What its weight pays for.
    paid: usize,
    taken: usize,
    held: Held,
}

impl Room {
    pub(crate) fn new(of: &Budget, weight: u32) -> Self {
        Self { of: of.clone(), paid: weight as usize, taken: 0, held: Held::default() }
    }

    /// Takes so many bytes more, or says that they are not there.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.taken.saturating_add(bytes);
        if taken > MAX_MEMORY {
            return false;
        }
        let beyond = taken.saturating_sub(self.paid) as u64;
        let more = beyond.saturating_sub(self.held.bytes());
        if more > 0 {
            let limit = self.of.limit();
            let limit = if beyond > MUCH { limit / 4 * 3 } else { limit };
            if self.of.held() + more > limit {
                return false;
            }
            let Some(more) = self.of.try_take(more) else { return false };
            self.held.add(more);
        }
        self.taken = taken;
        true
    }

    /// What there is without asking anybody.
    pub(crate) fn paid(&self) -> usize {
        self.paid.min(MAX_MEMORY)
    }

    /// Gives all back but so many bytes.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.held.keep(bytes.saturating_sub(self.paid) as u64);
        self.taken = self.taken.min(bytes);
    }

    /// What is held beyond the weight, for as long as what was made is.
    pub(crate) fn into_held(self) -> Held {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn the_weight_pays_first_and_what_is_beyond_it_is_given_back() {
        let of = Budget::new(4 * MB as u64);
        let mut room = Room::new(&of, 10_000);
        assert!(room.take(10_000) && of.held() == 0);
        assert!(room.take(1) && room.take(4000) && of.held() == 4096);
        assert!(!room.take(4 * MB) && room.take(2 * MB), "what is refused is not taken");
        room.keep(MB + 14_001);
        let held = room.into_held();
        assert_eq!(of.held(), (MB as u64 + 4001).next_multiple_of(4096));
        drop(held);
        assert_eq!(of.held(), 0);
    }

    #[test]
    fn who_wants_much_leaves_some_to_who_wants_little() {
        let of = Budget::new(4 * MB as u64);
        let mut much = Room::new(&of, 0);
        assert!(much.take(3 * MB) && !much.take(1));
        assert!(!Room::new(&of, 0).take(MB / 2));
        assert!(Room::new(&of, 0).take(MB / 4));
        let large = Budget::new(64 * MB as u64);
        let mut all = Room::new(&large, 100_000);
        assert!(all.take(MAX_MEMORY) && !all.take(1), "no frame takes more than a record may");
        assert!(!all.take(usize::MAX));
    }
}
