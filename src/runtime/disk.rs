//! Watches the disk and does what the ladder says: holds backfill back, asks retention to run, stops ingest and starts
//! it again, gives the reserve file up and makes it anew; and says so in the log, the status and to the webhook.
//!
//! Ingest stops while the store has room for what it began: below `store.reserve`, and in any case well above what
//! memory and journals need to get into tables ([`Store::headroom`]). Below that the writer refuses everything, since an
//! engine that meets a full disk does not write again before a restart. Reads need no room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use super::alerts::Alerts;
use super::now_ms;
use super::reserve::Reserve;
use super::retention::Keeper;
use super::serve::ServeError;
use super::sources::Sources;
use crate::config::Config;
use crate::ops::{self, Space, Step, Trend};
use crate::store::{Store, Writer, free_space};
use crate::syntax::datetime::format_ms;
use crate::telemetry::counters::Counters;

/// Steps that were taken.
static STEPS: Counters = Counters::new("disk.step");

/// How often the disk is looked at. A disk takes some hundred megabytes in that time.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Between two runs of retention because of the disk.
const PRUNE_EVERY: Duration = Duration::from_secs(900);
/// Times the space under which ingest stops: with more there is no need of a reserve file yet.
const RESERVE_WITHIN: u64 = 5;
/// Between two attempts to make the reserve file.
const RESERVE_EVERY: Duration = Duration::from_secs(60);

/// Gives the reserve file up if a store could not even open.
pub(super) fn make_way(config: &Config) {
    let path = &config.store.path;
    let reserve = Reserve::new(path, config.store.reserve_file);
    if free_space(path) < config.store.memory_budget / 4 && reserve.held() > 0 {
        give_up(&reserve);
    }
}

fn give_up(reserve: &Reserve) {
    match reserve.release() {
        Ok(()) => tracing::warn!("the reserve file is given up"),
        Err(error) => tracing::error!(%error, "the reserve file cannot be given up"),
    }
}

/// What status and readiness show.
#[derive(Default)]
pub(super) struct View(Mutex<ops::Disk>);

impl View {
    /// As of the last look; what the store uses is for the caller to fill in.
    pub(super) fn get(&self) -> ops::Disk {
        self.0.lock().clone()
    }

    /// Why no new data is taken in, if that is so.
    pub(super) fn ready(&self) -> Result<(), String> {
        let disk = self.0.lock();
        match disk.step {
            Step::Stop => Err(disk.advice.clone()),
            _ => Ok(()),
        }
    }
}

/// What the watch works with.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) keeper: Arc<Keeper>,
    pub(super) sources: Arc<Sources>,
    pub(super) alerts: Alerts,
    pub(super) view: Arc<View>,
}

/// Looks at the disk again and again.
pub(super) struct Watch {
    parts: Parts,
    reserve: Reserve,
    began: Instant,
    trend: Trend,
    fall: Option<f64>,
    /// How often the writer stood still at the last look.
    stops: u64,
    pruned: Option<Instant>,
    reserved: Option<Instant>,
}

/// Free bytes under which ingest stops, for a store that needs `floor` to end what it began.
pub(super) fn stop_below(config: &Config, floor: u64) -> u64 {
    config.store.reserve.max(floor.saturating_add(floor / 2))
}

impl Watch {
    pub(super) fn new(parts: Parts, config: &Config) -> Self {
        Self {
            parts,
            reserve: Reserve::new(&config.store.path, config.store.reserve_file),
            began: Instant::now(),
            trend: Trend::default(),
            fall: None,
            stops: 0,
            pruned: None,
            reserved: None,
        }
    }

    /// Whether the store could not be opened again with what is free.
    pub(super) fn is_short(&self) -> bool {
        self.parts.view.get().step == Step::Stop
    }

    /// Looks at the disk and acts.
    pub(super) async fn look(&mut self, config: &Config) -> Result<(), ServeError> {
        let (space, disk) = self.measure(config);
        let was = self.parts.view.get();
        let mut step = was.step.next(&space);
        let stops = self.parts.writer.room().stops();
        if stops > self.stops {
            // Changes were refused meanwhile: who was told so begins anew.
            step = Step::Stop;
        }
        self.stops = stops;
        let began = if step == was.step && was.since > 0 { was.since } else { now_ms() };
        let disk = ops::Disk { step, since: began, advice: advice(step, &space, &disk), ..disk };
        *self.parts.view.0.lock() = disk.clone();
        if step != was.step {
            self.tell(was.step, &disk, config);
        }
        self.keep_reserve(step, &disk).await;
        self.act(step, &disk, config).await
    }

    fn measure(&mut self, config: &Config) -> (Space, ops::Disk) {
        let (free, held) = (free_space(self.parts.store.path()), self.reserve.held());
        let floor = self.parts.store.headroom();
        self.parts.writer.room().set_floor(floor);
        if self.trend.add(self.began.elapsed().as_secs(), free.saturating_add(held)) {
            self.fall = self.trend.fall_per_day();
        }
        // What the reserve file lacks is not free.
        let usable = free.saturating_sub(self.reserve.size().saturating_sub(held));
        let stop_below = stop_below(config, floor);
        let growth = self.parts.keeper.growth();
        let days_left =
            self.fall.and_then(|fall| Space::days_left(usable, stop_below, fall, growth));
        let space =
            Space { free: usable, stop_below, days_left, warn_days: config.store.warn_days };
        let disk = ops::Disk {
            free,
            reserve: stop_below,
            floor,
            refusing: free < floor,
            reserve_file: held,
            fall_per_day: self.fall.map(|fall| fall as i64),
            days_left,
            ..ops::Disk::default()
        };
        (space, disk)
    }

    fn tell(&self, was: Step, disk: &ops::Disk, config: &Config) {
        let (step, advice) = (disk.step, disk.advice.as_str());
        STEPS.inc(step.name());
        let free = disk.free;
        match step {
            Step::Normal => tracing::info!(free, "disk: {advice}"),
            Step::Stop => tracing::error!(free, "disk: {advice}"),
            _ => tracing::warn!(free, "disk: {advice}"),
        }
        self.parts.alerts.tell(&json!({
            "event": "disk",
            "service": config.server.did.as_str(),
            "at": format_ms(disk.since),
            "step": step.name(),
            "was": was.name(),
            "message": advice,
            "free": free,
            "days_left": disk.days_left,
        }));
    }

    /// Given up only when ingest stands still and space is still short; made when it is safe to take it, and not before
    /// the disk is anywhere near full.
    async fn keep_reserve(&mut self, step: Step, disk: &ops::Disk) {
        if step == Step::Stop {
            if disk.free < disk.floor.saturating_add(disk.floor / 4) && disk.reserve_file > 0 {
                give_up(&self.reserve);
            }
            return;
        }
        let size = self.reserve.size();
        let whole = (size..size.saturating_add(1 << 20)).contains(&disk.reserve_file);
        let lately = self.reserved.is_some_and(|at| at.elapsed() < RESERVE_EVERY);
        let far = disk.free > disk.reserve.saturating_mul(RESERVE_WITHIN) && disk.reserve_file == 0;
        if whole || lately || far {
            return;
        }
        self.reserved = Some(Instant::now());
        let reserve = self.reserve.clone();
        match tokio::task::spawn_blocking(move || reserve.make()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the reserve file cannot be made"),
            Err(error) => tracing::error!(%error, "the reserve file cannot be made"),
        }
    }

    async fn act(
        &mut self,
        step: Step,
        disk: &ops::Disk,
        config: &Config,
    ) -> Result<(), ServeError> {
        let sources = &self.parts.sources;
        match (step, sources.is_running()) {
            (Step::Stop, true) => sources.stop().await,
            (Step::Stop, false) | (_, true) => {}
            (_, false) => {
                sources.start(config)?;
                tracing::info!("ingest runs");
            }
        }
        if let Some(sync) = sources.sync() {
            let why = (step >= Step::HoldBackfill)
                .then(|| "the disk is nearly full: see `aerie status`".to_owned());
            sync.hold_back(why);
        }
        if step >= Step::Prune && self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            let enough = Step::HoldBackfill.below(disk.reserve).saturating_mul(11) / 10;
            self.parts.keeper.prune(enough.saturating_sub(disk.free));
            self.pruned = Some(Instant::now());
        }
        Ok(())
    }
}

/// What a step means and what to do.
fn advice(step: Step, space: &Space, disk: &ops::Disk) -> String {
    let gb = |n: u64| format!("{:.1} GB", n as f64 / 1e9);
    let (free, stop) = (gb(disk.free), gb(space.stop_below));
    let more = "make room, or keep less (scope.mode, scope.days, scope.disk_budget)";
    match step {
        Step::Normal => format!("{free} free"),
        Step::Warn => {
            let days = space.days_left.unwrap_or_default();
            format!("{free} free, ingest stops in about {days:.0} days at this rate: {more}")
        }
        Step::HoldBackfill => {
            format!("{free} free: backfill pauses, ingest stops below {stop}: {more}")
        }
        Step::Prune => format!(
            "{free} free: retention runs now if scope.mode allows it, ingest stops below {stop}: {more}"
        ),
        Step::Stop if disk.refusing => format!(
            "{free} free: ingest is stopped and changes are refused, reads go on. Make room, it resumes by itself"
        ),
        Step::Stop => format!(
            "{free} free, less than {stop} (see store.reserve): ingest is stopped, reads go on. Make room, it resumes by itself"
        ),
    }
}
