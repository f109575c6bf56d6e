//! A row of `events_1`: up to 512 changes of one batch as columns, so that like stands by like.
//!
//! The key is the number of the first, the others follow on; so do their times, one microsecond apart. A kind of change
//! with its mark and collection is one entry of a small table. Record keys and revs are mostly times of just now by the
//! same clock: a rev is its distance from the one before it, a record key its distance from its rev. What a kind needs
//! beside (the target of a delete, what the upstream said) is in one run of bytes at the end.
//!
//! The head has the bytes of all rows before this one, so that the size of the log is known without reading it.

use super::change::{Change, Entry, Mark, What};
use super::columns;
use crate::event::Upstream;
use crate::schema::bytes::{ByteReader, push_blob, push_varint, push_zigzag};
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, CollId, Key, Rkey};

/// Changes in a row.
pub(super) const MOST: usize = 512;
/// The form of rows.
const FORM: u8 = 1;
/// Low bits of a TID: which of several clocks of one microsecond.
const CLOCK: u64 = (1 << 10) - 1;
/// What no TID has set.
const TOP: u64 = 1 << 63;

/// Changes of one row, as they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Number of the first.
    pub first: u64,
    /// Time of the first, microseconds since the epoch.
    pub time_us: u64,
    /// What changed.
    pub changes: Vec<Change>,
}

impl Page {
    /// The number after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.changes.len() as u64)
    }

    /// What there is from `seq` on.
    pub fn from(&self, seq: u64) -> impl Iterator<Item = Entry> + '_ {
        let skip = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.first..)
            .zip(self.time_us..)
            .zip(&self.changes)
            .skip(skip)
            .map(|((seq, time_us), change)| Entry { seq, time_us, change: *change })
    }

    /// Bytes in memory, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.changes.capacity() * size_of::<Change>()
    }
}

/// What is known of a row without reading its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) count: u64,
    pub(super) time_us: u64,
    /// Bytes of all rows before it.
    pub(super) before: u64,
}

impl Head {
    /// Time of the last change.
    pub(super) fn last_us(&self) -> u64 {
        self.time_us.saturating_add(self.count.saturating_sub(1))
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        Self::read(&mut ByteReader::new(value))
    }

    fn read(r: &mut ByteReader<'_>) -> Option<Self> {
        if r.u8()? != FORM {
            return None;
        }
        let head = Self { count: r.varint()?, time_us: r.varint()?, before: r.varint()? };
        (1..=MOST as u64).contains(&head.count).then_some(head)
    }
}

/// The key of a row.
pub(super) fn key(first: u64) -> [u8; 8] {
    first.to_be_bytes()
}

/// The number in a key.
pub(super) fn first_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Whether a row is whole.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    first_of(key).and_then(|first| decode(first, value)).is_some()
}

/// How a change is told apart in the table of kinds: the kind, the mark and what else there is of it, in one byte.
struct Kind;

impl Kind {
    const PUT: u8 = 0;
    const DELETE: u8 = 1;
    const ACCOUNT: u8 = 2;
    const IDENTITY: u8 = 3;
    const LABEL: u8 = 4;
    const TAKEDOWN: u8 = 5;
    const REPO: u8 = 6;

    const WHAT: u8 = 7;
    const MARK: u8 = 3;
    /// Created; with a target; with what the upstream said; on.
    const ONE: u8 = 1 << 5;
    /// The record key is a TID; the identity is settled.
    const TWO: u8 = 1 << 6;
    /// There is a rev.
    const REV: u8 = 1 << 7;

    fn of(change: &Change) -> u8 {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let record =
            |rkey: Rkey, rev: u64| flag(rkey.is_tid(), Self::TWO) | flag(rev > 0, Self::REV);
        let what = match &change.what {
            What::Put { rkey, rev, created, .. } => {
                Self::PUT | flag(*created, Self::ONE) | record(*rkey, *rev)
            }
            What::Delete { rkey, rev, target, .. } => {
                Self::DELETE | flag(target.is_some(), Self::ONE) | record(*rkey, *rev)
            }
            What::Account { upstream, .. } => Self::ACCOUNT | flag(upstream.is_some(), Self::ONE),
            What::Identity { settled, upstream } => {
                Self::IDENTITY | flag(upstream.is_some(), Self::ONE) | flag(*settled, Self::TWO)
            }
            What::Label { .. } => Self::LABEL,
            What::Takedown { on, .. } => Self::TAKEDOWN | flag(*on, Self::ONE),
            What::Repo => Self::REPO,
        };
        what | (change.mark as u8) << 3
    }
}

#[derive(Default)]
struct Columns {
    kinds: Vec<(u8, u32)>,
    kind: Vec<u64>,
    actor: Vec<u64>,
    rev: Vec<u64>,
    rev_clock: Vec<u64>,
    key: Vec<u64>,
    key_clock: Vec<u64>,
    other_key: Vec<u64>,
    cids: Vec<u8>,
    rest: Vec<u8>,
    /// The last rev, as a time.
    last: u64,
}

impl Columns {
    fn push(&mut self, change: &Change) {
        let coll = change.record().map_or(0, |id| id.coll.0);
        let kind = (Kind::of(change), coll);
        let known = self.kinds.iter().position(|k| *k == kind);
        let place = known.unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        self.kind.push(place as u64);
        self.actor.push(u64::from(change.actor.0));
        match &change.what {
            What::Put { rkey, rev, cid, .. } => {
                self.record(*rkey, *rev);
                self.cids.extend_from_slice(cid);
            }
            What::Delete { rkey, rev, target, .. } => {
                self.record(*rkey, *rev);
                if let Some(target) = target {
                    self.rest.extend_from_slice(&target.key());
                }
            }
            What::Account { status, upstream } => {
                self.rest.push(*status as u8);
                self.upstream(*upstream);
            }
            What::Identity { upstream, .. } => self.upstream(*upstream),
            What::Label { target, src } => {
                self.rest.extend_from_slice(&target.key());
                push_varint(&mut self.rest, u64::from(src.0));
            }
            What::Takedown { target, .. } => self.rest.extend_from_slice(&target.key()),
            What::Repo => {}
        }
    }

    fn record(&mut self, rkey: Rkey, rev: u64) {
        if rev > 0 {
            self.rev.push(apart(rev >> 10, self.last));
            self.rev_clock.push(rev & CLOCK);
            self.last = rev >> 10;
        }
        if rkey.is_tid() {
            self.key.push(apart(rkey.0 >> 10, self.last));
            self.key_clock.push((rkey.0 ^ rev) & CLOCK);
        } else {
            self.other_key.push(rkey.0 & !TOP);
        }
    }

    fn upstream(&mut self, upstream: Option<Upstream>) {
        if let Some(upstream) = upstream {
            push_varint(&mut self.rest, upstream.seq);
            push_zigzag(&mut self.rest, upstream.time);
        }
    }
}

/// The bytes of a row. `changes` are 1 to [`MOST`]; there are `before` bytes of rows before it.
pub(super) fn encode(time_us: u64, before: u64, changes: &[Change]) -> Vec<u8> {
    let mut columns = Columns { last: time_us, ..Columns::default() };
    changes.iter().for_each(|change| columns.push(change));
    let mut out = vec![FORM];
    for n in [changes.len() as u64, time_us, before, columns.kinds.len() as u64] {
        push_varint(&mut out, n);
    }
    for (kind, coll) in &columns.kinds {
        out.push(*kind);
        push_varint(&mut out, u64::from(*coll));
    }
    let Columns { kind, actor, rev, rev_clock, key, key_clock, other_key, cids, rest, .. } =
        columns;
    for column in [kind, actor, rev, rev_clock, key, key_clock, other_key] {
        columns::push(&mut out, &column);
    }
    out.extend_from_slice(&cids);
    push_blob(&mut out, &rest);
    out
}

/// Reads a row; `None` if it is not whole.
pub(super) fn decode(first: u64, value: &[u8]) -> Option<Page> {
    let mut r = ByteReader::new(value);
    let head = Head::read(&mut r)?;
    let count = usize::try_from(head.count).ok()?;
    let kinds = usize::try_from(r.varint()?).ok().filter(|n| *n <= count)?;
    let mut table = Vec::with_capacity(kinds);
    for _ in 0..kinds {
        table.push((r.u8()?, u32::try_from(r.varint()?).ok()?));
    }
    let places = columns::read(&mut r, count)?;
    let mut kinds = Vec::with_capacity(count);
    for place in places {
        kinds.push(*table.get(usize::try_from(place).ok()?)?);
    }
    let having = |f: fn(u8) -> bool| kinds.iter().filter(|(kind, _)| f(*kind)).count();
    let revs = having(|kind| is_record(kind) && kind & Kind::REV != 0);
    let tids = having(|kind| is_record(kind) && kind & Kind::TWO != 0);
    let others = having(|kind| is_record(kind) && kind & Kind::TWO == 0);
    let puts = having(|kind| kind & Kind::WHAT == Kind::PUT);
    let mut column = |count| Some(columns::read(&mut r, count)?.into_iter());
    let mut fields = Fields {
        actor: column(count)?,
        rev: column(revs)?,
        rev_clock: column(revs)?,
        key: column(tids)?,
        key_clock: column(tids)?,
        other_key: column(others)?,
        cids: r.take(puts.checked_mul(4)?)?,
        rest: ByteReader::new(r.blob()?),
        last: head.time_us,
    };
    let mut changes = Vec::with_capacity(count);
    for (kind, coll) in kinds {
        changes.push(fields.change(kind, CollId(coll))?);
    }
    (r.is_empty() && fields.rest.is_empty()).then_some(Page {
        first,
        time_us: head.time_us,
        changes,
    })
}

fn is_record(kind: u8) -> bool {
    kind & Kind::WHAT <= Kind::DELETE
}

/// What is left of the columns of a row that is read.
struct Fields<'a> {
    actor: std::vec::IntoIter<u64>,
    rev: std::vec::IntoIter<u64>,
    rev_clock: std::vec::IntoIter<u64>,
    key: std::vec::IntoIter<u64>,
    key_clock: std::vec::IntoIter<u64>,
    other_key: std::vec::IntoIter<u64>,
    cids: &'a [u8],
    rest: ByteReader<'a>,
    last: u64,
}

impl Fields<'_> {
    fn change(&mut self, kind: u8, coll: CollId) -> Option<Change> {
        let mark = Mark::from_u8(kind >> 3 & Kind::MARK)?;
        let actor = ActorId(u32::try_from(self.actor.next()?).ok()?);
        let one = kind & Kind::ONE != 0;
        let what = match kind & Kind::WHAT {
            Kind::PUT => {
                let (rkey, rev) = self.record(kind)?;
                let (cid, rest) = self.cids.split_first_chunk()?;
                self.cids = rest;
                What::Put { coll, rkey, rev, cid: *cid, created: one }
            }
            Kind::DELETE => {
                let (rkey, rev) = self.record(kind)?;
                let target = if one { Some(self.rest.target()?) } else { None };
                What::Delete { coll, rkey, rev, target }
            }
            Kind::ACCOUNT => {
                let status = AccountStatus::from_u8(self.rest.u8()?)?;
                What::Account { status, upstream: self.upstream(one)? }
            }
            Kind::IDENTITY => {
                What::Identity { settled: kind & Kind::TWO != 0, upstream: self.upstream(one)? }
            }
            Kind::LABEL => {
                let target = self.rest.target()?;
                What::Label { target, src: ActorId(u32::try_from(self.rest.varint()?).ok()?) }
            }
            Kind::TAKEDOWN => What::Takedown { target: self.rest.target()?, on: one },
            Kind::REPO => What::Repo,
            _ => return None,
        };
        Some(Change { mark, actor, what })
    }

    fn record(&mut self, kind: u8) -> Option<(Rkey, u64)> {
        let mut rev = 0;
        if kind & Kind::REV != 0 {
            self.last = together(self.rev.next()?, self.last)?;
            rev = self.last << 10 | self.rev_clock.next()?;
        }
        let rkey = if kind & Kind::TWO == 0 {
            self.other_key.next()? | TOP
        } else {
            let time = together(self.key.next()?, self.last)?;
            time << 10 | (self.key_clock.next()? ^ rev) & CLOCK
        };
        Some((Rkey(rkey), rev))
    }

    fn upstream(&mut self, there: bool) -> Option<Option<Upstream>> {
        if !there {
            return Some(None);
        }
        Some(Some(Upstream { seq: self.rest.varint()?, time: self.rest.zigzag()? }))
    }
}

/// How far a time is from another, small either way.
fn apart(time: u64, from: u64) -> u64 {
    let far = time.wrapping_sub(from).cast_signed();
    (far << 1 ^ far >> 63).cast_unsigned()
}

/// The time that is that far from another; times of TIDs have 53 bits.
fn together(far: u64, from: u64) -> Option<u64> {
    let far = (far >> 1).cast_signed() ^ -(far & 1).cast_signed();
    let time = from.wrapping_add(far.cast_unsigned());
    (time >> 53 == 0).then_some(time)
}

/// The key of a row of this log in `meta`: bounds, and what is known of each follower.
pub(super) fn meta_key(name: &str) -> Key {
    Key::tag(b'v').bytes(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{PostId, RecordId, Target};

    const NOW: u64 = 1_800_000_000_000_000;

    /// The same numbers every time.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
        fn below(&mut self, n: u64) -> u64 {
            self.next() % n
        }
    }

    fn tid(us: u64, clock: u64) -> u64 {
        us << 10 | clock & CLOCK
    }

    #[test]
    fn changes_of_every_kind_come_back() {
        let post = Target::Post(PostId { author: ActorId(8), rkey: Rkey(9) });
        let record =
            Target::Record(RecordId { actor: ActorId(8), coll: CollId(2000), rkey: Rkey::SELF });
        let upstream = [None, Some(Upstream { seq: 1 << 40, time: -5 })];
        let mut whats = vec![
            What::Repo,
            What::Label { target: Target::Actor(ActorId(u32::MAX)), src: ActorId(7) },
            What::Label { target: record, src: ActorId(u32::MAX) },
        ];
        whats.extend([true, false].map(|on| What::Takedown { target: post, on }));
        for upstream in upstream {
            whats.extend([true, false].map(|settled| What::Identity { settled, upstream }));
            let status = [AccountStatus::Active, AccountStatus::Deleted, AccountStatus::OptedOut];
            whats.extend(status.map(|status| What::Account { status, upstream }));
        }
        let keys = [0, 1, tid(NOW, 5), TOP - 1, TOP, TOP | 77, u64::MAX].map(Rkey);
        let revs = [0, 1, tid(NOW + 3, 6), TOP - 1];
        for (rkey, rev) in keys.into_iter().flat_map(|key| revs.map(|rev| (key, rev))) {
            let coll = CollId((rev % 3_000) as u32);
            for created in [true, false] {
                whats.push(What::Put { coll, rkey, rev, cid: [1, 2, 3, rkey.0 as u8], created });
            }
            for target in [None, Some(post), Some(record)] {
                whats.push(What::Delete { coll, rkey, rev, target });
            }
        }
        let marks = [Mark::Live, Mark::History, Mark::Local];
        let changes: Vec<Change> = whats
            .iter()
            .zip(0..)
            .flat_map(|(what, n)| {
                marks.map(|mark| Change { mark, actor: ActorId(n * 1000), what: *what })
            })
            .collect();
        for changes in changes.chunks(MOST).chain(changes.chunks(1)) {
            let row = encode(NOW, 5_000_000_000, changes);
            let page = decode(12, &row).expect("it is whole");
            assert_eq!((page.first, page.time_us, &page.changes[..]), (12, NOW, changes));
            let head = Head { count: changes.len() as u64, time_us: NOW, before: 5_000_000_000 };
            assert_eq!(Head::decode(&row), Some(head));
            assert!(decodes(&key(12), &row) && !decodes(b"short", &row));
            for cut in 0..row.len() {
                assert_eq!(decode(12, &row[..cut]), None, "{cut}");
            }
            assert_eq!(decode(12, &[&row[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn no_bytes_are_read_as_more_than_there_is() {
        let mut dice = Dice(7);
        let put = What::Put {
            coll: CollId(2),
            rkey: Rkey(tid(NOW, 1)),
            rev: tid(NOW, 1),
            cid: [0; 4],
            created: true,
        };
        let row = encode(NOW, 0, &[Change { mark: Mark::Live, actor: ActorId(1), what: put }; 20]);
        for _ in 0..20_000 {
            let mut row = row.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(row.len() as u64) as usize;
                row[at] = dice.next() as u8;
            }
            if let Some(page) = decode(1, &row) {
                assert!(page.changes.len() <= MOST);
            }
        }
    }

    /// Events as the network sends them: shares of kinds and collections, accounts of all ages, revs of many hosts that
    /// come in some seconds after they were made, most record keys made with the rev.
    fn network(dice: &mut Dice, count: usize, now: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..count {
            // Half of what happens is of accounts that came lately or are always there; all of them have 26 bits.
            let actor = ActorId(dice.below(40_000_000) as u32);
            let rev_us = now - 150_000 - dice.below(1_500_000);
            let clock = dice.below(1024);
            let rev = tid(rev_us, clock);
            let made = match dice.below(20) {
                0 => tid(rev_us - dice.below(3_000_000), dice.below(1024)),
                // Another process of the host, or the client, made the key.
                1..=6 => tid(rev_us - dice.below(200_000), dice.below(1024)),
                _ => tid(rev_us - dice.below(30_000), clock),
            };
            let common = match dice.below(100) {
                0..56 => 2,
                56..70 => 4,
                70..82 => 1,
                82..90 => 3,
                90..93 => 5,
                93..95 => 9,
                _ => 1024 + dice.below(24) as u32,
            };
            let rkey = if common == 9 { Rkey::SELF } else { Rkey(made) };
            let coll = CollId(common);
            let what = if dice.below(100) < 6 && common != 9 {
                let old = Rkey(tid(rev_us - dice.below(300_000_000_000), dice.below(1024)));
                let author = ActorId(dice.below(40_000_000) as u32);
                let post = PostId { author, rkey: Rkey(tid(rev_us - dice.below(1 << 40), 3)) };
                What::Delete {
                    coll,
                    rkey: old,
                    rev,
                    target: (common < 5).then_some(Target::Post(post)),
                }
            } else {
                let cid = (dice.next() as u32).to_be_bytes();
                What::Put { coll, rkey, rev, cid, created: common != 9 }
            };
            changes.push(Change { mark: Mark::Live, actor, what });
        }
        changes
    }

    #[test]
    fn an_event_takes_17_bytes_at_most() {
        let mut dice = Dice(0x1234_5678_9abc_def1);
        for count in [64, 512] {
            let (mut bytes, mut events) = (0, 0);
            for n in 0..40 {
                let now = NOW + n * 1_000_000;
                let changes = network(&mut dice, count, now);
                let row = encode(now, 1 << 30, &changes);
                bytes += row.len() + 8;
                events += changes.len();
                assert_eq!(decode(1, &row).unwrap().changes, changes);
            }
            let each = bytes as f64 / events as f64;
            println!("rows of {count}: {each:.2} bytes an event");
            assert!(count < 512 || each <= 17.0, "{each:.2} bytes an event");
        }
    }
}
