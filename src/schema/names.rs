//! Strings that got a number: DIDs, record keys that are no TIDs, collections without a fixed number.
//!
//! Rows of the `names` keyspace, both ways: `d` DID to u32, `D` back; `k` record key to u63, `K` back;
//! `c` collection to u32, `C` back. A did:plc is kept as the 15 bytes behind its 24 characters.
//! Interning survives the rollback of the event that asked for it: a number once given stays given.
//! Positive answers are cached without expiry, since a number never changes its meaning.

use std::sync::Arc;

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, CollId, Key, Rkey, collections};
use crate::store::{KeyBuf, Ks, Reader, StoreError, Tx};

/// The stored form of a DID: tag 1 and 15 bytes for did:plc, tag 0 and the text for any other.
pub(super) fn did_bytes(did: &str) -> KeyBuf {
    if let Some(plc) = did.strip_prefix("did:plc:").and_then(plc_bytes) {
        return KeyBuf::from_slice(&plc);
    }
    let mut out = KeyBuf::new();
    out.push(0);
    out.extend_from_slice(did.as_bytes());
    out
}

/// Each event has a DID or two, so this does not go through a decoder for any alphabet.
fn plc_bytes(text: &str) -> Option<[u8; 16]> {
    let mut out = [1; 16];
    if text.len() != 24 {
        return None;
    }
    let (_, raw) = out.split_first_mut()?;
    for (letters, bytes) in text.as_bytes().chunks(8).zip(raw.chunks_mut(5)) {
        let mut bits = 0_u64;
        for letter in letters {
            let five = match letter {
                b'a'..=b'z' => letter - b'a',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(five);
        }
        bytes
            .iter_mut()
            .zip(bits.to_be_bytes().into_iter().skip(3))
            .for_each(|(to, byte)| *to = byte);
    }
    Some(out)
}

fn did_text(bytes: &[u8]) -> Option<Arc<str>> {
    match bytes.split_first()? {
        (1, raw) => {
            let mut s = String::with_capacity(32);
            s.push_str("did:plc:");
            s.push_str(&data_encoding::BASE32_NOPAD.encode(raw).to_ascii_lowercase());
            Some(s.into())
        }
        (0, text) => std::str::from_utf8(text).ok().map(Arc::from),
        _ => None,
    }
}

/// The row that must be there beside this one: a name's for a number's, and the reverse. `None` if it is neither.
pub(crate) fn counterpart(key: &[u8], value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (tag, name) = key.split_first()?;
    let number = if tag.is_ascii_lowercase() { value } else { name };
    let fits = match tag.to_ascii_lowercase() {
        b'd' | b'c' => number.len() == 4,
        b'k' => number.len() == 8,
        _ => false,
    };
    let mut other = vec![tag ^ 0x20];
    other.extend_from_slice(value);
    fits.then(|| (other, name.to_vec()))
}

/// The number in the row under `key`, if there is one.
fn number<R: Reader + ?Sized, const N: usize>(
    r: &R,
    key: &Key,
) -> Result<Option<[u8; N]>, StoreError> {
    let Some(value) = r.get(Ks::Names, key)? else { return Ok(None) };
    let number = value.as_ref().try_into();
    number.map(Some).map_err(|_| StoreError::corrupt(Ks::Names, key))
}

/// What `read` makes of the row under `key`, which has to be there since something names it by its number.
fn name<R: Reader + ?Sized, T>(
    r: &R,
    key: &Key,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, StoreError> {
    let value = r.get(Ks::Names, key)?;
    value.and_then(|value| read(&value)).ok_or_else(|| StoreError::corrupt(Ks::Names, key))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Looks a DID's number up.
pub(super) fn actor_id<R: Reader + ?Sized>(
    r: &R,
    did: &str,
) -> Result<Option<ActorId>, StoreError> {
    let cache = r.store().names();
    let name = did_bytes(did);
    if let Some(id) = cache.number(&name) {
        return Ok(Some(ActorId(id)));
    }
    let Some(v) = number(r, &Key::tag(b'd').bytes(&name))? else { return Ok(None) };
    let id = ActorId(u32::from_be_bytes(v));
    cache.remember_number(&name, id.0);
    Ok(Some(id))
}

/// The DID behind a number.
pub(super) fn did<R: Reader + ?Sized>(r: &R, id: ActorId) -> Result<Arc<str>, StoreError> {
    let cache = r.store().names();
    if let Some(d) = cache.name(id.0) {
        return Ok(d);
    }
    let did = name(r, &Key::tag(b'D').actor(id), did_text)?;
    cache.remember_name(id.0, &did);
    Ok(did)
}

/// Looks a record key up; `None` if no record ever had it.
pub(super) fn rkey<R: Reader + ?Sized>(r: &R, text: &str) -> Result<Option<Rkey>, StoreError> {
    if let Some(k) = fixed_rkey(text) {
        return Ok(Some(k));
    }
    let number = number(r, &Key::tag(b'k').bytes(text.as_bytes()))?;
    Ok(number.map(|v| Rkey(u64::from_be_bytes(v))))
}

fn fixed_rkey(text: &str) -> Option<Rkey> {
    if text == "self" {
        return Some(Rkey::SELF);
    }
    crate::syntax::Tid::parse(text).map(|t| Rkey(t.as_u64()))
}

/// The text of a record key.
pub(super) fn rkey_text<R: Reader + ?Sized>(r: &R, k: Rkey) -> Result<String, StoreError> {
    let key = || Key::tag(b'K').rkey(k);
    if k.is_tid() {
        let tid = crate::syntax::Tid::from_u64(k.0);
        return tid.map(|t| t.to_string()).ok_or_else(|| StoreError::corrupt(Ks::Names, &key()));
    }
    if k == Rkey::SELF {
        return Ok("self".to_owned());
    }
    name(r, &key(), |v| text(v).map(str::to_owned))
}

/// Looks a collection up.
pub(super) fn coll_id<R: Reader + ?Sized>(r: &R, nsid: &str) -> Result<Option<CollId>, StoreError> {
    if let Some(c) = collections::fixed(nsid) {
        return Ok(Some(c));
    }
    let number = number(r, &Key::tag(b'c').bytes(nsid.as_bytes()))?;
    Ok(number.map(|v| CollId(u32::from_be_bytes(v))))
}

/// The NSID of a collection.
pub(super) fn coll_text<R: Reader + ?Sized>(r: &R, c: CollId) -> Result<Arc<str>, StoreError> {
    if let Some(n) = collections::fixed_name(c) {
        return Ok(n.into());
    }
    name(r, &Key::tag(b'C').u32(c.0), |v| text(v).map(Arc::from))
}

/// Record keys that are no TID have numbers with this bit.
const NAMED: u64 = 1 << 63;

/// A sequence of the name table, in `meta`.
#[derive(Clone, Copy)]
enum Seq {
    Actor,
    Rkey,
    Coll,
}

fn next(tx: &mut Tx<'_>, seq: Seq) -> Result<u64, StoreError> {
    let (tag, first) = match seq {
        Seq::Actor => (b"next-actor".as_slice(), 1),
        Seq::Rkey => (b"next-rkey".as_slice(), 1),
        Seq::Coll => (b"next-coll".as_slice(), u64::from(collections::FIRST_DYNAMIC)),
    };
    let n = match tx.get(Ks::Meta, tag)? {
        Some(v) => {
            let number = v.as_ref().try_into().map_err(|_| StoreError::corrupt(Ks::Meta, tag))?;
            u64::from_be_bytes(number)
        }
        None => first,
    };
    tx.put_kept(Ks::Meta, tag, &(n + 1).to_be_bytes());
    Ok(n)
}

/// The last account that got a number, if any did.
pub fn last_actor<R: Reader + ?Sized>(r: &R) -> Result<Option<ActorId>, StoreError> {
    let next = r.row(Ks::Meta, b"next-actor", |b| ByteReader::new(b).u64())?;
    Ok(next.and_then(|next| u32::try_from(next.checked_sub(1)?).ok()).map(ActorId))
}

/// Puts what is missing of names of which one of the two rows was lost, some at a time, from this key on; where to go on.
///
/// # Errors
/// The store.
pub fn mend_twins(tx: &mut Tx<'_>, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let (mut rows, mut next) = (Vec::new(), None);
    tx.scan(Ks::Names, from, None, false, &mut |k, v| {
        if rows.len() >= STEP {
            next = Some(k.to_vec());
            return false;
        }
        rows.extend(counterpart(k, v));
        true
    })?;
    for (key, value) in rows {
        if !tx.has(Ks::Names, &key)? {
            tx.put_kept(Ks::Names, &key, &value);
        }
    }
    Ok(next)
}

/// Rows of one step.
const STEP: usize = 2000;

/// Lets each sequence go on behind the last number that has a name.
///
/// # Errors
/// The store.
pub fn mend_sequences(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    for (key, tag) in [(&b"next-actor"[..], b'D'), (b"next-rkey", b'K'), (b"next-coll", b'C')] {
        let mut last = None;
        tx.scan(Ks::Names, &[tag], Some(&[tag + 1]), true, &mut |k, _| {
            let number = k.get(1..).unwrap_or_default();
            last = match tag {
                b'K' => ByteReader::new(number).rkey().map(|rkey| rkey.0 & !NAMED),
                _ => ByteReader::new(number).u32().map(u64::from),
            };
            false
        })?;
        let Some(last) = last else { continue };
        let next = tx.row(Ks::Meta, key, |b| ByteReader::new(b).u64());
        if !matches!(next, Ok(Some(next)) if next > last) {
            tx.put(Ks::Meta, key, &(last + 1).to_be_bytes());
        }
    }
    Ok(())
}

/// The number of a DID, a new one if it has none.
pub(super) fn intern_actor(tx: &mut Tx<'_>, did: &str) -> Result<ActorId, StoreError> {
    if let Some(id) = actor_id(tx, did)? {
        return Ok(id);
    }
    let id = ActorId(
        u32::try_from(next(tx, Seq::Actor)?).map_err(|_| StoreError::Full("account numbers"))?,
    );
    let text = did_bytes(did);
    tx.put_kept(Ks::Names, &Key::tag(b'd').bytes(&text), &id.0.to_be_bytes());
    tx.put_kept(Ks::Names, &Key::tag(b'D').actor(id), &text);
    Ok(id)
}

/// The number of a record key, a new one if it has none.
pub(super) fn intern_rkey(tx: &mut Tx<'_>, text: &str) -> Result<Rkey, StoreError> {
    if let Some(k) = rkey(tx, text)? {
        return Ok(k);
    }
    let k = Rkey(next(tx, Seq::Rkey)? | NAMED);
    tx.put_kept(Ks::Names, &Key::tag(b'k').bytes(text.as_bytes()), &k.0.to_be_bytes());
    tx.put_kept(Ks::Names, &Key::tag(b'K').rkey(k), text.as_bytes());
    Ok(k)
}

/// The number of a collection, a new one if it has none.
pub(super) fn intern_coll(tx: &mut Tx<'_>, nsid: &str) -> Result<CollId, StoreError> {
    if let Some(c) = coll_id(tx, nsid)? {
        return Ok(c);
    }
    let c = CollId(
        u32::try_from(next(tx, Seq::Coll)?).map_err(|_| StoreError::Full("collection numbers"))?,
    );
    tx.put_kept(Ks::Names, &Key::tag(b'c').bytes(nsid.as_bytes()), &c.0.to_be_bytes());
    tx.put_kept(Ks::Names, &Key::tag(b'C').u32(c.0), nsid.as_bytes());
    Ok(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dids_come_back() {
        for d in [
            "did:plc:z72i7hdynmk6r22z27h6tvur",
            "did:web:example.com",
            "did:plc:short",
            "did:plc:Z72i7hdynmk6r22z27h6tvur",
            "did:plc:z72i7hdynmk6r22z27h6tvu1",
            "did:plc:z72i7hdynmk6r22z27h6tvu\u{e9}",
        ] {
            assert_eq!(did_text(&did_bytes(d)).as_deref(), Some(d));
        }
        let plc = did_bytes("did:plc:z72i7hdynmk6r22z27h6tvur");
        let raw = data_encoding::BASE32_NOPAD.decode(b"Z72I7HDYNMK6R22Z27H6TVUR").unwrap();
        assert_eq!(plc.as_slice(), [&[1], &raw[..]].concat());
    }
}
