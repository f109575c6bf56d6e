//! Lookups on behalf of strangers: whoever shows a token makes us look up whom it names, before anything of it is
//! proven; whoever asks for a picture or a profile, whose it is.
//!
//! ```text
//! token -> remembered refusal? -> pause of the host? -> the client's row of `limits` -> its slots -> a slot of all
//!       -> the rate of all -> one lookup
//! ```
//!
//! What this server looks up for itself (accounts of the stream, repos that are fetched) has slots of its own and never
//! waits for any of this; nor do accounts whose key is here. DIDs of the directory and of did:web have different slots:
//! hosts of somebody's own that never answer keep nobody from the directory.
//!
//! Those whom `limits` counts are told apart there, by its rows [`Limit::Lookups`] and [`Limit::VainLookups`]; here is
//! what all of them together may have, and that a client's look-ups queue behind each other.
//!
//! # Invariants
//! - Lookups of strangers under way are bounded, in all and by client; so is what waits, and how long.
//! - The directory gets no more of them in any five minutes than [`TOKENS`] and [`READERS`] say, from however many clients.
//! - A client pays for what comes to nothing (no such DID, no such key, another signature), not for what it proves: a
//!   PDS speaks for thousands of accounts.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::IdentityError;
use crate::limits::{Client, Hold, Limit, Limits, Refused};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::{Pace, Paced};

static REFUSED: Counters = Counters::new("identity.strangers-refused");

/// What all strangers together may have.
mod rows {
    use super::{Duration, Pace};

    /// Lookups for tokens under way, of the directory and of did:web each.
    pub(super) const SLOTS: usize = 4;
    /// Of one client, of both kinds together.
    pub(super) const SLOTS_PER_CLIENT: usize = 2;
    /// Of these, requests at the directory from all clients together, and as many at hosts of did:web: 1,500 in five
    /// minutes.
    pub(super) const TOKENS: Pace = Pace { every: Duration::from_millis(200), burst: 30 };
    /// The same for readers of accounts that were never seen here: pictures, profiles, feeds.
    pub(super) const READER_SLOTS: usize = 16;
    pub(super) const READERS: Pace = Pace { every: Duration::from_millis(200), burst: 100 };
    /// The longest wait for all of that.
    pub(super) const PATIENCE: Duration = Duration::from_secs(3);
    /// Refusals that are remembered: of DIDs that are not there, and of a did:web whose host does not answer.
    pub(super) const REMEMBERED: usize = 16_384;
    pub(super) const ABSENT: Duration = Duration::from_secs(600);
    pub(super) const SILENT: Duration = Duration::from_secs(60);
}
use rows::*;

/// Who asks, and the table that holds him.
#[derive(Clone, Copy)]
pub struct Stranger<'a> {
    /// Who counts.
    pub client: Client,
    /// What he may.
    pub limits: &'a Limits,
}

/// Why a stranger's question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrangerError {
    /// Nobody was asked: too much is asked for already. It may be tried again then.
    #[error("too many identities are asked for")]
    Busy(Duration),
    /// Nobody was asked: the client alone asked for too much, or for too much in vain.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The answer, or its lack.
    #[error(transparent)]
    Failed(#[from] IdentityError),
}

/// The slots of lookups for one purpose, and how often they may be used.
pub(super) struct Lane {
    plc: LaneKind,
    web: LaneKind,
}

struct LaneKind {
    slots: Arc<Semaphore>,
    pace: Paced,
}

impl Lane {
    fn new(slots: usize, pace: Pace) -> Self {
        let kind = || LaneKind { slots: Arc::new(Semaphore::new(slots)), pace: Paced::new(pace) };
        Self { plc: kind(), web: kind() }
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
        let wait = kind.pace.turn_within(deadline.saturating_duration_since(now), now)?;
        sleep(wait).await;
        Ok(slot)
    }
}

/// The right to one lookup; dropped when it is over.
#[derive(Debug)]
pub(super) struct Leave {
    _place: Hold,
    _own: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

/// Who may look up what, and when.
pub(super) struct Gate {
    lane: Lane,
    /// Slots of clients that use or wait for any.
    clients: Mutex<HashMap<Client, Weak<Semaphore>>>,
    names: RandomState,
    /// Until when, and what is answered.
    refusals: Cache<u64, (Instant, IdentityError)>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            lane: Lane::new(SLOTS, TOKENS),
            clients: Mutex::default(),
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
    /// [`StrangerError::Busy`] and [`StrangerError::Refused`].
    pub(super) async fn enter(&self, did: &Did, who: Stranger<'_>) -> Result<Leave, StrangerError> {
        let Stranger { client, limits } = who;
        limits.look(Limit::VainLookups, client)?;
        let place = limits.hold(Limit::Lookups, client, 1)?;
        let slots = self.slots(client);
        let turn = async {
            // The semaphore is never closed.
            let own = slots.acquire_owned().await.map_err(|_| PATIENCE)?;
            Ok((own, self.lane.enter(did).await?))
        };
        let turn = timeout(PATIENCE, turn).await.unwrap_or(Err(PATIENCE));
        let (own, slot) = turn.map_err(|wait: Duration| {
            REFUSED.inc(if is_web(did) { "web" } else { "directory" });
            StrangerError::Busy(wait.max(Duration::from_secs(1)))
        })?;
        // What it asked for in vain while this one waited counts too.
        limits.look(Limit::VainLookups, client)?;
        Ok(Leave { _place: place, _own: own, _slot: slot })
    }

    /// A lookup had no result: it is remembered, and if that was not the directory's fault, its client's failure.
    pub(super) fn no_result(&self, did: &Did, who: Stranger<'_>, error: &IdentityError) {
        let time = match error {
            error if !error.is_transient() => ABSENT,
            IdentityError::Net(_) | IdentityError::Busy(_) if is_web(did) => SILENT,
            _ => return,
        };
        // Who has none left is refused the next time.
        let _ = who.limits.take(Limit::VainLookups, who.client);
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

    /// The slots of a client, for as long as anybody holds on to them.
    fn slots(&self, client: Client) -> Arc<Semaphore> {
        let mut clients = self.clients.lock();
        if let Some(slots) = clients.get(&client).and_then(Weak::upgrade) {
            return slots;
        }
        clients.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(SLOTS_PER_CLIENT));
        clients.insert(client, Arc::downgrade(&slots));
        slots
    }
}

fn is_web(did: &Did) -> bool {
    did.starts_with("did:web:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Elapsed, Proxies};
    use crate::net::NetError;

    fn did(text: &str) -> Did {
        Did::parse(text).unwrap()
    }

    fn at(text: &str) -> Client {
        Client::address(text.parse().unwrap())
    }

    /// A gate, and the table with a time that stands still.
    fn gate() -> (Arc<Gate>, Arc<Limits>, Elapsed) {
        let time = Elapsed::stopped();
        let limits = Limits::with_time(Proxies::default(), &[], time.clone());
        (Arc::new(Gate::new()), Arc::new(limits), time)
    }

    #[tokio::test]
    async fn who_asks_in_vain_is_refused_and_nobody_else() {
        let (gate, limits, time) = gate();
        let bob = did("did:plc:bob");
        let of = |text| Stranger { client: at(text), limits: &limits };
        for n in 0..10 {
            drop(gate.enter(&bob, of("192.0.2.1")).await.unwrap());
            gate.no_result(
                &did(&format!("did:plc:nobody{n}")),
                of("192.0.2.1"),
                &IdentityError::NotFound,
            );
        }
        let refused = gate.enter(&bob, of("192.0.2.1")).await.unwrap_err();
        let StrangerError::Refused(refused) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.wait, Duration::from_secs(5));
        assert!(gate.enter(&bob, of("192.0.2.2")).await.is_ok());
        time.advance(Duration::from_secs(5));
        assert!(gate.enter(&bob, of("192.0.2.1")).await.is_ok());
        // Whoever comes through this machine may be anybody.
        let own = Stranger { client: Client::Own, limits: &limits };
        for n in 0..10 {
            gate.no_result(&did(&format!("did:plc:nobody{n}")), own, &IdentityError::NotFound);
        }
        assert!(matches!(gate.enter(&bob, own).await, Err(StrangerError::Refused(_))));
    }

    #[tokio::test]
    async fn one_client_has_few_slots_and_one_kind_does_not_stand_in_the_way_of_the_other() {
        let (gate, limits, _) = gate();
        let of = |text| Stranger { client: at(text), limits: &limits };
        let web = |n: usize| did(&format!("did:web:h{n}.example"));
        let mut held = Vec::new();
        for n in 0..SLOTS_PER_CLIENT {
            held.push(gate.enter(&web(n), of("192.0.2.1")).await.unwrap());
        }
        let mut waiting = Vec::new();
        for n in 0..16 - SLOTS_PER_CLIENT {
            let (gate, limits, did) = (Arc::clone(&gate), Arc::clone(&limits), web(n));
            waiting.push(tokio::spawn(async move {
                gate.enter(&did, Stranger { client: at("192.0.2.1"), limits: &limits }).await
            }));
        }
        while limits.hold(Limit::Lookups, at("192.0.2.1"), 1).is_ok() {
            tokio::task::yield_now().await;
        }
        let refused = gate.enter(&web(99), of("192.0.2.1")).await;
        assert!(matches!(refused, Err(StrangerError::Refused(_))), "without a place to wait");
        // Others fill the slots of did:web.
        for n in 0..SLOTS - SLOTS_PER_CLIENT {
            held.push(gate.enter(&web(n), of("192.0.2.2")).await.unwrap());
        }
        assert!(gate.enter(&did("did:plc:new"), of("192.0.2.3")).await.is_ok());
        drop(held);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok(), "who waits gets a slot when it is free");
        }
        assert!(gate.clients.lock().len() <= 3);
        drop(gate.enter(&did("did:plc:x"), of("192.0.2.9")).await);
        assert_eq!(gate.clients.lock().len(), 1, "of those who are gone nothing is left");
    }

    #[tokio::test]
    async fn what_is_not_there_is_remembered_and_the_directory_is_nobodys_fault() {
        let silent = IdentityError::Net(NetError::Timeout("answer"));
        let absent = IdentityError::NotFound;
        let cases = [
            ("did:plc:nobody", &absent, true),
            ("did:plc:alice", &silent, false),
            ("did:plc:bob", &IdentityError::Busy(PATIENCE), false),
            ("did:web:a.example", &silent, true),
            ("did:web:b.example", &absent, true),
            ("did:web:c.example", &IdentityError::Busy(PATIENCE), true),
        ];
        for (text, error, remembered) in cases {
            let (gate, limits, _) = gate();
            let who = Stranger { client: at("192.0.2.1"), limits: &limits };
            for _ in 0..20 {
                gate.no_result(&did(text), who, error);
            }
            assert_eq!(gate.refusal(&did(text)).as_ref(), remembered.then_some(error), "{text}");
            assert_eq!(gate.enter(&did("did:plc:x"), who).await.is_err(), remembered, "{text}");
            gate.forget(&did(text));
            assert_eq!(gate.refusal(&did(text)), None);
        }
    }
}
