//! Politeness: how many requests run at one host at a time, and how long a host that said "later" is left alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::threads::Clock;

/// Hosts remembered before idle ones are forgotten.
const MAX_HOSTS: usize = 4096;
/// Longest time a host can make us wait.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// Pause after 429 or 503 without a time.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// Limits requests by host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HostThrottle {
    hosts: Arc<Mutex<HashMap<String, Arc<Host>>>>,
    per_host: usize,
    clock: Clock,
}

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    paused_until: Mutex<Option<Instant>>,
}

/// The right to run one request at a host; dropped when the request is over.
#[derive(Debug)]
pub struct HostPermit {
    host: Arc<Host>,
    clock: Clock,
    _slot: OwnedSemaphorePermit,
}

impl HostThrottle {
    /// At most `per_host` requests at a host at a time.
    pub fn new(per_host: usize, clock: Clock) -> Self {
        Self { hosts: Arc::default(), per_host: per_host.max(1), clock }
    }

    /// Waits for a slot at `host` and for the end of its pause. Put a timeout around it when the caller cannot wait
    /// minutes.
    pub async fn acquire(&self, host: &str) -> HostPermit {
        loop {
            // No pause is longer than that.
            if let Ok(permit) = self.acquire_unless_paused(host, Duration::MAX).await {
                return permit;
            }
        }
    }

    /// The same, for who does not wait for the end of a pause that is longer than `longest`, whether it has begun already
    /// or begins while a slot is waited for.
    ///
    /// # Errors
    /// How much longer the host wants to be left alone.
    pub async fn acquire_unless_paused(
        &self,
        host: &str,
        longest: Duration,
    ) -> Result<HostPermit, Duration> {
        let host = self.host(host);
        loop {
            match host.paused() {
                Some(left) if left > longest => return Err(left),
                Some(left) => sleep(left).await,
                None => {
                    // The semaphore is never closed, and the host may have asked for a pause while we waited.
                    if let Ok(slot) = Arc::clone(&host.slots).acquire_owned().await
                        && host.paused().is_none()
                    {
                        let clock = self.clock.clone();
                        return Ok(HostPermit { host, clock, _slot: slot });
                    }
                }
            }
        }
    }

    /// How much longer a host wants to be left alone, for who would rather not wait.
    #[must_use]
    pub fn paused(&self, host: &str) -> Option<Duration> {
        let host = self.hosts.lock().get(host).map(Arc::clone)?;
        host.paused()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= MAX_HOSTS {
            let now = Instant::now();
            hosts.retain(|_, host| {
                Arc::strong_count(host) > 1 || host.paused_until.lock().is_some_and(|t| t > now)
            });
        }
        let host = Arc::new(Host {
            slots: Arc::new(Semaphore::new(self.per_host)),
            paused_until: Mutex::new(None),
        });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl Host {
    fn paused(&self) -> Option<Duration> {
        let until = (*self.paused_until.lock())?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }
}

impl HostPermit {
    /// Takes note of what the answer says about rate limits.
    pub fn observe(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(pause) = pause(status, headers, self.clock.since_epoch()) {
            *self.host.paused_until.lock() = Some(Instant::now() + pause.min(MAX_PAUSE));
        }
    }
}

/// How long the server wants to be left alone, if it says so (`Retry-After`, RFC 9110).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            Some(at.duration_since(UNIX_EPOCH).ok()?.saturating_sub(now))
        }
    }
}

/// What a host says about how often it wants to be asked. `RateLimit-Reset` is seconds from now in the IETF draft and
/// a Unix time at atproto's servers; later drafts have one `RateLimit` field.
struct Quota {
    remaining: u64,
    reset: Option<Duration>,
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn quota(headers: &HeaderMap, now: Duration) -> Option<Quota> {
    let joint = |names: [&str; 2]| {
        let mut fields =
            text(headers, "ratelimit")?.split([';', ',']).filter_map(|f| f.split_once('='));
        fields.find(|(name, _)| names.contains(&name.trim()))?.1.trim().parse::<u64>().ok()
    };
    let number = |name: &str| text(headers, name)?.trim().parse::<u64>().ok();
    let remaining = number("ratelimit-remaining").or_else(|| joint(["remaining", "r"]))?;
    let reset = number("ratelimit-reset").or_else(|| joint(["reset", "t"]));
    let reset = reset.map(Duration::from_secs).map(|reset| {
        if reset.as_secs() > 1_000_000_000 { reset.saturating_sub(now) } else { reset }
    });
    Some(Quota { remaining, reset })
}

/// How long to leave a host alone after an answer. `Retry-After` is RFC 9110.
pub fn pause(status: StatusCode, headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let refused = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let quota = quota(headers, now);
    let reset = quota.as_ref().and_then(|quota| quota.reset);
    if !refused && quota.is_none_or(|quota| quota.remaining > 0) {
        return None;
    }
    retry_after(headers, now).or(reset).or(refused.then_some(DEFAULT_PAUSE))
}

/// How far apart requests should be so that what a host still allows lasts until it allows more; `None` while there
/// is plenty.
pub fn pace(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let quota = quota(headers, now)?;
    let limit = text(headers, "ratelimit-limit").and_then(|t| t.trim().parse::<u64>().ok());
    let scarce = quota.remaining < limit.map_or(100, |limit| limit / 2);
    let share = quota.reset?.checked_div(u32::try_from(quota.remaining).ok()?)?;
    scarce.then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (u16, &'static [(&'static str, &'static str)], Option<Duration>);

    #[test]
    fn pauses() {
        const NOW: Duration = Duration::from_secs(1_784_111_777);
        let seconds = |n| Some(Duration::from_secs(n));
        let table: [Case; 11] = [
            (200, &[], None),
            (200, &[("ratelimit-remaining", "5"), ("ratelimit-reset", "60")], None),
            (200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "60")], seconds(60)),
            (200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1784111877")], seconds(100)),
            (429, &[], Some(DEFAULT_PAUSE)),
            (429, &[("retry-after", "7"), ("ratelimit-reset", "60")], seconds(7)),
            (503, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], seconds(0)),
            (429, &[("retry-after", "soon")], Some(DEFAULT_PAUSE)),
            (500, &[("retry-after", "7")], None),
            (200, &[("ratelimit", "limit=100, remaining=0, reset=9")], seconds(9)),
            (200, &[("ratelimit", "\"default\";r=3;t=9")], None),
        ];
        for (status, headers, expect) in table {
            let headers: HeaderMap = headers
                .iter()
                .map(|(k, v)| ((*k).parse().unwrap(), (*v).parse().unwrap()))
                .collect();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(pause(status, &headers, NOW), expect, "{status} {headers:?}");
        }
    }

    #[test]
    fn what_is_left_is_spread_over_the_time() {
        type Case = (&'static [(&'static str, &'static str)], Option<u64>);
        let table: [Case; 5] = [
            (&[], None),
            (
                &[
                    ("ratelimit-limit", "3000"),
                    ("ratelimit-remaining", "2900"),
                    ("ratelimit-reset", "300"),
                ],
                None,
            ),
            (
                &[
                    ("ratelimit-limit", "3000"),
                    ("ratelimit-remaining", "600"),
                    ("ratelimit-reset", "300"),
                ],
                Some(500),
            ),
            (&[("ratelimit", "r=10;t=60")], Some(6000)),
            (&[("ratelimit-remaining", "0"), ("ratelimit-reset", "60")], None),
        ];
        for (headers, expect) in table {
            let map: HeaderMap =
                headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
            let got = pace(&map, Duration::from_secs(1_784_111_777));
            assert_eq!(got, expect.map(Duration::from_millis), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn slots_and_pauses_hold_requests_back() {
        let throttle = HostThrottle::new(1, Clock::system());
        let would_wait = async |host| {
            let soon = Duration::from_millis(20);
            tokio::time::timeout(soon, throttle.acquire(host)).await.is_err()
        };
        let first = throttle.acquire("a").await;
        assert!(would_wait("a").await, "the only slot is taken");
        assert!(!would_wait("b").await, "another host has its own slots");
        let headers =
            HeaderMap::from_iter([("retry-after".parse().unwrap(), "30".parse().unwrap())]);
        first.observe(StatusCode::TOO_MANY_REQUESTS, &headers);
        drop(first);
        assert!(would_wait("a").await, "the host asked for a pause");
        assert!(throttle.paused("a").is_some_and(|left| left > Duration::from_secs(20)));
        assert_eq!(throttle.paused("b"), None);
        assert!(!would_wait("b").await);
    }

    #[tokio::test]
    async fn who_does_not_wait_for_a_pause_is_told_how_long_it_is() {
        let throttle = HostThrottle::new(1, Clock::system());
        let headers =
            HeaderMap::from_iter([("retry-after".parse().unwrap(), "30".parse().unwrap())]);
        let short = Duration::from_secs(5);
        let first = throttle.acquire_unless_paused("a", short).await.unwrap();
        let waits = {
            let throttle = throttle.clone();
            tokio::spawn(async move { throttle.acquire_unless_paused("a", short).await.err() })
        };
        // It waits for the slot while the pause begins.
        tokio::task::yield_now().await;
        first.observe(StatusCode::TOO_MANY_REQUESTS, &headers);
        drop(first);
        let told = [waits.await.unwrap(), throttle.acquire_unless_paused("a", short).await.err()];
        assert!(told.iter().all(|left| left.is_some_and(|left| left > short)), "{told:?}");
        assert!(throttle.acquire_unless_paused("b", short).await.is_ok());
    }
}
