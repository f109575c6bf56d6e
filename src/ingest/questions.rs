//! Who asks what the index wants to know of accounts: whether one is gone, and what a changed DID document says.
//!
//! The index raises a question with a row in the batch of the event that causes it, and only about accounts of which
//! something is held. Here each is asked in its turn, at a pace that no directory minds. The queue in memory is short;
//! what does not fit in, and what gave no answer, is found in the rows, which are gone through at the start, whenever
//! something was missed, and every now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::checks::Checks;
use crate::schema::Rows;
use crate::store::{Store, StoreError};
use crate::syntax::Did;
use crate::work::recheck::{Place, Question, Questions, dues_after};

/// Questions under way at a time, of each upstream and of the rows: hosts that say nothing hold up only those of whoever
/// named their accounts.
pub(super) const SLOTS: usize = 24;
/// Rows read in one step. Few, as some are answered before their turn comes.
const PAGE: usize = 50;
/// Between two rounds over all rows. What is in them then had no answer before.
const PAUSE: Duration = Duration::from_secs(600);

/// Asks what is raised by one upstream, in turn with the others. Runs until it is dropped.
pub(crate) async fn live(checks: Arc<Checks>, questions: Arc<Questions>, line: u16) {
    let slots = Arc::new(Semaphore::new(SLOTS));
    loop {
        let question = questions.next(line).await;
        checks.live.turn().await;
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        checks.ask(question, slot, true);
        questions.taken();
    }
}

/// Asks what stands in the rows. Runs until it is dropped.
pub(crate) async fn rounds(checks: Arc<Checks>, questions: Arc<Questions>, store: Store) {
    let slots = Arc::new(Semaphore::new(SLOTS));
    // Until the end of the first round nobody knows what an earlier process left.
    let mut waiting = Some(checks.begin());
    loop {
        questions.look();
        let mut after = None;
        loop {
            let store = store.clone();
            let page = tokio::task::spawn_blocking(move || page(&store, after)).await;
            // Its end is seen, and ingest begins anew.
            let Ok(Ok((due, next))) = page else { return };
            for question in due {
                if checks.is_asked(&question) {
                    continue;
                }
                checks.rounds.turn().await;
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                checks.ask(question, slot, false);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        drop(waiting.take());
        if timeout(PAUSE, questions.missed()).await.is_ok() {
            waiting = Some(checks.begin());
            // They are missed one after the other.
            sleep(Duration::from_secs(1)).await;
        }
    }
}

fn page(store: &Store, after: Option<Place>) -> Result<(Vec<Question>, Option<Place>), StoreError> {
    let snapshot = store.snapshot();
    let (dues, next) = dues_after(&snapshot, after, PAGE)?;
    let mut questions = Vec::with_capacity(dues.len());
    for (actor, due) in dues {
        match snapshot.did(actor) {
            Ok(did) => {
                let did = Did::parse(&did).ok();
                questions.extend(did.map(|did| Question { did, due, upstream: None, line: 0 }));
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => tracing::error!(%error, "an account without a DID is passed over"),
        }
    }
    Ok((questions, next))
}
