//! Starter packs and feeds by what is typed of them: all words in name, description and creator's name, in any order, the
//! last of them maybe a beginning.
//!
//! # Invariants
//! - However many are found, only the best [`MOST`] of them are read; of [`MOST_COUNTED`] it is known how many use them.

use std::time::{Duration, Instant};

use super::ranked::{self, Best, log2, order, rounded};
use super::typed::{Part, Typed};
use super::{FindError, RECORD};
use crate::repo::fields;
use crate::schema::rows::Counter;
use crate::schema::{ActorId, CollId, PostId, RecordId, Rows, Target, collections, graph};
use crate::search::analysis::{Analyzer, fold};
use crate::search::document::ThingDocument;
use crate::search::eval::{self, Ask, Newest, Next, Plan, Span};
use crate::search::index::{Seen, TextField};
use crate::store::{Snapshot, StoreError, decodable};

/// Things that are read and ranked, and listed.
const MOST: usize = 100;
/// The newest so many are counted, and how long that may take.
const MOST_COUNTED: usize = 5_000;
const PATIENCE: Duration = Duration::from_millis(50);
/// Letters that a word has at least to be looked for as a beginning.
const BEGINNING: usize = 3;
/// Who joined within a week counts more, of so many.
const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
const OF_WEEK: usize = 500;

/// What can be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// Starter packs, by who joined through them.
    StarterPack,
    /// Feed generators, by likes.
    Feed,
}

impl Thing {
    fn collection(self) -> CollId {
        match self {
            Self::StarterPack => collections::STARTERPACK,
            Self::Feed => collections::GENERATOR,
        }
    }

    /// The term of the index, which also names its search.
    fn term(self) -> &'static str {
        match self {
            Self::StarterPack => "starterpack",
            Self::Feed => "generator",
        }
    }

    /// What says how many use it.
    fn counter(self) -> Counter {
        match self {
            Self::StarterPack => Counter::Joined,
            Self::Feed => Counter::Likes,
        }
    }
}

/// A search for starter packs or feeds.
pub struct ThingSearch<'a> {
    /// The indexes.
    pub seen: &'a Seen,
    /// The store.
    pub snapshot: &'a Snapshot,
    /// Which.
    pub thing: Thing,
    /// Accounts of which nothing is shown to anybody.
    pub hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    /// The time, milliseconds.
    pub now: i64,
}

/// A page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Things {
    /// Those that the caller's rules keep.
    pub ids: Vec<RecordId>,
    /// Where to go on.
    pub cursor: Option<String>,
    /// How many there are, exactly if they are few.
    pub total: u64,
}

impl ThingSearch<'_> {
    /// A page of `limit`. `keep` gives those of a batch that the viewer gets to see.
    ///
    /// # Errors
    /// Those of [`FindError`], and of `keep`.
    pub fn page<E: From<FindError>>(
        &self,
        typed: &Typed,
        cursor: Option<&str>,
        limit: usize,
        mut keep: impl FnMut(Vec<RecordId>) -> Result<Vec<RecordId>, E>,
    ) -> Result<Things, E> {
        let hash = typed.hash(self.thing.term());
        let after = ranked::from(cursor, hash).map_err(FindError::from)?;
        // All pages are of the time of the first.
        let now = after.map_or(self.now, |(now, _)| now);
        let (best, total) = self.best(typed, now)?;
        let coll = self.thing.collection();
        let record = |of: PostId| RecordId { actor: of.author, coll, rkey: of.rkey };
        let mut keep = |things: Vec<PostId>| {
            let kept = keep(things.into_iter().map(record).collect())?;
            Ok::<_, E>(kept.into_iter().map(key).collect())
        };
        let (found, last) = ranked::page(best, after, limit, &mut keep)?;
        let ids: Vec<RecordId> = found.into_iter().map(record).collect();
        let total = total.max(ids.len() as u64);
        Ok(Things { ids, cursor: ranked::cursor(last, now, hash), total })
    }

    /// The best, the first one first, and how many there are.
    fn best(&self, typed: &Typed, now: i64) -> Result<(Vec<Best>, u64), FindError> {
        let plan = self.plan(typed);
        let deadline = Instant::now() + PATIENCE;
        let ask = Ask { plan: &plan, span: Span::default(), hidden: self.hidden, deadline };
        let mut newest = Newest::new(&self.seen.things, &self.seen.records, ask, None);
        let mut used = Vec::new();
        let ends = loop {
            if used.len() == MOST_COUNTED || Instant::now() >= deadline {
                break false;
            }
            match newest.advance()? {
                Next::Found(candidate) => {
                    let id = candidate.at.post;
                    used.push((self.used(id)?, id));
                }
                Next::End => break true,
                Next::Late(_) => break false,
            }
        };
        let found = used.len();
        used.sort_unstable_by(|a, b| b.cmp(a));
        used.truncate(MOST);
        let looked = used.len();
        let mut analyzer = Analyzer::default();
        let mut best = Vec::new();
        for (count, id) in used {
            if let Some(points) = self.points(&mut analyzer, typed, id)? {
                let week = self.of_week(id, count, now)?;
                best.push(Best { score: points + log2(count) / 2.0 + week, of: id });
            }
        }
        best.sort_unstable_by(order);
        let verified = best.len() as u64;
        if ends && found == looked {
            return Ok((best, verified));
        }
        let all = match ends {
            true => found as u64,
            false => eval::count(&self.seen.things, &self.seen.records, &ask)?.number(),
        };
        let share = u128::from(all) * u128::from(verified) / (looked as u128).max(1);
        Ok((best, rounded(u64::try_from(share).unwrap_or(u64::MAX))))
    }

    fn plan(&self, typed: &Typed) -> Plan {
        let kind = Plan::Term(TextField::Flag, self.thing.term().to_owned());
        if typed.is_all() {
            return kind;
        }
        if typed.parts.is_empty() {
            return Plan::Nothing;
        }
        let anywhere = |of: &dyn Fn(TextField) -> Plan| {
            Plan::Or([TextField::Text, TextField::More].map(of).into())
        };
        let terms = typed.parts.iter().flat_map(|part| {
            part.terms.iter().map(move |term| {
                anywhere(&|field| match is_begun(typed, part) {
                    true => Plan::Prefix(field, term.clone()),
                    false => Plan::Term(field, term.clone()),
                })
            })
        });
        Plan::And([kind].into_iter().chain(terms).collect())
    }

    /// How many use it.
    fn used(&self, id: PostId) -> Result<u64, StoreError> {
        Ok(self.snapshot.agg(self.target(id))?.get(self.thing.counter()))
    }

    fn target(&self, id: PostId) -> Target {
        Target::Record(RecordId { actor: id.author, coll: self.thing.collection(), rkey: id.rkey })
    }

    fn of_week(&self, id: PostId, used: u64, now: i64) -> Result<f64, StoreError> {
        let Target::Record(pack) = self.target(id) else { return Ok(0.0) };
        if self.thing == Thing::Feed || used == 0 {
            return Ok(0.0);
        }
        let since = now.saturating_sub(WEEK_MS);
        let joined = graph::joined_since(self.snapshot, pack, since, OF_WEEK)?;
        Ok(log2(joined as u64))
    }

    /// How well a thing's record fits; none if it is not what was typed.
    fn points(
        &self,
        analyzer: &mut Analyzer,
        typed: &Typed,
        id: PostId,
    ) -> Result<Option<f64>, StoreError> {
        let coll = self.thing.collection();
        let id = RecordId { actor: id.author, coll, rkey: id.rkey };
        let row = decodable(self.snapshot.record(id))?.flatten().filter(|row| row.valid);
        let Some(row) = row else { return Ok(None) };
        let record = decodable(self.snapshot.unpack_within(&row.packed, RECORD))?.flatten();
        let Some((record, _)) = record else { return Ok(None) };
        if typed.is_all() {
            return Ok(Some(0.0));
        }
        let document = ThingDocument::of(&record);
        let name = Text::of(analyzer, document.name);
        let is_whole = f64::from(u8::from(typed.is_name(document.name)));
        let fits = |text: &dyn Fn(&Part) -> bool| typed.parts.iter().all(text);
        if fits(&|part| name.has(part, is_begun(typed, part))) {
            return Ok(Some(3.0 + 2.0 * is_whole));
        }
        let mut rest = Text::of(analyzer, document.description);
        let profile = graph::profile_within(self.snapshot, id.actor, RECORD)?;
        let owner = profile.as_ref().and_then(|profile| fields::text(profile, "displayName"));
        let owner = Text::of(analyzer, owner.unwrap_or_default());
        if let Some(handle) = self.snapshot.actor(id.actor)?.and_then(|row| row.handle) {
            analyzer.handle_terms(&handle, &mut |term| rest.terms.push(term.to_owned()));
        }
        let somewhere = |part: &Part| {
            [&name, &rest, &owner].into_iter().any(|text| text.has(part, is_begun(typed, part)))
        };
        Ok(fits(&somewhere).then_some(0.0))
    }
}

/// A text as it is searched.
struct Text {
    terms: Vec<String>,
    folded: String,
}

impl Text {
    fn of(analyzer: &mut Analyzer, text: &str) -> Self {
        let mut terms = Vec::new();
        analyzer.terms(text, &mut |term| terms.push(term.to_owned()));
        Self { terms, folded: fold(text) }
    }

    fn has(&self, part: &Part, as_beginning: bool) -> bool {
        match part.is_run() {
            true => self.folded.contains(&part.text),
            false => self
                .terms
                .iter()
                .any(|term| *term == part.text || (as_beginning && term.starts_with(&part.text))),
        }
    }
}

/// Whether a part may be the beginning of a word: the last word, while it is typed, and a letter of a script without
/// spaces, which is only in pairs.
fn is_begun(typed: &Typed, part: &Part) -> bool {
    match part.is_run() {
        true => part.units == 1,
        false => typed.is_last(part) && part.text.chars().count() >= BEGINNING,
    }
}

fn key(id: RecordId) -> PostId {
    PostId { author: id.actor, rkey: id.rkey }
}
