//! Lookups on behalf of strangers: whoever shows a token makes us look up whom it names, before anything of it is
//! proven; whoever asks for a picture or a profile, whose it is.
//!
//! ```text
//! token -> remembered refusal? -> pause of the host? -> the client's own failures -> its slots -> a slot of all
//!       -> the rate of all -> one lookup
//! ```
//!
//! What this server looks up for itself (accounts of the stream, repos that are fetched) has slots of its own and never
//! waits for any of this; nor do accounts whose key is here. DIDs of the directory and of did:web have different slots:
//! hosts of somebody's own that never answer keep nobody from the directory.
//!
//! # Invariants
//! - Lookups of strangers under way are bounded, in all and by client; so is what waits, and how long.
//! - The directory gets no more of them in any five minutes than [`DIRECTORY`] says, from however many clients.
//! - A client pays for what comes to nothing (no such DID, no such key, another signature), not for what it proves: a
//!   PDS speaks for thousands of accounts.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::IdentityError;
use crate::syntax::Did;
use crate::telemetry::counters::Counters;

static REFUSED: Counters = Counters::new("identity.strangers-refused");

/// The limits of this file, each in one line.
mod rows {
    use super::{Duration, Rate};

    /// Lookups for tokens under way, of the directory and of did:web each.
    pub(super) const SLOTS: usize = 4;
    /// Of one client, of both kinds together.
    pub(super) const SLOTS_PER_CLIENT: usize = 2;
    /// Of one client, those that wait included.
    pub(super) const PLACES_PER_CLIENT: usize = 16;
    /// Of these, requests at the directory from all clients together, and as many at hosts of did:web: 1,500 in five
    /// minutes.
    pub(super) const TOKENS: Rate = Rate { every: Duration::from_millis(200), burst: 30 };
    /// The same for readers of accounts that were never seen here: pictures, profiles, feeds.
    pub(super) const READER_SLOTS: usize = 16;
    pub(super) const READERS: Rate = Rate { every: Duration::from_millis(200), burst: 100 };
    /// Lookups of one client that come to nothing.
    pub(super) const FAILURES: Rate = Rate { every: Duration::from_secs(5), burst: 10 };
    /// The longest wait for all of that.
    pub(super) const PATIENCE: Duration = Duration::from_secs(3);
    /// Clients that are told apart. Of more, those that owe nothing are forgotten, and the rest counts as one.
    pub(super) const CLIENTS: usize = 4096;
    /// Refusals that are remembered: of DIDs that are not there, and of a did:web whose host does not answer.
    pub(super) const REMEMBERED: usize = 16_384;
    pub(super) const ABSENT: Duration = Duration::from_secs(600);
    pub(super) const SILENT: Duration = Duration::from_secs(60);
}
use rows::*;

/// So many at once, and then one in each `every`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) every: Duration,
    pub(super) burst: u32,
}

/// A rate at work: the time at which all that was taken will have been earned.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// How long until one may be taken.
    fn wait(&self, rate: Rate, now: Instant) -> Duration {
        let ahead = self.0.map_or(Duration::ZERO, |earned| earned.saturating_duration_since(now));
        ahead.saturating_sub(rate.every * rate.burst.saturating_sub(1))
    }

    /// Takes one, whether there is one or not.
    fn take(&mut self, rate: Rate, now: Instant) {
        self.0 = Some(self.0.map_or(now, |earned| earned.max(now)) + rate.every);
    }

    /// Takes one now or within `patience`, and says how long to wait for it.
    ///
    /// # Errors
    /// It would take longer; nothing is taken.
    pub(super) fn turn(
        &mut self,
        rate: Rate,
        patience: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let wait = self.wait(rate, now);
        if wait > patience {
            return Err(wait);
        }
        self.take(rate, now);
        Ok(wait)
    }
}

/// Who asks: an address, of v6 the network that one customer has, or nobody in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stranger(Option<IpAddr>);

impl Stranger {
    /// Who sends from an address.
    #[must_use]
    pub fn at(address: Option<IpAddr>) -> Self {
        Self(address.map(|ip| match ip.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 => v4,
        }))
    }
}

/// Why a stranger's question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrangerError {
    /// Nobody was asked: too much is asked for already. It may be tried again then.
    #[error("too many identities are asked for")]
    Busy(Duration),
    /// The answer, or its lack.
    #[error(transparent)]
    Failed(#[from] IdentityError),
}

struct ClientState {
    slots: Arc<Semaphore>,
    /// One permit each for who runs or waits.
    places: Arc<Semaphore>,
    failures: Mutex<Pace>,
}

impl Default for ClientState {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(SLOTS_PER_CLIENT)),
            places: Arc::new(Semaphore::new(PLACES_PER_CLIENT)),
            failures: Mutex::default(),
        }
    }
}

/// The slots of lookups for one purpose, and how often they may be used.
pub(super) struct Lane {
    plc: LaneKind,
    web: LaneKind,
    rate: Rate,
}

struct LaneKind {
    slots: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

impl Lane {
    fn new(slots: usize, rate: Rate) -> Self {
        let kind = || LaneKind { slots: Arc::new(Semaphore::new(slots)), pace: Mutex::default() };
        Self { plc: kind(), web: kind(), rate }
    }

    /// For who reads what was never seen here.
    pub(super) fn readers() -> Self {
        Self::new(READER_SLOTS, READERS)
    }

    /// Waits for a slot and a turn.
    ///
    /// # Errors
    /// Neither comes soon: when to try again.
    pub(super) async fn enter(&self, did: &Did) -> Result<OwnedSemaphorePermit, Duration> {
        let kind = if is_web(did) { &self.web } else { &self.plc };
        let deadline = Instant::now() + PATIENCE;
        // The semaphore is never closed.
        let slot = timeout_at(deadline, Arc::clone(&kind.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return Err(PATIENCE) };
        let now = Instant::now();
        let turn = kind.pace.lock().turn(self.rate, deadline.saturating_duration_since(now), now);
        sleep(turn?).await;
        Ok(slot)
    }
}

/// The right to one lookup; dropped when it is over.
#[derive(Debug)]
pub(super) struct Leave {
    _place: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

/// Who may look up what, and when.
pub(super) struct Gate {
    lane: Lane,
    clients: Mutex<HashMap<Stranger, Arc<ClientState>>>,
    /// For those beyond [`CLIENTS`].
    others: Arc<ClientState>,
    names: RandomState,
    /// Until when, and what is answered.
    refusals: Cache<u64, (Instant, IdentityError)>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            lane: Lane::new(SLOTS, TOKENS),
            clients: Mutex::default(),
            others: Arc::default(),
            names: RandomState::new(),
            refusals: Cache::new(REMEMBERED),
        }
    }

    /// What was found out lately, if nobody could be found or reached.
    pub(super) fn refusal(&self, did: &Did) -> Option<IdentityError> {
        let (until, error) = self.refusals.get(&self.name(did))?;
        (until > Instant::now()).then_some(error)
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`StrangerError::Busy`].
    pub(super) async fn enter(&self, did: &Did, client: Stranger) -> Result<Leave, StrangerError> {
        let state = self.client(client);
        let busy = |cause, wait: Duration| {
            REFUSED.inc(cause);
            StrangerError::Busy(wait.max(Duration::from_secs(1)))
        };
        let owed = state.failures.lock().wait(FAILURES, Instant::now());
        if !owed.is_zero() {
            return Err(busy("client-failures", owed));
        }
        let Ok(place) = Arc::clone(&state.places).try_acquire_owned() else {
            return Err(busy("client-places", PATIENCE));
        };
        let turn = async {
            // The semaphore is never closed.
            let own = Arc::clone(&state.slots).acquire_owned().await.map_err(|_| PATIENCE)?;
            Ok((own, self.lane.enter(did).await?))
        };
        let turn = timeout(PATIENCE, turn).await.unwrap_or(Err(PATIENCE));
        let (own, slot) = turn.map_err(|wait| busy("all", wait))?;
        // What it was refused meanwhile counts too: the places are more than the failures.
        let owed = state.failures.lock().wait(FAILURES, Instant::now());
        if !owed.is_zero() {
            return Err(busy("client-failures", owed));
        }
        Ok(Leave { _place: place, _own: own, _slot: slot })
    }

    /// A lookup came to nothing.
    pub(super) fn failed(&self, client: Stranger) {
        self.client(client).failures.lock().take(FAILURES, Instant::now());
    }

    /// A lookup had no result: it is remembered, and if that was not the directory's fault, its client's failure.
    pub(super) fn no_result(&self, did: &Did, client: Stranger, error: &IdentityError) {
        let time = match error {
            error if !error.is_transient() => ABSENT,
            IdentityError::Net(_) if is_web(did) => SILENT,
            _ => return,
        };
        self.failed(client);
        self.refusals.insert(self.name(did), (Instant::now() + time, error.clone()));
    }

    /// The identity changed.
    pub(super) fn forget(&self, did: &Did) {
        self.refusals.remove(&self.name(did));
    }

    /// As a number, so that long ones cost nothing; nobody outside can make two of them meet.
    fn name(&self, did: &Did) -> u64 {
        self.names.hash_one(&**did)
    }

    fn client(&self, client: Stranger) -> Arc<ClientState> {
        let mut clients = self.clients.lock();
        if let Some(state) = clients.get(&client) {
            return Arc::clone(state);
        }
        if clients.len() >= CLIENTS {
            let now = Instant::now();
            clients.retain(|_, state| {
                let owes = state.failures.lock().0.is_some_and(|earned| earned > now);
                owes || Arc::strong_count(state) > 1
                    || state.places.available_permits() < PLACES_PER_CLIENT
            });
            if clients.len() >= CLIENTS {
                return Arc::clone(&self.others);
            }
        }
        Arc::clone(clients.entry(client).or_default())
    }
}

fn is_web(did: &Did) -> bool {
    did.starts_with("did:web:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetError;

    fn did(text: &str) -> Did {
        Did::parse(text).unwrap()
    }

    fn at(text: &str) -> Stranger {
        Stranger::at(Some(text.parse().unwrap()))
    }

    fn cause(error: StrangerError) -> Duration {
        match error {
            StrangerError::Busy(wait) => wait,
            StrangerError::Failed(error) => panic!("{error}"),
        }
    }

    #[test]
    fn addresses_count_by_network() {
        assert_eq!(at("2001:db8:1:2:3::4"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::"), at("2001:db8:1:3::"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn a_rate_gives_its_burst_and_then_one_by_one() {
        let rate = Rate { every: Duration::from_secs(2), burst: 3 };
        let (mut pace, start, patience) = (Pace::default(), Instant::now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(pace.turn(rate, patience, start), Ok(Duration::ZERO));
        }
        assert_eq!(pace.turn(rate, patience, start), Ok(Duration::from_secs(2)), "waited for");
        assert_eq!(pace.turn(rate, patience, start), Err(Duration::from_secs(4)));
        assert_eq!(pace.turn(rate, patience, at(3)), Ok(Duration::from_secs(1)));
        assert_eq!(pace.turn(rate, patience, at(100)), Ok(Duration::ZERO));
        assert_eq!(pace.wait(rate, at(100)), Duration::ZERO);
    }

    #[tokio::test]
    async fn who_fails_is_refused_and_nobody_else() {
        let (gate, bob) = (Gate::new(), did("did:plc:bob"));
        for _ in 0..FAILURES.burst {
            drop(gate.enter(&bob, at("192.0.2.1")).await.unwrap());
            gate.failed(at("192.0.2.1"));
        }
        let wait = cause(gate.enter(&bob, at("192.0.2.1")).await.unwrap_err());
        assert!(wait <= FAILURES.every, "{wait:?}");
        assert!(gate.enter(&bob, at("192.0.2.2")).await.is_ok());
        assert!(gate.enter(&bob, Stranger::at(None)).await.is_ok());
    }

    #[tokio::test]
    async fn one_client_has_few_slots_and_one_kind_does_not_stand_in_the_way_of_the_other() {
        let gate = Arc::new(Gate::new());
        let web = |n: usize| did(&format!("did:web:h{n}.example"));
        let mut held = Vec::new();
        for n in 0..SLOTS_PER_CLIENT {
            held.push(gate.enter(&web(n), at("192.0.2.1")).await.unwrap());
        }
        let mut waiting = Vec::new();
        for n in 0..PLACES_PER_CLIENT - SLOTS_PER_CLIENT {
            let (gate, did) = (Arc::clone(&gate), web(n));
            waiting.push(tokio::spawn(async move { gate.enter(&did, at("192.0.2.1")).await }));
        }
        while gate.client(at("192.0.2.1")).places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.enter(&web(99), at("192.0.2.1")).await.is_err(), "at once, without a place");
        // Others fill the slots of did:web.
        for n in 0..SLOTS - SLOTS_PER_CLIENT {
            held.push(gate.enter(&web(n), at("192.0.2.2")).await.unwrap());
        }
        assert!(gate.enter(&did("did:plc:new"), at("192.0.2.3")).await.is_ok());
        drop(held);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok(), "who waits gets a slot when it is free");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_remembered_and_the_directory_is_nobodys_fault() {
        let gate = Gate::new();
        let silent = IdentityError::Net(NetError::Timeout("answer"));
        let absent = IdentityError::NotFound;
        let client = at("192.0.2.1");
        let cases = [
            ("did:plc:nobody", &absent, true),
            ("did:plc:alice", &silent, false),
            ("did:plc:bob", &IdentityError::Busy(PATIENCE), false),
            ("did:web:a.example", &silent, true),
            ("did:web:b.example", &absent, true),
        ];
        for (text, error, remembered) in cases {
            for _ in 0..20 {
                gate.no_result(&did(text), client, error);
            }
            let got = gate.refusal(&did(text));
            assert_eq!(got.as_ref(), remembered.then_some(error), "{text}");
            let owes = gate.enter(&did("did:plc:x"), client).await.is_err();
            assert_eq!(owes, remembered, "{text}");
            gate.clients.lock().clear();
        }
        gate.forget(&did("did:web:a.example"));
        assert_eq!(gate.refusal(&did("did:web:a.example")), None);
    }

    #[tokio::test]
    async fn many_clients_share_a_place_and_those_that_owe_nothing_are_forgotten() {
        let gate = Gate::new();
        let of = |n: usize| at(&format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff));
        for n in 0..CLIENTS + 10 {
            gate.client(of(n));
        }
        assert!(gate.clients.lock().len() <= CLIENTS);
        for n in 0..CLIENTS + 10 {
            gate.failed(of(n));
        }
        assert_eq!(gate.clients.lock().len(), CLIENTS);
        assert!(
            !gate
                .others
                .failures
                .lock()
                .wait(Rate { burst: 1, ..FAILURES }, Instant::now())
                .is_zero()
        );
    }
}
