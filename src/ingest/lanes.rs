//! Verify threads. Each has its share of the DIDs, so what happens to one repo is checked in order.
//!
//! A frame whose key is not known is parked, with everything of that DID that comes after it, while the DID
//! document is asked for; other DIDs of the lane go on.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::checks::{Checks, KeyAnswer};
use super::directory::Freshness;
use super::feed::{Chunk, Done, Feed, Job, Payload, Place};
use super::jetstream;
use super::room::Room;
use super::verify::{Verdict, Verifier};
use crate::crypto::PublicKey;
use crate::event::{Body, Commit, Event, frame_time};
use crate::schema::Rows;
use crate::store::Store;
use crate::syntax::Did;
use crate::telemetry::timing::Timing;
use crate::threads::{Budget, Failure, Held, Pulse, catch, fault};

/// For what a lane gets at once, up to 64 frames.
static VERIFY: Timing = Timing::new("ingest.stage", "verify");

/// Frames of one DID that are parked at most; more, and the repo is rather fetched whole.
const MAX_PARKED: usize = 512;
/// After a key was asked for because a signature did not fit, the next bad signature is simply bad.
const FORCED_AGAIN: Duration = Duration::from_secs(10);
/// How long a DID that gave no key is not asked for again.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// So many of those are remembered by a lane, about 100 bytes each.
const MAX_REFUSED: usize = 20_000;
/// See [`Stale`].
const MAX_STALE: usize = 100_000;
/// A key read from the store that is older is used, and looked up again beside.
const KEY_AGE_MS: i64 = 24 * 3600 * 1000;

/// What a lane is told.
pub(crate) enum Message {
    Chunk(Chunk),
    Key { did: Did, ticket: u64, answer: KeyAnswer },
    Stop,
}

/// The way into the lanes.
#[derive(Clone)]
pub(crate) struct Inboxes {
    lanes: Arc<[flume::Sender<Message>]>,
    /// Of this process, so that nobody can choose DIDs that all go into one lane.
    hasher: RandomState,
}

impl Inboxes {
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Which lane a DID belongs to.
    pub(crate) fn lane_of(&self, did: &Did) -> usize {
        let hash = self.hasher.hash_one(did);
        usize::try_from(hash >> 40).unwrap_or(0) % self.lanes.len().max(1)
    }

    pub(crate) fn send(&self, lane: usize, message: Message) {
        if let Some(inbox) = self.lanes.get(lane) {
            // One that ended before ingest does has told its failure, and all of it begins anew.
            let _ = inbox.send(message);
        }
    }
}

/// The threads.
pub(crate) struct Lanes {
    inboxes: Inboxes,
    pulses: Vec<Arc<Pulse>>,
    /// Closed by the end of each thread.
    ended: Vec<oneshot::Receiver<()>>,
}

impl Lanes {
    /// So many, 0 for one each core, which keep so many keys together.
    pub(crate) fn start(
        (count, keys): (usize, usize),
        (verifier, decoded): (Verifier, &Budget),
        store: &Store,
        checks: &Arc<Checks>,
        failure: &Failure,
    ) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let count = if count == 0 { cores } else { count };
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| flume::unbounded()).unzip();
        let inboxes = Inboxes { lanes: inboxes.into(), hasher: RandomState::default() };
        let (mut pulses, mut ended) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, inbox) in receivers.into_iter().enumerate() {
            let pulse = Arc::<Pulse>::default();
            pulses.push(Arc::clone(&pulse));
            let mut lane = Lane {
                index,
                verifier,
                decoded: decoded.clone(),
                inboxes: inboxes.clone(),
                store: store.clone(),
                checks: Arc::clone(checks),
                keys: quick_cache::unsync::Cache::new((keys / count).max(1000)),
                stale: Stale::default(),
                refused: HashMap::default(),
                parked: HashMap::default(),
                tickets: 0,
                pulse,
            };
            let name = format!("verify-{index}");
            let thread = std::thread::Builder::new().name(name.clone());
            let (alive, end) = oneshot::channel::<()>();
            let failure = failure.clone();
            thread.spawn(move || {
                if let Err(panic) = catch(|| lane.run(&inbox)) {
                    failure.tell(&format!("the verify lane {name}: {panic}"));
                }
                drop(alive);
            })?;
            ended.push(end);
        }
        Ok(Self { inboxes, pulses, ended })
    }

    pub(crate) fn inboxes(&self) -> Inboxes {
        self.inboxes.clone()
    }

    /// Whether each thread gets on with what it has.
    pub(crate) fn pulses(&self) -> &[Arc<Pulse>] {
        &self.pulses
    }

    /// Ends the threads. They are not joined: that would block a thread of the runtime, which reads signals too.
    pub(crate) async fn stop(self) {
        for lane in 0..self.inboxes.len() {
            self.inboxes.send(lane, Message::Stop);
        }
        for ended in self.ended {
            // Nothing is ever sent.
            let _ = ended.await;
        }
    }
}

struct Lane {
    index: usize,
    verifier: Verifier,
    /// See [`Room`].
    decoded: Budget,
    inboxes: Inboxes,
    store: Store,
    checks: Arc<Checks>,
    keys: quick_cache::unsync::Cache<Did, CachedKey>,
    stale: Stale,
    refused: HashMap<Did, (KeyAnswer, Instant)>,
    parked: HashMap<Did, Parked>,
    tickets: u64,
    pulse: Arc<Pulse>,
}

#[derive(Clone)]
struct CachedKey {
    key: PublicKey,
    /// When it was asked for because a signature did not fit.
    forced: Option<Instant>,
}

struct Parked {
    /// Which answer is waited for; others are outdated.
    ticket: u64,
    forced: bool,
    jobs: Vec<(Arc<Feed>, Job)>,
}

/// DIDs whose stored key was read before their last `#identity`. Only until that is applied, since then none is stored:
/// by the time that so many others came after one, it is.
#[derive(Default)]
struct Stale {
    dids: HashMap<Did, u64>,
    order: VecDeque<(Did, u64)>,
    last: u64,
}

impl Stale {
    fn contains(&self, did: &Did) -> bool {
        self.dids.contains_key(did)
    }

    fn remove(&mut self, did: &Did) {
        self.dids.remove(did);
    }

    fn insert(&mut self, did: &Did) {
        self.last += 1;
        self.dids.insert(did.clone(), self.last);
        self.order.push_back((did.clone(), self.last));
        while self.order.len() > MAX_STALE
            && let Some((oldest, at)) = self.order.pop_front()
        {
            if self.dids.get(&oldest) == Some(&at) {
                self.dids.remove(&oldest);
            }
        }
    }
}

/// What is known of a key without asking.
enum Known {
    Key(CachedKey),
    Refused(KeyAnswer),
    Ask(Freshness),
}

impl Lane {
    fn run(&mut self, inbox: &flume::Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            self.pulse.beat();
            fault::point("lane");
            match message {
                Message::Chunk(Chunk { feed, jobs }) => {
                    let begun = Instant::now();
                    let mut done = Vec::with_capacity(jobs.len());
                    for job in jobs {
                        done.extend(self.guarded(&feed, job, Self::take));
                    }
                    VERIFY.since(begun);
                    feed.send(done);
                }
                Message::Key { did, ticket, answer } => self.answered(&did, ticket, answer),
                Message::Stop => return,
            }
            self.pulse.rest();
        }
    }

    /// A frame that we cannot take costs itself and nothing else: its place is filled, or everything behind it would
    /// wait for ever, and the same again after a restart. The next commit of its repo shows that one is missing.
    fn guarded(
        &mut self,
        feed: &Arc<Feed>,
        job: Job,
        work: impl FnOnce(&mut Self, &Arc<Feed>, Job) -> Option<Done>,
    ) -> Option<Done> {
        let place = job.place;
        catch(|| work(self, feed, job)).unwrap_or_else(|panic| {
            tracing::error!(url = %feed.url, seq = ?place.seq.number(), %panic, "a frame is dropped");
            Some(drop_place(feed, place, None, "panic"))
        })
    }

    /// Settles a frame, or parks it behind those of its DID that wait.
    fn take(&mut self, feed: &Arc<Feed>, job: Job) -> Option<Done> {
        if let Payload::Identity(did, _) = &job.payload {
            let did = did.clone();
            if self.checks.is_believed(feed, &did) {
                self.identity_changed(&did);
                let since = self.checks.clock.now_ms();
                return Some(done(feed, job, did, Body::IdentityDue { since }));
            }
            // The store has the answer as soon as there is one, so the next commit takes the key from there.
            self.keys.remove(&did);
            return Some(done(feed, job, did, Body::IdentityClaimed));
        }
        if let Some(parked) = self.parked.get_mut(job.payload.did()) {
            let did = job.payload.did().clone();
            parked.jobs.push((Arc::clone(feed), job));
            if parked.jobs.len() > MAX_PARKED {
                let ticket = parked.ticket;
                self.answered(&did, ticket, KeyAnswer::Later);
            }
            return None;
        }
        self.settle(feed, job)
    }

    fn settle(&mut self, feed: &Arc<Feed>, job: Job) -> Option<Done> {
        match &job.payload {
            Payload::Account(did, status, _) => {
                let did = did.clone();
                let body = self.checks.account(feed, &did, *status);
                Some(done(feed, job, did, body))
            }
            Payload::Jetstream(_, text) => {
                let mut room = Room::new(&self.decoded, job.place.weight);
                let verdict = match jetstream::commit(text, &mut room) {
                    Ok(body) => Verdict::Event(body),
                    Err(cause) => Verdict::Drop(cause),
                };
                Some(settled_with(feed, job, verdict, room))
            }
            Payload::Identity(..) => Some(Done::nothing(job.place)),
            Payload::Commit(_) | Payload::Sync(_) => self.signed(feed, job),
        }
    }

    fn signed(&mut self, feed: &Arc<Feed>, job: Job) -> Option<Done> {
        let mut room = Room::new(&self.decoded, job.place.weight);
        if !self.verifier.verify {
            let verdict = self.verifier.check(&job.payload, None, job.place.received, &mut room);
            return Some(settled_with(feed, job, verdict, room));
        }
        let did = job.payload.did().clone();
        match self.known(&did) {
            Known::Key(cached) => {
                let (key, now) = (Some(&cached.key), job.place.received);
                let verdict = self.verifier.check(&job.payload, key, now, &mut room);
                if matches!(verdict, Verdict::BadSignature)
                    && cached.forced.is_none_or(|at| at.elapsed() > FORCED_AGAIN)
                {
                    self.park(feed, job, did, Freshness::Fresh, true);
                    return None;
                }
                let verdict = self.told_by(feed, &job.payload, verdict);
                Some(settled_with(feed, job, verdict, room))
            }
            Known::Refused(KeyAnswer::Later) => {
                let verdict = self.verifier.claim(&job.payload, job.place.received);
                Some(settled(feed, job, verdict))
            }
            Known::Refused(_) => Some(drop_job(feed, &job, "no-signing-key")),
            Known::Ask(freshness) => {
                self.park(feed, job, did, freshness, false);
                None
            }
        }
    }

    /// A commit that does not say which root was before it is believed only from its own host, and only if that never
    /// does: whoever else passes it on may have taken that away, and operations with it.
    fn told_by(&self, feed: &Feed, payload: &Payload, verdict: Verdict) -> Verdict {
        let Payload::Commit(frame) = payload else { return verdict };
        if frame.prev_data.is_some() {
            feed.told_root();
            return verdict;
        }
        match verdict {
            Verdict::Event(Body::Commit(commit))
                if commit.prev_data == Some(Commit::UNTOLD)
                    && feed.never_tells_roots()
                    && self.checks.is_host(feed, &frame.repo) =>
            {
                Verdict::Event(Body::Commit(Commit { prev_data: None, ..commit }))
            }
            verdict => verdict,
        }
    }

    fn known(&mut self, did: &Did) -> Known {
        if let Some(cached) = self.keys.get(did) {
            return Known::Key(cached.clone());
        }
        if let Some((answer, until)) = self.refused.get(did) {
            if *until > Instant::now() {
                return Known::Refused(answer.clone());
            }
            self.refused.remove(did);
        }
        if self.stale.contains(did) {
            return Known::Ask(Freshness::Fresh);
        }
        let Some((key, checked)) = self.stored_key(did) else {
            return Known::Ask(Freshness::Cached);
        };
        if self.checks.clock.now_ms().saturating_sub(checked).abs() > KEY_AGE_MS {
            self.checks.check_handle(did, Freshness::Recent);
        }
        let cached = CachedKey { key, forced: None };
        self.keys.insert(did.clone(), cached.clone());
        Known::Key(cached)
    }

    fn has_identity(&self, did: &Did) -> bool {
        let snapshot = self.store.snapshot();
        // One that cannot be read may be there.
        let Ok(actor) = snapshot.actor_id(did) else { return true };
        actor.is_some_and(|actor| snapshot.identity(actor).map_or(true, |row| row.is_some()))
    }

    /// An unreadable store is not decided on here: the writer sees it too, and stops the process.
    fn stored_key(&self, did: &Did) -> Option<(PublicKey, i64)> {
        let snapshot = self.store.snapshot();
        let actor = snapshot.actor_id(did).ok()??;
        let row = snapshot.identity(actor).ok()??;
        Some((PublicKey::from_did_key(&row.key).ok()?, row.checked))
    }

    fn park(&mut self, feed: &Arc<Feed>, job: Job, did: Did, freshness: Freshness, forced: bool) {
        let ticket = self.ask(&did, freshness);
        let job = (Arc::clone(feed), job);
        match self.parked.entry(did) {
            MapEntry::Occupied(mut parked) => {
                let parked = parked.get_mut();
                (parked.ticket, parked.forced) = (ticket, forced);
                parked.jobs.push(job);
            }
            MapEntry::Vacant(slot) => {
                slot.insert(Parked { ticket, forced, jobs: vec![job] });
            }
        }
    }

    fn ask(&mut self, did: &Did, freshness: Freshness) -> u64 {
        self.tickets += 1;
        let (ticket, lane, inboxes) = (self.tickets, self.index, self.inboxes.clone());
        let asked = did.clone();
        self.checks.find_key(did, freshness, move |answer| {
            inboxes.send(lane, Message::Key { did: asked, ticket, answer });
        });
        ticket
    }

    fn identity_changed(&mut self, did: &Did) {
        let known = self.keys.remove(did).is_some() | self.refused.remove(did).is_some();
        self.checks.identity_changed(did);
        // What is not known has no key that could be outdated; where one is on its way into the store, it is in memory.
        let known = known || self.parked.contains_key(did) || self.has_identity(did);
        if self.verifier.verify && known {
            self.stale.insert(did);
        }
        if self.parked.contains_key(did) {
            // The answer under way may be from before the change.
            let ticket = self.ask(did, Freshness::Fresh);
            if let Some(parked) = self.parked.get_mut(did) {
                parked.ticket = ticket;
            }
        }
    }

    /// Goes on with what waited for a key.
    fn answered(&mut self, did: &Did, ticket: u64, answer: KeyAnswer) {
        if self.parked.get(did).is_none_or(|parked| parked.ticket != ticket) {
            return;
        }
        let Some(parked) = self.parked.remove(did) else { return };
        match answer {
            KeyAnswer::Key(key, doc) => {
                let forced = parked.forced.then(Instant::now);
                self.stale.remove(did);
                self.keys.insert(did.clone(), CachedKey { key: *key, forced });
                let mut held = false;
                for (feed, job) in parked.jobs {
                    let done = self.guarded(&feed, job, Self::take);
                    held |= done.as_ref().is_some_and(|done| done.event.is_some());
                    feed.send(done.into_iter().collect());
                }
                if held {
                    // Not that of an account in whose name somebody sent what it did not sign: nothing is held of it.
                    self.checks.keyed(&doc);
                }
            }
            KeyAnswer::None => {
                self.refuse(did, KeyAnswer::None);
                for (feed, job) in parked.jobs {
                    let done = self.guarded(&feed, job, Self::settle);
                    feed.send(done.into_iter().collect());
                }
            }
            KeyAnswer::Later => {
                self.refuse(did, KeyAnswer::Later);
                self.give_up(parked.jobs);
            }
        }
    }

    fn refuse(&mut self, did: &Did, answer: KeyAnswer) {
        let now = Instant::now();
        if self.refused.len() >= MAX_REFUSED {
            self.refused.retain(|_, (_, until)| *until > now);
            // Whoever made so many up in a minute has them asked for again.
            if self.refused.len() >= MAX_REFUSED {
                self.refused.clear();
            }
        }
        self.keys.remove(did);
        self.refused.insert(did.clone(), (answer, now + REFUSED_AGAIN));
    }

    /// The newest claim stands for all: the repo will be fetched whole.
    fn give_up(&mut self, jobs: Vec<(Arc<Feed>, Job)>) {
        let signed = |job: &Job| matches!(job.payload, Payload::Commit(_) | Payload::Sync(_));
        let last = jobs.iter().rposition(|(_, job)| signed(job));
        for (at, (feed, job)) in jobs.into_iter().enumerate() {
            let done = if signed(&job) && Some(at) != last {
                Some(Done::nothing(job.place))
            } else {
                self.guarded(&feed, job, Self::settle)
            };
            feed.send(done.into_iter().collect());
        }
    }
}

fn done(feed: &Feed, job: Job, did: Did, body: Body) -> Done {
    let Job { place, payload } = job;
    let upstream = match payload {
        Payload::Identity(_, upstream) | Payload::Account(_, _, upstream) => upstream,
        Payload::Commit(_) | Payload::Sync(_) | Payload::Jetstream(..) => None,
    };
    let (time, received) = (frame_time(place.sent, place.received), place.received);
    let line = feed.line;
    let event = Some(Event { did, time, received, upstream, line, body });
    Done { event, ..Done::nothing(place) }
}

/// With the records of a commit, and what they take.
fn settled_with(feed: &Feed, job: Job, verdict: Verdict, room: Room) -> Done {
    let made = matches!(verdict, Verdict::Event(Body::Commit(_)));
    let held = if made { room.into_held() } else { Held::default() };
    Done { held, ..settled(feed, job, verdict) }
}

fn settled(feed: &Feed, job: Job, verdict: Verdict) -> Done {
    match verdict {
        Verdict::Event(body) => {
            let did = job.payload.did().clone();
            done(feed, job, did, body)
        }
        Verdict::Drop(cause) => drop_job(feed, &job, cause),
        Verdict::BadSignature => drop_job(feed, &job, "bad-signature"),
    }
}

fn drop_job(feed: &Feed, job: &Job, cause: &'static str) -> Done {
    drop_place(feed, job.place, Some(job.payload.did()), cause)
}

fn drop_place(feed: &Feed, place: Place, did: Option<&Did>, cause: &'static str) -> Done {
    feed.status.dropped(cause, did.map(Did::as_str), place.seq.number());
    Done::nothing(place)
}
