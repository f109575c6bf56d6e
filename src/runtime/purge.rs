//! Takes away what deleted accounts had, and what accounts want deleted here, one bounded step of the writer at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::index::{Index, purge_step};
use crate::media::Media;
use crate::schema::{ActorId, Rows};
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::work::purge;

/// Before the next try when the disk is full.
const AFTER_NO_ROOM: Duration = Duration::from_secs(5);

/// Works off the accounts that an earlier run left and those that come.
pub(super) async fn run(
    store: Store,
    writer: Writer,
    index: Arc<Index>,
    media: Arc<Media>,
    requests: flume::Receiver<ActorId>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let left = purge::purges(&store.snapshot())?;
    let mut left: Vec<ActorId> = left.into_iter().map(|(actor, _)| actor).collect();
    let waiting = index.purging();
    waiting.fetch_add(left.len(), Ordering::Relaxed);
    loop {
        let actor = match left.pop() {
            Some(actor) => actor,
            None => tokio::select! {
                () = stop.cancelled() => return Ok(()),
                request = requests.recv_async() => match request {
                    Ok(actor) => actor,
                    Err(_) => return Ok(()),
                },
            },
        };
        // First, so that a crash between the last step and this leaves no picture.
        match store.snapshot().did(actor).map(|did| Did::parse(&did)) {
            Ok(Ok(did)) => media.forget(&did).await,
            Err(error) if error.is_fatal() => return Err(error),
            // Without a DID there is no picture to be found.
            Ok(Err(_)) | Err(_) => {}
        }
        loop {
            if stop.is_cancelled() {
                return Ok(());
            }
            let index = Arc::clone(&index);
            match writer.durable(move |tx| purge_step(&index, tx, actor)).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(StoreError::NoRoom) => tokio::time::sleep(AFTER_NO_ROOM).await,
                Err(error) if error.is_fatal() || matches!(error, StoreError::Closed) => {
                    return Err(error);
                }
                // The writer counted and named what is in the way. The account stays on the list for the next start.
                Err(_) => break,
            }
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
