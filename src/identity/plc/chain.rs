//! Whether operations are signed by whoever may: the first of a DID by its hash, which is the DID; each other by one of
//! the rotation keys of the one before. Specification: <https://web.plc.directory/spec/v0.1/did-plc>, "DID Creation" and
//! "DID Update".
//!
//! Each operation is proven when it comes, while it is at hand: of a row no more than the end of its chain is kept. The
//! history could be asked for at the first use of a key (`/{did}/log/audit`) instead; that would be a request for each
//! account, which bulk is there to save. What cannot be proven is kept, counted and not used: whoever needs it asks the
//! directory, as for an account that is not here at all. So it goes with
//!
//! - operations that no key of the chain signed: somebody made them up;
//! - operations whose predecessor is not the end of the chain: files with gaps, and the rare recovery, in which an older
//!   operation is continued and later ones are nullified within 72 hours. Whether that was right needs more than the end.
//!
//! What nobody can see here is what was left out at the end of a file; `network.plc_export` brings it.

use std::collections::HashMap;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::crypto::KeyBytes;
use crate::repo::dag_cbor::{self, Ipld};
use crate::schema::plc::{self, ChainEnd, Held, OpId, PlcOp, Proof};
use crate::store::{Snapshot, StoreError};
use crate::syntax::cid;
use crate::telemetry::counters::Counters;

static UNPROVEN: Counters = Counters::new("identity.unproven-operation");

/// Rotation keys of an operation; the directory takes no more.
const MAX_ROTATION: usize = 10;
/// Characters of a DID that come from the hash.
const HASH_LEN: usize = 24;

/// An operation as it was taken, with what its state does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) op: PlcOp,
    pub(super) signed: Option<Signed>,
}

/// What is signed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    digest: [u8; 32],
    /// The operation that this one goes on from.
    prev: Option<[u8; 32]>,
    rotation: Vec<[u8; 34]>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Reads an operation; `None` if it cannot be a signed one.
    pub(super) fn read(operation: &RawValue) -> Option<Self> {
        let whole: Ipld = serde_json::from_str(operation.get()).ok()?;
        let digest = Sha256::digest(dag_cbor::encode(&whole)).into();
        let Ipld::Map(mut fields) = whole else { return None };
        let Some(Ipld::String(signature)) = fields.remove("sig") else { return None };
        let prev = match fields.get("prev")? {
            Ipld::Null => None,
            Ipld::String(prev) => Some(cid::digest(&cid::parse_strict(prev)?)?),
            _ => return None,
        };
        let key = |key: &Ipld| match key {
            Ipld::String(key) => KeyBytes::from_did_key(key).ok().map(Into::into),
            _ => None,
        };
        let rotation: Vec<_> = match fields.get("rotationKeys") {
            Some(Ipld::List(keys)) if keys.len() <= MAX_ROTATION => {
                keys.iter().filter_map(key).collect()
            }
            Some(_) => return None,
            // The first kind of a first operation; the order is that of their power.
            None => ["recoveryKey", "signingKey"]
                .iter()
                .filter_map(|name| key(fields.get(*name)?))
                .collect(),
        };
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        Some(Self {
            digest,
            prev,
            rotation,
            message: dag_cbor::encode(&Ipld::Map(fields)),
            signature,
        })
    }

    fn id(&self) -> OpId {
        short(&self.digest)
    }

    /// Whether it can be the first of a DID, which commits to all of it.
    fn begins(&self, did: &str) -> bool {
        let hash = BASE32_NOPAD.encode(&self.digest).to_ascii_lowercase();
        self.prev.is_none() && did.strip_prefix("did:plc:") == hash.get(..HASH_LEN)
    }

    fn is_signed_by(&self, keys: &[[u8; 34]]) -> bool {
        keys.iter().any(|key| {
            let key = KeyBytes::from(*key).to_key();
            key.is_ok_and(|key| key.verify(&self.message, &self.signature))
        })
    }

    fn end(&self) -> ChainEnd {
        ChainEnd { op: self.id(), rotation: self.rotation.clone() }
    }
}

fn short(digest: &[u8; 32]) -> OpId {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    [a, b, c, d, e, f, g, h]
}

/// Adds their proofs to operations that are signed; in their order, each may go on from the one before. Takes some time,
/// so it is not for the writer.
pub(super) fn prove(s: &Snapshot, operations: Vec<Operation>) -> Result<Vec<PlcOp>, StoreError> {
    let mut ends: HashMap<String, Held> = HashMap::new();
    let mut proven = Vec::with_capacity(operations.len());
    for Operation { mut op, signed } in operations {
        let held = match ends.get_mut(&op.did) {
            Some(held) => held,
            None => ends.entry(op.did.clone()).or_insert(plc::chain(s, &op.did)?),
        };
        op.proof = signed.as_ref().and_then(|signed| proof(held, &op, signed));
        if let Some(proof) = &op.proof {
            held.end = Some(proof.end.clone());
        }
        proven.push(op);
    }
    Ok(proven)
}

fn proof(held: &Held, op: &PlcOp, signed: &Signed) -> Option<Proof> {
    if held.proven_until.is_some_and(|until| until > op.time) {
        return None;
    }
    let from = match &held.end {
        // It is in already.
        Some(end) if end.op == signed.id() => return Some(Proof { from: None, end: end.clone() }),
        Some(end) if signed.prev.map(|prev| short(&prev)) != Some(end.op) => {
            UNPROVEN.inc("other-predecessor");
            return None;
        }
        Some(end) if !signed.is_signed_by(&end.rotation) => {
            UNPROVEN.inc("bad-signature");
            return None;
        }
        None if !signed.begins(&op.did) => {
            UNPROVEN.inc(if signed.prev.is_none() { "other-hash" } else { "no-predecessor" });
            return None;
        }
        end => end.as_ref().map(|end| end.op),
    };
    Some(Proof { from, end: signed.end() })
}

#[cfg(test)]
pub(super) mod testing {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::PrivateKey;
    use crate::syntax::cid::Cid;

    /// An account of the directory, whose operations it signs.
    pub(in super::super) struct Account {
        pub(in super::super) did: String,
        pub(in super::super) rotation: PrivateKey,
        /// The CID of the last operation.
        pub(in super::super) last: Option<Cid>,
    }

    impl Account {
        pub(in super::super) fn new() -> Self {
            Self { did: String::new(), rotation: PrivateKey::generate(), last: None }
        }

        /// Signs an operation that follows on the last one.
        pub(in super::super) fn sign(&mut self, mut operation: Value) -> Value {
            operation["prev"] = json!(self.last.as_ref().map(cid::to_base32));
            let encode = |value: &Value| {
                dag_cbor::encode(&serde_json::from_str::<Ipld>(&value.to_string()).unwrap())
            };
            let signature = self.rotation.sign(&encode(&operation));
            operation["sig"] = json!(BASE64URL_NOPAD.encode(&signature));
            let block = encode(&operation);
            if self.last.is_none() {
                let hash = BASE32_NOPAD.encode(&Sha256::digest(&block)).to_ascii_lowercase();
                self.did = format!("did:plc:{}", &hash[..HASH_LEN]);
            }
            self.last = Some(cid::for_record(&block));
            operation
        }

        /// A document with this handle.
        pub(in super::super) fn document(&self, handle: &str) -> Value {
            json!({
                "type": "plc_operation", "rotationKeys": [self.rotation.public().to_did_key()],
                "verificationMethods": {}, "alsoKnownAs": [format!("at://{handle}")],
                "services": { "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example" } },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::line::parse;
    use super::testing::Account;
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::schema::plc::{Batch, PlcState};
    use crate::store::{Store, Writer};

    /// Made by the reference's own library: an account whose first operation is of the old kind, with a change of handle,
    /// of rotation keys, of its key, and its end; keys of both curves; and one of a single operation.
    const REFERENCE: &str = include_str!("testdata/operations.jsonl");

    struct World {
        store: Store,
        writer: Writer,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), 64 << 20).unwrap();
            let (writer, _thread) = Writer::start(store.clone()).unwrap();
            Self { store, writer, _dir: dir }
        }

        /// Takes lines in and says of each whether it was proven.
        async fn take(&self, lines: &[Value]) -> Vec<bool> {
            let operation = |line: &Value| parse(line.to_string().as_bytes()).unwrap().op.unwrap();
            let operations = lines.iter().map(operation).collect();
            let ops = prove(&self.store.snapshot(), operations).unwrap();
            let proven = ops.iter().map(|op| op.proof.is_some()).collect();
            let batch = Batch { ops, ..Batch::default() };
            self.writer.durable(move |tx| plc::apply(tx, &batch).map(drop)).await.unwrap();
            proven
        }

        fn handle(&self, did: &str) -> Option<String> {
            match plc::proven(&self.store.snapshot(), did).unwrap()? {
                PlcState::Document(doc) => doc.handle,
                other => Some(format!("{other:?}")),
            }
        }
    }

    fn reference() -> Vec<Value> {
        REFERENCE.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn line(did: &str, operation: &Value, n: u32) -> Value {
        let time = format!("2023-05-01T10:00:{n:02}.000Z");
        json!({ "did": did, "operation": operation, "createdAt": time })
    }

    #[tokio::test]
    async fn operations_of_the_reference_are_proven_together_and_one_by_one() {
        let lines = reference();
        let w = World::new();
        assert_eq!(w.take(&lines).await, [true; 6]);
        assert_eq!(w.handle(lines[0]["did"].as_str().unwrap()).as_deref(), Some("Tombstone"));
        assert_eq!(w.handle(lines[5]["did"].as_str().unwrap()).as_deref(), Some("bob.example"));
        let w = World::new();
        for line in &lines[..4] {
            assert_eq!(w.take(std::slice::from_ref(line)).await, [true], "{line}");
        }
        assert_eq!(w.handle(lines[0]["did"].as_str().unwrap()).as_deref(), Some("alice2.example"));
    }

    #[tokio::test]
    async fn an_operation_that_was_touched_anywhere_is_not_proven() {
        let mut lines = reference();
        lines.truncate(4);
        let changes: [(&str, Value); 6] = [
            ("alsoKnownAs", json!(["at://mallory.example"])),
            ("verificationMethods", json!({})),
            ("rotationKeys", json!([])),
            ("services", json!({})),
            ("more", json!("x")),
            ("prev", lines[0]["cid"].clone()),
        ];
        for (field, value) in changes {
            let w = World::new();
            let mut lines = lines.clone();
            lines[3]["operation"][field] = value;
            assert_eq!(w.take(&lines).await, [true, true, true, false], "{field}");
            assert_eq!(w.handle(lines[0]["did"].as_str().unwrap()), None, "{field}");
        }
        // The first of a DID has no key before it; it is its hash.
        let w = World::new();
        lines[0]["operation"]["handle"] = json!("mallory.example");
        assert_eq!(w.take(&lines).await, [false; 4]);
        let w = World::new();
        let theirs = line("did:plc:z72i7hdynmk6r22z27h6tvur", &reference()[5]["operation"], 1);
        assert_eq!(w.take(&[theirs]).await, [false]);
    }

    #[tokio::test]
    async fn only_the_keys_of_the_operation_before_may_sign() {
        let w = World::new();
        let mut alice = Account::new();
        let first = alice.sign(alice.document("a1.example"));
        let did = alice.did.clone();
        // Her next keys are somebody else's, who then takes the account on; hers do no more.
        let next = PrivateKey::generate();
        let mut handed_over = alice.document("a2.example");
        handed_over["rotationKeys"] = json!([next.public().to_did_key()]);
        let second = alice.sign(handed_over);
        let last = alice.last;
        let hers = alice.sign(alice.document("a3.example"));
        let mut bob = Account { did: did.clone(), rotation: next, last };
        let his = bob.sign(bob.document("a4.example"));
        let lines = [line(&did, &first, 1), line(&did, &second, 2), line(&did, &hers, 3)];
        assert_eq!(w.take(&lines).await, [true, true, false]);
        assert_eq!(w.handle(&did), None);
        assert_eq!(w.take(&[line(&did, &his, 4)]).await, [true]);
        assert_eq!(w.handle(&did).as_deref(), Some("a4.example"));
    }

    #[tokio::test]
    async fn a_history_with_a_gap_or_a_fork_is_not_proven() {
        let mut alice = Account::new();
        let first = alice.sign(alice.document("a1.example"));
        let fork = Account { did: alice.did.clone(), last: alice.last, ..Account::new() };
        let mut fork =
            Account { rotation: PrivateKey::from_hex(&alice.rotation.to_hex()).unwrap(), ..fork };
        let second = alice.sign(alice.document("a2.example"));
        let third = alice.sign(alice.document("a3.example"));
        let recovered = fork.sign(fork.document("a4.example"));
        let (did, at) = (alice.did.clone(), |op: &Value, n| line(&alice.did, op, n));
        let w = World::new();
        assert_eq!(w.take(&[at(&first, 1), at(&third, 3)]).await, [true, false]);
        assert_eq!(w.handle(&did), None);
        // The whole history, later.
        assert_eq!(w.take(&[at(&first, 1), at(&second, 2), at(&third, 3)]).await, [true; 3]);
        assert_eq!(w.handle(&did).as_deref(), Some("a3.example"));
        assert_eq!(w.take(&[at(&recovered, 4)]).await, [false]);
        assert_eq!(w.handle(&did), None);
        // An export that says which ones were nullified leaves them out.
        let w = World::new();
        assert_eq!(w.take(&[at(&first, 1), at(&recovered, 4)]).await, [true, true]);
        assert_eq!(w.handle(&did).as_deref(), Some("a4.example"));
    }
}
