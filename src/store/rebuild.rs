//! Likes, reposts, follows and blocks as the records they were, from their edges.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::StoreError;
use super::ids::{ActorId, RecordId, Rkey, Target};
use super::keyspaces::Ks;
use super::read::Reader;
use super::rows::{EdgeKind, EdgeRow, SubjectCid};
use crate::repo::dag_cbor;
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

/// The CID that [`SubjectCid::Shared`] stands for.
fn shared_cid<R: Reader>(r: &R, target: Target) -> Result<Option<[u8; 32]>, StoreError> {
    if let Some(cid) = r.row(Ks::Cid, &target.key(), |b| b.try_into().ok())? {
        return Ok(Some(cid));
    }
    Ok(match target {
        Target::Actor(_) => None,
        Target::Post(id) => r.post(id)?.map(|row| row.cid),
        Target::Record(id) => r.record(id)?.map(|row| row.cid),
    })
}
