//! Pages of posts, the newest or the best first.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::FindError;
use super::cursor::{self, Best};
use super::plan::{Planned, plan};
use super::sets::Sets;
use crate::schema::rows::Counter;
use crate::schema::{ActorId, PostId, Rows, Target};
use crate::search::analysis::Analyzer;
use crate::search::document::PostDocument;
use crate::search::eval::{self, Ask, Count, Newest, Next, Position, Span};
use crate::search::index::Seen;
use crate::search::query::{Candidate, Person, Query};
use crate::store::{Snapshot, StoreError};

/// Candidates that are looked at for a page, and how long.
const MOST_LOOKED_AT: usize = 2_000;
const PATIENCE: Duration = Duration::from_millis(50);
/// Up to so many candidates are verified to say how many there are, and how long.
const MOST_COUNTED: u64 = 1_000;
const COUNTING: Duration = Duration::from_millis(20);
/// The newest so many of each tier are candidates for the best, and so many of those are listed.
const OF_A_TIER: usize = 100;
const MOST_BEST: usize = 500;
/// What is new, where nothing else is asked for.
const RECENT: i64 = 30 * 86_400_000;
const DAY: f64 = 86_400_000.0;

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The newest first.
    Latest,
    /// The best first.
    Top,
}

/// A search for posts.
pub struct PostSearch<'a> {
    seen: &'a Seen,
    snapshot: &'a Snapshot,
    query: &'a Query<Person>,
    fingerprint: u64,
    hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    now: i64,
    sets: Sets,
    planned: Planned,
    span: Span,
}

/// A page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Posts that the caller's rules keep.
    pub posts: Vec<PostId>,
    /// Where to go on.
    pub cursor: Option<String>,
    /// How many there are, exactly if they are few.
    pub total: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The query.
    pub query: &'a Query<Person>,
    /// Stands for the query and its parameters.
    pub fingerprint: u64,
    /// Only what is new is wanted.
    pub recent_only: bool,
    /// Who asks.
    pub viewer: Option<ActorId>,
    /// The time, milliseconds.
    pub now: i64,
}

impl<'a> PostSearch<'a> {
    /// Reads what a query names; of accounts that are `hidden` nothing is found.
    pub fn new(
        seen: &'a Seen,
        snapshot: &'a Snapshot,
        asked: Asked<'a>,
        hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    ) -> Result<Self, FindError> {
        let Asked { query, fingerprint, now, .. } = asked;
        let sets = Sets::read(snapshot, asked.viewer, query)?;
        let (planned, mut span) = plan(query, &sets);
        if asked.recent_only {
            span.since = span.since.max(now - RECENT);
        }
        Ok(Self { seen, snapshot, query, fingerprint, hidden, now, sets, planned, span })
    }

    /// A page of `limit` posts. `keep` gives those of a batch that the viewer gets to see, in their order.
    ///
    /// # Errors
    /// Those of [`FindError`], and of `keep`.
    pub fn page<E: From<FindError>>(
        &self,
        sort: Sort,
        cursor: Option<&str>,
        limit: usize,
        mut keep: impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let cursor = cursor.filter(|text| !text.is_empty());
        let mut found = match sort {
            Sort::Latest => self.latest(cursor, limit, &mut keep)?,
            Sort::Top => self.top(cursor, limit, &mut keep)?,
        };
        found.total = self.total()?.max(found.posts.len() as u64);
        Ok(found)
    }

    fn ask(&self, patience: Duration) -> Ask<'_> {
        let deadline = Instant::now() + patience;
        Ask { plan: &self.planned.plan, span: self.span, hidden: self.hidden, deadline }
    }

    fn latest<E: From<FindError>>(
        &self,
        cursor: Option<&str>,
        limit: usize,
        keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let after = cursor.map(|text| {
            cursor::parse_newest(text, self.fingerprint).ok_or(FindError::BadCursor)
        });
        let after = after.transpose()?;
        let ask = self.ask(PATIENCE);
        let deadline = ask.deadline;
        let mut newest = Newest::new(&self.seen.posts, &self.seen.records, ask, after);
        let mut analyzer = Analyzer::default();
        let (mut posts, mut batch, mut looked) = (Vec::new(), Vec::new(), 0);
        let mut last = None;
        let ends = loop {
            let next = newest.advance().map_err(FindError::from)?;
            match next {
                Next::Found(candidate) => {
                    let is_full = posts.len() >= limit;
                    if is_full || looked >= MOST_LOOKED_AT || Instant::now() >= deadline {
                        break false;
                    }
                    looked += 1;
                    last = Some(candidate.at);
                    if self.is_found(candidate.at, &mut analyzer)? {
                        batch.push(candidate.at.post);
                    }
                }
                Next::End => break true,
                Next::Late(at) => {
                    last = Some(at);
                    break false;
                }
            }
            if posts.len() + batch.len() >= limit && !batch.is_empty() {
                posts.append(&mut keep(std::mem::take(&mut batch))?);
            }
        };
        if !batch.is_empty() {
            posts.append(&mut keep(batch)?);
        }
        let cursor =
            last.filter(|_| !ends).map(|at| cursor::newest(self.fingerprint, at));
        Ok(Found { posts, cursor, total: 0 })
    }

    fn top<E: From<FindError>>(
        &self,
        cursor: Option<&str>,
        limit: usize,
        keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let after = cursor
            .map(|text| cursor::parse_best(text, self.fingerprint).ok_or(FindError::BadCursor));
        let after = after.transpose()?;
        let now = after.map_or(self.now, |after| after.now);
        let mut best = self.best(now)?;
        if let Some(after) = after {
            best.retain(|at| order(at, &after) == Ordering::Greater);
        }
        let mut best = best.into_iter().peekable();
        let (mut posts, mut last) = (Vec::new(), None);
        while posts.len() < limit && best.peek().is_some() {
            let batch: Vec<_> = best.by_ref().take(limit - posts.len()).collect();
            last = batch.last().copied();
            posts.append(&mut keep(batch.into_iter().map(|at| at.post).collect())?);
        }
        let more = best.peek().is_some();
        let cursor = last.filter(|_| more).map(|at| cursor::best(self.fingerprint, at));
        Ok(Found { posts, cursor, total: 0 })
    }

    /// The best, the first one first.
    fn best(&self, now: i64) -> Result<Vec<Best>, FindError> {
        let candidates = eval::top(self.seen, &self.ask(PATIENCE), OF_A_TIER)?;
        let mut analyzer = Analyzer::default();
        let mut best = Vec::new();
        for candidate in candidates {
            let Position { ts, post } = candidate.at;
            if self.is_found(candidate.at, &mut analyzer)? {
                let score = popularity(self.snapshot, post)? - fading(now, ts);
                best.push(Best { now, score, post });
            }
        }
        best.sort_unstable_by(order);
        best.truncate(MOST_BEST);
        Ok(best)
    }

    /// Whether the record of a candidate is what the query asks for.
    fn is_found(&self, at: Position, analyzer: &mut Analyzer) -> Result<bool, FindError> {
        if self.planned.exact {
            return Ok(true);
        }
        let record = match self.snapshot.post(at.post) {
            Ok(Some(row)) => self.snapshot.unpack(&row.packed),
            Ok(None) => return Ok(false),
            Err(error) => Err(error),
        };
        let record = match record {
            Ok(record) => record,
            // It cannot be shown either.
            Err(StoreError::Corrupt(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let document = PostDocument::of(&record);
        let viewer = self.sets.about(at.post);
        let of = (at.post.author, at.ts);
        let candidate = Candidate::new(&document, of, &viewer, analyzer);
        Ok(candidate.is(self.query))
    }

    /// How many posts are found, before the viewer's rules.
    fn total(&self) -> Result<u64, FindError> {
        let ask = self.ask(COUNTING);
        if self.planned.exact {
            let count = eval::count(&self.seen.posts, &self.seen.records, &ask)?;
            return Ok(match count {
                Count::Exactly(number) if number <= MOST_COUNTED => number,
                count => rounded(count.number()),
            });
        }
        let deadline = ask.deadline;
        let mut newest = Newest::new(&self.seen.posts, &self.seen.records, ask, None);
        let mut analyzer = Analyzer::default();
        let (mut looked, mut found) = (0_u64, 0_u64);
        while looked < MOST_COUNTED && Instant::now() < deadline {
            match newest.advance()? {
                Next::Found(candidate) => {
                    looked += 1;
                    found += u64::from(self.is_found(candidate.at, &mut analyzer)?);
                }
                Next::End => return Ok(found),
                Next::Late(_) => break,
            }
        }
        let all = eval::count(&self.seen.posts, &self.seen.records, &self.ask(COUNTING))?;
        let share = u128::from(all.number()) * u128::from(found) / u128::from(looked.max(1));
        Ok(rounded(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}

/// The better first, and of equals the newer key.
fn order(a: &Best, b: &Best) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| b.post.cmp(&a.post))
}

/// What its interactions are worth.
fn popularity(s: &Snapshot, post: PostId) -> Result<f64, StoreError> {
    let counts = s.agg(Target::Post(post))?;
    #[expect(clippy::cast_precision_loss, reason = "its logarithm is asked for")]
    let of = |counter| counts.get(counter) as f64;
    let all = of(Counter::Likes)
        + 1.5 * (of(Counter::Reposts) + of(Counter::Quotes))
        + 0.5 * of(Counter::Replies);
    Ok((1.0 + all).log2())
}

/// What age takes away: a power law, so that of old posts the popular ones are still the better.
fn fading(now: i64, ts: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
    let age = now.saturating_sub(ts).max(0) as f64;
    1.5 * (1.0 + age / DAY).log2()
}

/// A number of which only the first two digits are known.
fn rounded(number: u64) -> u64 {
    let digits = number.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    number / unit * unit
}
