//! What is held of a repo, for comparison with a fetched one.

use std::sync::Arc;

use crate::schema::bytes::ByteReader;
use crate::schema::rows::{EdgeKind, PostRow, RecordRow, fwd_prefix};
use crate::schema::{ActorId, CollId, Key, PostId, RecordId, Rkey, Rows, collections as c};
use crate::store::{Ks, Reader, Snapshot, StoreError};

/// A record that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// NSID.
    pub collection: Arc<str>,
    /// Record key.
    pub rkey: String,
    /// SHA-256 of the record; `None` for an edge, which comes again, and for what does not decode.
    pub cid: Option<[u8; 32]>,
}

/// A record and its CID's digest.
type Named = (RecordId, Option<[u8; 32]>);

/// Every record held of a repo, in no order.
pub fn held_records(s: &Snapshot, actor: ActorId) -> Result<Vec<HeldRecord>, StoreError> {
    let mut ids: Vec<Named> = Vec::new();
    let mut failed = None;
    // What the packed record gives; whatever else goes wrong is told.
    let mut digest = |cid: Option<[u8; 32]>, packed: &[u8]| match s.digest(cid, packed) {
        Ok(digest) => Some(digest),
        Err(StoreError::Corrupt(_)) => None,
        Err(error) => {
            failed = Some(error);
            None
        }
    };
    let of = |coll: CollId, rkey: Rkey| RecordId { actor, coll, rkey };
    s.scan_prefix(Ks::Post, &Key::new().actor(actor), &mut |k, v| {
        let cid = PostRow::decode(v).and_then(|row| digest(row.cid, &row.packed));
        ids.extend(PostId::from_bytes(k).map(|p| (of(c::POST, p.rkey), cid)));
        true
    })?;
    let posts = ids.len();
    s.scan_prefix(Ks::Record, &Key::new().actor(actor), &mut |k, v| {
        let cid = RecordRow::decode(v).and_then(|row| digest(row.cid, &row.packed));
        // A kept edge has a row in both places; the one here has the CID. A post has one here instead if it broke its
        // lexicon; as well as its own, it is left over (see `check`), and naming it would make a resync delete the post.
        if let Some(id) = RecordId::from_bytes(k)
            && !(id.coll == c::POST && is_among(ids.get(..posts), id))
        {
            ids.push((id, cid));
        }
        true
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    ids.sort_unstable_by_key(|(id, _)| *id);
    let own_rows = ids.len();
    for kind in [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block] {
        s.scan_prefix(Ks::Fwd, &fwd_prefix(kind, actor), &mut |k, _| {
            let mut r = ByteReader::new(k);
            if let (Some(_), Some(_), Some(rkey)) = (r.u8(), r.actor(), r.rkey()) {
                let id = of(kind.collection(), rkey);
                if !is_among(ids.get(..own_rows), id) {
                    ids.push((id, None));
                }
            }
            true
        })?;
    }
    let mut out = Vec::with_capacity(ids.len());
    for (id, cid) in ids {
        out.push(HeldRecord {
            collection: s.coll_text(id.coll)?,
            rkey: s.rkey_text(id.rkey)?,
            cid,
        });
    }
    Ok(out)
}

fn is_among(sorted: Option<&[Named]>, id: RecordId) -> bool {
    sorted.is_some_and(|ids| ids.binary_search_by_key(&id, |(i, _)| *i).is_ok())
}
