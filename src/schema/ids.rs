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

use super::collections::{self, CollId};
use crate::store::KeyBuf;

/// An interned DID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActorId(pub u32);

impl From<ActorId> for u32 {
    fn from(id: ActorId) -> Self {
        id.0
    }
}

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

    /// Whether it is a TID whose time comes after `ms`, by its microseconds.
    #[must_use]
    pub fn is_after(self, ms: i64) -> bool {
        let micros = i64::try_from(self.0 >> 10).unwrap_or(i64::MAX);
        self.is_tid() && micros > ms.saturating_mul(1000)
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

    /// Whether its content is kept here and not on the network (see `private::community`).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::bytes::ByteReader;

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
}
