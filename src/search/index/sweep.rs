//! Looks over all accounts, again and again, for those that by now have more followers than the index knows, or fewer.
//!
//! A follow changes no account's document: there are more of them than of anything else but likes, and what is asked of the
//! number is only who comes first. So the counters are looked through in small pieces, and an account is written again when
//! its followers have doubled.

use std::time::{Duration, Instant};

use super::error::IndexError;
use super::set::Seen;
use crate::schema::rows::Counter;
use crate::schema::{ActorId, counted};
use crate::store::Snapshot;

/// Accounts that are looked at at a time.
const PIECE: usize = 4_096;
/// Followers from which on an account is looked up: most have fewer, and nobody looks for them by that.
const FEWEST: u64 = 4;
/// After all accounts it rests so many times as long as after a piece.
const REST: u32 = 100;

/// How far it is.
pub(super) struct Sweep {
    from: ActorId,
    next: Instant,
}

impl Sweep {
    /// From the first account on, from now on.
    pub(super) fn new() -> Self {
        Self { from: ActorId(0), next: Instant::now() }
    }

    /// How long it rests still.
    pub(super) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Gives the accounts of the next piece that are to be written again, if it is time for it.
    pub(super) fn piece(
        &mut self,
        s: &Snapshot,
        seen: &Seen,
        interval: Duration,
    ) -> Result<Vec<ActorId>, IndexError> {
        if !self.wait().is_zero() {
            return Ok(Vec::new());
        }
        let (mut rows, mut next, mut known) = (0, None, Vec::new());
        counted::each_counted_account(s, self.from, &mut |actor, counts| {
            if rows == PIECE {
                next = Some(actor);
                return false;
            }
            rows += 1;
            let followers = counts.get(Counter::Followers);
            if followers >= FEWEST {
                known.push((actor, followers));
            }
            true
        })?;
        let mut changed = Vec::new();
        for (actor, followers) in known {
            let indexed = seen.actors.followers_of(&seen.accounts, actor)?;
            if indexed.is_some_and(|indexed| indexed.ilog2() != followers.ilog2()) {
                changed.push(actor);
            }
        }
        self.from = next.unwrap_or(ActorId(0));
        let rest = if next.is_some() { interval } else { interval * REST };
        self.next = Instant::now() + rest;
        Ok(changed)
    }
}
