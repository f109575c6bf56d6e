//! Keys and values of the keyspaces: what a row holds and its bytes. Frozen once released: the saved
//! database in `tests/fixtures` must open and read the same for ever.
//!
//! Times are milliseconds since the epoch. In values they are differences to the time in the record key
//! (a TID), which is nearly always zero or small.

pub use super::edges::{EdgeRow, FanRow, SubjectCid};
use super::ids::{
    ActorId, ByteReader, CollId, Key, PostId, RecordId, Rkey, Target, push_blob, push_varint,
    push_zigzag,
};

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
        use super::collections as c;
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
        use super::collections as c;
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
    fn from_u8(v: u8) -> Option<Self> {
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
}

impl ActorRow {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.status as u8];
        push_zigzag(&mut out, self.indexed);
        push_zigzag(&mut out, self.handle_checked);
        push_blob(&mut out, self.handle.as_deref().unwrap_or_default().as_bytes());
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self {
            status: AccountStatus::from_u8(r.u8()?)?,
            indexed: r.zigzag()?,
            handle_checked: r.zigzag()?,
            handle: Some(r.str()?).filter(|s| !s.is_empty()).map(str::to_owned),
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
}

/// A post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRow {
    /// See [`post_flags`].
    pub flags: u16,
    /// SHA-256 of the record.
    pub cid: [u8; 32],
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
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.cid);
        push_zigzag(&mut out, self.sort_delta);
        out.extend_from_slice(&self.packed);
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self {
            flags: u16::from_be_bytes(r.array()?),
            cid: r.array()?,
            sort_delta: r.zigzag()?,
            packed: r.rest().to_vec(),
        })
    }
}

/// A record that has no keyspace of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// SHA-256 of the record.
    pub cid: [u8; 32],
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
        out.extend_from_slice(&self.cid);
        out.push(u8::from(self.valid));
        push_zigzag(&mut out, self.indexed);
        push_zigzag(&mut out, self.indexed.saturating_sub(self.sort));
        out.extend_from_slice(&self.packed);
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let cid = r.array()?;
        let valid = r.u8()? != 0;
        let indexed = r.zigzag()?;
        let sort = indexed.saturating_sub(r.zigzag()?);
        Some(Self { cid, indexed, sort, valid, packed: r.rest().to_vec() })
    }
}

/// Counters of a target. A slot means one thing for records and another for accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Counter {
    /// Likes of a record.
    Likes = 0,
    /// Reposts of a post.
    Reposts = 1,
    /// Replies to a post that its thread gate allows.
    Replies = 2,
    /// Quotes of a post.
    Quotes = 3,
    /// Items of a list.
    Items = 4,
    /// Accounts that joined through a starter pack.
    Joined = 5,
    /// Accounts that follow this one.
    Followers = 6,
    /// Accounts that this one follows.
    Follows = 7,
    /// Posts of an account, replies included.
    Posts = 8,
    /// Lists of an account.
    Lists = 9,
    /// Feed generators of an account.
    Feeds = 10,
    /// Starter packs of an account.
    StarterPacks = 11,
    /// Bookmarks of a post.
    Bookmarks = 12,
    /// Replies to a post that its thread gate forbids.
    ForbiddenReplies = 13,
}

/// How many counters there are.
pub const COUNTERS: usize = 14;

/// The counters of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggRow {
    counts: [u64; COUNTERS],
    /// Bit of each [`EdgeKind`] whose fans are also kept in order of time.
    pub ordered: u8,
}

impl AggRow {
    /// One counter.
    #[must_use]
    pub fn get(&self, c: Counter) -> u64 {
        self.counts.get(c as usize).copied().unwrap_or(0)
    }
    /// Adds to a counter; it never goes below zero.
    pub fn add(&mut self, c: Counter, by: i64) {
        if let Some(v) = self.counts.get_mut(c as usize) {
            *v = v.saturating_add_signed(by);
        }
    }
    /// Sets a counter.
    pub fn set(&mut self, c: Counter, to: u64) {
        if let Some(v) = self.counts.get_mut(c as usize) {
            *v = to;
        }
    }
    /// Whether a post has replies, allowed or not.
    #[must_use]
    pub fn has_replies(&self) -> bool {
        self.get(Counter::Replies) + self.get(Counter::ForbiddenReplies) > 0
    }
    /// Whether everything is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
    /// The bytes: a bit for each counter that is not zero, then those.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        let bits = self
            .counts
            .iter()
            .zip(0u32..)
            .filter(|(c, _)| **c != 0)
            .fold(0u64, |b, (_, i)| b | 1 << i);
        push_varint(&mut out, bits);
        for c in self.counts.iter().filter(|c| **c != 0) {
            push_varint(&mut out, *c);
        }
        if self.ordered != 0 {
            out.push(self.ordered);
        }
        out
    }
    /// Reads the bytes.
    #[must_use]
    pub fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let bits = r.varint()?;
        let mut row = Self::default();
        for (c, i) in row.counts.iter_mut().zip(0u32..) {
            if bits & (1 << i) != 0 {
                *c = r.varint()?;
            }
        }
        row.ordered = r.u8().unwrap_or(0);
        Some(row)
    }
}

/// A label on a target (`com.atproto.label.defs#label`), as its labeler signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRow {
    /// The labeler.
    pub src: ActorId,
    /// The value.
    pub val: String,
    /// The version of the record it is meant for; empty for any.
    pub cid: String,
    /// When it was made, as written.
    pub cts: String,
    /// When it ends, as written; empty for never.
    pub exp: String,
    /// Takes the label back.
    pub neg: bool,
    /// The signature; empty if there was none.
    pub sig: Vec<u8>,
}

impl LabelRow {
    /// Reads all labels of a target.
    #[must_use]
    pub fn decode_all(b: &[u8]) -> Option<Vec<Self>> {
        let mut r = ByteReader::new(b);
        let mut out = Vec::new();
        while !r.is_empty() {
            out.push(Self {
                src: r.actor()?,
                neg: r.u8()? != 0,
                val: r.str()?.to_owned(),
                cid: r.str()?.to_owned(),
                cts: r.str()?.to_owned(),
                exp: r.str()?.to_owned(),
                sig: r.blob()?.to_vec(),
            });
        }
        Some(out)
    }
    /// The bytes of all labels of a target.
    #[must_use]
    pub fn encode_all(rows: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        for l in rows {
            out.extend_from_slice(&l.src.0.to_be_bytes());
            out.push(u8::from(l.neg));
            for s in [&l.val, &l.cid, &l.cts, &l.exp] {
                push_blob(&mut out, s.as_bytes());
            }
            push_blob(&mut out, &l.sig);
        }
        out
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
        use super::collections as c;
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
    fn rows_come_back() {
        let target = Target::Post(PostId { author: ActorId(5), rkey: Rkey(77) });
        let p = PostRow { flags: 0x0102, cid: [3; 32], sort_delta: -9, packed: vec![1, 2, 3] };
        assert_eq!(PostRow::decode(&p.encode()), Some(p));
        let r = RecordRow { cid: [3; 32], indexed: 1000, sort: 900, valid: true, packed: vec![1] };
        assert_eq!(RecordRow::decode(&r.encode()), Some(r));
        let a = ActorRow {
            status: AccountStatus::Deleted,
            handle: Some("a.b".into()),
            handle_checked: 5,
            indexed: 6,
        };
        assert_eq!(ActorRow::decode(&a.encode()), Some(a));
        for (resync, whole) in [(None, None), (Some(8), None), (None, Some(5)), (Some(8), Some(5))]
        {
            let r = RepoRow { rev: 7, data: [1; 32], resync, whole };
            assert_eq!(RepoRow::decode(&r.encode()), Some(r));
        }
        let mut g = AggRow::default();
        g.add(Counter::Quotes, 300);
        g.add(Counter::Followers, 2);
        g.add(Counter::Likes, -1);
        g.ordered = 6;
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
        let f = FeedRow {
            sort: 9,
            rkey: Rkey(3),
            flags: 0,
            repost_of: Some(PostId { author: ActorId(5), rkey: Rkey(7) }),
        };
        assert_eq!(FeedRow::decode(&f.key(ActorId(1)), &f.encode()), Some((ActorId(1), f)));
    }

    #[test]
    fn every_reason_has_a_number_and_a_name() {
        for (r, n) in Reason::ALL {
            assert_eq!((Reason::from_u8(r as u8), r.name()), (Some(r), n));
        }
    }
}
