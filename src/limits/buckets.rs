//! What each client has used up of one limit: a number a client, for as many clients as there is room for.
//!
//! # Invariants
//! - A kind of client has at most [`MOST`] places, and as many buckets that are shared when those are taken as
//!   [`SHARED`] says. Memory is bounded, and no kind takes the places of another.
//! - A client keeps its place as long as it owes anything.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::Mutex;

use super::client::Client;
use super::time::Elapsed;

/// Clients of one kind that are remembered one by one; about 1 MB for a limit.
pub(super) const MOST: usize = 32_768;
/// Buckets for those who find no place.
const SHARED: u64 = 256;
/// Looking for places that can be given away is work for each that is taken: done no more often than this.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// The buckets of one limit.
#[derive(Debug)]
pub(super) struct Buckets {
    time: Elapsed,
    most: usize,
    /// Decides who shares with whom.
    neighbours: RandomState,
    kinds: [Mutex<Places>; 5],
}

#[derive(Debug, Default)]
struct Places {
    /// By client: the time at which its bucket is as it was at first, in nanoseconds since the start.
    taken: HashMap<u64, u64>,
    shared: HashMap<u64, u64>,
    swept: Option<u64>,
}

impl Buckets {
    pub(super) fn new(time: Elapsed, most: usize) -> Self {
        Self { time, most, neighbours: RandomState::new(), kinds: Default::default() }
    }

    fn kind(&self, client: Client) -> (&Mutex<Places>, u64, u64) {
        let [own, v4, v6, accounts, hosts] = &self.kinds;
        // Neighbours are those whom one owner most likely has: a /16, and of v6 what a provider has.
        match client {
            Client::Own => (own, 0, 0),
            Client::V4(ip) => (v4, ip.to_bits().into(), (ip.to_bits() >> 16).into()),
            Client::V6(bits) => (v6, bits, bits >> 32),
            Client::Account(id) => (accounts, id, id),
            Client::Host(id) => (hosts, id, id),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |kind: &Mutex<Places>| {
            let places = kind.lock();
            places.taken.len() + places.shared.len()
        };
        self.kinds.iter().map(len).sum()
    }
}

impl Places {
    /// The place of a client, with room for it if it is new.
    fn of(&mut self, key: u64, share: u64, most: usize, time: &Elapsed) -> (bool, Option<u64>) {
        if let Some(at) = self.taken.get(&key) {
            return (false, Some(*at));
        }
        if self.taken.len() >= most {
            let now = time.nanos();
            if self.swept.is_none_or(|swept| now.saturating_sub(swept) >= SWEEP_EVERY) {
                self.swept = Some(now);
                self.taken.retain(|_, full| *full > now);
            }
        }
        match self.taken.len() < most {
            true => (false, None),
            false => (true, self.shared.get(&share).copied()),
        }
    }
}

impl Buckets {
    fn measure<T, E>(
        &self,
        client: Client,
        keep: bool,
        f: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<T, E> {
        let (kind, key, neighbourhood) = self.kind(client);
        let share = self.neighbours.hash_one(neighbourhood) % SHARED;
        let mut places = kind.lock();
        let (is_shared, held) = places.of(key, share, self.most, &self.time);
        let (answer, next) = f(held.map(Nanos::new))?;
        if keep {
            let (place, key) = match is_shared {
                true => (&mut places.shared, share),
                false => (&mut places.taken, key),
            };
            place.insert(key, next.as_u64());
        }
        Ok(answer)
    }
}

/// For who takes from them.
#[derive(Debug)]
pub(super) struct Taking(pub(super) Arc<Buckets>);

/// For who only looks.
#[derive(Debug)]
pub(super) struct Looking(pub(super) Arc<Buckets>);

impl StateStore for Taking {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure(*client, true, f)
    }
}

impl StateStore for Looking {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure(*client, false, f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn take(buckets: &Buckets, client: Client, until: u64) -> Option<u64> {
        let held = buckets.measure(client, true, |held| Ok::<_, ()>((held, Nanos::new(until))));
        held.unwrap().map(Nanos::as_u64)
    }

    fn v4(n: u32) -> Client {
        Client::V4(n.into())
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_than_there_is_room_for() {
        let time = Elapsed::stopped();
        let buckets = Buckets::new(time.clone(), 100);
        let forever = u64::MAX;
        // Those of one provider share one bucket when all places are taken.
        for n in 0..1000 {
            take(&buckets, Client::V6(0x2001_0db8_0000_0000 + n), forever);
        }
        assert_eq!(buckets.len(), 101);
        // Those of many providers as many as there are.
        for n in 0..100_000 {
            take(&buckets, Client::V6(n << 32), forever);
        }
        assert!(buckets.len() <= 100 + SHARED as usize, "{}", buckets.len());
        assert_eq!(take(&buckets, v4(1), forever), None, "an IPv4 address has its own place");
        assert_eq!(take(&buckets, v4(1), forever), Some(forever));
    }

    #[test]
    fn places_of_those_who_owe_nothing_are_given_away() {
        let time = Elapsed::stopped();
        let buckets = Buckets::new(time.clone(), 2);
        let (soon, late) = (1_000_000_000, 9_000_000_000);
        take(&buckets, v4(1), soon);
        take(&buckets, v4(2), late);
        assert_eq!(take(&buckets, v4(3), late), None);
        assert_eq!(take(&buckets, v4(4), late), Some(late), "it shares with its neighbour");
        time.advance(Duration::from_secs(2));
        assert_eq!(take(&buckets, v4(5), late), None, "the place of the first");
        assert_eq!(take(&buckets, v4(2), late), Some(late), "who owes keeps its own");
    }
}
