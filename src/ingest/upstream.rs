//! One reader for each upstream: connects, gives every frame its place, deals frames out to the lanes.
//!
//! The byte budget is taken before the next read, so a slow index stops the socket and nothing is dropped. After
//! a broken connection it goes on behind the last frame it read, since what was read is still on its way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};

use super::ahead::{Ahead, Taken, Verdict, What};
use super::feed::{Chunk, Done, Feed, Job, Payload, Place, Seq};
use super::lanes::{Inboxes, Message as LaneMessage};
use super::leaps::{Leap, Numbers};
use super::status::{UpstreamKind, span};
use super::timing::{Heartbeat, Silent, Timing};
use super::{Sink, jetstream};
use crate::event::frame::{AccountFrame, Frame, MAX_FRAME_LEN};
use crate::event::{HostingStatus, Upstream};
use crate::net::{Dialer, Message, NetError, WsStream};
use crate::telemetry::links::Link;
use crate::telemetry::timing;
use crate::threads::{Standing, catch, fault};

/// For one frame, of which one in so many is measured.
static DECODE: timing::Timing = timing::Timing::new("ingest.stage", "decode");
const DECODED_EACH: u64 = 16;
/// Frames that are dealt out at once.
const CHUNK: usize = 64;
/// How long a socket that has little to read is left alone: every frame that is read by itself wakes a thread here, one
/// of the lanes, the sequencer and the writer, which costs more than all that is done with it. The writer waits for
/// company longer if more comes at once, so what comes meanwhile is not seen later.
const REST: Duration = Duration::from_millis(50);
/// From so many frames a second on there is always something to read, and a rest would only fill the socket.
const BUSY: u128 = 2500;
/// How often the clock is looked at once it was found behind, and when the stream is heard again.
const CLOCK_EVERY: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Frames in a row that cannot be read, after which the connection is of no use.
pub(super) const MAX_GARBAGE: u32 = 1000;

/// Reads one upstream.
pub(crate) struct Reader {
    pub(crate) feed: Arc<Feed>,
    pub(crate) lanes: Inboxes,
    pub(crate) dialer: Dialer,
    pub(crate) public_url: String,
    pub(crate) timing: Timing,
    pub(crate) sink: Arc<dyn Sink>,
}

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Behind this sequence number; 0 is the oldest that the upstream has.
    After(i64),
    /// With what comes next.
    Live,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("closed by the upstream: {0:?} {1}")]
    Closed(Option<u16>, String),
    #[error(transparent)]
    Silent(#[from] Silent),
    #[error("the upstream says {0}: {1}")]
    Refused(String, String),
    #[error("the upstream does not know our cursor any more; reading on from its newest event")]
    Restart,
    #[error("the clock of this machine is {} behind what the upstream sends: set it; until then nothing is read, and nothing is lost", span(*.0))]
    Clock(i64),
    #[error("the clock of this machine has just leapt: nothing is read until it was looked at")]
    ClockLeapt,
    #[error(transparent)]
    Leap(#[from] Leap),
    #[error("the operator wants another connection")]
    Asked,
    #[error("{MAX_GARBAGE} frames in a row could not be read")]
    Garbage,
}

impl End {
    /// Whether the upstream is to be left alone for longer; `good` if there was something of use before.
    fn is_its_fault(&self, good: bool) -> bool {
        match self {
            Self::Leap(_) | Self::Garbage | Self::Net(NetError::Misbehaves(_)) => true,
            Self::Refused(..) => !good,
            Self::Net(_) | Self::Closed(..) | Self::Silent(_) | Self::Restart => false,
            Self::Clock(_) | Self::ClockLeapt | Self::Asked => false,
        }
    }
}

/// What a message amounts to, or that the connection ends with it.
type Read = Result<What, End>;

impl Reader {
    /// Reads until it is dropped.
    pub(crate) async fn run(self, cursor: Option<i64>) {
        let mut state = State {
            slot: 0,
            start: Start::After(cursor.unwrap_or(0)),
            chunks: (0..self.lanes.len()).map(|_| Vec::new()).collect(),
            own: Vec::new(),
            held: 0,
            frames: 0,
            good: 0,
            garbage: 0,
            numbers: Numbers::after(cursor),
            lost: false,
            ahead: Ahead::default(),
            doubted: false,
        };
        let mut retries = self.timing.retry.retries();
        loop {
            let (before, began) = (state.good, Instant::now());
            let end = self.connection(&mut state).await;
            self.feed.budget.add_permits(state.ahead.forget());
            let good = state.good > before;
            let its_fault = end.is_its_fault(good);
            state.flush(&self.feed, &self.lanes);
            self.feed.status.connected(false);
            match end {
                End::Clock(by) => {
                    state.doubted = true;
                    self.feed.status.error(end.to_string());
                    if self.feed.status.clock_is_behind(Some(by)) {
                        tracing::error!(url = %self.feed.url, "{end}");
                    }
                    self.clock_is_set(by).await;
                    continue;
                }
                End::ClockLeapt => {
                    tracing::warn!(url = %self.feed.url, "{end}");
                    self.feed.status.error(end.to_string());
                    let clock = &self.feed.status.clock;
                    while clock.leapt(clock.now_ms()) {
                        sleep(CLOCK_EVERY).await;
                    }
                    continue;
                }
                End::Restart => {
                    state.lost = true;
                    self.note_gap(&mut state).await;
                    let weight = self.feed.weight(&[]);
                    self.reserve(weight, &mut state).await;
                    state.place(Seq::Restart, weight, 0);
                    state.flush(&self.feed, &self.lanes);
                    state.start = Start::Live;
                    state.numbers.begin_anew();
                    tracing::warn!(url = %self.feed.url, "{}", End::Restart);
                }
                ref other if its_fault => {
                    tracing::warn!(url = %self.feed.url, "disconnected: {other}");
                }
                ref other => tracing::info!(url = %self.feed.url, "disconnected: {other}"),
            }
            self.feed.status.error(end.to_string());
            // One that has nothing to say is left and asked again, which is no failure.
            let quiet = matches!(end, End::Silent(_)) && began.elapsed() >= self.timing.stall;
            if its_fault {
                self.feed.status.unusable();
            } else if good || (quiet && state.garbage == 0) {
                retries.worked();
            }
            if !matches!(end, End::Asked) {
                tokio::select! {
                    () = sleep(retries.failed()) => {}
                    () = self.feed.anew.asked() => {}
                }
            }
        }
    }

    async fn connection(&self, state: &mut State) -> End {
        let url = subscription_url(&self.feed.url, self.feed.kind, state.start);
        let link = Link::of("upstream", &self.feed.url);
        let connect = WsStream::connect(&self.dialer, &url, &self.public_url, MAX_FRAME_LEN, link);
        let mut socket = match connect.await {
            Ok(socket) => socket,
            Err(error) => return error.into(),
        };
        self.feed.status.connected(true);
        state.garbage = 0;
        tracing::info!(url = %self.feed.url, start = ?state.start, "connected");
        let mut watch = Heartbeat::new(self.timing);
        let (mut frames, mut emptied) = (state.frames, Instant::now());
        loop {
            if self.feed.anew.is_asked() {
                return End::Asked;
            }
            let message = match socket.next().now_or_never() {
                Some(message) => message,
                None => {
                    state.flush(&self.feed, &self.lanes);
                    let read = state.frames - std::mem::replace(&mut frames, state.frames);
                    let took = std::mem::replace(&mut emptied, Instant::now()).elapsed();
                    if read > 0 && is_little(read, took) {
                        sleep(REST).await;
                        continue;
                    }
                    let held = state.ahead.until();
                    tokio::select! {
                        message = socket.next() => message,
                        () = self.feed.anew.asked() => return End::Asked,
                        () = sleep_until(held.unwrap_or_else(|| watch.next())), if held.is_some() => {
                            let now = self.feed.status.clock.now_ms();
                            let verdict = state.ahead.decide(now, self.is_confirmed(now));
                            if let Some(end) = self.settle(verdict, state) {
                                return end;
                            }
                            self.note_gap(state).await;
                            continue;
                        }
                        () = sleep_until(watch.next()) => {
                            if let Err(silent) = watch.look() {
                                return silent.into();
                            }
                            if watch.ping_due() && let Err(error) = socket.ping() {
                                return error.into();
                            }
                            continue;
                        }
                    }
                }
            };
            let bytes = match message {
                Ok(Message::Binary(bytes) | Message::Text(bytes)) => bytes,
                Ok(Message::Alive) => {
                    watch.alive();
                    continue;
                }
                Ok(Message::Closed(code, reason)) => return End::Closed(code, reason),
                Err(error) => return error.into(),
            };
            let weight = self.feed.weight(&bytes);
            if let Some(end) = self.make_room(weight, state) {
                return end;
            }
            self.reserve(weight, state).await;
            let good = state.good;
            let end = self.deal(bytes, weight, state);
            // Nothing was read while waiting, so nothing was missed either.
            if state.good > good {
                watch.frame()
            } else {
                watch.alive()
            }
            if let Some(end) = end {
                return end;
            }
            self.note_gap(state).await;
        }
    }

    async fn note_gap(&self, state: &mut State) {
        if std::mem::take(&mut state.lost) {
            // When the sink is closed, the sequencer ends everything.
            let _ = self.sink.gap(self.feed.cursor.clone(), self.feed.status.clock.now_ms()).await;
        }
    }

    /// Sees to it that there can be room for a frame: what waits until others have spoken must not wait for ever, which it
    /// would if nobody else could be read.
    fn make_room(&self, weight: u32, state: &mut State) -> Option<End> {
        if state.ahead.weight() + weight as usize <= self.feed.budget_total {
            return None;
        }
        let now = self.feed.status.clock.now_ms();
        let verdict = state.ahead.decide(now, self.is_confirmed(now));
        self.settle(verdict, state)
    }

    /// Takes from the budget, waiting for it.
    async fn reserve(&self, weight: u32, state: &mut State) {
        let free = self.feed.must_be_free(weight, state.ahead.weight());
        if let Ok(permit) = self.feed.budget.try_acquire_many(free) {
            keep(permit, weight);
            return;
        }
        // What the lanes have not got yet can free nothing.
        state.flush(&self.feed, &self.lanes);
        // The semaphore is never closed.
        if let Ok(permit) = self.feed.budget.acquire_many(free).await {
            keep(permit, weight);
        }
    }

    fn deal(&self, bytes: bytes::Bytes, weight: u32, state: &mut State) -> Option<End> {
        fault::point("reader");
        state.frames += 1;
        let received = self.feed.status.clock.now_ms();
        // To look at the clock for each of them would be much of what is measured.
        let begun = state.frames.is_multiple_of(DECODED_EACH).then(Instant::now);
        let read = catch(|| match self.feed.kind {
            UpstreamKind::Jetstream => self.read_jetstream(bytes, received),
            _ => self.read_frame(bytes, received, state.start),
        });
        if let Some(begun) = begun {
            DECODE.record(begun.elapsed());
        }
        let (seq, sent, read) = read.unwrap_or_else(|panic| {
            tracing::error!(url = %self.feed.url, %panic, "a frame is dropped");
            self.feed.status.dropped("panic", None, None);
            (Seq::Same, 0, Ok(What::Nothing))
        });
        if let Seq::At(number) = seq
            && let Err(leap) = state.numbers.next(number, received)
        {
            state.place(Seq::Same, weight, 0);
            return Some(leap.into());
        }
        let (what, end) = match read {
            Ok(What::Garbage) => {
                state.garbage += 1;
                self.feed.status.unusable();
                let enough = state.garbage >= MAX_GARBAGE;
                (What::Garbage, enough.then_some(End::Garbage))
            }
            Ok(what) => {
                (state.good, state.garbage) = (state.good + 1, 0);
                let first = self.feed.status.frame(received, self.feed.queued() > weight as usize);
                if first && self.feed.status.clock.leapt(received) {
                    self.feed.budget.add_permits(weight as usize);
                    return Some(End::ClockLeapt);
                }
                if let (true, What::Job(payload)) = (first && sent > 0, &what) {
                    self.feed.status.told(payload.did(), sent);
                }
                (what, None)
            }
            Err(end) => (What::Nothing, Some(end)),
        };
        let taken = Taken { seq, weight, sent, received, what };
        if !state.ahead.concerns(&taken) {
            self.put(taken, state);
            return end;
        }
        let confirmed = self.is_confirmed(received);
        let verdict = state.ahead.look(taken, self.feed.budget_total, confirmed);
        self.settle(verdict, state).or(end)
    }

    /// Whether somebody else says the same as the clock.
    fn is_confirmed(&self, now: i64) -> bool {
        self.feed.status.clock.standing(now) == Standing::Confirmed
    }

    /// What follows for the frames that were held.
    fn settle(&self, verdict: Verdict, state: &mut State) -> Option<End> {
        match verdict {
            Verdict::Hold => None,
            Verdict::Pass(held) => {
                held.into_iter().for_each(|taken| self.put(taken, state));
                None
            }
            Verdict::Behind(by, weight) => {
                self.feed.budget.add_permits(weight);
                Some(End::Clock(by))
            }
        }
    }

    /// Waits until the clock may be right again, but looks anew now and then: what was said may have been wrong.
    async fn clock_is_set(&self, by: i64) {
        let clock = &self.feed.status.clock;
        let (begun, told) = (Instant::now(), clock.now_ms());
        while begun.elapsed() < LOOK_AGAIN {
            sleep(CLOCK_EVERY).await;
            let passed = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            let now = clock.now_ms();
            if now.saturating_sub(told).saturating_sub(passed) > by / 2 || self.is_confirmed(now) {
                return;
            }
        }
    }

    /// Gives a frame its place.
    fn put(&self, taken: Taken, state: &mut State) {
        let Taken { seq, weight, sent, received, what } = taken;
        if let Seq::At(seq) = seq {
            self.feed.status.received(seq);
            if state.start == Start::Live || state.start < Start::After(seq) {
                state.start = Start::After(seq);
            }
        }
        match what {
            What::Job(payload) => {
                if state.doubted && matches!(payload, Payload::Commit(_) | Payload::Sync(_)) {
                    state.doubted = false;
                    self.feed.status.clock_is_behind(None);
                    tracing::info!(url = %self.feed.url, "the clock fits what is sent again");
                }
                let lane = self.lanes.lane_of(payload.did());
                let place = state.next_place(seq, weight, sent, received);
                state.held += 1;
                if let Some(chunk) = state.chunks.get_mut(lane) {
                    chunk.push(Job { place, payload });
                }
            }
            What::Lost => {
                state.lost = true;
                state.numbers.outdated();
                state.place(seq, weight, sent);
            }
            What::Nothing | What::Garbage => state.place(seq, weight, sent),
        }
        if state.held >= CHUNK {
            state.flush(&self.feed, &self.lanes);
        }
    }

    fn read_frame(&self, bytes: bytes::Bytes, received: i64, start: Start) -> (Seq, i64, Read) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                let seq = error.seq.and_then(|seq| i64::try_from(seq).ok());
                self.feed.status.dropped(error.cause.cause(), None, seq);
                return (seq.map_or(Seq::Same, Seq::At), 0, Ok(What::Garbage));
            }
        };
        let seq = frame.seq().and_then(|seq| i64::try_from(seq).ok()).map_or(Seq::Same, Seq::At);
        let time = |sent: i64| if sent > 0 { sent } else { received };
        match frame {
            Frame::Commit(frame) => {
                (seq, time(frame.time_ms), Ok(What::Job(Payload::Commit(frame))))
            }
            Frame::Sync(frame) => {
                (seq, time(frame.time_ms), Ok(What::Job(Payload::Sync(Box::new(frame)))))
            }
            Frame::Identity(frame) => {
                let sent = time(frame.time_ms);
                let upstream = Some(Upstream { seq: frame.seq, time: sent });
                (seq, sent, Ok(What::Job(Payload::Identity(frame.did, upstream))))
            }
            Frame::Account(frame) => {
                let sent = time(frame.time_ms);
                let upstream = Some(Upstream { seq: frame.seq, time: sent });
                let read = match hosting_status(&frame) {
                    Some(status) => What::Job(Payload::Account(frame.did, status, upstream)),
                    None => What::Nothing,
                };
                (seq, sent, Ok(read))
            }
            Frame::Info { name, message } => {
                self.feed.status.dropped(known_notice(&name), None, None);
                self.feed.status.error(format!("the upstream says {name}: {message}"));
                tracing::warn!(url = %self.feed.url, %name, %message, "notice");
                let read = match (name.as_str(), start) {
                    // Without a cursor there is nothing to be behind of: this is the oldest that the upstream has.
                    ("OutdatedCursor", Start::After(1..)) => What::Lost,
                    _ => What::Nothing,
                };
                (Seq::Same, 0, Ok(read))
            }
            Frame::Error { error, message } => {
                self.feed.status.dropped(known_notice(&error), None, None);
                let end = match (error.as_str(), start) {
                    ("FutureCursor", Start::After(_)) => End::Restart,
                    _ => End::Refused(error, message),
                };
                (Seq::Same, 0, Err(end))
            }
            Frame::Unknown { .. } => {
                self.feed.status.dropped("unknown-frame", None, seq.number());
                (seq, 0, Ok(What::Nothing))
            }
        }
    }

    fn read_jetstream(&self, bytes: bytes::Bytes, received: i64) -> (Seq, i64, Read) {
        match jetstream::read(&bytes) {
            Ok(message) => {
                let (did, sent) = (message.did, message.time_us / 1000);
                let seq = Seq::At(message.time_us);
                // What it says of the firehose it reads; its own time is the one that dates the event.
                let told = |at: Option<jetstream::Told>| {
                    let time = |time_ms| if time_ms > 0 { time_ms } else { received };
                    at.map(|at| Upstream { seq: at.seq, time: time(at.time_ms) })
                };
                let read = match message.kind {
                    jetstream::Kind::Commit => What::Job(Payload::Jetstream(did, bytes)),
                    jetstream::Kind::Identity(at) => What::Job(Payload::Identity(did, told(at))),
                    jetstream::Kind::Account(Some(status), at) => {
                        What::Job(Payload::Account(did, status, told(at)))
                    }
                    jetstream::Kind::Account(None, _) | jetstream::Kind::Other => What::Nothing,
                };
                (seq, if sent > 0 { sent } else { received }, Ok(read))
            }
            Err(cause) => {
                self.feed.status.dropped(cause, None, None);
                (Seq::Same, 0, Ok(What::Garbage))
            }
        }
    }
}

/// Whether so many frames in so long a time are worth a rest.
fn is_little(frames: u64, took: Duration) -> bool {
    u128::from(frames) * 1000 < BUSY * took.as_millis()
}

/// Counters take names, not what an upstream says.
fn known_notice(name: &str) -> &'static str {
    match name {
        "FutureCursor" => "future-cursor",
        "OutdatedCursor" => "outdated-cursor",
        "ConsumerTooSlow" => "consumer-too-slow",
        _ => "notice",
    }
}

/// `None` for a status that says nothing about the account, such as `throttled` or `desynchronized`.
fn hosting_status(frame: &AccountFrame) -> Option<HostingStatus> {
    if frame.active {
        return Some(HostingStatus::Active);
    }
    match frame.status.as_deref() {
        Some("deleted") => Some(HostingStatus::Deleted),
        Some("takendown") => Some(HostingStatus::Takendown),
        Some("suspended") => Some(HostingStatus::Suspended),
        Some("deactivated") | None => Some(HostingStatus::Deactivated),
        Some(_) => None,
    }
}

fn subscription_url(base: &str, kind: UpstreamKind, start: Start) -> String {
    let base = base.trim_end_matches('/');
    let path = match kind {
        UpstreamKind::Jetstream => "/subscribe",
        _ => "/xrpc/com.atproto.sync.subscribeRepos",
    };
    let path = if base.ends_with(path) { "" } else { path };
    match start {
        Start::After(cursor) => format!("{base}{path}?cursor={cursor}"),
        Start::Live => format!("{base}{path}"),
    }
}

impl PartialOrd for Start {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::After(a), Self::After(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// What lasts over connections.
struct State {
    slot: u64,
    start: Start,
    /// Not yet given to the lanes, by lane.
    chunks: Vec<Vec<Job>>,
    /// Settled here, not yet given to the sequencer.
    own: Vec<Done>,
    held: usize,
    /// Ever read.
    frames: u64,
    /// Of these, frames that somebody understands.
    good: u64,
    /// Of this connection, since the last good one.
    garbage: u32,
    numbers: Numbers,
    /// A gap is to be noted before anything newer is read.
    lost: bool,
    ahead: Ahead,
    /// The clock was found behind, and no commit was let through since.
    doubted: bool,
}

/// Takes so many, and gives the others back.
fn keep(mut permit: SemaphorePermit<'_>, weight: u32) {
    if let Some(kept) = permit.split(weight as usize) {
        kept.forget();
    }
}

impl State {
    fn next_place(&mut self, seq: Seq, weight: u32, sent: i64, received: i64) -> Place {
        let slot = self.slot;
        self.slot += 1;
        Place { slot, seq, weight, received, sent }
    }

    /// Fills a slot with nothing.
    fn place(&mut self, seq: Seq, weight: u32, sent: i64) {
        let place = self.next_place(seq, weight, sent, 0);
        self.own.push(Done::nothing(place));
        self.held += 1;
    }

    fn flush(&mut self, feed: &Arc<Feed>, lanes: &Inboxes) {
        if self.held == 0 {
            return;
        }
        self.held = 0;
        for (lane, chunk) in self.chunks.iter_mut().enumerate() {
            if !chunk.is_empty() {
                let chunk = Chunk { feed: Arc::clone(feed), jobs: std::mem::take(chunk) };
                lanes.send(lane, LaneMessage::Chunk(chunk));
            }
        }
        feed.send(std::mem::take(&mut self.own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_urls() {
        use UpstreamKind::{Firehose, Jetstream};
        let path = "/xrpc/com.atproto.sync.subscribeRepos";
        for (base, kind, start, want) in [
            (
                "wss://r.example",
                Firehose,
                Start::After(0),
                format!("wss://r.example{path}?cursor=0"),
            ),
            ("wss://r.example/", Firehose, Start::Live, format!("wss://r.example{path}")),
            ("ws://h/x", Firehose, Start::After(7), format!("ws://h/x{path}?cursor=7")),
            ("wss://j", Jetstream, Start::After(5), "wss://j/subscribe?cursor=5".to_owned()),
            ("wss://j/subscribe", Jetstream, Start::Live, "wss://j/subscribe".to_owned()),
        ] {
            assert_eq!(subscription_url(base, kind, start), want);
        }
    }

    #[test]
    fn a_stream_that_is_behind_is_not_left_alone() {
        for (frames, ms, little) in [
            (1, 100, true),
            (50, 50, true),
            (124, 50, true),
            (130, 50, false),
            // The first frames of a catch-up, and what comes one by one as fast as it is read.
            (1, 0, false),
            (15, 1, false),
        ] {
            assert_eq!(is_little(frames, Duration::from_millis(ms)), little, "{frames} in {ms} ms");
        }
    }

    #[test]
    fn hosting_states() {
        let frame = |active, status: Option<&str>| AccountFrame {
            seq: 1,
            did: crate::syntax::Did::parse("did:web:a.example").unwrap(),
            active,
            status: status.map(str::to_owned),
            time_ms: 0,
        };
        for (active, status, want) in [
            (true, None, Some(HostingStatus::Active)),
            (true, Some("throttled"), Some(HostingStatus::Active)),
            (false, None, Some(HostingStatus::Deactivated)),
            (false, Some("deleted"), Some(HostingStatus::Deleted)),
            (false, Some("takendown"), Some(HostingStatus::Takendown)),
            (false, Some("suspended"), Some(HostingStatus::Suspended)),
            (false, Some("desynchronized"), None),
        ] {
            assert_eq!(hosting_status(&frame(active, status)), want, "{active} {status:?}");
        }
    }
}
