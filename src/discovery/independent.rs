//! How many follow an account of their own accord: not so a ring of accounts that nobody follows but one another.
//!
//! A follower is independent if two others follow it who do not follow the account. Of those who follow many that is
//! asked of a few, always the same while nothing changes.

use super::{fit, suggest};
use crate::hydrate::{ActorId, Counter, Hydrator, Result, Target};
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows as _, graph};

/// Newest followers that some are taken from, and how many.
const NEWEST: usize = 256;
const SOME: usize = 32;
/// Followers of each of those that are looked at, and how many have to be others.
const OF_EACH: usize = 16;
const OTHERS: usize = 2;

/// About how many independent followers an account has.
pub(super) fn independent_followers(h: &Hydrator<'_>, id: ActorId) -> Result<u64> {
    let account = Target::Actor(id);
    let mut fans = graph::newest_fans(h.snapshot, EdgeKind::Follow, account, NEWEST)?;
    fans.sort_unstable_by_key(|fan| suggest::spread(*fan));
    fans.truncate(SOME);
    let mut independent = 0;
    for &fan in &fans {
        independent += u64::from(is_independent(h, fan, id)?);
    }
    let followers = h.snapshot.agg(account)?.get(Counter::Followers);
    Ok(followers.saturating_mul(independent) / (fans.len() as u64).max(1))
}

fn is_independent(h: &Hydrator<'_>, fan: ActorId, of: ActorId) -> Result<bool> {
    if !fit::counts(h, fan)? {
        return Ok(false);
    }
    let fans = graph::some_fans(h.snapshot, EdgeKind::Follow, Target::Actor(fan), OF_EACH)?;
    let mut others = 0;
    for other in fans {
        let follows = h.snapshot.fan(EdgeKind::Follow, Target::Actor(of), other)?;
        others += usize::from(other != of && follows.is_none());
    }
    Ok(others >= OTHERS)
}
