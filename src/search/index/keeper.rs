//! Keeps the indexes as the store is: follows the log of changes, from one thread.
//!
//! Changes are gathered by what they are about, and taken in together: of a record that was put and put again the last
//! is read, once. A put is always a delete and an add, so what comes twice is there once.
//!
//! The indexes of a generation are in a folder of its number, and one of them is served. What has to be made anew (by
//! whatever cause: nothing is there, it was made by other rules, its files are damaged, it fell out of the log, the
//! operator asks for it) is made as the next generation, in the same way each time: a scan of the store, then the log. The
//! one before is served meanwhile if it can be, as it was when that began.
//!
//! # Invariants
//! - What is served is whole: a generation that is being made is not served before it has reached the end of the log.
//! - After a crash at any instant the generation that was being made goes on where it was, or is begun anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::documents::{Documents, kind_of_thing, tier};
use super::error::IndexError;
use super::generations::Generations;
use super::set::{Batch, Indexes, Seen, Views};
use super::sweep::Sweep;
use crate::changes::{Cause, Change, Entry, Follower, Position, What};
use crate::schema::rows::{AccountStatus, EdgeKind};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target, collections};
use crate::store::Snapshot;

/// How the indexes are kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What changed is taken in so long after the first of it.
    pub commit_interval: Duration,
    /// Or once it is so many records.
    pub batch: usize,
    /// Bytes of memory for what is written and merged.
    pub bytes: u64,
}

impl Settings {
    /// Bytes of documents that are put into a segment at once: the engine takes several times as much for them.
    fn at_once(&self) -> usize {
        usize::try_from(self.bytes / 8).unwrap_or(usize::MAX)
    }

    /// Documents of the largest segment that merging makes: it keeps the place of each of them in memory.
    fn largest(&self) -> u32 {
        u32::try_from(self.bytes / 32).unwrap_or(u32::MAX).clamp(100_000, 5_000_000)
    }
}

/// Counters that changed are cheaper than records: so many more of them are gathered.
const COUNTED: usize = 5;
/// How often it is looked whether it may go on, while the disk is short of room.
const HELD: Duration = Duration::from_secs(2);
/// How often it is looked whether a merge is done.
const MERGING: Duration = Duration::from_millis(500);
/// So long at most the position moves without being kept, though nothing of what happened is wanted.
const UNWANTED: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody wants something else of it.
const LOOK: Duration = Duration::from_secs(2);
/// What [`Search::searchable`] is while there is nothing.
const NOTHING: u64 = u64::MAX;

/// The indexes, and what keeps them.
pub struct Search {
    home: Generations,
    settings: Settings,
    kept: Mutex<Kept>,
    /// How far it is, for those who must not wait.
    position: Mutex<Option<Position>>,
    served: ArcSwapOption<Views>,
    held: AtomicBool,
    anew: AtomicBool,
    doubted: AtomicBool,
    building: AtomicBool,
    written: AtomicU64,
    searchable: AtomicU64,
}

#[derive(Default)]
struct Kept {
    live: Option<Live>,
    /// What an earlier run served, until the live one is whole.
    before: Option<(u64, Indexes)>,
    documents: Documents,
}

/// The generation that follows the log.
struct Live {
    number: u64,
    indexes: Indexes,
    position: Position,
    /// The position of the last commit.
    committed: Position,
    /// It is not served yet.
    building: bool,
    /// Its files are what was written to them.
    verified: bool,
    dirty: Dirty,
    /// When the first of what is not committed came.
    since: Option<Instant>,
    sweep: Sweep,
}

/// What changed and is not in the indexes yet.
#[derive(Default)]
struct Dirty {
    posts: BTreeSet<PostId>,
    counted: BTreeSet<PostId>,
    things: BTreeSet<RecordId>,
    actors: BTreeSet<ActorId>,
    deleted: BTreeSet<ActorId>,
}

/// What the status says of search.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SearchStatus {
    /// `ready`, `building` (what was there before is served) or `unavailable`.
    pub state: &'static str,
    /// Whether it is being made anew.
    pub building: bool,
    /// Posts that were read for that.
    pub built: u64,
    /// Posts that can be found.
    pub posts: u64,
    /// Accounts that can be found.
    pub actors: u64,
    /// Files that queries go through.
    pub segments: usize,
    /// Nothing is written for want of room on the disk.
    pub held: bool,
}

impl Search {
    /// The indexes in a folder. Nothing is opened before it is asked for.
    #[must_use]
    pub fn new(home: &Path, settings: Settings) -> Self {
        Self {
            home: Generations::new(home),
            settings,
            kept: Mutex::default(),
            position: Mutex::default(),
            served: ArcSwapOption::empty(),
            held: AtomicBool::new(false),
            anew: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            building: AtomicBool::new(false),
            written: AtomicU64::new(0),
            searchable: AtomicU64::new(NOTHING),
        }
    }

    /// What can be searched now; none while there is nothing that is whole.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.served.load().as_ref().map(|views| views.seen())
    }

    /// Makes the indexes anew; those that are there are served until that is done.
    pub fn rebuild(&self) {
        self.anew.store(true, Ordering::Relaxed);
    }

    /// What is served could not be read: it is looked at again whether it is what was written, and if not, made anew.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// The number of the log before which every change can be searched; none while there is nothing to search.
    #[must_use]
    pub fn searchable(&self) -> Option<u64> {
        Some(self.searchable.load(Ordering::Acquire)).filter(|seq| *seq != NOTHING)
    }

    /// Writes nothing, or goes on: the disk is short of room, or has it again.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> SearchStatus {
        let seen = self.seen();
        let building = self.building.load(Ordering::Relaxed) || self.anew.load(Ordering::Relaxed);
        let segments = |seen: &Seen| seen.posts.0.len() + seen.top.0.len() + seen.actors.0.len();
        SearchStatus {
            state: match (&seen, building) {
                (None, _) => "unavailable",
                (Some(_), true) => "building",
                (Some(_), false) => "ready",
            },
            building,
            built: if building { self.written.load(Ordering::Relaxed) } else { 0 },
            posts: seen.as_ref().map_or(0, |seen| seen.posts.documents()),
            actors: seen.as_ref().map_or(0, |seen| seen.actors.documents()),
            segments: seen.as_ref().map_or(0, segments),
            held: self.held.load(Ordering::Relaxed),
        }
    }

    /// Opens the generation that follows the log, if there is one, and the one that is served until then. Nobody sees
    /// them before they are checked.
    fn open(&self, kept: &mut Kept) -> Result<(), IndexError> {
        let (served, newest) = (self.home.served()?, self.home.newest()?);
        if let Some(number) = served.filter(|_| served != newest)
            && self.served.load().is_none()
            && kept.before.is_none()
        {
            kept.before = self.open_one(number)?.map(|live| (number, live.indexes));
        }
        if let Some(number) = newest {
            let building = served != newest;
            kept.live = self.open_one(number)?.map(|live| Live { building, ..live });
        }
        Ok(())
    }

    fn open_one(&self, number: u64) -> Result<Option<Live>, IndexError> {
        let open = || {
            let indexes = Indexes::open(&self.home.folder(number))?;
            Ok((indexes.position()?, indexes))
        };
        let (position, indexes) = match open() {
            Ok((Some(position), indexes)) if position.in_log().is_some() => (position, indexes),
            // Made by other rules.
            Ok(_) => return self.home.remove(number).map(|()| None),
            Err(error) => return self.damaged(number, error).map(|()| None),
        };
        Ok(Some(Live {
            number,
            indexes,
            committed: position.clone(),
            position,
            building: false,
            verified: false,
            dirty: Dirty::default(),
            since: None,
            sweep: Sweep::new(),
        }))
    }

    /// Reads every byte of what was opened, and serves it then. What is damaged goes.
    fn check(&self, kept: &mut Kept) -> Result<(), IndexError> {
        if let Some((number, indexes)) = kept.before.take() {
            match indexes.verify() {
                Ok(()) => self.served.store(Some(indexes.views().into())),
                Err(error) => self.damaged(number, error)?,
            }
        }
        let Some(live) = kept.live.as_mut().filter(|live| !live.verified) else { return Ok(()) };
        match live.indexes.verify() {
            Ok(()) => {
                live.verified = true;
                if !live.building {
                    self.served.store(Some(live.indexes.views().into()));
                }
                Ok(())
            }
            Err(error) => {
                let (number, building) = (live.number, live.building);
                kept.live = None;
                *self.position.lock() = None;
                if !building {
                    self.served.store(None);
                    self.searchable.store(NOTHING, Ordering::Release);
                }
                self.damaged(number, error)
            }
        }
    }

    /// A generation that is not what was written goes; whatever else went wrong may pass.
    fn damaged(&self, number: u64, error: IndexError) -> Result<(), IndexError> {
        if !error.is_damage() {
            return Err(error);
        }
        tracing::error!(%error, "search: the index is damaged and is made anew");
        self.home.remove(number)
    }

    fn position_of(&self, live: Option<&Live>) -> Position {
        let position = live.map_or(Position::Nowhere, |live| live.position.clone());
        self.building.store(live.is_none_or(|live| live.building), Ordering::Relaxed);
        if let Some(live) = live.filter(|live| live.verified && !live.building) {
            let whole = if live.dirty.is_empty() { &live.position } else { &live.committed };
            self.searchable.store(whole.in_log().unwrap_or(NOTHING), Ordering::Release);
        }
        *self.position.lock() = Some(position.clone());
        position
    }

    /// Does something to the generation that follows. If that fails, it is opened again before anything else is done: what
    /// was not committed comes again.
    fn with_live<T>(
        &self,
        f: impl FnOnce(&mut Live, &mut Documents) -> Result<T, IndexError>,
    ) -> Result<Option<T>, IndexError> {
        let mut kept = self.kept.lock();
        let kept = &mut *kept;
        if self.doubted.swap(false, Ordering::Relaxed)
            && let Some(live) = &mut kept.live
        {
            live.verified = false;
        }
        self.check(kept)?;
        let Some(mut live) = kept.live.take() else { return Ok(None) };
        *self.position.lock() = None;
        let done = f(&mut live, &mut kept.documents)?;
        self.position_of(Some(&live));
        kept.live = Some(live);
        Ok(Some(done))
    }

    fn commit(&self, live: &mut Live, of: &mut Documents, s: &Snapshot) -> Result<(), IndexError> {
        let dirty = std::mem::take(&mut live.dirty);
        self.written.fetch_add(dirty.posts.len() as u64, Ordering::Relaxed);
        dirty.write(s, &mut live.indexes, of, self.settings.at_once())?;
        live.indexes.commit(&live.position)?;
        live.committed = live.position.clone();
        live.since = None;
        live.indexes.tend(self.settings.largest())?;
        Ok(())
    }

    /// What was made is what is served from now on.
    fn serve(&self, live: &mut Live) -> Result<(), IndexError> {
        self.home.serve(live.number)?;
        live.building = false;
        self.served.store(Some(live.indexes.views().into()));
        tracing::info!(posts = live.indexes.seen().posts.documents(), "search: the index is ready");
        self.home.remove_but(live.number)
    }
}

impl Follower for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn want(&self, change: &Change) -> bool {
        match change.what {
            What::Put { coll, .. } | What::Delete { coll, .. } => matches!(
                coll,
                collections::POST
                    | collections::PROFILE
                    | collections::LIST
                    | collections::STARTERPACK
                    | collections::GENERATOR
                    | collections::LIKE
                    | collections::REPOST
            ),
            What::Account { .. } | What::Repo => true,
            What::Identity { settled, .. } => settled,
            What::Label { .. } | What::Takedown { .. } => false,
        }
    }

    /// Likes and reposts are counted where the posts are read.
    fn want_held(&self, change: &Change) -> bool {
        let counted = |id: RecordId| matches!(id.coll, collections::LIKE | collections::REPOST);
        self.want(change) && !change.record().is_some_and(counted)
    }

    fn position(&self) -> Result<Position, Cause> {
        let known = self.position.lock().clone();
        if self.anew.load(Ordering::Relaxed) {
            return Ok(Position::Nowhere);
        }
        if let Some(position) = known {
            return Ok(position);
        }
        let mut kept = self.kept.lock();
        if kept.live.is_none() {
            self.open(&mut kept)?;
        }
        Ok(self.position_of(kept.live.as_ref()))
    }

    fn begin(&self, _: &Snapshot, then: &Position) -> Result<(), Cause> {
        let mut kept = self.kept.lock();
        self.check(&mut kept)?;
        // One that was being made is of no use to anybody.
        let before = kept.live.take();
        *self.position.lock() = None;
        let number = self.home.newest()?.unwrap_or(0) + 1;
        if let Some(before) = before.filter(|before| before.building) {
            let unfinished = before.number;
            drop(before);
            self.home.remove(unfinished)?;
        }
        let mut indexes = Indexes::open(&self.home.folder(number))?;
        indexes.commit(then)?;
        self.written.store(0, Ordering::Relaxed);
        self.anew.store(false, Ordering::Relaxed);
        let live = Live {
            number,
            indexes,
            position: then.clone(),
            committed: then.clone(),
            building: true,
            verified: true,
            dirty: Dirty::default(),
            since: None,
            sweep: Sweep::new(),
        };
        self.position_of(Some(&live));
        kept.live = Some(live);
        tracing::info!("search: the index is made anew");
        Ok(())
    }

    fn apply(&self, changes: &[Entry], s: &Snapshot, then: &Position) -> Result<(), Cause> {
        self.with_live(|live, documents| {
            for entry in changes {
                live.dirty.mark(&entry.change, s)?;
            }
            live.position = then.clone();
            let since = *live.since.get_or_insert_with(Instant::now);
            let scanning = matches!(then, Position::Scanning { .. });
            let due = !scanning
                && !live.dirty.is_empty()
                && since.elapsed() >= self.settings.commit_interval;
            if live.dirty.len() >= self.settings.batch || due {
                self.commit(live, documents, s)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn rest(&self, s: &Snapshot) -> Result<Option<Duration>, Cause> {
        let wait = self.with_live(|live, documents| {
            let interval =
                if live.dirty.is_empty() { UNWANTED } else { self.settings.commit_interval };
            let elapsed = live.since.map(|since| since.elapsed());
            if live.building || elapsed.is_some_and(|elapsed| elapsed >= interval) {
                self.commit(live, documents, s)?;
            }
            if live.building {
                self.serve(live)?;
            }
            let seen = live.indexes.seen();
            let changed = live.sweep.piece(s, &seen, self.settings.commit_interval)?;
            if !changed.is_empty() {
                live.dirty.actors.extend(changed);
                live.since.get_or_insert_with(Instant::now);
            }
            let merging = live.indexes.tend(self.settings.largest())?;
            let left = live.since.map(|since| interval.saturating_sub(since.elapsed()));
            let merged = merging.then_some(MERGING);
            Ok(left.into_iter().chain(merged).chain([live.sweep.wait()]).min())
        })?;
        // Without a generation one is begun at once.
        Ok(Some(wait.map_or(Duration::ZERO, |wait| wait.map_or(LOOK, |wait| wait.min(LOOK)))))
    }

    fn paused(&self) -> Option<Duration> {
        self.held.load(Ordering::Relaxed).then_some(HELD)
    }
}

impl Dirty {
    fn len(&self) -> usize {
        self.posts.len() + self.things.len() + self.actors.len() + self.counted.len() / COUNTED
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.counted.is_empty() && self.deleted.is_empty()
    }

    fn mark(&mut self, change: &Change, s: &Snapshot) -> Result<(), IndexError> {
        match change.what {
            What::Account { status, .. } => {
                if status == AccountStatus::Deleted {
                    self.deleted.insert(change.actor);
                }
                self.actors.insert(change.actor);
            }
            What::Identity { .. } => {
                self.actors.insert(change.actor);
            }
            What::Delete {
                target: Some(Target::Post(post)),
                coll: collections::LIKE | collections::REPOST,
                ..
            } => {
                self.counted.insert(post);
            }
            What::Put { .. } | What::Delete { .. } => {
                if let Some(id) = change.record() {
                    self.record(id, s)?;
                }
            }
            What::Label { .. } | What::Takedown { .. } | What::Repo => {}
        }
        Ok(())
    }

    fn record(&mut self, id: RecordId, s: &Snapshot) -> Result<(), IndexError> {
        match id.coll {
            collections::POST => {
                self.posts.extend(PostId::of(id));
            }
            collections::PROFILE if id.rkey == Rkey::SELF => {
                self.actors.insert(id.actor);
            }
            collections::LIKE | collections::REPOST => {
                let kind =
                    if id.coll == collections::LIKE { EdgeKind::Like } else { EdgeKind::Repost };
                let edge = s.edge(kind, id.actor, id.rkey)?;
                if let Some(Target::Post(post)) = edge.map(|edge| edge.target) {
                    self.counted.insert(post);
                }
            }
            _ if kind_of_thing(id).is_some() => {
                self.things.insert(id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes what becomes of it, as the snapshot has it, so many bytes of documents at a time.
    fn write(
        self,
        s: &Snapshot,
        indexes: &mut Indexes,
        of: &mut Documents,
        at_once: usize,
    ) -> Result<(), IndexError> {
        let (records, accounts) = (indexes.records.clone(), indexes.accounts.clone());
        let top = indexes.seen().top;
        let mut batch = Batch::default();
        let mut full = |batch: &mut Batch, of: &mut Documents, at_once: usize| {
            if of.bytes() < at_once {
                return Ok(());
            }
            of.taken();
            indexes.write(std::mem::take(batch))
        };
        for post in &self.posts {
            batch.posts.deletes.record(post.record());
            batch.top.deletes.record(post.record());
            batch.posts.documents.extend(of.post(s, &records, *post, None)?);
            if let Some(tier) = tier(s, *post)? {
                batch.top.documents.extend(of.post(s, &records, *post, Some(tier))?);
            }
            full(&mut batch, of, at_once)?;
        }
        for post in self.counted.difference(&self.posts) {
            let now = tier(s, *post)?;
            if now == top.tier_of(&records, *post)? {
                continue;
            }
            batch.top.deletes.record(post.record());
            if now.is_some() {
                batch.top.documents.extend(of.post(s, &records, *post, now)?);
            }
            full(&mut batch, of, at_once)?;
        }
        for id in &self.things {
            batch.things.deletes.record(*id);
            batch.things.documents.extend(of.thing(s, &records, *id)?);
            full(&mut batch, of, at_once)?;
        }
        for actor in &self.actors {
            batch.actors.deletes.account(*actor);
            batch.actors.documents.extend(of.actor(s, &accounts, *actor)?);
            full(&mut batch, of, at_once)?;
        }
        for actor in self.deleted {
            // What it has written since is among what comes.
            batch.posts.deletes.account(actor);
            batch.top.deletes.account(actor);
            batch.things.deletes.account(actor);
        }
        full(&mut batch, of, 0)
    }
}
