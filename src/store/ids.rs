//! Small numbers that stand for identifiers inside the store, and their byte forms in keys.
//!
//! A DID becomes an [`ActorId`], a collection a [`CollId`], a record key an [`Rkey`]. The numbers are
//! handed out by the writer (see `names`) and never change or come back, so they may be cached
//! without expiry. Everything is big-endian: the order of the bytes is the order of the numbers.
//!
//! # Invariants
//! - An [`Rkey`] with the top bit clear is a TID that re-encodes to the same 13 characters; any other
//!   record key goes through the string table and has the top bit set.
//! - Posts, likes and reposts of the community stand in the indexes of those of the network, with the top bit of their
//!   record keys set above a TID: the string table counts up from zero and never comes near the TIDs of our time. Only
//!   [`RecordId::indexed`] makes such a key, only [`RecordId::from_index`] takes it apart.

use smallvec::SmallVec;

use super::collections;

/// A key under construction; most keys fit without an allocation.
pub type KeyBuf = SmallVec<[u8; 48]>;

/// An interned DID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActorId(pub u32);

/// An interned collection NSID; numbers below [`super::collections::FIRST_DYNAMIC`] are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollId(pub u32);

/// A record key: a TID as its 63-bit number, or an entry of the string table with the top bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rkey(pub u64);

impl Rkey {
    /// The record key `self`.
    pub const SELF: Rkey = Rkey(1 << 63);

    /// Whether this is a TID.
    #[must_use]
    pub fn is_tid(self) -> bool {
        self.0 >> 63 == 0
    }

    /// The time in the TID in milliseconds since the epoch; 0 for other keys.
    #[must_use]
    pub fn millis(self) -> i64 {
        if self.is_tid() { i64::try_from((self.0 >> 10) / 1000).unwrap_or(0) } else { 0 }
    }

    /// Whether it is that of a record of the community, in an index.
    fn is_community(self) -> bool {
        self.0 >= COMMUNITY | COMMUNITY_FROM
    }
}

/// Marks the record key of a record of the community.
const COMMUNITY: u64 = 1 << 63;
/// TIDs below this are of the first minutes of 1970.
const COMMUNITY_FROM: u64 = 1 << 40;

/// Collections of the network, and those of the community whose records stand in their indexes.
const SHARED: [(CollId, CollId); 3] = [
    (collections::POST, collections::COMMUNITY_POST),
    (collections::LIKE, collections::COMMUNITY_LIKE),
    (collections::REPOST, collections::COMMUNITY_REPOST),
];

/// A post, of the network or of the community: 12 bytes in every index that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostId {
    /// Whose post.
    pub author: ActorId,
    /// Its record key.
    pub rkey: Rkey,
}

impl PostId {
    /// The post that a record is, if it is one.
    #[must_use]
    pub fn of(id: RecordId) -> Option<Self> {
        let (coll, rkey) = id.indexed()?;
        (coll == collections::POST).then_some(Self { author: id.actor, rkey })
    }

    /// The record that it is.
    #[must_use]
    pub fn record(self) -> RecordId {
        RecordId::from_index(self.author, collections::POST, self.rkey)
    }

    /// Whether its content is kept here and not on the network (see [`super::community`]).
    #[must_use]
    pub fn is_community(self) -> bool {
        self.rkey.is_community()
    }

    /// Length of the byte form.
    pub const LEN: usize = 12;

    /// The 12 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        let (a, r) = out.split_at_mut(4);
        a.copy_from_slice(&self.author.0.to_be_bytes());
        r.copy_from_slice(&self.rkey.0.to_be_bytes());
        out
    }

    /// Reads 12 bytes.
    #[must_use]
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let id = r.post()?;
        r.is_empty().then_some(id)
    }
}

/// Any record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// Whose record.
    pub actor: ActorId,
    /// Its collection.
    pub coll: CollId,
    /// Its record key.
    pub rkey: Rkey,
}

impl RecordId {
    /// Length of the byte form.
    pub const LEN: usize = 16;

    /// The record with this key in an index of records of `coll`.
    #[must_use]
    pub fn from_index(actor: ActorId, coll: CollId, rkey: Rkey) -> Self {
        match SHARED.iter().find(|(network, _)| *network == coll) {
            Some((_, community)) if rkey.is_community() => {
                Self { actor, coll: *community, rkey: Rkey(rkey.0 & !COMMUNITY) }
            }
            _ => Self { actor, coll, rkey },
        }
    }

    /// The collection in whose indexes it stands, and its key there. `None` for a record of the community whose key is
    /// no time: such a one has no effects.
    #[must_use]
    pub fn indexed(self) -> Option<(CollId, Rkey)> {
        match SHARED.iter().find(|(_, community)| *community == self.coll) {
            None => Some((self.coll, self.rkey)),
            Some((network, _)) => {
                let fits = self.rkey.is_tid() && self.rkey.0 >= COMMUNITY_FROM;
                fits.then_some((*network, Rkey(self.rkey.0 | COMMUNITY)))
            }
        }
    }

    /// The key in the `record` keyspace: 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut k = [0; 16];
        let (a, rest) = k.split_at_mut(4);
        let (c, r) = rest.split_at_mut(4);
        a.copy_from_slice(&self.actor.0.to_be_bytes());
        c.copy_from_slice(&self.coll.0.to_be_bytes());
        r.copy_from_slice(&self.rkey.0.to_be_bytes());
        k
    }

    /// Reads 16 bytes.
    #[must_use]
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let id = r.record()?;
        r.is_empty().then_some(id)
    }
}

/// What an edge, a counter or a label points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An account.
    Actor(ActorId),
    /// A post.
    Post(PostId),
    /// Any other record.
    Record(RecordId),
}

impl Target {
    /// The target that a record is, posts in their short form.
    #[must_use]
    pub fn of(id: RecordId) -> Self {
        PostId::of(id).map_or(Self::Record(id), Self::Post)
    }

    /// Whether it is a post of the community.
    #[must_use]
    pub fn is_community(self) -> bool {
        matches!(self, Self::Post(post) if post.is_community())
    }

    /// The account itself, or the record's owner.
    #[must_use]
    pub fn actor(self) -> ActorId {
        match self {
            Self::Actor(a) => a,
            Self::Post(p) => p.author,
            Self::Record(r) => r.actor,
        }
    }

    /// The record, if it is one.
    #[must_use]
    pub fn record(self) -> Option<RecordId> {
        match self {
            Self::Actor(_) => None,
            Self::Post(p) => Some(p.record()),
            Self::Record(r) => Some(r),
        }
    }

    /// What the keys of an account's posts and of its other records begin with.
    #[must_use]
    pub fn prefixes_in(actor: ActorId) -> [Key; 2] {
        [2, 3].map(|kind| Key::tag(kind).actor(actor))
    }

    /// Appends the tagged byte form: 5, 13 or 17 bytes.
    pub fn push(self, k: &mut KeyBuf) {
        match self {
            Self::Actor(a) => {
                k.push(1);
                k.extend_from_slice(&a.0.to_be_bytes());
            }
            Self::Post(p) => {
                k.push(2);
                k.extend_from_slice(&p.to_bytes());
            }
            Self::Record(r) => {
                k.push(3);
                k.extend_from_slice(&r.to_bytes());
            }
        }
    }

    /// The tagged byte form.
    #[must_use]
    pub fn key(self) -> KeyBuf {
        let mut k = KeyBuf::new();
        self.push(&mut k);
        k
    }
}

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

const MILLIS_48: u64 = (1 << 48) - 1;

/// Six bytes in which a newer time is smaller; times outside of 0..2^48 ms are clamped.
#[must_use]
pub fn inverted_millis(ms: i64) -> [u8; 6] {
    let v = MILLIS_48 - u64::try_from(ms).unwrap_or(0).min(MILLIS_48);
    let [_, _, rest @ ..] = v.to_be_bytes();
    rest
}

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
    /// A time written by [`Key::newest_first`], in milliseconds.
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

/// The smallest key above every key that begins with `prefix`; `None` if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<KeyBuf> {
    let mut end = KeyBuf::from_slice(prefix);
    while let Some(last) = end.pop() {
        if last != u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
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

    #[test]
    fn newer_times_sort_first() {
        let a = Key::new().newest_first(1_700_000_000_001);
        let b = Key::new().newest_first(1_700_000_000_000);
        assert!(a[..] < b[..]);
        assert_eq!(ByteReader::new(&a).newest_first(), Some(1_700_000_000_001));
        assert_eq!(ByteReader::new(&Key::new().newest_first(-5)).newest_first(), Some(0));
    }

    #[test]
    fn targets_come_back() {
        let r = RecordId { actor: ActorId(7), coll: CollId(4), rkey: Rkey(9) };
        let p = PostId { author: ActorId(1), rkey: Rkey(2) };
        for t in [Target::Actor(ActorId(3)), Target::Post(p), Target::Record(r)] {
            assert_eq!(ByteReader::new(&t.key()).target(), Some(t));
        }
    }

    #[test]
    fn records_of_the_community_stand_beside_those_of_the_network() {
        let id = |coll, rkey| RecordId { actor: ActorId(7), coll, rkey: Rkey(rkey) };
        for (network, community) in SHARED {
            for rkey in [COMMUNITY_FROM, COMMUNITY - 1] {
                let (coll, key) = id(community, rkey).indexed().unwrap();
                assert_eq!((coll, key.is_community()), (network, true));
                assert_eq!(RecordId::from_index(ActorId(7), coll, key), id(community, rkey));
            }
            for rkey in [0, COMMUNITY_FROM, COMMUNITY, COMMUNITY | (COMMUNITY_FROM - 1)] {
                let held = id(network, rkey);
                assert_eq!(held.indexed(), Some((network, Rkey(rkey))));
                assert_eq!(RecordId::from_index(ActorId(7), network, Rkey(rkey)), held);
            }
            for rkey in [0, COMMUNITY_FROM - 1, COMMUNITY, COMMUNITY | COMMUNITY_FROM] {
                assert_eq!(id(community, rkey).indexed(), None);
            }
        }
        let gate = id(collections::COMMUNITY_THREADGATE, COMMUNITY_FROM);
        assert_eq!(gate.indexed(), Some((gate.coll, gate.rkey)));
        assert_eq!(PostId::of(id(collections::COMMUNITY_LIKE, COMMUNITY_FROM)), None);
        assert_eq!(
            RecordId::from_index(ActorId(7), collections::FOLLOW, Rkey(u64::MAX)).coll,
            collections::FOLLOW
        );
    }

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(prefix_end(&[1, 255]).as_deref(), Some(&[2u8][..]));
        assert_eq!(prefix_end(&[255, 255]), None);
    }
}
