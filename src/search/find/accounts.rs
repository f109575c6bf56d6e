//! Accounts by what is typed of them: the one whose handle it is, those whose names begin so, then those that would but
//! for a slip, and last those whose descriptions say it.
//!
//! # Invariants
//! - However many are found, only the best [`MOST`] of them are read and counted, by the followers that the index knows.

use rustc_hash::{FxHashMap, FxHashSet};

use super::ranked::{self, Best, log2, order};
use super::typed::{Part, Typed};
use super::{FindError, RECORD};
use crate::repo::fields::text;
use crate::schema::rows::{Counter, EdgeKind};
use crate::schema::{ActorId, PostId, Rkey, Rows, Target, graph};
use crate::search::analysis::{AccountNames, Analyzer, COMMON_DOMAIN, fold};
use crate::search::eval::actors::{Account, Accounts, begins_with_slip};
use crate::search::index::Seen;
use crate::store::{Snapshot, StoreError, decodable};

/// Accounts that are read and ranked, and listed.
const MOST: usize = 100;
/// The newest follows of the viewer that are looked at.
const FOLLOWS: usize = 1_000;
/// Accounts that are looked for among the followers of the best, and how many of those that are.
const FRIENDS: usize = 32;
const KNOWN: usize = 20;

/// Points that put an account before all that have fewer such, whatever else they have.
const EXACT: f64 = 3_000.0;
const FIRST_LABEL: f64 = 2_000.0;
const OWN_FOLLOW: f64 = 1_000.0;
const BY_DESCRIPTION: f64 = -1_000.0;

/// A search for accounts.
pub struct AccountSearch<'a> {
    /// The indexes.
    pub seen: &'a Seen,
    /// The store.
    pub snapshot: &'a Snapshot,
    /// Who asks.
    pub viewer: Option<ActorId>,
    /// Accounts that are not shown to anybody.
    pub hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    /// Whether a label says that an account is spam or pretends to be another.
    pub marked: &'a dyn Fn(ActorId) -> Result<bool, StoreError>,
    /// Whether descriptions are searched too.
    pub descriptions: bool,
}

/// Why an account is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Described,
    Slip,
    Begins,
    Named,
    Handle,
    Followed,
    Exact,
}

/// An account that was read.
struct Read {
    actor: ActorId,
    handle: String,
    score: f64,
}

impl AccountSearch<'_> {
    /// A page of `limit` accounts and where to go on. `keep` gives those of a batch that the viewer gets to see.
    ///
    /// # Errors
    /// Those of [`FindError`], and of `keep`.
    pub fn page<E: From<FindError>>(
        &self,
        typed: &Typed,
        cursor: Option<&str>,
        limit: usize,
        mut keep: impl FnMut(Vec<ActorId>) -> Result<Vec<ActorId>, E>,
    ) -> Result<(Vec<ActorId>, Option<String>), E> {
        let hash = typed.hash(if self.descriptions { "accounts" } else { "names" });
        let after = ranked::from(cursor, hash).map_err(FindError::from)?;
        let best = match typed.is_all() {
            true => self.anybody()?,
            false => self.best(typed, limit)?,
        };
        let mut keep = |accounts: Vec<PostId>| {
            let kept = keep(accounts.into_iter().map(|of| of.author).collect())?;
            Ok::<_, E>(kept.into_iter().map(key).collect())
        };
        let (found, last) = ranked::page(best, after, limit, &mut keep)?;
        let found = found.into_iter().map(|of| of.author).collect();
        Ok((found, ranked::cursor(last, 0, hash)))
    }

    fn accounts(&self) -> Accounts<'_> {
        Accounts { seen: self.seen, hidden: self.hidden, most: MOST }
    }

    /// Whom the viewer follows, then the most followed.
    fn anybody(&self) -> Result<Vec<Best>, FindError> {
        let mut follows = self.follows()?;
        follows.truncate(MOST);
        let followed: FxHashSet<ActorId> = follows.iter().copied().collect();
        let others = self.accounts().all()?.into_iter().map(|account| account.actor);
        let mut best = Vec::new();
        for actor in followed.iter().copied().chain(others.filter(|id| !followed.contains(id))) {
            if !(self.hidden)(actor) {
                let own = if followed.contains(&actor) { OWN_FOLLOW } else { 0.0 };
                best.push(Best { score: own + self.popularity(actor)?, of: key(actor) });
            }
        }
        best.sort_unstable_by(order);
        Ok(best)
    }

    fn follows(&self) -> Result<Vec<ActorId>, StoreError> {
        match self.viewer {
            Some(viewer) => graph::newest_follows(self.snapshot, viewer, FOLLOWS),
            None => Ok(Vec::new()),
        }
    }

    fn followers(&self, actor: ActorId) -> Result<u64, StoreError> {
        Ok(self.snapshot.agg(Target::Actor(actor))?.get(Counter::Followers))
    }

    fn popularity(&self, actor: ActorId) -> Result<f64, StoreError> {
        Ok(log2(self.followers(actor)?) / 2.0)
    }

    /// The best, the first one first.
    fn best(&self, typed: &Typed, limit: usize) -> Result<Vec<Best>, FindError> {
        let follows = self.follows()?;
        let mut read = Vec::new();
        let mut analyzer = Analyzer::default();
        for (actor, why) in self.candidates(typed, &follows, limit)? {
            read.extend(self.read(&mut analyzer, typed, actor, why)?);
        }
        lower_twins(&mut read);
        let mut best: Vec<Best> =
            read.iter().map(|read| Best { score: read.score, of: key(read.actor) }).collect();
        best.sort_unstable_by(order);
        self.raise_known(&mut best, &follows)?;
        best.sort_unstable_by(order);
        Ok(best)
    }

    /// Those that are read: the most followed of each kind, the best kinds first.
    fn candidates(
        &self,
        typed: &Typed,
        follows: &[ActorId],
        limit: usize,
    ) -> Result<Vec<(ActorId, Why)>, FindError> {
        let accounts = self.accounts();
        let mut found: FxHashMap<ActorId, (Why, f64)> = FxHashMap::default();
        let mut add = |why: Why, some: Vec<Account>| {
            for Account { actor, followers } in some {
                // What it adds is about what it will have when it is read.
                let score = log2(u64::try_from(followers).unwrap_or(0)) / 2.0 + rank(why);
                let held = found.entry(actor).or_insert((why, score));
                *held = (held.0.max(why), held.1.max(score));
            }
            found.len()
        };
        let exact = self.exact(typed)?;
        if let Some(actor) = exact.filter(|actor| !(self.hidden)(*actor)) {
            add(Why::Exact, vec![Account { actor, followers: 0 }]);
        }
        if let Some(begin) = typed.handle_begin() {
            add(Why::Handle, accounts.with_handle(&begin)?);
        }
        let terms = typed.terms();
        if !terms.is_empty() {
            add(Why::Followed, accounts.beginning_of(&terms, follows)?);
            add(Why::Named, accounts.named(&terms)?);
            let mut count = add(Why::Begins, accounts.beginning(&terms)?);
            if let Some(joined) = &typed.joined {
                count = add(Why::Begins, accounts.beginning(&[joined.as_str()])?);
            }
            // Who types a whole handle made no slip.
            if count < limit && exact.is_none() {
                add(Why::Slip, accounts.with_slip(&terms)?);
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|(a, (_, one)), (b, (_, other))| other.total_cmp(one).then(a.cmp(b)));
        found.truncate(MOST);
        let mut found: Vec<_> = found.into_iter().map(|(actor, (why, _))| (actor, why)).collect();
        if self.descriptions && !terms.is_empty() && found.len() < MOST {
            let known: FxHashSet<ActorId> = found.iter().map(|(actor, _)| *actor).collect();
            let described = accounts.describing(&terms)?.into_iter().map(|account| account.actor);
            let others = described.filter(|actor| !known.contains(actor));
            found.extend(others.take(MOST - known.len()).map(|actor| (actor, Why::Described)));
        }
        Ok(found)
    }

    fn exact(&self, typed: &Typed) -> Result<Option<ActorId>, StoreError> {
        match typed.identifier() {
            Some(did) if did.starts_with("did:") => self.snapshot.actor_id(did),
            Some(handle) => self.snapshot.handle_owner(handle),
            None => Ok(None),
        }
    }

    /// What an account is called now, and its score if that is what was typed.
    fn read(
        &self,
        analyzer: &mut Analyzer,
        typed: &Typed,
        actor: ActorId,
        why: Why,
    ) -> Result<Option<Read>, StoreError> {
        let Some(row) = decodable(self.snapshot.actor(actor))?.flatten() else { return Ok(None) };
        let profile = decodable(graph::profile_within(self.snapshot, actor, RECORD))?.flatten();
        let of = |key| profile.as_ref().and_then(|profile| text(profile, key)).unwrap_or_default();
        let handle = row.handle.unwrap_or_default().to_ascii_lowercase();
        let names = analyzer.account_names(&handle, of("displayName"));
        let folded = fold(of("displayName"));
        let fit = match why {
            Why::Exact => Some(EXACT),
            Why::Described => {
                let bio = analyzer.account_names("", of("description")).words;
                let has = |term: &&str| bio.iter().chain(&names.words).any(|word| word == term);
                let all = typed.terms().iter().all(has);
                all.then_some(BY_DESCRIPTION)
            }
            _ => fit(typed, &handle, &names, folded.trim(), why == Why::Slip),
        };
        let Some(fit) = fit else { return Ok(None) };
        let mut score = fit + self.popularity(actor)?;
        if let Some(viewer) = self.viewer
            && self.snapshot.fan(EdgeKind::Follow, Target::Actor(actor), viewer)?.is_some()
        {
            score += 3.0;
        }
        if (self.marked)(actor)? {
            score -= 4.0;
        }
        Ok(Some(Read { actor, handle, score }))
    }

    /// Those whom the viewer's follows follow are better known: looked for among the best.
    fn raise_known(&self, best: &mut [Best], follows: &[ActorId]) -> Result<(), StoreError> {
        let friends = follows.get(..FRIENDS).unwrap_or(follows);
        for one in best.iter_mut().take(KNOWN) {
            let target = Target::Actor(one.of.author);
            if friends.is_empty() || self.followers(one.of.author)? == 0 {
                continue;
            }
            let mut known = 0;
            for friend in friends {
                known += u64::from(self.snapshot.fan(EdgeKind::Follow, target, *friend)?.is_some());
            }
            one.score += 1.5 * log2(known);
        }
        Ok(())
    }
}

fn key(actor: ActorId) -> PostId {
    PostId { author: actor, rkey: Rkey(0) }
}

/// What a reason is worth before the account is read.
fn rank(why: Why) -> f64 {
    match why {
        Why::Described => BY_DESCRIPTION,
        Why::Slip => 0.0,
        Why::Begins => 2.0,
        Why::Named => 3.0,
        Why::Followed => 5.0,
        Why::Handle => FIRST_LABEL,
        Why::Exact => EXACT,
    }
}

/// How well what was typed fits the names of an account; none if it does not, or does with a slip that is not asked for.
fn fit(
    typed: &Typed,
    handle: &str,
    names: &AccountNames,
    name: &str,
    may_slip: bool,
) -> Option<f64> {
    let mut points = 0.0;
    if let Some(begin) = typed.handle_begin()
        && handle.starts_with(&begin)
    {
        let is_label = handle.split('.').next() == begin.strip_suffix('.');
        return Some(4.0 + if is_label { FIRST_LABEL } else { 0.0 });
    }
    let joined = typed.joined.as_deref().and_then(|all| of_word(all, names, false));
    let parts: Option<Vec<f64>> =
        typed.parts.iter().map(|part| of_part(part, names, name, may_slip)).collect();
    if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        points = mean;
    } else if joined.is_none() {
        return None;
    }
    Some(joined.map_or(points, |joined| joined.max(points)))
}

fn of_part(part: &Part, names: &AccountNames, name: &str, may_slip: bool) -> Option<f64> {
    match part.is_run() {
        false => of_word(&part.text, names, may_slip),
        true if name == part.text => Some(3.0),
        true => name.contains(&part.text).then_some(2.0),
    }
}

/// A whole word 3, its beginning 2, with a slip 0; in the handle 1 more.
fn of_word(word: &str, names: &AccountNames, may_slip: bool) -> Option<f64> {
    let best = |of: &[String], more: f64| {
        let points = of.iter().filter_map(|name| match name {
            name if name == word => Some(3.0 + more),
            name if name.starts_with(word) => Some(2.0 + more),
            name if may_slip && begins_with_slip(name, word) => Some(more),
            _ => None,
        });
        points.max_by(f64::total_cmp)
    };
    let (label, word) = (best(&names.labels, 1.0), best(&names.words, 0.0));
    label.into_iter().chain(word).max_by(f64::total_cmp)
}

/// An account of the common domain whose first label is that of a found one with a domain of its own may be who pretends
/// to be that one.
fn lower_twins(read: &mut [Read]) {
    let first = |handle: &str| handle.split('.').next().unwrap_or_default().to_owned();
    let own: FxHashSet<String> = read
        .iter()
        .filter(|read| !read.handle.ends_with(COMMON_DOMAIN) && !read.handle.is_empty())
        .map(|read| first(&read.handle))
        .collect();
    for read in read.iter_mut().filter(|read| read.handle.ends_with(COMMON_DOMAIN)) {
        if own.contains(&first(&read.handle)) {
            read.score -= 2.0;
        }
    }
}
