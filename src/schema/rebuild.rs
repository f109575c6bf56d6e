//! Likes, reposts, follows and blocks as the records they were, from their edges.
//!
//! A page of likes or notifications needs the CID of fifty of them, and take-out that of all an account has, so their bytes
//! are put together here, as the shape is known: the encoder for any record takes 0.5 us for one.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use crate::repo::cbor::{put_head, put_text};
use crate::schema::rows::{EdgeKind, EdgeRow, SubjectCid, fwd_key};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target, collections};
use crate::store::{Ks, Reader, StoreError};
use crate::syntax::{cid, datetime};

/// The record behind an edge and its CID's digest. `None` if a record that was kept whole is gone, or the subject's
/// CID is in no row: then the edge has no record any more.
pub fn edge_record<R: Reader>(
    r: &R,
    kind: EdgeKind,
    actor: ActorId,
    rkey: Rkey,
    edge: &EdgeRow,
) -> Result<Option<(Ipld, [u8; 32])>, StoreError> {
    if edge.kept {
        let id = RecordId { actor, coll: kind.collection(), rkey };
        let Some(row) = r.record(id)? else { return Ok(None) };
        return Ok(Some((r.unpack(&row.packed)?, r.digest(row.cid, &row.packed)?)));
    }
    let subject_cid = match edge.cid {
        SubjectCid::None => None,
        SubjectCid::Own(digest) => Some(digest),
        SubjectCid::Shared => match shared_cid(r, edge.target)? {
            Some(digest) => Some(digest),
            None => return Ok(None),
        },
    };
    let parts = Parts {
        nsid: &r.coll_text(kind.collection())?,
        subject: r.target_text(edge.target)?,
        cid: subject_cid.map(|digest| cid::to_base32(&cid::for_digest(cid::DAG_CBOR, &digest))),
        created: datetime::format_ms(edge.created_ms(rkey)),
    };
    let digest = cid::digest(&cid::for_record(&parts.bytes()));
    Ok(digest.map(|digest| (parts.value(), digest)))
}

/// What the record of an edge consists of.
struct Parts<'a> {
    nsid: &'a str,
    subject: String,
    /// With it, the subject is a strong reference.
    cid: Option<String>,
    created: String,
}

impl Parts<'_> {
    /// The record's canonical bytes: shorter keys first.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_head(&mut out, 5, 3);
        put_text(&mut out, "$type");
        put_text(&mut out, self.nsid);
        put_text(&mut out, "subject");
        if let Some(cid) = &self.cid {
            put_head(&mut out, 5, 2);
            put_text(&mut out, "cid");
            put_text(&mut out, cid);
            put_text(&mut out, "uri");
        }
        put_text(&mut out, &self.subject);
        put_text(&mut out, "createdAt");
        put_text(&mut out, &self.created);
        out
    }

    fn value(self) -> Ipld {
        let subject = match self.cid {
            None => Ipld::String(self.subject),
            Some(cid) => map([("uri", Ipld::String(self.subject)), ("cid", Ipld::String(cid))]),
        };
        let nsid = Ipld::String(self.nsid.to_owned());
        map([("$type", nsid), ("subject", subject), ("createdAt", Ipld::String(self.created))])
    }
}

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<_, _>>())
}

/// What is held under a record's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A record with this CID's digest.
    Cid([u8; 32]),
    /// An edge, whose record takes other rows to put together.
    Edge,
}

/// Whether a record is held.
pub fn is_held<R: Reader>(r: &R, id: RecordId) -> Result<bool, StoreError> {
    let post = PostId { author: id.actor, rkey: id.rkey };
    if id.coll == collections::POST && r.has(Ks::Post, &post.to_bytes())? {
        return Ok(true);
    }
    Ok(is_edge(r, id)? || r.has(Ks::Record, &id.to_bytes())?)
}

fn is_edge<R: Reader>(r: &R, id: RecordId) -> Result<bool, StoreError> {
    match EdgeKind::compact(id.coll) {
        Some(kind) => r.has(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey)),
        None => Ok(false),
    }
}

/// The CID of a record that is held.
pub fn held_cid<R: Reader>(r: &R, id: RecordId) -> Result<Option<Held>, StoreError> {
    let post = PostId { author: id.actor, rkey: id.rkey };
    let of_post = || {
        let row = r.post(post)?;
        row.map(|row| r.digest(row.cid, &row.packed)).transpose()
    };
    if id.coll == collections::POST
        && let Some(digest) = r.made((Ks::Post, &post.to_bytes()), of_post)?
    {
        return Ok(Some(Held::Cid(digest)));
    }
    if is_edge(r, id)? {
        return Ok(Some(Held::Edge));
    }
    let digest = r.made((Ks::Record, &id.to_bytes()), || {
        let row = r.record(id)?;
        row.map(|row| r.digest(row.cid, &row.packed)).transpose()
    })?;
    Ok(digest.map(Held::Cid))
}

/// The CID that [`SubjectCid::Shared`] stands for: the writer shares by it and a reader rebuilds by it. A subject that does
/// not decode has none to anybody else.
pub fn shared_cid<R: Reader>(r: &R, target: Target) -> Result<Option<[u8; 32]>, StoreError> {
    if let Some(cid) = r.row(Ks::Cid, &target.key(), |b| b.try_into().ok())? {
        return Ok(Some(cid));
    }
    let Some(id) = target.record() else { return Ok(None) };
    match held_cid(r, id) {
        Ok(Some(Held::Cid(cid))) => Ok(Some(cid)),
        Ok(Some(Held::Edge) | None) | Err(StoreError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::dag_cbor;

    #[test]
    fn the_bytes_of_an_edge_are_those_of_its_value() {
        for subject in ["did:plc:a", &"at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a".repeat(9)] {
            for cid in [None, Some(cid::to_base32(&cid::for_record(b"x")))] {
                let (subject, created) = (subject.to_owned(), datetime::format_ms(1));
                let parts = Parts { nsid: "app.bsky.feed.like", subject, cid, created };
                assert_eq!(parts.bytes(), dag_cbor::encode(&parts.value()));
            }
        }
    }
}
