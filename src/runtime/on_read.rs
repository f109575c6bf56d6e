//! What reads lack, brought by sync: the link from the server's handlers to the network; and the budget of what came so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::sources::Sources;
use crate::index::kept::Kept;
use crate::index::scope::Mode;
use crate::index::{Index, evict};
use crate::store::{Store, StoreError, Writer};
use crate::sync::on_read::{self, Want};
use crate::threads::Clock;
use crate::upkeep::Intake as _;
use crate::work;
use crate::xrpc::{FetchRequest, OnRead};

/// Fetches from PDSes.
pub(super) struct FromPds {
    pub(super) on_read: on_read::OnRead,
    /// While these stand still because the disk is full, nothing is fetched either.
    pub(super) sources: Arc<Sources>,
}

impl OnRead for FromPds {
    fn bring(&self, missing: Vec<FetchRequest>, within: Duration) -> BoxFuture<'_, bool> {
        if !self.sources.is_running() {
            return Box::pin(async { false });
        }
        let wants = missing.into_iter().map(|missing| match missing {
            FetchRequest::Account(id) => Want::Account(id),
            FetchRequest::Record { repo, collection, rkey, parents } => {
                Want::Record { repo, collection, rkey, parents }
            }
        });
        Box::pin(self.on_read.bring(wants.collect(), within))
    }
}

/// Between two looks whether the budget is kept.
const EVERY: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Keeps what was fetched under its budget.
pub(super) struct Cache {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) index: Arc<Index>,
    /// Bytes; 0 for no limit.
    pub(super) budget: u64,
    pub(super) clock: Clock,
}

impl Cache {
    /// Runs until stopped.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let look = async {
            loop {
                tokio::time::sleep(EVERY).await;
                match self.keep_budget().await {
                    // Later, when there is room to write.
                    Ok(()) | Err(StoreError::NoRoom) => {}
                    Err(error) => tracing::error!(%error, "what was fetched on read cannot go"),
                }
            }
        };
        stop.run_until_cancelled(look).await;
    }

    pub(super) fn status(&self) -> Value {
        let total = work::on_read::total(&self.store.snapshot()).unwrap_or_default();
        json!({ "records": total.records, "bytes": total.bytes, "budget": self.budget })
    }

    async fn keep_budget(&self) -> Result<(), StoreError> {
        if self.budget == 0 || work::on_read::total(&self.store.snapshot())?.bytes <= self.budget {
            return Ok(());
        }
        let kept = self.kept().await?;
        // A tenth at a time, so that the members are not read again for each record.
        let target = self.budget / 10 * 9;
        let mut more = true;
        while more {
            let (index, kept, now) =
                (Arc::clone(&self.index), Arc::clone(&kept), self.clock.now_ms());
            let step = self.writer.visible(move |tx| {
                let begun = Instant::now();
                let more = evict(&index, tx, &kept, now, target)?;
                Ok((more, begun.elapsed()))
            });
            let took;
            (more, took) = step.await?;
            // A fifth of the writer's time at most.
            tokio::time::sleep((took * 4).min(LONGEST_PAUSE)).await;
        }
        Ok(())
    }

    /// Whom everything is kept of. Where nothing is ever deleted nobody else needs to know.
    async fn kept(&self) -> Result<Arc<Kept>, StoreError> {
        let (mode, kept) = self.index.scope();
        if mode != Mode::Whole {
            return Ok(Arc::clone(kept));
        }
        let (store, kept) = (self.store.clone(), Arc::clone(kept));
        let load = move || kept.anew(&store.snapshot()).map(Arc::new);
        tokio::task::spawn_blocking(load).await.map_err(|_| StoreError::Closed)?
    }
}
