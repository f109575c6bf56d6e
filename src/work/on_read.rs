//! What was fetched because somebody read it, in the order in which it came: a cache with a budget. Rows of `jobs`:
//!
//! | tag | key | value |
//! |---|---|---|
//! | `F` | record | when it came, bytes |
//! | `f` | when it came, record | |
//! | `T` | | how many, their bytes, and since when: a scan begins there, behind the tombstones |
//!
//! # Invariants
//! - Each record is listed once, under both keys, and `T` is the sum of all.
//! - Nothing is listed under a time before that of `T`.

use crate::schema::bytes::{ByteReader, push_varint, push_zigzag};
use crate::schema::{Key, RecordId, whole};
use crate::store::{Ks, Reader, StoreError, Tx};

const RECORD: u8 = b'F';
const TIME: u8 = b'f';
const TOTAL: [u8; 1] = [b'T'];

/// What is listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Records.
    pub records: u64,
    /// Their bytes, about.
    pub bytes: u64,
    /// The oldest came at this time or later, milliseconds since the epoch.
    pub since: i64,
}

impl Total {
    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self { records: r.varint()?, bytes: r.varint()?, since: r.zigzag()? })
    }

    fn put(self, tx: &mut Tx<'_>) {
        let mut value = Vec::with_capacity(20);
        push_varint(&mut value, self.records);
        push_varint(&mut value, self.bytes);
        push_zigzag(&mut value, self.since);
        tx.put(Ks::Jobs, &TOTAL, &value);
    }
}

/// The sum of what is listed.
pub fn total<R: Reader + ?Sized>(r: &R) -> Result<Total, StoreError> {
    Ok(r.row(Ks::Jobs, &TOTAL, Total::decode)?.unwrap_or_default())
}

fn by_record(id: RecordId) -> Key {
    Key::tag(RECORD).record(id)
}

fn by_time(at: i64) -> Key {
    Key::tag(TIME).u64(u64::try_from(at).unwrap_or(0))
}

fn came(value: &[u8]) -> Option<(i64, u64)> {
    let mut r = ByteReader::new(value);
    Some((r.zigzag()?, r.varint()?))
}

/// Whether the record is listed.
pub fn has<R: Reader + ?Sized>(r: &R, id: RecordId) -> Result<bool, StoreError> {
    r.has(Ks::Jobs, &by_record(id))
}

/// Lists a record, or lists it anew.
pub fn put(tx: &mut Tx<'_>, id: RecordId, at: i64, bytes: u64) -> Result<(), StoreError> {
    remove(tx, id)?;
    let old = total(tx)?;
    // The clock may have been set back.
    let at = at.max(old.since);
    let mut value = Vec::with_capacity(12);
    push_zigzag(&mut value, at);
    push_varint(&mut value, bytes);
    tx.put(Ks::Jobs, &by_record(id), &value);
    tx.put(Ks::Jobs, &by_time(at).record(id), &[]);
    Total { records: old.records + 1, bytes: old.bytes + bytes, ..old }.put(tx);
    Ok(())
}

/// Takes a record off the list, if it is there.
pub fn remove(tx: &mut Tx<'_>, id: RecordId) -> Result<(), StoreError> {
    let Some((at, bytes)) = tx.row(Ks::Jobs, &by_record(id), came)? else { return Ok(()) };
    tx.del(Ks::Jobs, &by_record(id));
    tx.del(Ks::Jobs, &by_time(at).record(id));
    let old = total(tx)?;
    let records = old.records.saturating_sub(1);
    Total { records, bytes: old.bytes.saturating_sub(bytes), ..old }.put(tx);
    Ok(())
}

fn scan<R: Reader + ?Sized>(
    r: &R,
    f: &mut dyn FnMut(i64, RecordId) -> bool,
) -> Result<(), StoreError> {
    let from = by_time(total(r)?.since);
    r.scan(Ks::Jobs, &from, Some(&[TIME + 1]), false, &mut |k, _| {
        let mut key = ByteReader::new(k.get(1..).unwrap_or_default());
        let row = key.u64().and_then(|at| i64::try_from(at).ok()).zip(key.record());
        row.is_none_or(|(at, id)| f(at, id))
    })
}

/// Up to `limit` records, those that came first in front.
pub fn oldest<R: Reader + ?Sized>(r: &R, limit: usize) -> Result<Vec<RecordId>, StoreError> {
    let mut out = Vec::with_capacity(limit);
    scan(r, &mut |_, id| {
        out.push(id);
        out.len() < limit
    })?;
    Ok(out)
}

/// Remembers that nothing older is left than the oldest.
pub fn advance(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let old = total(tx)?;
    let mut since = old.since;
    scan(tx, &mut |at, _| {
        since = at;
        false
    })?;
    if since > old.since {
        Total { since, ..old }.put(tx);
    }
    Ok(())
}

/// Calls `f` with every record and its bytes.
pub fn each<R: Reader>(r: &R, f: &mut dyn FnMut(RecordId, u64)) -> Result<(), StoreError> {
    r.scan_prefix(Ks::Jobs, &[RECORD], &mut |k, v| {
        let id = k.get(1..).and_then(RecordId::from_bytes);
        if let Some((id, (_, bytes))) = whole(Ks::Jobs, k, id.zip(came(v))) {
            f(id, bytes);
        }
        true
    })
}

/// Whether the row under one key has its twin under the other; `None` for rows that are not of this module.
pub(crate) fn twin<R: Reader>(r: &R, key: &[u8], value: &[u8]) -> Result<Option<bool>, StoreError> {
    let Some((tag, rest)) = key.split_first() else { return Ok(None) };
    Ok(match *tag {
        RECORD => match (RecordId::from_bytes(rest), came(value)) {
            (Some(id), Some((at, _))) => Some(r.has(Ks::Jobs, &by_time(at).record(id))?),
            _ => Some(false),
        },
        TIME => {
            let mut rest = ByteReader::new(rest);
            let (at, id) = (rest.u64(), rest.record());
            let Some((at, id)) = at.and_then(|at| i64::try_from(at).ok()).zip(id) else {
                return Ok(Some(false));
            };
            let listed = r.row(Ks::Jobs, &by_record(id), came)?;
            Some(listed.is_some_and(|(came, _)| came == at))
        }
        _ => None,
    })
}

/// Whether a row of this module is whole; `None` for others.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key.split_first()? {
        (&RECORD, rest) => Some(RecordId::from_bytes(rest).is_some() && came(value).is_some()),
        (&TIME, rest) => Some(rest.len() == 24 && value.is_empty()),
        _ if key == TOTAL => Some(Total::decode(value).is_some()),
        _ => None,
    }
}
