//! Looks through the store now and then for what is popular.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use crate::discovery::{Discovery, Ground};
use crate::hydrate::Shared;
use crate::push::LabelerSource;
use crate::store::Store;
use crate::threads::Clock;

pub(super) static DISCOVERY: Rule = Rule {
    name: "discovery",
    at_end: AtEnd::Restart,
    without: Without::Ready,
    patience: Duration::from_secs(2),
    stops: Stops::First,
};

/// It rests three times as long as it works, and until the next time a thousand times as long: a small store is looked
/// through at once again, one of the whole network every night.
const REST: u32 = 3;
const UNTIL_NEXT: u32 = 1000 / (REST + 1);
const SOONEST: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct DiscoveryPart {
    pub(super) discovery: Arc<Discovery>,
    pub(super) store: Store,
    pub(super) hydration: Arc<Shared>,
    /// Who labels for those who name nobody.
    pub(super) labelers: LabelerSource,
    pub(super) clock: Clock,
}

impl DiscoveryPart {
    fn look(&self, stop: &CancellationToken) -> Result<bool, PartError> {
        let ground = Ground {
            store: &self.store,
            shared: &self.hydration,
            labelers: &(self.labelers)(),
            clock: &self.clock,
            rest: REST,
            stop: &|| stop.is_cancelled(),
        };
        self.discovery.look(&ground).map_err(PartError::new)
    }
}

impl Part for DiscoveryPart {
    fn rule(&self) -> &'static Rule {
        &DISCOVERY
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            loop {
                let (this, until, begun) = (Arc::clone(&self), stop.clone(), Instant::now());
                let look = tokio::task::spawn_blocking(move || this.look(&until));
                if !look.await.map_err(PartError::new)?? {
                    return Ok(());
                }
                let wait = begun.elapsed().saturating_mul(UNTIL_NEXT).clamp(SOONEST, LATEST);
                if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return Ok(());
                }
            }
        })
    }
}
