//! Holds the table against clients.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use http::HeaderMap;

use super::buckets::{Buckets, Looking, MOST, Taking};
use super::client::{Client, Proxies};
use super::held::{Held, Hold};
use super::table::{Limit, Rate, Rule, TABLE};
use super::time::Elapsed;
use crate::telemetry::counters::Counters;

static REFUSED: Counters = Counters::new("limits.refused");

/// When somebody is refused for a number at a time, this is how long to wait before the next try.
const SOON: Duration = Duration::from_secs(1);

/// What a client has left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The whole rate.
    pub rate: Rate,
    /// How many are left now.
    pub remaining: u32,
    /// When all of them will be there again.
    pub reset: Duration,
}

/// That a client has had enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("too many {name}")]
pub struct Refused {
    /// Of what.
    pub name: &'static str,
    /// The rate, if it was one.
    pub rate: Option<Rate>,
    /// When to try again.
    pub wait: Duration,
}

type Limiter<S> = RateLimiter<Client, S, Elapsed, StateInformationMiddleware>;

/// One row at work.
struct Row {
    rule: Rule,
    taking: Option<Limiter<Taking>>,
    looking: Option<Limiter<Looking>>,
    held: Arc<Held>,
}

/// The table at work.
pub struct Limits {
    proxies: Proxies,
    time: Elapsed,
    rows: Vec<Row>,
}

impl Limits {
    /// The table, with numbers of the operator in place of its own; 0 is no limit.
    #[must_use]
    pub fn new(proxies: Proxies, numbers: &[(Limit, u32)]) -> Self {
        Self::with_time(proxies, numbers, Elapsed::since_now())
    }

    /// The same with a time that a test moves.
    #[must_use]
    pub fn with_time(proxies: Proxies, numbers: &[(Limit, u32)], time: Elapsed) -> Self {
        let rows = TABLE.iter().map(|rule| {
            let given = numbers.iter().find(|(limit, _)| *limit == rule.limit);
            let rule = given.map_or(*rule, |(_, number)| rule.with(*number));
            Row::new(rule, &time)
        });
        Self { proxies, rows: rows.collect(), time }
    }

    /// Who sends a request.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        self.proxies.client(peer, headers)
    }

    /// Whether an address is that of a proxy, whose connections carry what many ask.
    #[must_use]
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.has(peer)
    }

    /// A place for a connection. Proxies have as many as they want.
    ///
    /// # Errors
    /// Its address has as many as it may.
    pub fn connection(&self, peer: IpAddr) -> Result<Hold, Refused> {
        match self.is_proxy(peer) {
            true => Ok(Hold::nothing()),
            false => self.hold(Limit::Connections, Client::address(peer), 1),
        }
    }

    /// The row of a limit, if it has anything to say of a client.
    fn row(&self, limit: Limit, client: Client) -> Option<&Row> {
        let row = self.rows.get(limit as usize)?;
        (client != Client::Own || !row.rule.spares_own).then_some(row)
    }

    /// Takes one of a rate; `None` for who is not counted.
    ///
    /// # Errors
    /// None is left.
    pub fn take(&self, limit: Limit, client: Client) -> Result<Option<Standing>, Refused> {
        let Some(row) = self.row(limit, client) else { return Ok(None) };
        let (Some(rate), Some(limiter)) = (row.rule.rate, &row.taking) else { return Ok(None) };
        match limiter.check_key(&client) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = rate.count.saturating_sub(remaining);
                let reset = rate.per.mul_f64(f64::from(used) / f64::from(rate.count));
                Ok(Some(Standing { rate, remaining, reset }))
            }
            Err(until) => Err(row.refused(until.wait_time_from(self.time.now()))),
        }
    }

    /// Whether there is one of a rate to take, without taking it.
    ///
    /// # Errors
    /// None is left.
    pub fn look(&self, limit: Limit, client: Client) -> Result<(), Refused> {
        let Some(row) = self.row(limit, client) else { return Ok(()) };
        let Some(limiter) = &row.looking else { return Ok(()) };
        let looked = limiter.check_key(&client);
        looked.map(drop).map_err(|until| row.refused(until.wait_time_from(self.time.now())))
    }

    /// How many a client may have at a time, if there is a limit: for who counts them.
    #[must_use]
    pub fn most(&self, limit: Limit, client: Client) -> Option<u64> {
        self.row(limit, client)?.rule.at_once
    }

    /// What to say to whom it is that had more, found out by who counts them.
    #[must_use]
    pub fn refused(&self, limit: Limit) -> Refused {
        self.rows.get(limit as usize).map_or(Refused::default(), |row| row.refused(SOON))
    }

    /// Takes `n` of what a client may have at a time, until the [`Hold`] is dropped.
    ///
    /// # Errors
    /// It has as many as it may.
    pub fn hold(&self, limit: Limit, client: Client, n: u64) -> Result<Hold, Refused> {
        let Some(row) = self.row(limit, client) else { return Ok(Hold::nothing()) };
        let Some(most) = row.rule.at_once else { return Ok(Hold::nothing()) };
        row.held.take(client, n, most).ok_or_else(|| row.refused(SOON))
    }
}

impl Row {
    fn new(rule: Rule, time: &Elapsed) -> Self {
        let buckets = Arc::new(Buckets::new(time.clone(), MOST));
        let quota = rule.rate.and_then(quota);
        Self {
            rule,
            taking: quota
                .map(|quota| RateLimiter::new(quota, Taking(Arc::clone(&buckets)), time.clone())),
            looking: quota.map(|quota| RateLimiter::new(quota, Looking(buckets), time.clone())),
            held: Arc::default(),
        }
    }

    fn refused(&self, wait: Duration) -> Refused {
        REFUSED.inc(self.rule.name);
        Refused { name: self.rule.name, rate: self.rule.rate, wait }
    }
}

fn quota(rate: Rate) -> Option<Quota> {
    let count = NonZeroU32::new(rate.count)?;
    Some(Quota::with_period(rate.per / rate.count)?.allow_burst(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::Did;

    fn address(last: u8) -> Client {
        Client::address(IpAddr::from([192, 0, 2, last]))
    }

    fn limits(numbers: &[(Limit, u32)]) -> (Limits, Elapsed) {
        let time = Elapsed::stopped();
        let here = Proxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
        (Limits::with_time(here, numbers, time.clone()), time)
    }

    #[test]
    fn a_rate_is_used_up_and_comes_back_evenly() {
        let (limits, time) = limits(&[(Limit::Requests, 3)]);
        let take = |client| limits.take(Limit::Requests, client);
        let left = |client| take(client).map(|standing| standing.unwrap().remaining);
        assert_eq!((left(address(1)), left(address(1)), left(address(1))), (Ok(2), Ok(1), Ok(0)));
        let refused = take(address(1)).unwrap_err();
        assert_eq!((refused.name, refused.wait), ("requests", Duration::from_secs(100)));
        assert_eq!(left(address(2)), Ok(2), "another address has its own");
        time.advance(Duration::from_secs(100));
        let standing = take(address(1)).unwrap().unwrap();
        assert_eq!((standing.remaining, standing.reset), (0, Duration::from_secs(300)));
        assert!(take(address(1)).is_err());
        time.advance(Duration::from_secs(300));
        assert_eq!(left(address(1)), Ok(2), "no more than all of it");
    }

    #[test]
    fn looking_takes_nothing() {
        let (limits, _) = limits(&[(Limit::Requests, 1)]);
        for _ in 0..3 {
            limits.look(Limit::Requests, address(1)).unwrap();
        }
        limits.take(Limit::Requests, address(1)).unwrap();
        assert!(limits.look(Limit::Requests, address(1)).is_err());
    }

    #[test]
    fn this_machine_is_spared_but_for_passwords() {
        let (limits, _) = limits(&[(Limit::Requests, 1), (Limit::Logins, 1)]);
        for _ in 0..3 {
            assert_eq!(limits.take(Limit::Requests, Client::Own), Ok(None));
        }
        limits.take(Limit::Logins, Client::Own).unwrap();
        assert!(limits.take(Limit::Logins, Client::Own).is_err());
    }

    #[test]
    fn nothing_is_no_limit() {
        let (limits, _) = limits(&[(Limit::Requests, 0), (Limit::Connections, 0)]);
        assert_eq!(limits.take(Limit::Requests, address(1)), Ok(None));
        let many: Vec<_> =
            (0..1000).map(|_| limits.connection(IpAddr::from([192, 0, 2, 1])).unwrap()).collect();
        assert_eq!(many.len(), 1000);
    }

    #[test]
    fn what_is_held_comes_back_when_it_is_dropped() {
        let (limits, _) = limits(&[(Limit::Connections, 2)]);
        let [stranger, neighbour, proxy] =
            [[192, 0, 2, 1], [192, 0, 2, 2], [127, 0, 0, 1]].map(IpAddr::from);
        let first = limits.connection(stranger).unwrap();
        let _second = limits.connection(stranger).unwrap();
        assert!(limits.connection(stranger).is_err());
        assert!(limits.connection(neighbour).is_ok());
        let proxied: Vec<_> = (0..9).map(|_| limits.connection(proxy).unwrap()).collect();
        assert_eq!(proxied.len(), 9);
        drop(first);
        let _third = limits.connection(stranger).unwrap();
        assert!(limits.connection(stranger).is_err());
    }

    #[test]
    fn an_account_is_the_same_wherever_it_calls_from() {
        let (limits, _) = limits(&[(Limit::Requests, 1)]);
        let account = |text| Client::account(&Did::parse(text).unwrap());
        limits.take(Limit::Requests, account("did:plc:a")).unwrap();
        assert!(limits.take(Limit::Requests, account("did:plc:a")).is_err());
        limits.take(Limit::Requests, account("did:plc:b")).unwrap();
    }
}
