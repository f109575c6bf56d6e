//! What a `com.atproto.sync.subscribeRepos` message says about a repository, before any of it is believed.
//!
//! `event::frame` fills these from the wire; `verify` checks them.

use bytes::Bytes;

use crate::syntax::{Cid, Did, Tid};

/// `#commit`: claimed changes of one repository and the blocks that prove them.
#[derive(Debug, Clone)]
pub struct CommitFrame {
    /// Position in the upstream's stream.
    pub seq: u64,
    /// The repository.
    pub repo: Did,
    /// CID of the commit block.
    pub commit: Cid,
    /// Revision of the commit.
    pub rev: Tid,
    /// Revision before it.
    pub since: Option<Tid>,
    /// MST root before it (sync 1.1).
    pub prev_data: Option<Cid>,
    /// A CAR.
    pub blocks: Bytes,
    /// The changes.
    pub ops: Vec<RepoOp>,
    /// Deprecated: the commit did not fit, and the message says nothing.
    pub too_big: bool,
    /// When the host sent it, in milliseconds since the epoch; 0 if unreadable.
    pub time_ms: i64,
}

/// `#sync`: the repository is now at this commit, however it got there.
#[derive(Debug, Clone)]
pub struct SyncFrame {
    /// Position in the upstream's stream.
    pub seq: u64,
    /// The repository.
    pub did: Did,
    /// Revision of the commit.
    pub rev: Tid,
    /// A CAR that holds the commit block.
    pub blocks: Bytes,
    /// When the host sent it, in milliseconds since the epoch; 0 if unreadable.
    pub time_ms: i64,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoOp {
    /// What happened.
    pub action: OpAction,
    /// `collection/rkey`, unchecked.
    pub path: String,
    /// The record now; none for a delete.
    pub cid: Option<Cid>,
    /// The record before (sync 1.1); none for a create.
    pub prev: Option<Cid>,
}

/// What an operation does to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpAction {
    /// The record is new.
    Create,
    /// The record has another value.
    Update,
    /// The record is gone.
    Delete,
}

impl OpAction {
    /// Reads the lexicon's word.
    pub fn parse(text: &str) -> Option<OpAction> {
        match text {
            "create" => Some(OpAction::Create),
            "update" => Some(OpAction::Update),
            "delete" => Some(OpAction::Delete),
            _ => None,
        }
    }
}
