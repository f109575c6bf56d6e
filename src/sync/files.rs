//! Repos from CAR files on this machine, checked and merged as those from hosts are.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::blocks::Blocks;
use super::car::Piece;
use super::fetch::{self, FetchError};
use super::import::{Expected, ImportError, Repo};
use super::quota::Quota;
use super::{Along, RepoSink, Setup, SinkClosed, settle};
use crate::event::{Body, Event};
use crate::identity::Freshness;
use crate::net::NetError;
use crate::repo::Commit;
use crate::schema::{Edit, Rows};
use crate::store::{Answer, StoreError, Tx};
use crate::syntax::Did;
use crate::threads::{Budget, Clock};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority};

const PIECE: usize = 256 << 10;
/// Files of one thread that are read while the writer is at earlier ones.
const AHEAD: usize = 8;
/// A repo that takes longer than this to come in from a file is left to its host.
const PATIENCE_MS: i64 = 6 * 3600 * 1000;

/// Blocks of one file that are kept in memory.
const KEPT: u64 = 16 << 20;
/// What is lost between blocks that lie together.
const SLACK: u64 = 64 << 10;

/// Waits for memory to read a file of `len` bytes beside those that are being read; one that needs more than there is is
/// read alone, and the rest of it goes to a file.
async fn quota(fetches: &Budget, len: u64) -> Quota {
    let blocks = len.min(KEPT).saturating_add(SLACK);
    // Where its blocks are takes about half as much as they do, while the table of them grows.
    Quota::fixed(fetches.take((len / 2).saturating_add(blocks)).await, blocks)
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRepo {
    /// Whose repo it is.
    pub did: Did,
    /// Records looked at; none if all of it was here.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Why a file was not taken in, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);

macro_rules! in_words {
    ($($error:ty),*) => {$(
        impl From<$error> for FileError {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
in_words!(FetchError, ImportError, SinkClosed, StoreError, std::io::Error);

/// Takes a repo in from a file.
pub(crate) async fn import(setup: &Arc<Setup>, path: &Path) -> Result<FileRepo, FileError> {
    let (own, path, runtime) = (Arc::clone(setup), path.to_owned(), Handle::current());
    let work = move || Source { setup: &own, runtime: &runtime, path: &path }.take();
    let taken = tokio::task::spawn_blocking(work).await;
    let taken = taken.map_err(|_| FileError("stopped".to_owned()))??;
    if taken.bytes > 0 {
        // Who asked may look at it at once, and so does the next line.
        setup.writer.visible(|_| Ok(())).await?;
        settle::identify(setup, &taken.did).await;
    }
    Ok(taken)
}

/// Takes repos in from the files that `next` names, to the end, on a thread that may block and with `runtime` for what has
/// to be asked. Some are told of after others were begun: the writer is not waited for between two. Reads show them once
/// something later is visible, and nobody looks their handles up.
pub fn import_files(
    setup: &Setup,
    runtime: &Handle,
    next: impl Fn() -> Option<PathBuf>,
    told: impl Fn(PathBuf, Result<FileRepo, FileError>),
) {
    let mut begun: VecDeque<(PathBuf, Begun)> = VecDeque::new();
    let finish = |path: PathBuf, begun| {
        let taken = Source { setup, runtime, path: &path }.finish(begun);
        told(path, taken);
    };
    while let Some(path) = next() {
        match (Source { setup, runtime, path: &path }).begin() {
            Ok(new) => begun.push_back((path, new)),
            Err(error) => told(path, Err(error)),
        }
        if begun.len() > AHEAD
            && let Some((path, first)) = begun.pop_front()
        {
            finish(path, first);
        }
    }
    begun.into_iter().for_each(|(path, begun)| finish(path, begun));
}

/// A file on its way in, on a thread that may block.
struct Source<'s> {
    setup: &'s Setup,
    runtime: &'s Handle,
    path: &'s Path,
}

/// A file that was read.
struct Begun {
    /// Whether its last events were applied is still to be told.
    last: Option<Answer<bool>>,
    repo: FileRepo,
}

/// What the commit of a file says of the rest.
struct Look {
    did: Did,
    /// Nothing is known of the account.
    unseen: bool,
}

/// Why a file was not read to its end.
enum Early {
    /// What is no newer than what is held has nothing to give.
    Known(Did),
    Failed(FileError),
}

impl<E: Into<FileError>> From<E> for Early {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Source<'_> {
    fn take(&self) -> Result<FileRepo, FileError> {
        self.finish(self.begin()?)
    }

    /// Waits for the end. Should something of the account be on its way in, from another file perhaps, what is held has
    /// to be read.
    fn finish(&self, mut begun: Begun) -> Result<FileRepo, FileError> {
        while let Some(last) = begun.last {
            if last.wait()? {
                break;
            }
            begun = self.begin_again()?;
        }
        Ok(begun.repo)
    }

    fn begin_again(&self) -> Result<Begun, FileError> {
        self.runtime.block_on(self.setup.writer.visible(|_| Ok(())))?;
        self.begin()
    }

    fn begin(&self) -> Result<Begun, FileError> {
        let file = File::open(self.path)?;
        let quota = quota(&self.setup.fetches, file.metadata()?.len());
        let quota = self.runtime.block_on(quota);
        let begun = self.read(file, quota)?;
        begun.map_or_else(|| self.begin_again(), Ok)
    }

    /// Reads the file and sends what it has; nothing if it has to be read again.
    fn read(&self, file: File, quota: Quota) -> Result<Option<Begun>, FileError> {
        let (read, walked, mut look) = (AtomicU64::new(0), AtomicU64::new(0), None);
        let blocks = Blocks::new(&self.setup.spill, quota);
        let repo = Repo::read(pieces(file, &read)?, blocks, |commit| {
            look = Some(self.look(commit)?);
            Ok(())
        });
        let nothing = |did| Begun { last: None, repo: FileRepo { did, records: 0, bytes: 0 } };
        let (repo, Look { did, unseen }) = match (repo, look) {
            (Ok(repo), Some(look)) => (repo, look),
            (Err(Early::Known(did)), _) => return Ok(Some(nothing(did))),
            (Err(Early::Failed(error)), _) => return Err(error),
            (Ok(_), None) => return Err(ImportError::Cut.into()),
        };
        let last = if unseen {
            match self.put(&did, &repo, &walked)? {
                None => return Ok(None),
                last => last,
            }
        } else {
            self.merge(&did, &repo, &walked)?;
            None
        };
        let repo = FileRepo { did, records: walked.into_inner(), bytes: read.into_inner() };
        Ok(Some(Begun { last, repo }))
    }

    /// Checks the commit, and whether it is worth to read on.
    fn look(&self, commit: &Commit) -> Result<Look, Early> {
        let did = commit.did.clone();
        let s = self.setup.store.snapshot();
        let mut unseen = true;
        if let Some(actor) = s.actor_id(&did)? {
            let account = s.actor(actor)?;
            if account.as_ref().is_some_and(|account| account.status.is_gone()) {
                let why = "the account is deleted, or wants nothing of its own collected here";
                return Err(FileError(why.to_owned()).into());
            }
            let row = s.repo(actor)?;
            unseen = account.is_none() && row.is_none();
            match row {
                Some(row) if row.is_complete() && commit.rev.as_u64() <= row.rev => {
                    return Err(Early::Known(did));
                }
                Some(row) if commit.rev.as_u64() < row.rev => {
                    let why = "it is older than what was seen of the repo";
                    return Err(FileError(why.to_owned()).into());
                }
                _ => {}
            }
        }
        let home = match self.setup.identity.recorded(&did) {
            Some(doc) => fetch::home_in(&doc),
            None => self.runtime.block_on(fetch::home(self.setup, &did, Freshness::Cached)),
        }?;
        Expected { did: did.clone(), key: home.key, now_us: self.setup.clock.now_us() }
            .check(commit)?;
        Ok(Look { did, unseen })
    }

    /// Puts a repo in of which nothing is held; a small one at once. Nothing if something is held after all, which the answer
    /// may say too.
    fn put(
        &self,
        did: &Did,
        repo: &Repo,
        walked: &AtomicU64,
    ) -> Result<Option<Answer<bool>>, FileError> {
        let event = |body| Event::found_here(did.clone(), self.setup.clock.now_ms(), body);
        let late = self.setup.clock.now_ms().saturating_add(PATIENCE_MS);
        let mut way = Way { sink: &*self.setup.sink, next: Vec::new(), last: None };
        way.next.extend([event(Body::Wanted), event(repo.begins())]);
        let mut goes = Ok(true);
        let changed = repo.changes(Vec::new(), walked, &mut |body| {
            // The last part goes with the end.
            if way.next.iter().any(|event| matches!(event.body, Body::Part { .. })) {
                let first = way.last.is_none();
                goes = way.send(if first { left_to_host(did, late) } else { nothing() });
            }
            way.next.push(event(body));
            matches!(goes, Ok(true))
        });
        if !goes? {
            return Ok(None);
        }
        if changed.is_err() && way.last.is_some() {
            way.next = vec![event(Body::GivenUp)];
            way.send(settled(did, late, &self.setup.clock))?;
        }
        changed?;
        way.next.push(event(repo.ends()));
        Ok(if way.send(settled(did, late, &self.setup.clock))? { way.last } else { None })
    }

    /// Merges a repo with what is held of it.
    fn merge(&self, did: &Did, repo: &Repo, walked: &AtomicU64) -> Result<(), FileError> {
        let event = |body| vec![Event::found_here(did.clone(), self.setup.clock.now_ms(), body)];
        let apply =
            |body| self.runtime.block_on(self.setup.sink.apply_parts(did.clone(), event(body)));
        apply(Body::Wanted)?;
        let merged = apply(repo.begins()).map_err(FileError::from).and_then(|()| {
            let held = self.setup.held.held(did)?;
            repo.changes(held, walked, &mut |body| apply(body).is_ok())?;
            Ok(apply(repo.ends())?)
        });
        if merged.is_err() {
            apply(Body::GivenUp)?;
        }
        self.runtime.block_on(self.setup.writer.visible(settled(
            did,
            i64::MAX,
            &self.setup.clock,
        )))?;
        merged
    }
}

/// Events of one repo on their way, one batch ahead of what is made.
struct Way<'s> {
    sink: &'s dyn RepoSink,
    next: Vec<Event>,
    last: Option<Answer<bool>>,
}

impl Way<'_> {
    /// Sends what is next; `false` if the first batch was refused.
    fn send(&mut self, along: Along) -> Result<bool, FileError> {
        let last = self.last.take();
        let unseen = last.is_none();
        if let Some(last) = last
            && !last.wait()?
        {
            return Ok(false);
        }
        self.last = Some(self.sink.apply_new(std::mem::take(&mut self.next), unseen, along)?);
        Ok(true)
    }
}

fn nothing() -> Along {
    Box::new(|_| Ok(()))
}

/// The host has to put right what a file began, should that not end.
fn left_to_host(did: &Did, due: i64) -> Along {
    let did = did.clone();
    Box::new(move |tx| {
        let actor = tx.intern_actor(&did)?;
        jobs::add(tx, actor, &JobRow::new(Priority::Asked, due)).map(drop)
    })
}

/// What a file could not put right its host has to, and now; else nothing is left to it at `due`.
fn settled(did: &Did, due: i64, clock: &Clock) -> Along {
    let (did, clock) = (did.clone(), clock.clone());
    Box::new(move |tx: &mut Tx<'_>| {
        let actor = tx.intern_actor(&did)?;
        if tx.repo(actor)?.is_some_and(|row| row.resync.is_some()) {
            jobs::add(tx, actor, &JobRow::new(Priority::Asked, clock.now_ms()))?;
        } else if jobs::get(tx, actor)?.is_some_and(|job| job.added == due) {
            jobs::remove(tx, actor)?;
        }
        Ok(())
    })
}

/// The pieces of a file, which are counted.
fn pieces(mut file: File, read: &AtomicU64) -> std::io::Result<impl Iterator<Item = Piece>> {
    let mut left = file.metadata()?.len();
    let mut ended = false;
    Ok(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        // One more than there is, which tells the end.
        let size = usize::try_from(left.saturating_add(1)).unwrap_or(PIECE).min(PIECE);
        let mut piece = Vec::with_capacity(size);
        let got = (&mut file).take(size as u64).read_to_end(&mut piece);
        ended = !matches!(got, Ok(n) if n == size);
        Some(match got {
            Ok(n) => {
                left = left.saturating_sub(n as u64);
                read.fetch_add(n as u64, Relaxed);
                Ok(Bytes::from(piece))
            }
            Err(error) => Err(NetError::Protocol(error.to_string())),
        })
    }))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn big_files_wait_for_each_other_and_small_ones_do_not() {
        let memory = Budget::new(224 << 20);
        let take = |len| quota(&memory, len).now_or_never();
        let small: Vec<_> = (0..100).map(|_| take(100_000).expect("there is room")).collect();
        let whole = 1 << 40;
        assert!(take(whole).is_none(), "others are being read");
        drop(small);
        let alone = take(whole).expect("however large it is");
        assert!(take(100_000).is_none());
        drop(alone);
        let half = [take(300 << 20), take(100 << 20)];
        assert!(half[0].is_some() && half[1].is_none() && take(10 << 20).is_some());
    }
}
