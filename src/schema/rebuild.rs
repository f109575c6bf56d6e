//! Likes, reposts, follows and blocks as the records they were, from their edges.
use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use crate::repo::dag_cbor;
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
        return Ok(Some((r.unpack(&row.packed)?, row.cid)));
    }
    let subject = match edge.cid {
        SubjectCid::None => Ipld::String(r.target_text(edge.target)?),
        SubjectCid::Own(digest) => strong_ref(r.target_text(edge.target)?, &digest),
        SubjectCid::Shared => match shared_cid(r, edge.target)? {
            Some(digest) => strong_ref(r.target_text(edge.target)?, &digest),
            None => return Ok(None),
        },
    };
    let created = Ipld::String(datetime::format_ms(edge.created_ms(rkey)));
    let nsid = Ipld::String(r.coll_text(kind.collection())?.as_ref().to_owned());
    let fields = [("$type", nsid), ("subject", subject), ("createdAt", created)];
    let value = map(fields);
    let digest = cid::digest(&cid::for_record(&dag_cbor::encode(&value)));
    Ok(digest.map(|digest| (value, digest)))
}

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<_, _>>())
}

fn strong_ref(uri: String, digest: &[u8; 32]) -> Ipld {
    let cid = cid::to_base32(&cid::for_digest(cid::DAG_CBOR, digest));
    map([("uri", Ipld::String(uri)), ("cid", Ipld::String(cid))])
}

/// What is held under a record's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A record with this CID's digest.
    Cid([u8; 32]),
    /// An edge, whose CID would have to be computed.
    Edge,
}

/// Looks a record up without reading it.
pub fn held_cid<R: Reader + ?Sized>(r: &R, id: RecordId) -> Result<Option<Held>, StoreError> {
    let post = PostId { author: id.actor, rkey: id.rkey };
    if id.coll == collections::POST
        && let Some(cid) = r.row(Ks::Post, &post.to_bytes(), |b| b.get(2..34)?.try_into().ok())?
    {
        return Ok(Some(Held::Cid(cid)));
    }
    if let Some(kind) = EdgeKind::compact(id.coll)
        && r.has(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey))?
    {
        return Ok(Some(Held::Edge));
    }
    r.row(Ks::Record, &id.to_bytes(), |b| b.get(..32)?.try_into().ok().map(Held::Cid))
}

/// The CID that [`SubjectCid::Shared`] stands for: the writer shares by it and a reader rebuilds by it.
pub fn shared_cid<R: Reader + ?Sized>(
    r: &R,
    target: Target,
) -> Result<Option<[u8; 32]>, StoreError> {
    if let Some(cid) = r.row(Ks::Cid, &target.key(), |b| b.try_into().ok())? {
        return Ok(Some(cid));
    }
    let Some(id) = target.record() else { return Ok(None) };
    Ok(match held_cid(r, id)? {
        Some(Held::Cid(cid)) => Some(cid),
        Some(Held::Edge) | None => None,
    })
}
