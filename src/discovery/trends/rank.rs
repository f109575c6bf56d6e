//! Which topics are shown: those that more people write of than usual who have nothing to do with one another.

use std::cmp::Reverse;

use rustc_hash::FxHashSet;

use super::super::{fit, suggest};
use super::topics::Kind;
use super::window::{Author, QUARTERS, Slot};
use crate::hydrate::{ActorId, Counter, Hydrator, Result, Target};
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows as _, graph};

/// Fewer are no trend, nor is what scores less.
const FEWEST: f64 = 5.0;
const LEAST: f64 = 2.0;
/// Topics that are looked at closely, and that are shown.
const LOOKED_AT: usize = 96;
const SHOWN: usize = 64;
/// Authors of a topic that are looked at, followers of each of them, and how many of those have to be others.
const SOME: usize = 48;
const FOLLOWERS: usize = 64;
const OTHERS: usize = 2;
/// Authors that are kept to be shown.
const KEPT: usize = 16;
/// Bits that differ in texts that are the same but for a word.
const ALIKE: u32 = 3;

/// A topic that may be a trend.
pub(super) struct Candidate {
    pub(super) key: u64,
    pub(super) slot: Slot,
    /// How many are expected to write of it.
    pub(super) expected: f64,
}

impl Candidate {
    /// The best score that it can have.
    fn possible(&self) -> f64 {
        score(suggest::real(self.slot.authors.len() as u64), self.expected)
    }
}

/// One that is a trend.
pub(super) struct Found {
    pub(super) key: u64,
    pub(super) slot: Slot,
    pub(super) score: f64,
    pub(super) expected: f64,
    /// Those of the authors who have nothing to do with one another, most followed first.
    pub(super) independent: Vec<ActorId>,
}

fn score(independent: f64, expected: f64) -> f64 {
    (independent - expected) / (expected + 1.0).sqrt()
}

/// Whether so many authors may be a trend.
pub(super) fn may_be(authors: usize, expected: f64) -> bool {
    let authors = suggest::real(authors as u64);
    authors >= FEWEST && score(authors, expected) > LEAST
}

/// The trends among topics, the first one first.
pub(super) fn trends(h: &Hydrator<'_>, mut topics: Vec<Candidate>) -> Result<Vec<Found>> {
    topics.sort_by(|a, b| b.possible().total_cmp(&a.possible()).then(a.key.cmp(&b.key)));
    topics.truncate(LOOKED_AT);
    let mut found = Vec::new();
    for Candidate { key, slot, expected } in topics {
        let (count, independent) = independent(h, &slot.authors)?;
        let score = score(count, expected);
        if count >= FEWEST && score > LEAST {
            found.push(Found { key, slot, score, expected, independent });
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
    let mut found = without_the_same(found);
    found.truncate(SHOWN);
    Ok(found)
}

/// About how many authors there are of whom none follows the other only because they belong together, and the best known
/// of them.
fn independent(h: &Hydrator<'_>, authors: &[Author]) -> Result<(f64, Vec<ActorId>)> {
    let all: FxHashSet<u32> = authors.iter().map(|author| author.id).collect();
    // Of those who wrote nearly the same one counts.
    let mut of_texts: Vec<&Author> = Vec::new();
    for author in authors {
        let alike = |other: &&Author| {
            author.likeness != 0
                && other.likeness != 0
                && (author.likeness ^ other.likeness).count_ones() <= ALIKE
        };
        if !of_texts.iter().any(alike) {
            of_texts.push(author);
        }
    }
    let texts = of_texts.len();
    of_texts.sort_by_key(|author| suggest::spread(ActorId(author.id)));
    of_texts.truncate(SOME);
    let mut known = Vec::new();
    for author in &of_texts {
        let id = ActorId(author.id);
        if is_independent(h, id, &all)? {
            known.push((Reverse(h.snapshot.agg(Target::Actor(id))?.get(Counter::Followers)), id));
        }
    }
    let share = suggest::real(known.len() as u64) / suggest::real(of_texts.len().max(1) as u64);
    known.sort_unstable();
    known.truncate(KEPT);
    let ids = known.into_iter().map(|(_, id)| id).collect();
    Ok((suggest::real(texts as u64) * share, ids))
}

/// Whether somebody is there, not marked as a nuisance, and followed by two who do not write of the same.
fn is_independent(h: &Hydrator<'_>, id: ActorId, authors: &FxHashSet<u32>) -> Result<bool> {
    let account = Target::Actor(id);
    if h.shared.takedowns.contains(account) || !fit::counts(h, id)? {
        return Ok(false);
    }
    let fans = graph::some_fans(h.snapshot, EdgeKind::Follow, account, FOLLOWERS)?;
    Ok(fans.iter().filter(|fan| !authors.contains(&fan.0)).count() >= OTHERS)
}

/// Of topics that the same people write of one: a tag before words before a link, unless it has much fewer authors.
fn without_the_same(found: Vec<Found>) -> Vec<Found> {
    let mut out: Vec<(Found, FxHashSet<u32>)> = Vec::new();
    for one in found {
        let authors: FxHashSet<u32> = one.slot.authors.iter().map(|author| author.id).collect();
        let same = |(_, others): &&mut (Found, FxHashSet<u32>)| {
            let both = authors.intersection(others).count();
            10 * both >= 7 * authors.len().min(others.len())
        };
        match out.iter_mut().find(same) {
            None => out.push((one, authors)),
            Some((known, others)) => {
                let kinds: (Kind, Kind) = (one.slot.kind, known.slot.kind);
                if kinds.0 < kinds.1 && 2 * authors.len() >= others.len() {
                    (*known, *others) = (Found { score: known.score, ..one }, authors);
                }
            }
        }
    }
    out.into_iter().map(|(found, _)| found).collect()
}

/// When a topic began to be written of more than usual: the begin of the quarters up to now with more posts than are
/// expected of one, or its first post here.
pub(super) fn rise(
    slot: &Slot,
    now_quarter: u32,
    expected: f64,
    begin: impl Fn(u32) -> i64,
) -> i64 {
    let usual = expected / f64::from(QUARTERS);
    let oldest = now_quarter.saturating_sub(QUARTERS - 1);
    let rising = |q: &u32| suggest::real(slot.posts(*q, *q + 1)) > usual;
    // The quarter that has just begun may have nothing yet.
    let newest = if rising(&now_quarter) { now_quarter } else { now_quarter.saturating_sub(1) };
    let first = (oldest..=newest).rev().take_while(rising).last().unwrap_or(now_quarter);
    begin(first).max(slot.first)
}
