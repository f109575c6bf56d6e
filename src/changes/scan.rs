//! All that the store holds, as changes: for those who start from nothing, and for one account whose repo came at once.
//!
//! Accounts and labels come before and after the records; takedowns are not among them, since what is private is above
//! this folder: a follower that wants them reads them when it begins.

use super::follower::Place;
use super::{Change, Mark, What};
use crate::schema::bytes::ByteReader;
use crate::schema::rebuild::edge_record;
use crate::schema::rows::{ActorRow, EdgeKind, LabelRow, PostRow, RecordRow, fwd_key, fwd_prefix};
use crate::schema::{ActorId, Key, PostId, RecordId, Rows, collections};
use crate::store::{Ks, Reader, Snapshot, StoreError, prefix_end};

/// Rows looked at in one step.
const STEP: usize = 512;

/// Parts of a scan of everything, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Accounts,
    Posts,
    Edges,
    Records,
    Labels,
}

const PARTS: [Part; 5] = [Part::Accounts, Part::Posts, Part::Edges, Part::Records, Part::Labels];
const EDGES: [EdgeKind; 4] = [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block];

/// A range of keys of one part.
struct Range {
    part: Part,
    lo: Vec<u8>,
    hi: Option<Vec<u8>>,
}

impl Range {
    fn of(part: Part, prefix: &[u8]) -> Self {
        Self { part, lo: prefix.to_vec(), hi: prefix_end(prefix).map(|end| end.to_vec()) }
    }
}

/// Some of what the store holds from `place` on, as far as it is wanted, and the place after it.
pub(super) fn everything(
    s: &Snapshot,
    place: &Place,
    want: &dyn Fn(&Change) -> bool,
) -> Result<(Vec<Change>, Option<Place>), StoreError> {
    let Some(part) = PARTS.get(usize::from(place.part)).copied() else {
        return Ok((Vec::new(), None));
    };
    let prefix: &[u8] = if part == Part::Accounts { b"a" } else { &[] };
    let mut range = Range::of(part, prefix);
    range.lo = range.lo.max(place.key.clone());
    let (changes, next) = some(s, &range, want)?;
    let next = match next {
        Some(key) => Place { part: place.part, key },
        None => Place { part: place.part + 1, key: Vec::new() },
    };
    let ended = usize::from(next.part) >= PARTS.len();
    Ok((changes, (!ended).then_some(next)))
}

/// Every record of an account that is wanted, in steps.
pub(super) fn account<E: From<StoreError>>(
    s: &Snapshot,
    actor: ActorId,
    want: &dyn Fn(&Change) -> bool,
    f: &mut dyn FnMut(Vec<Change>) -> Result<(), E>,
) -> Result<(), E> {
    let own = Key::new().actor(actor);
    let edges = EDGES.map(|kind| Range::of(Part::Edges, &fwd_prefix(kind, actor)));
    let rows = [Part::Posts, Part::Records].map(|part| Range::of(part, &own));
    for mut range in rows.into_iter().chain(edges) {
        loop {
            let (changes, next) = some(s, &range, want)?;
            if !changes.is_empty() {
                f(changes)?;
            }
            match next {
                Some(key) => range.lo = key,
                None => break,
            }
        }
    }
    Ok(())
}

/// Some of a range, and the key to go on at.
fn some(
    s: &Snapshot,
    range: &Range,
    want: &dyn Fn(&Change) -> bool,
) -> Result<(Vec<Change>, Option<Vec<u8>>), StoreError> {
    let (mut found, mut next, mut seen, mut failed) = (Vec::new(), None, 0, None);
    s.scan(range.part.ks(), &range.lo, range.hi.as_deref(), false, &mut |k, v| {
        if seen >= STEP {
            next = Some(k.to_vec());
            return false;
        }
        seen += 1;
        let before = found.len();
        range.part.read(k, v, &mut found);
        if let Some(change) = found.get_mut(before).filter(|change| want(change)) {
            match range.part.version(s, v, change) {
                Err(StoreError::Corrupt(_)) => found.truncate(before),
                Err(error) => failed = Some(error),
                Ok(()) => {}
            }
        }
        failed.is_none()
    })?;
    found.retain(want);
    if let Some(error) = failed {
        return Err(error);
    }
    let mut changes = Vec::with_capacity(found.len());
    for mut change in found {
        if range.part == Part::Records && is_edge(s, &change)? {
            continue;
        }
        if range.part == Part::Edges {
            match version_of_edge(s, &mut change) {
                Err(StoreError::Corrupt(_)) => continue,
                done => done?,
            }
        }
        changes.push(change);
    }
    Ok((changes, next))
}

/// Whether the row of a record belongs to an edge, with which it is told.
fn is_edge(s: &Snapshot, change: &Change) -> Result<bool, StoreError> {
    let Some(id) = change.record() else { return Ok(false) };
    match EdgeKind::compact(id.coll) {
        Some(kind) => s.has(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey)),
        None => Ok(false),
    }
}

/// The CID of an edge's record is in no row.
fn version_of_edge(s: &Snapshot, change: &mut Change) -> Result<(), StoreError> {
    let Some(id) = change.record() else { return Ok(()) };
    if let Some(kind) = EdgeKind::compact(id.coll)
        && let Some(edge) = s.edge(kind, id.actor, id.rkey)?
        && let Some((_, digest)) = edge_record(s, kind, id.actor, id.rkey, &edge)?
        && let What::Put { cid, .. } = &mut change.what
        && let Some(first) = digest.first_chunk()
    {
        *cid = *first;
    }
    Ok(())
}

impl Part {
    fn ks(self) -> Ks {
        match self {
            Self::Accounts => Ks::Actor,
            Self::Posts => Ks::Post,
            Self::Edges => Ks::Fwd,
            Self::Records => Ks::Record,
            Self::Labels => Ks::Label,
        }
    }

    /// Says of a change which version of a post or another record this row is. Who wants it does not ask for that.
    fn version(self, s: &Snapshot, v: &[u8], change: &mut Change) -> Result<(), StoreError> {
        let row = match self {
            Self::Posts => PostRow::decode(v).map(|row| (row.cid, row.packed)),
            Self::Records => RecordRow::decode(v).map(|row| (row.cid, row.packed)),
            Self::Accounts | Self::Edges | Self::Labels => return Ok(()),
        };
        let (kept, packed) = row.ok_or_else(|| StoreError::undecodable(self.ks().name()))?;
        let digest = s.digest(kept, &packed)?;
        if let What::Put { cid, .. } = &mut change.what
            && let Some(first) = digest.first_chunk()
        {
            *cid = *first;
        }
        Ok(())
    }

    /// A row that does not decode is passed over: `db check` names it.
    fn read(self, k: &[u8], v: &[u8], out: &mut Vec<Change>) {
        let mark = Mark::History;
        match self {
            Self::Accounts => {
                let actor = k.get(1..).and_then(|k| ByteReader::new(k).actor());
                let Some((actor, row)) = actor.zip(ActorRow::decode(v)) else { return };
                let status = What::Account { status: row.status, upstream: None };
                out.push(Change { mark, actor, what: status });
                if row.handle_checked != 0 {
                    let what = What::Identity { settled: true, upstream: None };
                    out.push(Change { mark, actor, what });
                }
            }
            Self::Posts => {
                let post = PostId::from_bytes(k).map(|post| RecordId {
                    actor: post.author,
                    coll: collections::POST,
                    rkey: post.rkey,
                });
                out.extend(post.map(put));
            }
            Self::Edges => {
                let mut r = ByteReader::new(k);
                let edge = r.u8().zip(r.actor()).zip(r.rkey());
                let Some(((tag, actor), rkey)) = edge else { return };
                let kind = EDGES.into_iter().find(|kind| *kind as u8 == tag);
                let id = kind.map(|kind| RecordId { actor, coll: kind.collection(), rkey });
                out.extend(id.map(put));
            }
            Self::Records => {
                out.extend(RecordId::from_bytes(k).map(put));
            }
            Self::Labels => {
                let labels = ByteReader::new(k).target().zip(LabelRow::decode_all(v));
                let Some((target, labels)) = labels else { return };
                let mut sources: Vec<_> = labels.into_iter().map(|label| label.src).collect();
                sources.sort_unstable();
                sources.dedup();
                let actor = target.actor();
                out.extend(sources.into_iter().map(|src| {
                    let what = What::Label { target, src };
                    Change { mark, actor, what }
                }));
            }
        }
    }
}

/// A record that is held, of a version that is not told yet.
fn put(id: RecordId) -> Change {
    let what = What::Put { coll: id.coll, rkey: id.rkey, rev: 0, cid: [0; 4], created: true };
    Change { mark: Mark::History, actor: id.actor, what }
}
