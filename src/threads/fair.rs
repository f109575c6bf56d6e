//! A queue in which everybody has a line of his own, and lines take turns by the time that their work took: deficit
//! round robin, paid afterwards, since nobody knows beforehand what a job costs.
//!
//! # Invariants
//! - Whoever adds a few jobs waits for one job of each other line, however long those are.
//! - The number of waiting jobs is bounded. When it is reached, the longest line loses its last job to a shorter one.
//! - What is remembered of a line without jobs goes once it owes nothing, or nobody waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What a line that owes is given each time that its turn is passed over.
const QUANTUM: i64 = 1_000_000;
/// Most that a line can owe, so that one long job does not shut its line out for long.
const MOST_OWED: i64 = 250 * QUANTUM;

/// Lines without jobs that stay when nobody waits, so that those who come often are not made anew each time.
const KEPT: usize = 8;

/// Whose line a job goes to.
#[derive(Debug, Clone, Copy)]
pub struct Turn<K> {
    /// Whose it is.
    pub key: K,
    /// Most jobs that may wait in this line.
    pub most: usize,
    /// It finds a place in any case.
    pub first: bool,
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// Its line is as long as it may be.
    InLine,
    /// The queue is full, and no line is longer than its own.
    AtAll,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<K, J> {
    Job(K, J),
    /// It waited too long: nobody wants it any more.
    Late(J),
}

#[derive(Debug)]
struct Line<J> {
    jobs: VecDeque<Waiting<J>>,
    /// Nanoseconds; below zero it owes.
    credit: i64,
    running: usize,
}

#[derive(Debug)]
struct Waiting<J> {
    job: J,
    since: Instant,
    first: bool,
}

#[derive(Debug)]
pub(super) struct Fair<K, J> {
    lines: HashMap<K, Line<J>>,
    turns: VecDeque<K>,
    waiting: usize,
    /// Lines with jobs that wait.
    long: usize,
    most: usize,
    patience: Option<Duration>,
}

impl<K: Copy + Eq + Hash, J> Fair<K, J> {
    pub(super) fn new(most: usize, patience: Option<Duration>) -> Self {
        let (lines, turns) = (HashMap::new(), VecDeque::new());
        Self { lines, turns, waiting: 0, long: 0, most, patience }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lines with jobs that wait: as many others somebody new waits for, about.
    pub(super) fn lines(&self) -> usize {
        self.long
    }

    /// Takes a job in. Gives back the one that lost its place for it, if one did.
    pub(super) fn push(
        &mut self,
        turn: Turn<K>,
        job: J,
        now: Instant,
    ) -> Result<Option<J>, NoPlace> {
        let Turn { key, most, first } = turn;
        let length = self.lines.get(&key).map_or(0, |line| line.jobs.len());
        let mut lost = None;
        if !first {
            if length >= most {
                return Err(NoPlace::InLine);
            }
            if self.waiting >= self.most {
                lost = Some(self.shorten(length).ok_or(NoPlace::AtAll)?);
            }
        }
        let line = self.lines.entry(key).or_insert_with(|| {
            self.turns.push_back(key);
            Line { jobs: VecDeque::new(), credit: 0, running: 0 }
        });
        self.long += usize::from(line.jobs.is_empty());
        line.jobs.push_back(Waiting { job, since: now, first });
        self.waiting += 1;
        Ok(lost)
    }

    /// The last job of the longest line, if that is longer than one with another job would be.
    fn shorten(&mut self, length: usize) -> Option<J> {
        let longest = self.lines.values_mut().max_by_key(|line| line.jobs.len())?;
        if longest.jobs.len() <= length + 1 || longest.jobs.back()?.first {
            return None;
        }
        let lost = longest.jobs.pop_back()?;
        self.long -= usize::from(longest.jobs.is_empty());
        self.waiting -= 1;
        Some(lost.job)
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<Next<K, J>> {
        if self.waiting == 0 {
            // Nobody waits for what others owe.
            if self.lines.len() > KEPT {
                self.lines.retain(|_, line| line.running > 0);
                self.turns.retain(|key| self.lines.contains_key(key));
            }
            return None;
        }
        loop {
            let key = self.turns.pop_front()?;
            let Some(line) = self.lines.get_mut(&key) else { continue };
            if line.credit < 0 {
                line.credit += QUANTUM;
            } else if let Some(Waiting { job, since, first }) = line.jobs.pop_front() {
                self.waiting -= 1;
                self.long -= usize::from(line.jobs.is_empty());
                self.turns.push_back(key);
                let late = self.patience.is_some_and(|most| now.duration_since(since) > most);
                if late && !first {
                    return Some(Next::Late(job));
                }
                line.running += 1;
                return Some(Next::Job(key, job));
            } else if line.running == 0 {
                self.lines.remove(&key);
                continue;
            }
            self.turns.push_back(key);
        }
    }

    /// A job of a line has ended.
    pub(super) fn charge(&mut self, key: K, took: Duration) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.running = line.running.saturating_sub(1);
        let took = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        line.credit = line.credit.saturating_sub(took).max(-MOST_OWED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(key: char) -> Turn<char> {
        Turn { key, most: usize::MAX, first: false }
    }

    fn fair(most: usize) -> (Fair<char, u32>, Instant) {
        (Fair::new(most, Some(Duration::from_secs(5))), Instant::now())
    }

    /// Runs everything, each job for as long as `took` says, and says whose they were.
    fn order(fair: &mut Fair<char, u32>, now: Instant, took: fn(char) -> u64) -> String {
        let mut out = String::new();
        while let Some(next) = fair.next(now) {
            let Next::Job(key, _) = next else { panic!("late") };
            fair.charge(key, Duration::from_micros(took(key)));
            out.push(key);
        }
        out
    }

    #[test]
    fn a_flood_does_not_come_before_those_who_came_later() {
        let (mut fair, now) = fair(100);
        for n in 0..8 {
            fair.push(turn('f'), n, now).unwrap();
        }
        for n in 0..2 {
            fair.push(turn('a'), n, now).unwrap();
            fair.push(turn('b'), n, now).unwrap();
        }
        assert_eq!(order(&mut fair, now, |_| 0), "fabfabffffff");
        assert_eq!(fair.waiting(), 0);
    }

    #[test]
    fn lines_take_turns_by_the_time_that_they_took() {
        let (mut fair, now) = fair(100);
        for n in 0..4 {
            fair.push(turn('s'), n, now).unwrap();
        }
        for n in 0..16 {
            fair.push(turn('q'), n, now).unwrap();
        }
        // Five milliseconds each, against half a one.
        let all = order(&mut fair, now, |key| if key == 's' { 5_000 } else { 500 });
        let (before, after) = all.split_at(10);
        assert_eq!(before.matches('s').count(), 2, "{all}");
        assert_eq!(after.matches('s').count(), 2, "{all}");
    }

    #[test]
    fn what_is_left_of_a_line_is_forgotten() {
        let (mut fair, now) = fair(100);
        for n in 0..50 {
            let key = char::from_u32('A' as u32 + n).unwrap();
            fair.push(turn(key), n, now).unwrap();
            order(&mut fair, now, |_| 3_000);
        }
        assert!(fair.lines.len() <= KEPT + 1 && fair.lines.len() == fair.turns.len());
        assert_eq!(fair.lines(), 0);
        for n in 0..3 {
            fair.push(turn('x'), n, now).unwrap();
            fair.push(turn('y'), n, now).unwrap();
        }
        assert_eq!((fair.lines(), fair.waiting()), (2, 6));
    }

    #[test]
    fn a_full_queue_takes_from_the_longest_line() {
        let (mut fair, now) = fair(4);
        for n in 0..4 {
            assert_eq!(fair.push(turn('f'), n, now), Ok(None));
        }
        assert_eq!(fair.push(turn('f'), 4, now), Err(NoPlace::AtAll));
        assert_eq!(fair.push(turn('a'), 10, now), Ok(Some(3)));
        assert_eq!(fair.push(turn('b'), 20, now), Ok(Some(2)));
        assert_eq!(fair.push(turn('a'), 11, now), Err(NoPlace::AtAll), "no line is longer");
        let operator = Turn { first: true, ..turn('o') };
        assert_eq!(fair.push(operator, 30, now), Ok(None));
        assert_eq!(order(&mut fair, now, |_| 0), "fabof");
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be() {
        let (mut fair, now) = fair(100);
        let two = Turn { most: 2, ..turn('f') };
        fair.push(two, 1, now).unwrap();
        fair.push(two, 2, now).unwrap();
        assert_eq!(fair.push(two, 3, now), Err(NoPlace::InLine));
        fair.next(now).unwrap();
        fair.push(two, 3, now).unwrap();
    }

    #[test]
    fn who_waited_too_long_is_not_served() {
        let (mut fair, now) = fair(100);
        fair.push(turn('a'), 1, now).unwrap();
        fair.push(Turn { first: true, ..turn('o') }, 2, now).unwrap();
        let later = now + Duration::from_secs(6);
        assert_eq!(fair.next(later), Some(Next::Late(1)));
        assert_eq!(fair.next(later), Some(Next::Job('o', 2)));
    }
}
