//! Brings a follower from wherever it is to the tip of the log, and keeps it there: all that the store holds if it has
//! nothing or fell behind what the log still has, then the log from where it was when that began.
//!
//! Written once for all of them. A scan of everything goes on where it was after a restart, on a newer snapshot: what was
//! read before has changed only by what the log has. Of a repo that came at once the records follow its one row.
//!
//! # Invariants
//! - A follower gets every change that it wants from its position on, or everything anew; there is no third way.
//! - No follower is told of a change that a crash could take back: it would be ahead of the log.
//! - A snapshot that goes with changes is taken after they were read, so it has them.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::follower::{Cause, Place};
use super::{Change, ChangesError, Entry, Follower, Log, Position, Read, What, scan};

/// Changes handed over at a time, about.
const MOST: usize = 512;
/// Pages read for that: most of what somebody wants little of is passed over.
const PAGES: usize = 64;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The follower is further than before.
    Moved,
    /// There is nothing to do before this number is there.
    Waits(u64),
}

/// Keeps a follower at the tip until `stop`. Blocks: for a thread of its own.
pub fn follow(
    log: &Log,
    follower: &dyn Follower,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<(), ChangesError> {
    while !stop.is_cancelled() {
        let (seq, wait) = match follower.paused() {
            Some(wait) => (None, Some(wait)),
            None => match step(log, follower)? {
                Step::Moved => continue,
                Step::Waits(seq) => (Some(seq), rest(log, follower)?),
            },
        };
        let more = async {
            match seq {
                Some(seq) => log.wait_on_disk(seq).await,
                None => std::future::pending().await,
            }
        };
        let asked = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = more => {}
                () = asked => {}
            }
        });
    }
    Ok(())
}

/// Lets a follower that is at the tip do what it left until then.
pub fn rest(log: &Log, follower: &dyn Follower) -> Result<Option<Duration>, ChangesError> {
    let snapshot = log.store.snapshot();
    follower
        .rest(&snapshot)
        .map_err(|cause| ChangesError::Follower { name: follower.name(), cause })
}

/// Brings a follower a little further.
pub fn step(log: &Log, follower: &dyn Follower) -> Result<Step, ChangesError> {
    let steps = Steps { log, follower };
    let position = follower.position().map_err(|cause| steps.failed(cause))?;
    match steps.from(position) {
        Err(ChangesError::OutdatedCursor { asked, oldest }) => {
            tracing::warn!(
                follower = follower.name(),
                asked,
                oldest,
                "changes it has not seen are not in the log any more: it reads everything anew"
            );
            steps.begin()
        }
        done => done,
    }
}

struct Steps<'a> {
    log: &'a Log,
    follower: &'a dyn Follower,
}

impl Steps<'_> {
    fn from(&self, position: Position) -> Result<Step, ChangesError> {
        if let Some(asked) = position.in_log() {
            let oldest = self.log.complete_since(self.follower.name());
            if asked < oldest || asked > self.log.tip() {
                return Err(ChangesError::OutdatedCursor { asked, oldest });
            }
        }
        match position {
            Position::Nowhere => self.begin(),
            Position::Scanning { from, place } => self.scan(from, &place),
            Position::At(seq) => self.read(seq),
        }
    }

    fn begin(&self) -> Result<Step, ChangesError> {
        // Before the snapshot, which then has all that is before it.
        let then = Position::Scanning { from: self.log.on_disk(), place: Place::default() };
        let snapshot = self.log.store.snapshot();
        self.follower.begin(&snapshot, &then).map_err(|cause| self.failed(cause))?;
        Ok(Step::Moved)
    }

    fn scan(&self, from: u64, place: &Place) -> Result<Step, ChangesError> {
        let snapshot = self.log.store.snapshot();
        let (changes, next) = scan::everything(&snapshot, place, &|c| self.follower.want_held(c))?;
        let then = match next {
            Some(place) => Position::Scanning { from, place },
            None => Position::At(from),
        };
        self.apply(&found(from, changes), &then)
    }

    fn read(&self, from: u64) -> Result<Step, ChangesError> {
        let (mut entries, mut seq) = (Vec::new(), from);
        let end = self.log.on_disk();
        for _ in 0..PAGES {
            if seq >= end {
                break;
            }
            let page = match self.log.read(seq)? {
                Read::Page(page) => page,
                Read::Tip => break,
            };
            for entry in page.from(seq).take_while(|entry| entry.seq < end) {
                if !self.follower.want(&entry.change) {
                    continue;
                }
                if entry.change.what == What::Repo {
                    // What was read so far comes first, then its records, and only then the position moves over it.
                    if !entries.is_empty() || entry.seq > from {
                        return self.apply(&entries, &Position::At(entry.seq));
                    }
                    return self.repo(&entry);
                }
                entries.push(entry);
            }
            seq = page.end().min(end);
            if entries.len() >= MOST {
                break;
            }
        }
        if seq == from { Ok(Step::Waits(from)) } else { self.apply(&entries, &Position::At(seq)) }
    }

    /// The records of a repo that came at once.
    fn repo(&self, entry: &Entry) -> Result<Step, ChangesError> {
        let snapshot = self.log.store.snapshot();
        let here = Position::At(entry.seq);
        let want = |c: &Change| self.follower.want_held(c);
        scan::account(&snapshot, entry.change.actor, &want, &mut |changes| {
            self.apply(&found(entry.seq, changes), &here).map(drop)
        })?;
        self.apply(&[], &Position::At(entry.seq.saturating_add(1)))
    }

    fn apply(&self, entries: &[Entry], then: &Position) -> Result<Step, ChangesError> {
        let snapshot = self.log.store.snapshot();
        self.follower.apply(entries, &snapshot, then).map_err(|cause| self.failed(cause))?;
        Ok(Step::Moved)
    }

    fn failed(&self, cause: Cause) -> ChangesError {
        ChangesError::Follower { name: self.follower.name(), cause }
    }
}

/// What a scan found, as of a number of the log.
fn found(seq: u64, changes: Vec<Change>) -> Vec<Entry> {
    changes.into_iter().map(|change| Entry { seq, time_us: 0, change }).collect()
}
