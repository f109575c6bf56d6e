//! Handles that documents claim: looked up one after the other, with what the stream leaves.
//!
//! The index keeps them in rows, see [`crate::work::handles`]; here are only those under way. While frames of an upstream
//! pile up, few are looked up; otherwise as many as there are slots for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::checks::Checks;
use super::directory::{Directory, Freshness};
use super::feed::Feed;
use crate::event::HandleAnswer;
use crate::schema::{ActorId, Rows};
use crate::store::{Store, StoreError};
use crate::syntax::{Did, Handle};
use crate::telemetry::counters::Counters;
use crate::threads::Paced;
use crate::work::handles::{self, Claim};
use crate::work::recheck::Questions;

static LOOKUPS: Counters = Counters::new("ingest.handle-failed");

/// Look-ups at a time.
const SLOTS: usize = 24;
/// Claims read in one step.
const PAGE: usize = 64;
/// For one look-up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What looks them up needs.
pub(crate) struct Setup {
    pub(crate) store: Store,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) checks: Arc<Checks>,
    pub(crate) feeds: Vec<Arc<Feed>>,
    /// How often one is looked up while frames pile up.
    pub(crate) aside: Paced,
}

/// Places of claims that are under way, and whether their answers were handed on: until that is seen in the store they are
/// not looked up once more.
type UnderWay = Arc<Mutex<HashMap<(i64, ActorId), bool>>>;

/// Runs until it is dropped.
pub(crate) async fn run(setup: Setup) {
    let slots = Arc::new(Semaphore::new(SLOTS));
    let under_way = UnderWay::default();
    loop {
        let (store, passed_over) = (setup.store.clone(), Arc::clone(&under_way));
        let page = tokio::task::spawn_blocking(move || page(&store, &passed_over)).await;
        // Its end is seen, and ingest begins anew.
        let Ok(Ok(claims)) = page else { return };
        if claims.is_empty() {
            setup.questions.claims.added().await;
            continue;
        }
        for (did, claim) in claims {
            if setup.feeds.iter().any(|feed| feed.is_behind()) {
                setup.aside.turn().await;
            }
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let place = (claim.due, claim.actor);
            under_way.lock().insert(place, false);
            let (directory, checks) = (Arc::clone(&setup.directory), Arc::clone(&setup.checks));
            let under_way = Arc::clone(&under_way);
            setup.checks.spawn("a look-up of a handle", async move {
                let Claim { due, read, handle, .. } = claim;
                let holds = leads_to(&*directory, &handle, &did).await;
                checks.answered(did, HandleAnswer { due, read, handle, holds }).await;
                under_way.lock().insert(place, true);
                drop(slot);
            });
        }
    }
}

fn page(store: &Store, under_way: &UnderWay) -> Result<Vec<(Did, Claim)>, StoreError> {
    // In this order: what is handed on after the snapshot is still in it.
    let mut places = under_way.lock().clone();
    let snapshot = store.snapshot();
    let claims =
        handles::waiting(&snapshot, PAGE, |due, actor| places.remove(&(due, actor)).is_some())?;
    // Those left over were not met: their rows are gone, as the oldest come first.
    under_way.lock().retain(|place, _| places.get(place) != Some(&true));
    let mut out = Vec::with_capacity(claims.len());
    for claim in claims {
        match snapshot.did(claim.actor) {
            Ok(did) => out.extend(Did::parse(&did).ok().map(|did| (did, claim))),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => tracing::error!(%error, "an account without a DID is passed over"),
        }
    }
    Ok(out)
}

/// Whether a handle leads to the DID. Without an answer it does not, until the rounds over all accounts ask again.
async fn leads_to(directory: &dyn Directory, handle: &str, did: &Did) -> bool {
    let Ok(handle) = Handle::parse(handle) else { return false };
    match timeout(PATIENCE, directory.handle_owner(&handle, Freshness::Cached)).await {
        Ok(Ok(owner)) => owner.as_ref() == Some(did),
        Ok(Err(error)) => {
            LOOKUPS.inc(error.cause());
            false
        }
        Err(_) => {
            LOOKUPS.inc("patience");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::testing::*;
    use super::*;
    use crate::event::Body;
    use crate::schema::Edit as _;
    use crate::store::Writer;
    use crate::threads::Pace;

    /// Has a handle of an account looked up.
    async fn claim(writer: &Writer, did: &Did, of: &Account, at: i64) {
        let handle = format!("{}.example", of.did.rsplit(':').next().unwrap());
        let did = did.clone();
        let put = move |tx: &mut crate::store::Tx<'_>| {
            let actor = tx.intern_actor(&did)?;
            handles::add(tx, actor, at, &handle)
        };
        assert!(writer.visible(put).await.unwrap());
    }

    fn accounts(count: usize) -> Vec<Account> {
        (0..count).map(|n| Account::new(&format!("did:plc:a{n}"))).collect()
    }

    fn answers(sink: &Collected) -> Vec<(Did, bool)> {
        let answer = |event: &crate::event::Event| match &event.body {
            Body::Handle(answer) => Some((event.did.clone(), answer.holds)),
            _ => None,
        };
        sink.aside.lock().iter().filter_map(answer).collect()
    }

    #[tokio::test]
    async fn what_waits_is_looked_up_at_each_start_and_once_in_each() {
        let accounts = accounts(100);
        let (_dir, store) = store();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        for (n, account) in (0..).zip(&accounts[..98]) {
            claim(&writer, &account.did, account, n).await;
        }
        // This sink takes no rows away, as if the process had ended before.
        for begun in [98, 99] {
            let (directory, sink) = (Documents::of(&accounts), Collected::new());
            let ingest = start(options(&Relay::of(vec![]).await), &store, &directory, &sink);
            until("those that wait", || answers(&sink).len() >= begun).await;
            // A new one, whose handle leads to somebody else.
            let new = &accounts[begun];
            claim(&writer, &new.did, &accounts[0], 1000 + i64::try_from(begun).unwrap()).await;
            sink.questions.claims.one_more();
            until("the new one", || answers(&sink).len() > begun).await;
            ingest.stop().await;
            let mut answers = answers(&sink);
            answers.sort();
            let mut want: Vec<(Did, bool)> =
                (0..=begun).map(|n| (accounts[n].did.clone(), n < 98)).collect();
            want.sort();
            assert_eq!(answers, want);
        }
    }

    #[tokio::test]
    async fn few_are_looked_up_while_frames_pile_up() {
        let accounts = accounts(60);
        let (_dir, store) = store();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        for (n, account) in (0..).zip(&accounts) {
            claim(&writer, &account.did, account, n).await;
        }
        let mut busy = Account::new("did:plc:busy");
        let frames: Vec<_> = (1..=20).map(|seq| busy.commit(seq, 100_000)).collect();
        let all = accounts.iter().chain([&busy]);
        let (directory, sink) = (Documents::of(all), Collected::gated(0));
        // They come when as many handles are asked for as may be.
        let names = Arc::clone(&directory);
        let relay = Relay::start(move |_, _| {
            if names.names_asked.load(Ordering::SeqCst) < SLOTS {
                return vec![Step::Close];
            }
            frames.iter().cloned().map(Step::Send).collect()
        });
        let mut options = options(&relay.await);
        options.timing.handles_aside = Pace { burst: 3, every: Duration::from_secs(3600) };
        options.queue_bytes = 1 << 20;
        directory.names_hang.store(true, Ordering::SeqCst);
        let ingest = start(options, &store, &directory, &sink);
        until("frames pile up", || ingest.status()[0].queue_bytes > 1 << 19).await;
        directory.names_hang.store(false, Ordering::SeqCst);
        directory.release.notify_waiters();
        // One may have looked at the frames before.
        until("some", || answers(&sink).len() >= SLOTS + 3).await;
        assert!(answers(&sink).len() <= SLOTS + 4, "{}", answers(&sink).len());
        sink.gate.add_permits(1000);
        ingest.stop().await;
    }
}
