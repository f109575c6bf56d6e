//! Repos from CAR files on this machine, checked and merged as those from hosts are.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Setup;
use super::car::{self, CarError, Pieces};
use super::fetch::{self, FetchError, now_ms, now_us, take_in};
use super::import::Expected;
use super::settle;
use super::state::Progress;
use crate::event::{Body, Event};
use crate::identity::Freshness;
use crate::net::NetError;
use crate::repo::Commit;
use crate::store::repo_jobs::{self as jobs, JobRow, Priority};
use crate::store::{Reader as _, StoreError};
use crate::syntax::Did;

const PIECE: usize = 256 << 10;
/// Pieces between the file and who reads them.
const AHEAD: usize = 8;

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

impl From<FetchError> for FileError {
    fn from(error: FetchError) -> Self {
        Self(error.to_string())
    }
}

/// Takes a repo in from a file.
pub(crate) async fn import(setup: &Arc<Setup>, path: &Path) -> Result<FileRepo, FileError> {
    let commit = root_commit(path).await?;
    let did = Did::parse(&commit.did).map_err(|_| FileError("its commit names no DID".into()))?;
    // Before anything is marked: what is no newer than what is held has nothing to give.
    let (store, name, rev) = (setup.store.clone(), did.clone(), commit.rev.as_u64());
    let held = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
        let s = store.snapshot();
        let Some(actor) = s.actor_id(&name)? else { return Ok((None, false)) };
        let gone = s.actor(actor)?.is_some_and(|a| a.status.is_gone());
        Ok((s.repo(actor)?, gone))
    });
    let held = held.await.map_err(|_| FileError("stopped".to_owned()))?;
    let (row, gone) = held.map_err(|error| FileError(error.to_string()))?;
    match row {
        _ if gone => {
            let why = "the account is deleted, or wants nothing of its own collected here";
            return Err(FileError(why.to_owned()));
        }
        Some(row) if row.is_complete() && rev <= row.rev => {
            return Ok(FileRepo { did, records: 0, bytes: 0 });
        }
        Some(row) if rev < row.rev => {
            return Err(FileError("it is older than what was seen of the repo".to_owned()));
        }
        _ => {}
    }
    let home = fetch::home(setup, &did, Freshness::Cached).await?;
    let event = |body| vec![Event { did: did.clone(), time: now_ms(), body }];
    let closed = |_| FileError("stopped".to_owned());
    setup.sink.apply_parts(did.clone(), event(Body::Wanted)).await.map_err(closed)?;
    let expected = Expected { did: did.clone(), key: home.key, now_us: now_us() };
    let progress = Arc::new(Progress::default());
    let pieces = pieces(path)?.into_stream();
    let taken = take_in(setup, expected, pieces, &progress).await;
    if taken.is_err() {
        setup.sink.apply_parts(did.clone(), event(Body::GivenUp)).await.map_err(closed)?;
    }
    let name = did.clone();
    let leave = setup.writer.visible(move |tx| {
        // What a file could not put right its host has to.
        let actor = tx.intern_actor(&name)?;
        if tx.repo(actor)?.is_some_and(|row| row.resync.is_some()) {
            jobs::add(tx, actor, &JobRow::new(Priority::Asked, now_ms()))?;
        }
        Ok(())
    });
    leave.await.map_err(|error| FileError(error.to_string()))?;
    taken?;
    settle::identify(setup, &did).await;
    let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    Ok(FileRepo { records: read(&progress.records), bytes: read(&progress.bytes), did })
}

/// The pieces of a file, read by a thread that ends when nobody wants them.
fn pieces(path: &Path) -> Result<Pieces, FileError> {
    let mut file = File::open(path).map_err(|error| FileError(error.to_string()))?;
    let (send, pieces) = flume::bounded(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let piece = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    piece.truncate(n);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(NetError::Protocol(error.to_string())),
            };
            if send.send(piece).is_err() {
                return;
            }
        }
    });
    Ok(pieces)
}

enum Search {
    Found(Box<Commit>),
    Failed(CarError),
}

impl From<CarError> for Search {
    fn from(error: CarError) -> Self {
        Self::Failed(error)
    }
}

/// The commit that the header names. It is the first block as a rule.
async fn root_commit(path: &Path) -> Result<Box<Commit>, FileError> {
    let pieces = pieces(path)?;
    let search = move || {
        car::read_from_root(&pieces, |root, digest, block| match Commit::decode(block) {
            Ok(commit) if digest == root => Err(Search::Found(Box::new(commit))),
            _ => Ok(()),
        })
    };
    match tokio::task::spawn_blocking(search).await {
        Ok(Err(Search::Found(commit))) => Ok(commit),
        Ok(Err(Search::Failed(error))) => Err(FileError(error.to_string())),
        Ok(Ok(())) => Err(FileError("its root is no commit".to_owned())),
        Err(_) => Err(FileError("stopped".to_owned())),
    }
}
