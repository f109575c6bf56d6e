//! Feeds and starter packs for a viewer.
//!
//! ```text
//! feeds  (likes + 5 * likes by those whom the viewer follows) / likes^0.3
//! packs  members and creator among those whom the viewer follows or is suggested, then who joined within 7 days
//! ```

use std::cmp::Reverse;

use rustc_hash::FxHashSet;

use super::{fit, suggest};
use crate::hydrate::{
    ActorId, Counter, HydrationState, Hydrator, RecordId, Result, collections as c,
};
use crate::repo::fields;
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows as _, Target, graph};

/// Popular ones that are looked at, and how many are kept.
const POPULAR: usize = 200;
/// Likes of a feed that are read for it; where there are more, so many follows are looked for among them.
const LIKES: u64 = 1_000;
const LOOKED_FOR: usize = 100;
/// What a like of somebody whom the viewer follows counts.
const OF_FOLLOW: u64 = 5;
/// Creators among those whom the viewer follows that are looked at, the packs of each, and newest members of a pack.
const CREATORS: usize = 500;
const OF_CREATOR: usize = 3;
const MEMBERS: usize = 50;
/// Likes and joins of a week that are counted.
const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
const OF_WEEK: usize = 500;

/// Feeds, the best first.
pub(super) fn feeds(
    h: &Hydrator<'_>,
    popular: &[RecordId],
    follows: &[ActorId],
) -> Result<Vec<RecordId>> {
    let known: FxHashSet<ActorId> = follows.iter().copied().collect();
    let mut ranked = Vec::new();
    for &feed in popular.get(..POPULAR).unwrap_or(popular) {
        let target = Target::Record(feed);
        let likes = h.snapshot.agg(target)?.get(Counter::Likes);
        let by_follows = match follows {
            [] => 0,
            follows => likes_of(h, target, likes, follows, &known)?,
        };
        let sum = likes.saturating_add(OF_FOLLOW * by_follows);
        let score = suggest::real(sum) / suggest::real(likes.max(1)).powf(0.3);
        ranked.push((score, feed));
    }
    ranked.sort_by(|(a, feed), (b, other)| b.total_cmp(a).then(feed.cmp(other)));
    Ok(ranked.into_iter().map(|(_, feed)| feed).collect())
}

/// How many of `follows` like a target.
fn likes_of(
    h: &Hydrator<'_>,
    target: Target,
    likes: u64,
    follows: &[ActorId],
    known: &FxHashSet<ActorId>,
) -> Result<u64> {
    if likes <= LIKES {
        let most = usize::try_from(LIKES).unwrap_or(usize::MAX);
        let fans = graph::some_fans(h.snapshot, EdgeKind::Like, target, most)?;
        return Ok(fans.iter().filter(|fan| known.contains(fan)).count() as u64);
    }
    let mut count = 0;
    for &follow in follows.iter().take(LOOKED_FOR) {
        count += u64::from(h.snapshot.fan(EdgeKind::Like, target, follow)?.is_some());
    }
    Ok(count)
}

/// Feeds by likes, of as many likes those that got more of them within a week.
pub(super) fn most_liked(h: &Hydrator<'_>, popular: &[RecordId]) -> Result<Vec<RecordId>> {
    let since = h.ctx.now.saturating_sub(WEEK_MS);
    let mut ranked = Vec::new();
    for &feed in popular.get(..2 * POPULAR).unwrap_or(popular) {
        let target = Target::Record(feed);
        let likes = h.snapshot.agg(target)?.get(Counter::Likes);
        ranked.push((likes, 0, feed));
    }
    ranked.sort_unstable_by_key(|(likes, _, feed)| (Reverse(*likes), *feed));
    // Only where it decides.
    for some in ranked.chunk_by_mut(|a, b| a.0 == b.0).filter(|some| some.len() > 1) {
        for (_, week, feed) in some {
            let target = Target::Record(*feed);
            *week = graph::fans_since(h.snapshot, EdgeKind::Like, target, since, OF_WEEK)?;
        }
    }
    ranked.sort_unstable_by_key(|(likes, week, feed)| (Reverse((*likes, *week)), *feed));
    Ok(ranked.into_iter().map(|(_, _, feed)| feed).collect())
}

/// Starter packs, the best first; `near` are those whom the viewer follows or is suggested.
pub(super) fn packs(
    h: &Hydrator<'_>,
    popular: &[RecordId],
    near: &[ActorId],
) -> Result<Vec<RecordId>> {
    let mut candidates: Vec<RecordId> = popular.iter().take(POPULAR).copied().collect();
    for &creator in near.iter().take(CREATORS) {
        if h.snapshot.agg(Target::Actor(creator))?.get(Counter::StarterPacks) > 0 {
            let own = graph::newest_records(h.snapshot, creator, c::STARTERPACK, OF_CREATOR)?;
            candidates.extend(own);
        }
    }
    let mut seen = FxHashSet::default();
    candidates.retain(|pack| seen.insert(*pack));
    candidates.truncate(2 * POPULAR);
    let near: FxHashSet<ActorId> = near.iter().copied().collect();
    let since = h.ctx.now.saturating_sub(WEEK_MS);
    let mut ranked = Vec::new();
    for pack in candidates {
        let Some(list) = list_of(h, pack)? else { continue };
        let mut members: FxHashSet<ActorId> =
            graph::newest_members(h.snapshot, list, MEMBERS)?.into_iter().collect();
        members.insert(pack.actor);
        let known = members.intersection(&near).count();
        let joined = graph::joined_since(h.snapshot, pack, since, OF_WEEK)?;
        ranked.push((Reverse((known, joined)), pack));
    }
    ranked.sort_unstable();
    ranked.truncate(POPULAR);
    Ok(ranked.into_iter().map(|(_, pack)| pack).collect())
}

/// The list of a starter pack's members.
pub(super) fn list_of(h: &Hydrator<'_>, pack: RecordId) -> Result<Option<RecordId>> {
    let Some(record) = h.read_record(pack)? else { return Ok(None) };
    h.record_at(fields::text(&record.value, "list").unwrap_or_default(), c::LIST)
}

/// Those of `ids` that are there and whose creators may be shown to the viewer, in their order.
pub fn fit_records(
    h: &Hydrator<'_>,
    state: &mut HydrationState,
    ids: &[RecordId],
) -> Result<Vec<RecordId>> {
    let owners: Vec<ActorId> = ids.iter().map(|id| id.actor).collect();
    h.profiles(state, &owners)?;
    let mut out = Vec::with_capacity(ids.len());
    for &id in ids {
        h.view_record(state, id)?;
        if state.record(id).is_some() && fit::may_be_shown(h, state, id.actor)? {
            out.push(id);
        }
    }
    Ok(out)
}
