//! Feeds: what each account posted and reposted, newest first.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Key, PostId, Rkey};

/// An entry of an account's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeedRow {
    /// `sortAt` of the post or repost.
    pub sort: i64,
    /// The post or repost itself.
    pub rkey: Rkey,
    /// Posts: the low eight bits of the post's flags.
    pub flags: u8,
    /// Reposts: the post.
    pub repost_of: Option<PostId>,
}

/// All entries of an account.
#[must_use]
pub fn feed_prefix(actor: ActorId) -> Key {
    Key::new().actor(actor)
}

impl FeedRow {
    /// The key.
    #[must_use]
    pub fn key(&self, actor: ActorId) -> Key {
        feed_prefix(actor)
            .newest_first(self.sort)
            .u8(u8::from(self.repost_of.is_some()))
            .rkey(self.rkey)
    }
    /// The value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self.repost_of {
            Some(p) => p.to_bytes().to_vec(),
            None => vec![self.flags],
        }
    }
    /// Reads key and value.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<(ActorId, Self)> {
        let mut r = ByteReader::new(key);
        let actor = r.actor()?;
        let sort = r.newest_first()?;
        let repost = r.u8()? != 0;
        let rkey = r.rkey()?;
        let repost_of = if repost { Some(PostId::from_bytes(value)?) } else { None };
        let flags = if repost { 0 } else { value.first().copied()? };
        Some((actor, Self { sort, rkey, flags, repost_of }))
    }
}
