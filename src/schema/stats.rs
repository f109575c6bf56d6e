//! What the store takes on disk, and what of it a like, a follow or a post costs.
//!
//! # Method
//! The engine knows the bytes on disk of a keyspace, not of a row, and a keyspace holds rows of several kinds. So
//! every row is read once, and the bytes on disk of its keyspace are shared out by the length of key and value. That
//! is exact where a keyspace holds one kind; elsewhere it takes the kinds to compress alike, which is not quite so:
//! neighbours that share a long prefix (the fans of one post) cost less than their share says, rows of digests more.
//! A row of counters is split evenly between the kinds that it counts. Bytes in journals and memtables belong to
//! nobody, and what compaction has not dropped yet is shared out with the rest: the figures are those of a store at
//! rest only after [`Store::compact`].

use crate::schema::bytes::ByteReader;
use crate::schema::rows::{AggRow, Counter, EdgeKind, Order};
use crate::schema::{CollId, RecordId, Target, collections as c};
use crate::store::{Ks, Reader, Store, StoreError};

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

    fn of_edge(tag: Option<&u8>) -> Self {
        let tag = tag.copied().unwrap_or_default();
        [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block]
            .into_iter()
            .find(|k| *k as u8 == tag)
            .map_or(Self::Record, |k| Self::of_collection(k.collection()))
    }
}

/// One keyspace.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Which.
    pub ks: Ks,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub logical: u64,
    /// Bytes on disk, without journals.
    pub disk: u64,
}

/// What one kind takes, over all keyspaces.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Which.
    pub kind: Kind,
    /// How many there are: records, labels, notifications, accounts, DIDs; 0 for [`Kind::Other`] and
    /// [`Kind::Change`], rows of which hold many.
    pub count: u64,
    /// Bytes on disk.
    pub disk: u64,
}

impl Share {
    /// Bytes on disk of each.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn each(&self) -> Option<f64> {
        (self.count > 0).then(|| self.disk as f64 / self.count as f64)
    }
}

/// The figures.
#[derive(Debug, Clone)]
pub struct Stats {
    /// By keyspace.
    pub spaces: Vec<Space>,
    /// By kind, in the order of [`Kind::ALL`].
    pub shares: Vec<Share>,
    /// Bytes of journals.
    pub journals: u64,
}

impl Stats {
    /// Bytes on disk, journals included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.spaces.iter().map(|s| s.disk).sum::<u64>() + self.journals
    }
}

const KINDS: usize = Kind::ALL.len();

/// Counts and weighs every row. `progress` hears now and then how many rows of a keyspace were read.
pub fn stats(store: &Store, progress: &mut dyn FnMut(Ks, u64)) -> Result<Stats, StoreError> {
    let (disk, journals) = store.files()?;
    let snapshot = store.snapshot();
    let mut spaces = Vec::new();
    let mut counts = [0u64; KINDS];
    let mut bytes = [0u64; KINDS];
    for (ks, disk) in disk {
        let mut rows = 0u64;
        let mut weights = [0u64; KINDS];
        let mut logical = 0;
        snapshot.scan(ks, &[], None, false, &mut |k, v| {
            if rows.is_multiple_of(4096) {
                progress(ks, rows);
            }
            rows += 1;
            let len = (k.len() + v.len()) as u64;
            logical += len;
            weigh(ks, k, v, len, &mut weights, &mut counts);
            true
        })?;
        progress(ks, rows);
        let weight: u64 = weights.iter().sum();
        for (sum, w) in bytes.iter_mut().zip(weights) {
            let share = u128::from(disk) * u128::from(w) / u128::from(weight.max(1));
            *sum += u64::try_from(share).unwrap_or(u64::MAX);
        }
        spaces.push(Space { ks, rows, logical, disk });
    }
    let shares = Kind::ALL
        .into_iter()
        .zip(counts.into_iter().zip(bytes))
        .map(|(kind, (count, disk))| Share { kind, count, disk })
        .collect();
    Ok(Stats { spaces, shares, journals })
}

/// Adds a row to the weights of its kinds, and counts it if it is the one row that each of a kind has.
fn weigh(
    ks: Ks,
    k: &[u8],
    v: &[u8],
    len: u64,
    weights: &mut [u64; KINDS],
    counts: &mut [u64; KINDS],
) {
    if ks == Ks::Agg {
        return weigh_counters(k, v, len, weights);
    }
    let kind = kind(ks, k);
    if let Some(w) = weights.get_mut(kind as usize) {
        *w += len;
    }
    let counted = match ks {
        Ks::Fwd | Ks::Post | Ks::Notif => true,
        // A kept edge is counted in `edge_fwd`.
        Ks::Record => kind == Kind::Record,
        Ks::Names => k.first() == Some(&b'D'),
        Ks::Plc => matches!(k.first(), Some(0 | 1)),
        _ => false,
    };
    if let Some(n) = counts.get_mut(kind as usize) {
        if counted {
            *n += 1;
        } else if ks == Ks::Label {
            *n += super::rows::LabelRow::decode_all(v).map_or(0, |l| l.len() as u64);
        }
    }
}

fn kind(ks: Ks, k: &[u8]) -> Kind {
    match ks {
        Ks::Meta | Ks::Private | Ks::Jobs => Kind::Other,
        Ks::Names | Ks::Actor => Kind::Account,
        Ks::Plc => Kind::Directory,
        Ks::Events => Kind::Change,
        Ks::Post => Kind::Post,
        Ks::Fwd | Ks::Rev => Kind::of_edge(k.first()),
        Ks::Order => match k.first() {
            Some(t) if *t == Order::Items as u8 => Kind::Record,
            Some(t) if *t >= Order::Replies as u8 => Kind::Post,
            t => Kind::of_edge(t),
        },
        // Account, six bytes of time, then whether it is a repost.
        Ks::Feed if k.get(10) == Some(&1) => Kind::Repost,
        Ks::Feed => Kind::Post,
        // Likes by far, and a repost finds the row that a like made.
        Ks::Cid => Kind::Like,
        Ks::Record => RecordId::from_bytes(k).map_or(Kind::Record, |r| Kind::of_collection(r.coll)),
        Ks::Label => Kind::Label,
        Ks::Notif => Kind::Notification,
        Ks::Agg => Kind::Other,
    }
}

fn weigh_counters(k: &[u8], v: &[u8], len: u64, weights: &mut [u64; KINDS]) {
    let actor = matches!(ByteReader::new(k).target(), Some(Target::Actor(_)));
    let Some(row) = AggRow::decode(v) else { return };
    let of = [
        (Counter::Likes, Kind::Like),
        (Counter::Reposts, Kind::Repost),
        (Counter::Replies, Kind::Post),
        (Counter::Quotes, Kind::Post),
        (Counter::Followers, Kind::Follow),
        (Counter::Follows, Kind::Follow),
        (Counter::Posts, Kind::Post),
    ];
    let mut kinds: Vec<Kind> =
        of.into_iter().filter(|(c, _)| row.get(*c) > 0).map(|(_, k)| k).collect();
    kinds.dedup();
    if kinds.is_empty() {
        kinds.push(if actor { Kind::Account } else { Kind::Record });
    }
    let each = len / kinds.len() as u64;
    for kind in kinds {
        if let Some(w) = weights.get_mut(kind as usize) {
            *w += each;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::{POST, World, follow, like, post, uri};

    #[tokio::test]
    async fn every_byte_on_disk_has_an_owner() {
        let mut w = World::new();
        w.commit("a", (0..300).map(post).collect::<Vec<_>>()).await;
        let likes: Vec<_> = (0..200).map(|n| like(1000 + n, &uri("a", POST, n))).collect();
        w.commit("b", likes).await;
        w.commit("c", [follow(1, "a"), follow(2, "b")]).await;
        let mut compacted = Vec::new();
        w.store.compact(|ks| compacted.push(ks)).unwrap();
        assert_eq!(compacted, Ks::ALL);
        let stats = stats(&w.store, &mut |_, _| {}).unwrap();
        let share = |kind| stats.shares.iter().find(|s| s.kind == kind).unwrap();
        let counts = [Kind::Post, Kind::Like, Kind::Follow, Kind::Account].map(|k| share(k).count);
        assert_eq!(counts, [300, 200, 2, 3]);
        let (by_space, by_kind) = (
            stats.spaces.iter().map(|s| s.disk).sum::<u64>(),
            stats.shares.iter().map(|s| s.disk).sum::<u64>(),
        );
        assert!(by_kind <= by_space && by_space - by_kind < 2000, "{by_kind} of {by_space}");
        assert!(share(Kind::Post).each().unwrap() > 1.0 && share(Kind::Like).each().unwrap() > 1.0);
        assert_eq!(share(Kind::Repost).each(), None);
        assert!(stats.total() >= by_space);
    }
}
