//! Takes away what deleted accounts had, and what accounts want deleted here, one bounded step of the writer at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::part::{Part, PartError, Rule};
use super::parts::PURGE;
use crate::index::{Index, purge_step};
use crate::media::Media;
use crate::schema::{ActorId, Rows};
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::work::purge;

/// Before the next try when the disk is full.
const AFTER_NO_ROOM: Duration = Duration::from_secs(5);

/// Works off the accounts that an earlier run left and those that come.
pub(super) struct Purge {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) index: Arc<Index>,
    pub(super) media: Arc<Media>,
    pub(super) requests: flume::Receiver<ActorId>,
}

/// Accounts that a run has taken on and that are counted as being purged; they are not any more when it ends.
struct TakenOn<'a> {
    waiting: &'a AtomicUsize,
    count: usize,
}

impl<'a> TakenOn<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, count: 0 }
    }

    /// Some that are not counted yet.
    fn add(&mut self, count: usize) {
        self.waiting.fetch_add(count, Ordering::Relaxed);
        self.count += count;
    }

    /// One that the index counted when it asked for it.
    fn asked(&mut self) {
        self.count += 1;
    }

    fn done(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.count = self.count.saturating_sub(1);
    }
}

impl Drop for TakenOn<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Part for Purge {
    fn rule(&self) -> &'static Rule {
        &PURGE
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move { self.work(&stop).await })
    }

    fn pending(&self) -> usize {
        self.index.purging().load(Ordering::Relaxed)
    }
}

impl Purge {
    async fn work(&self, stop: &CancellationToken) -> Result<(), PartError> {
        let waiting = self.index.purging();
        let mut taken_on = TakenOn::new(&waiting);
        // They are on the list in the store too.
        for _ in self.requests.try_iter() {
            taken_on.asked();
            taken_on.done();
        }
        let left = purge::purges(&self.store.snapshot()).map_err(PartError::new)?;
        let mut left: Vec<ActorId> = left.into_iter().map(|(actor, _)| actor).collect();
        taken_on.add(left.len());
        // An account that cannot be purged does not keep the others here; it comes up again with the next run.
        let mut failed = None;
        loop {
            let actor = match (left.pop(), failed.take()) {
                (Some(actor), kept) => {
                    failed = kept;
                    actor
                }
                (None, Some(error)) => return Err(error),
                (None, None) => match stop.run_until_cancelled(self.requests.recv_async()).await {
                    Some(Ok(actor)) => {
                        taken_on.asked();
                        actor
                    }
                    Some(Err(_)) => return Err(PartError::new("nobody asks any more")),
                    None => return Ok(()),
                },
            };
            match self.purge(actor, stop).await {
                Ok(()) if stop.is_cancelled() => return Ok(()),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(actor = actor.0, %error, "an account cannot be purged");
                    failed = Some(PartError(format!("account {}: {error}", actor.0)));
                }
            }
            taken_on.done();
        }
    }

    async fn purge(&self, actor: ActorId, stop: &CancellationToken) -> Result<(), StoreError> {
        // First, so that a crash between the last step and this leaves no picture.
        if let Ok(did) = Did::parse(&self.store.snapshot().did(actor)?) {
            self.media.forget(&did).await;
        }
        while !stop.is_cancelled() {
            let index = Arc::clone(&self.index);
            match self.writer.durable(move |tx| purge_step(&index, tx, actor)).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(StoreError::NoRoom) => tokio::time::sleep(AFTER_NO_ROOM).await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "purge_tests.rs"]
mod tests;
