//! Repos as a whole: that what is held of one gives the tree that its last commit named.
//!
//! Records whose CID no row has say nothing by themselves of whether they are what they were. All of a repo together do:
//! the root of their tree has been signed. What is held is known to be all of it where the repo was fetched whole or
//! followed from its begin, and nothing of it is waited for. The records of one repo are in memory at a time, as when it
//! is fetched anew.

use super::super::UNKNOWN_DATA;
use super::super::repo_contents::{HeldRecord, held_records};
use super::{Check, lenient};
use crate::repo::mst;
use crate::schema::bytes::ByteReader;
use crate::schema::rebuild::edge_record;
use crate::schema::rows::{EdgeKind, RepoRow};
use crate::schema::{ActorId, Rows, Target};
use crate::store::{Ks, Reader, StoreError};
use crate::syntax::cid;

impl Check<'_> {
    /// Compares the trees of all repos that are here whole.
    pub(super) fn trees(&mut self) -> Result<(), StoreError> {
        let mut repos = Vec::new();
        self.s.scan_prefix(Ks::Actor, b"r", &mut |k, v| {
            let actor = k.get(1..).and_then(|rest| ByteReader::new(rest).actor());
            let repo = actor.zip(RepoRow::decode(v));
            let whole = repo.filter(|(_, row)| row.is_complete() && row.data != UNKNOWN_DATA);
            repos.extend(whole.map(|(actor, row)| (actor, row.data)));
            true
        })?;
        for (actor, data) in repos {
            let same = self.tree(actor)?.is_none_or(|root| root == data);
            self.expect(same, "repo-differs-from-tree", |t| t.name(Target::Actor(actor)));
        }
        Ok(())
    }

    /// The root of what is held; `None` if that has something that gives no record, which is counted where it is read.
    fn tree(&mut self, actor: ActorId) -> Result<Option<[u8; 32]>, StoreError> {
        let held = match held_records(self.s, actor) {
            Err(StoreError::Corrupt(_)) => return Ok(None),
            held => held?,
        };
        let mut records = Vec::with_capacity(held.len());
        for record in held {
            let Some(digest) = self.digest_of(actor, &record)? else { return Ok(None) };
            let path = format!("{}/{}", record.collection, record.rkey);
            records.push((path, cid::for_digest(cid::DAG_CBOR, &digest)));
        }
        records.sort_unstable();
        self.report.trees += 1;
        let root = mst::root(records.iter().map(|(path, cid)| (path.as_bytes(), cid)));
        Ok(cid::digest(&root))
    }

    fn digest_of(
        &self,
        actor: ActorId,
        record: &HeldRecord,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        if record.cid.is_some() {
            return Ok(record.cid);
        }
        let (coll, rkey) = (self.s.coll_id(&record.collection)?, self.s.rkey(&record.rkey)?);
        let kind = coll.and_then(EdgeKind::compact);
        let Some((kind, rkey)) = kind.zip(rkey) else { return Ok(None) };
        let edge = lenient(self.s.edge(kind, actor, rkey))?;
        let Some(edge) = edge else { return Ok(None) };
        let record = lenient(edge_record(self.s, kind, actor, rkey, &edge))?;
        Ok(record.map(|(_, digest)| digest))
    }
}
