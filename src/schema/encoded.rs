//! The canonical bytes of a packed record, put together without its value: they alone say what its CID is.
//!
//! No row keeps the CID of a record whose packed form gives its bytes back, which is nearly every one: 32 bytes that do
//! not compress, an eighth of a post. Whoever needs one hashes these bytes. They are put together without the value, as the
//! encoder of values needs one made first. No part of a CID is kept either, to compare by: what is asked for is mostly the
//! whole, and bytes that do not compress are what is saved.
//!
//! # Invariants
//! - What is given is what `repo::dag_cbor` encodes of the unpacked value (property test of `packed`).
//! - It is no longer than a record may be, whatever the packed bytes say.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::collections;
use super::packed::{CBOR, RAW, Resolve, WORDS, actor, tag};
use crate::repo::cbor::{put_bytes, put_head, put_link, put_null, put_text};
use crate::repo::dag_cbor::MAX_RECORD_LEN;
use crate::schema::bytes::ByteReader;
use crate::store::StoreError;
use crate::syntax::{Cid, Tid, cid, datetime};

/// Deeper than any record that decodes.
const MAX_DEPTH: u32 = 200;

/// Why there are no bytes.
enum Refused {
    /// They are not what packing gives, or longer than a record.
    Bytes,
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

type Put = Result<(), Refused>;

fn some<T>(value: Option<T>) -> Result<T, Refused> {
    value.ok_or(Refused::Bytes)
}

/// The record's bytes; `None` if what is packed is no record.
pub(super) fn encode(packed: &[u8], names: &impl Resolve) -> Result<Option<Vec<u8>>, StoreError> {
    let (mut from, mut to) = (ByteReader::new(packed), Vec::with_capacity(512));
    match value(&mut from, names, &mut to, 0) {
        Ok(()) => Ok(Some(to).filter(|_| from.is_empty())),
        Err(Refused::Bytes) => Ok(None),
        Err(Refused::Store(error)) => Err(error),
    }
}

/// The digest of the record's CID.
pub(super) fn digest(packed: &[u8], names: &impl Resolve) -> Result<Option<[u8; 32]>, StoreError> {
    Ok(encode(packed, names)?.map(|bytes| Sha256::digest(bytes).into()))
}

fn value(from: &mut ByteReader<'_>, names: &impl Resolve, to: &mut Vec<u8>, depth: u32) -> Put {
    if depth > MAX_DEPTH || to.len() > MAX_RECORD_LEN {
        return Err(Refused::Bytes);
    }
    match some(from.u8())? {
        tag::NULL => put_null(to),
        tag::TRUE => to.push(0xf5),
        tag::FALSE => to.push(0xf4),
        tag::UINT => put_head(to, 0, some(from.varint())?),
        tag::NINT => put_head(to, 1, some(from.varint())?),
        tag::FLOAT => {
            let bits: [u8; 8] = some(from.array())?;
            some(Some(f64::from_be_bytes(bits)).filter(|float| float.is_finite()))?;
            to.push(0xfb);
            to.extend(bits);
        }
        tag::BYTES => put_bytes(to, some(from.blob())?),
        tag::LINK_CBOR => put_link(to, &link(from, CBOR)?),
        tag::LINK_RAW => put_link(to, &link(from, RAW)?),
        tag::LINK => {
            let link = Cid::try_from(some(from.blob())?).map_err(|_| Refused::Bytes)?;
            put_link(to, &link);
        }
        tag::LIST => {
            let len = some(from.varint())?;
            put_head(to, 4, len);
            for _ in 0..len {
                value(from, names, to, depth + 1)?;
            }
        }
        tag::MAP => map(from, names, to, depth)?,
        // Beyond what CBOR can say.
        tag::BIG_INT => return Err(Refused::Bytes),
        tag => text(tag, from, names, to)?,
    }
    if to.len() > MAX_RECORD_LEN { Err(Refused::Bytes) } else { Ok(()) }
}

fn link(from: &mut ByteReader<'_>, codec: u64) -> Result<Cid, Refused> {
    Ok(cid::for_digest(codec, &some(from.array())?))
}

/// Where an entry begins, its key ends, and it ends.
struct Entry {
    begin: usize,
    key_end: usize,
    end: usize,
}

fn map(from: &mut ByteReader<'_>, names: &impl Resolve, to: &mut Vec<u8>, depth: u32) -> Put {
    let len = some(from.varint())?;
    put_head(to, 5, len);
    let first = to.len();
    let mut entries: SmallVec<[Entry; 12]> = SmallVec::new();
    for _ in 0..len {
        let begin = to.len();
        text(some(from.u8())?, from, names, to)?;
        let key_end = to.len();
        value(from, names, to, depth + 1)?;
        entries.push(Entry { begin, key_end, end: to.len() });
    }
    // Packed keys are in the order of text. Canonical ones are shorter first, which is the order of their encoded bytes.
    let key = |entry: &Entry| to.get(entry.begin..entry.key_end).unwrap_or_default();
    if entries.is_sorted_by(|a, b| key(a) < key(b)) {
        return Ok(());
    }
    entries.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    // The same key twice is in no record.
    if !entries.is_sorted_by(|a, b| key(a) < key(b)) {
        return Err(Refused::Bytes);
    }
    let mut sorted = Vec::with_capacity(to.len() - first);
    for entry in &entries {
        sorted.extend_from_slice(to.get(entry.begin..entry.end).unwrap_or_default());
    }
    to.truncate(first);
    to.extend_from_slice(&sorted);
    Ok(())
}

fn text(tag: u8, from: &mut ByteReader<'_>, names: &impl Resolve, to: &mut Vec<u8>) -> Put {
    match tag {
        tag::STR => put_text(to, some(from.str())?),
        tag::SHORT..tag::SHORT_END => {
            let bytes = some(from.take(usize::from(tag - tag::SHORT)))?;
            put_text(to, some(std::str::from_utf8(bytes).ok())?);
        }
        tag::WORD.. => put_text(to, some(WORDS.get(usize::from(tag - tag::WORD)))?),
        tag::MILLIS => put_text(to, &datetime::format_ms(some(from.zigzag())?)),
        tag::CID_CBOR => put_text(to, &cid::to_base32(&link(from, CBOR)?)),
        tag::CID_RAW => put_text(to, &cid::to_base32(&link(from, RAW)?)),
        tag::DID => put_text(to, &names.did(actor(from)?)?),
        tag::URI_TID | tag::URI_KEY => uri(tag, from, names, to)?,
        _ => return Err(Refused::Bytes),
    }
    Ok(())
}

fn uri(tag: u8, from: &mut ByteReader<'_>, names: &impl Resolve, to: &mut Vec<u8>) -> Put {
    let did = names.did(actor(from)?)?;
    let coll = u32::try_from(some(from.varint())?).map_err(|_| Refused::Bytes)?;
    let nsid = some(collections::fixed_name(collections::CollId(coll)))?;
    let tid;
    let rkey = if tag == tag::URI_TID {
        tid = some(Tid::from_u64(some(from.u64())?))?.to_string();
        &tid
    } else {
        some(from.str())?
    };
    let parts = ["at://", &did, "/", nsid, "/", rkey];
    put_head(to, 3, parts.iter().map(|part| part.len() as u64).sum());
    parts.iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
    Ok(())
}
