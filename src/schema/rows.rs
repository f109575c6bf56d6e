//! Keys and values of the keyspaces: what a row holds and its bytes. Frozen once released: the saved
//! database in `tests/fixtures` must open and read the same for ever.
//!
//! Times are milliseconds since the epoch. In values they are differences to the time in the record key
//! (a TID), which is nearly always zero or small.

mod counters;
mod edges;
mod feeds;
mod labels;
mod notifications;
mod records;

use crate::schema::bytes::{ByteReader, push_blob, push_varint, push_zigzag};
use crate::schema::{ActorId, CollId, Key, PostId, Rkey, Target, collections};
pub use counters::{AggRow, COUNTERS, Counter};
pub use edges::{EdgeRow, FanRow, SubjectCid};
pub use feeds::{FeedRow, feed_prefix};
pub use labels::LabelRow;
pub use notifications::{NotifRow, Reason, notif_prefix, traces_prefix};
pub use records::{PostRow, RecordRow, VacatedRow, post_flags};

/// The kinds of edges: records that say little more than "this account, that subject".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EdgeKind {
    /// `app.bsky.feed.like`
    Like = 1,
    /// `app.bsky.feed.repost`
    Repost = 2,
    /// `app.bsky.graph.follow`
    Follow = 3,
    /// `app.bsky.graph.block`
    Block = 4,
    /// `app.bsky.graph.listblock`; its record is in `record`.
    ListBlock = 5,
    /// `app.bsky.graph.listitem`: from the member (not the author) to the list; its record is in `record`.
    ListItem = 6,
    /// `app.bsky.graph.verification`; its record is in `record`.
    Verification = 7,
}

impl EdgeKind {
    /// The collection of the record.
    #[must_use]
    pub fn collection(self) -> CollId {
        use crate::schema::collections as c;
        match self {
            Self::Like => c::LIKE,
            Self::Repost => c::REPOST,
            Self::Follow => c::FOLLOW,
            Self::Block => c::BLOCK,
            Self::ListBlock => c::LISTBLOCK,
            Self::ListItem => c::LISTITEM,
            Self::Verification => c::VERIFICATION,
        }
    }

    /// The kind whose records are kept as edges only (see [`EdgeRow`]).
    #[must_use]
    pub fn compact(coll: CollId) -> Option<Self> {
        use crate::schema::collections as c;
        [
            (c::LIKE, Self::Like),
            (c::REPOST, Self::Repost),
            (c::FOLLOW, Self::Follow),
            (c::BLOCK, Self::Block),
        ]
        .into_iter()
        .find_map(|(k, kind)| (k == coll).then_some(kind))
    }
}

/// `edge_fwd` key.
#[must_use]
pub fn fwd_key(kind: EdgeKind, actor: ActorId, rkey: Rkey) -> Key {
    fwd_prefix(kind, actor).rkey(rkey)
}
/// Every edge of a kind that an actor made.
#[must_use]
pub fn fwd_prefix(kind: EdgeKind, actor: ActorId) -> Key {
    Key::tag(kind as u8).actor(actor)
}
/// `edge_rev` key.
#[must_use]
pub fn rev_key(kind: EdgeKind, target: Target, actor: ActorId) -> Key {
    rev_prefix(kind, target).actor(actor)
}
/// Every fan of a target.
#[must_use]
pub fn rev_prefix(kind: EdgeKind, target: Target) -> Key {
    Key::tag(kind as u8).target(target)
}
/// A second record of the same actor on the same target, waiting to be promoted.
#[must_use]
pub fn duplicate_key(kind: EdgeKind, target: Target, actor: ActorId, rkey: Rkey) -> Key {
    rev_key(kind, target, actor).rkey(rkey)
}

/// Account row key.
#[must_use]
pub fn actor_key(id: ActorId) -> Key {
    Key::tag(b'a').actor(id)
}
/// Repo row key.
#[must_use]
pub fn repo_key(id: ActorId) -> Key {
    Key::tag(b'r').actor(id)
}
/// Identity row key.
#[must_use]
pub fn identity_key(id: ActorId) -> Key {
    Key::tag(b'i').actor(id)
}
/// Handle row key.
#[must_use]
pub fn handle_key(handle: &str) -> Key {
    Key::tag(b'h').bytes(handle.as_bytes())
}

/// Hosting status of an account as its upstream says (`com.atproto.sync.subscribeRepos#account`), unless the account wants
/// nothing of its own here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum AccountStatus {
    /// Nothing else was said.
    #[default]
    Active = 0,
    /// `deactivated`
    Deactivated = 1,
    /// `suspended`
    Suspended = 2,
    /// `takendown`
    Takendown = 3,
    /// `deleted`
    Deleted = 4,
    /// It opted out of being collected, whatever its host says of it.
    OptedOut = 5,
}

impl AccountStatus {
    /// The status of this number on disk.
    #[must_use]
    pub fn from_u8(v: u8) -> Option<Self> {
        [
            Self::Active,
            Self::Deactivated,
            Self::Suspended,
            Self::Takendown,
            Self::Deleted,
            Self::OptedOut,
        ]
        .into_iter()
        .find(|s| *s as u8 == v)
    }

    /// Whether nothing of it is shown, kept or fetched, as if the account did not exist.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Deleted | Self::OptedOut)
    }
}

/// An account that was seen on the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActorRow {
    /// Hosting status.
    pub status: AccountStatus,
    /// The handle, if it was verified in both directions.
    pub handle: Option<String>,
    /// When the handle was last checked; 0 never.
    pub handle_checked: i64,
    /// When the account was first seen.
    pub indexed: i64,
    /// Its DID was given up: it is not there for anybody, until there is a document again.
    pub tombstoned: bool,
    /// Of which kinds it may have records.
    pub kinds: Kinds,
}

/// Kinds of records that views look for beside every account. Most accounts have few of them: what is not told of here
/// need not be looked for, which is half the reads of an account that nobody saw lately.
///
/// A bit says that there are none, so a kind that is told of from some version on may be there in all older rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

impl Default for Kinds {
    /// None of them.
    fn default() -> Self {
        Self((1 << Self::TOLD.len()) - 1)
    }
}

impl Kinds {
    /// All of them: nobody told from the beginning on.
    pub const ANY: Self = Self(0);
    /// By bit, at most 32; the numbers are on disk.
    const TOLD: [CollId; 8] = [
        collections::PROFILE,
        collections::STATUS,
        collections::LABELER,
        collections::CHAT_DECLARATION,
        collections::NOTIFICATION_DECLARATION,
        collections::GERM_DECLARATION,
        collections::BLOCK,
        collections::LISTBLOCK,
    ];

    fn bit(coll: CollId) -> Option<u32> {
        Self::TOLD.iter().position(|told| *told == coll).map(|at| 1 << at)
    }
    /// Whether a collection is told of at all.
    #[must_use]
    pub fn tell(coll: CollId) -> bool {
        Self::bit(coll).is_some()
    }
    /// Whether there may be records of a collection; always, if it is not told of.
    #[must_use]
    pub fn may_have(self, coll: CollId) -> bool {
        Self::bit(coll).is_none_or(|bit| self.0 & bit == 0)
    }
    /// The same with a collection that there will be records of.
    #[must_use]
    pub fn with(self, coll: CollId) -> Self {
        Self(self.0 & !Self::bit(coll).unwrap_or(0))
    }
}

/// Beside the status: [`ActorRow::tombstoned`].
const TOMBSTONED: u8 = 0x80;

impl ActorRow {
    /// Whether its host and its DID say that it is there.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == AccountStatus::Active && !self.tombstoned
    }
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.status as u8 | if self.tombstoned { TOMBSTONED } else { 0 }];
        push_zigzag(&mut out, self.indexed);
        push_zigzag(&mut out, self.handle_checked);
        push_blob(&mut out, self.handle.as_deref().unwrap_or_default().as_bytes());
        push_varint(&mut out, u64::from(self.kinds.0));
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let first = r.u8()?;
        Some(Self {
            tombstoned: first & TOMBSTONED != 0,
            status: AccountStatus::from_u8(first & !TOMBSTONED)?,
            indexed: r.zigzag()?,
            handle_checked: r.zigzag()?,
            handle: Some(r.str()?).filter(|s| !s.is_empty()).map(str::to_owned),
            kinds: Kinds(u32::try_from(r.varint()?).ok()?),
        })
    }
}

/// How far a repo is indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoRow {
    /// The newest rev applied, as its TID number.
    pub rev: u64,
    /// SHA-256 of the MST root of that rev.
    pub data: [u8; 32],
    /// Set while the chain is broken or the repo is being fetched: it must be fetched at this rev or a newer one.
    pub resync: Option<u64>,
    /// The rev from which on every record is here, because the repo was fetched whole then or began then. Without
    /// it only what was seen live is.
    pub whole: Option<u64>,
}

/// Stands for no rev; a TID has its top bit clear.
const NO_REV: u64 = u64::MAX;

impl RepoRow {
    /// Whether every record of the repo is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.resync.is_none() && self.whole.is_some()
    }
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(56);
        out.extend_from_slice(&self.rev.to_be_bytes());
        out.extend_from_slice(&self.data);
        if self.resync.is_some() || self.whole.is_some() {
            out.extend_from_slice(&self.resync.unwrap_or(NO_REV).to_be_bytes());
        }
        if let Some(whole) = self.whole {
            out.extend_from_slice(&whole.to_be_bytes());
        }
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (rev, data) = (r.u64()?, r.array()?);
        // Early versions ended after either of the first two.
        let mut further = || if r.is_empty() { Some(None) } else { Some(Some(r.u64()?)) };
        let resync = further()?.filter(|rev| *rev != NO_REV);
        Some(Self { rev, data, resync, whole: further()? })
    }
}

/// What the DID document said when it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityRow {
    /// When it was read.
    pub checked: i64,
    /// The `#atproto` key as did:key; empty if there is none.
    pub key: String,
    /// The `#atproto_pds` endpoint; empty if there is none.
    pub pds: String,
}

impl IdentityRow {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_zigzag(&mut out, self.checked);
        push_blob(&mut out, self.key.as_bytes());
        push_blob(&mut out, self.pds.as_bytes());
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self { checked: r.zigzag()?, key: r.str()?.to_owned(), pds: r.str()?.to_owned() })
    }
}

/// The lists of the `order` keyspace, each newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Replies to a post; member: post, value: low eight post flags.
    Replies = 0x40,
    /// Posts that embed a record; member: post.
    Quotes = 0x41,
    /// Posts that mention an account; member: post.
    Mentions = 0x42,
    /// Items of a list; member: record key of the item, value: account.
    Items = 0x43,
    /// Who joined through a starter pack; member: account.
    Joined = 0x44,
    /// Likes and reposts made through a repost; member: account, kind, record key.
    Via = 0x45,
    /// Notifications that a record caused, by the record; member: recipient, reason.
    Notices = 0x46,
    /// Deleted replies of the author of a thread to themselves, by the root; member: record key, value: [`VacatedRow`].
    Vacated = 0x47,
}

/// All members of such a list.
#[must_use]
pub fn order_prefix(order: Order, target: Target) -> Key {
    Key::tag(order as u8).target(target)
}
/// A post in such a list.
#[must_use]
pub fn order_post_key(order: Order, target: Target, sort: i64, post: PostId) -> Key {
    order_prefix(order, target).newest_first(sort).post(post)
}
/// An item of a list.
#[must_use]
pub fn order_item_key(list: Target, sort: i64, rkey: Rkey) -> Key {
    order_prefix(Order::Items, list).newest_first(sort).rkey(rkey)
}
/// A like or repost that names a repost it came through.
#[must_use]
pub fn order_via_key(repost: Target, sort: i64, kind: EdgeKind, actor: ActorId, rkey: Rkey) -> Key {
    order_prefix(Order::Via, repost).newest_first(sort).actor(actor).u8(kind as u8).rkey(rkey)
}
/// Everything that came through any repost of an account.
#[must_use]
pub fn via_prefix(actor: ActorId) -> Key {
    // The tag of a record target, then its owner.
    Key::tag(Order::Via as u8).u8(3).actor(actor)
}
/// A deleted reply of the author of a thread to themselves.
#[must_use]
pub fn vacated_key(root: PostId, rkey: Rkey) -> Key {
    order_prefix(Order::Vacated, Target::Post(root)).rkey(rkey)
}
/// An account that joined through a starter pack, by `sortAt` of its profile.
#[must_use]
pub fn order_joined_key(pack: Target, sort: i64, actor: ActorId) -> Key {
    order_prefix(Order::Joined, pack).newest_first(sort).actor(actor)
}
/// All fans of a popular target in order of time.
#[must_use]
pub fn fans_prefix(kind: EdgeKind, target: Target) -> Key {
    Key::tag(kind as u8).target(target)
}
/// One fan in order of time; value: the record key.
#[must_use]
pub fn fan_key(kind: EdgeKind, target: Target, sort: i64, actor: ActorId) -> Key {
    fans_prefix(kind, target).newest_first(sort).actor(actor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RecordId;
    use crate::store::Ks;

    #[test]
    fn groups_of_the_row_cache_begin_as_these_keys_do() {
        let (a, r) = (ActorId(7), Rkey(9));
        let post = PostId { author: a, rkey: r };
        let of = |coll| RecordId { actor: a, coll, rkey: r };
        let list = Target::Record(of(collections::LIST));
        let group = |ks: Ks, key: &[u8]| ks.group(key).map(<[u8]>::to_vec);
        for kind in [EdgeKind::Like, EdgeKind::Repost] {
            assert_eq!(group(Ks::Fwd, &fwd_key(kind, a, r)), Some(fwd_prefix(kind, a).to_vec()));
        }
        let (item, of_post) = (EdgeKind::ListItem, Target::Post(post));
        assert_eq!(group(Ks::Rev, &rev_key(item, list, a)), Some(rev_prefix(item, list).to_vec()));
        let reply = order_post_key(Order::Replies, of_post, 5, post);
        let replies = order_prefix(Order::Replies, of_post).to_vec();
        assert_eq!(group(Ks::Order, &reply), Some(replies));
        let out = collections::LIST_OPT_OUT;
        let opt_outs = Key::new().actor(a).u32(out.0).to_vec();
        assert_eq!(group(Ks::Record, &of(out).to_bytes()), Some(opt_outs));
        for target in [Target::Actor(a), of_post, list] {
            assert_eq!(group(Ks::Label, &target.key()), Some(Key::new().actor(a).to_vec()));
        }
    }

    #[test]
    fn rows_come_back() {
        let target = Target::Post(PostId { author: ActorId(5), rkey: Rkey(77) });
        for cid in [None, Some([3; 32])] {
            let p = PostRow { flags: 0x0102, cid, sort_delta: -9, packed: vec![1, 2, 3] };
            assert_eq!(PostRow::decode(&p.encode()), Some(p));
            for valid in [false, true] {
                let r = RecordRow { cid, indexed: 1000, sort: 900, valid, packed: vec![1] };
                assert_eq!(RecordRow::decode(&r.encode()), Some(r));
            }
        }
        let a = ActorRow {
            status: AccountStatus::Deleted,
            handle: Some("a.b".into()),
            handle_checked: 5,
            indexed: 6,
            tombstoned: true,
            kinds: Kinds::default().with(collections::BLOCK),
        };
        assert!(a.kinds.may_have(collections::BLOCK) && !a.kinds.may_have(collections::STATUS));
        assert!(a.kinds.may_have(collections::LIST), "not told of");
        let bytes = a.encode();
        assert_eq!(ActorRow::decode(&bytes), Some(a.clone()));
        assert_eq!(ActorRow::decode(&bytes[..bytes.len() - 1]), None);
        let any = ActorRow { kinds: Kinds::ANY, ..a };
        assert!(any.kinds.may_have(collections::STATUS));
        assert_eq!(ActorRow::decode(&any.encode()), Some(any));
        for (resync, whole) in [(None, None), (Some(8), None), (None, Some(5)), (Some(8), Some(5))]
        {
            let r = RepoRow { rev: 7, data: [1; 32], resync, whole };
            assert_eq!(RepoRow::decode(&r.encode()), Some(r));
        }
        let mut g = AggRow::default();
        g.add(Counter::Quotes, 300);
        g.add(Counter::Followers, 2);
        g.add(Counter::Likes, -1);
        g.set_ordered(EdgeKind::Like);
        g.set_ordered(EdgeKind::Verification);
        assert!(!g.is_ordered(EdgeKind::Follow));
        assert_eq!(AggRow::decode(&g.encode()), Some(g));
        assert_eq!((g.get(Counter::Quotes), g.get(Counter::Likes)), (300, 0));
        let n = NotifRow {
            sort: 9,
            author: ActorId(2),
            reason: Reason::Quote,
            rkey: Rkey(3),
            subject: Some(target),
        };
        assert_eq!(NotifRow::decode(&n.key(ActorId(1)), &n.encode()), Some((ActorId(1), n)));
        let v = VacatedRow { parent: Rkey(5), deleted: 1_800_000_000_000 };
        assert_eq!(VacatedRow::decode(&v.encode()), Some(v));
        let f = FeedRow {
            sort: 9,
            rkey: Rkey(3),
            flags: 0,
            repost_of: Some(PostId { author: ActorId(5), rkey: Rkey(7) }),
        };
        assert_eq!(FeedRow::decode(&f.key(ActorId(1)), &f.encode()), Some((ActorId(1), f)));
    }
}
