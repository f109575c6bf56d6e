//! What an upstream says about itself, cheap to write and to read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::feed::Feed;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

static DROPPED: Counters = Counters::new("ingest.dropped");
/// Records that broke their lexicon, by collection.
pub(crate) static INVALID: Counters = Counters::new("ingest.invalid-record");

const SAMPLES: usize = 32;
const NONE: i64 = i64::MIN;
/// Time constant of the rate, seconds.
const RATE_SECONDS: f64 = 10.0;

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
    /// Frames dropped since start, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The last dropped frames.
    pub samples: Vec<DropSample>,
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
    connections: AtomicU64,
    applied: AtomicI64,
    received: AtomicI64,
    sent_ms: AtomicI64,
    lag_ms: AtomicI64,
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
}

impl Rate {
    fn decay(&mut self) {
        let dt = self.at.elapsed().as_secs_f64();
        self.per_s *= (-dt / RATE_SECONDS).exp();
        self.at = Instant::now();
    }
}

impl FeedStatus {
    pub(crate) fn new(cursor: Option<i64>, clock: Clock) -> Self {
        Self {
            clock,
            connected: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            applied: AtomicI64::new(cursor.unwrap_or(NONE)),
            received: AtomicI64::new(cursor.unwrap_or(NONE)),
            sent_ms: AtomicI64::new(NONE),
            lag_ms: AtomicI64::new(NONE),
            rate: Mutex::new(Rate { per_s: 0.0, at: Instant::now() }),
            error: Mutex::new(None),
            drops: Mutex::default(),
        }
    }

    pub(crate) fn connected(&self, yes: bool) {
        self.connected.store(yes, Ordering::Relaxed);
        if yes {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn received(&self, seq: i64) {
        self.received.store(seq, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self, seq: Option<i64>, sent: i64, events: usize) {
        if let Some(seq) = seq {
            self.applied.store(seq, Ordering::Release);
        }
        if sent > 0 {
            self.sent_ms.store(sent, Ordering::Relaxed);
            self.lag_ms.store(self.clock.now_ms().saturating_sub(sent), Ordering::Relaxed);
        }
        let mut rate = self.rate.lock();
        rate.decay();
        rate.per_s += events as f64 / RATE_SECONDS;
    }

    pub(crate) fn error(&self, text: String) {
        *self.error.lock() = Some(text);
    }

    pub(crate) fn dropped(&self, cause: &'static str, did: Option<&str>, seq: Option<i64>) {
        DROPPED.inc(cause);
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
            (1.., Some(sent)) => Some(self.clock.now_ms().saturating_sub(sent)),
            _ => some(&self.lag_ms),
        };
        let (dropped, samples) = {
            let drops = self.drops.lock();
            (drops.counts.clone(), drops.samples.iter().cloned().collect())
        };
        let mut rate = self.rate.lock();
        rate.decay();
        UpstreamStatus {
            url: feed.url.clone(),
            kind: feed.kind,
            connected: self.connected.load(Ordering::Relaxed),
            seq: some(&self.applied),
            last_received_seq: some(&self.received),
            lag_ms,
            events_per_s: rate.per_s,
            queue_bytes,
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
            last_error: self.error.lock().clone(),
            dropped,
            samples,
        }
    }
}
