//! Notifications: of each member, newest first. The key is the uniqueness.
//!
//! A notification goes with the record that caused it, so that who counts them need not look for records. What an edge
//! caused is found by what the edge says. A post is no help: who stood above it may have gone meanwhile, a subscription
//! may have ended, a profile may name no starter pack any more. So these leave a trace (see [`traces_prefix`]) that
//! leads from the record to them. Verifications end with another notification, and both stay.

use super::Order;
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
    /// Whether a trace leads to the notification.
    #[must_use]
    pub fn is_traced(self) -> bool {
        let of_post = [Self::Mention, Self::Reply, Self::Quote, Self::SubscribedPost];
        of_post.contains(&self) || self == Self::StarterpackJoined
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

/// The traces of all notifications that a record caused: time, recipient and reason follow, and the value is empty.
#[must_use]
pub fn traces_prefix(record: RecordId) -> Key {
    Key::tag(Order::Notices as u8).record(record)
}

/// Ends the value of a row that has a trace. Those of early versions have none.
const TRACED: u8 = 0;

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
        let mut out = self.subject.map(|s| s.key().to_vec()).unwrap_or_default();
        if self.reason.is_traced() {
            out.push(TRACED);
        }
        out
    }
    /// Whether a row with this value may be there after its record went.
    #[must_use]
    pub fn may_outlive(&self, value: &[u8]) -> bool {
        match self.reason {
            Reason::Verified | Reason::Unverified => true,
            reason => reason.is_traced() && subject(value).is_none_or(|(_, traced)| !traced),
        }
    }
    /// The key of its trace.
    #[must_use]
    pub fn trace(&self, viewer: ActorId) -> Key {
        traces_prefix(self.record()).newest_first(self.sort).actor(viewer).u8(self.reason as u8)
    }
    /// Whose notification a trace leads to, and which one; its subject is not told.
    #[must_use]
    pub fn from_trace(key: &[u8]) -> Option<(ActorId, Self)> {
        let mut r = ByteReader::new(key);
        let _tag = r.u8()?;
        let record = r.record()?;
        let (author, (coll, rkey)) = (record.actor, record.indexed()?);
        let (sort, viewer, reason) = (r.newest_first()?, r.actor()?, Reason::from_u8(r.u8()?)?);
        let fits = r.is_empty() && reason.is_traced() && reason.collection() == coll;
        fits.then_some((viewer, Self { sort, author, reason, rkey, subject: None }))
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
        let (subject, _) = subject(value)?;
        Some((viewer, Self { sort, author, reason, rkey, subject }))
    }
}

/// The subject in a value, and whether the row has a trace.
fn subject(value: &[u8]) -> Option<(Option<Target>, bool)> {
    let mut r = ByteReader::new(value);
    let subject = match value.first() {
        None | Some(&TRACED) => None,
        Some(_) => Some(r.target()?),
    };
    match r.rest() {
        [] => Some((subject, false)),
        [TRACED] => Some((subject, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{PostId, collections};

    #[test]
    fn every_reason_has_a_number_and_a_name() {
        for (r, n) in Reason::ALL {
            assert_eq!((Reason::from_u8(r as u8), r.name()), (Some(r), n));
        }
    }

    #[test]
    fn a_trace_leads_to_its_notification_and_a_row_says_whether_it_has_one() {
        let post = PostId { author: ActorId(7), rkey: Rkey(9) };
        let community = (collections::COMMUNITY_POST, Rkey(1 << 50));
        let community = RecordId { actor: ActorId(7), coll: community.0, rkey: community.1 };
        let community = PostId::of(community).unwrap();
        for (reason, _) in Reason::ALL {
            for (rkey, subject) in [(post.rkey, None), (community.rkey, Some(Target::Post(post)))] {
                let row =
                    NotifRow { sort: 1_700_000_000_123, author: ActorId(7), reason, rkey, subject };
                let value = row.encode();
                assert_eq!(NotifRow::decode(&row.key(ActorId(3)), &value), Some((ActorId(3), row)));
                let led = NotifRow::from_trace(&row.trace(ActorId(3)));
                let plain = NotifRow { subject: None, ..row };
                assert_eq!(led, reason.is_traced().then_some((ActorId(3), plain)), "{reason:?}");
                let stays = [Reason::Verified, Reason::Unverified].contains(&reason);
                assert_eq!(row.may_outlive(&value), stays, "{reason:?}");
                // As early versions wrote it.
                let old = subject.map(|s| s.key().to_vec()).unwrap_or_default();
                assert_eq!(NotifRow::decode(&row.key(ActorId(3)), &old), Some((ActorId(3), row)));
                assert_eq!(row.may_outlive(&old), stays || reason.is_traced(), "{reason:?}");
            }
        }
    }
}
