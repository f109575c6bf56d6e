//! Rows of posts and of other records, the record itself packed behind what rules ask for most.
//!
//! A row has the CID of its record only if the packed record does not give its bytes back (`schema::encoded`).

use crate::schema::Rkey;
use crate::schema::bytes::{ByteReader, push_zigzag};

/// Bits of [`PostRow::flags`] and, the low eight, of feed entries.
pub mod post_flags {
    /// Has `reply`.
    pub const REPLY: u16 = 1;
    /// Images or a gallery.
    pub const MEDIA: u16 = 1 << 1;
    /// A video.
    pub const VIDEO: u16 = 1 << 2;
    /// Embeds another record.
    pub const QUOTE: u16 = 1 << 3;
    /// Against the thread gate of its root.
    pub const VIOLATES_THREADGATE: u16 = 1 << 8;
    /// Quotes a post whose post gate forbids it.
    pub const VIOLATES_EMBEDDING: u16 = 1 << 9;
    /// The root it names is not the root of its parent.
    pub const INVALID_ROOT: u16 = 1 << 10;
    /// A thread gate names this post.
    pub const HAS_THREADGATE: u16 = 1 << 11;
    /// A post gate names this post.
    pub const HAS_POSTGATE: u16 = 1 << 12;
    /// The row has the CID. No flag of the post: [`super::PostRow::cid`] says it.
    pub(super) const WITH_CID: u16 = 1 << 15;
}

/// Bits before a record.
const VALID: u8 = 1;
const WITH_CID: u8 = 1 << 1;

/// A post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRow {
    /// See [`post_flags`].
    pub flags: u16,
    /// SHA-256 of the record, if that is not what the packed record gives.
    pub cid: Option<[u8; 32]>,
    /// `sortAt` less the time in the record key.
    pub sort_delta: i64,
    /// The packed record.
    pub packed: Vec<u8>,
}

impl PostRow {
    /// `sortAt`: the smaller of createdAt and the time of indexing.
    #[must_use]
    pub fn sort_ms(&self, rkey: Rkey) -> i64 {
        rkey.millis().saturating_add(self.sort_delta)
    }
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.packed.len());
        let with_cid = if self.cid.is_some() { post_flags::WITH_CID } else { 0 };
        let flags = self.flags & !post_flags::WITH_CID | with_cid;
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend(self.cid.iter().flatten());
        push_zigzag(&mut out, self.sort_delta);
        out.extend_from_slice(&self.packed);
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let flags = u16::from_be_bytes(r.array()?);
        let cid = if flags & post_flags::WITH_CID != 0 { Some(r.array()?) } else { None };
        Some(Self {
            flags: flags & !post_flags::WITH_CID,
            cid,
            sort_delta: r.zigzag()?,
            packed: r.rest().to_vec(),
        })
    }
}

/// What is kept of a reply that the author of a thread wrote to themselves and deleted: where it stood, which counts as
/// long as replies below it are there, and since when it does not stand there. The record itself is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VacatedRow {
    /// The post that it replied to, of the same author.
    pub parent: Rkey,
    /// When the deletion came, in milliseconds since the epoch.
    pub deleted: i64,
}

impl VacatedRow {
    /// The bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut out = self.parent.0.to_be_bytes().to_vec();
        push_zigzag(&mut out, self.deleted);
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let row = Self { parent: r.rkey()?, deleted: r.zigzag()? };
        r.is_empty().then_some(row)
    }
}

/// A record that has no keyspace of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// SHA-256 of the record, if that is not what the packed record gives.
    pub cid: Option<[u8; 32]>,
    /// When it was indexed.
    pub indexed: i64,
    /// `sortAt`.
    pub sort: i64,
    /// Whether it passed its lexicon, or has none. Invalid records are given back, but have no effect.
    pub valid: bool,
    /// The packed record.
    pub packed: Vec<u8>,
}

impl RecordRow {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + self.packed.len());
        let bits = [(self.valid, VALID), (self.cid.is_some(), WITH_CID)];
        out.push(bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum());
        out.extend(self.cid.iter().flatten());
        push_zigzag(&mut out, self.indexed);
        push_zigzag(&mut out, self.indexed.saturating_sub(self.sort));
        out.extend_from_slice(&self.packed);
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let head = Self::read_head(&mut r)?;
        Some(Self { packed: r.rest().to_vec(), ..head })
    }
    /// Reads all but the record itself, which is left empty.
    #[must_use]
    pub fn decode_head(b: &[u8]) -> Option<Self> {
        Self::read_head(&mut ByteReader::new(b))
    }
    fn read_head(r: &mut ByteReader<'_>) -> Option<Self> {
        let bits = r.u8().filter(|bits| *bits <= VALID | WITH_CID)?;
        let valid = bits & VALID != 0;
        let cid = if bits & WITH_CID != 0 { Some(r.array()?) } else { None };
        let indexed = r.zigzag()?;
        let sort = indexed.saturating_sub(r.zigzag()?);
        Some(Self { cid, indexed, sort, valid, packed: Vec::new() })
    }
}
