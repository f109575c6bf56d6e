//! How many rows of a kind an account has: for quotas.

use super::bookmarks;
use super::timed::{self, Kind};
use crate::schema::{ActorId, Key, Rows};
use crate::store::{Ks, Reader, StoreError};

/// A kind that an account can have any number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Muted accounts.
    Mutes,
    /// Muted threads.
    ThreadMutes,
    /// Muted lists.
    ListMutes,
    /// Bookmarks.
    Bookmarks,
    /// Activity subscriptions.
    Subscriptions,
}

impl Counted {
    fn timed(self) -> Option<Kind> {
        match self {
            Self::Mutes => Some(Kind::MutedActor),
            Self::ThreadMutes => Some(Kind::MutedThread),
            Self::ListMutes => Some(Kind::MutedList),
            Self::Subscriptions => Some(Kind::Subscription),
            Self::Bookmarks => None,
        }
    }

    fn rows(self, viewer: ActorId) -> Key {
        match self.timed() {
            Some(kind) => timed::key(kind, viewer, None),
            None => bookmarks::of_viewer(viewer),
        }
    }
}

/// How many rows of a kind an account has, up to `most`.
///
/// # Errors
/// The store cannot be read.
pub fn count<R: Reader>(r: &R, what: Counted, did: &str, most: usize) -> Result<usize, StoreError> {
    let Some(viewer) = r.actor_id(did)? else { return Ok(0) };
    let mut rows = 0;
    if most > 0 {
        r.scan_prefix(Ks::Private, &what.rows(viewer), &mut |_, _| {
            rows += 1;
            rows < most
        })?;
    }
    Ok(rows)
}

/// Whether an account has a row about a subject: a DID or the URI of a record.
///
/// # Errors
/// The store cannot be read.
pub fn has<R: Reader>(r: &R, what: Counted, did: &str, subject: &str) -> Result<bool, StoreError> {
    match what.timed() {
        Some(kind) => Ok(timed::named(r, kind, did, Some(subject))?.is_some()),
        None => bookmarks::has(r, did, subject),
    }
}
