//! Identities in bulk: the operations of the PLC directory, read from its `/export` or from files of it, kept in the
//! store, and given as documents. With them nobody is asked for DIDs one by one.
//!
//! ```text
//! GET /export, page by page --> line -> chain -> batch --> store::plc (rows, cursor) --> PlcTable -> Identity
//! files, packed or not ------^                                       \--> accounts to look at again
//! ```
//!
//! Neither the directory nor whoever made a file is believed: `chain` proves each operation by its signature, and of
//! rows only those are given whose newest operation is proven. For all others the directory is asked one by one, whose
//! documents are believed: whoever serves `network.plc_url` can say what he likes there.
//!
//! What an operation says of a handle is a claim like that of a document. Whoever needs to know what is true at this
//! moment asks the directory.
//!
//! # Invariants
//! - What no key of an account signed is not given as its document.
//! - A DID in doubt (`#identity`, a document that was read since) is answered from here only when everything that the
//!   directory took before the doubt is in.
//! - Rows are believed for an hour after the export was last read to its end.

mod chain;
mod file;
mod follow;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod line;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::schema::Rows;

pub use file::{FileStatus, PlcFileError};
pub use follow::{Follow, PlcSource};

use super::{DidDoc, Freshness, IdentityError};
use crate::schema::plc::{self, Applied, Batch, PlcState, Progress};
use crate::store::{Snapshot, Store, StoreError, Writer};
use crate::syntax::Did;
use crate::threads::Clock;
use crate::work::recheck::{self, Due};
use chain::Operation;

const SECOND_MS: i64 = 1000;
/// How old what is here may be, for those who take what is remembered and for those who want to know of late.
const CACHED_MS: i64 = 3600 * SECOND_MS;
const RECENT_MS: i64 = 60 * SECOND_MS;
/// An operation may become visible in the export so long after the directory took it.
const SETTLING_MS: i64 = 5 * SECOND_MS;
/// Doubts that are remembered one by one.
const MAX_DOUBTS: usize = 200_000;

/// What operations said, as documents. Knows how up to date that is, and which of it is in doubt.
pub struct PlcTable {
    store: Store,
    clock: Clock,
    /// Everything that the directory took before this is in.
    covered: AtomicI64,
    doubts: Mutex<Doubts>,
}

#[derive(Default)]
struct Doubts {
    by_did: HashMap<Did, i64>,
    /// Everything was in doubt at this time.
    all: i64,
}

impl PlcTable {
    /// The rows of a store about `directory`.
    pub fn load(store: Store, directory: &str, clock: Clock) -> Result<Self, StoreError> {
        let now = clock.now_ms();
        let snapshot = store.snapshot();
        // A clock that was ahead may have dated it.
        let covered = plc::progress(&snapshot, directory)?.covered.min(now);
        let mut doubts = Doubts::default();
        for (actor, due) in recheck::dues(&snapshot)? {
            if due == Due::Identity {
                doubts.by_did.extend(Did::parse(&snapshot.did(actor)?).ok().zip(Some(now)));
            }
        }
        Ok(Self { store, clock, covered: AtomicI64::new(covered), doubts: Mutex::new(doubts) })
    }

    /// Somebody says that the document changed, or may have.
    pub(super) fn doubt(&self, did: &Did) {
        let now = self.clock.now_ms();
        let mut doubts = self.doubts.lock();
        if doubts.by_did.len() >= MAX_DOUBTS {
            doubts.by_did.clear();
            doubts.all = now;
        }
        doubts.by_did.insert(did.clone(), now);
    }

    /// Everything that the directory took before `time` is in.
    fn covers(&self, time: i64) {
        if self.covered.fetch_max(time, Ordering::AcqRel) < time {
            self.doubts.lock().by_did.retain(|_, at| *at >= time);
        }
    }

    /// The answer of the directory, if it is known here. Reads the store: not on an I/O thread.
    pub(super) fn lookup(
        &self,
        did: &Did,
        freshness: Freshness,
    ) -> Option<Result<DidDoc, IdentityError>> {
        let covered = self.trusted(did, freshness)?;
        let snapshot = self.store.snapshot();
        // Whoever keeps the store finds out what is wrong with it.
        if looked_at_since(&snapshot, did, covered).unwrap_or(true) {
            return None;
        }
        match plc::proven(&snapshot, did).ok()?? {
            PlcState::Document(kept) => Some(Ok(DidDoc::of_plc(did, &kept))),
            PlcState::Tombstone => Some(Err(IdentityError::Tombstoned)),
            PlcState::Elsewhere => None,
        }
    }

    /// Up to when operations are in, if that will do.
    fn trusted(&self, did: &Did, freshness: Freshness) -> Option<i64> {
        let oldest = match freshness {
            Freshness::Cached => CACHED_MS,
            Freshness::Recent => RECENT_MS,
            Freshness::Fresh => return None,
        };
        let covered = self.covered.load(Ordering::Acquire);
        let now = self.clock.now_ms();
        if did.starts_with("did:web:") || now.saturating_sub(covered) > oldest {
            return None;
        }
        let doubts = self.doubts.lock();
        let doubt = doubts.by_did.get(did).copied().unwrap_or(i64::MIN).max(doubts.all);
        (doubt < covered).then_some(covered)
    }
}

/// Whether a document was read that may be newer than the operations before `covered`.
fn looked_at_since(s: &Snapshot, did: &Did, covered: i64) -> Result<bool, StoreError> {
    let Some(actor) = s.actor_id(did)? else { return Ok(false) };
    Ok(s.identity(actor)?.is_some_and(|row| row.checked >= covered))
}

/// Whom to tell of accounts whose documents changed.
pub type Outdated = Box<dyn Fn(&Did) + Send + Sync>;

/// The way of operations into the store: from the directory, or from files. Cheap to clone.
#[derive(Clone)]
pub struct PlcExport(Arc<PlcInner>);

struct PlcInner {
    directory: String,
    store: Store,
    writer: Writer,
    table: Arc<PlcTable>,
    outdated: Outdated,
    /// Held by who reads on from the cursor.
    turn: tokio::sync::Mutex<()>,
    progress: Mutex<Progress>,
    following: Mutex<Option<Follow>>,
    file: Mutex<Option<FileStatus>>,
}

/// Where it is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PlcStatus {
    /// URL of the directory.
    pub directory: String,
    /// DIDs that are known.
    pub dids: u64,
    /// Of these, given up.
    pub tombstones: u64,
    /// PDS hosts that they name or named.
    pub hosts: u32,
    /// Number of the last operation, where the directory numbers them.
    pub seq: Option<u64>,
    /// Its time.
    pub last: Option<String>,
    /// Every operation until so many seconds ago is in.
    pub age_s: Option<u64>,
    /// The following of the directory, if it is configured.
    pub following: Option<Follow>,
    /// The last file.
    pub file: Option<FileStatus>,
}

impl PlcExport {
    /// For the operations of `directory`; `outdated` is told of accounts that have to be looked at because of one.
    pub fn new(
        directory: &str,
        writer: Writer,
        table: Arc<PlcTable>,
        outdated: Outdated,
    ) -> Result<Self, StoreError> {
        let progress = plc::progress(&table.store.snapshot(), directory)?;
        Ok(Self(Arc::new(PlcInner {
            directory: directory.to_owned(),
            store: table.store.clone(),
            writer,
            table,
            outdated,
            turn: tokio::sync::Mutex::new(()),
            progress: Mutex::new(progress),
            following: Mutex::new(None),
            file: Mutex::new(None),
        })))
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> PlcStatus {
        let p = self.0.progress.lock().clone();
        let covered = self.0.table.covered.load(Ordering::Acquire);
        let now = self.0.table.clock.now_ms();
        let age = u64::try_from(now.saturating_sub(covered)).unwrap_or(0) / 1000;
        PlcStatus {
            directory: p.directory,
            dids: p.dids,
            tombstones: p.tombstones,
            hosts: p.hosts,
            seq: p.cursor.and_then(|cursor| cursor.seq),
            last: p.cursor.map(|cursor| crate::syntax::datetime::format_ms(cursor.time)),
            age_s: (covered > 0).then_some(age),
            following: self.0.following.lock().clone(),
            file: self.0.file.lock().clone(),
        }
    }

    /// Puts a batch of these operations in; every read shows it when this returns. Gives how many were news, and how many
    /// of those are not proven.
    async fn apply(
        &self,
        operations: Vec<Operation>,
        batch: Batch,
    ) -> Result<(u64, u64), StoreError> {
        let store = self.0.store.clone();
        let prove = move || chain::prove(&store.snapshot(), operations);
        let ops = tokio::task::spawn_blocking(prove).await.map_err(|_| StoreError::Closed)??;
        let batch = Batch { directory: self.0.directory.clone(), ops, ..batch };
        let job = self.0.writer.visible(move |tx| {
            let applied = plc::apply(tx, &batch)?;
            for (actor, _) in &applied.outdated {
                // Holds over a crash, like the question after an `#identity`.
                recheck::add_due(tx, *actor, Due::Identity);
            }
            Ok(applied)
        });
        let Applied { progress, changed, unproven, outdated } = job.await?;
        self.0.table.covers(progress.covered);
        *self.0.progress.lock() = progress;
        for did in outdated.iter().filter_map(|(_, did)| Did::parse(did).ok()) {
            (self.0.outdated)(&did);
        }
        Ok((changed, unproven))
    }
}

#[cfg(test)]
mod tests;
