//! What reader, lanes and sequencer of one upstream share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, Semaphore};
use url::Url;

use super::cursor_of;
use super::status::{FeedStatus, UpstreamKind};
use crate::event::{Event, HostingStatus, Upstream};
use crate::repo::{CommitFrame, SyncFrame, memory};
use crate::schema::cursors::CursorOf;
use crate::syntax::Did;
use crate::threads::{Budget, Clock, Held};

/// What a small frame takes: what is made of it, with two maps of the record and a name or two, is larger than itself.
const FRAME_OVERHEAD: usize = 2048;
/// Maps and lists that a Jetstream's message pays for: it has no proofs that are larger than what is made of it. A reply with a
/// picture has fifteen, four pictures and a mention have thirty. More takes what all have.
const MAX_NESTED: usize = 40;

/// One upstream.
pub(crate) struct Feed {
    pub(crate) url: String,
    /// See [`Event::line`].
    pub(crate) line: u16,
    pub(crate) kind: UpstreamKind,
    pub(crate) cursor: CursorOf,
    /// Free bytes.
    pub(crate) budget: Semaphore,
    pub(crate) budget_total: usize,
    /// See [`super::room::Room`].
    pub(crate) decoded: Budget,
    pub(crate) done: flume::Sender<Vec<Done>>,
    pub(crate) status: FeedStatus,
    /// There is no other.
    pub(crate) alone: bool,
    /// Commits of it say which root was before them.
    tells_roots: AtomicBool,
    /// Whether it is to be connected to anew.
    pub(crate) anew: Anew,
}

/// That somebody wants another connection.
#[derive(Debug, Default)]
pub(crate) struct Anew {
    wanted: AtomicBool,
    told: Notify,
}

impl Anew {
    pub(crate) fn ask(&self) {
        self.wanted.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Whether it was asked for since this last said so.
    pub(crate) fn is_asked(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Acquire)
    }

    /// Waits until it is asked for. Safe to cancel.
    pub(crate) async fn asked(&self) {
        while !self.is_asked() {
            self.told.notified().await;
        }
    }
}

/// How a feed begins.
pub(crate) struct Setup<'a> {
    pub(crate) url: &'a str,
    pub(crate) line: u16,
    pub(crate) kind: UpstreamKind,
    pub(crate) budget: usize,
    pub(crate) decoded: &'a Budget,
    pub(crate) cursor: Option<i64>,
    pub(crate) alone: bool,
    pub(crate) clock: Clock,
}

impl Feed {
    pub(crate) fn new(setup: &Setup<'_>) -> (Arc<Self>, flume::Receiver<Vec<Done>>) {
        // Not bounded here: the byte budget is the bound.
        let (done, receiver) = flume::unbounded();
        let feed = Self {
            url: setup.url.to_owned(),
            line: setup.line,
            kind: setup.kind,
            cursor: cursor_of(setup.url, setup.kind == UpstreamKind::Jetstream),
            budget: Semaphore::new(setup.budget),
            budget_total: setup.budget,
            decoded: setup.decoded.clone(),
            done,
            status: FeedStatus::new(setup.cursor, setup.clock.clone()),
            alone: setup.alone,
            tells_roots: AtomicBool::new(false),
            anew: Anew::default(),
        };
        (Arc::new(feed), receiver)
    }

    /// What a frame takes of the budget. Its own bytes are held with those of its neighbours, and while a key is waited for
    /// what was made of them is held beside.
    pub(crate) fn weight(&self, frame: &[u8]) -> u32 {
        let nested = match self.kind {
            UpstreamKind::Jetstream => nested(frame),
            UpstreamKind::Firehose | UpstreamKind::UnverifiedFirehose => 0,
        };
        let weight = 2 * frame.len() + FRAME_OVERHEAD + nested;
        u32::try_from(weight.min(self.budget_total)).unwrap_or(u32::MAX)
    }

    /// How much of the budget has to be free before a frame of this weight is read, while so much of it waits until others
    /// have spoken. If records hold some part of the room beyond their frames, as large a part of the budget stays free: who
    /// sends many of them is read more slowly, rather than that their repos are fetched. It is read in any case once nothing
    /// else of this upstream is on its way.
    pub(crate) fn must_be_free(&self, weight: u32, waits: usize) -> u32 {
        let held = self.decoded.held();
        if held == 0 {
            return weight;
        }
        let part = (self.budget_total as u64).saturating_mul(held) / self.decoded.limit().max(1);
        let most = self.budget_total.saturating_sub(waits) as u64;
        u32::try_from((part + u64::from(weight)).min(most)).unwrap_or(weight).max(weight)
    }

    /// Hands results over. After the sequencer has ended there is nobody to miss them.
    pub(crate) fn send(&self, done: Vec<Done>) {
        if !done.is_empty() {
            let _ = self.done.send(done);
        }
    }

    /// A commit says which root was before it.
    pub(crate) fn told_root(&self) {
        if !self.tells_roots.load(Ordering::Relaxed) {
            self.tells_roots.store(true, Ordering::Relaxed);
        }
    }

    /// Whether none ever did.
    pub(crate) fn never_tells_roots(&self) -> bool {
        !self.tells_roots.load(Ordering::Relaxed)
    }

    /// Whether this is the host that speaks for accounts of the PDS with this URL.
    pub(crate) fn is_host(&self, pds: &str) -> bool {
        let place = |url: &str| {
            let url = Url::parse(url).ok()?;
            Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
        };
        self.kind != UpstreamKind::Jetstream
            && place(pds).is_some_and(|pds| place(&self.url) == Some(pds))
    }

    /// Whether frames pile up: more comes than is taken in.
    pub(crate) fn is_behind(&self) -> bool {
        self.queued() > self.budget_total / 4
    }

    /// Bytes that are held.
    pub(crate) fn queued(&self) -> usize {
        self.budget_total.saturating_sub(self.budget.available_permits())
    }
}

/// What the maps and lists of a text take at most, as far as its message pays for them.
pub(super) fn nested(text: &[u8]) -> usize {
    let begin = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    begin.min(MAX_NESTED) * memory::map(1)
}

/// A frame's place in its upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Order of arrival, without gaps.
    pub(crate) slot: u64,
    /// What the upstream calls it.
    pub(crate) seq: Seq,
    /// Of the budget.
    pub(crate) weight: u32,
    /// When it came, milliseconds since the epoch.
    pub(crate) received: i64,
    /// When it was sent, as it says itself, milliseconds since the epoch; 0 if it does not say.
    pub(crate) sent: i64,
}

/// How a frame moves the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seq {
    /// Not at all.
    Same,
    /// To here, if that is ahead.
    At(i64),
    /// The upstream counts from a new beginning after this.
    Restart,
}

impl Seq {
    pub(crate) fn number(self) -> Option<i64> {
        match self {
            Self::At(seq) => Some(seq),
            Self::Same | Self::Restart => None,
        }
    }
}

/// A frame that has to be checked.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Commit(Box<CommitFrame>),
    Sync(Box<SyncFrame>),
    Identity(Did, Option<Upstream>),
    Account(Did, HostingStatus, Option<Upstream>),
    /// A Jetstream commit and its account, still JSON.
    Jetstream(Did, bytes::Bytes),
}

impl Payload {
    pub(crate) fn did(&self) -> &Did {
        match self {
            Self::Commit(frame) => &frame.repo,
            Self::Sync(frame) => &frame.did,
            Self::Identity(did, _) | Self::Account(did, ..) | Self::Jetstream(did, _) => did,
        }
    }
}

/// Frames of one upstream for one lane.
pub(crate) struct Chunk {
    pub(crate) feed: Arc<Feed>,
    pub(crate) jobs: Vec<Job>,
}

/// A slot that is settled.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) place: Place,
    pub(crate) event: Option<Event>,
    /// What the event takes beyond its weight.
    pub(crate) held: Held,
}

impl Done {
    /// Nothing came of it.
    pub(crate) fn nothing(place: Place) -> Self {
        Self { place, event: None, held: Held::default() }
    }
}
