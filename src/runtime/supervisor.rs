//! Runs the parts, and sees to it that none ends unseen: the process ends with the name of the part, or the part runs
//! again, as its rule says. Knows nothing of what the parts do.
//!
//! # Invariants
//! - A part that ends or panics before the stop is in the log, in the status, and if its rule is `Fatal` in what the
//!   process says at its end.
//! - Parts that stop last stop after all others have ended or were left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::part::{AtEnd, Part, Rule, Stops, Without};
use crate::config::Config;
use crate::ops::{PartState, PartStatus};
use crate::threads::catch_async;

/// Waits before a part runs again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A part that ran for so long is well, and the next wait short again.
const WELL_AFTER: Duration = Duration::from_secs(300);
/// Ends in a row from which on the server is not well, whatever the part is for.
const MOST_ENDS: u32 = 3;
/// For all that stop first: a part that blocks its thread does not see that its own time is up.
const FIRST_LIMIT: Duration = Duration::from_secs(5);

/// A part that ended although it was needed, or failed at the stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the part {name:?} ended: {why}")]
pub struct PartEnded {
    /// Its name in the status.
    pub name: &'static str,
    /// Its error or panic.
    pub why: String,
}

/// A part and how it is.
struct Member {
    part: Arc<dyn Part>,
    rule: &'static Rule,
    life: Mutex<Life>,
}

struct Life {
    state: PartState,
    restarts: u64,
    error: Option<String>,
    /// Ends in a row, none of them after it had been well.
    ends: u32,
    began: Instant,
}

impl Life {
    /// Whether it ends again and again.
    fn fails(&self) -> bool {
        let well = self.state == PartState::Running && self.began.elapsed() >= WELL_AFTER;
        self.ends >= MOST_ENDS && !well
    }
}

/// All parts, for whoever asks them something. Cheap to clone.
#[derive(Clone)]
pub(super) struct Parts(Arc<[Member]>);

/// The parts for those that are made before them. Does not keep them alive.
#[derive(Clone, Default)]
pub(super) struct PartsSlot(Arc<OnceLock<Weak<[Member]>>>);

impl PartsSlot {
    pub(super) fn get(&self) -> Parts {
        Parts(self.0.get().and_then(Weak::upgrade).unwrap_or_default())
    }

    pub(super) fn fill(&self, parts: &Parts) {
        // Once: there is one list in a process.
        let _ = self.0.set(Arc::downgrade(&parts.0));
    }
}

impl Parts {
    pub(super) fn new(parts: Vec<Arc<dyn Part>>) -> Self {
        let member = |part: Arc<dyn Part>| Member {
            rule: part.rule(),
            part,
            life: Mutex::new(Life {
                state: PartState::Running,
                restarts: 0,
                error: None,
                ends: 0,
                began: Instant::now(),
            }),
        };
        Self(parts.into_iter().map(member).collect())
    }

    /// How each part is.
    pub(super) fn status(&self) -> Vec<PartStatus> {
        let status = |member: &Member| {
            let life = member.life.lock();
            PartStatus {
                name: member.rule.name,
                state: life.state,
                restarts: life.restarts,
                last_error: life.error.clone(),
            }
        };
        self.0.iter().map(status).collect()
    }

    /// What a part says for the status.
    pub(super) fn of(&self, rule: &Rule) -> Value {
        let part = self.0.iter().find(|member| member.rule.name == rule.name);
        part.map_or(Value::Null, |member| member.part.status())
    }

    /// What is under way.
    pub(super) fn pending(&self) -> usize {
        self.0.iter().map(|member| member.part.pending()).sum()
    }

    /// Whether one of them knows no reason against asking the server.
    pub(super) fn ready_of(&self, rule: &Rule) -> Result<(), String> {
        let part = self.0.iter().find(|member| member.rule.name == rule.name);
        part.map_or(Ok(()), |member| member.part.ready())
    }

    /// The first reason why the server should not be asked.
    pub(super) fn ready(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Err("the server starts".to_owned());
        }
        for member in &*self.0 {
            member.part.ready()?;
            let life = member.life.lock();
            if member.rule.without == Without::NotReady && life.state != PartState::Running {
                let (name, state) = (member.rule.name, life.state.name());
                let why = life.error.as_deref().unwrap_or("no reason known");
                return Err(format!("{name} is {state}: {why}"));
            }
            if life.fails() {
                let (name, why) = (member.rule.name, life.error.as_deref().unwrap_or_default());
                return Err(format!("{name} ends again and again: {why}"));
            }
        }
        Ok(())
    }

    /// Lets every part take over what a reload may change; the keys that were.
    pub(super) fn reload(&self, new: &Config) -> BTreeSet<&'static str> {
        self.0.iter().flat_map(|member| member.part.reload(new)).collect()
    }
}

/// The running parts.
pub(super) struct Supervisor {
    first: Stage,
    last: Stage,
}

/// Parts that stop together.
struct Stage {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), PartEnded>>,
}

impl Supervisor {
    /// Starts every part in the order of the list. `stop` ends those that stop first.
    pub(super) fn start(parts: &Parts, stop: CancellationToken) -> Self {
        let stage = |stop| Stage { stop, tasks: JoinSet::new() };
        let mut this = Self { first: stage(stop), last: stage(CancellationToken::new()) };
        for at in 0..parts.0.len() {
            let Some(member) = parts.0.get(at) else { continue };
            let stage = match member.rule.stops {
                Stops::First => &mut this.first,
                Stops::Last => &mut this.last,
            };
            stage.tasks.spawn(live(parts.clone(), at, stage.stop.clone()));
        }
        this
    }

    /// Waits until a part ended that the server cannot be without.
    pub(super) async fn ended(&mut self) -> PartEnded {
        loop {
            let joined = tokio::select! {
                Some(joined) = self.first.tasks.join_next() => joined,
                Some(joined) = self.last.tasks.join_next() => joined,
                else => std::future::pending().await,
            };
            if let Err(ended) = outcome(joined) {
                return ended;
            }
        }
    }

    /// Stops all parts in their order.
    pub(super) async fn stop(mut self) -> Result<(), PartEnded> {
        self.first.stop.cancel();
        let first = timeout(FIRST_LIMIT, self.first.end()).await;
        if first.is_err() {
            tracing::warn!("a part did not stop in time");
            self.first.tasks.abort_all();
        }
        self.last.stop.cancel();
        let last = self.last.end().await;
        first.unwrap_or(Ok(())).and(last)
    }
}

impl Stage {
    async fn end(&mut self) -> Result<(), PartEnded> {
        let mut result = Ok(());
        while let Some(joined) = self.tasks.join_next().await {
            result = result.and(outcome(joined));
        }
        result
    }
}

fn outcome(joined: Result<Result<(), PartEnded>, tokio::task::JoinError>) -> Result<(), PartEnded> {
    // Panics of parts are caught; this would be one of the supervisor itself.
    joined.unwrap_or_else(|error| Err(PartEnded { name: "supervisor", why: error.to_string() }))
}

/// Runs a part, and runs it again if its rule says so.
async fn live(parts: Parts, at: usize, stop: CancellationToken) -> Result<(), PartEnded> {
    let Some(member) = parts.0.get(at) else { return Ok(()) };
    let name = member.rule.name;
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        let run = catch_async(work(member, stop.clone()));
        let out = tokio::select! {
            out = run => out,
            () = late(&stop, member.rule.patience) => {
                tracing::warn!(part = name, "did not stop in time and is left behind");
                return Ok(());
            }
        };
        let why = match out {
            Ok(Ok(())) if stop.is_cancelled() => return Ok(()),
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        let stopped = stop.is_cancelled();
        {
            let mut life = member.life.lock();
            life.error = Some(why.clone());
            life.ends = if began.elapsed() >= WELL_AFTER { 1 } else { life.ends + 1 };
            life.state = match member.rule.at_end {
                AtEnd::Restart if !stopped => PartState::Restarting,
                _ => PartState::Ended,
            };
        }
        match member.rule.at_end {
            AtEnd::Fatal => return Err(PartEnded { name, why }),
            AtEnd::Restart if stopped => {
                tracing::warn!(part = name, %why, "failed at the stop");
                return Ok(());
            }
            AtEnd::Restart => {}
        }
        if began.elapsed() >= WELL_AFTER {
            wait = FIRST_WAIT;
        }
        tracing::error!(part = name, %why, ?wait, "ended, and runs again after a while");
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return Ok(());
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        let mut life = member.life.lock();
        life.restarts += 1;
        life.state = PartState::Running;
        life.began = Instant::now();
    }
}

#[cfg(not(feature = "testing"))]
async fn work(member: &Member, stop: CancellationToken) -> Result<(), super::part::PartError> {
    Arc::clone(&member.part).run(stop).await
}

/// The same with a panic in it, if it is the part that a test named.
#[cfg(feature = "testing")]
async fn work(member: &Member, stop: CancellationToken) -> Result<(), super::part::PartError> {
    tokio::select! {
        out = Arc::clone(&member.part).run(stop) => out,
        () = crate::threads::fault::due(member.rule.name) => Ok(()),
    }
}

async fn late(stop: &CancellationToken, patience: Duration) {
    stop.cancelled().await;
    sleep(patience).await;
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
