//! What goes from the log: what every follower has passed once it is old enough to be replayed to nobody, and the oldest
//! in any case when there is too much. Whoever falls out is told so when it reads on.
//!
//! # Invariants
//! - The newest row stays, since the next number and time follow from it.
//! - Nobody reads on over a hole: the bound moves before rows go.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::log::Bounds;
use super::row::{self, Head};
use super::{ChangesError, Log};
use crate::store::{Ks, Reader, StoreError, Tx, Writer};

/// How long and how much the log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So long for those who want to read it again, though everybody here has passed it.
    pub age: Duration,
    /// Not more than so many bytes, whoever has not passed them.
    pub bytes: u64,
}

/// 36 hours, 2 GB.
pub const KEEP: Keep = Keep { age: Duration::from_secs(36 * 3600), bytes: 2_000_000_000 };

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Rows that go in one step: twice as many as are written in [`EVERY`] at 20,000 changes a second.
const STEP: usize = 800;

/// Trims until `stop`, whenever `may` says that the clock is believed.
pub async fn run(
    log: Arc<Log>,
    writer: Writer,
    may: impl Fn() -> bool,
    stop: CancellationToken,
) -> Result<(), ChangesError> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        while !stop.is_cancelled() {
            let now_us = super::log::now_us();
            if !may() {
                break;
            }
            match once(&log, &writer, KEEP, now_us).await {
                Ok(true) => {}
                // Without room nothing is written, so nothing has to go either.
                Ok(false) | Err(ChangesError::Store(StoreError::NoRoom)) => break,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes away some of what has to go; whether there may be more.
pub(super) async fn once(
    log: &Arc<Log>,
    writer: &Writer,
    keep: Keep,
    now_us: u64,
) -> Result<bool, ChangesError> {
    let mut passed = u64::MAX;
    for follower in log.followers() {
        let name = follower.name();
        let position = follower.position();
        let position = position.map_err(|cause| ChangesError::Follower { name, cause })?;
        // One that has nothing needs nothing: it begins at the tip.
        passed = passed.min(position.in_log().unwrap_or(u64::MAX));
    }
    // Without a follower nobody reads it again.
    let age = if log.followers().is_empty() { Duration::ZERO } else { keep.age };
    let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
    let may = May { passed, before_us: now_us.saturating_sub(age_us), bytes: keep.bytes };
    if !log.has_old(may)? {
        return Ok(false);
    }
    let log = Arc::clone(log);
    Ok(writer.visible(move |tx| log.step(tx, may)).await? >= STEP)
}

/// What may go.
#[derive(Debug, Clone, Copy)]
struct May {
    /// Everybody is at this number.
    passed: u64,
    /// What is older is replayed to nobody.
    before_us: u64,
    bytes: u64,
}

impl Log {
    fn goes(&self, may: May, first: u64, head: Head) -> bool {
        let passed = first.saturating_add(head.count) <= may.passed;
        let old = passed && head.last_us() < may.before_us;
        old || self.bytes().saturating_sub(head.before) > may.bytes
    }

    /// Rows from the oldest on that may go, up to `most`, and the number that is the oldest then. The newest is none.
    fn old<R: Reader>(&self, r: &R, may: May, most: usize) -> Result<(Vec<u64>, u64), StoreError> {
        let (mut going, mut oldest) = (Vec::new(), self.oldest());
        // One that does not decode is read by nobody and goes once everybody is behind it.
        let damaged = Head { count: 1, time_us: 0, before: u64::MAX };
        r.scan(Ks::Events, &row::key(oldest), None, false, &mut |k, v| {
            let Some(first) = row::first_of(k) else { return true };
            let head = Head::decode(v).unwrap_or(damaged);
            // The one before is known not to be the newest.
            oldest = first;
            let goes = going.len() < most && self.goes(may, first, head);
            if goes {
                going.push(first);
            }
            goes
        })?;
        going.retain(|first| *first < oldest);
        Ok((going, oldest))
    }

    fn has_old(&self, may: May) -> Result<bool, StoreError> {
        Ok(!self.old(&self.store.snapshot(), may, 1)?.0.is_empty())
    }

    /// One step of the writer; how many rows went.
    fn step(&self, tx: &mut Tx<'_>, may: May) -> Result<usize, StoreError> {
        let (going, oldest) = self.old(tx, may, STEP)?;
        if going.is_empty() {
            return Ok(0);
        }
        self.tail.begins_at(oldest);
        going.iter().for_each(|first| tx.del(Ks::Events, &row::key(*first)));
        let bounds = Bounds::load(tx)?;
        Bounds { oldest, ..bounds }.save(tx);
        Ok(going.len())
    }
}
