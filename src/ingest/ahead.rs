//! Commits that are ahead of this machine's clock: whether that tells of the clock here, or of the accounts that wrote
//! them.
//!
//! A rev from the future is refused by rule, so a clock that is behind would let every commit be refused, and the cursor
//! go on behind them. So, unless somebody else tells the time and confirms the clock, the first one of an account that is
//! ahead is held, with everything that comes after it, until others have spoken. If as many accounts are ahead as are not,
//! the clock is doubted: what was held is given back unread, the cursor stays before it, and nothing is read until the
//! clock is right. Else the account is wrong, and what was held goes its way to be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::feed::{Payload, Seq};
use crate::repo::verify::MAX_AHEAD_US;
use crate::syntax::Did;
use crate::threads::leap;

/// How far a commit may be ahead of the clock: the same as when it is verified.
const AHEAD_MS: i64 = (MAX_AHEAD_US / 1000) as i64;
/// Accounts that are heard: on a busy stream they speak within a tenth of a second.
const ACCOUNTS: usize = 16;
/// Time that they have on a quiet one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames that are held at most.
const FRAMES: usize = 1024;
/// Accounts that are remembered as wrong.
const WRONG: usize = 64;

/// What a message amounts to.
pub(crate) enum What {
    /// For the lane of its DID.
    Job(Payload),
    /// What lies between our cursor and what comes next is lost.
    Lost,
    Nothing,
    /// Nobody can read it.
    Garbage,
}

/// A frame that was read and has no place yet.
pub(crate) struct Taken {
    pub(crate) seq: Seq,
    pub(crate) weight: u32,
    pub(crate) sent: i64,
    pub(crate) received: i64,
    pub(crate) what: What,
}

impl Taken {
    /// How far ahead of the clock its rev is, in milliseconds, and of whom; of nobody if it has none.
    fn voice(&self) -> Option<(&Did, i64)> {
        let What::Job(payload) = &self.what else { return None };
        let rev = match payload {
            Payload::Commit(frame) => frame.rev,
            Payload::Sync(frame) => frame.rev,
            Payload::Identity(..) | Payload::Account(..) | Payload::Jetstream(..) => return None,
        };
        let made = i64::try_from(rev.micros() / 1000).unwrap_or(i64::MAX);
        Some((payload.did(), made.saturating_sub(self.received)))
    }

    fn is_ahead(&self) -> bool {
        self.voice().is_some_and(|(_, by)| by > AHEAD_MS)
    }
}

/// What is to be done with a frame.
pub(crate) enum Verdict {
    /// What was held gets its place.
    Pass(Vec<Taken>),
    /// It waits for others to speak.
    Hold,
    /// The clock is behind by so many milliseconds. What was held weighed so much.
    Behind(i64, usize),
}

/// What a reader knows of the clock and the accounts.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Accounts that are ahead while others are not. It is asked about each once: a stream that is being caught up with
    /// comes to the time of a clock that is behind little by little.
    wrong: BTreeSet<Did>,
    /// When the first of them was found to be, and what the clock said then: one that was set is another one.
    since: Option<(std::time::Instant, i64)>,
    held: Option<Held>,
}

struct Held {
    until: Instant,
    frames: Vec<Taken>,
    weight: usize,
    /// By account, how far ahead it was last.
    voices: BTreeMap<Did, i64>,
}

impl Held {
    /// By how much the clock is behind, if it is: as many are ahead as are not.
    fn verdict(&self) -> Option<i64> {
        let mut ahead: Vec<i64> =
            self.voices.values().copied().filter(|by| *by > AHEAD_MS).collect();
        if ahead.len() * 2 < self.voices.len() {
            return None;
        }
        ahead.sort_unstable();
        ahead.get(ahead.len() / 2).copied()
    }
}

impl Ahead {
    /// Until when what is held waits for others to speak.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// What is held weighs so much.
    pub(crate) fn weight(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.weight)
    }

    /// Whether a frame has to be looked at: almost never.
    pub(crate) fn concerns(&self, taken: &Taken) -> bool {
        self.held.is_some() || taken.is_ahead()
    }

    /// Looks at a frame; at most `budget` bytes may be held. Nobody is asked about a clock that is `confirmed`.
    pub(crate) fn look(&mut self, taken: Taken, budget: usize, confirmed: bool) -> Verdict {
        if self.held.is_none() && (confirmed || self.is_wrong(&taken)) {
            return Verdict::Pass(vec![taken]);
        }
        let now = taken.received;
        let held = self.held.get_or_insert_with(|| Held {
            until: Instant::now() + PATIENCE,
            frames: Vec::new(),
            weight: 0,
            voices: BTreeMap::new(),
        });
        if let Some((did, by)) = taken.voice() {
            held.voices.insert(did.clone(), by);
        }
        held.weight += taken.weight as usize;
        held.frames.push(taken);
        let enough = confirmed
            || held.voices.len() >= ACCOUNTS
            || held.frames.len() >= FRAMES
            || held.weight.saturating_mul(2) >= budget;
        if enough { self.decide(now, confirmed) } else { Verdict::Hold }
    }

    /// Decides by what was said until now.
    pub(crate) fn decide(&mut self, now: i64, confirmed: bool) -> Verdict {
        let Some(held) = self.held.take() else { return Verdict::Hold };
        if confirmed {
            return Verdict::Pass(held.frames);
        }
        if let Some(by) = held.verdict() {
            return Verdict::Behind(by, held.weight);
        }
        if self.wrong.len() >= WRONG || !self.is_the_same(now) {
            self.wrong.clear();
            self.since = Some((std::time::Instant::now(), now));
        }
        let ahead = held.voices.into_iter().filter(|(_, by)| *by > AHEAD_MS);
        self.wrong.extend(ahead.map(|(did, _)| did));
        Verdict::Pass(held.frames)
    }

    /// Lets go of what is held, since it will be read again; what it weighed.
    pub(crate) fn forget(&mut self) -> usize {
        self.held.take().map_or(0, |held| held.weight)
    }

    /// Whether it is of an account that is known to be wrong.
    fn is_wrong(&self, taken: &Taken) -> bool {
        let known = taken.voice().is_some_and(|(did, _)| self.wrong.contains(did));
        known && self.is_the_same(taken.received)
    }

    /// Whether the clock only went on since accounts were found wrong by it.
    fn is_the_same(&self, now: i64) -> bool {
        self.since.is_some_and(|(at, then)| leap(at.elapsed(), now.saturating_sub(then)).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::SyncFrame;
    use crate::syntax::Tid;

    const NOW: i64 = 1_750_000_000_000;
    const HOUR: i64 = 3_600_000;

    /// A frame of account `n`, ahead of the clock by so much.
    fn frame(n: usize, by: i64) -> Taken {
        let rev = Tid::from_micros(u64::try_from(NOW + by).unwrap() * 1000, 1);
        let did = Did::parse(&format!("did:plc:a{n}")).unwrap();
        let frame = SyncFrame { seq: 1, did, rev, blocks: bytes::Bytes::new(), time_ms: 0 };
        let what = What::Job(Payload::Sync(Box::new(frame)));
        Taken { seq: Seq::At(1), weight: 10, sent: NOW, received: NOW, what }
    }

    /// By how much the clock is behind after these frames; 0 if it is right.
    fn heard(ahead: &mut Ahead, frames: impl IntoIterator<Item = (usize, i64)>) -> i64 {
        let mut passed = 0;
        for (n, by) in frames {
            let taken = frame(n, by);
            if !ahead.concerns(&taken) {
                continue;
            }
            match ahead.look(taken, 1 << 20, false) {
                Verdict::Hold => {}
                Verdict::Pass(held) => passed += held.len(),
                Verdict::Behind(by, _) => return by,
            }
        }
        match ahead.decide(NOW, false) {
            Verdict::Behind(by, weight) => {
                assert_eq!(passed, 0);
                assert!(weight > 0);
                by
            }
            Verdict::Pass(_) | Verdict::Hold => 0,
        }
    }

    #[test]
    fn one_account_from_the_future_is_not_believed_and_many_are() {
        let crowd = |by: i64| (1..40).map(move |n| (n, by));
        let with = |first: (usize, i64), by: i64| std::iter::once(first).chain(crowd(by));
        assert_eq!(heard(&mut Ahead::default(), with((0, HOUR), 0)), 0);
        assert_eq!(heard(&mut Ahead::default(), with((0, HOUR), 2 * HOUR)), 2 * HOUR);
        // A little is the difference of two clocks.
        assert_eq!(heard(&mut Ahead::default(), crowd(AHEAD_MS)), 0);
        // As long as nobody else says anything, the one is as good as we are.
        assert_eq!(heard(&mut Ahead::default(), [(0, HOUR)]), HOUR);
        assert_eq!(heard(&mut Ahead::default(), [(0, HOUR), (1, 0), (2, 0)]), 0);
        // One voice each, however often.
        let flood = (0..100).map(|_| (0, HOUR)).chain([(1, 0), (2, 0), (3, 0)]);
        assert_eq!(heard(&mut Ahead::default(), flood), 0);
    }

    #[test]
    fn of_an_account_that_was_found_wrong_nobody_is_asked_again_until_the_clock_is_set() {
        let mut ahead = Ahead::default();
        let passes = |ahead: &mut Ahead, taken| matches!(ahead.look(taken, 1 << 20, false), Verdict::Pass(held) if held.len() == 1);
        assert_eq!(heard(&mut ahead, [(0, HOUR), (1, 0), (2, 0)]), 0);
        assert!(passes(&mut ahead, frame(0, HOUR)));
        let late = Taken { received: NOW - HOUR, ..frame(0, HOUR) };
        assert!(!passes(&mut ahead, late));
        ahead.forget();
        // Another one may be right: then these accounts are in the past, and the clock with them.
        assert!(!passes(&mut ahead, frame(3, HOUR)));
        ahead.forget();
        let crowd = (3..40).map(|n| (n, HOUR));
        assert_eq!(heard(&mut ahead, std::iter::once((1, 0)).chain(crowd)), HOUR);
    }

    #[test]
    fn a_clock_that_is_confirmed_needs_no_voices() {
        let mut ahead = Ahead::default();
        for n in 0..40 {
            let verdict = ahead.look(frame(n, HOUR), 1 << 20, true);
            assert!(matches!(verdict, Verdict::Pass(held) if held.len() == 1));
        }
        assert!(matches!(ahead.look(frame(0, HOUR), 1 << 20, false), Verdict::Hold));
        let verdict = ahead.look(frame(1, 0), 1 << 20, true);
        assert!(matches!(verdict, Verdict::Pass(held) if held.len() == 2));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut ahead = Ahead::default();
        let many = (0..2 * FRAMES)
            .take_while(|_| matches!(ahead.look(frame(0, HOUR), usize::MAX, false), Verdict::Hold));
        assert_eq!(many.count(), FRAMES - 1);
        let mut ahead = Ahead::default();
        let many = (0..FRAMES)
            .take_while(|_| matches!(ahead.look(frame(0, HOUR), 100, false), Verdict::Hold));
        assert_eq!(many.count(), 4);
    }
}
