//! What is popular in the whole store, looked through now and then: who is followed most and which of them belong
//! together, which feeds are liked most, which starter packs bring people, and which words people say of themselves.
//!
//! It goes through the counters of accounts and of records, in small pieces with rests between them, and reads more only
//! of a fixed number of the largest. What it finds is what is suggested to who follows nobody yet.

use std::cmp::Reverse;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use super::about::{About, Collected};
use super::communities::communities;
use super::ground::Ground;
use super::independent::independent_followers;
use super::top::Top;
use super::{fit, suggest, words};
use crate::hydrate::graph::CURATELIST;
use crate::hydrate::{ActorId, Counter, Hydrator, RecordId, Result, Rkey, collections as c};
use crate::repo::fields;
use crate::schema::rows::{AggRow, EdgeKind};
use crate::schema::{CollId, Rows as _, Target, counted, graph};
use crate::store::{Snapshot, StoreError};

/// Accounts that are followed most, of which communities are made; more would not fit into sixteen bits.
pub(super) const ACCOUNTS: usize = 50_000;
/// What is kept in memory of each while it is looked through.
pub(super) const ACCOUNT_BYTES: u64 = 240;
/// Follows of each that are read, and ties to others of them that count.
const FOLLOWS: usize = 300;
const TIES: usize = 24;
/// Feeds and starter packs that are held, and lists that are looked at.
const RECORDS: usize = 2_000;
/// Communities of which more is known, the accounts that are looked at of each, and the fewest it has.
const COMMUNITIES: usize = 32;
const OF_EACH: usize = 100;
const FEWEST: usize = 3;
/// Accounts for who follows nobody.
const COLD: usize = 300;
/// Feeds whose likes are looked at, and how many of them.
const FEEDS: usize = 300;
const LIKES: usize = 64;
/// Rows that are looked at, and accounts that are read, before the next rest.
const ROWS_AT_ONCE: usize = 20_000;
const AT_ONCE: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// When, milliseconds since the epoch; 0 if never.
    pub(super) made_at: i64,
    /// The largest first.
    pub(super) communities: Vec<Community>,
    /// Accounts for who follows nobody, and the language of each, if it posts.
    pub(super) cold: Vec<(ActorId, String)>,
    /// Feeds by likes.
    pub(super) feeds: Vec<RecordId>,
    /// Starter packs by who joined through them.
    pub(super) packs: Vec<RecordId>,
    /// Who and what is about which word.
    pub(super) about: About,
}

/// Accounts that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Community {
    /// How many they are, of those who are followed most.
    pub(super) size: usize,
    /// The best of them, by independent followers.
    pub(super) best: Vec<ActorId>,
    /// The word that their profiles have in common and those of others have not.
    pub(super) word: Option<String>,
    /// The feed that is theirs.
    pub(super) feed: Option<RecordId>,
}

/// Why a survey came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("it was told to stop")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Done<T> = std::result::Result<T, Ended>;

/// Looks through a store.
pub(super) struct Surveyor<'a> {
    pub(super) ground: &'a Ground<'a>,
    /// How many accounts are looked at closely.
    pub(super) accounts: usize,
}

impl Surveyor<'_> {
    /// Does a piece of work and rests.
    fn piece<T>(&self, work: impl FnOnce(&Hydrator<'_>) -> Result<T>) -> Done<T> {
        if (self.ground.stop)() {
            return Err(Ended::Stopped);
        }
        let begun = Instant::now();
        let done = self.ground.read(work)?;
        if self.ground.rest > 0 {
            std::thread::sleep(begun.elapsed() * self.ground.rest);
        }
        Ok(done)
    }

    /// Looks through all of it.
    pub(super) fn look(&self) -> Done<Survey> {
        let top = self.most_followed()?;
        let mut records = self.most_counted()?;
        let mut of = |coll| records.remove(&coll).unwrap_or_default();
        let (feeds, packs, lists) = (of(c::GENERATOR), of(c::STARTERPACK), of(c::LIST));
        let about = self.about(&top, packs.iter().chain(&lists))?;
        let (groups, others) = groups(communities(top.len(), &self.ties(&top)?));
        let mut found = Vec::new();
        for places in groups.iter().chain([&others]) {
            let known = places.iter().take(OF_EACH);
            let some: Vec<_> =
                known.filter_map(|place| top.get(usize::from(*place)).copied()).collect();
            let (size, best) = (places.len(), self.best(&some)?);
            found.push(Community { size, best, ..Community::default() });
        }
        let cold = self.with_languages(in_turn(&found, COLD))?;
        // Those who belong to nobody have neither a word nor a feed in common.
        found.pop();
        self.name(&mut found)?;
        let mut of_account = FxHashMap::default();
        for (group, places) in groups.iter().enumerate() {
            let accounts = places.iter().filter_map(|place| top.get(usize::from(*place)));
            of_account.extend(accounts.map(|id| (*id, group)));
        }
        self.give_feeds(&mut found, &feeds, &of_account)?;
        let made_at = self.ground.clock.now_ms();
        Ok(Survey { made_at, communities: found, cold, feeds, packs, about })
    }

    /// Who is followed most, the most first.
    fn most_followed(&self) -> Done<Vec<ActorId>> {
        let mut top = Top::new(self.accounts.min(ACCOUNTS));
        self.in_pieces(ActorId(0), counted::each_counted_account, &mut |id, agg| {
            top.add(agg.get(Counter::Followers), id);
        })?;
        Ok(top.best())
    }

    /// Visits all rows that `scan` gives from `first` on.
    fn in_pieces<I: Copy>(
        &self,
        first: I,
        scan: impl Fn(&Snapshot, I, &mut dyn FnMut(I, &AggRow) -> bool) -> Result<()>,
        visit: &mut dyn FnMut(I, &AggRow),
    ) -> Done<()> {
        let mut from = Some(first);
        while let Some(first) = from {
            from = self.piece(|h| {
                let (mut rows, mut next) = (0, None);
                scan(h.snapshot, first, &mut |id, agg| {
                    if rows == ROWS_AT_ONCE {
                        next = Some(id);
                        return false;
                    }
                    rows += 1;
                    visit(id, agg);
                    true
                })?;
                Ok(next)
            })?;
        }
        Ok(())
    }

    /// Feeds, starter packs and lists that are liked, joined and filled most.
    fn most_counted(&self) -> Done<FxHashMap<CollId, Vec<RecordId>>> {
        let by = [
            (c::GENERATOR, Counter::Likes),
            (c::STARTERPACK, Counter::Joined),
            (c::LIST, Counter::Items),
        ];
        let mut tops = by.map(|_| Top::new(RECORDS));
        let first = RecordId { actor: ActorId(0), coll: CollId(0), rkey: Rkey(0) };
        self.in_pieces(first, counted::each_counted_record, &mut |id, agg| {
            for ((coll, counter), top) in by.iter().zip(&mut tops) {
                if *coll == id.coll {
                    top.add(agg.get(*counter), id);
                }
            }
        })?;
        Ok(by.map(|(coll, _)| coll).into_iter().zip(tops.map(Top::best)).collect())
    }

    /// What profiles, starter packs and lists are about.
    fn about<'r>(
        &self,
        top: &[ActorId],
        records: impl Iterator<Item = &'r RecordId>,
    ) -> Done<About> {
        let mut collected = Collected::default();
        let placed: Vec<(u16, ActorId)> = (0..).zip(top.iter().copied()).collect();
        for some in placed.chunks(AT_ONCE) {
            self.piece(|h| {
                for (place, id) in some {
                    let Some(profile) = graph::profile(h.snapshot, *id)? else { continue };
                    let of = |key| fields::text(&profile, key).unwrap_or_default();
                    collected.account(*place, &[of("displayName"), of("description")]);
                }
                Ok(())
            })?;
        }
        let records: Vec<RecordId> = records.copied().collect();
        for some in records.chunks(AT_ONCE) {
            self.piece(|h| {
                for id in some {
                    let Some(record) = h.read_record(*id)? else {
                        continue;
                    };
                    let of = |key| fields::text(&record.value, key).unwrap_or_default();
                    if id.coll != c::LIST || of("purpose") == CURATELIST {
                        collected.record(*id, &[of("name"), of("description")]);
                    }
                }
                Ok(())
            })?;
        }
        Ok(collected.done(top))
    }

    /// Who of them follows whom of them, by places.
    fn ties(&self, top: &[ActorId]) -> Done<Vec<(u16, u16)>> {
        let placed: Vec<(u16, ActorId)> = (0..).zip(top.iter().copied()).collect();
        let places: FxHashMap<ActorId, u16> = placed.iter().map(|(p, id)| (*id, *p)).collect();
        let mut ties = Vec::new();
        for some in placed.chunks(AT_ONCE) {
            self.piece(|h| {
                for (place, id) in some {
                    let follows = graph::newest_follows(h.snapshot, *id, FOLLOWS)?;
                    let mut known: Vec<u16> =
                        follows.iter().filter_map(|id| places.get(id).copied()).collect();
                    known.sort_unstable();
                    known.dedup();
                    known.sort_by_key(|other| suggest::spread(ActorId(u32::from(*other))));
                    ties.extend(known.into_iter().take(TIES).map(|other| (*place, other)));
                }
                Ok(())
            })?;
        }
        Ok(ties)
    }

    /// Those who may be suggested to anybody and whom others follow of their own accord, by how many do.
    fn best(&self, candidates: &[ActorId]) -> Done<Vec<ActorId>> {
        let mut ranked = Vec::new();
        for some in candidates.chunks(AT_ONCE / 4) {
            self.piece(|h| {
                for id in fit(h, &mut h.state(), some)? {
                    ranked.push((independent_followers(h, id)?, id));
                }
                Ok(())
            })?;
        }
        ranked.retain(|(followers, _)| *followers > 0);
        ranked.sort_by_key(|(followers, id)| (Reverse(*followers), *id));
        Ok(ranked.into_iter().map(|(_, id)| id).collect())
    }

    /// The language of each, as its newest post says it.
    fn with_languages(&self, ids: Vec<ActorId>) -> Done<Vec<(ActorId, String)>> {
        let mut out = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            self.piece(|h| {
                for &id in some {
                    out.push((id, language(h, id)?.unwrap_or_default()));
                }
                Ok(())
            })?;
        }
        Ok(out)
    }

    /// Gives each community the word that is in many profiles of its best, and not so much in those of others.
    fn name(&self, communities: &mut [Community]) -> Done<()> {
        let mut all: FxHashMap<String, u64> = FxHashMap::default();
        let mut of_each = Vec::new();
        for community in communities.iter() {
            let mut counts: FxHashMap<String, u64> = FxHashMap::default();
            for some in community.best.chunks(AT_ONCE) {
                self.piece(|h| {
                    for id in some {
                        let Some(profile) = graph::profile(h.snapshot, *id)? else { continue };
                        let text = fields::text(&profile, "description").unwrap_or_default();
                        for word in of_profile(text) {
                            *counts.entry(word).or_default() += 1;
                        }
                    }
                    Ok(())
                })?;
            }
            for (word, count) in &counts {
                *all.entry(word.clone()).or_default() += count;
            }
            of_each.push(counts);
        }
        for (community, counts) in communities.iter_mut().zip(of_each) {
            // How many have it, times which part of all who have it.
            let score = |word: &str, count: u64| {
                (count * count * 1000) / all.get(word).copied().unwrap_or(1).max(1)
            };
            let best = counts
                .into_iter()
                .filter(|(_, count)| *count > 1)
                .max_by_key(|(word, count)| (score(word, *count), Reverse(word.clone())));
            community.word = best.map(|(word, _)| word);
        }
        Ok(())
    }

    /// Gives each community the feed that its accounts like and others do not so much.
    fn give_feeds(
        &self,
        communities: &mut [Community],
        feeds: &[RecordId],
        of_account: &FxHashMap<ActorId, usize>,
    ) -> Done<()> {
        let mut best: Vec<Option<(u64, RecordId)>> = vec![None; communities.len()];
        for some in feeds.get(..FEEDS).unwrap_or(feeds).chunks(AT_ONCE / 8) {
            self.piece(|h| {
                for &feed in some {
                    let target = Target::Record(feed);
                    let likes = graph::newest_fans(h.snapshot, EdgeKind::Like, target, LIKES)?;
                    let mut votes = vec![0_u64; communities.len()];
                    for group in likes.iter().filter_map(|id| of_account.get(id)) {
                        if let Some(vote) = votes.get_mut(*group) {
                            *vote += 1;
                        }
                    }
                    let all: u64 = votes.iter().sum();
                    for (votes, best) in votes.into_iter().zip(&mut best) {
                        let score = votes * votes * 1000 / all.max(1);
                        // Of equal ones that with more likes, which comes first.
                        if score > best.map_or(0, |(score, _)| score) {
                            *best = Some((score, feed));
                        }
                    }
                }
                Ok(())
            })?;
        }
        for (community, best) in communities.iter_mut().zip(best) {
            community.feed = best.map(|(_, feed)| feed);
        }
        Ok(())
    }
}

/// The places of each community of a size, the largest first, and those of all others.
fn groups(labels: Vec<u16>) -> (Vec<Vec<u16>>, Vec<u16>) {
    let mut members: FxHashMap<u16, Vec<u16>> = FxHashMap::default();
    for (place, label) in (0..).zip(labels) {
        members.entry(label).or_default().push(place);
    }
    let mut groups: Vec<Vec<u16>> = members.into_values().collect();
    // Of the same size by who is followed most.
    groups.sort_by_key(|group| (Reverse(group.len()), group.first().copied()));
    let known = groups.iter().take_while(|group| group.len() >= FEWEST).count();
    let mut others = groups.split_off(known.min(COMMUNITIES)).concat();
    others.sort_unstable();
    (groups, others)
}

/// One of each community in turn, and of none more than a third of all where there are three.
fn in_turn(communities: &[Community], most: usize) -> Vec<ActorId> {
    let sizes: Vec<usize> = communities.iter().map(|community| community.best.len()).collect();
    let filled = sizes.iter().filter(|size| **size > 0).count();
    let sum = |cap: usize| sizes.iter().map(|size| (*size).min(cap)).sum::<usize>();
    let mut cap = sizes.iter().copied().max().unwrap_or(0);
    while filled >= 3 && cap > 1 && 3 * cap > sum(cap) {
        cap -= 1;
    }
    let best = communities.iter().map(|community| community.best.as_slice());
    let capped: Vec<_> = best.map(|best| best.get(..cap).unwrap_or(best)).collect();
    let mut out = suggest::in_turn(&capped);
    out.truncate(most);
    out
}

/// The primary language of an account's newest post.
fn language(h: &Hydrator<'_>, id: ActorId) -> Result<Option<String>> {
    let Some((post, _)) = graph::newest_post(h.snapshot, id)? else { return Ok(None) };
    let Some(row) = h.snapshot.post(post)? else { return Ok(None) };
    let value = h.snapshot.unpack(&row.packed)?;
    Ok(words::language(&value))
}

/// The longer words of a profile, each once.
fn of_profile(text: &str) -> FxHashSet<String> {
    let mut out = FxHashSet::default();
    words::each_word(text, &mut |word| {
        let letters = word.chars().all(char::is_alphabetic);
        // Two letters of a script without spaces are one of its words, about.
        if letters && (word.chars().count() >= 4 || word.len() >= 6) && out.len() < 64 {
            out.insert(word.to_owned());
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_community_has_more_than_a_third_where_there_are_three() {
        let of = |from: u32, n: u32| Community {
            best: (from..from + n).map(ActorId).collect(),
            ..Community::default()
        };
        let found = in_turn(&[of(0, 90), of(100, 5), of(200, 4), of(300, 0)], 300);
        let first: Vec<u32> = found.iter().take(6).map(|id| id.0).collect();
        assert_eq!(first, [0, 100, 200, 1, 101, 201]);
        assert_eq!(found.iter().filter(|id| id.0 < 100).count() * 3, found.len());
        assert_eq!(in_turn(&[of(0, 9), of(100, 2)], 300).len(), 11, "two may share as they are");
        assert_eq!(in_turn(&[of(0, 9), of(100, 9), of(200, 9)], 7).len(), 7);
        assert_eq!(in_turn(&[], 7), []);
    }
}
