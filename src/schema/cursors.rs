//! Where every upstream and labeler was read to, and the gaps in what they gave: rows of the `meta` keyspace.
//!
//! A cursor moves in the batch of what it stands for, so after a crash both agree.

use super::bytes::ByteReader;
use super::key::Key;
use crate::store::{Ks, Reader, StoreError, Tx};

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
    tx.put_kept(Ks::Meta, &of.key(), &seq.cast_unsigned().to_be_bytes());
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

/// Whether a row of a cursor or of gaps is whole; `None` if it is neither.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key.first()? {
        b'u' | b'j' | b'l' => Some(value.len() == 8),
        b'g' => Some(Gap::decode(value).is_some()),
        _ => None,
    }
}
