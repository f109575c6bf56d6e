//! What a change is.

use crate::event::Upstream;
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, CollId, RecordId, Rkey, Target};

/// Why something changed: it decides who wants to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The network said it now.
    Live = 0,
    /// It was found out here: by comparison with a fetched repo, by a fetch of what somebody reads, by a look at a
    /// document.
    History = 1,
    /// Something here did it: retention, a purge, an opt-out, a takedown, a label.
    Local = 2,
}

impl Mark {
    pub(super) fn from_u8(n: u8) -> Option<Self> {
        [Self::Live, Self::History, Self::Local].into_iter().find(|mark| *mark as u8 == n)
    }
}

/// A change of one account or of something that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Why.
    pub mark: Mark,
    /// Whose.
    pub actor: ActorId,
    /// What.
    pub what: What,
}

impl Change {
    /// The record that was put or deleted.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        match self.what {
            What::Put { coll, rkey, .. } | What::Delete { coll, rkey, .. } => {
                Some(RecordId { actor: self.actor, coll, rkey })
            }
            _ => None,
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A record is held in this version.
    Put {
        /// Its collection.
        coll: CollId,
        /// Its record key.
        rkey: Rkey,
        /// The rev of the repo that brought it; 0 if there is none.
        rev: u64,
        /// The first bytes of the digest in its CID: whether what a snapshot holds is still this version.
        cid: [u8; 4],
        /// No version of it was held before.
        created: bool,
    },
    /// A record is held no more.
    Delete {
        /// Its collection.
        coll: CollId,
        /// Its record key.
        rkey: Rkey,
        /// The rev of the repo without it; 0 if there is none.
        rev: u64,
        /// What a like, repost, follow or block pointed at.
        target: Option<Target>,
    },
    /// The state of the account, as it is now.
    Account {
        /// The state.
        status: AccountStatus,
        /// What the upstream said with it.
        upstream: Option<Upstream>,
    },
    /// The account's DID document or handle.
    Identity {
        /// It was looked at, and the account's rows say what it says; before that, it is only known to be due.
        settled: bool,
        /// What the upstream said with it.
        upstream: Option<Upstream>,
    },
    /// The labels on something of the account.
    Label {
        /// What is labeled.
        target: Target,
        /// Who labels.
        src: ActorId,
    },
    /// Something of the account was taken down, or that was lifted.
    Takedown {
        /// What.
        target: Target,
        /// Whether it is taken down now.
        on: bool,
    },
    /// The repo was fetched or imported for the first time: records came that are in no rows of their own, and whoever
    /// wants them reads all of the account's.
    Repo,
}

/// A change at its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number. Of what a scan found, the one that the log had come to when the scan began.
    pub seq: u64,
    /// When it was written, microseconds since the epoch, unique and rising; 0 of what a scan found.
    pub time_us: u64,
    /// What it is.
    pub change: Change,
}
