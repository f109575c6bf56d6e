//! Finds out again and again what many write of, and saves what that is made of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use crate::discovery::Ground;
use crate::discovery::trends::Trends;
use crate::hydrate::Shared;
use crate::push::LabelerSource;
use crate::store::Store;
use crate::threads::Clock;

pub(super) static TRENDS: Rule = Rule {
    name: "trends",
    at_end: AtEnd::Restart,
    without: Without::Ready,
    patience: Duration::from_secs(2),
    stops: Stops::First,
};

/// Between two looks so many times as long as one takes, within these.
const REST: u32 = 1000;
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_secs(30);
const SAVED_EVERY: Duration = Duration::from_secs(5 * 60);

pub(super) struct TrendsPart {
    pub(super) trends: Arc<Trends>,
    pub(super) store: Store,
    pub(super) hydration: Arc<Shared>,
    /// Who labels for those who name nobody.
    pub(super) labelers: LabelerSource,
    pub(super) clock: Clock,
}

impl TrendsPart {
    fn rank(&self) -> Result<(), PartError> {
        let ground = Ground {
            store: &self.store,
            shared: &self.hydration,
            labelers: &(self.labelers)(),
            clock: &self.clock,
            rest: 0,
            stop: &|| false,
        };
        self.trends.rank(&ground).map_err(PartError::new)
    }

    fn save(&self) {
        if let Err(error) = self.trends.save(self.store.path()) {
            tracing::warn!(%error, "trends cannot be saved: after a restart the log is read again from where they last were");
        }
    }
}

impl Part for TrendsPart {
    fn rule(&self) -> &'static Rule {
        &TRENDS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            let mut saved = Instant::now();
            loop {
                let (this, begun) = (Arc::clone(&self), Instant::now());
                let due = saved.elapsed() >= SAVED_EVERY || stop.is_cancelled();
                if due {
                    saved = begun;
                }
                let look = tokio::task::spawn_blocking(move || {
                    if due {
                        this.save();
                    }
                    this.rank()
                });
                look.await.map_err(PartError::new)??;
                if stop.is_cancelled() && due {
                    return Ok(());
                }
                let wait = begun.elapsed().saturating_mul(REST).clamp(SOONEST, LATEST);
                let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        })
    }
}
