//! Rows of edges, the most numerous of all, in as few bytes as they can be told in.
//!
//! Half of an edge is two record keys, that of the edge and that of the post it is on, and both are times: an edge comes
//! after its post, nearly always within days. So one of the two, which the key of the row has whole, is taken as given and
//! the other kept as the time between them, in milliseconds where both clocks tick in those. A value ends in a number
//! whose lowest bits say how to read the rest, without leading zero bytes and without a length.
//!
//! | value | front | number, from its low bits up |
//! |---|---|---|
//! | `edge_fwd` | `odd` byte, own CID, sort delta, created delta, author or whole target | form 2, odd 1, created 1, length of author 2, then account, or clock 10 and time |
//! | `edge_rev` | flags, sort delta | form 2, odd 1, then clock 10 and time, or the whole record key |

use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, PostId, Rkey, Target};

/// The CID in the subject of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectCid {
    /// The subject is an account.
    None,
    /// The one in the `subject_cid` row of the target, else that of the held subject.
    Shared,
    /// Another one.
    Own([u8; 32]),
}

/// Bits of a TID below its microseconds.
const CLOCK_BITS: u32 = 10;
const CLOCK: u128 = (1 << CLOCK_BITS) - 1;

fn micros(rkey: Rkey) -> u64 {
    rkey.0 >> CLOCK_BITS
}

/// How far `later` is after `earlier`, both TIDs: units, and whether those are milliseconds.
fn gap(earlier: Rkey, later: Rkey) -> Option<(u64, bool)> {
    let us = micros(later).checked_sub(micros(earlier))?;
    (earlier.is_tid() && later.is_tid()).then_some(match us % 1000 {
        0 => (us / 1000, true),
        _ => (us, false),
    })
}

fn gap_us(units: u128, millis: bool) -> Option<u64> {
    u64::try_from(units).ok()?.checked_mul(if millis { 1000 } else { 1 })
}

fn tid(us: u64, clock: u128) -> Option<Rkey> {
    let clock = u64::try_from(clock & CLOCK).ok()?;
    Some(Rkey(us << CLOCK_BITS | clock)).filter(|k| k.is_tid() && micros(*k) == us)
}

/// Appends a number at the end of a value.
fn push_last(out: &mut Vec<u8>, n: u128) {
    let zeros = usize::try_from(n.leading_zeros() / 8).unwrap_or(0).min(15);
    out.extend(n.to_be_bytes().iter().skip(zeros));
}

/// The number that is all that is left.
fn last(r: &ByteReader<'_>) -> Option<u128> {
    (r.rest().len() <= 16).then(|| r.rest().iter().fold(0, |n, b| n << 8 | u128::from(*b)))
}

/// Its low bits, which say how to read what comes before it.
fn last_bits(value: &[u8]) -> Option<u8> {
    value.last().copied()
}

mod form {
    /// An account.
    pub(super) const ACCOUNT: u8 = 0;
    /// A record key by microseconds.
    pub(super) const MICROS: u8 = 1;
    /// A record key by milliseconds.
    pub(super) const MILLIS: u8 = 2;
    /// All of it.
    pub(super) const WHOLE: u8 = 3;
    pub(super) const MASK: u8 = 3;
}

const ODD: u8 = 1 << 2;
const CREATED: u8 = 1 << 3;
const EDGE_BITS: u32 = 6;
const FAN_BITS: u32 = 3;

mod odd {
    pub(super) const KEPT: u8 = 1;
    pub(super) const OWN: u8 = 1 << 1;
    pub(super) const SORT: u8 = 1 << 2;
    /// An account with a CID, or a record without.
    pub(super) const CID: u8 = 1 << 3;
}

/// A like, repost, follow or block: enough to rebuild its record bit for bit, unless `kept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRow {
    /// What it points at.
    pub target: Target,
    /// createdAt less the time in the record key.
    pub created_delta: i64,
    /// `sortAt` less createdAt; negative only if createdAt was in the future.
    pub sort_delta: i64,
    /// The CID in the subject.
    pub cid: SubjectCid,
    /// The record has more than can be rebuilt (`via`, odd dates), so it is in `record` too.
    pub kept: bool,
}

impl EdgeRow {
    /// `createdAt`.
    #[must_use]
    pub fn created_ms(&self, rkey: Rkey) -> i64 {
        rkey.millis().saturating_add(self.created_delta)
    }
    /// `sortAt`.
    #[must_use]
    pub fn sort_ms(&self, rkey: Rkey) -> i64 {
        self.created_ms(rkey).saturating_add(self.sort_delta)
    }

    fn odd_bits(&self) -> u8 {
        let account = matches!(self.target, Target::Actor(_));
        let none = matches!(self.cid, SubjectCid::None);
        let own = matches!(self.cid, SubjectCid::Own(_));
        let set = |on: bool, bit: u8| if on { bit } else { 0 };
        set(self.kept, odd::KEPT)
            | set(own, odd::OWN)
            | set(self.sort_delta != 0, odd::SORT)
            | set(!own && none != account, odd::CID)
    }

    /// The value under this record key: 9 bytes for most likes, 4 for most follows.
    #[must_use]
    pub fn encode(&self, rkey: Rkey) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        let (bits, mut head) = (self.odd_bits(), 0u8);
        if bits != 0 {
            head |= ODD;
            out.push(bits);
            if let SubjectCid::Own(c) = self.cid {
                out.extend_from_slice(&c);
            }
            if self.sort_delta != 0 {
                push_zigzag(&mut out, self.sort_delta);
            }
        }
        if self.created_delta != 0 {
            head |= CREATED;
            push_zigzag(&mut out, self.created_delta);
        }
        let near = match self.target {
            Target::Post(post) => gap(post.rkey, rkey).map(|gap| (post, gap)),
            Target::Actor(_) | Target::Record(_) => None,
        };
        let rest = match (self.target, near) {
            (Target::Actor(actor), _) => u128::from(actor.0),
            (_, Some((post, (units, millis)))) => {
                let author = post.author.0.to_be_bytes();
                let zeros = author.iter().take_while(|b| **b == 0).count().min(3);
                out.extend(author.iter().skip(zeros));
                head |= if millis { form::MILLIS } else { form::MICROS };
                head |= u8::try_from(3 - zeros).unwrap_or(3) << 4;
                u128::from(units) << CLOCK_BITS | u128::from(post.rkey.0) & CLOCK
            }
            (target, None) => {
                head |= form::WHOLE;
                out.extend_from_slice(&target.key());
                0
            }
        };
        push_last(&mut out, rest << EDGE_BITS | u128::from(head));
        out
    }

    /// Reads a row of `edge_fwd`.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (_, rkey) = key.split_last_chunk::<8>()?;
        let rkey = Rkey(u64::from_be_bytes(*rkey));
        let head = last_bits(value)?;
        let mut r = ByteReader::new(value);
        let bits = if head & ODD != 0 { r.u8()? } else { 0 };
        let own = if bits & odd::OWN != 0 { Some(r.array()?) } else { None };
        let sort_delta = if bits & odd::SORT != 0 { r.zigzag()? } else { 0 };
        let created_delta = if head & CREATED != 0 { r.zigzag()? } else { 0 };
        let target = match head & form::MASK {
            form::ACCOUNT => Target::Actor(ActorId(u32::try_from(last(&r)? >> EDGE_BITS).ok()?)),
            form::WHOLE => r.target().filter(|_| r.rest().len() == 1)?,
            near => {
                let author = r.take(usize::from(head >> 4 & 3) + 1)?;
                let author = author.iter().fold(0, |n, b| n << 8 | u32::from(*b));
                let rest = last(&r)? >> EDGE_BITS;
                let back = gap_us(rest >> CLOCK_BITS, near == form::MILLIS)?;
                let rkey = tid(micros(rkey).checked_sub(back)?, rest)?;
                Target::Post(PostId { author: ActorId(author), rkey })
            }
        };
        let account = matches!(target, Target::Actor(_));
        let cid = match own {
            Some(digest) => SubjectCid::Own(digest),
            None if account != (bits & odd::CID != 0) => SubjectCid::None,
            None => SubjectCid::Shared,
        };
        Some(Self { target, created_delta, sort_delta, cid, kept: bits & odd::KEPT != 0 })
    }
}

/// The record that makes an actor a fan of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanRow {
    /// Its record key.
    pub rkey: Rkey,
    /// `sortAt` less the time in the record key.
    pub sort_delta: i64,
    /// Whether there are duplicates to promote.
    pub duplicates: bool,
    /// Took the place of a deleted one, so it is no news to anybody.
    pub promoted: bool,
}

impl FanRow {
    /// `sortAt`.
    #[must_use]
    pub fn sort_ms(&self) -> i64 {
        self.rkey.millis().saturating_add(self.sort_delta)
    }

    /// The record key that this one is told from; the beginning of time where the target has none of use.
    fn base(target: Target) -> Rkey {
        target.record().map(|r| r.rkey).filter(|k| k.is_tid()).unwrap_or(Rkey(0))
    }

    /// The value under a key of this target: 6 bytes for most likes.
    #[must_use]
    pub fn encode(&self, target: Target) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        let mut head = 0;
        if self.sort_delta != 0 || self.duplicates || self.promoted {
            head |= ODD;
            out.push(u8::from(self.duplicates) | u8::from(self.promoted) << 1);
            push_zigzag(&mut out, self.sort_delta);
        }
        let rest = match gap(Self::base(target), self.rkey) {
            Some((units, millis)) => {
                head |= if millis { form::MILLIS } else { form::MICROS };
                u128::from(units) << CLOCK_BITS | u128::from(self.rkey.0) & CLOCK
            }
            None => {
                head |= form::WHOLE;
                u128::from(self.rkey.0)
            }
        };
        push_last(&mut out, rest << FAN_BITS | u128::from(head));
        out
    }

    /// Reads the value under a key of this target.
    #[must_use]
    pub fn decode(target: Target, value: &[u8]) -> Option<Self> {
        let head = last_bits(value)?;
        let mut r = ByteReader::new(value);
        let (flags, sort_delta) = if head & ODD != 0 { (r.u8()?, r.zigzag()?) } else { (0, 0) };
        let rest = last(&r)? >> FAN_BITS;
        let rkey = match head & form::MASK {
            form::ACCOUNT => return None,
            form::WHOLE => Rkey(u64::try_from(rest).ok()?),
            near => {
                let ahead = gap_us(rest >> CLOCK_BITS, near == form::MILLIS)?;
                tid(micros(Self::base(target)).checked_add(ahead)?, rest)?
            }
        };
        Some(Self { rkey, sort_delta, duplicates: flags & 1 != 0, promoted: flags & 2 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EdgeKind, fwd_key};
    use super::*;
    use crate::schema::{CollId, RecordId};
    use proptest::prelude::*;

    const NOW: u64 = 1_767_272_924_627_471;

    fn key(us: u64, clock: u64) -> Rkey {
        Rkey(us << 10 | clock)
    }

    fn post(author: u32, rkey: Rkey) -> Target {
        Target::Post(PostId { author: ActorId(author), rkey })
    }

    fn edge_comes_back(row: &EdgeRow, rkey: Rkey) -> Result<usize, TestCaseError> {
        let value = row.encode(rkey);
        let k = fwd_key(EdgeKind::Like, ActorId(9), rkey);
        let found = EdgeRow::decode(&k, &value);
        prop_assert_eq!(found.as_ref(), Some(row));
        Ok(value.len())
    }

    #[test]
    fn usual_rows_are_short() {
        let hour = 3_600_000_000;
        let plain =
            |target, cid| EdgeRow { target, created_delta: 0, sort_delta: 0, cid, kept: false };
        let fan = |rkey| FanRow { rkey, sort_delta: 0, duplicates: false, promoted: false };
        let on = post(30_000_000, key(NOW, 77));
        for (after, of_edge, of_fan) in [(hour + 1, 10, 6), (hour, 9, 5), (20 * hour + 1, 11, 7)] {
            let like = key(NOW + after, 1023);
            let row = plain(on, SubjectCid::Shared);
            assert_eq!(edge_comes_back(&row, like).unwrap(), of_edge, "{after}");
            assert_eq!(fan(like).encode(on).len(), of_fan, "{after}");
        }
        let follow = plain(Target::Actor(ActorId(30_000_000)), SubjectCid::None);
        assert_eq!(edge_comes_back(&follow, key(NOW, 1)).unwrap(), 4);
        assert_eq!(fan(key(NOW, 1)).encode(follow.target).len(), 8);
        assert_eq!(fan(key(NOW / 1000 * 1000, 1)).encode(follow.target).len(), 7);
    }

    #[test]
    fn nonsense_is_no_row() {
        let k = fwd_key(EdgeKind::Like, ActorId(9), key(5, 0));
        for value in [
            &[][..],
            &[form::WHOLE],
            &[odd::OWN, 9, ODD],
            &[0xff; 20],
            &[1, 0xff, 0xff, 0xff, 0xff, form::MICROS],
        ] {
            assert_eq!(EdgeRow::decode(&k, value), None, "{value:?}");
        }
        assert_eq!(EdgeRow::decode(&[], &[form::ACCOUNT]), None);
        for value in [&[][..], &[form::ACCOUNT], &[ODD], &[0xff; 20]] {
            assert_eq!(FanRow::decode(post(1, key(1, 1)), value), None, "{value:?}");
        }
    }

    fn rkeys() -> impl Strategy<Value = Rkey> {
        prop_oneof![
            any::<u64>().prop_map(Rkey),
            (0..1u64 << 40, 0..1024u64).prop_map(|(d, c)| key(NOW + d, c)),
            (0..1u64 << 30, 0..1024u64).prop_map(|(d, c)| key((NOW / 1000 + d) * 1000, c)),
        ]
    }

    fn targets() -> impl Strategy<Value = Target> {
        prop_oneof![
            any::<u32>().prop_map(|a| Target::Actor(ActorId(a))),
            (any::<u32>(), rkeys()).prop_map(|(a, k)| post(a, k)),
            (0..300u32, rkeys()).prop_map(|(a, k)| post(a, k)),
            (any::<u32>(), any::<u32>(), rkeys()).prop_map(|(a, c, rkey)| {
                Target::Record(RecordId { actor: ActorId(a), coll: CollId(c), rkey })
            }),
        ]
    }

    fn cids() -> impl Strategy<Value = SubjectCid> {
        prop_oneof![
            Just(SubjectCid::None),
            Just(SubjectCid::Shared),
            any::<[u8; 32]>().prop_map(SubjectCid::Own)
        ]
    }

    fn deltas() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), -3000..3000i64, any::<i64>()]
    }

    proptest! {
        #[test]
        fn rows_come_back(
            target in targets(), rkey in rkeys(), cid in cids(), kept: bool,
            created_delta in deltas(), sort_delta in deltas(), duplicates: bool, promoted: bool,
        ) {
            edge_comes_back(&EdgeRow { target, created_delta, sort_delta, cid, kept }, rkey)?;
            let fan = FanRow { rkey, sort_delta, duplicates, promoted };
            prop_assert_eq!(FanRow::decode(target, &fan.encode(target)), Some(fan));
        }

        #[test]
        fn garbage_is_survived(target in targets(), k in prop::collection::vec(any::<u8>(), 0..20), v in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = EdgeRow::decode(&k, &v);
            let _ = FanRow::decode(target, &v);
        }
    }
}
