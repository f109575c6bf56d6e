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

use crate::schema::Target;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{AggRow, Counter};
use crate::schema::tables::{Registry, Table};
use crate::store::{Ks, Reader, Store, StoreError};

pub use super::tables::Kind;

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
    /// How many there are: records, labels, notifications, accounts, DIDs; 0 for [`Kind::Other`].
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

/// Counts and weighs every row by its table. `progress` hears now and then how many rows of a keyspace were read.
pub fn stats(
    store: &Store,
    tables: &Registry,
    progress: &mut dyn FnMut(Ks, u64),
) -> Result<Stats, StoreError> {
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
            weigh(tables.of(ks, k), k, v, &mut weights, &mut counts);
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
    table: Option<&Table>,
    k: &[u8],
    v: &[u8],
    weights: &mut [u64; KINDS],
    counts: &mut [u64; KINDS],
) {
    let len = (k.len() + v.len()) as u64;
    if table.is_some_and(|table| table.ks == Ks::Agg) {
        return weigh_counters(k, v, len, weights);
    }
    let kind = table.map_or(Kind::Other, |table| table.kind(k));
    if let Some(w) = weights.get_mut(kind as usize) {
        *w += len;
    }
    let count = match table {
        // A kept edge is counted in `edge_fwd`.
        Some(Table { ks: Ks::Record, .. }) => u64::from(kind == Kind::Record),
        // A row for each subject.
        Some(Table { ks: Ks::Label, .. }) => {
            super::rows::LabelRow::decode_all(v).map_or(0, |labels| labels.len() as u64)
        }
        table => u64::from(table.is_some_and(|table| table.counted)),
    };
    if let Some(n) = counts.get_mut(kind as usize) {
        *n += count;
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
        let stats = stats(&w.store, &crate::work::tables::registry(), &mut |_, _| {}).unwrap();
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
