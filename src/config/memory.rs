//! Who gets how much of `store.memory_budget`: one table. What is held for strangers waits, goes to disk or is refused
//! beyond its share; the caches let go of what was not used for longest.
//!
//! What has a least that a small budget's part would not reach (a picture cannot be made smaller in less) takes it from the
//! others, which do with less as well as with more.
//!
//! # Invariants
//! - The shares are the whole budget, down to 330 MB; below it the leasts are more, of which pictures are half. What is in
//!   no share (the program, stacks, connections, what the allocator has not given back) is the fifth that a process may
//!   take beyond it.

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
    /// Names and their numbers.
    Names,
    /// Keys that commits were signed with, as lanes keep them; counted at [`KEY`] each.
    Keys,
    /// Documents and handles; counted at [`IDENTITY`] for both.
    Identities,
    /// What was made of accounts and posts; counted at [`ACCOUNT`] for all of one account.
    Accounts,
    /// The open batch of the writer, which takes four times the bytes of its rows.
    Batch,
    /// Tables of fixed size: marks of rows, tokens.
    Fixed,
    /// Frames of upstreams and what is made of them, until the writer has what they say.
    Intake,
    /// Repos that are fetched: the blocks and the table of them.
    Fetches,
    /// Records of fetched repos on their way to the writer.
    Records,
    /// Pictures that are decoded and made smaller.
    Pictures,
    /// Their files, as they come.
    Files,
    /// Lists of what was suggested, and what is looked through for them.
    Discovery,
    /// What was written of within hours, and how much of it is usual.
    Trends,
    /// The newest changes of the log, for those who follow it.
    Changes,
    /// Documents on their way into the indexes of search, and what merging them takes.
    Search,
    /// Answers that their readers have not taken yet.
    Answers,
    /// What waits for the readers of sockets.
    Sockets,
}

/// A row: its name for the operator, its parts of the budget, and the bytes that it has at least and at most, since less
/// would not do and more would not help.
struct Row {
    share: Share,
    name: &'static str,
    parts: u64,
    least: u64,
    most: u64,
    /// It has its parts of what the others leave.
    elastic: bool,
}

const MB: u64 = 1 << 20;

/// What a key takes with its DID.
pub const KEY: u64 = 224;
/// What a document takes with its handle.
pub const IDENTITY: u64 = 1024;
/// What views of an account and of its posts take, with whom it follows, blocks and mutes: mostly less.
pub const ACCOUNT: u64 = 3072;

const fn row(share: Share, name: &'static str, parts: u64) -> Row {
    Row { share, name, parts, least: 0, most: u64::MAX, elastic: true }
}

const fn fixed(share: Share, name: &'static str, parts: u64) -> Row {
    Row { elastic: false, ..row(share, name, parts) }
}

/// In the order of the status.
const TABLE: &[Row] = &[
    row(Share::Blocks, "block-cache", 6),
    // With less, files would be so small that merging them was most of the work.
    row(Share::Memtables, "memtables", 16).between(28 * MB, u64::MAX),
    row(Share::Rows, "row-cache", 4),
    row(Share::Repos, "repos", 2),
    row(Share::Counters, "counters", 2),
    row(Share::Subjects, "subjects", 1),
    row(Share::Names, "names", 2),
    row(Share::Keys, "keys", 2),
    row(Share::Identities, "identities", 3),
    row(Share::Accounts, "accounts", 3),
    fixed(Share::Fixed, "fixed-tables", 0).between(8 * MB, 8 * MB),
    fixed(Share::Batch, "batch", 2).between(8 * MB, 32 * MB),
    fixed(Share::Intake, "intake", 4).between(8 * MB, 32 * MB),
    fixed(Share::Fetches, "fetches", 3).between(6 * MB, 256 * MB),
    fixed(Share::Records, "records", 2).between(8 * MB, 128 * MB),
    // Two at a time of the largest size that they are made in, and a photograph of twelve megapixels, also a progressive one.
    fixed(Share::Pictures, "pictures", 3).between(80 * MB, 512 * MB),
    fixed(Share::Files, "picture-files", 1).between(12 * MB, 128 * MB),
    fixed(Share::Discovery, "discovery", 1).between(5 * MB, 14 * MB),
    fixed(Share::Trends, "trends", 1).between(2 * MB, 32 * MB),
    fixed(Share::Changes, "changes", 1).between(4 * MB, 32 * MB),
    fixed(Share::Search, "search", 3).between(8 * MB, 128 * MB),
    fixed(Share::Answers, "answers", 2).between(32 * MB, 512 * MB),
    fixed(Share::Sockets, "sockets", 0).between(4 * MB, 4 * MB),
];

/// Of a small budget the elastic shares have so many parts of it together, whatever the others take.
const ELASTIC_LEAST: u64 = 19;

impl Row {
    const fn between(self, least: u64, most: u64) -> Self {
        Self { least, most, ..self }
    }

    fn of(&self, budget: u64) -> u64 {
        if !self.elastic {
            return (budget / PARTS).saturating_mul(self.parts).clamp(self.least, self.most);
        }
        let others: u64 = TABLE.iter().filter(|row| !row.elastic).map(|row| row.of(budget)).sum();
        let parts: u64 = TABLE.iter().filter(|row| row.elastic).map(|row| row.parts).sum();
        let left = budget.saturating_sub(others).max(budget / PARTS * ELASTIC_LEAST);
        (left / parts.max(1) * self.parts).max(self.least)
    }
}

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
        self.row().map_or(0, |row| row.of(budget.max(LEAST)))
    }

    /// How many of so many bytes each it has of a budget.
    #[must_use]
    pub fn entries(self, budget: u64, each: u64) -> usize {
        usize::try_from(self.of(budget) / each.max(1)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_budget_and_each_is_there_once() {
        assert!(TABLE.iter().map(|row| row.parts).sum::<u64>() <= PARTS);
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.share == row.share).count(), 1);
            assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1);
        }
        let sum = |budget| Share::all().map(|share| share.of(budget)).sum::<u64>();
        for budget in [330_000_000, 512_000_000, 1_000_000_000, 2_000_000_000, 8_000_000_000] {
            assert!((budget - 100..=budget).contains(&sum(budget)), "{budget}: {}", sum(budget));
        }
        for budget in [64_000_000, 192_000_000, 256_000_000] {
            assert!(sum(budget) <= budget + 164 * MB, "{budget}: {}", sum(budget));
        }
        assert_eq!(Share::Blocks.of(1), Share::Blocks.of(LEAST));
    }

    /// The program as it starts, and stacks.
    const PROGRAM: u64 = 32 * MB;

    /// What many small pieces take in the allocator beside their bytes, of a hundred.
    fn overhead(row: &Row) -> u64 {
        if row.elastic { 10 } else { 0 }
    }

    #[test]
    fn a_process_that_is_full_of_everything_takes_a_fifth_more_than_its_budget_at_most() {
        for (budget, with_pictures) in
            [(256_000_000, false), (512_000_000, true), (2_000_000_000, true)]
        {
            // Nobody sees to a smaller budget that pictures are not made while everything else is full.
            let counts = |row: &&Row| with_pictures || row.share != Share::Pictures;
            let whole = |row: &Row| row.of(budget) * (100 + overhead(row)) / 100;
            let all = PROGRAM + TABLE.iter().filter(counts).map(whole).sum::<u64>();
            assert!(all <= budget * 12 / 10, "{budget}: {all}");
        }
    }
}
