//! The table of limits.

use std::time::Duration;

/// A row by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Calls of methods, and pages.
    Requests,
    /// Pictures and blobs: a page of posts has a hundred.
    Pictures,
    /// Wrong passwords of the operator.
    Logins,
    /// Connections. Those beyond are closed.
    Connections,
    /// Calls that wait for a thread.
    Reads,
    /// Bytes of answers on their way, counted from [`ANSWER_COUNTS`] on.
    Answers,
    /// Bytes of bodies that are being sent to us.
    Bodies,
    /// Pictures of one address that are fetched and made.
    Flights,
    /// Of these, those of one host.
    HostFlights,
    /// Of these, those of a host that did not answer lately.
    FailingFlights,
    /// Blobs of one address that pass through.
    Blobs,
    /// Of these, those of one host.
    HostBlobs,
    /// Changes of private state of one account.
    Writes,
    /// Exports of everything that is held of one account.
    Exports,
    /// Look-ups of who signed a token, those that wait included.
    Lookups,
    /// Of these, such as came to nothing.
    VainLookups,
    /// WebSockets.
    Sockets,
    /// What comes in through them, pings included.
    Messages,
}

/// Smaller answers are the matter of the connection alone.
pub const ANSWER_COUNTS: usize = 16 << 10;

/// How much of something a client may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// What it is about.
    pub(super) limit: Limit,
    /// As counters and messages call it.
    pub(super) name: &'static str,
    /// How often.
    pub(super) rate: Option<Rate>,
    /// How many at a time.
    pub(super) at_once: Option<u64>,
    /// Whether this machine and its proxies are spared, when they ask for themselves.
    pub(super) spares_own: bool,
}

/// So many in such a time. All of them may come at once; what was used comes back evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

impl Rule {
    /// The same with another number; 0 is no limit.
    pub(super) fn with(self, number: u32) -> Self {
        let rate = self.rate.map(|rate| Rate { count: number, ..rate });
        Self {
            rate: rate.filter(|rate| rate.count > 0),
            at_once: self.at_once.map(|_| u64::from(number)).filter(|most| *most > 0),
            ..self
        }
    }
}

const fn rate(count: u32, seconds: u64) -> Option<Rate> {
    Some(Rate { count, per: Duration::from_secs(seconds) })
}

const BASE: Rule =
    Rule { limit: Limit::Requests, name: "", rate: None, at_once: None, spares_own: true };

/// Every limit by client, in the order of [`Limit`]. Who is counted, an address or an account, says the caller: an
/// account where one is signed in, since the address of a PDS speaks for thousands.
pub(super) const TABLE: &[Rule] = &[
    // As much as a PDS gives. A household behind one address that scrolls makes about two a second.
    Rule { limit: Limit::Requests, name: "requests", rate: rate(3_000, 300), ..BASE },
    Rule { limit: Limit::Pictures, name: "pictures", rate: rate(12_000, 300), ..BASE },
    // An operator mistypes a few times; all others guess. Whoever comes through this machine may be one of them.
    Rule { limit: Limit::Logins, name: "logins", rate: rate(10, 600), spares_own: false, ..BASE },
    // A browser opens six, a household of ten has as many each.
    Rule { limit: Limit::Connections, name: "connections", at_once: Some(64), ..BASE },
    Rule { limit: Limit::Reads, name: "waiting calls", at_once: Some(64), ..BASE },
    // Some fifty of the largest, all at once. Who reads them at all is soon below that again.
    Rule { limit: Limit::Answers, name: "unread answers", at_once: Some(16 << 20), ..BASE },
    // Forty of the largest at a time.
    Rule { limit: Limit::Bodies, name: "unfinished requests", at_once: Some(4 << 20), ..BASE },
    // A page that nobody has seen yet; pictures that are cached, or on their way for somebody else, do not count.
    Rule { limit: Limit::Flights, name: "pictures at a time", at_once: Some(64), ..BASE },
    // An eighth and a half of what there is, so that no host and few addresses can have it all.
    Rule { limit: Limit::HostFlights, name: "pictures of one host", at_once: Some(64), ..BASE },
    Rule {
        limit: Limit::FailingFlights,
        name: "pictures of a failing host",
        at_once: Some(2),
        ..BASE
    },
    Rule { limit: Limit::Blobs, name: "blobs at a time", at_once: Some(8), ..BASE },
    Rule { limit: Limit::HostBlobs, name: "blobs of one host", at_once: Some(32), ..BASE },
    // Somebody who clears years of bookmarks by hand does one in two seconds.
    Rule { limit: Limit::Writes, name: "changes", rate: rate(1_500, 3_600), ..BASE },
    Rule { limit: Limit::Exports, name: "exports", rate: rate(10, 86_400), ..BASE },
    // Only of who was never seen here. As for passwords, whoever comes through this machine may be one who guesses.
    Rule {
        limit: Limit::Lookups,
        name: "identity look-ups",
        at_once: Some(16),
        spares_own: false,
        ..BASE
    },
    // A good token costs none of these, so a PDS may bring as many newcomers as it likes.
    Rule {
        limit: Limit::VainLookups,
        name: "look-ups of made-up identities",
        rate: rate(10, 50),
        spares_own: false,
        ..BASE
    },
    // A browser has one for each tab that shows something live.
    Rule { limit: Limit::Sockets, name: "sockets", at_once: Some(20), ..BASE },
    // A client asks for something once and then listens.
    Rule { limit: Limit::Messages, name: "messages", rate: rate(300, 60), ..BASE },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_where_its_name_says_and_says_how_much() {
        for (at, rule) in TABLE.iter().enumerate() {
            assert_eq!(rule.limit as usize, at, "{}", rule.name);
            assert!(rule.rate.is_some() || rule.at_once.is_some(), "{}", rule.name);
            assert!(TABLE.iter().filter(|other| other.name == rule.name).count() == 1);
            assert!(rule.rate.is_none_or(|rate| rate.count > 0 && !rate.per.is_zero()));
        }
    }
}
