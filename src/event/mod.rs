//! The one event type that changes the index, whatever it came from.
//!
//! A firehose, a Jetstream and a fetched repo all end here; `index` knows only this. What is in an event was
//! checked as far as it can be without the store: signature, proof, CIDs, lexicon. What needs the store, the
//! rev window against what is held and the chain of prevData, is checked when it is applied.

pub mod frame;
pub mod label;
use std::sync::Arc;

use ipld_core::ipld::Ipld;

use crate::syntax::{Did, Tid};

/// Something that happened to one account.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose account or repo.
    pub did: Did,
    /// When it reached us, milliseconds since the epoch: `indexedAt`.
    pub time: i64,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Body {
    /// A repo moved from one rev to the next.
    Commit(Commit),
    /// A repo is at this rev now, and what lies between is not told (`#sync`).
    Sync {
        /// Its rev.
        rev: Tid,
        /// SHA-256 of its MST root.
        data: [u8; 32],
    },
    /// The account's hosting status changed (`#account`).
    Account(HostingStatus),
    /// Somebody says that the account is gone, deleted or only deactivated. It is hidden, and the answer from where
    /// it lives is due: an [`Body::Account`].
    Unconfirmed {
        /// Deleted is what was said.
        deleted: bool,
    },
    /// Nothing that is held of the DID document counts any more (`#identity`), and a look at it is due: a
    /// [`Body::Identity`].
    IdentityDue,
    /// What the DID document says now, asked because of `#identity` or because it was due.
    Identity(IdentityState),
    /// There is no DID document, asked as above.
    NoDocument {
        /// There was one, and it is gone: the account is, until it comes back.
        tombstoned: bool,
    },
    /// What the DID document says of an account that nothing was known of, asked because somebody wants to see it.
    Introduced(IdentityState),
    /// Records that somebody wants to see, as they were at `rev`. They say nothing of the rest of the repo.
    Found {
        /// The rev that proves them.
        rev: Tid,
        /// The records.
        ops: Vec<Op>,
    },
    /// A repo is about to be fetched: what commits touch from now on is remembered until the end of that.
    Wanted,
    /// It was not fetched: what was remembered is forgotten.
    GivenUp,
    /// A repo was fetched as it was at `rev`, and is going to be compared with what is held: from now on older
    /// commits are passed over, or the comparison would not see what they did.
    Fetching {
        /// Its rev.
        rev: Tid,
        /// SHA-256 of its MST root.
        data: [u8; 32],
    },
    /// A part of a fetched repo: what is to be put and deleted so that the index has it as it was at `rev`.
    Part {
        /// The rev that was fetched.
        rev: Tid,
        /// What differs.
        ops: Vec<Op>,
    },
    /// The end of a fetched repo: everything of this rev is in.
    Fetched {
        /// Its rev.
        rev: Tid,
    },
}

/// A step of a repo.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The rev after it.
    pub rev: Tid,
    /// SHA-256 of the MST root after it; `None` from an unverified upstream.
    pub data: Option<[u8; 32]>,
    /// SHA-256 of the MST root before it, as the commit says, that of the empty tree for a first commit; `None` for
    /// an unverified one.
    pub prev_data: Option<[u8; 32]>,
    /// What changed, in the order of the commit.
    pub ops: Vec<Op>,
}

/// A change of one record.
#[derive(Debug, Clone)]
pub struct Op {
    /// NSID.
    pub collection: Arc<str>,
    /// Record key.
    pub rkey: Arc<str>,
    /// The record after it; `None` for a delete.
    pub record: Option<Record>,
    /// The commit says that there was no record before, and proves it as far as it proves `prev_data`; of a fetched
    /// repo, that nothing of it was held.
    pub created: bool,
}

/// A record as it was signed.
#[derive(Debug, Clone)]
pub struct Record {
    /// SHA-256 of its canonical DAG-CBOR.
    pub cid: [u8; 32],
    /// Its value.
    pub value: Ipld,
    /// Whether it passed its lexicon, or has none here. Invalid records are kept but have no effect.
    pub valid: bool,
}

/// Hosting status (`com.atproto.sync.subscribeRepos#account`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostingStatus {
    /// `active: true`
    Active,
    /// `deactivated`
    Deactivated,
    /// `suspended`
    Suspended,
    /// `takendown`
    Takendown,
    /// `deleted`
    Deleted,
}

/// What a DID document says, its handle checked in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityState {
    /// The handle, if it leads back to the DID.
    pub handle: Option<String>,
    /// The `#atproto` key as did:key.
    pub key: Option<String>,
    /// The `#atproto_pds` endpoint.
    pub pds: Option<String>,
}
