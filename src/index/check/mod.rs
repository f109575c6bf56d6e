//! Holds the store to its own rules: every row decodes, every row that follows from another is there and nothing
//! else is, every record gives its CID, and every counter is what a recount gives.
//!
//! One scan of each keyspace, with point reads for what belongs to a row elsewhere. What is counted lies sorted by
//! what it is counted for, so a group is held at a time and memory does not grow with the store; only the accounts
//! that joined through starter packs are added up in a map by pack. It reads one snapshot and knows no time.
//!
//! Repair rewrites what follows from other rows: counters, lists, feeds, fans, the other way of a name, the kinds of records
//! an account tells of; it takes away what follows from rows that are not there, the row of an older version of a post,
//! and one of two rows that make a record together where the other is lost, so that a new fetch of the repo brings both.
//! What one run writes may be what the next one counts, so whoever repairs runs it until nothing is left to write.
//! Anything else points at damage that only a new fetch can undo.

mod edges;
mod lists;
mod private;
mod records;
mod report;
mod small;
mod trees;

use rustc_hash::FxHashMap;

use crate::schema::rows::{Counter, EdgeKind};
use crate::schema::tables::{Registry, Table};
use crate::schema::{Edit, RecordId, Rows, Target};
use crate::store::{Ks, Reader, Snapshot, Store, StoreError, Tx, Writer};
use crate::work::tables;

pub use report::{Finding, Report};

/// How much is looked at, and whether counters are rewritten.
#[derive(Default)]
pub struct Options<'a> {
    /// Recompute the CID of every record and rebuild every edge, instead of one in [`SAMPLE`]; compare the tree of every
    /// repo that is here whole.
    pub full: bool,
    /// Where repairs go.
    pub repair: Option<&'a Writer>,
}

/// Without [`Options::full`], one row in so many has its CID recomputed.
pub const SAMPLE: u64 = 64;

/// Where a check is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The keyspace that is being read.
    pub ks: Ks,
    /// Its rows so far.
    pub rows: u64,
}

/// Rows between two calls of the progress function.
const STEP: u64 = 4096;

/// Checks the store as it is now. Differences are in the report; an error means that it could not be read on.
pub fn check(
    store: &Store,
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, StoreError> {
    let snapshot = store.snapshot();
    let mut check = Check {
        s: &snapshot,
        repair: options.repair,
        every: if options.full { 1 } else { SAMPLE },
        tables: tables::registry(),
        report: Report::default(),
        progress,
        joined: FxHashMap::default(),
    };
    check.run()?;
    Ok(check.report)
}

struct Check<'a> {
    s: &'a Snapshot,
    repair: Option<&'a Writer>,
    every: u64,
    tables: Registry,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    joined: FxHashMap<Target, u64>,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.small()?;
        self.posts()?;
        self.records()?;
        self.fwd()?;
        // Fans in order of time are first cleared of strays, then completed from their edges.
        self.order()?;
        self.rev()?;
        self.feed()?;
        self.agg()?;
        if self.every == 1 { self.trees() } else { Ok(()) }
    }

    /// Reads a keyspace. A row does not decode if its table or `f` says so.
    fn rows(
        &mut self,
        ks: Ks,
        mut f: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<Option<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let s = self.s;
        let mut rows = 0;
        let mut failed = None;
        s.scan(ks, &[], None, false, &mut |k, v| {
            if rows % STEP == 0 {
                (self.progress)(Progress { ks, rows });
            }
            rows += 1;
            let Some(table) = self.tables.of(ks, k) else {
                self.found("no-table", format!("{}: {}", ks.name(), hex(k)));
                return true;
            };
            match f(self, k, v).map(|row| row.filter(|()| table.is_whole(k, v))) {
                Ok(Some(())) => {}
                Ok(None) => {
                    let Table { name, owner, .. } = table;
                    self.found(
                        "undecodable",
                        format!("{}: {} ({name} of {owner})", ks.name(), hex(k)),
                    );
                }
                Err(e) => failed = Some(e),
            }
            failed.is_none()
        })?;
        (self.progress)(Progress { ks, rows });
        self.report.rows.push((ks, rows));
        failed.map_or(Ok(()), Err)
    }

    /// Whether the expensive part is done for the row of this number: the first thousand, then one in some.
    fn sampled(&self, row: u64) -> bool {
        row <= 1000 || row.is_multiple_of(self.every)
    }

    fn found(&mut self, kind: &'static str, sample: String) {
        self.report.found(kind, sample);
    }

    fn expect(&mut self, holds: bool, kind: &'static str, sample: impl FnOnce(&Self) -> String) {
        if !holds {
            let sample = sample(self);
            self.found(kind, sample);
        }
    }

    /// The same, with what makes it right.
    fn mended(
        &mut self,
        holds: bool,
        kind: &'static str,
        sample: impl FnOnce(&Self) -> String,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.expect(holds, kind, sample);
        if holds { Ok(()) } else { self.fix(job) }
    }

    /// A target for a human, also when the names are what is broken.
    fn name(&self, t: Target) -> String {
        self.s.target_text(t).unwrap_or_else(|_| format!("{t:?}"))
    }

    fn record_name(&self, id: RecordId) -> String {
        self.name(Target::of(id))
    }

    /// Queues a repair.
    fn fix(
        &mut self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let Some(writer) = self.repair else { return Ok(()) };
        self.report.repaired += 1;
        writer.submit_blocking(job)
    }

    /// Holds a counter to its recount.
    fn counter(&mut self, target: Target, counter: Counter, right: u64) -> Result<(), StoreError> {
        let held = lenient(self.s.agg(target))?.get(counter);
        if held == right {
            return Ok(());
        }
        let kind = counter_kind(counter);
        self.found(kind, format!("{}: {held} held, {right} counted", self.name(target)));
        self.fix(move |tx| {
            if matches!(tx.agg(target), Err(StoreError::Corrupt(_))) {
                tx.del(Ks::Agg, &target.key());
            }
            tx.touch(target.actor());
            tx.update_agg(target, |a| a.set(counter, right)).map(drop)
        })
    }
}

/// Puts a row where it is missing.
fn puts(
    ks: Ks,
    key: impl Into<Vec<u8>>,
    value: impl Into<Vec<u8>>,
) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static {
    let (key, value) = (key.into(), value.into());
    move |tx| {
        tx.put(ks, &key, &value);
        Ok(())
    }
}

/// Takes a row away that nothing speaks for.
fn takes(
    ks: Ks,
    key: impl Into<Vec<u8>>,
) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static {
    let key = key.into();
    move |tx| {
        tx.del(ks, &key);
        Ok(())
    }
}

/// A row that does not decode is counted where its keyspace is read; to those that need it, it is missing.
fn lenient<T: Default>(row: Result<T, StoreError>) -> Result<T, StoreError> {
    match row {
        Err(StoreError::Corrupt(_)) => Ok(T::default()),
        row => row,
    }
}

fn counter_kind(counter: Counter) -> &'static str {
    match counter {
        Counter::Likes => "count-likes",
        Counter::Reposts => "count-reposts",
        Counter::Replies => "count-replies",
        Counter::Quotes => "count-quotes",
        Counter::Items => "count-items",
        Counter::Joined => "count-joined",
        Counter::Followers => "count-followers",
        Counter::Follows => "count-follows",
        Counter::Posts => "count-posts",
        Counter::Lists => "count-lists",
        Counter::Feeds => "count-feeds",
        Counter::StarterPacks => "count-starter-packs",
        Counter::Bookmarks => "count-bookmarks",
        Counter::ForbiddenReplies => "count-forbidden-replies",
    }
}

pub(super) fn edge_kind(tag: u8) -> Option<EdgeKind> {
    use EdgeKind::{Block, Follow, Like, ListBlock, ListItem, Repost, Verification};
    [Like, Repost, Follow, Block, ListBlock, ListItem, Verification]
        .into_iter()
        .find(|k| *k as u8 == tag)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes.get(..64).unwrap_or(bytes))
}

#[cfg(test)]
mod tests;
