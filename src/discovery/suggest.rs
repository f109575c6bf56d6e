//! Whom a viewer may want to follow, from whom those follow whom they follow.
//!
//! ```text
//! step 1  for each f of the sources, each x of at most 300 follows of f:  n(x) += 1
//!         s1 = n / sqrt(3 + followers(x));  the best 200 who may be suggested are kept
//! step 2  N = those near the viewer and the best 40 of step 1
//!         s = s1 * |the 64 newest followers of x that are in N| / (3 + min(64, followers(x)))
//! ```
//!
//! The first step alone finds the famous, whom everybody follows; the second asks whether who follows somebody is near
//! the viewer. Who did not post for 30 days comes last.

use std::hash::Hash;

use rustc_hash::{FxHashMap, FxHashSet};

use super::fit;
use crate::hydrate::{ActorId, Counter, Hydrator, Result, Target};
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows, graph};

/// Follows of a viewer that are known of, the newest: nobody among them is suggested.
const KNOWN: usize = 10_000;
/// The newest follows of the viewer from which suggestions come, and how many of the older ones.
const NEWEST: usize = 300;
const OLDER: usize = 200;
/// Newest followers of an account from which suggestions like it come.
const FANS: usize = 500;
/// Follows of each that count.
const OF_EACH: usize = 300;
/// Accounts whose followers are counted, at most.
const COUNTED: usize = 4_000;
/// Accounts of which it is asked whether they may be suggested, and how many are kept.
const LOOKED_AT: usize = 600;
const KEPT: usize = 200;
/// The best of the first step, who are near too.
const NEAR: usize = 40;
/// Newest followers that are looked at in the second.
const FOLLOWERS: usize = 64;
/// Who posted nothing for so long comes last.
const SILENT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A number that looks like chance and is always the same, to take some of many without favour.
pub(super) fn spread(id: ActorId) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&id.0.to_be_bytes())
}

/// Makes suggestions out of one snapshot.
pub(super) struct Suggester<'h>(pub(super) Hydrator<'h>);

impl Suggester<'_> {
    /// Whom the viewer may want to follow; nobody if they follow nobody, or only such as follow nobody.
    pub(super) fn for_viewer(&self, viewer: ActorId) -> Result<Vec<ActorId>> {
        let known = self.known(viewer)?;
        let (newest, older) = known.split_at_checked(NEWEST).unwrap_or((&known, &[]));
        let mut older = older.to_vec();
        older.sort_unstable_by_key(|id| spread(*id));
        older.truncate(OLDER);
        let mut sources = newest.to_vec();
        sources.append(&mut older);
        let mut never: FxHashSet<ActorId> = known.iter().copied().collect();
        never.insert(viewer);
        self.from(&sources, known, &never)
    }

    /// Whom a viewer follows, the newest first.
    pub(super) fn known(&self, viewer: ActorId) -> Result<Vec<ActorId>> {
        Ok(distinct(graph::newest_follows(self.0.snapshot, viewer, KNOWN)?))
    }

    /// Whom those follow who follow an account: others like it.
    pub(super) fn like(&self, actor: ActorId) -> Result<Vec<ActorId>> {
        let target = Target::Actor(actor);
        let fans = graph::newest_fans(self.0.snapshot, EdgeKind::Follow, target, FANS)?;
        let mut never = FxHashSet::default();
        never.insert(actor);
        self.from(&fans, fans.clone(), &never)
    }

    /// Both steps, from `sources`, for somebody who is near `near`.
    pub(super) fn from(
        &self,
        sources: &[ActorId],
        near: Vec<ActorId>,
        never: &FxHashSet<ActorId>,
    ) -> Result<Vec<ActorId>> {
        let ranked = self.ranked(self.counted(sources, never)?)?;
        let kept = self.kept(ranked)?;
        let mut near: FxHashSet<ActorId> = near.into_iter().collect();
        near.extend(kept.iter().take(NEAR).map(|candidate| candidate.id));
        let mut scored = Vec::with_capacity(kept.len());
        for Candidate { id, score, followers } in kept {
            let target = Target::Actor(id);
            let fans = graph::newest_fans(self.0.snapshot, EdgeKind::Follow, target, FOLLOWERS)?;
            let known = fans.iter().filter(|fan| near.contains(fan)).count();
            let seen = followers.min(FOLLOWERS as u64);
            let score = score * real(known as u64) / (3.0 + real(seen));
            scored.push((self.is_silent(id)?, Candidate { id, score, followers }));
        }
        scored.sort_by(|(silent, a), (other, b)| silent.cmp(other).then(a.better(b)));
        Ok(scored.into_iter().map(|(_, candidate)| candidate.id).collect())
    }

    /// How many of the sources follow whom, those who are followed by most first.
    fn counted(
        &self,
        sources: &[ActorId],
        never: &FxHashSet<ActorId>,
    ) -> Result<Vec<(ActorId, u32)>> {
        // With the source that was counted last: who follows somebody twice counts once.
        let mut counts: FxHashMap<ActorId, (u32, usize)> = FxHashMap::default();
        for (turn, source) in sources.iter().enumerate() {
            for id in graph::newest_follows(self.0.snapshot, *source, OF_EACH)? {
                let (count, last) = counts.entry(id).or_insert((0, usize::MAX));
                if *last != turn {
                    (*count, *last) = (*count + 1, turn);
                }
            }
        }
        let mut out: Vec<_> = counts
            .into_iter()
            .filter(|(id, _)| !never.contains(id))
            .map(|(id, (count, _))| (id, count))
            .collect();
        let order = |(id, count): &(ActorId, u32)| (std::cmp::Reverse(*count), spread(*id));
        if out.len() > COUNTED {
            out.select_nth_unstable_by_key(COUNTED, order);
            out.truncate(COUNTED);
        }
        out.sort_unstable_by_key(order);
        Ok(out)
    }

    /// The same by the score of the first step.
    fn ranked(&self, counted: Vec<(ActorId, u32)>) -> Result<Vec<Candidate>> {
        let mut out: Vec<Candidate> = Vec::new();
        // Of scores so far the one that has to be beaten.
        let mut best = std::collections::BinaryHeap::new();
        for (id, count) in counted {
            let count = u64::from(count);
            // Who is followed by so many has at least so many followers.
            let possible = real(count) / real(3 + count).sqrt();
            let beaten = best.peek().map(|std::cmp::Reverse(Score(score))| *score);
            if best.len() >= LOOKED_AT && beaten.is_some_and(|beaten| possible < beaten) {
                break;
            }
            let followers = self.0.snapshot.agg(Target::Actor(id))?.get(Counter::Followers);
            let score = real(count) / real(3 + followers).sqrt();
            best.push(std::cmp::Reverse(Score(score)));
            if best.len() > LOOKED_AT {
                best.pop();
            }
            out.push(Candidate { id, score, followers });
        }
        out.sort_by(Candidate::better);
        out.truncate(LOOKED_AT);
        Ok(out)
    }

    /// The best who may be suggested.
    fn kept(&self, ranked: Vec<Candidate>) -> Result<Vec<Candidate>> {
        let mut out = Vec::with_capacity(KEPT);
        let mut state = self.0.state();
        for some in ranked.chunks(KEPT / 4) {
            let ids: Vec<ActorId> = some.iter().map(|candidate| candidate.id).collect();
            let fit: FxHashSet<ActorId> = fit(&self.0, &mut state, &ids)?.into_iter().collect();
            out.extend(some.iter().filter(|candidate| fit.contains(&candidate.id)).copied());
            if out.len() >= KEPT {
                break;
            }
        }
        out.truncate(KEPT);
        Ok(out)
    }

    fn is_silent(&self, id: ActorId) -> Result<bool> {
        let newest = graph::newest_post(self.0.snapshot, id)?;
        Ok(newest.is_none_or(|(_, at)| at < self.0.ctx.now.saturating_sub(SILENT_MS)))
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: ActorId,
    score: f64,
    followers: u64,
}

impl Candidate {
    fn better(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

#[derive(PartialEq)]
struct Score(f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for scores, and counters stay far below 2^52")]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

/// One of each list in turn.
pub(super) fn in_turn<L: AsRef<[ActorId]>>(lists: &[L]) -> Vec<ActorId> {
    let lists = || lists.iter().map(AsRef::as_ref);
    let longest = lists().map(<[_]>::len).max().unwrap_or(0);
    (0..longest).flat_map(|n| lists().filter_map(move |list| list.get(n).copied())).collect()
}

/// Each once, where it is first.
pub(super) fn distinct<T: Copy + Eq + Hash>(mut ids: Vec<T>) -> Vec<T> {
    let mut seen = FxHashSet::default();
    ids.retain(|id| seen.insert(*id));
    ids
}
