//! Lookups on behalf of strangers: whoever shows a token makes us look up whom it names, before anything of it is
//! proven; whoever asks for a picture or a profile, whose it is.
//!
//! ```text
//! token -> remembered refusal? -> pause of the host? -> the client's rows of `limits` -> its turn (`turns`)
//!       -> one lookup -> what came of it decides whose turn is next
//! ```
//!
//! What this server looks up for itself (accounts of the stream, repos that are fetched) has slots of its own and never
//! waits for any of this; nor do accounts whose key is here. DIDs of the directory and of did:web have different slots:
//! hosts of somebody's own that never answer keep nobody from the directory.
//!
//! Those whom `limits` counts are told apart there, by its rows [`Limit::Lookups`] and [`Limit::VainLookups`]; what all
//! of them together may have, and in which order, is said in `turns`.
//!
//! # Invariants
//! - Lookups of strangers under way are bounded, in all and by client; so is what waits, and how long.
//! - The directory gets no more of them in any five minutes than [`PACE`] and [`READERS`] say, from however many clients.
//! - A client pays for what comes to nothing (no such DID, no such key, another signature), not for what it proves: a
//!   PDS speaks for thousands of accounts.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::IdentityError;
#[cfg(doc)]
use super::turns::PACE;
use super::turns::{Granted, Kind, Turns};
use crate::limits::{Client, Hold, Limit, Limits, Refused};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::{Pace, Paced};

static REFUSED: Counters = Counters::new("identity.strangers-refused");

/// What readers together may have, and how long anybody waits.
mod rows {
    use super::{Duration, Pace};

    /// The longest wait for a turn. A client that was here before, or is here for the first time, has one much sooner.
    pub(super) const PATIENCE: Duration = Duration::from_secs(4);
    /// When to come again after that.
    pub(super) const AGAIN: Duration = Duration::from_secs(2);
    /// Lookups for readers of accounts that were never seen here (pictures, profiles, feeds) under way, of the
    /// directory and of did:web each.
    pub(super) const READER_SLOTS: usize = 16;
    /// And how many requests these are: at each of them 1,500 in five minutes.
    pub(super) const READERS: Pace = Pace { every: Duration::from_millis(200), burst: 100 };
    /// How long a reader waits for a slot, and then for a turn.
    pub(super) const READERS_SLOT: Duration = Duration::from_secs(3);
    pub(super) const READERS_TURN: Duration = Duration::from_secs(2);
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

/// The slots of lookups for readers, and how often they may be used.
pub(super) struct Lane {
    plc: LaneKind,
    web: LaneKind,
}

struct LaneKind {
    slots: Arc<Semaphore>,
    pace: Paced,
}

impl Lane {
    /// For who reads what was never seen here.
    pub(super) fn readers() -> Self {
        let slots = || Arc::new(Semaphore::new(READER_SLOTS));
        let kind = || LaneKind { slots: slots(), pace: Paced::new(READERS) };
        Self { plc: kind(), web: kind() }
    }

    /// Waits for a slot, and then for a turn.
    ///
    /// # Errors
    /// One of them does not come soon: when to try again.
    pub(super) async fn enter(&self, did: &Did) -> Result<OwnedSemaphorePermit, Duration> {
        let kind = match kind_of(did) {
            Kind::Directory => &self.plc,
            Kind::Web => &self.web,
        };
        // The semaphore is never closed.
        let slot = timeout(READERS_SLOT, Arc::clone(&kind.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return Err(READERS_SLOT) };
        // Counted from here on: who got his slot late would lose it again for nothing.
        let wait = kind.pace.turn_within(READERS_TURN, Instant::now())?;
        sleep(wait).await;
        Ok(slot)
    }
}

/// The right to one lookup; dropped when it is over.
#[derive(Debug)]
pub(super) struct Leave {
    _place: Hold,
    _turn: OwnTurn,
}

type Order = Turns<oneshot::Sender<OwnTurn>>;

/// Those who wait.
struct Line {
    order: Mutex<Order>,
    /// Whether somebody sees to it that the pace is kept.
    ticking: AtomicBool,
}

/// A slot that is in use.
struct OwnTurn {
    line: Arc<Line>,
    client: Client,
    kind: Kind,
}

impl OwnTurn {
    /// It comes to nothing, so that somebody else may have it.
    fn give_back(self) {
        self.line.order.lock().give_back(self.kind);
    }
}

impl fmt::Debug for OwnTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTurn").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Drop for OwnTurn {
    fn drop(&mut self) {
        self.line.order.lock().end(self.client, self.kind);
        self.line.go_on();
    }
}

/// A question that waits, until it is dropped.
struct InLine<'a> {
    line: &'a Line,
    client: Client,
    id: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.line.order.lock().remove(self.client, self.id);
    }
}

impl Line {
    /// Takes a question in, whose turn is given to `grant`.
    fn enter(
        self: &Arc<Self>,
        client: Client,
        kind: Kind,
        grant: oneshot::Sender<OwnTurn>,
    ) -> Option<InLine<'_>> {
        let now = Instant::now();
        let id = self.order.lock().push(client, kind, grant, now)?;
        let in_line = InLine { line: self, client, id };
        self.go_on();
        Some(in_line)
    }

    /// Gives slots to those whose turn it is.
    fn go_on(self: &Arc<Self>) {
        loop {
            let next = self.order.lock().next(Instant::now());
            match next {
                Ok(Granted { client, kind, job: grant }) => {
                    // Sent back if nobody waits any more, and dropped then, which looks for somebody else.
                    let _ = grant.send(OwnTurn { line: Arc::clone(self), client, kind });
                }
                Err(Some(due)) => return self.tick(due),
                Err(None) => return,
            }
        }
    }

    /// Goes on when the next turn is due.
    fn tick(self: &Arc<Self>, due: Instant) {
        // Outside of the runtime nobody waits any more.
        let Ok(runtime) = Handle::try_current() else { return };
        if self.ticking.swap(true, Ordering::AcqRel) {
            return;
        }
        let line = Arc::clone(self);
        runtime.spawn(async move {
            sleep_until(due).await;
            line.ticking.store(false, Ordering::Release);
            line.go_on();
        });
    }
}

/// Who may look up what, and when.
pub(super) struct Gate {
    line: Arc<Line>,
    names: RandomState,
    /// Until when, and what is answered.
    refusals: Cache<u64, (Instant, IdentityError)>,
}

impl Gate {
    pub(super) fn new() -> Self {
        let order = Mutex::new(Turns::new());
        Self {
            line: Arc::new(Line { order, ticking: AtomicBool::new(false) }),
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
        let turn = self.turn(kind_of(did), client).await.ok_or_else(|| {
            REFUSED.inc(if is_web(did) { "web" } else { "directory" });
            StrangerError::Busy(AGAIN)
        })?;
        // What it asked for in vain while this one waited counts too.
        if let Err(refused) = limits.look(Limit::VainLookups, client) {
            turn.give_back();
            return Err(refused.into());
        }
        Ok(Leave { _place: place, _turn: turn })
    }

    async fn turn(&self, kind: Kind, client: Client) -> Option<OwnTurn> {
        let (grant, granted) = oneshot::channel();
        let _in_line = self.line.enter(client, kind, grant)?;
        // Whoever was given one never drops the sender.
        timeout(PATIENCE, granted).await.ok()?.ok()
    }

    /// A lookup had no result: it is remembered, and if that was not the directory's fault, its client's failure.
    pub(super) fn no_result(&self, did: &Did, who: Stranger<'_>, error: &IdentityError) {
        let time = match error {
            error if !error.is_transient() => ABSENT,
            IdentityError::Net(_) | IdentityError::Busy(_) if is_web(did) => SILENT,
            _ => return,
        };
        self.in_vain(who);
        self.refusals.insert(self.name(did), (Instant::now() + time, error.clone()));
    }

    /// A client asked for what proved nothing.
    pub(super) fn in_vain(&self, who: Stranger<'_>) {
        // Who has none left is refused the next time.
        let _ = who.limits.take(Limit::VainLookups, who.client);
        self.line.order.lock().in_vain(who.client, Instant::now());
    }

    /// A client showed a good token.
    pub(super) fn proved(&self, client: Client) {
        self.line.order.lock().proved(client, Instant::now());
    }

    /// The identity changed.
    pub(super) fn forget(&self, did: &Did) {
        self.refusals.remove(&self.name(did));
    }

    /// As a number, so that long ones cost nothing; nobody outside can make two of them meet.
    fn name(&self, did: &Did) -> u64 {
        self.names.hash_one(&**did)
    }
}

fn is_web(did: &Did) -> bool {
    did.starts_with("did:web:")
}

fn kind_of(did: &Did) -> Kind {
    if is_web(did) { Kind::Web } else { Kind::Directory }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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
        gate.proved(at("192.0.2.1"));
        for n in 0..4 {
            held.push(gate.enter(&web(n), of("192.0.2.1")).await.unwrap());
        }
        let mut waiting = Vec::new();
        for n in 0..12 {
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
        for n in 0..2 {
            held.push(gate.enter(&web(n), of("192.0.2.2")).await.unwrap());
        }
        assert!(gate.enter(&did("did:plc:new"), of("192.0.2.4")).await.is_ok());
        // Those who proved something have slots of their own.
        gate.proved(at("192.0.2.5"));
        assert!(gate.enter(&web(0), of("192.0.2.5")).await.is_ok());
        drop(held);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok(), "who waits gets a slot when it is free");
        }
        assert_eq!(gate.line.order.lock().clients(), 0, "of those who are gone nothing is left");
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing_and_a_turn_that_is_refused_is_somebody_elses() {
        let (gate, limits, _) = gate();
        let of = |text| Stranger { client: at(text), limits: &limits };
        let bob = did("did:plc:bob");
        let held =
            [gate.enter(&bob, of("192.0.2.1")).await, gate.enter(&bob, of("192.0.2.1")).await];
        let mut waits = Box::pin(gate.enter(&bob, of("192.0.2.1")));
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(waits);
        let mut waits = Box::pin(gate.enter(&bob, of("192.0.2.1")));
        assert!(futures_util::poll!(&mut waits).is_pending());
        // It has its turn before it hears that its client may ask no more.
        for _ in 0..10 {
            limits.take(Limit::VainLookups, at("192.0.2.1")).unwrap();
        }
        drop(held);
        assert!(matches!(waits.await, Err(StrangerError::Refused(_))));
        assert_eq!(gate.line.order.lock().clients(), 0);
        // Two of the burst are used.
        for _ in 0..28 {
            let enter = gate.enter(&bob, of("198.51.100.1"));
            assert!(enter.now_or_never().is_some_and(|leave| leave.is_ok()));
        }
        assert!(gate.enter(&bob, of("198.51.100.1")).now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_is_not_there_is_remembered_and_the_directory_is_nobodys_fault() {
        let silent = IdentityError::Net(NetError::Timeout("answer"));
        let absent = IdentityError::NotFound;
        let cases = [
            ("did:plc:nobody", &absent, true),
            ("did:plc:alice", &silent, false),
            ("did:plc:bob", &IdentityError::Busy(AGAIN), false),
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
