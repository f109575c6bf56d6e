//! Rows of the `meta` keyspace: format, upstream and labeler cursors, what is to be done and must not be forgotten.

use super::ids::{ActorId, ByteReader, Key};
use super::keyspaces::Ks;
use super::read::Reader;
use super::{StoreError, Tx, plc};

pub(super) const FORMAT_KEY: &[u8] = b"format";

/// What a cursor belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CursorOf {
    /// A firehose, by its URL without query.
    Upstream(String),
    /// A Jetstream, by its URL; microseconds.
    Jetstream(String),
    /// A labeler, by its DID.
    Labeler(String),
}

impl CursorOf {
    fn key(&self) -> Key {
        match self {
            Self::Upstream(url) => Key::tag(b'u').bytes(url.as_bytes()),
            Self::Jetstream(url) => Key::tag(b'j').bytes(url.as_bytes()),
            Self::Labeler(did) => Key::tag(b'l').bytes(did.as_bytes()),
        }
    }
}

/// The last sequence number whose effects are in the store.
pub fn cursor<R: Reader + ?Sized>(r: &R, of: &CursorOf) -> Result<Option<i64>, StoreError> {
    r.row(Ks::Meta, &of.key(), |b| ByteReader::new(b).u64().map(u64::cast_signed))
}

/// Moves a cursor with the batch.
pub fn set_cursor(tx: &mut Tx<'_>, of: &CursorOf, seq: i64) {
    // Not undone with a bad event: the event was dealt with by dropping it.
    tx.put_name(Ks::Meta, &of.key(), &seq.cast_unsigned().to_be_bytes());
}

/// Whether a row of this keyspace is whole; rows that this module does not know are.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    match key.split_first() {
        _ if key == FORMAT_KEY => value.len() == 4,
        Some((b'n' | b'u' | b'j' | b'l', _)) => value.len() == 8,
        Some((b'r' | b'i', rest)) => rest.len() == 4,
        Some((b'p', rest)) => rest.len() == 4 && Purge::decode(value).is_some(),
        Some((b'c', rest)) => rest.len() == 4 && matches!(value, [0 | 1]),
        Some((b'g', _)) => Gap::decode(value).is_some(),
        first => plc::meta_decodes(key, value).unwrap_or(first.is_some()),
    }
}

/// Times that an upstream could not give what lies behind our cursor: events in between were never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// When it first happened, milliseconds since the epoch.
    pub first: i64,
    /// When it last happened.
    pub last: i64,
    /// How often.
    pub count: u32,
}

impl Gap {
    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (first, last, count) = (r.u64()?, r.u64()?, r.u32()?);
        Some(Self { first: first.cast_signed(), last: last.cast_signed(), count })
    }
}

/// The gaps in what came from an upstream.
pub fn gap<R: Reader + ?Sized>(r: &R, of: &CursorOf) -> Result<Option<Gap>, StoreError> {
    r.row(Ks::Meta, &Key::tag(b'g').bytes(&of.key()), Gap::decode)
}

/// One more gap.
pub fn add_gap(tx: &mut Tx<'_>, of: &CursorOf, time: i64) -> Result<(), StoreError> {
    let old = gap(tx, of)?;
    let first = old.map_or(time, |gap| gap.first);
    let count = old.map_or(0, |gap| gap.count).saturating_add(1);
    let times = [first.cast_unsigned().to_be_bytes(), time.cast_unsigned().to_be_bytes()].concat();
    let row = [&times[..], &count.to_be_bytes()].concat();
    tx.put(Ks::Meta, &Key::tag(b'g').bytes(&of.key()), &row);
    Ok(())
}

/// What has to be asked about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// What its DID document says.
    Identity,
    /// Whether it is gone; somebody said so.
    Status {
        /// And that it is deleted, not only deactivated.
        deleted: bool,
    },
}

impl Due {
    fn key(self, actor: ActorId) -> Key {
        match self {
            Self::Identity => Key::tag(b'i').actor(actor),
            Self::Status { .. } => Key::tag(b'c').actor(actor),
        }
    }
}

/// Remembers a question until it is answered.
pub fn add_due(tx: &mut Tx<'_>, actor: ActorId, due: Due) {
    match due {
        Due::Identity => tx.put(Ks::Meta, &due.key(actor), &[]),
        Due::Status { deleted } => tx.put(Ks::Meta, &due.key(actor), &[u8::from(deleted)]),
    }
}

/// Whether the document has to be looked at.
pub fn is_identity_due<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    r.has(Ks::Meta, &Due::Identity.key(actor))
}

/// The document was looked at.
pub fn remove_identity_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Due::Identity.key(actor));
}

/// The status is known.
pub fn remove_status_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Due::Status { deleted: false }.key(actor));
}

/// Every question that is not answered.
pub fn dues<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, Due)>, StoreError> {
    let mut out = Vec::new();
    for tag in [b"i", b"c"] {
        r.scan_prefix(Ks::Meta, tag, &mut |k, v| {
            let due = match tag {
                b"i" => Due::Identity,
                _ => Due::Status { deleted: v == [1] },
            };
            let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
            out.extend(actor.map(|actor| (actor, due)));
            true
        })?;
    }
    Ok(out)
}

/// Takes a repo off the list of [`resyncs`].
pub fn remove_resync(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'r').actor(actor));
}

/// Repos to fetch again as early versions listed them; [`super::repo_jobs`] took their place.
pub fn resyncs<R: Reader>(r: &R) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Meta, b"r", &mut |k, _| {
        out.extend(k.get(1..).and_then(|a| ByteReader::new(a).actor()));
        true
    })?;
    Ok(out)
}

const RETENTION_PLACE: &[u8] = b"kplace";
const RETENTION_REPORT: &[u8] = b"kreport";

/// Where retention goes on, in its own words; `None` when it is through.
pub fn retention_place<R: Reader + ?Sized>(r: &R) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(r.get(Ks::Meta, RETENTION_PLACE)?.map(|v| v.to_vec()))
}

/// Remembers that place with the batch.
pub fn set_retention_place(tx: &mut Tx<'_>, place: Option<&[u8]>) {
    match place {
        Some(place) => tx.put(Ks::Meta, RETENTION_PLACE, place),
        None => tx.del(Ks::Meta, RETENTION_PLACE),
    }
}

/// What the last retention said of itself, as JSON.
pub fn retention_report<R: Reader + ?Sized>(r: &R) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(r.get(Ks::Meta, RETENTION_REPORT)?.map(|v| v.to_vec()))
}

/// Remembers that report.
pub fn set_retention_report(tx: &mut Tx<'_>, report: &[u8]) {
    tx.put(Ks::Meta, RETENTION_REPORT, report);
}

/// What has to go of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Everything, since its host says that it is deleted; the rest stays if it comes back meanwhile.
    Deleted,
    /// What was collected of it and what it published here; what it set for itself stays.
    Collected,
    /// Everything, since somebody who may say so did.
    Everything,
    /// What was collected of it, to begin anew; what it set for itself stays.
    Records,
}

impl Purge {
    fn encode(self) -> &'static [u8] {
        match self {
            Self::Deleted => &[],
            Self::Collected => &[1],
            Self::Everything => &[2],
            Self::Records => &[3],
        }
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let all = [Self::Deleted, Self::Collected, Self::Everything, Self::Records];
        all.into_iter().find(|p| p.encode() == b)
    }

    /// Whether what the account set for itself goes too.
    #[must_use]
    pub fn takes_settings(self) -> bool {
        matches!(self, Self::Deleted | Self::Everything)
    }

    /// Whether the account is in the end as if it had never been seen.
    #[must_use]
    pub fn forgets(self) -> bool {
        matches!(self, Self::Everything | Self::Records)
    }
}

/// Puts an account on the list of those of which something has to go.
pub fn add_purge(tx: &mut Tx<'_>, actor: ActorId, purge: Purge) {
    tx.put(Ks::Meta, &Key::tag(b'p').actor(actor), purge.encode());
}

/// Takes an account off that list.
pub fn remove_purge(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'p').actor(actor));
}

/// What has to go of the account, if it is on that list.
pub fn purge<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<Purge>, StoreError> {
    r.row(Ks::Meta, &Key::tag(b'p').actor(actor), Purge::decode)
}

/// Every account on that list.
pub fn purges<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, Purge)>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Meta, b"p", &mut |k, v| {
        let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
        out.extend(actor.zip(Purge::decode(v)));
        true
    })?;
    Ok(out)
}
