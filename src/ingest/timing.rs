//! Intervals and timeouts of a subscription, and how long to wait for a sign of life.

use std::time::Duration;

use tokio::time::Instant;

use crate::threads::{Backoff, Pace};

/// Intervals and timeouts of a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// After this long without a sign of life, one is asked for.
    pub ping: Duration,
    /// Without any sign of life for this long, the connection is given up.
    pub alive: Duration,
    /// Without a frame for this long, the connection is given up: a stream can stall behind a live socket.
    pub stall: Duration,
    /// Waits before a new connection. Chance shortens them, so that many clients do not come back at once.
    pub retry: Backoff,
    /// How long frames wait for the key of a did:web, on a host that anybody can name.
    pub web_patience: Duration,
    /// How long frames wait for the key of another DID, from the directory.
    pub plc_patience: Duration,
    /// How often frames of accounts of which nothing is held go on as claims at once while the directory wants to be left
    /// alone. Each makes rows and a repo to fetch before anything is proven, so the others wait as long as for a key.
    pub unproven: Pace,
    /// How often a handle is looked up while frames pile up. There is time for all the others once they do not.
    pub handles_aside: Pace,
    /// How often accounts are asked about because of what an upstream says. Each question is one at the directory, and
    /// with the next it makes 3,000 in five minutes, which servers of the protocol allow anybody.
    pub questions: Pace,
    /// The same because no answer came before.
    pub rounds: Pace,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            // A busy stream is never asked; a dead socket looks just like a quiet one, and costs its lag.
            ping: Duration::from_secs(5),
            alive: Duration::from_secs(20),
            stall: Duration::from_secs(120),
            retry: Backoff::new(Duration::from_millis(200), 2, Duration::from_secs(30))
                .with_jitter(0.25),
            web_patience: Duration::from_secs(4),
            plc_patience: Duration::from_secs(15),
            unproven: Pace { burst: 1000, every: Duration::from_millis(20) },
            handles_aside: Pace { burst: 1, every: Duration::from_millis(20) },
            questions: Pace { burst: 1000, every: Duration::from_millis(125) },
            rounds: Pace { burst: 100, every: Duration::from_millis(500) },
        }
    }
}

/// A connection that was given up.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no {what} for {seconds} s")]
pub(crate) struct Silent {
    what: &'static str,
    seconds: u64,
}

/// Signs of life of a connection.
pub(crate) struct Heartbeat {
    timing: Timing,
    alive: Instant,
    frame: Instant,
    pinged: Instant,
}

impl Heartbeat {
    pub(crate) fn new(timing: Timing) -> Self {
        let now = Instant::now();
        Self { timing, alive: now, frame: now, pinged: now }
    }

    pub(crate) fn alive(&mut self) {
        self.alive = Instant::now();
    }

    pub(crate) fn frame(&mut self) {
        self.alive();
        self.frame = self.alive;
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Instant {
        self.next_alive().min(self.frame + self.timing.stall)
    }

    /// When to look again at a stream that may be silent.
    pub(crate) fn next_alive(&self) -> Instant {
        self.next_ping().min(self.alive + self.timing.alive)
    }

    /// Whether the peer is still there.
    pub(crate) fn look_alive(&self) -> Result<(), Silent> {
        if self.alive.elapsed() < self.timing.alive {
            return Ok(());
        }
        Err(Silent { what: "sign of life", seconds: self.timing.alive.as_secs() })
    }

    /// Whether the peer is still there and the stream goes on.
    pub(crate) fn look(&self) -> Result<(), Silent> {
        self.look_alive()?;
        if self.frame.elapsed() >= self.timing.stall {
            return Err(Silent { what: "frame", seconds: self.timing.stall.as_secs() });
        }
        Ok(())
    }

    fn next_ping(&self) -> Instant {
        self.pinged.max(self.alive) + self.timing.ping
    }

    pub(crate) fn ping_due(&mut self) -> bool {
        let due = self.next_ping() <= Instant::now();
        if due {
            self.pinged = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_is_not_there_is_tried_again_every_200_ms_at_first() {
        let retry = Timing::default().retry;
        let expect = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
        for (failures, want) in (1..).zip(expect) {
            assert_eq!(retry.longest(failures).as_millis(), want);
            let wait = retry.wait(failures).as_millis();
            assert!((want * 3 / 4..=want).contains(&wait), "{wait} of {want}");
        }
    }

    #[test]
    fn servers_allow_three_thousand_in_five_minutes() {
        let timing = Timing::default();
        let per_s: f64 = [timing.questions, timing.rounds]
            .iter()
            .map(|pace| 1.0 / pace.every.as_secs_f64())
            .sum();
        assert_eq!(per_s * 300.0, 3000.0);
    }
}
