//! What an upstream says about itself, cheap to write and to read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::feed::Feed;
use super::told::Told;
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

static DROPPED: Counters = Counters::new("ingest.dropped");
/// Records that broke their lexicon, by collection.
pub(crate) static INVALID: Counters = Counters::new("ingest.invalid-record");

const SAMPLES: usize = 32;
const NONE: i64 = i64::MIN;
/// Of the last 64 frames: with more dropped the upstream is in trouble.
const MOST_DROPPED: u32 = 58;
/// Time constant of the rate, seconds.
const RATE_SECONDS: f64 = 10.0;
/// Frames whose lag is remembered, and for how long.
const LAGS: usize = 63;
const LAGS_MS: i64 = 10_000;

/// An upstream that cannot be reached for so long, or was not yet reached since the start, is in trouble. Connections
/// break and come again within seconds. So is one of which nothing is of use for so long.
const UNREACHED: Duration = Duration::from_secs(60);
/// One that is connected and says nothing for so long is in trouble, if it is one that speaks all the time: a relay is
/// never quiet for that long. Of any other silence says nothing, since a PDS with a few accounts is silent every night.
const SILENT: Duration = Duration::from_secs(600);
/// Seconds in which a frame came, from which on an upstream that spoke in every other second speaks all the time.
const TALKATIVE_S: i64 = 600;
/// One whose events are applied so long after they were sent is in trouble: what readers see is of another time of the
/// day. Catching up after an update or a restart takes minutes; a fresh store is not fit to be read before either.
const BEHIND: Duration = Duration::from_secs(3600);
/// After the last frame, how long an upstream that is behind counts as catching up. Then it has said all that it has,
/// and that its last event was old when it came says nothing more.
const STILL_COMING: Duration = Duration::from_secs(60);

/// How far an upstream can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamKind {
    /// A firehose whose commits are verified.
    Firehose,
    /// A firehose, believed as it is.
    UnverifiedFirehose,
    /// A Jetstream: nothing in it can be verified.
    Jetstream,
}

impl UpstreamKind {
    pub(crate) fn of(jetstream: bool, verify: bool) -> Self {
        match (jetstream, verify) {
            (true, _) => Self::Jetstream,
            (false, true) => Self::Firehose,
            (false, false) => Self::UnverifiedFirehose,
        }
    }
}

/// Where an upstream is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct UpstreamStatus {
    /// As configured.
    pub url: String,
    /// How far it can be trusted.
    pub kind: UpstreamKind,
    /// Whether the socket is open.
    pub connected: bool,
    /// The last sequence number (Jetstream: microseconds) handed to the sink and taken by it.
    pub seq: Option<i64>,
    /// The last one that was read.
    pub last_received_seq: Option<i64>,
    /// How long after it was sent the last event was applied; while events wait, how long ago the last applied
    /// one was sent. Milliseconds.
    pub lag_ms: Option<i64>,
    /// Events applied a second, a moving average.
    pub events_per_s: f64,
    /// Bytes of frames that are held.
    pub queue_bytes: usize,
    /// Connections after the first.
    pub reconnects: u64,
    /// Why the last connection ended, or what the upstream said.
    pub last_error: Option<String>,
    /// Why it does not bring what happens now, if it does not.
    pub trouble: Option<String>,
    /// Frames dropped since start, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The last dropped frames.
    pub samples: Vec<DropSample>,
}

/// What an upstream tells of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTime {
    /// As configured.
    pub url: String,
    /// The time by its frames, milliseconds since the epoch, once enough came: never later than it is, as far as most of
    /// its accounts are right.
    pub by_frames: Option<i64>,
    /// By how many milliseconds the clock is behind its commits, if nothing is read because of that.
    pub behind: Option<i64>,
}

/// A frame that was dropped.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DropSample {
    /// Why.
    pub cause: &'static str,
    /// Of which account, if that could be read.
    pub did: Option<String>,
    /// Its sequence number, if it had one.
    pub seq: Option<i64>,
    /// When it came, milliseconds since the epoch.
    pub time: i64,
}

/// The live side of [`UpstreamStatus`].
pub(crate) struct FeedStatus {
    pub(crate) clock: Clock,
    connected: AtomicBool,
    /// Since when it is, or is not.
    changed_ms: AtomicI64,
    connections: AtomicU64,
    began_ms: i64,
    /// When the last frame came.
    frame_ms: AtomicI64,
    /// Since then came something that is of no use, first at this time and last at that.
    unusable_ms: [AtomicI64; 2],
    /// Seconds in which a frame came.
    busy_s: AtomicI64,
    applied: AtomicI64,
    received: AtomicI64,
    sent_ms: AtomicI64,
    lag_ms: AtomicI64,
    /// By how much the clock is behind its commits, if nothing is read because of that.
    behind_ms: AtomicI64,
    told: Mutex<Told>,
    rate: Mutex<Rate>,
    error: Mutex<Option<String>>,
    drops: Mutex<Drops>,
}

#[derive(Default)]
struct Drops {
    counts: BTreeMap<&'static str, u64>,
    samples: VecDeque<DropSample>,
}

struct Rate {
    per_s: f64,
    at: Instant,
    /// What became of the last frames, a bit each: set for one that was dropped.
    last: u64,
    /// Of whom the last dropped one was.
    of: Option<String>,
    lags: Lags,
}

/// How long ago the last frames were sent when they were applied. Each host dates its own, so one clock that is wrong
/// must not speak for all: it is the median that counts.
#[derive(Default)]
struct Lags(VecDeque<(i64, i64)>);

impl Lags {
    /// The median, with frames that were `sent` then and applied `now`.
    fn median_with(&mut self, sent: &[i64], now: i64) -> Option<i64> {
        self.0.retain(|(at, _)| (0..LAGS_MS).contains(&now.saturating_sub(*at)));
        let newest = sent.get(sent.len().saturating_sub(LAGS)..).unwrap_or_default();
        self.0.extend(newest.iter().map(|sent| (now, now.saturating_sub(*sent))));
        self.0.drain(..self.0.len().saturating_sub(LAGS));
        let mut lags: Vec<i64> = self.0.iter().map(|(_, lag)| *lag).collect();
        let middle = lags.len() / 2;
        (!lags.is_empty()).then(|| *lags.select_nth_unstable(middle).1)
    }
}

impl Rate {
    fn decay(&mut self) {
        let dt = self.at.elapsed().as_secs_f64();
        self.per_s *= (-dt / RATE_SECONDS).exp();
        self.at = Instant::now();
    }

    fn applied(&mut self, events: usize) {
        let by = u32::try_from(events).unwrap_or(u32::MAX);
        self.last = self.last.checked_shl(by).unwrap_or(0);
    }

    /// One account that sends nothing else is no more than one.
    fn dropped(&mut self, did: Option<&str>) {
        if did.is_some() && did == self.of.as_deref() {
            return;
        }
        self.of = did.map(str::to_owned);
        self.last = self.last << 1 | 1;
    }

    /// Whether hardly anything is left of what came.
    fn is_lost(&self) -> bool {
        self.last.count_ones() >= MOST_DROPPED
    }
}

impl FeedStatus {
    pub(crate) fn new(cursor: Option<i64>, clock: Clock) -> Self {
        Self {
            connected: AtomicBool::new(false),
            changed_ms: AtomicI64::new(clock.now_ms()),
            began_ms: clock.now_ms(),
            frame_ms: AtomicI64::new(NONE),
            unusable_ms: [const { AtomicI64::new(NONE) }; 2],
            busy_s: AtomicI64::new(0),
            connections: AtomicU64::new(0),
            applied: AtomicI64::new(cursor.unwrap_or(NONE)),
            received: AtomicI64::new(cursor.unwrap_or(NONE)),
            sent_ms: AtomicI64::new(NONE),
            lag_ms: AtomicI64::new(NONE),
            behind_ms: AtomicI64::new(NONE),
            told: Mutex::default(),
            rate: Mutex::new(Rate {
                per_s: 0.0,
                at: Instant::now(),
                last: 0,
                of: None,
                lags: Lags::default(),
            }),
            error: Mutex::new(None),
            drops: Mutex::default(),
            clock,
        }
    }

    pub(crate) fn connected(&self, yes: bool) {
        if self.connected.swap(yes, Ordering::Relaxed) != yes {
            self.changed_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        }
        if yes {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A frame came, and found others waiting here or none; whether it is the first of its second.
    pub(crate) fn frame(&self, received: i64, others_wait: bool) -> bool {
        let before = self.frame_ms.swap(received, Ordering::Relaxed);
        let first = before / 1000 != received / 1000;
        if first {
            self.busy_s.fetch_add(1, Ordering::Relaxed);
        }
        self.unusable_ms[0].store(NONE, Ordering::Relaxed);
        if !others_wait {
            // Whatever was applied last may be of yesterday, which says nothing of this one.
            self.sent_ms.store(received, Ordering::Relaxed);
        }
        first
    }

    /// What a frame says of the time.
    pub(crate) fn told(&self, did: &Did, sent: i64) {
        self.told.lock().frame(did, sent, Instant::now());
    }

    /// Nothing is read any more because the clock is behind by so much, or it is read again; whether that is new.
    pub(crate) fn clock_is_behind(&self, by: Option<i64>) -> bool {
        let before = self.behind_ms.swap(by.unwrap_or(NONE), Ordering::Relaxed);
        (before == NONE) != by.is_none()
    }

    pub(crate) fn time(&self, url: &str) -> UpstreamTime {
        let behind = Some(self.behind_ms.load(Ordering::Relaxed)).filter(|by| *by != NONE);
        let by_frames = self.told.lock().time(Instant::now());
        UpstreamTime { url: url.to_owned(), by_frames, behind }
    }

    /// Something came that cannot be read or cannot be true, or does harm.
    pub(crate) fn unusable(&self) {
        let now = self.clock.now_ms();
        let [first, last] = &self.unusable_ms;
        let _ = first.compare_exchange(NONE, now, Ordering::Relaxed, Ordering::Relaxed);
        last.store(now, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, seq: i64) {
        self.received.store(seq, Ordering::Relaxed);
    }

    /// `sent` is when frames of it were sent, as they say themselves.
    pub(crate) fn applied(&self, seq: Option<i64>, sent: &[i64], events: usize) {
        if let Some(seq) = seq {
            self.applied.store(seq, Ordering::Release);
        }
        let mut rate = self.rate.lock();
        if !sent.is_empty() {
            let now = self.clock.now_ms();
            if let Some(lag) = rate.lags.median_with(sent, now) {
                self.sent_ms.store(now.saturating_sub(lag), Ordering::Relaxed);
                self.lag_ms.store(lag, Ordering::Relaxed);
            }
        }
        rate.decay();
        rate.per_s += events as f64 / RATE_SECONDS;
        rate.applied(events);
    }

    pub(crate) fn error(&self, text: String) {
        *self.error.lock() = Some(text);
    }

    pub(crate) fn dropped(&self, cause: &'static str, did: Option<&str>, seq: Option<i64>) {
        DROPPED.inc(cause);
        self.rate.lock().dropped(did);
        let mut drops = self.drops.lock();
        *drops.counts.entry(cause).or_default() += 1;
        if drops.samples.len() >= SAMPLES {
            drops.samples.pop_front();
        }
        let did = did.map(str::to_owned);
        drops.samples.push_back(DropSample { cause, did, seq, time: self.clock.now_ms() });
    }

    pub(crate) fn snapshot(&self, feed: &Feed) -> UpstreamStatus {
        let some =
            |value: &AtomicI64| Some(value.load(Ordering::Acquire)).filter(|value| *value != NONE);
        let queue_bytes = feed.queued();
        let lag_ms = match (queue_bytes, some(&self.sent_ms)) {
            (1.., Some(sent)) => {
                Some(self.clock.now_ms().saturating_sub(sent)).max(some(&self.lag_ms))
            }
            _ => some(&self.lag_ms),
        };
        let (dropped, samples) = {
            let drops = self.drops.lock();
            (drops.counts.clone(), drops.samples.iter().cloned().collect::<Vec<_>>())
        };
        let connected = self.connected.load(Ordering::Relaxed);
        let mut rate = self.rate.lock();
        rate.decay();
        let lost = rate.is_lost().then(|| {
            let cause = samples.last().map_or("", |sample: &DropSample| sample.cause);
            format!("nearly all that it sends is dropped, the last for {cause:?}")
        });
        let behind = some(&self.behind_ms)
            .map(|by| format!("the clock of this machine is {} behind it", span(by)));
        let [first, last] = &self.unusable_ms;
        let trouble = Facts {
            connected,
            changed_ms: self.changed_ms.load(Ordering::Relaxed),
            began_ms: self.began_ms,
            frame_ms: some(&self.frame_ms),
            busy_s: self.busy_s.load(Ordering::Relaxed),
            reached: some(&self.applied).is_some() || self.connections.load(Ordering::Relaxed) > 0,
            queued: queue_bytes > 0,
            lag_ms,
            unusable_ms: some(first)
                .zip(some(last))
                .map(|(first, last)| last.saturating_sub(first)),
        };
        UpstreamStatus {
            url: feed.url.clone(),
            kind: feed.kind,
            connected,
            seq: some(&self.applied),
            last_received_seq: some(&self.received),
            lag_ms,
            events_per_s: rate.per_s,
            queue_bytes,
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
            last_error: self.error.lock().clone(),
            trouble: behind.or(lost).or_else(|| trouble.at(self.clock.now_ms())),
            dropped,
            samples,
        }
    }
}

/// What decides whether an upstream is in trouble.
#[derive(Debug, Clone, Copy)]
struct Facts {
    connected: bool,
    changed_ms: i64,
    began_ms: i64,
    frame_ms: Option<i64>,
    busy_s: i64,
    /// Whether anything of it is in the store, or it was connected since the start.
    reached: bool,
    /// Whether frames of it wait here.
    queued: bool,
    lag_ms: Option<i64>,
    /// How long it has sent what is of no use, and nothing else.
    unusable_ms: Option<i64>,
}

impl Facts {
    fn at(&self, now: i64) -> Option<String> {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let since = |then: i64| now.saturating_sub(then);
        // However often it was left and came back.
        if let Some(long) = self.unusable_ms.filter(|long| *long > ms(UNREACHED)) {
            return Some(format!("has sent nothing that is of use for {}", span(long)));
        }
        if !self.connected {
            let apart = since(self.changed_ms);
            if !self.reached {
                return Some("not reached yet".to_owned());
            }
            return (apart > ms(UNREACHED)).then(|| format!("not reached for {}", span(apart)));
        }
        let quiet = since(self.frame_ms.unwrap_or(self.began_ms));
        let coming =
            self.queued || (self.frame_ms.is_some() && (0..=ms(STILL_COMING)).contains(&quiet));
        if let Some(lag) = self.lag_ms.filter(|lag| coming && *lag > ms(BEHIND)) {
            return Some(format!("{} behind", span(lag)));
        }
        let lived_s = self.frame_ms.map_or(0, |last| last.saturating_sub(self.began_ms) / 1000);
        let talks = self.busy_s >= TALKATIVE_S && self.busy_s.saturating_mul(2) >= lived_s;
        // While frames wait here the socket is left alone.
        (talks && !self.queued && quiet > ms(SILENT)).then(|| format!("silent for {}", span(quiet)))
    }
}

/// A time in the largest unit that says enough.
#[must_use]
pub fn span(ms: i64) -> String {
    match ms.saturating_add(30_000) / 60_000 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", (minutes + 30) / 60),
        minutes => format!("{} days", (minutes + 720) / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const NOW: i64 = 100 * HOUR;

    /// A relay ten hours after the start, its last frame just now.
    const WELL: Facts = Facts {
        connected: true,
        changed_ms: NOW - 9 * HOUR,
        began_ms: NOW - 10 * HOUR,
        frame_ms: Some(NOW - 10),
        busy_s: 35_000,
        reached: true,
        queued: false,
        lag_ms: Some(200),
        unusable_ms: None,
    };

    #[test]
    fn a_host_with_a_wrong_clock_does_not_decide_the_lag() {
        let mut lags = Lags::default();
        assert_eq!(lags.median_with(&[NOW - 100, NOW - 90, NOW - 40 * HOUR], NOW), Some(100));
        assert_eq!(lags.median_with(&[NOW + 40 * HOUR, 1], NOW + 1), Some(100));
        // What was caught up with is forgotten when it is over.
        let late: Vec<i64> = (0..1000).map(|n| NOW - 3 * HOUR + n).collect();
        let behind = lags.median_with(&late, NOW + 10).unwrap();
        assert!((3 * HOUR - 1000..3 * HOUR).contains(&behind), "{behind}");
        let later = NOW + 2 * LAGS_MS;
        assert_eq!(lags.median_with(&[later - 70], later), Some(70));
    }

    #[test]
    fn an_upstream_that_is_gone_silent_or_far_behind_is_in_trouble() {
        let apart = |for_ms| Facts { connected: false, changed_ms: NOW - for_ms, ..WELL };
        let quiet = |for_ms| Facts { frame_ms: Some(NOW - for_ms), ..WELL };
        let mute = |for_ms| Facts { frame_ms: None, busy_s: 0, began_ms: NOW - for_ms, ..WELL };
        // One event in six minutes.
        let small = |for_ms| Facts { busy_s: 100, ..quiet(for_ms) };
        for (facts, want) in [
            (WELL, None),
            (apart(MINUTE / 2), None),
            (apart(5 * MINUTE), Some("not reached for 5 min")),
            (Facts { reached: false, ..apart(10) }, Some("not reached yet")),
            (Facts { unusable_ms: Some(MINUTE / 2), ..WELL }, None),
            (
                Facts { unusable_ms: Some(2 * MINUTE), ..WELL },
                Some("has sent nothing that is of use for 2 min"),
            ),
            (quiet(9 * MINUTE), None),
            (quiet(11 * MINUTE), Some("silent for 11 min")),
            (Facts { queued: true, ..quiet(11 * MINUTE) }, None),
            (small(3 * HOUR), None),
            (small(9 * HOUR), None),
            (mute(3 * HOUR), None),
            (Facts { lag_ms: Some(HOUR - 1), ..WELL }, None),
            (Facts { lag_ms: Some(3 * HOUR), ..WELL }, Some("3 h behind")),
            (Facts { lag_ms: Some(3 * HOUR), queued: true, ..quiet(HOUR) }, Some("3 h behind")),
            // By a clock that was wrong then.
            (Facts { lag_ms: Some(90_000 * HOUR), ..quiet(-90_000 * HOUR) }, None),
            // All that it had came late, and there was no more.
            (Facts { lag_ms: Some(3 * HOUR), ..quiet(5 * MINUTE) }, None),
        ] {
            assert_eq!(facts.at(NOW).as_deref(), want, "{facts:?}");
        }
    }
}
