//! Whether a host's message about a repository is true, as far as the message itself can tell (sync 1.1,
//! <https://atproto.com/specs/sync>).
//!
//! What needs memory of the repository is the caller's: that `since` and `prev_data` are what it had, that `rev` is newer.
//! Cheap checks come first and the signature last, so that [`VerifyError::Signature`] means "fetch the key again": all
//! else about the message held.
//!
//! # Invariants
//! - Every record in a [`Verified`] is canonical DAG-CBOR of its CID, at a path of a valid NSID and record key.
//! - From [`verify_commit`], with a previous root: the operations are exactly the difference of the two trees.

use bytes::Bytes;

use super::car::{CarError, CarLimits, CarSlice};
use super::cbor::CborError;
use super::commit::Commit;
use super::dag_cbor::{self, Ipld, MAX_RECORD_LEN};
use super::message::{CommitFrame, OpAction, RepoOp, SyncFrame};
use super::mst::{self, MstError, MstOp};
use crate::crypto::PublicKey;
use crate::syntax::{Cid, Nsid, RecordKey, Tid};

/// Limits of the lexicon on `#commit` and of the protocol on records.
const COMMIT_LIMITS: CarLimits =
    CarLimits { max_len: 2_000_000, max_block_len: MAX_RECORD_LEN, max_blocks: 60_000 };
/// Limit of the lexicon on `#sync`.
const SYNC_LIMITS: CarLimits =
    CarLimits { max_len: 10_000, max_block_len: 10_000, max_blocks: 100 };
const MAX_OPS: usize = 200;
/// How far a clock may be ahead of ours.
pub const MAX_AHEAD_US: u64 = 5 * 60 * 1_000_000;

/// A commit whose claims hold.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Revision of the commit.
    pub rev: Tid,
    /// Revision the host says came before.
    pub since: Option<Tid>,
    /// Root before the commit. `None` for a repository's first commit (then `since` is `None` too), and from a host
    /// without sync 1.1, where nothing but the signed tree vouches for the operations.
    pub prev_data: Option<Cid>,
    /// Root after the commit.
    pub data: Cid,
    /// The changes, in the host's order. `None` if there is no room for the records in memory, or one takes more than any may.
    pub ops: Option<Vec<VerifiedOp>>,
}

/// One change whose record, if any, is there and sound.
#[derive(Debug, Clone)]
pub struct VerifiedOp {
    /// What happened.
    pub action: OpAction,
    /// First half of the path.
    pub collection: Nsid,
    /// Second half of the path.
    pub rkey: RecordKey,
    /// The record now; none for a delete.
    pub cid: Option<Cid>,
    /// The record's value.
    pub value: Option<Ipld>,
}

/// A `#sync` whose claims hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedSync {
    /// Revision of the repository.
    pub rev: Tid,
    /// Root of its tree.
    pub data: Cid,
}

/// Why a message is refused: one cause each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The host marked the commit as too big to send.
    #[error("commit is marked tooBig")]
    TooBig,
    /// More than 200 operations.
    #[error("commit has more than {MAX_OPS} operations")]
    TooManyOps,
    /// `blocks` or one block is above its limit: two megabytes, one megabyte.
    #[error("blocks are larger than allowed")]
    BlocksTooLarge,
    /// `blocks` is no CAR.
    #[error("blocks are not a valid CAR")]
    Car(#[source] CarError),
    /// A block is not what its CID says.
    #[error("a block does not match its CID")]
    BlockHash,
    /// The commit block is not in the CAR, or not its root.
    #[error("commit block is missing")]
    CommitMissing,
    /// The commit block does not decode.
    #[error("commit block is invalid")]
    CommitInvalid(#[source] CborError),
    /// The commit is of another repository.
    #[error("commit is of another repository")]
    DidMismatch,
    /// The commit has another revision than the message.
    #[error("commit has another rev")]
    RevMismatch,
    /// The revision lies in the future.
    #[error("rev is in the future")]
    RevFuture,
    /// A path that is not `nsid/record-key`.
    #[error("operation has an invalid path")]
    OpPath,
    /// Two operations on one path.
    #[error("two operations have one path")]
    OpDuplicate,
    /// `cid` or `prev` where the action has none, or none where it has one.
    #[error("operation lacks or has a CID that its action does not")]
    OpShape,
    /// The tree says otherwise.
    #[error("operation does not match the tree")]
    OpMismatch,
    /// A record's block is not in the CAR.
    #[error("record block is missing")]
    RecordMissing,
    /// A record that is not canonical DAG-CBOR.
    #[error("record is not canonical DAG-CBOR")]
    RecordInvalid(#[source] CborError),
    /// The proof lacks a tree node.
    #[error("proof is incomplete")]
    ProofMissing(#[source] MstError),
    /// A tree node is malformed.
    #[error("tree is malformed")]
    Tree(#[source] MstError),
    /// Undoing the operations does not give the previous root.
    #[error("operations do not lead from prevData to data")]
    PrevData,
    /// Signed by another key, or by none.
    #[error("signature does not verify")]
    Signature,
}

impl VerifyError {
    /// A short kebab-case name, for counters.
    pub fn cause(&self) -> &'static str {
        match self {
            VerifyError::TooBig => "too-big",
            VerifyError::TooManyOps => "too-many-ops",
            VerifyError::BlocksTooLarge => "blocks-too-large",
            VerifyError::Car(_) => "bad-car",
            VerifyError::BlockHash => "block-hash",
            VerifyError::CommitMissing => "commit-missing",
            VerifyError::CommitInvalid(_) => "commit-invalid",
            VerifyError::DidMismatch => "wrong-did",
            VerifyError::RevMismatch => "rev-mismatch",
            VerifyError::RevFuture => "rev-future",
            VerifyError::OpPath => "op-path",
            VerifyError::OpDuplicate => "op-duplicate",
            VerifyError::OpShape => "op-shape",
            VerifyError::OpMismatch => "op-mismatch",
            VerifyError::RecordMissing => "record-missing",
            VerifyError::RecordInvalid(_) => "record-invalid",
            VerifyError::ProofMissing(_) => "proof-missing",
            VerifyError::Tree(_) => "bad-tree",
            VerifyError::PrevData => "prev-data",
            VerifyError::Signature => "bad-signature",
        }
    }
}

impl From<CarError> for VerifyError {
    fn from(error: CarError) -> Self {
        match error {
            CarError::TooLarge => VerifyError::BlocksTooLarge,
            CarError::Hash => VerifyError::BlockHash,
            error => VerifyError::Car(error),
        }
    }
}

impl From<MstError> for VerifyError {
    fn from(error: MstError) -> Self {
        match error {
            MstError::MissingBlock(_) => VerifyError::ProofMissing(error),
            MstError::Mismatch => VerifyError::OpMismatch,
            error => VerifyError::Tree(error),
        }
    }
}

/// Everything that a `#commit` can be checked for by itself. `now_us` is in microseconds since the epoch; `room` is asked
/// for the memory of each record before it is decoded.
pub fn verify_commit(
    frame: &CommitFrame,
    key: &PublicKey,
    now_us: u64,
    room: impl FnMut(usize) -> bool,
) -> Result<Verified, VerifyError> {
    check_envelope(frame, now_us)?;
    let car = CarSlice::parse(frame.blocks.clone(), &COMMIT_LIMITS)?;
    let commit = read_commit(&car, Some(&frame.commit), &frame.repo, frame.rev)?;
    let ops = read_ops(frame, &car, room)?;
    check_tree(frame, &commit.data, &car)?;
    if !commit.verify_signature(key) {
        return Err(VerifyError::Signature);
    }
    Ok(verified(frame, commit.data, ops))
}

/// Reads a `#commit` on trust (`verify = false`): caps, CAR and the records' own CIDs, but neither tree nor signature.
pub fn extract_commit(
    frame: &CommitFrame,
    now_us: u64,
    room: impl FnMut(usize) -> bool,
) -> Result<Verified, VerifyError> {
    check_envelope(frame, now_us)?;
    let car = CarSlice::parse_unhashed(frame.blocks.clone(), &COMMIT_LIMITS)?;
    let commit = read_commit(&car, Some(&frame.commit), &frame.repo, frame.rev)?;
    let ops = read_ops(frame, &car, room)?;
    Ok(verified(frame, commit.data, ops))
}

/// Reads on trust where a `#commit` says that the repository is, and nothing of its operations.
pub fn extract_claim(frame: &CommitFrame, now_us: u64) -> Result<VerifiedSync, VerifyError> {
    check_envelope(frame, now_us)?;
    let car = CarSlice::parse_unhashed(frame.blocks.clone(), &COMMIT_LIMITS)?;
    let commit = read_commit(&car, Some(&frame.commit), &frame.repo, frame.rev)?;
    Ok(VerifiedSync { rev: commit.rev, data: commit.data })
}

/// Everything that a `#sync` can be checked for by itself.
pub fn verify_sync(
    frame: &SyncFrame,
    key: &PublicKey,
    now_us: u64,
) -> Result<VerifiedSync, VerifyError> {
    let (verified, commit) = read_sync(frame, now_us)?;
    if commit.verify_signature(key) { Ok(verified) } else { Err(VerifyError::Signature) }
}

/// Reads a `#sync` on trust (`verify = false`).
pub fn extract_sync(frame: &SyncFrame, now_us: u64) -> Result<VerifiedSync, VerifyError> {
    read_sync(frame, now_us).map(|(verified, _)| verified)
}

fn read_sync(frame: &SyncFrame, now_us: u64) -> Result<(VerifiedSync, Commit), VerifyError> {
    check_rev(frame.rev, now_us)?;
    let car = CarSlice::parse(frame.blocks.clone(), &SYNC_LIMITS)?;
    let commit = read_commit(&car, None, &frame.did, frame.rev)?;
    Ok((VerifiedSync { rev: commit.rev, data: commit.data }, commit))
}

fn verified(frame: &CommitFrame, data: Cid, ops: Option<Vec<VerifiedOp>>) -> Verified {
    Verified { rev: frame.rev, since: frame.since, prev_data: frame.prev_data, data, ops }
}

fn check_envelope(frame: &CommitFrame, now_us: u64) -> Result<(), VerifyError> {
    if frame.too_big {
        return Err(VerifyError::TooBig);
    }
    if frame.ops.len() > MAX_OPS {
        return Err(VerifyError::TooManyOps);
    }
    check_rev(frame.rev, now_us)?;
    let mut paths: Vec<&str> = frame.ops.iter().map(|op| op.path.as_str()).collect();
    paths.sort_unstable();
    if paths.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(VerifyError::OpDuplicate);
    }
    Ok(())
}

fn check_rev(rev: Tid, now_us: u64) -> Result<(), VerifyError> {
    if rev.micros() > now_us.saturating_add(MAX_AHEAD_US) {
        Err(VerifyError::RevFuture)
    } else {
        Ok(())
    }
}

fn read_commit(
    car: &CarSlice,
    cid: Option<&Cid>,
    did: &str,
    rev: Tid,
) -> Result<Commit, VerifyError> {
    let root = car.roots().first().ok_or(VerifyError::CommitMissing)?;
    if cid.is_some_and(|cid| cid != root) {
        return Err(VerifyError::CommitMissing);
    }
    let block = car.get_hashed(root)?.ok_or(VerifyError::CommitMissing)?;
    let commit = Commit::decode(&block).map_err(VerifyError::CommitInvalid)?;
    if commit.did != *did {
        return Err(VerifyError::DidMismatch);
    }
    if commit.rev != rev {
        return Err(VerifyError::RevMismatch);
    }
    Ok(commit)
}

fn read_ops(
    frame: &CommitFrame,
    car: &CarSlice,
    mut room: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<VerifiedOp>>, VerifyError> {
    let mut ops = Some(Vec::with_capacity(frame.ops.len()));
    for op in &frame.ops {
        let (mut read, block) = read_op(op, car)?;
        // Without room the others are still looked at, so that a commit that is none has its cause.
        let Some(list) = &mut ops else { continue };
        match block.as_deref().map(dag_cbor::weigh) {
            None => list.push(read),
            Some(Ok(record)) if room(record.memory()) => {
                read.value = Some(record.decode().map_err(VerifyError::RecordInvalid)?);
                list.push(read);
            }
            // A block that is too long is none of a commit.
            Some(Ok(_) | Err(CborError::TooLarge)) => ops = None,
            Some(Err(error)) => return Err(VerifyError::RecordInvalid(error)),
        }
    }
    Ok(ops)
}

/// An operation, and its record still encoded.
fn read_op(op: &RepoOp, car: &CarSlice) -> Result<(VerifiedOp, Option<Bytes>), VerifyError> {
    let (collection, rkey) = op.path.split_once('/').ok_or(VerifyError::OpPath)?;
    let collection = Nsid::parse(collection).map_err(|_| VerifyError::OpPath)?;
    let rkey = RecordKey::parse(rkey).map_err(|_| VerifyError::OpPath)?;
    let shape = match op.action {
        OpAction::Create => op.cid.is_some() && op.prev.is_none(),
        OpAction::Update => op.cid.is_some(),
        OpAction::Delete => op.cid.is_none(),
    };
    if !shape {
        return Err(VerifyError::OpShape);
    }
    let block = match &op.cid {
        Some(cid) => Some(car.get_hashed(cid)?.ok_or(VerifyError::RecordMissing)?),
        None => None,
    };
    Ok((VerifiedOp { action: op.action, collection, rkey, cid: op.cid, value: None }, block))
}

fn check_tree(frame: &CommitFrame, data: &Cid, car: &CarSlice) -> Result<(), VerifyError> {
    let block = |cid: &Cid| car.get(cid);
    let before = match (frame.prev_data, frame.since) {
        (Some(prev_data), _) => prev_data,
        (None, None) => mst::empty_root(),
        (None, Some(_)) => return check_present(frame, data, car),
    };
    // Without `prev` an update would read as a create.
    if frame.ops.iter().any(|op| op.action != OpAction::Create && op.prev.is_none()) {
        return Err(VerifyError::OpShape);
    }
    let ops: Vec<MstOp<'_>> =
        frame.ops.iter().map(|op| MstOp { key: &op.path, cid: op.cid, prev: op.prev }).collect();
    if ops.is_empty() {
        // Nothing to undo, so the proof need not even hold the root.
        return if *data == before { Ok(()) } else { Err(VerifyError::PrevData) };
    }
    if mst::invert(data, &ops, block)? == before { Ok(()) } else { Err(VerifyError::PrevData) }
}

/// A host without sync 1.1: the signed tree must still hold what the operations write, and not what they delete. Its
/// proof of a deletion may be cut short.
fn check_present(frame: &CommitFrame, data: &Cid, car: &CarSlice) -> Result<(), VerifyError> {
    for op in &frame.ops {
        match mst::contains(data, &op.path, op.cid.as_ref(), |cid| car.get(cid)) {
            Ok(true) => {}
            Ok(false) => return Err(VerifyError::OpMismatch),
            Err(MstError::MissingBlock(_)) if op.action == OpAction::Delete => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::repo::testing::{self, TestTree, entry};
    use crate::syntax::{Did, cid};
    use std::collections::BTreeMap;

    const DID: &str = "did:plc:abc";
    const NOW: u64 = 1_750_000_000_000_000;

    struct Repo {
        key: PrivateKey,
        old: BTreeMap<String, Cid>,
        new: BTreeMap<String, Cid>,
        records: Vec<Vec<u8>>,
        ops: Vec<RepoOp>,
    }

    fn record(text: &str) -> Vec<u8> {
        dag_cbor::encode(&Ipld::Map([entry("text", Ipld::String(text.into()))].into()))
    }

    fn path(n: u64) -> String {
        format!("app.bsky.feed.post/{}", Tid::from_micros(NOW - 1_000_000 + n, 1))
    }

    /// A repository of 50 posts with one more, one changed and one gone.
    fn repo() -> Repo {
        let old: BTreeMap<String, Cid> =
            (0..50).map(|n| (path(n), cid::for_record(&record(&n.to_string())))).collect();
        let (added, changed) = (record("new"), record("changed"));
        let ops = vec![
            op(OpAction::Create, path(60), Some(&added), None),
            op(OpAction::Update, path(20), Some(&changed), Some(old[&path(20)])),
            op(OpAction::Delete, path(30), None, Some(old[&path(30)])),
        ];
        let mut new = old.clone();
        new.insert(path(60), cid::for_record(&added));
        new.insert(path(20), cid::for_record(&changed));
        new.remove(&path(30));
        Repo { key: PrivateKey::generate(), old, new, records: vec![added, changed], ops }
    }

    fn op(action: OpAction, path: String, record: Option<&[u8]>, prev: Option<Cid>) -> RepoOp {
        RepoOp { action, path, cid: record.map(cid::for_record), prev }
    }

    impl Repo {
        fn frame(&self) -> CommitFrame {
            let (before, after) = (TestTree::build(&self.old), TestTree::build(&self.new));
            let rev = Tid::from_micros(NOW, 3);
            let commit = testing::commit(&self.key, DID, &rev.to_string(), &after.root);
            let commit_cid = cid::for_record(&commit);
            let records: Vec<(Cid, &Vec<u8>)> =
                self.records.iter().map(|r| (cid::for_record(r), r)).collect();
            let blocks = std::iter::once((&commit_cid, commit.as_slice()))
                .chain(after.blocks.iter().map(|(c, b)| (c, b.as_slice())))
                .chain(records.iter().map(|(c, b)| (c, b.as_slice())));
            CommitFrame {
                seq: 1,
                repo: Did::parse(DID).unwrap(),
                commit: commit_cid,
                rev,
                since: Some(Tid::from_micros(NOW - 5, 3)),
                prev_data: Some(before.root),
                blocks: testing::car(&commit_cid, blocks).into(),
                ops: self.ops.clone(),
                too_big: false,
                time_ms: 0,
            }
        }

        fn cause(&self, frame: &CommitFrame) -> &'static str {
            verify_commit(frame, &self.key.public(), NOW, |_| true)
                .map_or_else(|e| e.cause(), |_| "ok")
        }
    }

    #[test]
    fn a_true_commit_passes() {
        let repo = repo();
        let frame = repo.frame();
        let verified = verify_commit(&frame, &repo.key.public(), NOW, |_| true).unwrap();
        assert_eq!(verified.data, TestTree::build(&repo.new).root);
        let ops = verified.ops.unwrap();
        assert_eq!(ops.len(), 3);
        let value = ops[0].value.as_ref().unwrap();
        assert_eq!(dag_cbor::encode(value), repo.records[0]);
        assert!(ops[1].value.is_some() && ops[2].value.is_none());
        let trusted = extract_commit(&frame, NOW, |_| true).unwrap();
        assert_eq!((trusted.data, trusted.ops.unwrap().len()), (verified.data, 3));
        let claim = extract_claim(&frame, NOW).unwrap();
        assert_eq!((claim.data, claim.rev), (verified.data, verified.rev));
    }

    #[test]
    fn records_without_room_are_not_decoded_and_the_commit_still_holds() {
        let mut repo = repo();
        let frame = repo.frame();
        let mut asked = Vec::new();
        let second = |bytes: usize| {
            asked.push(bytes);
            asked.len() < 2
        };
        let verified = verify_commit(&frame, &repo.key.public(), NOW, second).unwrap();
        assert!(verified.ops.is_none() && asked.len() == 2 && asked[0] > 1000, "{asked:?}");
        let other = PrivateKey::generate().public();
        let refused = verify_commit(&frame, &other, NOW, |_| false);
        assert_eq!(refused.unwrap_err(), VerifyError::Signature);
        let mut lies = frame.clone();
        lies.ops[1].cid = Some(cid::for_record(b"gone"));
        let refused = verify_commit(&lies, &repo.key.public(), NOW, |_| false);
        assert_eq!(refused.unwrap_err(), VerifyError::RecordMissing);
        // What takes more than any record may is not asked for.
        let maps = [&b"\x99\x75\x30"[..], &b"\xa1\x60\xf6".repeat(30_000)].concat();
        repo.ops[0].cid = Some(cid::for_record(&maps));
        repo.new.insert(path(60), cid::for_record(&maps));
        repo.records[0] = maps;
        let asks_none = |_| unreachable!();
        let verified = verify_commit(&repo.frame(), &repo.key.public(), NOW, asks_none).unwrap();
        assert!(verified.ops.is_none());
    }

    #[test]
    fn each_lie_has_its_cause() {
        let repo = repo();
        let good = repo.frame();
        let cause = |change: &dyn Fn(&mut CommitFrame)| {
            let mut frame = good.clone();
            change(&mut frame);
            repo.cause(&frame)
        };
        assert_eq!(cause(&|_| {}), "ok");
        assert_eq!(cause(&|f| f.too_big = true), "too-big");
        assert_eq!(cause(&|f| f.ops = vec![f.ops[0].clone(); 201]), "too-many-ops");
        assert_eq!(cause(&|f| f.ops.push(f.ops[0].clone())), "op-duplicate");
        assert_eq!(cause(&|f| f.blocks = vec![0; 2_000_001].into()), "blocks-too-large");
        assert_eq!(cause(&|f| f.blocks = f.blocks.slice(..f.blocks.len() * 3 / 5)), "bad-car");
        assert_eq!(cause(&|f| f.blocks = vec![].into()), "bad-car");
        assert_eq!(cause(&|f| f.commit = cid::for_record(b"")), "commit-missing");
        assert_eq!(cause(&|f| f.repo = Did::parse("did:plc:other").unwrap()), "wrong-did");
        assert_eq!(cause(&|f| f.rev = Tid::from_micros(NOW - 1, 3)), "rev-mismatch");
        assert_eq!(cause(&|f| f.rev = Tid::from_micros(NOW + 301_000_000, 3)), "rev-future");
        assert_eq!(cause(&|f| f.ops[0].path = "app.bsky.feed.post/not valid!".into()), "op-path");
        assert_eq!(cause(&|f| f.ops[0].path = "posts/1".into()), "op-path");
        assert_eq!(cause(&|f| f.ops[0].path = "nothing".into()), "op-path");
        assert_eq!(cause(&|f| f.ops[0].cid = None), "op-shape");
        assert_eq!(cause(&|f| f.ops[1].prev = None), "op-shape");
        assert_eq!(cause(&|f| f.ops[2].cid = f.ops[0].cid), "op-shape");
        assert_eq!(cause(&|f| f.ops[0].cid = f.ops[1].cid), "op-mismatch");
        assert_eq!(cause(&|f| f.ops[0].cid = Some(cid::for_record(b"gone"))), "record-missing");
        assert_eq!(cause(&|f| f.ops[2].path = path(31)), "op-mismatch");
        assert_eq!(cause(&|f| drop(f.ops.remove(0))), "prev-data");
        assert_eq!(cause(&|f| f.ops.clear()), "prev-data");
        assert_eq!(cause(&|f| f.prev_data = Some(cid::for_record(b""))), "prev-data");
        assert_eq!(cause(&|f| (f.prev_data, f.since) = (None, None)), "prev-data");
        let other = PrivateKey::generate().public();
        assert_eq!(
            verify_commit(&good, &other, NOW, |_| true).unwrap_err(),
            VerifyError::Signature
        );
    }

    #[test]
    fn damaged_blocks_are_noticed() {
        let repo = repo();
        let good = repo.frame();
        let mut bytes = good.blocks.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let mut frame = good.clone();
        frame.blocks = bytes.into();
        assert_eq!(repo.cause(&frame), "block-hash");
        assert_eq!(
            extract_commit(&frame, NOW, |_| true).unwrap_err().cause(),
            "block-hash",
            "a record's own CID"
        );
    }

    #[test]
    fn records_are_checked() {
        let big = dag_cbor::encode(&Ipld::Bytes(vec![0; MAX_RECORD_LEN]));
        for (bytes, cause) in [
            (vec![0x81; 5000], "record-invalid"),
            (vec![0x18, 0x01], "record-invalid"),
            (vec![0x1c; 30], "record-invalid"),
            (big, "blocks-too-large"),
        ] {
            let mut repo = repo();
            repo.ops[0].cid = Some(cid::for_record(&bytes));
            repo.new.insert(path(60), cid::for_record(&bytes));
            repo.records[0] = bytes;
            assert_eq!(repo.cause(&repo.frame()), cause);
        }
    }

    #[test]
    fn hosts_without_sync_1_1() {
        let repo = repo();
        let mut frame = repo.frame();
        frame.prev_data = None;
        frame.ops.iter_mut().for_each(|op| op.prev = None);
        assert_eq!(repo.cause(&frame), "ok");
        frame.ops[2].path = path(31);
        assert_eq!(repo.cause(&frame), "op-mismatch", "still there");
    }

    #[test]
    fn a_first_commit_starts_from_nothing() {
        let mut repo = repo();
        repo.old.clear();
        repo.new.retain(|key, _| *key == path(60));
        repo.ops.truncate(1);
        let mut frame = repo.frame();
        (frame.since, frame.prev_data) = (None, None);
        assert_eq!(repo.cause(&frame), "ok");
    }

    #[test]
    fn syncs() {
        let key = PrivateKey::generate();
        let (rev, data) = (Tid::from_micros(NOW, 1), cid::for_record(b"tree"));
        let commit = testing::commit(&key, DID, &rev.to_string(), &data);
        let root = cid::for_record(&commit);
        let frame = SyncFrame {
            seq: 1,
            did: Did::parse(DID).unwrap(),
            rev,
            blocks: testing::car(&root, [(&root, commit.as_slice())]).into(),
            time_ms: 0,
        };
        let good = VerifiedSync { rev, data };
        assert_eq!(verify_sync(&frame, &key.public(), NOW), Ok(good));
        assert_eq!(extract_sync(&frame, NOW), Ok(good));
        let other = PrivateKey::generate().public();
        assert_eq!(verify_sync(&frame, &other, NOW), Err(VerifyError::Signature));
        let big = SyncFrame { blocks: vec![0; 10_001].into(), ..frame.clone() };
        assert_eq!(verify_sync(&big, &key.public(), NOW), Err(VerifyError::BlocksTooLarge));
        assert_eq!(
            verify_sync(&frame, &key.public(), NOW - 301_000_000),
            Err(VerifyError::RevFuture)
        );
    }
}
