//! What is given up, and in which order, when more clients wait than can be served: backfill first, then calls that cost
//! much, last everything that nobody signed. Never what the operator asks.
//!
//! It goes by clients that wait, not by calls: a flood of one of them is that one's own matter, since each is served in
//! turn.

/// A step of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shed {
    /// Everything is done.
    Nothing,
    /// No new repos are fetched.
    Backfill,
    /// Nor are calls answered that cost much.
    Costly,
    /// Nor are those that nobody signed.
    Anonymous,
}

/// From how many waiting clients on. With two threads and some milliseconds for each, a new client then waits a tenth of
/// a second, half of one, one.
const STEPS: [(usize, Shed); 3] =
    [(512, Shed::Anonymous), (256, Shed::Costly), (32, Shed::Backfill)];

impl Shed {
    /// What is given up while so many clients wait.
    #[must_use]
    pub fn with_waiting(clients: usize) -> Self {
        let step = STEPS.iter().find(|(from, _)| clients >= *from);
        step.map_or(Self::Nothing, |(_, step)| *step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_first() {
        for (clients, expect) in [
            (0, Shed::Nothing),
            (31, Shed::Nothing),
            (32, Shed::Backfill),
            (256, Shed::Costly),
            (511, Shed::Costly),
            (512, Shed::Anonymous),
        ] {
            assert_eq!(Shed::with_waiting(clients), expect, "{clients}");
        }
        assert!(Shed::Backfill < Shed::Costly && Shed::Costly < Shed::Anonymous);
    }
}
