//! The registry of tables: what rows there are, each kind with its name, its keyspace, what its keys begin with, the shape
//! of its keys, whether a row decodes, what it is there for, and whose it is.
//!
//! `db check` asks it whether a row decodes and whether anybody owns it, `db stats` what it is there for, and the saved
//! stores what they have rows of. The tables of this folder are here; those of folders above it stand with the code that
//! reads them and are joined to these in `work::tables`. What is in `private_1` is told apart by the registry of `private`.

use super::bytes::ByteReader;
use super::rows::{
    ActorRow, AggRow, EdgeKind, EdgeRow, FanRow, FeedRow, IdentityRow, LabelRow, NotifRow, Order,
    PostRow, RecordRow, RepoRow, VacatedRow,
};
use super::{CollId, RecordId, collections as c, cursors, days, names, plc};
use crate::store::{Ks, migrate};

/// What rows are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Likes.
    Like = 0,
    /// Reposts.
    Repost = 1,
    /// Follows.
    Follow = 2,
    /// Blocks.
    Block = 3,
    /// Posts: body, feed entry, place in threads, quotes and mentions.
    Post = 4,
    /// All other records, lists and their items among them.
    Record = 5,
    /// Labels.
    Label = 6,
    /// Notifications of members.
    Notification = 7,
    /// DIDs and their numbers, handles, repo state.
    Account = 8,
    /// Cursors, private rows, jobs.
    Other = 9,
    /// What the PLC directory's export says of DIDs.
    Directory = 10,
    /// The log of changes.
    Change = 11,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Like,
        Self::Repost,
        Self::Follow,
        Self::Block,
        Self::Post,
        Self::Record,
        Self::Label,
        Self::Notification,
        Self::Account,
        Self::Other,
        Self::Directory,
        Self::Change,
    ];

    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::Repost => "repost",
            Self::Follow => "follow",
            Self::Block => "block",
            Self::Post => "post",
            Self::Record => "record",
            Self::Label => "label",
            Self::Notification => "notification",
            Self::Account => "account",
            Self::Other => "other",
            Self::Directory => "directory",
            Self::Change => "change",
        }
    }

    fn of_collection(coll: CollId) -> Self {
        match coll {
            c::LIKE => Self::Like,
            c::REPOST => Self::Repost,
            c::FOLLOW => Self::Follow,
            c::BLOCK => Self::Block,
            c::POST => Self::Post,
            _ => Self::Record,
        }
    }
}

/// A part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// An account: four bytes.
    Actor,
    /// A record key: eight bytes.
    Rkey,
    /// A post: account and record key.
    Post,
    /// A record: account, collection and record key.
    Record,
    /// An account, a post or a record, with a byte that says which.
    Target,
    /// A time, newest first: six bytes.
    NewestFirst,
    /// One byte.
    Byte,
    /// Four bytes.
    Number,
    /// Eight bytes.
    Long,
    /// A record key or nothing.
    PerhapsRkey,
    /// Whatever is left.
    Rest,
}

impl Part {
    fn take(self, r: &mut ByteReader<'_>) -> Option<()> {
        match self {
            Self::Actor | Self::Number => r.u32().map(drop),
            Self::Rkey | Self::Long => r.u64().map(drop),
            Self::Post => r.post().map(drop),
            Self::Record => r.record().map(drop),
            Self::Target => r.target().map(drop),
            Self::NewestFirst => r.newest_first().map(drop),
            Self::Byte => r.u8().map(drop),
            Self::PerhapsRkey if r.is_empty() => Some(()),
            Self::PerhapsRkey => r.u64().map(drop),
            Self::Rest => r.take(r.rest().len()).map(drop),
        }
    }
}

/// What the bytes of rows are counted as.
#[derive(Clone, Copy)]
pub enum For {
    /// Always the same.
    All(Kind),
    /// By the key.
    Key(fn(&[u8]) -> Kind),
}

/// A kind of rows.
pub struct Table {
    /// Its name, which no other has.
    pub name: &'static str,
    /// The folder whose code reads and writes it.
    pub owner: &'static str,
    /// Where it is.
    pub ks: Ks,
    /// What its keys begin with, and no other key there does.
    pub tag: &'static [u8],
    /// What follows in a key.
    pub key: &'static [Part],
    /// Whether a row decodes, by its whole key and its value.
    pub decodes: fn(&[u8], &[u8]) -> bool,
    /// What it is there for.
    pub is_for: For,
    /// Whether each row is one of those that are counted: not what follows from another row.
    pub counted: bool,
}

impl Table {
    /// Whether the row is whole.
    #[must_use]
    pub fn is_whole(&self, key: &[u8], value: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.tag) else { return false };
        let mut r = ByteReader::new(rest);
        let shaped = self.key.iter().all(|part| part.take(&mut r).is_some()) && r.is_empty();
        shaped && (self.decodes)(key, value)
    }

    /// What the row is there for.
    #[must_use]
    pub fn kind(&self, key: &[u8]) -> Kind {
        match self.is_for {
            All(kind) => kind,
            Key(of) => of(key),
        }
    }
}

/// All tables, to look up whose a row is.
pub struct Registry(Vec<Vec<&'static Table>>);

impl Registry {
    /// Joins lists of tables.
    #[must_use]
    pub fn new(lists: &[&'static [Table]]) -> Self {
        let of = |ks: &Ks| lists.iter().copied().flatten().filter(|t| t.ks == *ks).collect();
        Self(Ks::ALL.iter().map(of).collect())
    }

    /// Every table.
    #[cfg(test)]
    pub fn tables(&self) -> impl Iterator<Item = &'static Table> {
        self.0.iter().flatten().copied()
    }

    /// The table of a row.
    #[must_use]
    pub fn of(&self, ks: Ks, key: &[u8]) -> Option<&'static Table> {
        self.0.get(ks as usize)?.iter().copied().find(|table| key.starts_with(table.tag))
    }
}

/// A table, from its name and owner, its place, its key, what decodes it, and what it is for.
macro_rules! table {
    ($name:literal, $owner:literal, $ks:ident $tag:expr, $key:expr, $decodes:expr, $for:expr $(, $counted:ident)?) => {
        Table {
            name: $name,
            owner: $owner,
            ks: Ks::$ks,
            tag: $tag,
            key: $key,
            decodes: $decodes,
            is_for: $for,
            counted: table!(@ $($counted)?),
        }
    };
    (@) => { false };
    (@ counted) => { true };
}
pub(crate) use table;

use For::{All, Key};
use Part::{Actor, Byte, NewestFirst, Number, PerhapsRkey, Post, Record, Rest, Rkey, Target};

const OTHER: For = All(Kind::Other);
const ACCOUNT: For = All(Kind::Account);

fn edge(key: &[u8], value: &[u8]) -> bool {
    EdgeRow::decode(key, value).is_some()
}

fn fan(key: &[u8], value: &[u8]) -> bool {
    let target = key.get(1..).and_then(|key| ByteReader::new(key).target());
    target.and_then(|target| FanRow::decode(target, value)).is_some()
}

fn name(key: &[u8], value: &[u8]) -> bool {
    names::counterpart(key, value).is_some()
}

fn cursor(key: &[u8], value: &[u8]) -> bool {
    cursors::decodes(key, value).unwrap_or(false)
}

fn any(_: &[u8], _: &[u8]) -> bool {
    true
}

fn four(_: &[u8], value: &[u8]) -> bool {
    value.len() == 4
}

fn eight(_: &[u8], value: &[u8]) -> bool {
    value.len() == 8
}

/// An edge one way and the other.
macro_rules! edges {
    ($($kind:ident $to:literal $from:literal $of:ident;)*) => {
        /// Edges, by kind.
        pub static EDGES: &[Table] = &[$(
            table!($to, "schema", Fwd &[EdgeKind::$kind as u8], &[Actor, Rkey], edge, All(Kind::$of), counted),
            table!($from, "schema", Rev &[EdgeKind::$kind as u8], &[Target, Actor, PerhapsRkey], fan, All(Kind::$of)),
        )*];
    };
}

edges! {
    Like "likes" "liked by" Like;
    Repost "reposts" "reposted by" Repost;
    Follow "follows" "followed by" Follow;
    Block "blocks" "blocked by" Block;
    ListBlock "list blocks" "list blocked by" Record;
    ListItem "list items" "lists by member" Record;
    Verification "verifications" "verified by" Record;
}

/// The tables of this folder and of `store`, but for [`EDGES`].
pub static TABLES: &[Table] = &[
    table!("format", "store", Meta b"format", &[Rest], |k, v| migrate::decodes(k, v) == Some(true), OTHER),
    table!("sequences of numbers", "schema", Meta b"next-", &[Rest], eight, OTHER),
    table!("firehose cursors", "schema", Meta b"u", &[Rest], cursor, OTHER),
    table!("jetstream cursors", "schema", Meta b"j", &[Rest], cursor, OTHER),
    table!("labeler cursors", "schema", Meta b"l", &[Rest], cursor, OTHER),
    table!("gaps", "schema", Meta b"g", &[Rest], cursor, OTHER),
    table!("days of accounts", "schema", Meta & [days::TAG], &[Number], days::decodes, ACCOUNT),
    table!("directory cursors", "schema", Meta b"e", &[Rest], |k, v| plc::meta_decodes(k, v) == Some(true), OTHER),
    table!("DIDs", "schema", Names b"d", &[Rest], name, ACCOUNT),
    table!("DIDs by number", "schema", Names b"D", &[Actor], name, ACCOUNT, counted),
    table!("record keys", "schema", Names b"k", &[Rest], name, ACCOUNT),
    table!("record keys by number", "schema", Names b"K", &[Rkey], name, ACCOUNT),
    table!("collections", "schema", Names b"c", &[Rest], name, ACCOUNT),
    table!("collections by number", "schema", Names b"C", &[Number], name, ACCOUNT),
    table!("accounts", "schema", Actor b"a", &[Actor], |_, v| ActorRow::decode(v).is_some(), ACCOUNT),
    table!("repos", "schema", Actor b"r", &[Actor], |_, v| RepoRow::decode(v).is_some(), ACCOUNT),
    table!("identities", "schema", Actor b"i", &[Actor], |_, v| IdentityRow::decode(v).is_some(), ACCOUNT),
    table!("handles", "schema", Actor b"h", &[Rest], four, ACCOUNT),
    table!("posts", "schema", Post b"", &[Post], |_, v| PostRow::decode(v).is_some(), All(Kind::Post), counted),
    table!("records", "schema", Record b"", &[Record], |_, v| RecordRow::decode(v).is_some(), Key(of_record), counted),
    table!(
        "replies",
        "schema",
        Order & [Order::Replies as u8],
        &[Target, NewestFirst, Post],
        |_, v| v.len() == 1,
        All(Kind::Post)
    ),
    table!(
        "quotes",
        "schema",
        Order & [Order::Quotes as u8],
        &[Target, NewestFirst, Post],
        any,
        All(Kind::Post)
    ),
    table!(
        "mentions",
        "schema",
        Order & [Order::Mentions as u8],
        &[Target, NewestFirst, Post],
        any,
        All(Kind::Post)
    ),
    table!(
        "list members by time",
        "schema",
        Order & [Order::Items as u8],
        &[Target, NewestFirst, Rkey],
        four,
        All(Kind::Record)
    ),
    table!(
        "joined through starter packs",
        "schema",
        Order & [Order::Joined as u8],
        &[Target, NewestFirst, Actor],
        any,
        All(Kind::Post)
    ),
    table!(
        "made through reposts",
        "schema",
        Order & [Order::Via as u8],
        &[Target, NewestFirst, Actor, Byte, Rkey],
        any,
        All(Kind::Post)
    ),
    table!(
        "notifications of records",
        "schema",
        Order & [Order::Notices as u8],
        &[Record, NewestFirst, Actor, Byte],
        |k, _| NotifRow::from_trace(k).is_some(),
        All(Kind::Notification)
    ),
    table!(
        "deleted replies to oneself",
        "schema",
        Order & [Order::Vacated as u8],
        &[Target, Rkey],
        |_, v| VacatedRow::decode(v).is_some(),
        All(Kind::Post)
    ),
    table!(
        "likes by time",
        "schema",
        Order & [EdgeKind::Like as u8],
        &[Target, NewestFirst, Actor],
        eight,
        All(Kind::Like)
    ),
    table!(
        "reposts by time",
        "schema",
        Order & [EdgeKind::Repost as u8],
        &[Target, NewestFirst, Actor],
        eight,
        All(Kind::Repost)
    ),
    table!(
        "followers by time",
        "schema",
        Order & [EdgeKind::Follow as u8],
        &[Target, NewestFirst, Actor],
        eight,
        All(Kind::Follow)
    ),
    table!("feeds of accounts", "schema", Feed b"", &[Actor, NewestFirst, Byte, Rkey], |k, v| FeedRow::decode(k, v).is_some(), Key(of_feed)),
    // Likes by far, and a repost finds the row that a like made.
    table!("CIDs of subjects", "schema", Cid b"", &[Target], |_, v| v.len() == 32, All(Kind::Like)),
    // By what they count: see `stats`.
    table!("counters", "schema", Agg b"", &[Target], |_, v| AggRow::decode(v).is_some(), OTHER),
    table!("labels", "schema", Label b"", &[Target], |_, v| LabelRow::decode_all(v).is_some(), All(Kind::Label)),
    table!("notifications", "schema", Notif b"", &[Rest], |k, v| NotifRow::decode(k, v).is_some(), All(Kind::Notification), counted),
    table!(
        "directory: did:plc",
        "schema",
        Plc & [1],
        &[Rest],
        plc::decodes,
        All(Kind::Directory),
        counted
    ),
    table!(
        "directory: other DIDs",
        "schema",
        Plc & [0],
        &[Rest],
        plc::decodes,
        All(Kind::Directory),
        counted
    ),
    table!("directory: hosts", "schema", Plc b"h", &[Rest], plc::decodes, All(Kind::Directory)),
    table!("directory: hosts by number", "schema", Plc b"H", &[Number], plc::decodes, All(Kind::Directory)),
    table!("directory: rotation keys", "schema", Plc b"r", &[Rest], plc::decodes, All(Kind::Directory)),
    table!("directory: rotation keys by number", "schema", Plc b"R", &[Number], plc::decodes, All(Kind::Directory)),
];

fn of_record(key: &[u8]) -> Kind {
    RecordId::from_bytes(key).map_or(Kind::Record, |id| Kind::of_collection(id.coll))
}

/// Account, six bytes of time, then whether it is a repost.
fn of_feed(key: &[u8]) -> Kind {
    if key.get(10) == Some(&1) { Kind::Repost } else { Kind::Post }
}
