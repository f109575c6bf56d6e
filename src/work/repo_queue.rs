//! Durable work of `sync`: which repos are to be fetched, in what order, and where lists of repos were read to.
//!
//! In the `jobs` keyspace, beside what `jobs` keeps there. A job has two rows, its place in the order (priority, due time, account) and its state
//! (by account); both change in one batch. Finished jobs leave tombstones, so whoever reads the order starts behind
//! what was already taken.
//!
//! A repo that a list calls inactive has a mark instead, by account: it is no job until its account is seen alive, and
//! nothing reads through the marks, of which there may be more than jobs. A repo has a job, a mark, or neither.

use crate::schema::bytes::{ByteReader, push_blob, push_varint, push_zigzag};
use crate::schema::{ActorId, Key, whole};
use crate::store::{Ks, Reader, StoreError, Tx};

/// What comes first. Numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// The chain of commits has a gap, or an operator wants the repo anew.
    Resync = 0,
    /// An account that called.
    Member = 1,
    /// Whom a member follows.
    Follow = 2,
    /// Who is in the threads that a member sees.
    Context = 3,
    /// Named by an operator.
    Asked = 4,
    /// Found in a list of repos.
    Listed = 5,
}

impl Priority {
    /// Most urgent first.
    pub const ALL: [Self; 6] =
        [Self::Resync, Self::Member, Self::Follow, Self::Context, Self::Asked, Self::Listed];

    /// A short stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Member => "member",
            Self::Follow => "follow",
            Self::Context => "context",
            Self::Asked => "asked",
            Self::Listed => "listed",
        }
    }

    fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|p| *p as u8 == v)
    }
}

/// Longest text kept of an error.
const MAX_TEXT: usize = 300;

/// A repo that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// How urgent.
    pub priority: Priority,
    /// Not before this time, milliseconds.
    pub due: i64,
    /// Fetch it even if it is complete.
    pub force: bool,
    /// Failed tries.
    pub tries: u32,
    /// Since when, milliseconds; 0 unknown.
    pub added: i64,
    /// The rev that a list named, as its TID number; 0 if none did.
    pub rev: u64,
    /// The list that named it; 0 if none did.
    pub source: u32,
    /// Why the last try failed, to count by; empty if none did.
    pub cause: String,
    /// The same for people.
    pub detail: String,
}

impl JobRow {
    /// A job that was never tried.
    #[must_use]
    pub fn new(priority: Priority, now: i64) -> Self {
        Self {
            priority,
            due: now,
            force: false,
            tries: 0,
            added: now,
            rev: 0,
            source: 0,
            cause: String::new(),
            detail: String::new(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.priority as u8, u8::from(self.force)];
        push_zigzag(&mut out, self.due);
        push_varint(&mut out, u64::from(self.tries));
        push_zigzag(&mut out, self.added);
        push_varint(&mut out, self.rev);
        push_varint(&mut out, u64::from(self.source));
        push_blob(&mut out, clip(&self.cause).as_bytes());
        push_blob(&mut out, clip(&self.detail).as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self {
            priority: Priority::from_u8(r.u8()?)?,
            force: r.u8()? != 0,
            due: r.zigzag()?,
            tries: u32::try_from(r.varint()?).ok()?,
            added: r.zigzag()?,
            rev: r.varint()?,
            source: u32::try_from(r.varint()?).ok()?,
            cause: r.str()?.to_owned(),
            detail: r.str()?.to_owned(),
        })
    }
}

fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

const ORDER: u8 = b'J';
const STATE: u8 = b'K';
const ASLEEP: u8 = b'Z';
const SOURCE: u8 = b'S';
const CONTROL: u8 = b'B';

fn order_key(job: &JobRow, actor: ActorId) -> Key {
    let due = u64::try_from(job.due).unwrap_or(0);
    Key::tag(ORDER).u8(job.priority as u8).u64(due).actor(actor)
}

fn state_key(actor: ActorId) -> Key {
    Key::tag(STATE).actor(actor)
}

fn asleep_key(actor: ActorId) -> Key {
    Key::tag(ASLEEP).actor(actor)
}

/// The job of a repo.
pub fn get<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<JobRow>, StoreError> {
    r.row(Ks::Jobs, &state_key(actor), JobRow::decode)
}

/// Writes a job in place of the one there may be.
pub fn put(tx: &mut Tx<'_>, actor: ActorId, job: &JobRow) -> Result<(), StoreError> {
    match get(tx, actor)? {
        Some(old) => tx.del(Ks::Jobs, &order_key(&old, actor)),
        None => drop(take_mark(tx, actor)?),
    }
    tx.put(Ks::Jobs, &order_key(job, actor), &[]);
    tx.put(Ks::Jobs, &state_key(actor), &job.encode());
    Ok(())
}

/// What [`add`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// There was no job.
    New,
    /// It is more urgent now.
    Raised,
    /// There was one at least as urgent.
    Known,
}

/// Adds a job, or makes the one there is as urgent as this one. A list never hurries a job that failed.
pub fn add(tx: &mut Tx<'_>, actor: ActorId, job: &JobRow) -> Result<Added, StoreError> {
    let Some(old) = get(tx, actor)? else {
        put(tx, actor, job)?;
        return Ok(Added::New);
    };
    if job.priority == Priority::Listed {
        return Ok(Added::Known);
    }
    let new = JobRow {
        priority: old.priority.min(job.priority),
        due: old.due.min(job.due),
        force: old.force || job.force,
        ..old.clone()
    };
    if new == old {
        return Ok(Added::Known);
    }
    put(tx, actor, &new)?;
    Ok(Added::Raised)
}

/// Takes a job away, or what would have become one.
pub fn remove(tx: &mut Tx<'_>, actor: ActorId) -> Result<Option<JobRow>, StoreError> {
    let Some(job) = get(tx, actor)? else { return Ok(take_mark(tx, actor)?.map(woken)) };
    tx.del(Ks::Jobs, &order_key(&job, actor));
    tx.del(Ks::Jobs, &state_key(actor));
    Ok(Some(job))
}

/// Marks a repo that is not to be fetched before its account is seen alive, wanted by list `source`. A job that there is
/// stays one.
pub fn sleep(tx: &mut Tx<'_>, actor: ActorId, source: u32) -> Result<(), StoreError> {
    if get(tx, actor)?.is_none() {
        let mut value = Vec::new();
        push_varint(&mut value, u64::from(source));
        tx.put(Ks::Jobs, &asleep_key(actor), &value);
    }
    Ok(())
}

/// The account lives: its mark becomes a job. Says whether there is one now.
pub fn wake(tx: &mut Tx<'_>, actor: ActorId) -> Result<bool, StoreError> {
    let Some(id) = take_mark(tx, actor)? else { return Ok(false) };
    let wanted = is_wanted(tx, id)?;
    if wanted {
        put(tx, actor, &woken(id))?;
    }
    Ok(wanted)
}

/// Whether a repo is fetched once its account is seen alive.
pub fn is_asleep<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    mark(r, actor)?.map_or(Ok(false), |id| is_wanted(r, id))
}

/// Nobody waits for the repos of lists that were stopped.
fn is_wanted<R: Reader + ?Sized>(r: &R, list: u32) -> Result<bool, StoreError> {
    Ok(source(r, list)?.is_some_and(|list| list.state != SourceState::Stopped))
}

/// A list named it at a rev that nobody looked at, so it is fetched whatever is held.
fn woken(source: u32) -> JobRow {
    JobRow { source, force: true, ..JobRow::new(Priority::Listed, 0) }
}

fn mark<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<u32>, StoreError> {
    r.row(Ks::Jobs, &asleep_key(actor), decode_mark)
}

fn decode_mark(b: &[u8]) -> Option<u32> {
    u32::try_from(ByteReader::new(b).varint()?).ok()
}

fn take_mark(tx: &mut Tx<'_>, actor: ActorId) -> Result<Option<u32>, StoreError> {
    let source = mark(tx, actor)?;
    if source.is_some() {
        tx.del(Ks::Jobs, &asleep_key(actor));
    }
    Ok(source)
}

/// The longest that anything waits here, with some slack.
const LONGEST_MS: i64 = 25 * 3_600_000;
/// Jobs of one step.
const STEP: usize = 1000;

/// Lets jobs be due now whose time is farther ahead than anything waits: the clock was wrong when they were put there.
/// Some at a time; how many these were.
pub fn bring_back(tx: &mut Tx<'_>, now: i64) -> Result<usize, StoreError> {
    let late = now.saturating_add(LONGEST_MS);
    let mut found = Vec::new();
    for priority in Priority::ALL {
        let prefix = Key::tag(ORDER).u8(priority as u8);
        let lo = prefix.clone().u64(u64::try_from(late).unwrap_or(0));
        let hi = crate::store::prefix_end(&prefix);
        tx.scan(Ks::Jobs, &lo, hi.as_deref(), false, &mut |k, _| {
            let mut key = ByteReader::new(k.get(2..).unwrap_or_default());
            found.extend(key.u64().and(key.actor()));
            found.len() < STEP
        })?;
    }
    let mut count = 0;
    for actor in found {
        if let Some(job) = get(tx, actor)?.filter(|job| job.due >= late) {
            put(tx, actor, &JobRow { due: now, ..job })?;
            count += 1;
        }
    }
    Ok(count)
}

/// A place in the order of one priority.
pub type Position = (i64, ActorId);

/// Up to `limit` jobs of a priority that are due at `now`, those behind `after` only, in order.
pub fn due<R: Reader + ?Sized>(
    r: &R,
    priority: Priority,
    after: Option<Position>,
    now: i64,
    limit: usize,
) -> Result<Vec<Position>, StoreError> {
    let mut out = Vec::new();
    let prefix = Key::tag(ORDER).u8(priority as u8);
    let place = |at: i64| prefix.clone().u64(u64::try_from(at).unwrap_or(0));
    let lo = match after {
        Some((at, actor)) => place(at).actor(actor).u8(0),
        None => prefix.clone(),
    };
    let hi = place(now.saturating_add(1));
    r.scan(Ks::Jobs, &lo, Some(&hi), false, &mut |k, _| {
        let mut key = ByteReader::new(k.get(2..).unwrap_or_default());
        if let (Some(at), Some(actor)) = (key.u64(), key.actor()) {
            out.push((i64::try_from(at).unwrap_or(i64::MAX), actor));
        }
        out.len() < limit
    })?;
    Ok(out)
}

/// Visits every job, those of accounts behind `after` only; `false` ends it.
pub fn each<R: Reader + ?Sized>(
    r: &R,
    after: Option<ActorId>,
    mut visit: impl FnMut(ActorId, JobRow) -> bool,
) -> Result<(), StoreError> {
    let lo = after.map_or_else(|| Key::tag(STATE), |actor| state_key(actor).u8(0));
    r.scan(Ks::Jobs, &lo, Some(&[STATE + 1]), false, &mut |k, v| {
        let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
        whole(Ks::Jobs, k, actor.zip(JobRow::decode(v)))
            .is_none_or(|(actor, job)| visit(actor, job))
    })
}

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SourceKind {
    /// Repos of a host: `com.atproto.sync.listRepos`.
    Repos = 1,
    /// Hosts of a relay, each of which becomes a list: `com.atproto.sync.listHosts`.
    Hosts = 2,
    /// Repos with a collection: `com.atproto.sync.listReposByCollection`.
    Collection = 3,
}

/// How far a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SourceState {
    /// There is more.
    Reading = 0,
    /// Read to its end.
    Read = 1,
    /// Given up.
    Failed = 2,
    /// An operator did not want it any more.
    Stopped = 3,
}

/// A list that repos are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// What it is.
    pub kind: SourceKind,
    /// How far it is.
    pub state: SourceState,
    /// Scheme and host.
    pub url: String,
    /// NSID, of a list by collection.
    pub collection: String,
    /// Where to go on.
    pub cursor: String,
    /// When it was begun, milliseconds.
    pub started: i64,
    /// Accounts that the host is said to have; 0 unknown.
    pub expected: u64,
    /// Entries read.
    pub listed: u64,
    /// Of these, complete at that rev already.
    pub known: u64,
    /// Of these, not active.
    pub inactive: u64,
    /// Of these, no DID, or named before.
    pub bad: u64,
    /// Repos fetched.
    pub done: u64,
    /// Repos that failed at least once.
    pub failed: u64,
    /// Pages in a row that had nothing new.
    pub idle_pages: u64,
    /// Why it was given up.
    pub error: String,
}

impl SourceRow {
    /// A list at its beginning.
    #[must_use]
    pub fn new(kind: SourceKind, url: &str, collection: &str, now: i64) -> Self {
        Self {
            kind,
            state: SourceState::Reading,
            url: url.to_owned(),
            collection: collection.to_owned(),
            cursor: String::new(),
            started: now,
            expected: 0,
            listed: 0,
            known: 0,
            inactive: 0,
            bad: 0,
            done: 0,
            failed: 0,
            idle_pages: 0,
            error: String::new(),
        }
    }

    fn counts(&self) -> [u64; 8] {
        [
            self.expected,
            self.listed,
            self.known,
            self.inactive,
            self.bad,
            self.done,
            self.failed,
            self.idle_pages,
        ]
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8, self.state as u8];
        push_zigzag(&mut out, self.started);
        for n in self.counts() {
            push_varint(&mut out, n);
        }
        for text in [&self.url, &self.collection, &self.cursor] {
            push_blob(&mut out, text.as_bytes());
        }
        push_blob(&mut out, clip(&self.error).as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let kind = match r.u8()? {
            1 => SourceKind::Repos,
            2 => SourceKind::Hosts,
            3 => SourceKind::Collection,
            _ => return None,
        };
        let state = match r.u8()? {
            0 => SourceState::Reading,
            1 => SourceState::Read,
            2 => SourceState::Failed,
            3 => SourceState::Stopped,
            _ => return None,
        };
        let started = r.zigzag()?;
        let mut counts = [0u64; 8];
        for n in &mut counts {
            *n = r.varint()?;
        }
        let [expected, listed, known, inactive, bad, done, failed, idle_pages] = counts;
        Some(Self {
            kind,
            state,
            started,
            expected,
            listed,
            known,
            inactive,
            bad,
            done,
            failed,
            idle_pages,
            url: r.str()?.to_owned(),
            collection: r.str()?.to_owned(),
            cursor: r.str()?.to_owned(),
            error: r.str()?.to_owned(),
        })
    }
}

/// A list by its number.
pub fn source<R: Reader + ?Sized>(r: &R, id: u32) -> Result<Option<SourceRow>, StoreError> {
    r.row(Ks::Jobs, &Key::tag(SOURCE).u32(id), SourceRow::decode)
}

/// Writes a list's row.
pub fn put_source(tx: &mut Tx<'_>, id: u32, row: &SourceRow) {
    tx.put(Ks::Jobs, &Key::tag(SOURCE).u32(id), &row.encode());
}

/// Every list, in the order in which they were added.
pub fn sources<R: Reader + ?Sized>(r: &R) -> Result<Vec<(u32, SourceRow)>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Jobs, &[SOURCE], &mut |k, v| {
        let id = k.get(1..).and_then(|id| ByteReader::new(id).u32());
        out.extend(whole(Ks::Jobs, k, id.zip(SourceRow::decode(v))));
        true
    })?;
    Ok(out)
}

/// Begins a list: a new one, or the one of the same kind and place from its beginning if it was read or given up.
/// Gives its number, and whether there was anything to begin. `all` are those of [`sources`], and stay so.
pub fn start_source(
    tx: &mut Tx<'_>,
    all: &mut Vec<(u32, SourceRow)>,
    row: &SourceRow,
) -> (u32, bool) {
    let same =
        |r: &SourceRow| r.kind == row.kind && r.url == row.url && r.collection == row.collection;
    if let Some((id, old)) = all.iter_mut().find(|(_, r)| same(r)) {
        let begins = old.state != SourceState::Reading;
        if begins {
            old.clone_from(row);
            put_source(tx, *id, row);
        }
        return (*id, begins);
    }
    let id = all.last().map_or(1, |(id, _)| id.saturating_add(1));
    put_source(tx, id, row);
    all.push((id, row.clone()));
    (id, true)
}

/// Lists that are stopped: one, with those of the hosts that it named, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Everything that an operator asked for.
    All,
    /// The list of this kind, place and collection.
    List(SourceKind, String, String),
}

/// Lets the lists that `stop` means be read no further; gives the numbers of all that it means, ended ones included.
pub fn stop_sources(tx: &mut Tx<'_>, stop: &Stop) -> Result<Vec<u32>, StoreError> {
    let all = sources(tx)?;
    let named = |row: &SourceRow| match stop {
        Stop::All => true,
        Stop::List(kind, url, collection) => {
            row.kind == *kind && row.url == *url && row.collection == *collection
        }
    };
    // A list of hosts became a list of each of them, begun when it was.
    let begun: Vec<i64> = all.iter().filter(|(_, r)| named(r)).map(|(_, r)| r.started).collect();
    let mut ids = Vec::new();
    for (id, row) in all {
        let of_hosts = match stop {
            // A relay that does not tell its hosts gave its own list.
            Stop::List(SourceKind::Hosts, url, _) if row.kind == SourceKind::Repos => {
                row.url == *url || begun.contains(&row.started)
            }
            _ => false,
        };
        if !named(&row) && !of_hosts {
            continue;
        }
        // Of one that was read to its end too: marks that it left mean nothing any more.
        put_source(tx, id, &SourceRow { state: SourceState::Stopped, ..row });
        ids.push(id);
    }
    Ok(ids)
}

/// Takes away jobs that nobody but the operator asked for: those of these lists, or `all`. Looks at no more than `limit` of
/// them, behind `after`; gives the accounts, and where to go on.
pub fn drop_some(
    tx: &mut Tx<'_>,
    lists: &[u32],
    all: bool,
    after: Option<ActorId>,
    limit: usize,
) -> Result<(Vec<ActorId>, Option<ActorId>), StoreError> {
    let (mut dropped, mut seen, mut last) = (Vec::new(), 0, None);
    each(tx, after, |actor, job| {
        (seen, last) = (seen + 1, Some(actor));
        let listed = job.priority == Priority::Listed && lists.contains(&job.source);
        if listed || all && job.priority >= Priority::Asked {
            dropped.push(actor);
        }
        seen < limit
    })?;
    for actor in &dropped {
        remove(tx, *actor)?;
    }
    Ok((dropped, last.filter(|_| seen >= limit)))
}

/// Whether an operator paused everything but resyncs.
pub fn is_paused<R: Reader + ?Sized>(r: &R) -> Result<bool, StoreError> {
    r.has(Ks::Jobs, &Key::tag(CONTROL).u8(b'p'))
}

/// Pauses or goes on.
pub fn set_paused(tx: &mut Tx<'_>, paused: bool) {
    let key = Key::tag(CONTROL).u8(b'p');
    if paused {
        tx.put(Ks::Jobs, &key, &[]);
    } else {
        tx.del(Ks::Jobs, &key);
    }
}

/// Whether a row of this module is whole; `None` for rows that are not of it.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key.split_first()? {
        (&ORDER, rest) => Some(rest.len() == 13 && value.is_empty()),
        (&STATE, rest) => Some(rest.len() == 4 && JobRow::decode(value).is_some()),
        (&ASLEEP, rest) => Some(rest.len() == 4 && decode_mark(value).is_some()),
        (&SOURCE, rest) => Some(rest.len() == 4 && SourceRow::decode(value).is_some()),
        (&CONTROL, _) => Some(true),
        _ => None,
    }
}

/// Takes a repo off the list of [`resyncs`].
pub fn remove_resync(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'r').actor(actor));
}

/// Repos to fetch again as early versions listed them; this module took their place.
pub fn resyncs<R: Reader>(r: &R) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Meta, b"r", &mut |k, _| {
        out.extend(k.get(1..).and_then(|a| ByteReader::new(a).actor()));
        true
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, Writer};

    #[test]
    fn rows_come_back() {
        let job = JobRow {
            force: true,
            tries: 3,
            rev: 77,
            source: 9,
            cause: "bad-car".into(),
            detail: "not a CAR".into(),
            ..JobRow::new(Priority::Follow, 1_800_000_000_000)
        };
        assert_eq!(JobRow::decode(&job.encode()), Some(job.clone()));
        let long = JobRow { detail: "ä".repeat(400), ..job };
        let back = JobRow::decode(&long.encode()).unwrap();
        assert!(back.detail.len() <= MAX_TEXT && long.detail.starts_with(&back.detail));
        let mut source = SourceRow::new(SourceKind::Collection, "https://r", "a.b.c", 5);
        (source.cursor, source.listed, source.idle_pages) = ("x".into(), 300, 2);
        source.state = SourceState::Failed;
        assert_eq!(SourceRow::decode(&source.encode()), Some(source));
    }

    #[tokio::test]
    async fn a_job_of_a_clock_that_was_ahead_is_due_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let years = 3650 * 86_400_000;
        let jobs = move |tx: &mut Tx<'_>| {
            for (n, due) in [(1, years), (2, 500), (3, years + 7)] {
                put(tx, ActorId(n), &JobRow { tries: n, ..JobRow::new(Priority::Resync, due) })?;
            }
            Ok(())
        };
        writer.durable(jobs).await.unwrap();
        assert_eq!(writer.durable(|tx| bring_back(tx, 100)).await.unwrap(), 2);
        assert_eq!(writer.durable(|tx| bring_back(tx, 100)).await.unwrap(), 0);
        let s = store.snapshot();
        let all = due(&s, Priority::Resync, None, 1000, 10).unwrap();
        assert_eq!(all, [(100, ActorId(1)), (100, ActorId(3)), (500, ActorId(2))]);
        assert_eq!(get(&s, ActorId(3)).unwrap().unwrap().tries, 3);
    }

    #[tokio::test]
    async fn jobs_are_kept_in_order_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let job = |p, at| JobRow::new(p, at);
        let added = writer
            .durable(move |tx| {
                use Priority::{Asked, Follow, Listed};
                let mut out = Vec::new();
                for (n, j) in [
                    (1, job(Listed, 50)),
                    (2, job(Listed, 10)),
                    (3, job(Follow, 60)),
                    (1, job(Listed, 5)),
                    (2, job(Follow, 20)),
                    (3, job(Asked, 70)),
                ] {
                    out.push(add(tx, ActorId(n), &j)?);
                }
                Ok(out)
            })
            .await
            .unwrap();
        use Added::{Known, New, Raised};
        assert_eq!(added, [New, New, New, Known, Raised, Known]);
        let s = store.snapshot();
        let of = |p, after, now| due(&s, p, after, now, 10).unwrap();
        assert_eq!(of(Priority::Listed, None, 100), [(50, ActorId(1))]);
        let follows = [(10, ActorId(2)), (60, ActorId(3))];
        assert_eq!(of(Priority::Follow, None, 100), follows);
        assert_eq!(of(Priority::Follow, None, 59), follows[..1], "not yet due");
        assert_eq!(of(Priority::Follow, Some(follows[0]), 100), follows[1..]);
        writer.durable(|tx| remove(tx, ActorId(2))).await.unwrap();
        let s = store.snapshot();
        assert_eq!(due(&s, Priority::Follow, None, 100, 10).unwrap(), follows[1..]);
        assert_eq!(get(&s, ActorId(2)).unwrap(), None);
    }

    #[tokio::test]
    async fn a_list_is_begun_again_only_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store).unwrap();
        let row = SourceRow::new(SourceKind::Repos, "https://a", "", 5);
        let other = SourceRow::new(SourceKind::Hosts, "https://a", "", 5);
        let got = writer
            .durable(move |tx| {
                let mut all = sources(tx)?;
                let first = start_source(tx, &mut all, &row);
                let again = start_source(tx, &mut all, &row);
                let other = start_source(tx, &mut all, &other);
                put_source(tx, 1, &SourceRow { state: SourceState::Read, ..row.clone() });
                let mut all = sources(tx)?;
                Ok([first, again, other, start_source(tx, &mut all, &row)])
            })
            .await
            .unwrap();
        assert_eq!(got, [(1, true), (1, false), (2, true), (1, true)]);
    }
}
