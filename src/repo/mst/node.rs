//! One node as it is in its block.

use super::{MstError, is_valid_key, key_layer};
use crate::repo::cbor::{CborError, Reader, put_bytes, put_head, put_link, put_null, put_text};
use crate::syntax::Cid;

/// A decoded node: an optional subtree, then keys each followed by an optional subtree.
pub(super) struct RawNode {
    pub(super) left: Option<Cid>,
    pub(super) entries: Vec<RawEntry>,
}

pub(super) struct RawEntry {
    pub(super) key: Box<[u8]>,
    pub(super) value: Cid,
    pub(super) right: Option<Cid>,
}

impl RawNode {
    /// Decodes a block, checking that it is the one canonical encoding of ordered, valid keys.
    pub(super) fn decode(block: &[u8]) -> Result<RawNode, MstError> {
        let mut reader = Reader::new(block);
        let count = entries_head(&mut reader).map_err(MstError::Decode)?;
        let mut entries: Vec<RawEntry> = Vec::with_capacity(count.min(64));
        let mut key: Vec<u8> = Vec::new();
        for _ in 0..count {
            let (suffix, prefix, right, value) = entry(&mut reader).map_err(MstError::Decode)?;
            // What the last key has beyond the shared prefix: it must be smaller, and share nothing more.
            let tail = key.get(prefix..).ok_or(MstError::Key)?;
            if suffix <= tail || tail.first().is_some_and(|first| Some(first) == suffix.first()) {
                return Err(MstError::Key);
            }
            key.truncate(prefix);
            key.extend(suffix);
            if !is_valid_key(&key) {
                return Err(MstError::Key);
            }
            entries.push(RawEntry { key: key.as_slice().into(), value, right });
        }
        let left = left(&mut reader).map_err(MstError::Decode)?;
        Ok(RawNode { left, entries })
    }

    /// The layer its first key gives, `None` if it has no key. Fails below layer 0.
    pub(super) fn layer(&self, expected: Option<u32>) -> Result<u32, MstError> {
        let own = self.entries.first().map(|entry| key_layer(&entry.key));
        let layer = match (own, expected) {
            (Some(own), Some(expected)) if own != expected => return Err(MstError::Layer),
            (Some(own), _) => own,
            // Nothing but the root of the empty tree may lack both.
            (None, _) if self.left.is_none() && expected.is_some() => return Err(MstError::Empty),
            (None, Some(expected)) => expected,
            (None, None) if self.left.is_none() => 0,
            (None, None) => return Err(MstError::Empty),
        };
        let has_kids = self.left.is_some() || self.entries.iter().any(|e| e.right.is_some());
        if layer == 0 && has_kids { Err(MstError::Layer) } else { Ok(layer) }
    }
}

fn entries_head(reader: &mut Reader<'_>) -> Result<usize, CborError> {
    if reader.map()? != 2 {
        return Err(CborError::Shape);
    }
    reader.expect_key("e")?;
    reader.list()
}

type Entry<'a> = (&'a [u8], usize, Option<Cid>, Cid);

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, CborError> {
    if reader.map()? != 4 {
        return Err(CborError::Shape);
    }
    reader.expect_key("k")?;
    let suffix = reader.bytes()?;
    reader.expect_key("p")?;
    let prefix = usize::try_from(reader.uint()?).map_err(|_| CborError::Shape)?;
    reader.expect_key("t")?;
    let right = reader.nullable(Reader::link)?;
    reader.expect_key("v")?;
    Ok((suffix, prefix, right, reader.link()?))
}

fn left(reader: &mut Reader<'_>) -> Result<Option<Cid>, CborError> {
    reader.expect_key("l")?;
    let left = reader.nullable(Reader::link)?;
    reader.end()?;
    Ok(left)
}

/// The canonical block of a node whose entries are given in order.
pub(super) fn encode<'a>(
    left: Option<&Cid>,
    entries: impl ExactSizeIterator<Item = (&'a [u8], &'a Cid, Option<&'a Cid>)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + entries.len() * 128);
    put_head(&mut out, 5, 2);
    put_text(&mut out, "e");
    put_head(&mut out, 4, entries.len() as u64);
    let mut last: &[u8] = &[];
    for (key, value, right) in entries {
        let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
        put_head(&mut out, 5, 4);
        put_text(&mut out, "k");
        put_bytes(&mut out, key.get(shared..).unwrap_or_default());
        put_text(&mut out, "p");
        put_head(&mut out, 0, shared as u64);
        put_text(&mut out, "t");
        put_nullable(&mut out, right);
        put_text(&mut out, "v");
        put_link(&mut out, value);
        last = key;
    }
    put_text(&mut out, "l");
    put_nullable(&mut out, left);
    out
}

fn put_nullable(out: &mut Vec<u8>, link: Option<&Cid>) {
    match link {
        Some(link) => put_link(out, link),
        None => put_null(out),
    }
}
