//! Where the blocks of a repo are: a table in memory while it fits there, else sorted runs in a file, which are merged once
//! all blocks are known.
//!
//! The largest repositories have millions of blocks, and a stranger can send as many that hold next to nothing; then this
//! takes more than the blocks. Nothing is looked up before the end, so entries are only kept in order of arrival, and sorted
//! when they are written or all there. Digests are spread evenly, so one page of the merged file has what is looked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::quota::Quota;
use super::spill::{Spill, SpillError, SpillFolder};

/// Entries that are always kept in memory, which is part of what every repo waits for.
const LEAST: usize = 8192;
/// Bytes of an entry in a file.
const ENTRY: usize = 44;
/// Entries of a page.
const PAGE: usize = 93;
/// What all buffers together take while runs are merged: less than the entries in memory took.
const MERGE: usize = 512 << 10;
/// Bytes counted for an entry in memory: while the table grows there are two of them.
const COUNTED: u64 = 2 * ENTRY as u64;

pub(crate) type Digest = [u8; 32];

/// Where a block is, small as there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its chunk; [`FILE`] for the file.
    pub(crate) chunk: u16,
    /// Where it begins in there, its high and its low part.
    pub(crate) at_high: u16,
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// In place of a chunk.
pub(crate) const FILE: u16 = u16::MAX;

type Entry = (Digest, Place);

#[derive(Default)]
pub(crate) struct Table {
    recent: Vec<Entry>,
    /// Sorted runs, one after the other; the number of entries of each.
    runs: Option<(Spill, Vec<usize>)>,
    merged: Option<Merged>,
    entries: usize,
}

/// All entries in order, each once.
struct Merged {
    file: Spill,
    /// What the first digest of each page begins with.
    fences: Vec<u64>,
}

impl Table {
    /// Entries put in, those put in twice included.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    pub(crate) fn insert(
        &mut self,
        digest: Digest,
        place: Place,
        quota: &mut Quota,
        folder: &SpillFolder,
    ) -> Result<(), SpillError> {
        if self.recent.len() == self.recent.capacity() {
            let (have, more) = (self.recent.len(), self.recent.len().max(64));
            let bytes = more as u64 * COUNTED;
            if have + more <= LEAST {
                quota.count(bytes);
                self.recent.reserve_exact(more);
            } else if quota.fits(bytes) {
                self.recent.reserve_exact(more);
            } else {
                self.write_run(folder)?;
            }
        }
        self.recent.push((digest, place));
        self.entries += 1;
        Ok(())
    }

    fn write_run(&mut self, folder: &SpillFolder) -> Result<(), SpillError> {
        let (file, runs) = match &mut self.runs {
            Some(runs) => runs,
            none => none.insert((Spill::new(folder)?, Vec::new())),
        };
        self.recent.sort_unstable();
        for entry in &self.recent {
            file.append(&to_bytes(entry))?;
        }
        runs.push(self.recent.len());
        self.recent.clear();
        Ok(())
    }

    /// Makes everything findable; nothing is inserted after this.
    pub(crate) fn finish(&mut self, folder: &SpillFolder) -> Result<(), SpillError> {
        if self.runs.is_none() {
            self.recent.sort_unstable();
            self.recent.dedup_by_key(|(digest, _)| *digest);
            return Ok(());
        }
        self.write_run(folder)?;
        self.recent = Vec::new();
        if let Some((mut file, runs)) = self.runs.take() {
            file.flush()?;
            self.merged = Some(Merged::of(&file, &runs, folder)?);
        }
        Ok(())
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Place> {
        match &self.merged {
            Some(merged) => merged.get(digest),
            None => {
                let at = self.recent.binary_search_by_key(&digest, |(digest, _)| digest).ok()?;
                self.recent.get(at).map(|(_, place)| *place)
            }
        }
    }
}

impl Merged {
    fn of(file: &Spill, runs: &[usize], folder: &SpillFolder) -> Result<Self, SpillError> {
        let buffer = (MERGE / ENTRY / runs.len().max(1)).max(1);
        let mut begin = 0;
        let mut readers = Vec::with_capacity(runs.len());
        for count in runs {
            readers.push(Run {
                file,
                at: begin,
                left: *count,
                buffer,
                read: Vec::new().into_iter(),
            });
            begin += (count * ENTRY) as u64;
        }
        let mut next = BinaryHeap::with_capacity(readers.len());
        for (number, reader) in readers.iter_mut().enumerate() {
            next.extend(reader.next()?.map(|entry| Reverse((entry, number))));
        }
        let (mut out, mut fences, mut written) = (Spill::new(folder)?, Vec::new(), 0_usize);
        let mut last = None;
        while let Some(Reverse((entry, number))) = next.pop() {
            if let Some(reader) = readers.get_mut(number) {
                next.extend(reader.next()?.map(|entry| Reverse((entry, number))));
            }
            if last == Some(entry.0) {
                continue;
            }
            last = Some(entry.0);
            if written.is_multiple_of(PAGE) {
                fences.push(prefix(&entry.0));
            }
            out.append(&to_bytes(&entry))?;
            written += 1;
        }
        out.flush()?;
        Ok(Self { file: out, fences })
    }

    /// Looks into the one page that can have it. Of two that begin with the same eight bytes at the edge of a page one may be
    /// missed: whoever makes such has a repo that lacks a block.
    fn get(&self, digest: &Digest) -> Option<Place> {
        let wanted = prefix(digest);
        let page = self.fences.partition_point(|fence| *fence <= wanted).checked_sub(1)?;
        let at = (page * PAGE * ENTRY) as u64;
        let len = self.file.len().saturating_sub(at).min((PAGE * ENTRY) as u64);
        let mut page = [0; PAGE * ENTRY];
        let page = page.get_mut(..usize::try_from(len).ok()?)?;
        // What cannot be read back is missing, and the fetch fails by that.
        self.file.read(page, at).ok()?;
        let (entries, _) = page.as_chunks::<ENTRY>();
        let found = entries.binary_search_by_key(&digest, |entry| first(entry)).ok()?;
        entries.get(found).and_then(from_bytes).map(|(_, place)| place)
    }
}

/// A run that is read from its beginning.
struct Run<'f> {
    file: &'f Spill,
    at: u64,
    left: usize,
    /// Entries read at a time.
    buffer: usize,
    read: std::vec::IntoIter<Entry>,
}

impl Run<'_> {
    fn next(&mut self) -> Result<Option<Entry>, SpillError> {
        if let Some(entry) = self.read.next() {
            return Ok(Some(entry));
        }
        let count = self.left.min(self.buffer);
        let mut bytes = vec![0; count * ENTRY];
        self.file.read(&mut bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.left -= count;
        let entries: Vec<Entry> = bytes.as_chunks().0.iter().filter_map(from_bytes).collect();
        self.read = entries.into_iter();
        Ok(self.read.next())
    }
}

fn prefix(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The digest of an entry in a file.
fn first(entry: &[u8; ENTRY]) -> &Digest {
    entry.first_chunk().unwrap_or(&[0; 32])
}

fn to_bytes((digest, place): &Entry) -> [u8; ENTRY] {
    let Place { chunk, at_high, at, len } = *place;
    let parts = digest.iter().copied().chain(chunk.to_le_bytes()).chain(at_high.to_le_bytes());
    let mut out = [0; ENTRY];
    let parts = parts.chain(at.to_le_bytes()).chain(len.to_le_bytes());
    out.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    out
}

fn from_bytes(bytes: &[u8; ENTRY]) -> Option<Entry> {
    let (digest, rest) = bytes.split_first_chunk()?;
    let (chunk, rest) = rest.split_first_chunk()?;
    let (at_high, rest) = rest.split_first_chunk()?;
    let (at, len) = rest.split_first_chunk()?;
    let place = Place {
        chunk: u16::from_le_bytes(*chunk),
        at_high: u16::from_le_bytes(*at_high),
        at: u32::from_le_bytes(*at),
        len: u32::from_le_bytes(*len.first_chunk()?),
    };
    Some((*digest, place))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::threads::Budget;

    fn digest(n: u32) -> Digest {
        Sha256::digest(n.to_le_bytes()).into()
    }

    fn place(n: u32) -> Place {
        Place { chunk: n as u16, at_high: (n >> 3) as u16, at: n, len: n ^ 5 }
    }

    fn filled(quota: &mut Quota, count: u32) -> Table {
        let dir = tempfile::tempdir().unwrap();
        let folder = SpillFolder { path: dir.path().to_owned(), floor: 0 };
        let mut table = Table::default();
        for n in 0..count {
            table.insert(digest(n), place(n), quota, &folder).unwrap();
            // Some come again, which changes nothing.
            if n % 5 == 0 {
                table.insert(digest(n), place(n), quota, &folder).unwrap();
            }
        }
        table.finish(&folder).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file is left behind");
        table
    }

    #[tokio::test]
    async fn what_was_put_in_is_found_wherever_it_is() {
        for (bytes, count) in [(1 << 30, 0), (1 << 30, 60_000), (1, 0), (1, 100), (1, 60_000)] {
            let mut quota = Quota::fixed(Budget::new(1 << 30).take(bytes).await, 0);
            let table = filled(&mut quota, count);
            assert_eq!(table.merged.is_some(), bytes == 1 && count > LEAST as u32, "{count}");
            assert!((0..count).all(|n| table.get(&digest(n)) == Some(place(n))));
            assert!((count..count + 1000).all(|n| table.get(&digest(n)).is_none()));
            assert!(table.get(&[0; 32]).is_none() && table.get(&[255; 32]).is_none());
        }
    }

    #[tokio::test]
    async fn it_takes_no_more_memory_than_its_quota() {
        let all = Budget::new(6 << 20);
        let mut quota = Quota::growing(&all).await;
        let table = filled(&mut quota, 200_000);
        assert_eq!(table.recent.capacity(), 0);
        let merged = table.merged.as_ref().expect("it does not fit in a quarter of all");
        assert_eq!(merged.fences.len(), 200_000_usize.div_ceil(PAGE), "each once");
        assert_eq!(all.held(), 2 << 20);
    }
}
