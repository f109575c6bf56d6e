//! Notifications: of each member, newest first. The key is the uniqueness.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, CollId, Key, RecordId, Rkey, Target};

/// Why somebody is notified (`app.bsky.notification.listNotifications#notification`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// `like`
    Like = 1,
    /// `repost`
    Repost = 2,
    /// `follow`
    Follow = 3,
    /// `mention`
    Mention = 4,
    /// `reply`
    Reply = 5,
    /// `quote`
    Quote = 6,
    /// `starterpack-joined`
    StarterpackJoined = 7,
    /// `verified`
    Verified = 8,
    /// `unverified`
    Unverified = 9,
    /// `like-via-repost`
    LikeViaRepost = 10,
    /// `repost-via-repost`
    RepostViaRepost = 11,
    /// `subscribed-post`
    SubscribedPost = 12,
}

impl Reason {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Like, "like"),
        (Self::Repost, "repost"),
        (Self::Follow, "follow"),
        (Self::Mention, "mention"),
        (Self::Reply, "reply"),
        (Self::Quote, "quote"),
        (Self::StarterpackJoined, "starterpack-joined"),
        (Self::Verified, "verified"),
        (Self::Unverified, "unverified"),
        (Self::LikeViaRepost, "like-via-repost"),
        (Self::RepostViaRepost, "repost-via-repost"),
        (Self::SubscribedPost, "subscribed-post"),
    ];
    /// The name in the lexicon.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(r, _)| *r == self).map_or("", |(_, n)| n)
    }
    fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.iter().find(|(r, _)| *r as u8 == v).map(|(r, _)| *r)
    }
    /// The collection of the record that notifies.
    #[must_use]
    pub fn collection(self) -> CollId {
        use crate::schema::collections as c;
        match self {
            Self::Like | Self::LikeViaRepost => c::LIKE,
            Self::Repost | Self::RepostViaRepost => c::REPOST,
            Self::Follow => c::FOLLOW,
            Self::Mention | Self::Reply | Self::Quote | Self::SubscribedPost => c::POST,
            Self::StarterpackJoined => c::PROFILE,
            Self::Verified | Self::Unverified => c::VERIFICATION,
        }
    }
}

/// A notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotifRow {
    /// `sortAt`.
    pub sort: i64,
    /// Who caused it.
    pub author: ActorId,
    /// Why.
    pub reason: Reason,
    /// The record that caused it, by its key in the indexes of [`Reason::collection`].
    pub rkey: Rkey,
    /// `reasonSubject`.
    pub subject: Option<Target>,
}

/// All notifications of an account.
#[must_use]
pub fn notif_prefix(viewer: ActorId) -> Key {
    Key::new().actor(viewer)
}

impl NotifRow {
    /// The key, which is the uniqueness.
    #[must_use]
    pub fn key(&self, viewer: ActorId) -> Key {
        notif_prefix(viewer)
            .newest_first(self.sort)
            .actor(self.author)
            .u8(self.reason as u8)
            .rkey(self.rkey)
    }
    /// The value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.subject.map(|s| s.key().to_vec()).unwrap_or_default()
    }
    /// The record that caused it.
    #[must_use]
    pub fn record(&self) -> RecordId {
        RecordId::from_index(self.author, self.reason.collection(), self.rkey)
    }
    /// Whether a community post caused it or is its subject.
    #[must_use]
    pub fn is_of_community(&self) -> bool {
        Target::of(self.record()).is_community() || self.subject.is_some_and(Target::is_community)
    }
    /// Reads key and value.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<(ActorId, Self)> {
        let mut r = ByteReader::new(key);
        let viewer = r.actor()?;
        let sort = r.newest_first()?;
        let author = r.actor()?;
        let reason = Reason::from_u8(r.u8()?)?;
        let rkey = r.rkey()?;
        let subject = if value.is_empty() { None } else { Some(ByteReader::new(value).target()?) };
        Some((viewer, Self { sort, author, reason, rkey, subject }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_name() {
        for (r, n) in Reason::ALL {
            assert_eq!((Reason::from_u8(r as u8), r.name()), (Some(r), n));
        }
    }
}
