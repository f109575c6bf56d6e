//! Watches the disk and does what the ladder says: holds backfill back, asks retention to run, stops ingest and starts
//! it again, gives the reserve file up and makes it anew; and says so in the log, the status and to the webhook.
//!
//! Ingest stops while the store has room for what it began: below `store.reserve`, and in any case well above what
//! memory and journals need to get into tables ([`Store::headroom`]). Below that the writer refuses everything, since an
//! engine that meets a full disk does not write again before a restart. Reads need no room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::alerts::Alerts;
use super::ladder::{Space, Step};
use super::ports::{Derived, Intake};
use super::reserve::Reserve;
use super::retention::Retention;
use super::trend::{Fall, Trend};
use crate::config::Config;
use crate::store::{Store, Writer, free_space};
use crate::syntax::datetime::format_ms;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

/// Steps that were taken.
static STEPS: Counters = Counters::new("disk.step");

/// How often the disk is looked at. A disk takes some hundred megabytes in that time.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two runs of retention because of the disk.
const PRUNE_EVERY: Duration = Duration::from_secs(900);
/// Times the space under which ingest stops: with more there is no need of a reserve file yet.
const RESERVE_WITHIN: u64 = 5;
/// Between two attempts to make the reserve file.
const RESERVE_EVERY: Duration = Duration::from_secs(60);

/// Gives the reserve file up if a store could not even open.
pub fn make_way(config: &Config) {
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

/// Space on disk in bytes, and what is done about it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiskStatus {
    /// Used by the store.
    pub used: u64,
    /// Free where it is.
    pub free: u64,
    /// The step of the ladder.
    pub step: Step,
    /// Since when, milliseconds since the epoch.
    pub since: i64,
    /// What that means and what to do, in a sentence.
    pub advice: String,
    /// Ingest stops below this.
    pub reserve: u64,
    /// Nothing at all is written below this.
    pub floor: u64,
    /// Whether changes are refused because of that.
    pub refusing: bool,
    /// Held by the reserve file.
    pub reserve_file: u64,
    /// What free space loses in a day; `None` in the first half hour.
    pub fall_per_day: Option<i64>,
    /// Days until ingest stops at that rate; `None` if it does not, or if that is too far ahead to be said.
    pub days_left: Option<f64>,
}

/// What the last look at the disk found: for the status and readiness.
#[derive(Default)]
pub struct DiskState(Mutex<DiskStatus>);

impl DiskState {
    /// As of the last look.
    #[must_use]
    pub fn get(&self) -> DiskStatus {
        self.0.lock().clone()
    }

    /// Whether the store could not be opened again with what is free.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.0.lock().step == Step::Stop
    }

    /// Why no new data is taken in, if that is so.
    ///
    /// # Errors
    /// The reason, for the operator.
    pub fn ready(&self) -> Result<(), String> {
        let disk = self.0.lock();
        match disk.step {
            Step::Stop => Err(disk.advice.clone()),
            _ => Ok(()),
        }
    }
}

/// What the watch works with.
#[derive(Clone)]
pub struct DiskSetup {
    /// Whose disk is looked at.
    pub store: Store,
    /// Refuses changes when there is no room for them.
    pub writer: Writer,
    /// Takes away what may go.
    pub retention: Arc<Retention>,
    /// Stops when there is no room.
    pub intake: Arc<dyn Intake>,
    /// Writes nothing more when room is short.
    pub search: Arc<dyn Derived>,
    /// Tells the operator.
    pub alerts: Alerts,
    /// Where the result is shown.
    pub state: Arc<DiskState>,
    /// What time it is.
    pub clock: Clock,
}

/// What a look sees, in bytes.
struct Seen {
    /// Free where the store is.
    free: u64,
    /// In the reserve file.
    held: u64,
    /// What the store needs to end what it began.
    floor: u64,
    /// What the store uses.
    used: u64,
}

impl Seen {
    fn look(store: &Store, reserve: &Reserve) -> Self {
        let used = store.disk().map_or(0, |(rows, journal)| {
            journal + rows.iter().map(|(_, bytes)| bytes).sum::<u64>()
        });
        Self { free: free_space(store.path()), held: reserve.held(), floor: store.headroom(), used }
    }
}

/// Looks at the disk again and again.
pub struct DiskWatch {
    setup: DiskSetup,
    reserve: Reserve,
    began: Instant,
    trend: Trend,
    fall: Option<Fall>,
    /// How often the writer stood still at the last look.
    stops: u64,
    pruned: Option<Instant>,
    reserved: Option<Instant>,
}

/// Free bytes under which ingest stops, for a store that needs `floor` to end what it began.
#[must_use]
pub fn stop_below(config: &Config, floor: u64) -> u64 {
    config.store.reserve.max(floor.saturating_add(floor / 2))
}

impl DiskWatch {
    /// Has looked at nothing yet.
    #[must_use]
    pub fn new(setup: DiskSetup, config: &Config) -> Self {
        let stops = setup.writer.room().stops();
        Self {
            setup,
            reserve: Reserve::new(&config.store.path, config.store.reserve_file),
            began: Instant::now(),
            trend: Trend::default(),
            fall: None,
            stops,
            pruned: None,
            reserved: None,
        }
    }

    /// Looks at the disk and acts.
    pub async fn look(&mut self, config: &Config) {
        let (store, reserve) = (self.setup.store.clone(), self.reserve.clone());
        // A disk that hangs, or an engine that is busy, is not waited for on a thread that serves.
        let seen = tokio::task::spawn_blocking(move || Seen::look(&store, &reserve)).await;
        let Ok(seen) = seen else {
            tracing::error!("the disk cannot be looked at");
            return;
        };
        let (space, disk) = self.measure(&seen, config);
        let was = self.setup.state.get();
        let mut step = was.step.next(&space);
        let stops = self.setup.writer.room().stops();
        if stops > self.stops {
            // Changes were refused meanwhile: who was told so begins anew.
            step = Step::Stop;
        }
        self.stops = stops;
        let began =
            if step == was.step && was.since > 0 { was.since } else { self.setup.clock.now_ms() };
        let disk = DiskStatus { step, since: began, advice: advice(step, &space, &disk), ..disk };
        *self.setup.state.0.lock() = disk.clone();
        if step != was.step {
            self.tell(was.step, &disk, config);
        }
        self.keep_reserve(step, &disk).await;
        self.act(step, &disk);
    }

    fn measure(&mut self, seen: &Seen, config: &Config) -> (Space, DiskStatus) {
        let Seen { free, held, floor, used } = *seen;
        self.setup.writer.room().set_floor(floor);
        if self.trend.add(self.began.elapsed().as_secs(), free.saturating_add(held)) {
            self.fall = self.trend.fall();
        }
        // What the reserve file lacks is not free.
        let usable = free.saturating_sub(self.reserve.size().saturating_sub(held));
        let stop_below = stop_below(config, floor);
        let growth = self.setup.retention.growth();
        let days_left =
            self.fall.and_then(|fall| Space::days_left(usable, stop_below, fall, growth));
        let space =
            Space { free: usable, stop_below, days_left, warn_days: config.store.warn_days };
        let disk = DiskStatus {
            used,
            free,
            reserve: stop_below,
            floor,
            refusing: free < floor,
            reserve_file: held,
            fall_per_day: self.fall.map(|fall| fall.per_day as i64),
            days_left,
            ..DiskStatus::default()
        };
        (space, disk)
    }

    fn tell(&self, was: Step, disk: &DiskStatus, config: &Config) {
        let (step, advice) = (disk.step, disk.advice.as_str());
        STEPS.inc(step.name());
        let free = disk.free;
        match step {
            Step::Normal => tracing::info!(free, "disk: {advice}"),
            Step::Stop => tracing::error!(free, "disk: {advice}"),
            _ => tracing::warn!(free, "disk: {advice}"),
        }
        self.setup.alerts.tell(&json!({
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
    async fn keep_reserve(&mut self, step: Step, disk: &DiskStatus) {
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

    fn act(&mut self, step: Step, disk: &DiskStatus) {
        let (intake, open) = (&self.setup.intake, step != Step::Stop);
        if intake.take_in(open) {
            tracing::info!("ingest runs");
        }
        let why = (step >= Step::HoldBackfill)
            .then(|| "the disk is nearly full: see `aerie status`".to_owned());
        intake.hold_backfill(why);
        self.setup.search.hold(step >= Step::HoldSearch);
        if step >= Step::Prune && self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            let enough = Step::HoldBackfill.below(disk.reserve).saturating_mul(11) / 10;
            self.setup.retention.prune(enough.saturating_sub(disk.free));
            self.pruned = Some(Instant::now());
        }
    }
}

/// Days, or hours where days would say too little.
fn time_left(days: f64) -> String {
    match days * 24.0 {
        hours if hours < 1.5 => "an hour".to_owned(),
        hours if hours < 48.0 => format!("{hours:.0} hours"),
        _ => format!("{days:.0} days"),
    }
}

/// What a step means and what to do.
fn advice(step: Step, space: &Space, disk: &DiskStatus) -> String {
    let gb = |n: u64| format!("{:.1} GB", n as f64 / 1e9);
    let (free, stop) = (gb(disk.free), gb(space.stop_below));
    let more = "make room, or keep less (scope.mode, scope.days, scope.disk_budget)";
    match step {
        Step::Normal => format!("{free} free"),
        Step::Warn => {
            let left = time_left(space.days_left.unwrap_or_default());
            format!("{free} free, ingest stops in about {left} at this rate: {more}")
        }
        Step::HoldBackfill => {
            format!("{free} free: backfill pauses, ingest stops below {stop}: {more}")
        }
        Step::Prune => format!(
            "{free} free: retention runs now if scope.mode allows it, ingest stops below {stop}: {more}"
        ),
        Step::HoldSearch => format!(
            "{free} free: search finds nothing that is written from now on, ingest stops below {stop}: {more}"
        ),
        Step::Stop if disk.refusing => format!(
            "{free} free: ingest is stopped and changes are refused, reads go on. Make room, it resumes by itself"
        ),
        Step::Stop => format!(
            "{free} free, less than {stop} (see store.reserve): ingest is stopped, reads go on. Make room, it resumes by itself"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_time_is_said_in_hours() {
        let table = [
            (0.0, "an hour"),
            (0.06, "an hour"),
            (0.07, "2 hours"),
            (1.9, "46 hours"),
            (2.0, "2 days"),
            (13.6, "14 days"),
        ];
        for (days, said) in table {
            assert_eq!(time_left(days), said, "{days}");
        }
    }
}
