//! Counters: one row for each target that has any, absolute numbers.

use super::EdgeKind;
use crate::schema::bytes::{ByteReader, push_varint};

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
    ordered: u32,
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
    /// Whether the fans of a kind are also kept in order of time.
    #[must_use]
    pub fn is_ordered(&self, kind: EdgeKind) -> bool {
        self.ordered & 1 << kind as u32 != 0
    }
    /// From now on they are.
    pub fn set_ordered(&mut self, kind: EdgeKind) {
        self.ordered |= 1 << kind as u32;
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
    /// The bytes: a bit for each counter that is not zero, then those, then the kinds that are ordered, if any.
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
            push_varint(&mut out, u64::from(self.ordered));
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
        if !r.is_empty() {
            row.ordered = u32::try_from(r.varint()?).ok()?;
        }
        Some(row)
    }
}
