//! What becomes of a job once it was tried.

use std::sync::Arc;
use std::time::Duration;

use super::Setup;
use super::fetch::FetchError;
use crate::crypto::PublicKey;
use crate::event::{Body, Event, IdentityState};
use crate::identity::Freshness;
use crate::schema::{ActorId, Rows};
use crate::store::StoreError;
use crate::syntax::Did;
use crate::threads::Backoff;
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RESYNC_RETRY: Backoff = Backoff::new(Duration::from_secs(5), 2, Duration::from_secs(3600));
const RETRY: Backoff = Backoff::new(Duration::from_secs(60), 4, DAY);
/// A host that says no will not say yes in a minute.
const REFUSED_RETRY: Backoff = Backoff::new(Duration::from_secs(3600), 4, DAY);
/// For a DID document and a handle.
const PATIENCE: Duration = Duration::from_secs(10);

/// Jobs that follow.
pub(crate) struct Settled {
    pub(crate) added: Vec<ActorId>,
}

fn later(now: i64, duration: Duration) -> i64 {
    now.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn retry_after(job: &JobRow, definite: bool) -> Duration {
    let rule = match job.priority {
        Priority::Resync => RESYNC_RETRY,
        _ if definite => REFUSED_RETRY,
        _ => RETRY,
    };
    rule.wait(job.tries.saturating_add(1))
}

/// The job after a failure of its own, its host being left alone for `pause`.
pub(crate) fn failed(job: JobRow, error: &FetchError, pause: Duration, now: i64) -> JobRow {
    let wait = retry_after(&job, error.is_definite()).max(pause);
    JobRow {
        due: later(now, wait),
        tries: job.tries.saturating_add(1),
        cause: error.cause().to_owned(),
        detail: error.to_string(),
        ..job
    }
}

/// The job after a failure of its host, without a try of its own.
pub(crate) fn postponed(
    job: JobRow,
    host: &str,
    pause: Duration,
    error: &FetchError,
    now: i64,
) -> JobRow {
    let detail = format!("{host}: {error}");
    JobRow { due: later(now, pause), cause: "host".to_owned(), detail, ..job }
}

/// Finds out the handle of an account whose repo is in, if nobody has. Without an answer the slow rounds over all
/// accounts ask again.
pub(crate) async fn identify(setup: &Setup, did: &Did) {
    let (store, name) = (setup.store.clone(), did.clone());
    let unchecked = move || {
        let s = store.snapshot();
        let actor = s.actor_id(&name).ok().flatten();
        let row = actor.and_then(|actor| s.actor(actor).ok().flatten());
        row.is_some_and(|row| row.handle_checked == 0)
    };
    if !tokio::task::spawn_blocking(unchecked).await.unwrap_or(false) {
        return;
    }
    let look = async {
        let doc = setup.identity.resolve_did(did, Freshness::Cached).await.ok()?;
        let handle = setup.identity.verify_handle(did, Freshness::Cached).await.ok()?;
        Some(IdentityState {
            handle: handle.map(|handle| handle.as_str().to_owned()),
            key: doc.signing_key().map(PublicKey::to_did_key),
            pds: doc.pds().map(str::to_owned),
        })
    };
    if let Ok(Some(state)) = tokio::time::timeout(PATIENCE, look).await {
        let event = Event::found_here(did.clone(), setup.clock.now_ms(), Body::Identity(state));
        // An error means that everything ends.
        let _ = setup.sink.apply_parts(did.clone(), vec![event]).await;
    }
}

/// Takes a job away, with what follows from it, or writes what it is from now on.
pub(crate) async fn settle(
    setup: &Arc<Setup>,
    actor: ActorId,
    did: Option<Did>,
    job: JobRow,
    end: Result<(), JobRow>,
) -> Result<Settled, StoreError> {
    // Before the job is gone, so that a crash does not leave the account without.
    if let (Some(did), Ok(())) = (&did, &end) {
        identify(setup, did).await;
    }
    let follow = match (&end, job.priority) {
        (Ok(()), Priority::Member | Priority::Follow) => {
            let (setup, priority) = (Arc::clone(setup), job.priority);
            let next = move || setup.follow_up.next(actor, priority);
            tokio::task::spawn_blocking(next).await.map_err(|_| StoreError::Closed)??
        }
        _ => Vec::new(),
    };
    let clock = setup.clock.clone();
    let work = setup.writer.visible(move |tx| {
        let now = clock.now_ms();
        // Raised, or taken away with its account, since it began.
        let Some(stored) = jobs::get(tx, actor)? else { return Ok(Settled { added: Vec::new() }) };
        let marked = tx.repo(actor)?.is_some_and(|row| row.resync.is_some());
        let raised = stored.priority < job.priority || stored.force != job.force;
        let next = match end {
            // Asked for by somebody else meanwhile, who does not wait as long.
            Err(next) if raised => {
                let (priority, force) = (stored.priority, stored.force);
                Some(JobRow { priority, force, due: now, ..next })
            }
            Err(next) => Some(next),
            // Somebody else wants more than was done: a scope may have left some out, and what follows on the repo of a
            // member does not on that of a stranger. If all of it came, it is not fetched again.
            Ok(()) if raised => Some(JobRow { due: now, ..stored }),
            Ok(()) if marked => Some(behind(&stored, now)),
            Ok(()) => None,
        };
        if job.source != 0
            && let Some(mut source) = jobs::source(tx, job.source)?
        {
            source.done += u64::from(next.is_none());
            source.failed += u64::from(next.as_ref().is_some_and(|n| n.tries == 1));
            jobs::put_source(tx, job.source, &source);
        }
        match next {
            Some(next) => jobs::put(tx, actor, &next)?,
            None => drop(jobs::remove(tx, actor)?),
        }
        let mut added = Vec::new();
        for (actor, priority) in follow {
            if jobs::add(tx, actor, &JobRow::new(priority, now))? != jobs::Added::Known {
                added.push(actor);
            }
        }
        Ok(Settled { added })
    });
    work.await
}

/// The host gave an older repo than the stream has, or the account was not kept from the beginning.
fn behind(job: &JobRow, now: i64) -> JobRow {
    let wait = retry_after(&JobRow { priority: Priority::Resync, ..job.clone() }, false);
    JobRow {
        due: later(now, wait),
        tries: job.tries.saturating_add(1),
        cause: "behind".to_owned(),
        detail: "what the host gave is older than its stream, or all of it is kept only since"
            .to_owned(),
        ..job.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow() {
        let waits = |priority, definite| -> Vec<u64> {
            let job = |tries| JobRow { tries, ..JobRow::new(priority, 0) };
            [0, 1, 2, 14].map(|tries| retry_after(&job(tries), definite).as_secs()).to_vec()
        };
        assert_eq!(waits(Priority::Resync, true), [5, 10, 20, 3600]);
        assert_eq!(waits(Priority::Listed, false), [60, 240, 960, 86400]);
        assert_eq!(waits(Priority::Asked, true), [3600, 14400, 57600, 86400]);
    }
}
