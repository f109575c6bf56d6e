//! Pages of posts, the newest or the best first.

use std::time::{Duration, Instant};

use super::FindError;
use super::plan::{Planned, plan};
use super::ranked::{self, Best, order, rounded};
use super::respelled::respelled;
use super::world::StoreWorld;
use crate::schema::{ActorId, PostId, Rows};
use crate::search::cursor::{Cursor, Malformed};
use crate::search::document::PostDocument;
use crate::search::eval::{self, Ask, Count, Newest, Next, Position, Span};
use crate::search::index::{Seen, interactions};
use crate::search::query::parameters::RECENT_MS;
use crate::search::query::{Node, Search, Sort, Subject, Test, Verifier, resolve};
use crate::store::{Snapshot, StoreError, decodable};

/// Candidates that are looked at for a page, and how long.
const MOST_LOOKED_AT: usize = 2_000;
const PATIENCE: Duration = Duration::from_millis(50);
/// Up to so many candidates are all verified to say how many posts are found; of more the newest few stand for the rest, since
/// only two digits are said.
const MOST_COUNTED: u64 = 1_000;
const SAMPLE: u64 = 200;
/// How long the candidates are counted, and how long verified.
const COUNTING: Duration = Duration::from_millis(20);
/// The newest so many of each tier are candidates for the best, and so many of those are listed.
const OF_A_TIER: usize = 100;
const MOST_BEST: usize = 500;
const DAY: f64 = 86_400_000.0;
/// Makes of the number of a search that of the same one with other words.
const RESPELLED: u64 = 0x7265_7370_656c_6c65;

/// A search for posts.
pub struct PostSearch<'a> {
    seen: &'a Seen,
    snapshot: &'a Snapshot,
    query: Node<Test>,
    sort: Sort,
    hash: u64,
    hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    now: i64,
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
    /// Candidates whose records were looked at for it.
    pub looked_at: usize,
    /// They have other words, which may have been meant.
    pub respelled: bool,
}

/// What puts a post where it is among the best, as of now.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Why {
    /// What its likes, reposts, quotes and replies are worth.
    pub popularity: f64,
    /// What its age takes away.
    pub fading: f64,
    /// How well its text fits.
    pub quality: i32,
}

impl<'a> PostSearch<'a> {
    /// Looks up what a search names, for who asks; of accounts that are `hidden` nothing is found. `now` is in milliseconds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        seen: &'a Seen,
        snapshot: &'a Snapshot,
        search: &Search,
        (viewer, now): (Option<ActorId>, i64),
        hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    ) -> Result<Self, StoreError> {
        let query = resolve(&search.query, &mut StoreWorld::new(snapshot, viewer)?)?;
        let (planned, mut span) = plan(snapshot, &query)?;
        if search.only_recent {
            span.since = span.since.max(now.saturating_sub(RECENT_MS));
        }
        let (sort, hash) = (search.sort, search.hash());
        Ok(Self { seen, snapshot, query, sort, hash, hidden, now, planned, span })
    }

    /// A page of `limit` posts. `keep` gives those of a batch that the viewer gets to see, in their order. Where there are
    /// none, those with the words that may have been meant.
    ///
    /// # Errors
    /// Those of [`FindError`], and of `keep`.
    pub fn page<E: From<FindError>>(
        &self,
        cursor: Option<&str>,
        limit: usize,
        mut keep: impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let cursor = cursor.filter(|text| !text.is_empty());
        let mut found = Found::default();
        let goes_on = cursor.is_some_and(|text| Cursor::read(text, self.hash ^ RESPELLED).is_ok());
        if !goes_on {
            found = self.page_as_typed(cursor, limit, &mut keep)?;
            let is_nothing = found.total == 0 && found.cursor.is_none();
            if cursor.is_some() || !is_nothing {
                return Ok(found);
            }
        }
        match self.respelled()? {
            Some(other) => {
                let found = other.page_as_typed(cursor, limit, &mut keep)?;
                Ok(Found { respelled: true, ..found })
            }
            // A page that goes on ends there, if since then a post has the word after all.
            None => Ok(found),
        }
    }

    /// The same search with the words that were meant, if some were meant.
    fn respelled(&self) -> Result<Option<Self>, FindError> {
        let Some(query) = respelled(self.seen, &self.query)? else { return Ok(None) };
        let (planned, _) = plan(self.snapshot, &query)?;
        Ok(Some(Self { query, planned, hash: self.hash ^ RESPELLED, ..*self }))
    }

    fn page_as_typed<E: From<FindError>>(
        &self,
        cursor: Option<&str>,
        limit: usize,
        keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let cursor = cursor.map(|text| Cursor::read(text, self.hash)).transpose();
        let cursor = cursor.map_err(FindError::from)?;
        let mut found = match (self.sort, cursor) {
            (Sort::Latest, None) => self.latest(None, limit, keep)?,
            (Sort::Latest, Some(Cursor::Latest { ts, post })) => {
                self.latest(Some(Position { ts, post }), limit, keep)?
            }
            (Sort::Top, None) => self.top(None, limit, keep)?,
            (Sort::Top, Some(Cursor::Top { now, score, post })) => {
                self.top(Some((now, Best { score, of: post })), limit, keep)?
            }
            _ => return Err(FindError::from(Malformed).into()),
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
        after: Option<Position>,
        limit: usize,
        keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        let ask = self.ask(PATIENCE);
        let deadline = ask.deadline;
        let mut newest = Newest::new(&self.seen.posts, &self.seen.records, ask, after);
        let mut verifier = Verifier::default();
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
                    if self.is_found(candidate.at, &mut verifier).map_err(FindError::from)? {
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
        let cursor = last.filter(|_| !ends);
        let cursor = cursor.map(|at| Cursor::Latest { ts: at.ts, post: at.post }.write(self.hash));
        Ok(Found { posts, cursor, looked_at: looked, ..Found::default() })
    }

    fn top<E: From<FindError>>(
        &self,
        after: Option<(i64, Best)>,
        limit: usize,
        keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
    ) -> Result<Found, E> {
        // All pages are of the time of the first, so that what grows old between them keeps its place.
        let now = after.map_or(self.now, |(now, _)| now);
        let (best, looked_at) = self.best(now)?;
        let (posts, last) = ranked::page(best, after, limit, keep)?;
        let cursor = ranked::cursor(last, now, self.hash);
        Ok(Found { posts, cursor, looked_at, ..Found::default() })
    }

    /// The best, the first one first, and how many candidates there were for that.
    fn best(&self, now: i64) -> Result<(Vec<Best>, usize), FindError> {
        let candidates = eval::top(self.seen, &self.ask(PATIENCE), OF_A_TIER)?;
        let looked_at = candidates.len();
        let mut verifier = Verifier::default();
        let mut best = Vec::new();
        for candidate in candidates {
            let Position { ts, post } = candidate.at;
            if let Some(points) = self.quality(candidate.at, &mut verifier)? {
                let score = popularity(self.snapshot, post)? - fading(now, ts) + f64::from(points);
                best.push(Best { score, of: post });
            }
        }
        best.sort_unstable_by(order);
        best.truncate(MOST_BEST);
        Ok((best, looked_at))
    }

    /// What puts each post of a page where it is.
    ///
    /// # Errors
    /// Those of [`FindError`].
    pub fn why(&self, page: &Found) -> Result<Vec<Why>, FindError> {
        let respelled = if page.respelled { self.respelled()? } else { None };
        let search = respelled.as_ref().unwrap_or(self);
        let mut verifier = Verifier::default();
        let why = page.posts.iter().map(|post| search.why_of(*post, &mut verifier));
        why.collect::<Result<_, _>>().map_err(FindError::from)
    }

    fn why_of(&self, post: PostId, verifier: &mut Verifier) -> Result<Why, StoreError> {
        let ts = self.snapshot.post(post)?.map_or(0, |row| row.sort_ms(post.rkey));
        let quality = self.quality(Position { ts, post }, verifier)?;
        let popularity = popularity(self.snapshot, post)?;
        Ok(Why { popularity, fading: fading(self.now, ts), quality: quality.unwrap_or(0) })
    }

    /// Whether the record of a candidate is what the query asks for.
    fn is_found(&self, at: Position, verifier: &mut Verifier) -> Result<bool, StoreError> {
        if self.planned.exact {
            return Ok(true);
        }
        let fits = |document: &PostDocument<'_>| {
            let subject = Subject { post: at.post, sort: at.ts, document };
            verifier.read(subject).fits(&self.query)
        };
        Ok(self.with_record(at.post, fits)?.unwrap_or(false))
    }

    /// How well it fits; none if it does not.
    fn quality(&self, at: Position, verifier: &mut Verifier) -> Result<Option<i32>, StoreError> {
        let points = |document: &PostDocument<'_>| {
            let subject = Subject { post: at.post, sort: at.ts, document };
            let mut reading = verifier.read(subject);
            reading.fits(&self.query).then(|| reading.quality(&self.query))
        };
        Ok(self.with_record(at.post, points)?.flatten())
    }

    /// What `f` makes of a record; none if it is not there, or damaged, which cannot be shown either.
    fn with_record<T>(
        &self,
        post: PostId,
        f: impl FnOnce(&PostDocument<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let Some(row) = decodable(self.snapshot.post(post))?.flatten() else { return Ok(None) };
        let record = decodable(self.snapshot.unpack(&row.packed))?;
        Ok(record.map(|record| f(&PostDocument::of(&record))))
    }

    /// How many posts are found, before the viewer's rules.
    fn total(&self) -> Result<u64, FindError> {
        let candidates = eval::count(&self.seen.posts, &self.seen.records, &self.ask(COUNTING))?;
        let few = match candidates {
            Count::Exactly(number) if number <= MOST_COUNTED => Some(number),
            Count::Exactly(_) | Count::About(_) => None,
        };
        let all = candidates.number();
        if self.planned.exact {
            return Ok(few.unwrap_or_else(|| rounded(all)));
        }
        let ask = self.ask(COUNTING);
        let deadline = ask.deadline;
        let mut newest = Newest::new(&self.seen.posts, &self.seen.records, ask, None);
        let mut verifier = Verifier::default();
        let (most, mut looked, mut found) = (few.unwrap_or(SAMPLE), 0_u64, 0_u64);
        while looked < most && Instant::now() < deadline {
            match newest.advance()? {
                Next::Found(candidate) => {
                    looked += 1;
                    let is_found = self.is_found(candidate.at, &mut verifier);
                    found += u64::from(is_found.map_err(FindError::from)?);
                }
                Next::End => return Ok(found),
                Next::Late(_) => break,
            }
        }
        if Some(looked) == few {
            return Ok(found);
        }
        let share = u128::from(all) * u128::from(found) / u128::from(looked.max(1));
        Ok(rounded(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}

/// What its interactions are worth.
fn popularity(s: &Snapshot, post: PostId) -> Result<f64, StoreError> {
    Ok((1.0 + interactions(s, post)?).log2())
}

/// What age takes away: a power law, so that of old posts the popular ones are still the better.
fn fading(now: i64, ts: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
    let age = now.saturating_sub(ts).max(0) as f64;
    1.5 * (1.0 + age / DAY).log2()
}
