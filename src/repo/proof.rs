//! Whether one record of a repository is what a host says it is, or is truly not there
//! (`com.atproto.sync.getRecord`: a CAR with the commit, the tree's nodes on the way to the record, and the record).

use bytes::Bytes;

use super::car::{CarLimits, CarSlice};
use super::commit::Commit;
use super::dag_cbor::MAX_RECORD_LEN;
use super::mst;
use super::verify::{MAX_AHEAD_US, VerifyError};
use crate::crypto::PublicKey;
use crate::syntax::{Cid, Tid};

/// A record, its path of nodes, and room for a host that sends more than is needed.
const LIMITS: CarLimits =
    CarLimits { max_len: MAX_PROOF_LEN, max_block_len: MAX_RECORD_LEN, max_blocks: 2_000 };

/// Bytes of an answer that can be a proof.
pub const MAX_PROOF_LEN: usize = 3 << 20;

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The rev at which it is true.
    pub rev: Tid,
    /// The record's CID and bytes; `None` if there is none at the path.
    pub record: Option<(Cid, Bytes)>,
}

/// Checks a proof about `path` (`collection/rkey`) in the repository of `did`. `now_us` is in microseconds since the
/// epoch. The signature is looked at last, so that [`VerifyError::Signature`] means "fetch the key again".
pub fn verify_proof(
    body: Bytes,
    did: &str,
    path: &str,
    key: &PublicKey,
    now_us: u64,
) -> Result<Proven, VerifyError> {
    let car = CarSlice::parse(body, &LIMITS)?;
    let root = car.roots().first().ok_or(VerifyError::CommitMissing)?;
    let commit = car.get(root).ok_or(VerifyError::CommitMissing)?;
    let commit = Commit::decode(commit).map_err(VerifyError::CommitInvalid)?;
    if commit.did != *did {
        return Err(VerifyError::DidMismatch);
    }
    if commit.rev.micros() > now_us.saturating_add(MAX_AHEAD_US) {
        return Err(VerifyError::RevFuture);
    }
    let record = match mst::find(&commit.data, path, |cid| car.get(cid))? {
        Some(cid) => Some((cid, car.get_bytes(&cid).ok_or(VerifyError::RecordMissing)?)),
        None => None,
    };
    if !commit.verify_signature(key) {
        return Err(VerifyError::Signature);
    }
    Ok(Proven { rev: commit.rev, record })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::crypto::PrivateKey;
    use crate::repo::testing::{TestTree, car, commit};
    use crate::syntax::cid;

    const DID: &str = "did:plc:abc";
    const REV: &str = "3jzfcijpj2z2a";
    const NOW_US: u64 = 1_900_000_000_000_000;

    fn path(n: u32) -> String {
        format!("com.example.note/{n:04}")
    }

    struct Sample {
        key: PrivateKey,
        root: Cid,
        blocks: BTreeMap<Cid, Vec<u8>>,
    }

    impl Sample {
        fn new() -> Self {
            let key = PrivateKey::generate();
            let records: BTreeMap<String, Vec<u8>> =
                (0..300).map(|n| (path(n), format!("record {n}").into_bytes())).collect();
            let cids = records.iter().map(|(p, r)| (p.clone(), cid::for_record(r))).collect();
            let tree = TestTree::build(&cids);
            let commit = commit(&key, DID, REV, &tree.root);
            let mut blocks: BTreeMap<Cid, Vec<u8>> = tree.blocks.into_iter().collect();
            blocks.extend(records.into_values().map(|r| (cid::for_record(&r), r)));
            let root = cid::for_record(&commit);
            blocks.insert(root, commit);
            Self { key, root, blocks }
        }

        fn car(&self) -> Vec<u8> {
            car(&self.root, self.blocks.iter().map(|(c, b)| (c, b.as_slice())))
        }

        fn verify(&self, body: Vec<u8>, path: &str) -> Result<Proven, VerifyError> {
            verify_proof(body.into(), DID, path, &self.key.public(), NOW_US)
        }
    }

    #[test]
    fn presence_and_absence_are_proven() {
        let s = Sample::new();
        let rev = Tid::parse(REV).unwrap();
        for n in [0, 7, 299] {
            let record = format!("record {n}").into_bytes();
            let record = Some((cid::for_record(&record), record.into()));
            assert_eq!(s.verify(s.car(), &path(n)), Ok(Proven { rev, record }));
        }
        for missing in ["com.example.note/0150x", "com.example.note/9", "a.b.c/d"] {
            assert_eq!(s.verify(s.car(), missing), Ok(Proven { rev, record: None }));
        }
    }

    #[test]
    fn no_block_on_the_way_may_be_left_out() {
        let s = Sample::new();
        for asked in [path(7), "com.example.note/0150x".to_owned()] {
            let whole = s.verify(s.car(), &asked);
            let mut needed = 0;
            for left_out in s.blocks.keys() {
                let rest = s.blocks.iter().filter(|(c, _)| *c != left_out);
                let body = car(&s.root, rest.map(|(c, b)| (c, b.as_slice())));
                let result = s.verify(body, &asked);
                if result != whole {
                    needed += 1;
                    let cause = result.unwrap_err().cause();
                    let known = ["commit-missing", "proof-missing", "record-missing"];
                    assert!(known.contains(&cause), "{cause}");
                }
            }
            assert!(needed > 2, "{asked}: {needed}");
        }
    }

    #[test]
    fn what_is_not_the_accounts_is_refused() {
        let s = Sample::new();
        let with = |did: &str, key: &PrivateKey, rev: &str| {
            let data = Commit::decode(&s.blocks[&s.root]).unwrap().data;
            let block = commit(key, did, rev, &data);
            let root = cid::for_record(&block);
            let all = s.blocks.iter().map(|(c, b)| (c, b.as_slice()));
            car(&root, all.chain([(&root, block.as_slice())]))
        };
        let mut damaged = s.car();
        *damaged.last_mut().unwrap() ^= 1;
        let future = Tid::from_micros(NOW_US + 3_600_000_000, 1).to_string();
        for (body, cause) in [
            (with("did:plc:other", &s.key, REV), "wrong-did"),
            (with(DID, &PrivateKey::generate(), REV), "bad-signature"),
            (with(DID, &s.key, &future), "rev-future"),
            (damaged, "block-hash"),
            (s.car()[..500].to_vec(), "bad-car"),
            (b"<html>".to_vec(), "bad-car"),
            (vec![0; MAX_PROOF_LEN + 1], "blocks-too-large"),
        ] {
            assert_eq!(s.verify(body, &path(7)).unwrap_err().cause(), cause);
        }
    }
}
