//! When retention runs, how much of the writer it takes, and what it says of itself. What goes is `index::retention`'s
//! to decide.
//!
//! Every hour, and on command, everything older than the scope's days goes. If the store is above its budget then, it
//! goes on with ever younger records: of each age first those that hardly anybody liked, answered or quoted, then the
//! others, but none of the last day. The store looks as big as before until it is compacted, so a run that took much
//! away, or would go on with younger ones, rewrites the keyspaces, one after the other and only with enough free disk;
//! what could not be given back is remembered and counts as free, so that the next run does not take more away for it.
//!
//! When the disk runs full it begins at once, and stops with what was needed.
//!
//! The writer is asked for small steps with pauses of four times their length in between: a fifth of its time at most,
//! less while ingest waits; half of its time when the disk runs full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::clock::ClockState;
use crate::config::{Config, ScopeMode};
use crate::index::Index;
use crate::index::kept::Kept;
use crate::index::retention::{self, Found, Place, Policy, Tally, Weights};
use crate::index::scope::DAY_MS;
use crate::store::{Ks, Store, StoreError, Writer, free_space};
use crate::telemetry::counters::Counters;
use crate::work;

/// What was taken away.
static DELETED: Counters = Counters::new("retention.deleted");

const EVERY: Duration = Duration::from_secs(3600);
const FIRST: Duration = Duration::from_secs(120);
/// Jobs of others at the writer from which on the next step waits.
const BUSY: usize = 16;
/// Pauses after a step, in lengths of it.
const PAUSE: u32 = 4;
/// The same when the disk runs full: what ingest gains then it loses again when it has to stop.
const PAUSE_IN_NEED: u32 = 1;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of each age, in percent of the days, what goes while the store is above its budget.
const YOUNGER: [i64; 4] = [75, 50, 25, 10];
/// Likes, reposts, replies and quotes from which on a post goes only after all others of its age.
const SPARE: u64 = 3;
/// What retention takes rows out of, the largest last so that room is made for it.
const COMPACTED: [Ks; 8] =
    [Ks::Cid, Ks::Feed, Ks::Order, Ks::Agg, Ks::Record, Ks::Rev, Ks::Fwd, Ks::Post];

/// What a run is to do.
#[derive(Debug, Clone, Copy)]
struct Plan {
    mode: ScopeMode,
    days: u32,
    budget: u64,
    /// Bytes to be freed whatever the budget: the disk runs full.
    wanted: u64,
    dry: bool,
    /// What time it is, milliseconds since the epoch: of the whole run, so that its walks agree on what is old.
    now: i64,
    /// Pauses after a step, in lengths of it.
    pause: u32,
}

/// What a run did, or would do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionReport {
    /// The scope.
    pub mode: String,
    /// Its days.
    pub days: u32,
    /// Nothing was taken away.
    pub dry_run: bool,
    /// Milliseconds since the epoch.
    pub began: i64,
    /// The same.
    pub ended: i64,
    /// Records that are older touch somebody who is kept.
    pub oldest: i64,
    /// Times that the store was walked.
    pub walks: u32,
    /// What was taken away.
    pub deleted: Tally,
    /// Old records that were looked at and stay.
    pub linked: u64,
    /// Members.
    pub members: usize,
    /// Whom they follow.
    pub followed: usize,
    /// Bytes of the store before.
    pub used_before: u64,
    /// What goes of that, about.
    pub freed: u64,
    /// Bytes of the store after.
    pub used_after: u64,
    /// Taken away, but not given back by the disk yet.
    pub owed: u64,
    /// Bytes of the store when it was last compacted, as far as there was room for it.
    pub compacted: u64,
    /// What the store is to stay under; 0 for no limit.
    pub budget: u64,
    /// Nothing is left that may go, and still the store is above its budget.
    pub over_budget: bool,
    /// It was stopped and goes on where it was.
    pub interrupted: bool,
    /// Why it ended.
    pub error: Option<String>,
}

/// What the store took when it was last measured in a run, what of that was not given back, and what had gone by then.
#[derive(Debug, Clone, Copy)]
struct Size {
    used: u64,
    owed: u64,
    freed: u64,
}

impl Size {
    /// What it takes now, once it is compacted.
    fn left(&self, report: &RetentionReport) -> u64 {
        self.used.saturating_sub(self.owed + report.freed.saturating_sub(self.freed))
    }
}

#[derive(Debug, Default)]
struct State {
    /// The run under way, how far it is, and its report so far.
    running: Option<(f64, RetentionReport)>,
    last: Option<RetentionReport>,
    /// The last dry run.
    planned: Option<RetentionReport>,
}

/// Runs retention.
pub struct Retention {
    store: Store,
    writer: Writer,
    index: Arc<Index>,
    clock: Arc<ClockState>,
    plan: Plan,
    reserve: u64,
    state: Mutex<State>,
    /// Runs that were asked for, one at most; [`Retention::run`] carries them out.
    asked: (flume::Sender<Plan>, flume::Receiver<Plan>),
    stop: CancellationToken,
}

impl Retention {
    /// Of this store, with the scope and its budget as configured. Stops between two steps once `stop` is cancelled.
    pub fn new(
        store: Store,
        writer: Writer,
        index: Arc<Index>,
        config: &Config,
        clock: Arc<ClockState>,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let last = work::retention::report(&store.snapshot())?;
        let last = last.and_then(|json| serde_json::from_slice(&json).ok());
        let scope = &config.scope;
        Ok(Arc::new(Self {
            store,
            writer,
            index,
            clock,
            plan: Plan {
                mode: scope.mode,
                days: scope.days,
                budget: scope.disk_budget,
                wanted: 0,
                dry: false,
                now: 0,
                pause: PAUSE,
            },
            reserve: config.store.reserve,
            state: Mutex::new(State { last, ..State::default() }),
            asked: flume::unbounded(),
            stop: stop.clone(),
        }))
    }

    /// Runs every hour, if the scope lets anything go, and when it is asked to.
    pub async fn run(&self) {
        // A run that this one goes on after has ended, however it did.
        self.state.lock().running = None;
        let mut next = tokio::time::Instant::now() + FIRST;
        loop {
            let plan = tokio::select! {
                () = self.stop.cancelled() => return,
                Ok(plan) = self.asked.1.recv_async() => Some(plan),
                () = tokio::time::sleep_until(next), if self.plan.mode != ScopeMode::Whole => {
                    match self.clock.may_delete() {
                        Ok(now) => {
                            next = tokio::time::Instant::now() + EVERY;
                            self.begin().then_some(Plan { now, ..self.plan })
                        }
                        Err(why) => {
                            tracing::warn!("retention waits: {why}");
                            next = tokio::time::Instant::now() + FIRST;
                            None
                        }
                    }
                }
            };
            if let Some(plan) = plan {
                self.work(plan).await;
            }
        }
    }

    fn ask(&self, plan: Plan) {
        // The other end of the queue is in `self`, so it does not close.
        let _ = self.asked.0.send(plan);
    }

    /// Begins now, to free `wanted` bytes, if the scope lets anything go and no run is under way.
    pub(super) fn prune(&self, wanted: u64) {
        if self.plan.mode == ScopeMode::Whole {
            return;
        }
        match self.clock.may_delete() {
            Ok(now) if self.begin() => {
                self.ask(Plan { wanted, now, pause: PAUSE_IN_NEED, ..self.plan });
            }
            Ok(_) => {}
            Err(why) => tracing::warn!("retention waits, though the disk runs full: {why}"),
        }
    }

    /// One run as it would be at `now`, without pauses: for who has the store to himself. `None` if one is under way.
    #[cfg(feature = "testing")]
    pub async fn once(&self, now: i64) -> Option<RetentionReport> {
        if !self.begin() {
            return None;
        }
        Some(self.work(Plan { now, pause: 0, ..self.plan }).await)
    }

    /// Bytes that the store may still grow by, if it has a budget.
    pub(super) fn growth(&self) -> Option<u64> {
        let budget = Some(self.plan.budget).filter(|budget| *budget > 0)?;
        Some(budget.saturating_sub(used(&self.store).ok()?))
    }

    /// When the last run ended and how many records it deleted, if there was one.
    pub(super) fn deleted(&self) -> Option<(i64, u64)> {
        let state = self.state.lock();
        state.last.as_ref().map(|last| (last.ended, last.deleted.total()))
    }

    /// What is kept, how far a run is, and what the last one did.
    #[must_use]
    pub fn status(&self) -> Value {
        let (members, followed) = self.index.scope().1.len();
        let state = self.state.lock();
        let running = state.running.as_ref();
        json!({
            "mode": self.plan.mode.name(),
            "days": self.plan.days,
            "disk_budget": self.plan.budget,
            "members": members,
            "followed": followed,
            "running": running.map(|(share, report)| json!({ "share": share, "so_far": report })),
            "last": state.last,
            "planned": state.planned,
            "waits": self.clock.may_delete().err(),
        })
    }

    /// Begins now, as every hour.
    ///
    /// # Errors
    /// Nothing is ever deleted, a run is under way, or the clock is not believed.
    pub fn run_now(&self) -> Result<(), String> {
        self.begin_with(self.plan)
    }

    /// Begins to count what would go under another scope, and changes nothing. What is not given is as configured.
    ///
    /// # Errors
    /// Nothing would ever be deleted, or a run is under way.
    pub fn plan(
        &self,
        mode: Option<ScopeMode>,
        days: Option<u32>,
        budget: Option<u64>,
    ) -> Result<(), String> {
        self.begin_with(Plan {
            dry: true,
            mode: mode.unwrap_or(self.plan.mode),
            days: days.filter(|days| *days > 0).unwrap_or(self.plan.days),
            budget: budget.unwrap_or(self.plan.budget),
            ..self.plan
        })
    }

    fn begin_with(&self, plan: Plan) -> Result<(), String> {
        if plan.mode == ScopeMode::Whole {
            return Err("scope.mode is \"whole\": nothing is deleted".to_owned());
        }
        if !plan.dry {
            self.clock.may_delete()?;
        }
        if !self.begin() {
            return Err("a run is under way: see `aerie retention status`".to_owned());
        }
        self.ask(Plan { now: self.clock.now_ms(), ..plan });
        Ok(())
    }

    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.running.is_none();
        if free {
            state.running = Some((0.0, RetentionReport::default()));
        }
        free
    }

    async fn work(&self, plan: Plan) -> RetentionReport {
        let mut report = RetentionReport {
            mode: plan.mode.name().to_owned(),
            days: plan.days,
            dry_run: plan.dry,
            began: self.clock.now_ms(),
            budget: plan.budget,
            ..RetentionReport::default()
        };
        if let Err(error) = self.walks(plan, &mut report).await {
            if self.stop.is_cancelled() {
                report.interrupted = true;
            } else {
                tracing::error!(%error, "retention stopped");
                report.error = Some(error.to_string());
            }
        }
        report.ended = self.clock.now_ms();
        let json = serde_json::to_vec(&report).unwrap_or_default();
        if !plan.dry {
            let RetentionReport { deleted, linked, freed, owed, over_budget, .. } = &report;
            tracing::info!(?deleted, linked, freed, owed, over_budget, "retention ran");
            if *over_budget {
                tracing::warn!(
                    budget = plan.budget,
                    "the store is above scope.disk_budget, and nothing is left that may go"
                );
            }
            let kept = self.writer.durable(move |tx| {
                work::retention::set_report(tx, &json);
                Ok(())
            });
            let _ = kept.await;
        }
        let mut state = self.state.lock();
        state.running = None;
        let of = if plan.dry { &mut state.planned } else { &mut state.last };
        *of = Some(report.clone());
        report
    }

    async fn walks(&self, plan: Plan, report: &mut RetentionReport) -> Result<(), StoreError> {
        let weights = Weights::of(&self.store)?;
        let kept = self.kept(plan).await?;
        (report.members, report.followed) = kept.len();
        report.used_before = used(&self.store)?;
        if let Some(last) = &self.state.lock().last {
            (report.owed, report.compacted) = (last.owed, last.compacted);
        }
        let mut size = Size { used: report.used_before, owed: report.owed, freed: 0 };
        let above = |left: u64| plan.budget > 0 && left > plan.budget / 20 * 19;
        let owed = report.owed;
        let wanting = |size: &Size, report: &RetentionReport| {
            above(size.left(report)) || owed + report.freed < plan.wanted
        };
        let whole = i64::from(plan.days) * DAY_MS;
        let younger = YOUNGER.into_iter().flat_map(|percent| {
            let age = (whole / 100 * percent).max(DAY_MS);
            [(age, Some(SPARE)), (age, None)]
        });
        let mut dry_before = Tally::default();
        for (age, spare) in [(whole, None)].into_iter().chain(younger) {
            if report.walks > 0 && !wanting(&size, report) {
                break;
            }
            let grown = size.left(report) > report.compacted / 20 * 21;
            if report.walks == 1 && !plan.dry && plan.wanted == 0 && grown {
                // What the engine has not cleared away yet is no reason to take more.
                report.owed += report.freed;
                self.compact(plan, report).await?;
                size = Size { used: report.used_after, owed: report.owed, freed: report.freed };
                if !wanting(&size, report) {
                    break;
                }
            }
            if plan.dry {
                // A walk that takes nothing away meets again what the ones before it met.
                dry_before = std::mem::take(&mut report.deleted);
                report.linked = 0;
            }
            let policy = Policy { mode: plan.mode, now: plan.now, cutoff: plan.now - age, spare };
            report.oldest = policy.cutoff;
            self.walk(plan, &policy, &kept, &weights, report).await?;
            report.walks += 1;
            if plan.dry && spare.is_some() && report.deleted.total() < dry_before.total() {
                report.deleted = dry_before;
                report.freed = weights.bytes(&report.deleted);
            }
            if report.interrupted {
                return Ok(());
            }
        }
        report.owed = size.owed + report.freed.saturating_sub(size.freed);
        report.used_after = size.left(report);
        report.over_budget = above(report.used_after);
        // Not for little.
        if !plan.dry && report.owed >= (report.used_before / 20).max(1 << 20) {
            self.compact(plan, report).await?;
            report.over_budget = above(report.used_after.saturating_sub(report.owed));
        }
        Ok(())
    }

    /// The kept accounts; read from the store for a plan of a scope that is not in force.
    async fn kept(&self, plan: Plan) -> Result<Arc<Kept>, StoreError> {
        let (mode, kept) = self.index.scope();
        if !plan.dry || mode != ScopeMode::Whole {
            return Ok(Arc::clone(kept));
        }
        let (store, kept) = (self.store.clone(), Arc::clone(kept));
        blocking(move || kept.anew(&store.snapshot()).map(Arc::new)).await
    }

    async fn walk(
        &self,
        plan: Plan,
        policy: &Policy,
        kept: &Arc<Kept>,
        weights: &Weights,
        report: &mut RetentionReport,
    ) -> Result<(), StoreError> {
        let mut place = Place::default();
        if !plan.dry {
            place = retention::place(&self.store.snapshot())?;
        }
        let accounts = self.accounts();
        while !place.is_end() {
            if self.stop.is_cancelled() {
                report.interrupted = true;
                return Ok(());
            }
            let begun = Instant::now();
            let (store, of, policy) = (self.store.clone(), Arc::clone(kept), *policy);
            let found = blocking(move || retention::find(&store.snapshot(), &of, &policy, place));
            let Found { going, tally, linked, place: next } = found.await?;
            // Half a core at most.
            pause(begun.elapsed() * plan.pause.min(1)).await;
            place = next;
            report.linked += linked;
            if plan.dry {
                report.deleted.add(tally);
            } else if !going.is_empty() || place.is_end() {
                self.take(plan, &policy, going, &place, report).await?;
            }
            report.freed = weights.bytes(&report.deleted);
            let share = place.share(accounts);
            self.state.lock().running = Some((share, report.clone()));
        }
        Ok(())
    }

    async fn take(
        &self,
        plan: Plan,
        policy: &Policy,
        going: Vec<crate::schema::RecordId>,
        place: &Place,
        report: &mut RetentionReport,
    ) -> Result<(), StoreError> {
        let mut left = going;
        loop {
            let (index, policy, place) = (Arc::clone(&self.index), *policy, place.clone());
            let records = std::mem::take(&mut left);
            let step = self.writer.visible(move |tx| {
                let begun = Instant::now();
                let step = retention::step(&index, tx, &policy, records, &place)?;
                Ok((step, begun.elapsed()))
            });
            let (step, took) = step.await?;
            count(&step.tally);
            report.deleted.add(step.tally);
            left = step.left;
            pause(took * plan.pause).await;
            for _ in 0..100 {
                if plan.wanted > 0 || self.writer.waiting() < BUSY {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if left.is_empty() || self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Gives the space back, as far as there is room to do it in.
    async fn compact(&self, plan: Plan, report: &mut RetentionReport) -> Result<(), StoreError> {
        // What else there is room for is what the store itself needs.
        let floor = self.store.headroom();
        let spare = if plan.wanted > 0 { floor } else { floor.max(self.reserve / 10 * 11) };
        let mut all = true;
        for ks in COMPACTED {
            if self.stop.is_cancelled() {
                all = false;
                break;
            }
            let (disk, _) = self.store.disk()?;
            let size = disk.iter().find(|(k, _)| *k == ks).map_or(0, |(_, n)| *n);
            let free = free_space(self.store.path());
            if free < size.saturating_add(spare) {
                all = false;
                tracing::warn!(
                    keyspace = ks.name(),
                    size,
                    free,
                    "retention: no room to compact; the disk gives the space back later"
                );
                continue;
            }
            let store = self.store.clone();
            blocking(move || store.compact_one(ks)).await?;
        }
        let store = self.store.clone();
        blocking(move || store.flush_all()).await?;
        report.used_after = used(&self.store)?;
        report.compacted = report.used_after;
        if all {
            report.owed = 0;
        }
        Ok(())
    }

    fn accounts(&self) -> u32 {
        let rows = self.store.approximate_rows();
        let actors = rows.iter().find(|(ks, _)| *ks == Ks::Actor).map_or(0, |(_, n)| *n);
        u32::try_from(actors).unwrap_or(u32::MAX)
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time.min(LONGEST_PAUSE)).await;
    }
}

fn count(tally: &Tally) {
    let Tally { posts, likes, reposts, follows, records } = *tally;
    let kinds = [
        ("post", posts),
        ("like", likes),
        ("repost", reposts),
        ("follow", follows),
        ("record", records),
    ];
    for (kind, n) in kinds.into_iter().filter(|(_, n)| *n > 0) {
        DELETED.add(kind, n);
    }
}

fn used(store: &Store) -> Result<u64, StoreError> {
    let (rows, journals) = store.disk()?;
    Ok(journals + rows.iter().map(|(_, n)| n).sum::<u64>())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::{World, post};
    use crate::threads::Clock;

    /// Posts that are left of three from 2023 after a run that wants so many bytes.
    async fn left_after(mode: ScopeMode, wanted: u64) -> usize {
        let mut w = World::new();
        w.restart(mode, 2000);
        w.commit("a", (1..=3).map(post).collect::<Vec<_>>()).await;
        let mut config = crate::config::load(&crate::config::Sources::default()).unwrap();
        (config.scope.mode, config.scope.days) = (mode, 2000);
        let (store, writer) = (w.store.clone(), w.writer.clone());
        let stop = CancellationToken::new();
        let clock = ClockState::new(Clock::system());
        let keeper =
            Retention::new(store, writer, Arc::clone(&w.index), &config, clock, &stop).unwrap();
        let running = Arc::clone(&keeper);
        tokio::spawn(async move { running.run().await });
        tokio::task::yield_now().await;
        keeper.prune(wanted);
        while keeper.state.lock().running.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (1..=3)
            .filter(|n| w.rows().contains_key(&(Ks::Post, w.post("a", *n).to_bytes().to_vec())))
            .count()
    }

    #[tokio::test]
    async fn a_full_disk_takes_more_than_age_does() {
        assert_eq!(left_after(ScopeMode::Window, 0).await, 3);
        assert_eq!(left_after(ScopeMode::Window, 1).await, 0);
        assert_eq!(left_after(ScopeMode::Whole, 1).await, 3);
    }
}
