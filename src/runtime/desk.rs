//! The dashboard, as the server asks for it; and what looks at the upstreams for its chart.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use super::sources::Sources;
use crate::admin::Dashboard;
use crate::login::Visitor;
use crate::ops::Samples;
use crate::store::Store;
use crate::threads::Clock;
use crate::xrpc::{self, Form};

/// What the server asks, from when all that it shows is there.
#[derive(Clone, Default)]
pub(super) struct Desk(pub(super) Arc<OnceLock<Dashboard>>);

impl xrpc::Dashboard for Desk {
    fn page<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, String> {
        Box::pin(async move {
            match self.0.get() {
                Some(dashboard) => dashboard.page(visitor).await,
                None => String::new(),
            }
        })
    }

    fn now(&self) -> BoxFuture<'_, Arc<Vec<(&'static str, String)>>> {
        Box::pin(async move {
            match self.0.get() {
                Some(dashboard) => dashboard.now().await,
                None => Arc::default(),
            }
        })
    }

    fn act<'a>(
        &'a self,
        action: &'a str,
        form: &'a Form,
    ) -> BoxFuture<'a, Option<Result<String, String>>> {
        Box::pin(async move { self.0.get()?.act(action, form).await })
    }
}

pub(super) static SAMPLES: Rule = Rule {
    name: "samples",
    at_end: AtEnd::Restart,
    without: Without::Ready,
    patience: Duration::from_secs(2),
    stops: Stops::First,
};

/// How often the upstreams are looked at, and how often what was seen is saved.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const SAVED_EVERY: Duration = Duration::from_secs(5 * 60);

/// Looks at the upstreams.
pub(super) struct SamplesPart {
    pub(super) samples: Arc<Samples>,
    pub(super) sources: Arc<Sources>,
    pub(super) store: Store,
    pub(super) clock: Clock,
}

impl SamplesPart {
    fn look(&self) {
        let now = self.clock.now_ms();
        for upstream in self.sources.upstreams() {
            self.samples.take(&upstream.url, upstream.events_per_s, upstream.lag_ms, now);
        }
    }

    async fn save(self: &Arc<Self>) -> Result<(), PartError> {
        let this = Arc::clone(self);
        let save = move || this.samples.save(this.store.path());
        let saved = tokio::task::spawn_blocking(save).await.map_err(PartError::new)?;
        if let Err(error) = saved {
            tracing::warn!(%error, "samples cannot be saved: after a restart the chart of the dashboard begins anew");
        }
        Ok(())
    }
}

impl Part for SamplesPart {
    fn rule(&self) -> &'static Rule {
        &SAMPLES
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            let mut saved = Instant::now();
            while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                self.look();
                if saved.elapsed() >= SAVED_EVERY {
                    saved = Instant::now();
                    self.save().await?;
                }
            }
            self.save().await
        })
    }
}
