//! The one event type that changes the index, whatever it came from.
//!
//! A firehose, a Jetstream and a fetched repo all end here; `index` knows only this. What is in an event was
//! checked as far as it can be without the store: signature, proof, CIDs, lexicon. What needs the store, the
//! rev window against what is held and the chain of prevData, is checked when it is applied.
//!
//! # Times
//! [`Event::time`] is what `indexedAt` shows and records are sorted by. For a frame it is the time that the frame
//! carries, which relays pass on from the host, so that every server that reads the frame, from whichever upstream,
//! gives the record the same time and the same place. A frame that claims to be from the future, or from more than
//! [`MAX_DELAY_MS`] ago (a host with a wrong clock, or a catch-up), gets the time of receipt, see [`frame_time`]. What
//! was found out here, by a fetch or a look at a document, has our own time. [`Event::received`] is always our own
//! clock: whatever waits for a while counts from there.

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
    /// When it happened as far as that is believed, milliseconds since the epoch: `indexedAt`.
    pub time: i64,
    /// When it reached us, milliseconds since the epoch.
    pub received: i64,
    /// What the upstream says of an identity or account event. `None` for all other events, for what was found out
    /// here, and for an answer to a question that was asked again after a restart.
    pub upstream: Option<Upstream>,
    /// Which upstream told it, as those of this process are numbered from 1 on; 0 for what was found out here.
    pub line: u16,
    /// What happened.
    pub body: Body,
}

/// Position and time of an identity or account event at the upstream that told it, for those who pass it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// Sequence number in the firehose; of a Jetstream, in the firehose that it reads.
    pub seq: u64,
    /// Milliseconds since the epoch, whether it is believed or not; the time of receipt if it is unreadable.
    pub time: i64,
}

/// How long ago a frame may say that it was sent.
pub const MAX_DELAY_MS: i64 = 10 * 60 * 1000;

/// The [`Event::time`] of a frame that says it was `sent` then.
#[must_use]
pub fn frame_time(sent: i64, received: i64) -> i64 {
    let oldest = received.saturating_sub(MAX_DELAY_MS);
    if (oldest..=received).contains(&sent) { sent } else { received }
}

impl Event {
    /// Something that was found out here, `now`.
    #[must_use]
    pub fn found_here(did: Did, now: i64, body: Body) -> Self {
        Self { did, time: now, received: now, upstream: None, line: 0, body }
    }
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
    /// The account's hosting status, from where it lives.
    Account(HostingStatus),
    /// An upstream says that the account's hosting status is this (`#account`).
    Claimed(HostingStatus, Belief),
    /// An upstream says that nothing that is held of the DID document counts any more (`#identity`), and a look at it is
    /// due: a [`Body::Identity`].
    IdentityDue {
        /// What was read of the document after this is no older than the change, milliseconds.
        since: i64,
    },
    /// The same, from an upstream that may be anybody: the look is due, and what is held counts until its answer.
    IdentityClaimed,
    /// What the DID document says now, asked because of `#identity` or because it was due.
    Identity(IdentityState),
    /// What the DID document says, read because its key was needed. The handle is what it claims, to be looked up.
    Keyed(IdentityState),
    /// A claimed handle was looked up.
    Handle(HandleAnswer),
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
    /// SHA-256 of the MST root before it, as the commit says, that of the empty tree for a first commit;
    /// [`Commit::UNTOLD`] if it does not say; `None` for an unverified one.
    pub prev_data: Option<[u8; 32]>,
    /// What changed, in the order of the commit.
    pub ops: Vec<Op>,
}

impl Commit {
    /// In place of the root before a commit that does not say which it was. Its operations are part of what was signed, but
    /// need not be all that changed: whoever passed it on can have left some out.
    pub const UNTOLD: [u8; 32] = [0; 32];
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

/// What became of a handle that a DID document claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleAnswer {
    /// The place of the question.
    pub due: i64,
    /// When the document was read, milliseconds since the epoch.
    pub read: i64,
    /// The handle.
    pub handle: String,
    /// It leads back to the DID.
    pub holds: bool,
}

/// How far what an upstream says of an account is believed. The answer that a question brings is a [`Body::Account`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// As it is.
    Full,
    /// The account is hidden until where it lives was asked. Deleting takes the data away, hiding does not.
    UntilAsked,
    /// Not before where it lives was asked.
    OnceConfirmed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_dates_its_event_unless_it_is_old_or_from_the_future() {
        let now = 1_750_000_000_000;
        for (sent, want) in [
            (now, now),
            (now - 1, now - 1),
            (now - MAX_DELAY_MS, now - MAX_DELAY_MS),
            (now - MAX_DELAY_MS - 1, now),
            (now + 1, now),
            (0, now),
            (i64::MIN, now),
            (i64::MAX, now),
        ] {
            assert_eq!(frame_time(sent, now), want, "{sent}");
        }
    }
}
