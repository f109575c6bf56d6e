//! Gives the service manager signs of life, as long as the threads that everything goes through get on with their work:
//! the writer and the verify lanes. One that has no work is well, and so is a writer that waits for room on the disk; one
//! that holds work and is at the same turn for half of the manager's time is stuck, and then the signs end, and the
//! manager kills the process and starts it again. `/livez` says the same, for managers that ask instead of listening.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::notify::Manager;
use super::part::{Part, PartError, Rule};
use super::parts::WATCHDOG;
use super::sources::Sources;
use crate::store::{Store, Writer};
use crate::threads::Pulse;

/// Signs within the manager's time: one that comes late or is lost costs nothing.
const SIGNS: u32 = 4;

/// The time of who does not say how long it waits.
const UNASKED: Duration = Duration::from_secs(60);

/// What the last look found.
pub(super) struct Signs(Mutex<Look>);

struct Look {
    at: Instant,
    stuck: Option<String>,
    /// How long after a look the next one is missed.
    within: Duration,
}

impl Default for Signs {
    fn default() -> Self {
        Self(Mutex::new(Look { at: Instant::now(), stuck: None, within: UNASKED }))
    }
}

impl Signs {
    fn looked(&self, at: Instant, stuck: Option<String>, within: Duration) {
        *self.0.lock() = Look { at, stuck, within };
    }

    /// Whether every thread gets on, as of the last look.
    ///
    /// # Errors
    /// Which does not, or that nobody looks.
    pub(super) fn alive(&self, now: Instant) -> Result<(), String> {
        let look = self.0.lock();
        match &look.stuck {
            Some(who) => Err(format!("{who} does not get on")),
            None if now.saturating_duration_since(look.at) > look.within => {
                Err("nobody looks whether the threads get on".to_owned())
            }
            None => Ok(()),
        }
    }
}

/// Feeds the watchdog.
pub(super) struct Watchdog {
    pub(super) signs: Arc<Signs>,
    pub(super) manager: Manager,
    pub(super) writer: Writer,
    pub(super) sources: Arc<Sources>,
    pub(super) store: Store,
}

impl Watchdog {
    fn pulses(&self) -> Vec<(String, Arc<Pulse>)> {
        let lanes = self.sources.pulses().into_iter().enumerate();
        let lanes = lanes.map(|(n, pulse)| (format!("the verify lane {n}"), pulse));
        // While a keyspace is rewritten whole the engine may make the writer wait, for as long as that takes.
        let writer = (!self.store.is_compacting())
            .then(|| ("the writer".to_owned(), Arc::clone(self.writer.pulse())));
        writer.into_iter().chain(lanes).collect()
    }
}

impl Part for Watchdog {
    fn rule(&self) -> &'static Rule {
        &WATCHDOG
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            let time = self.manager.watchdog().unwrap_or(UNASKED);
            let mut seen = Seen::default();
            loop {
                let now = Instant::now();
                let stuck = seen.stuck(&self.pulses(), now, time / 2);
                match &stuck {
                    None => self.manager.alive(),
                    Some(who) => tracing::error!("watchdog: {who} does not get on"),
                }
                self.signs.looked(now, stuck, time);
                let pause = tokio::time::sleep(time / SIGNS);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Ok(());
                }
            }
        })
    }
}

/// The turn of each thread at the last look, and since when it is that.
#[derive(Default)]
struct Seen(Vec<(Arc<Pulse>, u64, Instant)>);

impl Seen {
    /// A thread that holds work and is at the same turn as `limit` ago.
    fn stuck(
        &mut self,
        pulses: &[(String, Arc<Pulse>)],
        now: Instant,
        limit: Duration,
    ) -> Option<String> {
        let (mut next, mut stuck) = (Vec::with_capacity(pulses.len()), None);
        for (name, pulse) in pulses {
            let turns = pulse.turns();
            let before = self.0.iter().find(|(of, at, _)| Arc::ptr_eq(of, pulse) && *at == turns);
            let since = before.map_or(now, |(_, _, since)| *since);
            let at_work = turns & 1 == 1;
            if at_work && now.saturating_duration_since(since) >= limit {
                stuck = Some(name.clone());
            }
            next.push((Arc::clone(pulse), turns, since));
        }
        self.0 = next;
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_hears_of_what_is_stuck_and_that_nobody_looks() {
        let (signs, begun) = (Signs::default(), Instant::now());
        let at = |s| begun + Duration::from_secs(s);
        assert_eq!(signs.alive(begun), Ok(()));
        signs.looked(at(5), Some("the writer".to_owned()), Duration::from_secs(20));
        assert_eq!(signs.alive(at(6)), Err("the writer does not get on".to_owned()));
        signs.looked(at(10), None, Duration::from_secs(20));
        assert_eq!(signs.alive(at(30)), Ok(()));
        assert!(signs.alive(at(31)).is_err_and(|why| why.contains("nobody looks")));
    }

    #[test]
    fn a_thread_is_stuck_when_it_holds_work_and_stands_still() {
        let (idle, busy, held) = <(Arc<Pulse>, Arc<Pulse>, Arc<Pulse>)>::default();
        let names = ["idle", "busy", "held"].map(str::to_owned);
        let pulses: Vec<_> = names.into_iter().zip([&idle, &busy, &held].map(Arc::clone)).collect();
        let (mut seen, begun, limit) = (Seen::default(), Instant::now(), Duration::from_secs(30));
        let at = |s| begun + Duration::from_secs(s);
        held.beat();
        for s in [0, 10, 20] {
            busy.beat();
            assert_eq!(seen.stuck(&pulses, at(s), limit), None, "{s}");
        }
        busy.beat();
        assert_eq!(seen.stuck(&pulses, at(30), limit).as_deref(), Some("held"));
        // It gets on, then waits for work for as long as it likes.
        held.beat();
        assert_eq!(seen.stuck(&pulses, at(40), limit), None);
        held.rest();
        busy.rest();
        assert_eq!(seen.stuck(&pulses, at(50), limit), None);
        assert_eq!(seen.stuck(&pulses, at(500), limit), None);
        // Other threads after a restart have turns of their own.
        let anew = [("held".to_owned(), Arc::<Pulse>::default())];
        anew[0].1.beat();
        assert_eq!(seen.stuck(&anew, at(501), limit), None);
        assert_eq!(seen.stuck(&anew, at(531), limit).as_deref(), Some("held"));
    }
}
