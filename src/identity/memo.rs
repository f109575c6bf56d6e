//! Remembers answers with expiry, and lets many callers wait for one lookup.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::Freshness;

/// Who waits. A lookup that may have to queue behind those of strangers is not joined by who must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Whoever asks from outside.
    Strangers,
    /// This server itself.
    Own,
}

/// How long an answer is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    /// From then on it is renewed in the background.
    pub(super) stale: Duration,
    /// From then on it is not given any more.
    pub(super) hard: Duration,
}

/// Answers of type `V` by `K`, at most a fixed number of them.
pub(super) struct Memo<K, V> {
    answers: Cache<K, MemoEntry<V>>,
    flights: Mutex<HashMap<K, MemoFlight<V>>>,
    next_flight: AtomicU64,
    lifetime: fn(&V) -> Lifetime,
    /// Whether an answer only says that none could be had; it does not replace a real one.
    is_failure: fn(&V) -> bool,
}

#[derive(Clone)]
struct MemoEntry<V> {
    value: V,
    at: Instant,
}

struct MemoFlight<V> {
    id: u64,
    urgency: Urgency,
    outcome: Shared<BoxFuture<'static, V>>,
}

impl<K, V> Memo<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(
        capacity: usize,
        lifetime: fn(&V) -> Lifetime,
        is_failure: fn(&V) -> bool,
    ) -> Self {
        Self {
            answers: Cache::new(capacity),
            flights: Mutex::default(),
            next_flight: AtomicU64::new(0),
            lifetime,
            is_failure,
        }
    }

    /// The answer for `key`, from `fetch` if need be.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &K,
        freshness: Freshness,
        urgency: Urgency,
        fetch: impl Future<Output = V> + Send + 'static,
    ) -> V {
        let known = match freshness {
            Freshness::Cached => self.usable(key),
            Freshness::Recent | Freshness::Fresh => None,
        };
        match known {
            Some(entry) if entry.at.elapsed() < (self.lifetime)(&entry.value).stale => entry.value,
            Some(entry) => {
                drop(self.start(key, Freshness::Cached, urgency, fetch));
                entry.value
            }
            None => self.start(key, freshness, urgency, fetch).await,
        }
    }

    /// What is remembered, and whether it is to be renewed; nobody is asked.
    pub(super) fn peek(&self, key: &K) -> Option<(V, bool)> {
        let MemoEntry { value, at } = self.usable(key)?;
        let stale = at.elapsed() >= (self.lifetime)(&value).stale;
        Some((value, stale))
    }

    /// Forgets `key` and gives what was known. A lookup under way still answers those who wait, but is not remembered.
    pub(super) fn invalidate(&self, key: &K) -> Option<V> {
        // The lock is held so that a lookup that ends just now cannot store its answer afterwards.
        let mut flights = self.flights.lock();
        flights.remove(key);
        self.answers.remove(key).map(|(_, entry)| entry.value)
    }

    fn usable(&self, key: &K) -> Option<MemoEntry<V>> {
        let entry = self.answers.get(key)?;
        (entry.at.elapsed() < (self.lifetime)(&entry.value).hard).then_some(entry)
    }

    /// Joins the lookup of `key` that is under way, or starts one. A fresh answer needs one that starts now.
    fn start(
        self: &Arc<Self>,
        key: &K,
        freshness: Freshness,
        urgency: Urgency,
        fetch: impl Future<Output = V> + Send + 'static,
    ) -> Shared<BoxFuture<'static, V>> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key)
            && freshness == Freshness::Cached
            && flight.urgency >= urgency
        {
            return flight.outcome.clone();
        }
        let id = self.next_flight.fetch_add(1, Ordering::Relaxed);
        let (memo, own_key) = (Arc::clone(self), key.clone());
        let outcome = async move {
            let value = fetch.await;
            memo.land(&own_key, id, &value);
            value
        };
        let outcome = outcome.boxed().shared();
        flights.insert(key.clone(), MemoFlight { id, urgency, outcome: outcome.clone() });
        // It goes on when nobody waits any more, so that the answer is there next time.
        tokio::spawn(outcome.clone());
        outcome
    }

    /// Remembers an answer, unless its lookup was replaced by a newer one or its key was invalidated.
    fn land(&self, key: &K, id: u64, value: &V) {
        let mut flights = self.flights.lock();
        if flights.get(key).is_none_or(|flight| flight.id != id) {
            return;
        }
        flights.remove(key);
        if (self.is_failure)(value)
            && self.usable(key).is_some_and(|e| !(self.is_failure)(&e.value))
        {
            return;
        }
        self.answers.insert(key.clone(), MemoEntry { value: value.clone(), at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::Notify;

    type Answer = Result<u32, ()>;

    fn memo(stale: fn(&Answer) -> Lifetime) -> Arc<Memo<&'static str, Answer>> {
        Arc::new(Memo::new(10, stale, Answer::is_err))
    }

    fn long(_: &Answer) -> Lifetime {
        Lifetime { stale: Duration::from_secs(3600), hard: Duration::from_secs(3600) }
    }

    fn stale_at_once(_: &Answer) -> Lifetime {
        Lifetime { stale: Duration::ZERO, hard: Duration::from_secs(3600) }
    }

    fn expired_at_once(_: &Answer) -> Lifetime {
        Lifetime { stale: Duration::ZERO, hard: Duration::ZERO }
    }

    use Freshness::{Cached, Fresh};
    use Urgency::{Own, Strangers};

    #[tokio::test]
    async fn answers_are_remembered_until_they_expire() {
        let kept = memo(long);
        assert_eq!(kept.get(&"k", Cached, Own, async { Ok(1) }).await, Ok(1));
        assert_eq!(kept.get(&"k", Cached, Own, async { Ok(2) }).await, Ok(1));
        assert_eq!(kept.get(&"k", Fresh, Own, async { Ok(3) }).await, Ok(3));
        assert_eq!(kept.get(&"k", Cached, Own, async { Ok(4) }).await, Ok(3));
        assert_eq!(kept.invalidate(&"k"), Some(Ok(3)));
        assert_eq!(kept.get(&"k", Cached, Own, async { Ok(5) }).await, Ok(5));
        let expired = memo(expired_at_once);
        assert_eq!(expired.get(&"k", Cached, Own, async { Ok(1) }).await, Ok(1));
        assert_eq!(expired.get(&"k", Cached, Own, async { Ok(2) }).await, Ok(2));
    }

    #[tokio::test]
    async fn a_stale_answer_is_given_and_renewed_and_survives_failure() {
        let memo = memo(stale_at_once);
        memo.get(&"k", Cached, Own, async { Ok(1) }).await.unwrap();
        let renewed = Arc::new(Notify::new());
        let signal = Arc::clone(&renewed);
        let fetch = async move {
            signal.notify_one();
            Ok(2)
        };
        assert_eq!(memo.get(&"k", Cached, Own, fetch).await, Ok(1));
        renewed.notified().await;
        assert_eq!(memo.get(&"k", Fresh, Own, async { Err(()) }).await, Err(()));
        assert_eq!(memo.get(&"k", Cached, Own, async { Err(()) }).await, Ok(2));
    }

    #[tokio::test]
    async fn many_callers_share_one_lookup_and_fresh_ones_start_their_own() {
        let memo = memo(long);
        let (count, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let fetch = || {
            let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
            async move {
                let mine = count.fetch_add(1, Ordering::Relaxed);
                gate.notified().await;
                Ok(mine)
            }
        };
        let first = memo.start(&"k", Cached, Own, fetch());
        let second = memo.start(&"k", Cached, Own, fetch());
        tokio::task::yield_now().await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let fresh = memo.start(&"k", Fresh, Own, fetch());
        tokio::task::yield_now().await;
        gate.notify_waiters();
        assert_eq!((first.await, second.await, fresh.await), (Ok(0), Ok(0), Ok(1)));
        assert_eq!(
            memo.get(&"k", Cached, Own, async { Ok(9) }).await,
            Ok(1),
            "the newer one counts"
        );
    }

    #[tokio::test]
    async fn our_own_lookups_do_not_wait_for_those_of_strangers() {
        let memo = memo(long);
        let strange = memo.start(&"k", Cached, Strangers, std::future::pending());
        assert_eq!(memo.get(&"k", Cached, Own, async { Ok(1) }).await, Ok(1));
        assert_eq!(memo.peek(&"k"), Some((Ok(1), false)));
        drop(strange);
        // The other way round one lookup does for both.
        memo.invalidate(&"k");
        assert_eq!(memo.peek(&"k"), None);
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let own = memo.start(&"k", Cached, Own, async move {
            opened.notified().await;
            Ok(2)
        });
        let strange = memo.start(&"k", Cached, Strangers, std::future::pending());
        gate.notify_one();
        assert_eq!((own.await, strange.await), (Ok(2), Ok(2)));
    }

    #[tokio::test]
    async fn an_answer_from_before_an_invalidation_is_not_remembered() {
        let memo = memo(long);
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let old = memo.start(&"k", Cached, Own, async move {
            opened.notified().await;
            Ok(1)
        });
        memo.invalidate(&"k");
        gate.notify_one();
        assert_eq!(old.await, Ok(1));
        assert_eq!(memo.get(&"k", Cached, Own, async { Ok(2) }).await, Ok(2));
    }
}
