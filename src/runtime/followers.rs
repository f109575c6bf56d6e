//! Who follows the log of changes, each on a thread of its own, and the trimming of the log.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::changes::{Follower, Log, catch_up, trim};
use crate::store::Writer;

/// Everything that follows. A new one is a folder of its own and a line here.
pub(super) fn all() -> Vec<Arc<dyn Follower>> {
    Vec::new()
}

/// Runs until `stop`.
pub(super) async fn run(log: Arc<Log>, writer: Writer, stop: CancellationToken) {
    let mut threads = Vec::new();
    for follower in log.followers() {
        let (log, follower) = (Arc::clone(&log), Arc::clone(follower));
        let (runtime, stop) = (Handle::current(), stop.clone());
        threads.push(tokio::task::spawn_blocking(move || {
            let name = follower.name();
            if let Err(error) = catch_up::follow(&log, &*follower, &runtime, &stop) {
                tracing::error!(follower = name, %error, "it follows no more until the next start");
            }
        }));
    }
    if let Err(error) = trim::run(log, writer, stop).await {
        tracing::error!(%error, "the log of changes is not trimmed any more until the next start");
    }
    for thread in threads {
        let _ = thread.await;
    }
}
