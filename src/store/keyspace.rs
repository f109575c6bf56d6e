//! The table of keyspaces: name and tuning, in one row each. Opening goes through it, so a keyspace cannot
//! be half registered. Options are frozen by the engine when a keyspace is made: a store keeps the tuning that it began
//! with, which every version reads. Changed rows need a new name (the `_1` suffix) and a migration.
//!
//! A row that no cache has costs its block, unpacked whole: with blocks of 16 KB that was a quarter of all that a thread
//! cost which nobody read lately. Smaller ones pack less well: a post takes 243 bytes in blocks of 16 KB, 249 of 10,
//! 252 of 8, 265 of 4. Other single rows are small or few, and lose nothing that counts. Every eighth key whole instead
//! of every sixteenth even packs a little better and halves the looking.

use std::sync::Arc;

use fjall::KeyspaceCreateOptions;
use fjall::compaction::Leveled;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    RestartIntervalPolicy,
};

macro_rules! keyspaces {
    ($($variant:ident $name:literal $tuning:expr, $doc:literal;)*) => {
        /// A keyspace of the store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Ks { $(#[doc = $doc] $variant,)* }

        impl Ks {
            /// Every keyspace, in the order of the table.
            pub const ALL: &[Ks] = &[$(Ks::$variant,)*];
            /// The name on disk.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Ks::$variant => $name,)* }
            }
            pub(super) fn tuning(self) -> Tuning {
                match self { $(Ks::$variant => $tuning,)* }
            }
        }
    };
}

keyspaces! {
    Meta   "meta_1"     Tuning::small(),   "Cursors, schema version, sequences, repos waiting for a resync.";
    Names  "names_1"    Tuning::point(4).weighing(2), "DID, record key and collection strings, both ways.";
    Actor  "actor_1"    Tuning::point(4).weighing(8), "Per account: profile state, repo state, identity; handle to account.";
    Post   "post_1"     Tuning::point(10).weighing(8), "Post to flags and packed record, and to its CID where the record does not give it.";
    Fwd    "edge_fwd_2" Tuning::edges().weighing(8), "kind, actor, rkey to target: deletes, own likes, follows in order.";
    Rev    "edge_rev_2" Tuning::fans().weighing(8), "kind, target, actor to rkey: uniqueness, viewer state, fans.";
    Order  "order_1"    Tuning::scan().weighing(2), "Replies, quotes, mentions, list items, and the fans of the popular, by time.";
    Feed   "feed_1"     Tuning::scan().weighing(3), "actor, newest first, posts and reposts.";
    Cid    "subject_cid_1" Tuning::point(4), "Target to the CID that edges on it agree on, where no row of the subject gives it.";
    Agg    "agg_1"      Tuning::point(4).weighing(4), "Target to absolute counters.";
    Record "record_1"   Tuning::point(4).weighing(4), "Every other record.";
    Label  "label_1"    Tuning::point(4), "Target to its labels, negations included.";
    Notif  "notif_1"    Tuning::scan().weighing(2), "viewer, newest first, author, reason, rkey to subject.";
    Private "private_1" Tuning::small(),   "What exists nowhere else: mutes, seen times, takedowns, members.";
    Jobs   "jobs_1"     Tuning::small(),   "Work that is due at some time: notifications to push, repos to fetch, lists of repos to read.";
    Plc    "plc_1"      Tuning::point(8).weighing(2), "DID to what the PLC directory's export says of it; PDS hosts, both ways.";
    Events "events_1"   Tuning::log().weighing(2), "The log of changes: number of the first to up to 512 changes in columns.";
}

/// Tags of keys that [`Ks::group`] knows; `schema` has them under names of their own.
mod tag {
    pub(super) const LIKE: u8 = 1;
    pub(super) const REPOST: u8 = 2;
    pub(super) const LIST_ITEM: u8 = 6;
    pub(super) const REPLIES: u8 = 0x40;
    pub(super) const LIST_OPT_OUT: u32 = 23;
}

impl Ks {
    /// What the key of a repo begins with, in [`Ks::Actor`].
    pub(super) const REPOS: u8 = b'r';

    /// The group of rows that a row is part of, by the beginning of their keys: what a cache may keep as a whole and forgets
    /// when any row of it changes. These are the replies to a post, what an account likes or reposts, the members of a
    /// list, the lists that an account asks not to be on (by the beginning of its records' keys), the labels on
    /// everything of an account (by its number), and its notifications.
    #[must_use]
    pub fn group(self, key: &[u8]) -> Option<&[u8]> {
        let first = *key.first()?;
        match self {
            // Behind the tag: another for posts, and the post.
            Ks::Order if first == tag::REPLIES => key.get(..14),
            Ks::Fwd if [tag::LIKE, tag::REPOST].contains(&first) => key.get(..5),
            // Lists are records.
            Ks::Rev if first == tag::LIST_ITEM => key.get(..18),
            Ks::Record if key.get(4..8) == Some(&tag::LIST_OPT_OUT.to_be_bytes()) => key.get(..8),
            Ks::Label => key.get(1..5),
            Ks::Notif => key.get(..4),
            _ => None,
        }
    }
}

/// How a keyspace is laid out on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    block: u32,
    /// Every how many rows a key is whole; looking for one in a block begins there.
    restart: u8,
    /// Bits of the filter for a key.
    bloom: Option<f32>,
    /// How much of the memory for what is not yet in files it is worth.
    pub(super) weight: u64,
}

/// Bytes of a file. Merges go file by file, so this is also about a tenth of what one rewrites at most, while the only
/// thread for that does nothing else.
const FILE: u64 = 24 << 20;

impl Tuning {
    /// The more is written to it and the bigger it gets, the more it saves to merge it less often.
    const fn weighing(self, weight: u64) -> Self {
        Self { weight, ..self }
    }
    const fn small() -> Self {
        Self { block: 4096, restart: 8, bloom: Some(10.0), weight: 1 }
    }
    const fn point(kib: u32) -> Self {
        Self { block: kib * 1024, restart: 8, bloom: Some(10.0), weight: 1 }
    }
    const fn scan() -> Self {
        Self { block: 8192, restart: 8, bloom: None, weight: 1 }
    }
    /// Only deletes look for one row, and rows are so small that a filter would be a fifteenth of them.
    const fn edges() -> Self {
        Self { block: 16 * 1024, restart: 16, bloom: None, weight: 1 }
    }
    /// Rows of kilobytes that come in order, are read in order and go in order.
    const fn log() -> Self {
        Self { block: 32 * 1024, restart: 16, bloom: None, weight: 1 }
    }
    const fn fans() -> Self {
        Self { block: 8192, restart: 16, bloom: Some(8.0), weight: 1 }
    }

    /// With `memtable` the engine moves a memtable to a file by itself; the store does so before (`Store::commit`).
    pub(super) fn options(self, memtable: u64) -> KeyspaceCreateOptions {
        let filter = match self.bloom {
            Some(bits) => FilterPolicy::all(FilterPolicyEntry::Bloom(
                BloomConstructionPolicy::BitsPerKey(bits),
            )),
            None => FilterPolicy::disabled(),
        };
        KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .max_memtable_size(memtable)
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(FILE)))
            .data_block_restart_interval_policy(RestartIntervalPolicy::all(self.restart))
            .data_block_size_policy(BlockSizePolicy::all(self.block))
            .data_block_compression_policy(CompressionPolicy::all(fjall::CompressionType::Lz4))
            .filter_policy(filter)
    }
}
