//! Who gets how much of `store.memory_budget`: one table. What is held for strangers waits, goes to disk or is refused
//! beyond its share; the caches let go of what was not used for longest.
//!
//! # Invariants
//! - The shares are the whole budget; of a small one some have more than their part, since less would not do. What is in no
//!   share (the program, stacks, connections, what the allocator has not given back) is the third that a process may take
//!   beyond it.

/// Shares are counted in these.
const PARTS: u64 = 64;

/// The smallest budget that is divided; with less there is no server.
pub const LEAST: u64 = 64 << 20;

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Blocks of the store's files.
    Blocks,
    /// What was written and is not yet in files. The engine counts half of what it takes.
    Memtables,
    /// Rows that are read again and again.
    Rows,
    /// The repos of who writes.
    Repos,
    /// The counters of what is liked and followed.
    Counters,
    /// What liked posts have for a CID.
    Subjects,
    /// Names and their numbers; counted, not weighed.
    Names,
    /// What was made of accounts and posts; counted, not weighed.
    Accounts,
    /// Frames of upstreams that wait for a lane.
    Intake,
    /// Repos that are fetched: the blocks and the table of them.
    Fetches,
    /// Records of fetched repos on their way to the writer.
    Records,
    /// Pictures that are decoded and made smaller.
    Pictures,
    /// Their files, as they come.
    Files,
    /// Answers that their readers have not taken yet.
    Answers,
}

/// A row: its name for the operator, its parts of the budget, and the bytes that it has at least and at most, since less
/// would not do and more would not help.
struct Row {
    share: Share,
    name: &'static str,
    parts: u64,
    least: u64,
    most: u64,
}

const MB: u64 = 1 << 20;

const fn row(share: Share, name: &'static str, parts: u64) -> Row {
    Row { share, name, parts, least: 0, most: u64::MAX }
}

/// In the order of the status.
const TABLE: &[Row] = &[
    row(Share::Blocks, "block-cache", 13),
    row(Share::Memtables, "memtables", 16),
    row(Share::Rows, "row-cache", 5),
    row(Share::Repos, "repos", 2),
    row(Share::Counters, "counters", 2),
    row(Share::Subjects, "subjects", 1),
    row(Share::Names, "names", 3),
    row(Share::Accounts, "accounts", 3),
    Row { least: 8 * MB, most: 32 * MB, ..row(Share::Intake, "intake", 4) },
    Row { least: 6 * MB, most: 256 * MB, ..row(Share::Fetches, "fetches", 4) },
    Row { least: 8 * MB, most: 128 * MB, ..row(Share::Records, "records", 2) },
    // Two at a time of the largest size that they are made in, and a photograph of twelve megapixels, also a progressive one.
    Row { least: 80 * MB, most: 512 * MB, ..row(Share::Pictures, "pictures", 4) },
    Row { least: 12 * MB, most: 128 * MB, ..row(Share::Files, "picture-files", 2) },
    Row { least: 32 * MB, most: 512 * MB, ..row(Share::Answers, "answers", 3) },
];

impl Share {
    /// All, in the order of the status.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.share)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.share == self)
    }

    /// As in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// Its bytes of a budget.
    #[must_use]
    pub fn of(self, budget: u64) -> u64 {
        let part = |row: &Row| {
            (budget.max(LEAST) / PARTS).saturating_mul(row.parts).clamp(row.least, row.most)
        };
        self.row().map_or(0, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_budget_and_each_is_there_once() {
        assert_eq!(TABLE.iter().map(|row| row.parts).sum::<u64>(), PARTS);
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.share == row.share).count(), 1);
            assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1);
        }
        let sum = |budget| Share::all().map(|share| share.of(budget)).sum::<u64>();
        // The least of some is more than their part of a small budget.
        for budget in [256_000_000, 512_000_000, 1_000_000_000, 2_000_000_000, 8_000_000_000] {
            assert!(sum(budget) <= budget + 100 * MB, "{budget}");
        }
        assert_eq!(sum(2 << 30), (2 << 30) - 96 * MB, "no more than 32 MB of frames wait");
        assert_eq!(Share::Memtables.of(512_000_000), 128_000_000);
        assert_eq!(Share::Memtables.of(1), LEAST / 4);
    }
}
