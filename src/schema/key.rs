//! Keys under construction: the one way to put parts into the bytes of a key, in the order in which they sort.
//!
//! Everything is big-endian, so the order of the bytes is the order of the numbers. What takes keys and values apart
//! again is in [`super::bytes`].

use crate::schema::{ActorId, PostId, RecordId, Rkey, Target};
use crate::store::KeyBuf;

/// Builds a key from parts.
#[derive(Debug, Default, Clone)]
pub struct Key(KeyBuf);

impl Key {
    /// An empty key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// A key that begins with `tag`.
    #[must_use]
    pub fn tag(tag: u8) -> Self {
        Self::new().u8(tag)
    }
    /// Appends a byte.
    #[must_use]
    pub fn u8(mut self, v: u8) -> Self {
        self.0.push(v);
        self
    }
    /// Appends four bytes.
    #[must_use]
    pub fn u32(mut self, v: u32) -> Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    /// Appends eight bytes.
    #[must_use]
    pub fn u64(mut self, v: u64) -> Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    /// Appends an actor.
    #[must_use]
    pub fn actor(self, a: ActorId) -> Self {
        self.u32(a.0)
    }
    /// Appends a record key.
    #[must_use]
    pub fn rkey(self, r: Rkey) -> Self {
        self.u64(r.0)
    }
    /// Appends a post.
    #[must_use]
    pub fn post(mut self, p: PostId) -> Self {
        self.0.extend_from_slice(&p.to_bytes());
        self
    }
    /// Appends a record.
    #[must_use]
    pub fn record(mut self, r: RecordId) -> Self {
        self.0.extend_from_slice(&r.to_bytes());
        self
    }
    /// Appends a tagged target.
    #[must_use]
    pub fn target(mut self, t: Target) -> Self {
        t.push(&mut self.0);
        self
    }
    /// Appends a time so that newer sorts first: six bytes.
    #[must_use]
    pub fn newest_first(mut self, ms: i64) -> Self {
        self.0.extend_from_slice(&inverted_millis(ms));
        self
    }
    /// Appends bytes.
    #[must_use]
    pub fn bytes(mut self, b: &[u8]) -> Self {
        self.0.extend_from_slice(b);
        self
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Target {
    /// What the keys of an account's posts and of its other records begin with.
    #[must_use]
    pub fn prefixes_in(actor: ActorId) -> [Key; 2] {
        [2, 3].map(|kind| Key::tag(kind).actor(actor))
    }
}

pub(super) const MILLIS_48: u64 = (1 << 48) - 1;

/// Six bytes in which a newer time is smaller; times outside of 0..2^48 ms are clamped.
#[must_use]
pub fn inverted_millis(ms: i64) -> [u8; 6] {
    let v = MILLIS_48 - u64::try_from(ms).unwrap_or(0).min(MILLIS_48);
    let [_, _, rest @ ..] = v.to_be_bytes();
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::bytes::ByteReader;

    #[test]
    fn newer_times_sort_first() {
        let a = Key::new().newest_first(1_700_000_000_001);
        let b = Key::new().newest_first(1_700_000_000_000);
        assert!(a[..] < b[..]);
        assert_eq!(ByteReader::new(&a).newest_first(), Some(1_700_000_000_001));
        assert_eq!(ByteReader::new(&Key::new().newest_first(-5)).newest_first(), Some(0));
    }
}
