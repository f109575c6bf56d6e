//! Takes away what grew old and touches nobody who is kept.
//!
//! A walk over posts, likes, reposts and follows, and in a circle over other records. Records of kept accounts are
//! jumped over; of each other account those older than the cutoff are one range of keys, as record keys are times, so
//! what is young costs one seek for each account. `relevance` decides about a post, on a snapshot and beside the writer,
//! and again in the writer's batch that takes it away, since somebody may have liked it meanwhile. A like or repost goes
//! with its subject, an old one of a record that was never held by itself, an old follow if nobody in it is kept. Blocks,
//! lists and profiles stay: they say how things are, not what happened.
//!
//! Taking away is `Index::delete`, as for a delete that the network sends, so counts, feeds, threads and notifications
//! follow. A post's likes and reposts go before it, so many in a step. The account's repo does not count as complete
//! any more: whoever follows it later gets it fetched.
//!
//! # Invariants
//! - The place of the walk is in the batch that takes away what lies before it: a crash repeats nothing and skips nothing.
//! - A step of the writer is bounded in the records that it takes away.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::gates::Gate;
use super::kept::Kept;
use super::names::Known;
use super::scope::{DAY_MS, Mode, Rule, holds_posts};
use super::{Index, posts, relevance};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, EdgeRow, FanRow, RecordRow, fwd_key, rev_prefix};
use crate::schema::{ActorId, CollId, Key, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader, Snapshot, StoreError, Tx};
use crate::work;

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The scope, for what only a circle takes away.
    pub mode: Mode,
    /// Now, milliseconds since the epoch.
    pub now: i64,
    /// Records made before this may go.
    pub cutoff: i64,
    /// Posts with as many likes, reposts, replies and quotes together stay all the same.
    pub spare: Option<u64>,
}

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Posts, with their gates.
    pub posts: u64,
    /// Likes.
    pub likes: u64,
    /// Reposts.
    pub reposts: u64,
    /// Follows.
    pub follows: u64,
    /// Other records.
    pub records: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.posts += other.posts;
        self.likes += other.likes;
        self.reposts += other.reposts;
        self.follows += other.follows;
        self.records += other.records;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.posts + self.likes + self.reposts + self.follows + self.records
    }

    fn count(&mut self, coll: CollId) {
        match coll {
            c::POST => self.posts += 1,
            c::LIKE => self.likes += 1,
            c::REPOST => self.reposts += 1,
            c::FOLLOW => self.follows += 1,
            _ => self.records += 1,
        }
    }
}

/// Where a walk is: the part, and the first key of it that was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    part: u8,
    key: Vec<u8>,
}

impl Place {
    /// Whether the walk is at its end.
    #[must_use]
    pub fn is_end(&self) -> bool {
        Part::ALL.get(usize::from(self.part)).is_none()
    }

    /// How far the walk is by the numbers of the accounts, for people: 0 to 1.
    #[must_use]
    pub fn share(&self, accounts: u32) -> f64 {
        let parts = Part::ALL.len() as f64;
        let tag =
            Part::ALL.get(usize::from(self.part)).map_or(0, |p| usize::from(p.tag().is_some()));
        let actor = self.key.get(tag..).and_then(|k| ByteReader::new(k).actor());
        let within = actor.map_or(0.0, |a| f64::from(a.0) / f64::from(accounts.max(1)));
        ((f64::from(self.part) + within.min(1.0)) / parts).min(1.0)
    }

    fn encode(&self) -> Vec<u8> {
        [&[self.part], &self.key[..]].concat()
    }

    fn decode(b: &[u8]) -> Option<Self> {
        b.split_first().map(|(part, key)| Self { part: *part, key: key.to_vec() })
    }
}

/// The parts of a walk, in order: what refers to a post goes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Posts,
    Edges(EdgeKind),
    Records,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Posts,
        Self::Edges(EdgeKind::Like),
        Self::Edges(EdgeKind::Repost),
        Self::Edges(EdgeKind::Follow),
        Self::Records,
    ];

    fn ks(self) -> Ks {
        match self {
            Self::Posts => Ks::Post,
            Self::Edges(_) => Ks::Fwd,
            Self::Records => Ks::Record,
        }
    }

    fn tag(self) -> Option<u8> {
        match self {
            Self::Edges(kind) => Some(kind as u8),
            Self::Posts | Self::Records => None,
        }
    }

    fn prefix(self) -> Key {
        self.tag().map_or_else(Key::new, Key::tag)
    }

    fn id(self, key: &[u8]) -> Option<RecordId> {
        let mut r = ByteReader::new(key);
        match self {
            // Community posts have content of their own, which nobody else has: their collection has no age.
            Self::Posts => r.post().map(crate::schema::PostId::record),
            Self::Edges(kind) => {
                let (_, actor, rkey) = (r.u8()?, r.actor()?, r.rkey()?);
                Some(RecordId { actor, coll: kind.collection(), rkey })
            }
            Self::Records => r.record(),
        }
    }
}

/// What a look at some of the store found.
#[derive(Debug, Default)]
pub struct Found {
    /// What goes.
    pub going: Vec<RecordId>,
    /// How many that is, with the likes and reposts of the posts.
    pub tally: Tally,
    /// Old records that stay because they touch somebody.
    pub linked: u64,
    /// Where to go on.
    pub place: Place,
}

/// Records and accounts looked at in one call of [`find`].
const LOOK: usize = 2000;
/// Records taken away in one step of the writer, about.
pub const STEP: usize = 100;
/// Likes and reposts of one post taken away in one step.
const FANS: usize = 500;

/// Looks for what goes from `place` on, at a bounded number of rows.
pub fn find(s: &Snapshot, kept: &Kept, policy: &Policy, place: Place) -> Result<Found, StoreError> {
    let mut found = Found { place, ..Found::default() };
    let mut left = LOOK;
    while left > 0 && found.going.len() < STEP {
        let Some(part) = Part::ALL.get(usize::from(found.place.part)).copied() else { break };
        if part == Part::Records && policy.mode != Mode::Circle {
            found.place.part += 1;
            continue;
        }
        if found.place.key.is_empty() {
            found.place.key = part.prefix().to_vec();
        }
        let (ids, next) = next_old(s, kept, policy, part, &found.place.key, &mut left)?;
        for id in ids {
            match goes(s, kept, policy, id) {
                Ok(true) => {}
                Ok(false) => {
                    found.linked += 1;
                    continue;
                }
                // It was counted and named where it was met, and must not hold the others up for ever.
                Err(StoreError::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            }
            found.tally.count(id.coll);
            if id.coll == c::POST
                && let Ok(agg) = s.agg(Target::of(id))
            {
                found.tally.likes += agg.get(Counter::Likes);
                found.tally.reposts += agg.get(Counter::Reposts);
            }
            found.going.push(id);
        }
        match next {
            Some(key) => found.place.key = key,
            None => found.place = Place { part: found.place.part + 1, key: Vec::new() },
        }
    }
    Ok(found)
}

/// The next old records of one account that is not kept, and the key to go on at; `None` at the end of the part.
fn next_old(
    s: &Snapshot,
    kept: &Kept,
    policy: &Policy,
    part: Part,
    from: &[u8],
    left: &mut usize,
) -> Result<(Vec<RecordId>, Option<Vec<u8>>), StoreError> {
    let prefix = part.prefix();
    let end = crate::store::prefix_end(&prefix);
    let (young, future) = (first_key(policy.cutoff), first_key(policy.now.saturating_add(DAY_MS)));
    let mut ids = Vec::new();
    let mut next = None;
    s.scan(part.ks(), from, end.as_deref(), false, &mut |k, _| {
        let Some(id) = part.id(k) else { return true };
        *left = left.saturating_sub(1);
        let rkey = k.last_chunk::<8>().map_or(id.rkey, |b| Rkey(u64::from_be_bytes(*b)));
        // A little further at a time, so that what is found fits into a step or two.
        if *left == 0 || ids.len() >= STEP {
            next = Some(k.to_vec());
        } else if kept.contains(id.actor) {
            next = id.actor.0.checked_add(1).map(|a| prefix.clone().u32(a).to_vec());
        } else if part != Part::Records && rkey >= young && rkey < future {
            next = Some(prefix.clone().actor(id.actor).rkey(future).to_vec());
        } else {
            ids.push(id);
            return true;
        }
        false
    })?;
    *left = left.saturating_sub(1);
    Ok((ids, next))
}

/// The smallest record key of a time.
fn first_key(ms: i64) -> Rkey {
    let us = u64::try_from(ms).unwrap_or(0).saturating_mul(1000).min((1 << 53) - 1);
    Rkey(us << 10)
}

/// Whether a record is old and linked to nobody.
pub(super) fn goes<R: Reader>(
    r: &R,
    kept: &Kept,
    policy: &Policy,
    id: RecordId,
) -> Result<bool, StoreError> {
    if kept.contains(id.actor) {
        return Ok(false);
    }
    if id.coll == c::POST
        && let Some(row) = r.post(posts::post_id(id))?
    {
        let post = posts::post_id(id);
        if row.sort_ms(id.rkey) >= policy.cutoff {
            return Ok(false);
        }
        let agg = r.agg(Target::Post(post))?;
        let counters = [Counter::Likes, Counter::Reposts, Counter::Replies, Counter::Quotes];
        let links: u64 = counters.into_iter().map(|c| agg.get(c)).sum();
        if policy.spare.is_some_and(|most| links >= most) {
            return Ok(false);
        }
        let refs = posts::refs(&mut Known(r), &r.unpack(&row.packed)?)?;
        return Ok(!relevance::touches(r, kept, &refs)? && !relevance::referred(r, kept, post)?);
    }
    if let Some(kind) = EdgeKind::compact(id.coll)
        && let Some(edge) = r.edge(kind, id.actor, id.rkey)?
    {
        return edge_goes(r, kept, policy, kind, id, &edge);
    }
    let Some(row) = r.record(id)? else { return Ok(false) };
    record_goes(r, policy, id, &row)
}

fn edge_goes<R: Reader>(
    r: &R,
    kept: &Kept,
    policy: &Policy,
    kind: EdgeKind,
    id: RecordId,
    edge: &EdgeRow,
) -> Result<bool, StoreError> {
    if edge.sort_ms(id.rkey) >= policy.cutoff {
        return Ok(false);
    }
    match kind {
        EdgeKind::Follow => return Ok(!kept.contains(edge.target.actor())),
        EdgeKind::Like | EdgeKind::Repost => {}
        _ => return Ok(false),
    }
    if relevance::subject_stays(r, kept, edge.target)? {
        return Ok(false);
    }
    if !edge.kept {
        return Ok(true);
    }
    // Through the repost of somebody who is kept.
    let Some(row) = r.record(id)? else { return Ok(true) };
    let value = r.unpack(&row.packed)?;
    let via = match crate::repo::fields::ref_uri(&value, "via") {
        Some(uri) => r.target(uri)?,
        None => None,
    };
    Ok(!via.is_some_and(|repost| kept.contains(repost.actor())))
}

/// Records by the rule of their collection; only a circle asks.
fn record_goes<R: Reader>(
    r: &R,
    policy: &Policy,
    id: RecordId,
    row: &RecordRow,
) -> Result<bool, StoreError> {
    if policy.mode != Mode::Circle || row.indexed >= policy.cutoff {
        return Ok(false);
    }
    match Rule::of(id.coll) {
        Rule::Always => Ok(false),
        Rule::Profile => Ok(!holds_posts(r, id.actor)?),
        Rule::Gate => Ok(!r.has(Ks::Post, &posts::post_id(id).to_bytes())?),
        // A row of these collections is one that breaks its lexicon, or belongs to an edge.
        Rule::Subject | Rule::Follow | Rule::Block => Ok(false),
        Rule::Post | Rule::Other => Ok(true),
    }
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// Taken away.
    pub tally: Tally,
    /// What is left of the records that were given: the same step again.
    pub left: Vec<RecordId>,
}

/// What became of a record that was to go.
enum Taken {
    /// It is linked by now.
    Stays,
    /// There is more around it than one step takes.
    Later,
    /// It is gone.
    Gone,
}

/// Takes records away, unless they are linked by now, and remembers `place` once none are left.
pub fn step(
    index: &Index,
    tx: &mut Tx<'_>,
    policy: &Policy,
    records: Vec<RecordId>,
    place: &Place,
) -> Result<Step, StoreError> {
    let kept = std::sync::Arc::clone(index.scope().1);
    index.forget_if_taken_back(tx);
    let mut done = Step::default();
    let mut repos: BTreeSet<ActorId> = BTreeSet::new();
    let mut records = records.into_iter();
    for id in records.by_ref() {
        let taken = index.alone(tx, format_args!("{id:?}"), |tx| {
            if !goes(tx, &kept, policy, id)? {
                return Ok(Taken::Stays);
            }
            if id.coll == c::POST && !fans_gone(index, tx, id, &mut done.tally, &mut repos)? {
                return Ok(Taken::Later);
            }
            take(index, tx, id)?;
            Ok(Taken::Gone)
        });
        match taken? {
            None | Some(Taken::Stays) => continue,
            Some(Taken::Later) => {
                done.left.push(id);
                break;
            }
            Some(Taken::Gone) => {}
        }
        done.tally.count(id.coll);
        repos.insert(id.actor);
        if done.tally.total() >= (STEP + FANS) as u64 {
            break;
        }
    }
    done.left.extend(records);
    for actor in repos {
        index.touched.lacks(actor);
        if let Some(mut row) = tx.repo(actor)?
            && row.whole.take().is_some()
        {
            index.put_repo(tx, actor, &row);
        }
    }
    if done.left.is_empty() {
        work::retention::set_place(tx, (!place.is_end()).then(|| place.encode()).as_deref());
    }
    Ok(done)
}

/// The place of a walk that did not end.
pub fn place<R: Reader>(r: &R) -> Result<Place, StoreError> {
    Ok(work::retention::place(r)?.and_then(|b| Place::decode(&b)).unwrap_or_default())
}

fn take(index: &Index, tx: &mut Tx<'_>, id: RecordId) -> Result<(), StoreError> {
    if id.coll == c::POST {
        for of in Gate::ALL {
            let gate = posts::gate_of(posts::post_id(id), of);
            index.delete(tx, gate, 0)?;
        }
    }
    take_alone(index, tx, id)
}

/// Takes a record away and nothing that belongs to it.
pub(super) fn take_alone(index: &Index, tx: &mut Tx<'_>, id: RecordId) -> Result<(), StoreError> {
    let edge = match EdgeKind::compact(id.coll) {
        Some(kind) => tx.edge(kind, id.actor, id.rkey)?.map(|e| e.target),
        None => None,
    };
    index.delete(tx, id, 0)?;
    forget_cid(index, tx, edge.unwrap_or(Target::of(id)))
}

/// The CID that edges on a record agreed on goes with the last of them.
fn forget_cid(index: &Index, tx: &mut Tx<'_>, target: Target) -> Result<(), StoreError> {
    let agg = tx.agg(target)?;
    if agg.get(Counter::Likes) == 0
        && agg.get(Counter::Reposts) == 0
        && tx.has(Ks::Cid, &target.key())?
    {
        tx.del(Ks::Cid, &target.key());
        index.subject_cids.forget(target);
    }
    Ok(())
}

/// Takes likes and reposts of a post away; `true` once none are left.
fn fans_gone(
    index: &Index,
    tx: &mut Tx<'_>,
    id: RecordId,
    tally: &mut Tally,
    repos: &mut BTreeSet<ActorId>,
) -> Result<bool, StoreError> {
    let target = Target::of(id);
    let mut left = FANS;
    for kind in [EdgeKind::Like, EdgeKind::Repost] {
        let prefix = rev_prefix(kind, target);
        let mut fans: Vec<(ActorId, Rkey)> = Vec::new();
        tx.scan_prefix(Ks::Rev, &prefix, &mut |k, v| {
            let fan = k.get(prefix.len()..).and_then(|k| ByteReader::new(k).actor());
            fans.extend(fan.zip(FanRow::decode(target, v).map(|row| row.rkey)));
            fans.len() < left
        })?;
        for (actor, rkey) in &fans {
            let fan = RecordId { actor: *actor, coll: kind.collection(), rkey: *rkey };
            // A row without its record would be met again for ever.
            if !tx.has(Ks::Fwd, &fwd_key(kind, *actor, *rkey))? {
                continue;
            }
            index.delete(tx, fan, 0)?;
            tally.count(fan.coll);
            repos.insert(*actor);
        }
        left = left.saturating_sub(fans.len());
        if left == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Bytes on disk that a like, a post and the rest take, about: by the average row of each keyspace.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weights {
    post: u64,
    edge: u64,
    record: u64,
}

impl Weights {
    /// As the store is now.
    pub fn of(store: &crate::store::Store) -> Result<Self, StoreError> {
        let (disk, _) = store.disk()?;
        let rows = store.approximate_rows();
        let each = |ks: Ks| {
            let bytes = disk.iter().find(|(k, _)| *k == ks).map_or(0, |(_, n)| *n);
            let rows = rows.iter().find(|(k, _)| *k == ks).map_or(0, |(_, n)| *n as u64);
            bytes / rows.max(1)
        };
        Ok(Self {
            post: each(Ks::Post) + each(Ks::Feed) + each(Ks::Order) + each(Ks::Agg),
            edge: each(Ks::Fwd) + each(Ks::Rev),
            record: each(Ks::Record),
        })
    }

    /// Bytes that so many records take.
    #[must_use]
    pub fn bytes(&self, tally: &Tally) -> u64 {
        tally.posts * self.post
            + (tally.likes + tally.reposts + tally.follows) * self.edge
            + tally.records * self.record
    }
}
