//! What a frame amounts to, given the key: an event, a drop with its cause, or doubt about the key.

use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::feed::Payload;
use super::room::Room;
use super::status::INVALID;
use crate::crypto::PublicKey;
use crate::event::{Body, Commit, Op, Record};
use crate::lexicon::catalog;
use crate::repo::OpAction;
use crate::repo::mst;
use crate::repo::verify::{
    Verified, VerifiedOp, VerifyError, extract_claim, extract_commit, extract_sync, verify_commit,
    verify_sync,
};
use crate::syntax::{Cid, cid};

/// The outcome of a check.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds.
    Event(Body),
    /// It does not, and never will.
    Drop(&'static str),
    /// All but the signature holds: the key may be an old one.
    BadSignature,
}

/// Checks signed frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verifier {
    /// Whether signatures and proofs are looked at.
    pub(crate) verify: bool,
}

impl Verifier {
    /// Checks a commit or sync; without a key it is believed. Other payloads are not for here. A commit whose records have
    /// no room is a claim: the same that a sync is.
    pub(crate) fn check(
        self,
        payload: &Payload,
        key: Option<&PublicKey>,
        now_ms: i64,
        room: &mut Room,
    ) -> Verdict {
        let now_us = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1000);
        let room = |bytes| room.take(bytes);
        match (payload, key) {
            (Payload::Commit(frame), Some(key)) => {
                verdict(verify_commit(frame, key, now_us, room), |verified| body(verified, true))
            }
            (Payload::Commit(frame), None) => {
                verdict(extract_commit(frame, now_us, room), |verified| body(verified, false))
            }
            (Payload::Sync(frame), Some(key)) => {
                verdict(verify_sync(frame, key, now_us), |sync| sync_body(sync.rev, &sync.data))
            }
            (Payload::Sync(frame), None) => {
                verdict(extract_sync(frame, now_us), |sync| sync_body(sync.rev, &sync.data))
            }
            _ => Verdict::Drop("misplaced"),
        }
    }

    /// The claim of a frame that cannot be checked now: that the repo is at this rev. It makes the index ask for
    /// the whole repo, which is then verified.
    pub(crate) fn claim(self, payload: &Payload, now_ms: i64) -> Verdict {
        let now_us = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1000);
        match payload {
            Payload::Commit(frame) => {
                verdict(extract_claim(frame, now_us), |claim| sync_body(claim.rev, &claim.data))
            }
            Payload::Sync(frame) => {
                verdict(extract_sync(frame, now_us), |sync| sync_body(sync.rev, &sync.data))
            }
            _ => Verdict::Drop("misplaced"),
        }
    }
}

fn verdict<T>(
    result: Result<T, VerifyError>,
    body: impl FnOnce(T) -> Result<Body, &'static str>,
) -> Verdict {
    match result.map(body) {
        Ok(Ok(body)) => Verdict::Event(body),
        Ok(Err(cause)) => Verdict::Drop(cause),
        Err(VerifyError::Signature) => Verdict::BadSignature,
        Err(error) => Verdict::Drop(error.cause()),
    }
}

fn sync_body(rev: crate::syntax::Tid, data: &Cid) -> Result<Body, &'static str> {
    Ok(Body::Sync { rev, data: digest(data)? })
}

fn body(verified: Verified, chained: bool) -> Result<Body, &'static str> {
    let Some(ops) = verified.ops else { return sync_body(verified.rev, &verified.data) };
    let prev_data = match (&verified.prev_data, verified.since) {
        (Some(prev), _) => Some(digest(prev)?),
        // The proof held for a repo that had nothing before.
        (None, None) => Some(digest(&mst::empty_root())?),
        (None, Some(_)) => Some(Commit::UNTOLD),
    };
    Ok(Body::Commit(Commit {
        rev: verified.rev,
        data: Some(digest(&verified.data)?),
        prev_data: prev_data.filter(|_| chained),
        ops: ops.into_iter().map(op).collect::<Result<_, _>>()?,
    }))
}

fn op(op: VerifiedOp) -> Result<Op, &'static str> {
    let record = match (op.cid, op.value) {
        (Some(cid), Some(value)) => {
            let valid = is_valid(&op.collection, &op.rkey, &value);
            Some(Record { cid: digest(&cid)?, value, valid })
        }
        _ => None,
    };
    let collection = Arc::from(op.collection.as_str());
    let created = op.action == OpAction::Create;
    Ok(Op { collection, rkey: Arc::from(op.rkey.as_str()), record, created })
}

fn digest(cid: &Cid) -> Result<[u8; 32], &'static str> {
    cid::digest(cid).ok_or("bad-cid")
}

/// Whether a record passes the lexicon of its collection; counts if not.
pub(crate) fn is_valid(collection: &str, rkey: &str, value: &Ipld) -> bool {
    catalog().check_record(collection, rkey, value).inspect_err(|nsid| INVALID.inc(nsid)).is_ok()
}
