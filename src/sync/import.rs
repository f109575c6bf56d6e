//! One repo from its CAR: checked, walked in order beside what is held, told as puts and deletes.
//!
//! Runs on a thread that may block; `walked` counts the records that were looked at.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::blocks::{Blocks, BlocksError};
use super::car::{self, CarError, Piece};
use super::spill::SpillError;
use super::{HeldRecord, INVALID};
use crate::crypto::PublicKey;
use crate::event::{Body, Op, Record};
use crate::lexicon::catalog;
use crate::repo::cbor::CborError;
use crate::repo::dag_cbor::Weighed;
use crate::repo::mst::{MstError, Walk};
use crate::repo::{Commit, dag_cbor};
use crate::store::StoreError;
use crate::syntax::Tid;
use crate::syntax::{Did, cid, is_nsid, is_rkey};
use crate::threads::Held;

/// Records of one event.
const PART_OPS: usize = 500;
/// Bytes that records of one event take. Only a record that takes more has an event of its own with as many as that.
const PART_BYTES: usize = 1 << 20;
/// The commit is within so many bytes of blocks: who has no key for the account cannot make us read on.
const COMMIT_WITHIN: usize = 1 << 20;
/// How far a clock may be ahead of ours, microseconds.
const MAX_AHEAD_US: u64 = 5 * 60 * 1_000_000;

/// Why a repo could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Car(#[from] CarError),
    #[error("the CAR ends early")]
    Cut,
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    #[error("the first megabyte of the CAR has no commit")]
    Late,
    #[error("the commit block is invalid: {0}")]
    Commit(CborError),
    #[error("the commit is of another repository")]
    WrongDid,
    #[error("the commit lies in the future")]
    Future,
    #[error("the commit is not signed with the account's key")]
    Signature,
    #[error("the tree: {0}")]
    Tree(#[from] MstError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("stopped")]
    Stopped,
}

impl ImportError {
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Car(CarError::Net(error)) => error.cause(),
            Self::Car(CarError::Cut) => "car-cut",
            Self::Car(_) => "bad-car",
            Self::Cut | Self::Tree(MstError::MissingBlock(_)) => "car-cut",
            Self::Blocks(BlocksError::TooMany) => "too-big",
            Self::Blocks(BlocksError::TooSmall) => "tiny-blocks",
            Self::Blocks(BlocksError::Spill(SpillError::NoRoom)) => "no-room",
            Self::Blocks(BlocksError::Spill(SpillError::Io(_))) => "spill",
            Self::Late => "commit-late",
            Self::Commit(_) => "commit-invalid",
            Self::WrongDid => "wrong-did",
            Self::Future => "rev-future",
            Self::Signature => "bad-signature",
            Self::Tree(_) => "bad-tree",
            Self::Store(_) => "store",
            Self::Stopped => "stopped",
        }
    }
}

/// What a repo is checked against.
pub(crate) struct Expected {
    pub(crate) did: Did,
    pub(crate) key: PublicKey,
    pub(crate) now_us: u64,
}

/// A repo, all of it read.
pub(crate) struct Repo {
    commit: Commit,
    data: [u8; 32],
    blocks: Blocks,
}

impl Repo {
    /// Reads pieces to the end; `look` sees the commit as soon as it comes, which is first as a rule and never late.
    pub(crate) fn read<E: From<ImportError>>(
        pieces: impl Iterator<Item = Piece>,
        mut blocks: Blocks,
        look: impl FnOnce(&Commit) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (mut look, mut commit, mut before) = (Some(look), None, 0);
        let taken = car::read(pieces, |root, digest, block| {
            if commit.is_none() && before > COMMIT_WITHIN {
                return Err(Stop::Bad(ImportError::Late));
            }
            before += block.len();
            blocks.insert(digest, block).map_err(ImportError::from).map_err(Stop::Bad)?;
            if digest == root
                && let Some(look) = look.take()
            {
                let found =
                    Commit::decode(block).map_err(ImportError::Commit).map_err(Stop::Bad)?;
                look(&found).map_err(Stop::Told)?;
                commit = Some(found);
            }
            Ok(())
        });
        match taken {
            Err(Stop::Bad(error)) => return Err(error.into()),
            Err(Stop::Told(error)) => return Err(error),
            Ok(_) => {}
        }
        let commit = commit.ok_or(ImportError::Cut)?;
        blocks.finish().map_err(ImportError::from)?;
        let data = cid::digest(&commit.data).ok_or(ImportError::Tree(MstError::Key))?;
        Ok(Self { commit, data, blocks })
    }

    /// Comes before the first change.
    pub(crate) fn begins(&self) -> Body {
        Body::Fetching { rev: self.commit.rev, data: self.data }
    }

    /// Comes after the last change.
    pub(crate) fn ends(&self) -> Body {
        Body::Fetched { rev: self.commit.rev }
    }

    /// Hands what differs from `held` on in parts.
    pub(crate) fn changes(
        &self,
        held: Vec<HeldRecord>,
        walked: &AtomicU64,
        to: &mut impl Told,
    ) -> Result<(), ImportError> {
        compare(&self.commit, &self.blocks, held, walked, to)
    }
}

/// Whom changes are told.
pub(crate) trait Told {
    /// Waits until `bytes` of records may be held.
    fn room(&mut self, bytes: u64) -> Held;

    /// Takes some, and what they hold; says whether to go on.
    fn tell(&mut self, body: Body, held: Held) -> bool;
}

/// Whoever waits for nothing.
impl<F: FnMut(Body) -> bool> Told for F {
    fn room(&mut self, _: u64) -> Held {
        Held::default()
    }

    fn tell(&mut self, body: Body, _: Held) -> bool {
        self(body)
    }
}

/// Why reading ended early.
enum Stop<E> {
    Bad(ImportError),
    Told(E),
}

impl<E> From<CarError> for Stop<E> {
    fn from(error: CarError) -> Self {
        Self::Bad(error.into())
    }
}

impl Expected {
    /// Whether the commit is what it has to be.
    pub(crate) fn check(&self, commit: &Commit) -> Result<(), ImportError> {
        if commit.did != self.did {
            return Err(ImportError::WrongDid);
        }
        if commit.rev.micros() > self.now_us.saturating_add(MAX_AHEAD_US) {
            return Err(ImportError::Future);
        }
        if !commit.verify_signature(&self.key) {
            return Err(ImportError::Signature);
        }
        Ok(())
    }
}

/// Reads pieces to the end and hands the changes on. `held` is called after
/// [`Body::Fetching`] was told, and has to wait until that is applied.
pub(crate) fn import(
    pieces: impl Iterator<Item = Piece>,
    blocks: Blocks,
    expected: &Expected,
    held: impl FnOnce() -> Result<Vec<HeldRecord>, StoreError>,
    walked: &AtomicU64,
    mut to: impl Told,
) -> Result<(), ImportError> {
    let repo = Repo::read(pieces, blocks, |commit| expected.check(commit))?;
    if !to.tell(repo.begins(), Held::default()) {
        return Err(ImportError::Stopped);
    }
    repo.changes(held()?, walked, &mut to)?;
    if to.tell(repo.ends(), Held::default()) { Ok(()) } else { Err(ImportError::Stopped) }
}

/// Held records by path, in the order of the tree.
type HeldPaths = Peekable<std::vec::IntoIter<(String, Option<[u8; 32]>)>>;

fn compare(
    commit: &Commit,
    blocks: &Blocks,
    held: Vec<HeldRecord>,
    walked: &AtomicU64,
    to: &mut impl Told,
) -> Result<(), ImportError> {
    // Edges need not be looked for where nothing is; what commits add meanwhile is known to the index.
    let fresh = held.is_empty();
    let path = |record: HeldRecord| (format!("{}/{}", record.collection, record.rkey), record.cid);
    let mut held: Vec<_> = held.into_iter().map(path).collect();
    held.sort_unstable();
    let mut held: HeldPaths = held.into_iter().peekable();
    let collection = Arc::from("");
    let (ops, room) = (Vec::new(), Held::default());
    let mut parts = Parts { to, rev: commit.rev, ops, bytes: 0, room, collection };
    for entry in Walk::new(commit.data, |cid| blocks.get(&cid::digest(cid)?)) {
        let (path, cid) = entry?;
        let digest = cid::digest(&cid).ok_or(MstError::Key)?;
        walked.fetch_add(1, Relaxed);
        let known = catch_up(&mut held, &path, &mut parts)?;
        if known == Some(Some(digest)) {
            continue;
        }
        let block = blocks.get(&digest).ok_or_else(|| MstError::MissingBlock(Box::new(cid)))?;
        let record = dag_cbor::weigh(&block);
        let bytes = record.map_or(0, |record| record.memory());
        if bytes > 0 {
            parts.begin(bytes)?;
        }
        match parts.put(&path, digest, record, fresh) {
            Some(op) => parts.push(op, bytes)?,
            // In the tree, but not a record: nothing is known of it, and what was there is gone.
            None if known.is_some() => parts.push(delete(&path), 0)?,
            None => {}
        }
    }
    for (path, _) in held {
        parts.push(delete(&path), 0)?;
    }
    parts.flush()
}

/// Deletes what is held before `path`, and gives what is held at it.
fn catch_up(
    held: &mut HeldPaths,
    path: &str,
    parts: &mut Parts<'_, impl Told>,
) -> Result<Option<Option<[u8; 32]>>, ImportError> {
    while let Some((next, cid)) = held.peek() {
        match next.as_str().cmp(path) {
            Ordering::Less => {
                let op = delete(next);
                held.next();
                parts.push(op, 0)?;
            }
            Ordering::Equal => {
                let cid = *cid;
                held.next();
                return Ok(Some(cid));
            }
            Ordering::Greater => break,
        }
    }
    Ok(None)
}

/// A record of a tree as a change; `None` if it is none by its path or encoding.
pub(crate) fn put(path: &str, digest: [u8; 32], block: &[u8], created: bool) -> Option<Op> {
    let (collection, rkey) = path.split_once('/')?;
    put_in(Arc::from(collection), rkey, digest, dag_cbor::weigh(block), created)
}

fn put_in(
    collection: Arc<str>,
    rkey: &str,
    digest: [u8; 32],
    record: Result<Weighed<'_>, CborError>,
    created: bool,
) -> Option<Op> {
    if !is_nsid(&collection) || !is_rkey(rkey) {
        INVALID.inc("path");
        return None;
    }
    let Ok(value) = record.and_then(Weighed::decode) else {
        INVALID.inc("cbor");
        return None;
    };
    let valid = match catalog().check_record(&collection, rkey, &value) {
        Ok(()) => true,
        Err(nsid) => {
            INVALID.inc(nsid);
            false
        }
    };
    let record = Some(Record { cid: digest, value, valid });
    Some(Op { collection, rkey: Arc::from(rkey), record, created })
}

fn delete(path: &str) -> Op {
    let (collection, rkey) = path.split_once('/').unwrap_or((path, ""));
    Op { collection: Arc::from(collection), rkey: Arc::from(rkey), record: None, created: false }
}

struct Parts<'e, T> {
    to: &'e mut T,
    rev: Tid,
    ops: Vec<Op>,
    bytes: usize,
    /// What those are counted in.
    room: Held,
    /// The last one: a tree has its records by collection.
    collection: Arc<str>,
}

impl<T: Told> Parts<'_, T> {
    /// Waits for memory before the first record of a part is decoded, which one of so many bytes is if it does not go with
    /// those before it.
    fn begin(&mut self, bytes: usize) -> Result<(), ImportError> {
        if self.bytes + bytes > PART_BYTES {
            self.flush()?;
        }
        if self.room.bytes() == 0 {
            self.room = self.to.room(bytes.max(PART_BYTES) as u64);
        }
        Ok(())
    }

    fn put(
        &mut self,
        path: &str,
        digest: [u8; 32],
        record: Result<Weighed<'_>, CborError>,
        created: bool,
    ) -> Option<Op> {
        let (collection, rkey) = path.split_once('/')?;
        if *self.collection != *collection {
            self.collection = Arc::from(collection);
        }
        put_in(Arc::clone(&self.collection), rkey, digest, record, created)
    }

    fn push(&mut self, op: Op, bytes: usize) -> Result<(), ImportError> {
        self.ops.push(op);
        self.bytes += bytes;
        if self.ops.len() >= PART_OPS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let (ops, mut room) = (std::mem::take(&mut self.ops), std::mem::take(&mut self.room));
        room.keep(bytes);
        if ops.is_empty() || self.to.tell(Body::Part { rev: self.rev, ops }, room) {
            Ok(())
        } else {
            Err(ImportError::Stopped)
        }
    }
}
