//! Slow rounds over all accounts: a handle is looked up again after a day, a missing one after an hour.
//!
//! Bounded on purpose. Accounts that are seen or read are checked when that happens; this is for the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::checks::Checks;
use super::directory::Freshness;
use crate::schema::rows::ActorRow;
use crate::schema::{ActorId, Rows};
use crate::store::{Reader, Store, StoreError};
use crate::syntax::Did;

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Accounts looked at in one step, and checks begun from it.
const ROWS: usize = 2000;
const DUE: usize = 20;
const STEP: Duration = Duration::from_secs(1);
/// After a round.
const PAUSE: Duration = Duration::from_secs(300);
/// No more is added while this many checks wait.
const BUSY: usize = 100;

/// Runs until it is dropped.
pub(crate) async fn run(store: Store, checks: Arc<Checks>) {
    let mut next = ActorId(0);
    loop {
        sleep(STEP).await;
        if checks.pending() > BUSY {
            continue;
        }
        let (store, now) = (store.clone(), checks.clock.now_ms());
        let page = tokio::task::spawn_blocking(move || due(&store.snapshot(), next, now)).await;
        // Its end is seen, and ingest begins anew.
        let Ok(Ok((dids, after))) = page else { return };
        for did in dids {
            checks.check_handle(&did, Freshness::Recent);
        }
        match after {
            Some(after) => next = after,
            None => {
                next = ActorId(0);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Accounts from `next` on whose handle is due, and where to go on; `None` at the end.
fn due(
    reader: &impl Reader,
    next: ActorId,
    now: i64,
) -> Result<(Vec<Did>, Option<ActorId>), StoreError> {
    let (mut found, mut seen, mut after) = (Vec::new(), 0, None);
    reader.each_actor(next, &mut |actor, row| {
        if seen >= ROWS || found.len() >= DUE {
            after = Some(actor);
            return false;
        }
        seen += 1;
        if is_due(row, now) {
            found.push(actor);
        }
        true
    })?;
    let mut dids = Vec::with_capacity(found.len());
    for actor in found {
        match reader.did(actor) {
            Ok(did) => dids.extend(Did::parse(&did).ok()),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => tracing::error!(%error, "an account without a DID is passed over"),
        }
    }
    Ok((dids, after))
}

fn is_due(row: &ActorRow, now: i64) -> bool {
    let age = if row.handle.is_some() { DAY_MS } else { HOUR_MS };
    let passed = now.saturating_sub(row.handle_checked);
    // What was looked at in the future was so by a clock that was wrong.
    !row.status.is_gone() && (passed > age || passed < -DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::AccountStatus;

    #[test]
    fn a_handle_is_due_after_a_day_and_none_after_an_hour() {
        let row = |handle: Option<&str>, handle_checked| ActorRow {
            handle: handle.map(str::to_owned),
            handle_checked,
            ..ActorRow::default()
        };
        let now = 100 * DAY_MS;
        for (handle, age, want) in [
            (Some("a.example"), HOUR_MS * 23, false),
            (Some("a.example"), HOUR_MS * 25, true),
            (None, HOUR_MS / 2, false),
            (None, HOUR_MS * 2, true),
            (None, now, true),
            (Some("a.example"), -DAY_MS * 2, true),
        ] {
            assert_eq!(is_due(&row(handle, now - age), now), want, "{handle:?} {age}");
        }
        let gone = ActorRow { status: AccountStatus::OptedOut, ..row(None, 0) };
        assert!(!is_due(&gone, now));
    }
}
