//! The bytes of keys and values, one field after the other: a reader that ends with `None` at the end, and the writers
//! of numbers and texts of any length.

use super::key::MILLIS_48;
use crate::schema::{ActorId, CollId, PostId, RecordId, Rkey, Target};

/// Reads keys and values; every method is `None` at the end of the bytes.
#[derive(Debug, Clone, Copy)]
pub struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    /// Reads from the start of `b`.
    #[must_use]
    pub fn new(b: &'a [u8]) -> Self {
        Self(b)
    }
    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
    /// An actor.
    pub fn actor(&mut self) -> Option<ActorId> {
        self.u32().map(ActorId)
    }
    /// A record key.
    pub fn rkey(&mut self) -> Option<Rkey> {
        self.u64().map(Rkey)
    }
    /// A post.
    pub fn post(&mut self) -> Option<PostId> {
        Some(PostId { author: self.actor()?, rkey: self.rkey()? })
    }
    /// A record.
    pub fn record(&mut self) -> Option<RecordId> {
        Some(RecordId { actor: self.actor()?, coll: CollId(self.u32()?), rkey: self.rkey()? })
    }
    /// A tagged target.
    pub fn target(&mut self) -> Option<Target> {
        match self.u8()? {
            1 => self.actor().map(Target::Actor),
            2 => self.post().map(Target::Post),
            3 => self.record().map(Target::Record),
            _ => None,
        }
    }
    /// A time written by [`super::Key::newest_first`], in milliseconds.
    pub fn newest_first(&mut self) -> Option<i64> {
        let [a, b, c, d, e, f] = self.array::<6>()?;
        let v = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        i64::try_from(MILLIS_48 - v).ok()
    }
    /// An unsigned LEB128 number.
    pub fn varint(&mut self) -> Option<u64> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            v |= u64::from(b & 0x7f).checked_shl(shift)?;
            if b & 0x80 == 0 {
                return Some(v);
            }
        }
        None
    }
    /// A zigzag number.
    pub fn zigzag(&mut self) -> Option<i64> {
        let v = self.varint()?;
        Some((v >> 1).cast_signed() ^ -((v & 1).cast_signed()))
    }
    /// A length and that many bytes.
    pub fn blob(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.varint()?).ok()?;
        self.take(n)
    }
    /// A length and that many bytes of UTF-8.
    pub fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.blob()?).ok()
    }
}

impl PostId {
    /// Reads 12 bytes.
    #[must_use]
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let id = r.post()?;
        r.is_empty().then_some(id)
    }
}

impl RecordId {
    /// Reads 16 bytes.
    #[must_use]
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let id = r.record()?;
        r.is_empty().then_some(id)
    }
}

/// Appends an unsigned LEB128 number.
pub fn push_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v.to_le_bytes()[0] | 0x80);
        v >>= 7;
    }
    out.push(v.to_le_bytes()[0]);
}

/// Appends a zigzag number.
pub fn push_zigzag(out: &mut Vec<u8>, v: i64) {
    push_varint(out, ((v << 1) ^ (v >> 63)).cast_unsigned());
}

/// Appends a length and the bytes.
pub fn push_blob(out: &mut Vec<u8>, b: &[u8]) {
    push_varint(out, b.len() as u64);
    out.extend_from_slice(b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for v in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut b = Vec::new();
            push_varint(&mut b, v);
            assert_eq!(ByteReader::new(&b).varint(), Some(v));
        }
        for v in [0, 1, -1, 63, -64, 1_700_000_000_000, i64::MIN, i64::MAX] {
            let mut b = Vec::new();
            push_zigzag(&mut b, v);
            assert_eq!(ByteReader::new(&b).zigzag(), Some(v));
        }
    }
}
