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
    /// Look-ups of who signed a token, those that wait included.
    Lookups,
    /// Of these, such as came to nothing.
    VainLookups,
}

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
