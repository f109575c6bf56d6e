//! Rows of the `meta` keyspace: format, upstream and labeler cursors, repos that wait for a resync.

use super::ids::{ActorId, ByteReader, Key};
use super::keyspaces::Ks;
use super::read::Reader;
use super::{StoreError, Tx};

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
        Some((b'r' | b'p', rest)) => rest.len() == 4,
        first => first.is_some(),
    }
}

/// Puts a repo on the list of those to fetch again.
pub fn add_resync(tx: &mut Tx<'_>, actor: ActorId) {
    tx.put(Ks::Meta, &Key::tag(b'r').actor(actor), &[]);
}

/// Takes a repo off that list.
pub fn remove_resync(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'r').actor(actor));
}

/// Up to `limit` repos of that list, those behind `after` first.
pub fn resyncs<R: Reader>(
    r: &R,
    after: Option<ActorId>,
    limit: usize,
) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    let lo = Key::tag(b'r').u32(after.map_or(0, |a| a.0.saturating_add(1)));
    r.scan(Ks::Meta, &lo, Some(&[b'r' + 1]), false, &mut |k, _| {
        let mut key = ByteReader::new(k);
        if let (Some(_), Some(a)) = (key.u8(), key.actor()) {
            out.push(a);
        }
        out.len() < limit
    })?;
    Ok(out)
}

/// Puts a deleted account on the list of those whose records have to go.
pub fn add_purge(tx: &mut Tx<'_>, actor: ActorId) {
    tx.put(Ks::Meta, &Key::tag(b'p').actor(actor), &[]);
}

/// Takes an account off that list.
pub fn remove_purge(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'p').actor(actor));
}

/// Whether the account is on that list.
pub fn is_purging<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    r.has(Ks::Meta, &Key::tag(b'p').actor(actor))
}

/// Every account on that list.
pub fn purges<R: Reader + ?Sized>(r: &R) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Meta, b"p", &mut |k, _| {
        out.extend(k.get(1..).and_then(|a| ByteReader::new(a).actor()));
        true
    })?;
    Ok(out)
}
