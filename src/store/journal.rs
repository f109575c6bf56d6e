//! The engine's journals, read from outside: which of their batches are whole, and what can be had of those that are not.
//! A batch is a beginning with a count and a number, as many items, and an end with a checksum over the items.
//!
//! The last batch of a journal may be torn, as after a crash: that is no damage, and the engine leaves it out. A batch
//! that is not whole and has whole ones behind it is damaged, and the engine would refuse it, or leave out all that
//! follow. It can hold numbers that later batches use, so it is not left out: its items stay as they are, but for those
//! that cannot be made out, and get a new checksum.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What stands at the end of each batch.
const MAGIC: &[u8] = b"FJL\x03";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// Bytes of a beginning: what it is, how many items, its number; and of an end: what it is, a checksum, the magic bytes.
const START_LEN: usize = 13;
const END_LEN: usize = 13;
const LZ4: u8 = 1;

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// Where its batches are, and whether they are whole.
    batches: Vec<(Range<usize>, bool)>,
}

impl Journal {
    /// How many batches are not whole.
    pub(super) fn bad(&self) -> usize {
        self.batches.iter().filter(|(_, whole)| !whole).count()
    }

    /// The same journal with whole batches only.
    pub(super) fn mended(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut number = 0;
        for (range, whole) in &self.batches {
            let Some(batch) = bytes.get(range.clone()) else { continue };
            if *whole {
                number = number_of(batch).unwrap_or(number);
                out.extend_from_slice(batch);
            } else {
                let next = bytes.get(range.end..).and_then(number_of).unwrap_or(u64::MAX);
                mend(batch, number, next, &mut out);
            }
        }
        out
    }
}

/// Reads a journal.
pub(super) fn read(file: &Path) -> io::Result<Journal> {
    Ok(parse(&fs::read(file)?))
}

pub(super) fn parse(bytes: &[u8]) -> Journal {
    let bytes = written(bytes);
    let mut out = Journal::default();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = whole(bytes, at) {
            out.batches.push((at..end, true));
            at = end;
            continue;
        }
        // The next beginning of a whole batch, if there is any.
        let next = (at + 1..bytes.len().saturating_sub(START_LEN))
            .find(|next| bytes.get(*next) == Some(&START) && whole(bytes, *next).is_some());
        // Behind the last one: one that was written to its end was whole once.
        let next = next.or_else(|| last_end(bytes.get(at..)?).map(|end| at + end));
        let Some(next) = next else { break };
        out.batches.push((at..next, false));
        at = next;
    }
    out
}

/// The whole batches of a journal that may grow meanwhile, one after the other, without having all of it in memory.
pub(super) struct Batches {
    file: File,
    /// Where in the file the bytes end that were read.
    read_to: u64,
    bytes: Vec<u8>,
    /// Where in these the next batch begins.
    at: usize,
}

/// Bytes read at once, and the longest batch that is believed.
const PIECE: usize = 1 << 20;
const LONGEST: usize = 1 << 30;

impl Batches {
    pub(super) fn of(file: File) -> Self {
        Self { file, read_to: 0, bytes: Vec::new(), at: 0 }
    }

    /// The next one; nothing at the end of what was written.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch<'_>>> {
        let end = loop {
            // What is behind the last one is room for more.
            if self.bytes.get(self.at).is_some_and(|first| *first != START) {
                return Ok(None);
            }
            if let Some(end) = whole(&self.bytes, self.at) {
                break end;
            }
            self.bytes.drain(..self.at);
            self.at = 0;
            if self.bytes.len() >= LONGEST || self.read_on()? == 0 {
                return Ok(None);
            }
        };
        let from = std::mem::replace(&mut self.at, end);
        Ok(self.bytes.get(from..end).map(Batch))
    }

    /// Reads more, twice as much as there is so that a long batch is not looked at again and again; how much it was.
    fn read_on(&mut self) -> io::Result<usize> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + begin.max(PIECE), 0);
        let read = self.file.read_at(self.bytes.get_mut(begin..).unwrap_or_default(), self.read_to);
        let read = read.inspect_err(|_| self.bytes.truncate(begin))?;
        self.bytes.truncate(begin + read);
        self.read_to += read as u64;
        Ok(read)
    }
}

/// A whole batch.
pub(super) struct Batch<'a>(&'a [u8]);

impl Batch<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0
    }

    /// The engine counts batches.
    pub(super) fn number(&self) -> u64 {
        number_of(self.0).unwrap_or(u64::MAX)
    }

    /// Whether that is so of the keyspaces of all its rows.
    pub(super) fn all_of(&self, so: impl Fn(u64) -> bool) -> bool {
        let mut rest = Rest { bytes: self.0, at: START_LEN };
        while self.0.get(rest.at).is_some_and(|kind| *kind != END) {
            let mut head = Rest { bytes: self.0, at: rest.at };
            let keyspace = match head.u8() {
                Some(ITEM) => head.take(2).and_then(|_| head.u64()),
                _ => None,
            };
            if !keyspace.is_some_and(&so) || rest.item().is_none() {
                return false;
            }
        }
        true
    }
}

/// Where the batch at `at` ends, if it is whole.
fn whole(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = Rest { bytes, at };
    (rest.u8()? == START).then_some(())?;
    let count = rest.u32()?;
    rest.u64()?;
    let items = rest.at;
    for _ in 0..count {
        rest.item()?;
    }
    let sum = xxhash_rust::xxh3::xxh3_64(bytes.get(items..rest.at)?);
    (rest.end()? == sum).then_some(rest.at)
}

/// Without the zeros behind it: a journal is made with room for more.
fn written(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_suffix(&ZEROS) {
        bytes = rest;
    }
    bytes
}

/// Behind the last end of a batch.
fn last_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).rposition(|window| window == MAGIC).map(|at| at + MAGIC.len())
}

fn number_of(batch: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(batch.get(5..START_LEN)?.try_into().ok()?))
}

/// Makes a whole batch of what can be made out of one; `after` and `before` are the numbers of those around it.
fn mend(batch: &[u8], after: u64, before: u64, out: &mut Vec<u8>) {
    let mut items: Vec<&[u8]> = Vec::new();
    let mut rest = Rest { bytes: batch, at: START_LEN };
    while rest.at + END_LEN < batch.len() {
        let begin = rest.at;
        let next = rest.item().map(|()| rest.at).filter(|end| *end + END_LEN <= batch.len());
        if let Some(end) = next {
            items.extend(batch.get(begin..end).filter(|item| is_sound(item)));
            continue;
        }
        // The next place from which on items lead to the end.
        let leads = |from: &usize| {
            let mut rest = Rest { bytes: batch, at: *from };
            while rest.at + END_LEN < batch.len() {
                if rest.item().is_none() {
                    return false;
                }
            }
            rest.at + END_LEN == batch.len()
        };
        match (begin + 1..batch.len().saturating_sub(END_LEN)).find(leads) {
            Some(next) => rest.at = next,
            None => break,
        }
    }
    let number = number_of(batch).filter(|n| (after..before).contains(n));
    let body = items.concat();
    out.push(START);
    out.extend(u32::try_from(items.len()).unwrap_or(0).to_le_bytes());
    out.extend(number.unwrap_or(after).to_le_bytes());
    out.extend_from_slice(&body);
    out.push(END);
    out.extend(xxhash_rust::xxh3::xxh3_64(&body).to_le_bytes());
    out.extend_from_slice(MAGIC);
}

/// Whether the engine can read an item: one that is packed has to unpack.
fn is_sound(item: &[u8]) -> bool {
    let mut rest = Rest { bytes: item, at: 0 };
    let mut sound = || -> Option<bool> {
        if rest.u8()? == CLEAR {
            return Some(true);
        }
        let (kind, packed) = (rest.u8()?, rest.u8()?);
        rest.u64()?;
        let (key, len, stored) = (rest.u16()?, rest.u32()?, rest.u32()?);
        rest.take(usize::from(key))?;
        let value = rest.take(usize::try_from(stored).ok()?)?;
        let len = usize::try_from(len).ok()?;
        // Values, and two kinds of "it is gone".
        let known = kind <= 2 && packed <= LZ4 && key > 0;
        let fits = match packed {
            LZ4 => {
                let mut out = vec![0; len.min(64 << 20)];
                lz4_flex::decompress_into(value, &mut out).is_ok_and(|n| n == len)
            }
            _ => value.len() == len,
        };
        Some(known && fits)
    };
    sound().unwrap_or(false)
}

struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    /// Goes over an item.
    fn item(&mut self) -> Option<()> {
        match self.u8()? {
            ITEM => {
                self.take(2)?;
                self.u64()?;
                let (key, _, stored) = (self.u16()?, self.u32()?, self.u32()?);
                self.take(usize::from(key))?;
                self.take(usize::try_from(stored).ok()?).map(drop)
            }
            CLEAR => self.u64().map(drop),
            _ => None,
        }
    }

    /// Goes over an end; its checksum.
    fn end(&mut self) -> Option<u64> {
        (self.u8()? == END).then_some(())?;
        let sum = self.u64()?;
        (self.take(MAGIC.len())? == MAGIC).then_some(sum)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(keyspace: u64, key: &[u8], value: &[u8], packed: bool) -> Vec<u8> {
        let stored = if packed { lz4_flex::compress(value) } else { value.to_vec() };
        let mut out = vec![ITEM, 0, u8::from(packed)];
        out.extend(keyspace.to_le_bytes());
        out.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(stored.len()).unwrap().to_le_bytes());
        out.extend_from_slice(key);
        out.extend(stored);
        out
    }

    fn batch(number: u64, items: &[Vec<u8>]) -> Vec<u8> {
        let body = items.concat();
        let mut out = vec![START];
        out.extend(u32::try_from(items.len()).unwrap().to_le_bytes());
        out.extend(number.to_le_bytes());
        out.extend_from_slice(&body);
        out.push(END);
        out.extend(xxhash_rust::xxh3::xxh3_64(&body).to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// Three batches of three items, and room behind them.
    fn journal() -> (Vec<u8>, Vec<usize>) {
        let of = |n: u64| {
            let items: Vec<_> = (0..3)
                .map(|i| item(i, format!("key {n} {i}").as_bytes(), &[7; 90], i == 1))
                .collect();
            batch(n, &items)
        };
        let batches = [of(10), of(11), of(12)];
        let mut ends = Vec::new();
        let mut bytes = Vec::new();
        for batch in batches {
            bytes.extend(batch);
            ends.push(bytes.len());
        }
        bytes.extend([0; 500]);
        (bytes, ends)
    }

    fn keys(bytes: &[u8]) -> usize {
        bytes.windows(4).filter(|window| *window == b"key ").count()
    }

    #[test]
    fn whole_batches_stay_and_a_torn_end_is_no_damage() {
        let (bytes, ends) = journal();
        let journal = parse(&bytes);
        assert_eq!((journal.bad(), journal.batches.len()), (0, 3));
        assert_eq!(journal.mended(&bytes), bytes[..ends[2]]);
        for cut in ends[1]..ends[2] {
            let torn = [&bytes[..cut], &[0; 100]].concat();
            assert_eq!((parse(&torn).bad(), parse(&torn).batches.len()), (0, 2), "{cut}");
        }
    }

    #[test]
    fn whatever_bit_flips_the_rest_stays_and_the_result_is_whole() {
        let (bytes, ends) = journal();
        let mut worst = usize::MAX;
        let begins = [0, ends[0], ends[1]];
        // The number of a batch has no checksum.
        let numbers = begins.map(|at| at + 5..at + START_LEN);
        for at in (0..ends[2]).filter(|at| !numbers.iter().any(|n| n.contains(at))) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let journal = parse(&damaged);
            if at >= ends[2] - MAGIC.len() {
                // So does a batch end that a crash cut short.
                assert_eq!((journal.bad(), journal.batches.len()), (0, 2), "{at}");
                continue;
            }
            assert_eq!(journal.bad(), 1, "{at}");
            let mended = journal.mended(&damaged);
            let again = parse(&mended);
            assert_eq!((again.bad(), again.batches.len()), (0, 3), "{at}");
            let numbers: Vec<_> =
                again.batches.iter().filter_map(|(r, _)| number_of(&mended[r.clone()])).collect();
            assert!(
                numbers.is_sorted() && numbers[2] <= 12 && numbers[0] <= 10,
                "{at}: {numbers:?}"
            );
            worst = worst.min(keys(&mended));
        }
        // The one that was hit, and the one behind it if it took that for its own.
        assert!(worst >= 6, "{worst}");
    }
}
