//! Politeness and patience, host by host: who may be asked now, and for what.
//!
//! Each host has its own queue, so a slow one holds up nobody else. A host that fails is left alone for a growing
//! time, as a whole: not each of its repos tries. After that one request goes first.
//!
//! Knows no sockets and no store; the clock is given.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::schema::ActorId;
use crate::threads::Backoff;
use crate::work::repo_queue::Priority;

/// Requests at one host at a time.
const PER_HOST: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
const PAUSE: Backoff = Backoff::new(FIRST_PAUSE, 2, LONGEST_PAUSE);
/// Longest time that a host's own word is taken for.
const LONGEST_ASKED: Duration = Duration::from_secs(2 * 3600);
/// Hosts remembered because they failed.
const MAX_HOSTS: usize = 20_000;

/// Something to ask a host for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A repo.
    Repo(ActorId),
    /// The next page of a list.
    List(u32),
}

#[derive(Debug, Default)]
struct Host {
    queues: [VecDeque<Work>; Priority::ALL.len()],
    running: usize,
    /// Not before, because it said so or failed.
    until: Option<Instant>,
    /// Time between requests that it asks for.
    pace: Option<Duration>,
    failures: u32,
    error: String,
    served: u64,
}

impl Host {
    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0
            && self.queues.iter().all(VecDeque::is_empty)
            && self.until.is_none_or(|until| until <= now)
    }

    fn next(&self, now: Instant, allowed: impl Fn(Priority) -> bool) -> Option<Priority> {
        let slots = if self.failures > 0 { 1 } else { PER_HOST };
        if self.running >= slots || self.until.is_some_and(|until| until > now) {
            return None;
        }
        let mut queues = Priority::ALL.into_iter().zip(&self.queues);
        queues.find(|(p, queue)| !queue.is_empty() && allowed(*p)).map(|(p, _)| p)
    }
}

/// A host that is left alone.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ParkedHost {
    /// Scheme and host.
    pub host: String,
    /// Seconds until it is asked again.
    pub for_s: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub error: String,
}

/// Every host that there is work for, or that failed.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    by_name: HashMap<String, Host>,
    served: u64,
}

impl Hosts {
    pub(crate) fn push(&mut self, host: &str, priority: Priority, work: Work) {
        let host = match self.by_name.get_mut(host) {
            Some(known) => known,
            None => self.by_name.entry(host.to_owned()).or_default(),
        };
        if let Some(queue) = host.queues.get_mut(priority as usize) {
            queue.push_back(work);
        }
    }

    /// The most urgent work that may begin; among equals the host that was asked longest ago. The caller says when it
    /// is over.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        allowed: impl Fn(Priority) -> bool,
    ) -> Option<(String, Work)> {
        let ready = self.by_name.iter().filter_map(|(name, host)| {
            let priority = host.next(now, &allowed)?;
            Some(((priority, host.served), name))
        });
        let ((priority, _), name) = ready.min()?;
        let name = name.clone();
        self.served += 1;
        let host = self.by_name.get_mut(&name)?;
        host.served = self.served;
        host.running += 1;
        host.until = host.pace.map(|pace| now + pace);
        let work = host.queues.get_mut(priority as usize)?.pop_front()?;
        Some((name, work))
    }

    /// A request is over.
    pub(crate) fn ended(&mut self, host: &str, now: Instant) {
        if let Some(host) = self.by_name.get_mut(host) {
            host.running = host.running.saturating_sub(1);
        }
        if self.by_name.len() > MAX_HOSTS {
            self.by_name.retain(|_, host| !host.is_idle(now));
        }
    }

    /// What an answer said about limits.
    pub(crate) fn said(
        &mut self,
        host: &str,
        now: Instant,
        pause: Option<Duration>,
        pace: Option<Duration>,
    ) {
        let Some(host) = self.by_name.get_mut(host) else { return };
        host.pace = pace;
        let until = pause.map(|pause| now + pause.min(LONGEST_ASKED));
        host.until = host.until.max(until);
    }

    /// It answered as it should.
    pub(crate) fn answered(&mut self, host: &str) {
        if let Some(host) = self.by_name.get_mut(host) {
            host.failures = 0;
            host.error.clear();
        }
    }

    /// It did not; gives how long it is left alone. What failed together counts once.
    pub(crate) fn failed(&mut self, host: &str, now: Instant, error: &str) -> Duration {
        let Some(host) = self.by_name.get_mut(host) else { return FIRST_PAUSE };
        error.clone_into(&mut host.error);
        if let Some(until) = host.until.filter(|until| *until > now && host.failures > 0) {
            return until.duration_since(now);
        }
        host.failures = host.failures.saturating_add(1);
        let until = host.until.max(Some(now + PAUSE.wait(host.failures)));
        host.until = until;
        until.map_or(FIRST_PAUSE, |until| until.duration_since(now))
    }

    /// How long a host is left alone still.
    pub(crate) fn pause(&self, host: &str, now: Instant) -> Option<Duration> {
        let until = self.by_name.get(host)?.until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// What is wrong with a host, if anything is.
    pub(crate) fn error(&self, host: &str) -> Option<&str> {
        self.by_name.get(host).filter(|host| host.failures > 0).map(|host| host.error.as_str())
    }

    /// Takes everything out of a host's queue.
    pub(crate) fn drain(&mut self, host: &str) -> Vec<Work> {
        let Some(host) = self.by_name.get_mut(host) else { return Vec::new() };
        host.queues.iter_mut().flat_map(|queue| queue.drain(..)).collect()
    }

    /// Hosts that failed and are left alone, those for longest first.
    pub(crate) fn parked(&self, now: Instant, limit: usize) -> (usize, Vec<ParkedHost>) {
        let parked = self.by_name.iter().filter_map(|(name, host)| {
            let left = host.until?.checked_duration_since(now)?;
            (host.failures > 0).then(|| ParkedHost {
                host: name.clone(),
                for_s: left.as_secs(),
                failures: host.failures,
                error: host.error.clone(),
            })
        });
        let mut all: Vec<ParkedHost> = parked.collect();
        all.sort_by(|a, b| b.for_s.cmp(&a.for_s).then_with(|| a.host.cmp(&b.host)));
        let count = all.len();
        all.truncate(limit);
        (count, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(n: u32) -> Work {
        Work::Repo(ActorId(n))
    }

    #[test]
    fn the_urgent_come_first_and_hosts_take_turns() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        for n in 0..5 {
            hosts.push("a", Priority::Listed, repo(n));
        }
        hosts.push("b", Priority::Listed, repo(10));
        hosts.push("b", Priority::Resync, repo(11));
        let mut taken = Vec::new();
        while let Some((host, work)) = hosts.next(now, |_| true) {
            taken.push((host, work));
        }
        let order: Vec<_> = taken.iter().map(|(host, work)| (host.as_str(), *work)).collect();
        assert_eq!(order[0], ("b", repo(11)));
        // Three at a time; the other host is not held up.
        let mut rest = order[1..].to_vec();
        rest.sort_by_key(|(host, _)| *host);
        assert_eq!(rest, [("a", repo(0)), ("a", repo(1)), ("a", repo(2)), ("b", repo(10))]);
        hosts.ended("a", now);
        assert_eq!(hosts.next(now, |p| p == Priority::Resync), None);
        assert_eq!(hosts.next(now, |_| true), Some(("a".to_owned(), repo(3))));
    }

    #[test]
    fn a_failing_host_is_left_alone_for_longer_and_longer_and_then_tried_once() {
        let (mut hosts, mut now) = (Hosts::default(), Instant::now());
        for n in 0..9 {
            hosts.push("a", Priority::Listed, repo(n));
        }
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let running = if pauses.is_empty() { PER_HOST } else { 1 };
            for _ in 0..running {
                assert!(hosts.next(now, |_| true).is_some());
            }
            assert_eq!(hosts.next(now, |_| true), None);
            let mut pause = Duration::ZERO;
            for _ in 0..running {
                pause = hosts.failed("a", now, "connect");
                hosts.ended("a", now);
                hosts.push("a", Priority::Listed, repo(0));
            }
            assert_eq!(hosts.next(now, |_| true), None);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses[..4], [5, 10, 20, 40], "failures together count once");
        assert_eq!(pauses[13], LONGEST_PAUSE.as_secs());
        hosts.next(now, |_| true).unwrap();
        hosts.answered("a");
        assert!(hosts.next(now, |_| true).is_some(), "all slots again");
        assert_eq!(hosts.parked(now, 5).0, 0);
    }

    #[test]
    fn what_a_host_asks_for_is_obeyed() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        (0..9).for_each(|n| hosts.push("a", Priority::Listed, repo(n)));
        hosts.next(now, |_| true).unwrap();
        hosts.said("a", now, None, Some(Duration::from_millis(500)));
        hosts.next(now, |_| true).unwrap();
        assert_eq!(hosts.next(now, |_| true), None, "paced");
        let now = now + Duration::from_millis(500);
        hosts.said("a", now, Some(Duration::from_secs(3600)), None);
        assert_eq!(hosts.pause("a", now), Some(Duration::from_secs(3600)));
        assert_eq!(hosts.next(now + Duration::from_secs(3599), |_| true), None);
        assert!(hosts.next(now + Duration::from_secs(3600), |_| true).is_some());
    }
}
