//! How much goes out at once: to all, to one destination, to one recipient.
//!
//! Destinations are held apart by their origin. One that fails is left alone for a while, and then tried with a single
//! request until it answers again. Those that have not answered yet share half of the slots, so that however many dead
//! ones strangers register, the others get through.

use std::collections::HashMap;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::private::registrations::RegistrationId;
use crate::schema::ActorId;
use crate::threads::Backoff;

/// Requests under way together.
pub(super) const MAX_RUNNING: usize = 64;
/// Requests under way to one origin that answers.
const MAX_PER_LANE: usize = 8;
/// Requests under way to origins of which it is not known whether they answer.
const MAX_UNPROVEN: usize = MAX_RUNNING / 2;
/// An origin that fails is left alone for two seconds first, and at last for this long.
const CLOSED: Backoff = Backoff::new(Duration::from_secs(2), 2, Duration::from_secs(300));
/// Origins remembered; beyond that those that are idle and fine are forgotten.
const MAX_LANES: usize = 4096;

#[derive(Debug, Default, Clone, Copy)]
struct OriginLoad {
    running: usize,
    /// Answered last time.
    proven: bool,
    failures: u32,
    closed_until: i64,
}

/// Whether a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// Now.
    Yes,
    /// When another one has ended.
    Busy,
    /// Not before this time.
    Closed(i64),
}

/// How a destination was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It answers.
    Well,
    /// It does not; with the pause that it asked for, milliseconds.
    Ill(Option<i64>),
    /// Nothing was learned.
    Unknown,
}

/// All destinations.
#[derive(Debug, Default)]
pub(super) struct OriginLoads {
    lanes: HashMap<String, OriginLoad>,
    unproven: usize,
}

impl OriginLoads {
    pub(super) fn admit(&self, origin: &str, now: i64) -> Admit {
        let lane = self.lanes.get(origin).copied().unwrap_or_default();
        let room = if lane.proven {
            lane.running < MAX_PER_LANE
        } else {
            lane.running == 0 && self.unproven < MAX_UNPROVEN
        };
        match room {
            _ if lane.closed_until > now => Admit::Closed(lane.closed_until),
            true => Admit::Yes,
            false => Admit::Busy,
        }
    }

    pub(super) fn start(&mut self, origin: &str) {
        if self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(origin) {
            self.lanes.retain(|_, lane| lane.running > 0 || lane.failures > 0);
        }
        if self.lanes.len() >= MAX_LANES {
            self.lanes.retain(|_, lane| lane.running > 0);
        }
        let lane = self.lanes.entry(origin.to_owned()).or_default();
        lane.running += 1;
        self.count();
    }

    pub(super) fn finish(&mut self, origin: &str, health: Health, now: i64) {
        let Some(lane) = self.lanes.get_mut(origin) else { return };
        lane.running = lane.running.saturating_sub(1);
        match health {
            Health::Well => {
                *lane = OriginLoad { running: lane.running, proven: true, ..OriginLoad::default() }
            }
            Health::Ill(pause) => {
                lane.proven = false;
                lane.failures = lane.failures.saturating_add(1);
                let own = CLOSED.wait(lane.failures).as_millis();
                let own = i64::try_from(own).unwrap_or(i64::MAX);
                let until = now.saturating_add(own.max(pause.unwrap_or(0)));
                lane.closed_until = lane.closed_until.max(until);
            }
            Health::Unknown => {}
        }
        self.count();
    }

    fn count(&mut self) {
        self.unproven = self.lanes.values().filter(|l| !l.proven).map(|l| l.running).sum();
    }
}

/// How many notifications each destination of a recipient got in this minute.
#[derive(Debug, Default)]
pub(super) struct Caps {
    minute: i64,
    counts: FxHashMap<(ActorId, RegistrationId), u32>,
}

impl Caps {
    /// Counts one more; `false` if that is too many.
    pub(super) fn take(&mut self, to: (ActorId, RegistrationId), limit: u32, now: i64) -> bool {
        let minute = now.div_euclid(60_000);
        if self.minute != minute {
            self.minute = minute;
            self.counts.clear();
        }
        let count = self.counts.entry(to).or_default();
        *count = count.saturating_add(1);
        *count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_fails_is_left_alone_and_then_tried_with_one_request() {
        let mut lanes = OriginLoads::default();
        assert_eq!(lanes.admit("a", 0), Admit::Yes);
        lanes.start("a");
        assert_eq!(lanes.admit("a", 0), Admit::Busy, "not known yet");
        assert_eq!(lanes.admit("b", 0), Admit::Yes);
        lanes.finish("a", Health::Well, 0);
        for _ in 0..MAX_PER_LANE {
            assert_eq!(lanes.admit("a", 0), Admit::Yes);
            lanes.start("a");
        }
        assert_eq!(lanes.admit("a", 0), Admit::Busy);
        lanes.finish("a", Health::Ill(None), 10);
        assert_eq!(lanes.admit("a", 10), Admit::Closed(2010));
        lanes.finish("a", Health::Ill(Some(60_000)), 10);
        assert_eq!(lanes.admit("a", 2010), Admit::Closed(60_010));
        lanes.finish("a", Health::Unknown, 10);
        assert_eq!(lanes.admit("a", 60_010), Admit::Busy, "others are under way");
        for _ in 3..MAX_PER_LANE {
            lanes.finish("a", Health::Ill(None), 60_010);
        }
        assert_eq!(lanes.admit("a", 61_000), Admit::Closed(60_010 + 128_000));
        assert_eq!(lanes.admit("a", 200_000), Admit::Yes);
    }

    #[test]
    fn dead_origins_leave_half_of_the_slots_to_others() {
        let mut lanes = OriginLoads::default();
        lanes.start("good");
        lanes.finish("good", Health::Well, 0);
        let mut started = 0;
        for n in 0..2 * MAX_RUNNING {
            if lanes.admit(&n.to_string(), 0) == Admit::Yes {
                lanes.start(&n.to_string());
                started += 1;
            }
        }
        assert_eq!(started, MAX_UNPROVEN);
        assert_eq!(lanes.admit("good", 0), Admit::Yes);
        for n in 0..2 * MAX_LANES {
            lanes.start(&format!("x{n}"));
            lanes.finish(&format!("x{n}"), Health::Unknown, 0);
        }
        assert!(lanes.lanes.len() <= MAX_LANES);
    }

    #[test]
    fn origins_that_fail_are_remembered_while_there_is_room() {
        let mut lanes = OriginLoads::default();
        let fail = |lanes: &mut OriginLoads, origin: &str| {
            lanes.start(origin);
            lanes.finish(origin, Health::Ill(None), 0);
        };
        fail(&mut lanes, "bad");
        for n in 0..2 * MAX_LANES {
            lanes.start(&format!("x{n}"));
            lanes.finish(&format!("x{n}"), Health::Well, 0);
        }
        assert_eq!(lanes.admit("bad", 0), Admit::Closed(2000));
        for n in 0..2 * MAX_LANES {
            fail(&mut lanes, &format!("y{n}"));
        }
        assert!(lanes.lanes.len() <= MAX_LANES);
    }

    #[test]
    fn a_destination_gets_so_many_a_minute() {
        let mut caps = Caps::default();
        let (one, two) = ((ActorId(1), [0; 16]), (ActorId(1), [1; 16]));
        let taken: Vec<bool> = (0..3).map(|_| caps.take(one, 2, 59_999)).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(caps.take(two, 2, 59_999));
        assert!(caps.take(one, 2, 60_000));
    }
}
