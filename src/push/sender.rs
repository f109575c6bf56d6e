//! The loop that works the outbox off.
//!
//! A pass reads the jobs that are due, judges them, starts as many deliveries as the limits let, and puts those off whose
//! destination is closed. Each delivery ends with one durable change: the job goes, or comes again later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use ring::hmac;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::limits::{Caps, Health, MAX_RUNNING, OriginLoads};
use super::transport::Transport;
use super::vapid::VapidKey;
use crate::hydrate::Shared;
use crate::private::Private;
use crate::store::{Store, StoreError, Tx};
use crate::syntax::Did;
use crate::threads::{Clock, Standing};
use crate::work::due::Sleeper;
use crate::work::pushes::{self, PushJob};

/// How often the jobs are counted.
const COUNT_MS: i64 = 2000;
/// Time that deliveries under way have when the server stops.
const STOP: Duration = Duration::from_millis(1500);
/// Pause after an error of the store.
const AFTER_ERROR_MS: i64 = 5000;
/// Between two looks whether there is room on the disk again.
const NO_ROOM_MS: i64 = 5000;
/// The same while the clock is doubted.
const DOUBT_MS: i64 = 5000;
/// A clock that shows less than before, by more than it is set to stay right, was set back.
const SET_BACK_MS: i64 = 60_000;

/// Which labelers decide what is hidden: those that apply to clients that name none.
pub type LabelerSource = Box<dyn Fn() -> Vec<Did> + Send + Sync>;

/// Who belongs to the community: what is about it is pushed to nobody else.
pub trait CommunityGate: Send + Sync {
    /// Whether an account does; `false` if that cannot be found out.
    fn admits<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, bool>;
}

/// What the operator set.
pub struct PushSettings {
    /// The operator's endpoint and the secret that its requests are signed with.
    pub endpoint: Option<(String, String)>,
    /// Most notifications that each destination of a recipient gets in a minute.
    pub per_minute: u32,
    /// Where push services find the operator.
    pub contact: String,
}

/// What [`Push`] works with.
pub struct PushParts {
    /// What is read.
    pub store: Store,
    /// Devices that are no more are taken away through it; its writer writes down what was sent.
    pub private: Private,
    /// Caches of hydration.
    pub hydration: Arc<Shared>,
    /// Whose labels apply.
    pub labelers: LabelerSource,
    /// The door of the community, if there is one.
    pub community: Option<Arc<dyn CommunityGate>>,
    /// What the operator set.
    pub settings: PushSettings,
    /// The key that push services know.
    pub key: Arc<VapidKey>,
    /// The way out.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Clock,
}

/// Figures for the status.
#[derive(Debug, Default)]
pub struct PushStats {
    /// Jobs in the outbox; counted every other second while there are any.
    pub waiting: AtomicUsize,
    /// Deliveries under way.
    pub running: AtomicUsize,
}

/// The sender.
pub struct Push {
    inner: Arc<SenderInner>,
    running: JoinSet<()>,
    /// Jobs under way and their destinations, by task.
    held: FxHashMap<tokio::task::Id, (PushJob, Arc<str>)>,
    counted_at: i64,
    /// When the last pass was. A clock that was set back since leaves jobs behind that are due too late.
    looked_at: i64,
}

/// What passes and deliveries share.
pub(super) struct SenderInner {
    pub(super) parts: PushParts,
    pub(super) secret: Option<hmac::Key>,
    pub(super) limits: Mutex<SendLimits>,
    stats: Arc<PushStats>,
}

#[derive(Default)]
pub(super) struct SendLimits {
    pub(super) lanes: OriginLoads,
    pub(super) caps: Caps,
}

impl Push {
    /// A sender that has not started.
    #[must_use]
    pub fn new(parts: PushParts) -> Self {
        let secret = parts.settings.endpoint.as_ref();
        let secret = secret.map(|(_, s)| hmac::Key::new(hmac::HMAC_SHA256, s.as_bytes()));
        let inner = SenderInner { parts, secret, limits: Mutex::default(), stats: Arc::default() };
        Self {
            inner: Arc::new(inner),
            running: JoinSet::new(),
            held: FxHashMap::default(),
            counted_at: i64::MIN,
            looked_at: i64::MAX,
        }
    }

    /// Another sender over the same outbox, for when the one before ended. What that had under way is sent again, under
    /// the same ids, so nothing counts as under way.
    #[must_use]
    pub fn anew(&self) -> Self {
        *self.inner.limits.lock() = SendLimits::default();
        self.inner.stats.running.store(0, Ordering::Relaxed);
        Self {
            inner: Arc::clone(&self.inner),
            running: JoinSet::new(),
            held: FxHashMap::default(),
            counted_at: i64::MIN,
            looked_at: i64::MAX,
        }
    }

    /// Figures that follow the work.
    #[must_use]
    pub fn stats(&self) -> Arc<PushStats> {
        Arc::clone(&self.inner.stats)
    }

    /// Works until `stop`. `nudge` says that there are new jobs; with none, nothing is done.
    ///
    /// # Errors
    /// The store takes nothing any more, or reading the outbox panicked.
    pub async fn run(
        mut self,
        nudge: flume::Receiver<()>,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let mut result = Ok(());
        let sleeper = Sleeper::new(nudge);
        loop {
            let next = self.pass().await;
            let now = self.inner.parts.clock.now_ms();
            let next = match next {
                Ok(next) => next,
                Err(StoreError::Closed) => {
                    result = Err(StoreError::Closed);
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "push: the outbox cannot be worked off");
                    Some(now.saturating_add(AFTER_ERROR_MS))
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = self.running.join_next_with_id() => self.ended(done),
                true = sleeper.wait(next, now) => {}
                else => break,
            }
        }
        // Whatever is not answered by then is sent again at the next start.
        let _ = tokio::time::timeout(STOP, self.drain()).await;
        result
    }

    /// Waits for the deliveries under way.
    pub(super) async fn drain(&mut self) {
        while let Some(done) = self.running.join_next_with_id().await {
            self.ended(done);
        }
    }

    fn ended(&mut self, done: Result<(tokio::task::Id, ()), tokio::task::JoinError>) {
        let id = match &done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        if let (Some((_, origin)), Err(error)) = (self.held.remove(&id), done) {
            // The job stays and is tried again with the next pass.
            tracing::error!(%error, "push: a delivery panicked");
            let now = self.inner.parts.clock.now_ms();
            self.inner.limits.lock().lanes.finish(&origin, Health::Ill(None), now);
        }
        self.inner.stats.running.store(self.held.len(), Ordering::Relaxed);
    }

    /// Starts what is due; says when to look again, if at any time without being told.
    pub(super) async fn pass(&mut self) -> Result<Option<i64>, StoreError> {
        let room = MAX_RUNNING.saturating_sub(self.held.len());
        if room == 0 {
            return Ok(None);
        }
        let now = self.inner.parts.clock.now_ms();
        if self.inner.parts.clock.standing(now) == Standing::Doubted {
            // By a clock that is ahead all of them came too late to be sent.
            return Ok(Some(now.saturating_add(DOUBT_MS)));
        }
        if self.inner.parts.private.writer().room().is_short() {
            // That it was sent could not be written down, and it would be sent again and again.
            return Ok(Some(now.saturating_add(NO_ROOM_MS)));
        }
        if now.saturating_add(SET_BACK_MS) < std::mem::replace(&mut self.looked_at, now) {
            let writer = self.inner.parts.private.writer();
            writer.visible(move |tx| pushes::bring_back(tx, now)).await?;
            self.counted_at = i64::MIN;
        }
        let count = now.saturating_sub(self.counted_at) >= COUNT_MS;
        let held: FxHashSet<PushJob> = self.held.values().map(|(job, _)| job.clone()).collect();
        let inner = Arc::clone(&self.inner);
        let plan = tokio::task::spawn_blocking(move || inner.plan(now, room, &held, count)).await;
        let plan = plan.map_err(|_| StoreError::Closed)??;
        let mut next = plan.next;
        match plan.waiting {
            Some(waiting) => {
                self.counted_at = now;
                self.inner.stats.waiting.store(waiting, Ordering::Relaxed);
            }
            None => next = Some(next.unwrap_or(i64::MAX).min(self.counted_at + COUNT_MS)),
        }
        let (dropped, damaged, put_off) = (plan.dropped, plan.damaged, plan.put_off);
        if !dropped.is_empty() || !damaged.is_empty() || !put_off.is_empty() {
            let change = move |tx: &mut Tx<'_>| {
                dropped.into_iter().for_each(|job| pushes::remove(tx, job));
                damaged.iter().for_each(|row| pushes::remove_damaged(tx, row));
                for (job, due) in put_off {
                    pushes::remove(tx, job.clone());
                    pushes::put(tx, PushJob { due, ..job })?;
                }
                pushes::advance(tx, now)
            };
            self.inner.parts.private.writer().durable(change).await?;
        }
        for delivery in plan.deliveries {
            let kept = (delivery.job.clone(), Arc::clone(&delivery.origin));
            let task = self.running.spawn(Arc::clone(&self.inner).deliver(delivery));
            self.held.insert(task.id(), kept);
        }
        self.inner.stats.running.store(self.held.len(), Ordering::Relaxed);
        Ok(next)
    }
}
