//! Signed commits: the block at the root of a repository (<https://atproto.com/specs/repository>).

use super::cbor::{CborError, Reader, key_order};
use crate::crypto::PublicKey;
use crate::syntax::{Cid, Did, Tid};

/// More than any commit has, so that the map head without `sig` is one byte.
const MAX_FIELDS: usize = 23;
const MAX_LEN: usize = 10_000;

/// A decoded commit of repository version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The repository.
    pub did: Did,
    /// Always 3.
    pub version: u64,
    /// Root of the MST.
    pub data: Cid,
    /// Revision, a TID that only goes up.
    pub rev: Tid,
    /// Previous commit; `null` in practice.
    pub prev: Option<Cid>,
    /// Compact signature over `unsigned`.
    pub sig: Vec<u8>,
    /// The same block without `sig`, unknown fields included.
    unsigned: Vec<u8>,
}

impl Commit {
    /// Decodes a commit block, which must be canonical.
    pub fn decode(block: &[u8]) -> Result<Commit, CborError> {
        if block.len() > MAX_LEN {
            return Err(CborError::TooLarge);
        }
        let mut reader = Reader::new(block);
        let count = reader.map()?;
        if count > MAX_FIELDS {
            return Err(CborError::Shape);
        }
        let (mut did, mut version, mut data, mut rev, mut prev, mut sig) =
            (None, None, None, None, None, None);
        let mut unsigned = Vec::with_capacity(block.len());
        unsigned.push(0xa0 | (count as u8).saturating_sub(1));
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let before = reader.rest();
            let key = reader.text()?;
            if last.is_some_and(|last| key_order(last, key).is_ge()) {
                return Err(CborError::KeyOrder);
            }
            last = Some(key);
            match key {
                "did" => did = Some(Did::parse(reader.text()?).map_err(|_| CborError::Shape)?),
                "version" => version = Some(reader.uint()?),
                "data" => data = Some(reader.link()?),
                "rev" => rev = Some(Tid::parse(reader.text()?).ok_or(CborError::Shape)?),
                "prev" => prev = Some(reader.nullable(Reader::link)?),
                "sig" => sig = Some(reader.bytes()?.to_vec()),
                _ => reader.skip()?,
            }
            if key != "sig" {
                let used = before.len().saturating_sub(reader.rest().len());
                unsigned.extend(before.iter().take(used));
            }
        }
        reader.end()?;
        match (did, version, data, rev, sig) {
            (Some(did), Some(version @ 3), Some(data), Some(rev), Some(sig)) => {
                Ok(Commit { did, version, data, rev, prev: prev.flatten(), sig, unsigned })
            }
            _ => Err(CborError::Shape),
        }
    }

    /// Whether this key signed the commit.
    pub fn verify_signature(&self, key: &PublicKey) -> bool {
        key.verify(&self.unsigned, &self.sig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::repo::dag_cbor::{Ipld, decode, encode};
    use crate::repo::testing::{self, entry};
    use crate::syntax::cid;

    fn sample(key: &PrivateKey) -> Vec<u8> {
        testing::commit(key, "did:plc:abc", "3jzfcijpj2z2a", &cid::for_record(b"tree"))
    }

    fn edit(
        block: &[u8],
        change: impl FnOnce(&mut std::collections::BTreeMap<String, Ipld>),
    ) -> Vec<u8> {
        let Ipld::Map(mut map) = decode(block).unwrap() else { panic!() };
        change(&mut map);
        encode(&Ipld::Map(map))
    }

    #[test]
    fn decodes_and_verifies() {
        let key = PrivateKey::generate();
        let block = sample(&key);
        let commit = Commit::decode(&block).unwrap();
        assert_eq!((commit.did.as_str(), commit.data), ("did:plc:abc", cid::for_record(b"tree")));
        assert!(commit.verify_signature(&key.public()));
        assert!(!commit.verify_signature(&PrivateKey::generate().public()));
        let unsigned = edit(&block, |map| drop(map.remove("sig")));
        assert_eq!(commit.unsigned, unsigned);
        let extra = edit(&block, |map| map.extend([entry("extra", Ipld::Integer(5))]));
        let extra = Commit::decode(&extra).unwrap();
        assert!(!extra.verify_signature(&key.public()), "unknown fields are signed too");
    }

    #[test]
    fn refuses_other_shapes() {
        let block = sample(&PrivateKey::generate());
        for field in ["did", "version", "data", "rev", "sig"] {
            assert!(
                Commit::decode(&edit(&block, |map| drop(map.remove(field)))).is_err(),
                "{field}"
            );
        }
        for (field, value) in [
            ("version", Ipld::Integer(2)),
            ("did", Ipld::String("plc".into())),
            ("rev", Ipld::String("yesterday".into())),
            ("sig", Ipld::Null),
        ] {
            assert!(
                Commit::decode(&edit(&block, |map| map.extend([entry(field, value)]))).is_err(),
                "{field}"
            );
        }
        for end in 0..block.len() {
            assert!(Commit::decode(&block[..end]).is_err());
        }
        assert_eq!(Commit::decode(&[block, vec![0]].concat()), Err(CborError::Trailing));
    }
}
