//! Whether a thread that has work gets on with it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The turns of a thread's loop: odd while it has work, so that one number tells both. One thread writes it, and
/// without a clock, since it is in the way of every event; whoever looks at it knows when it looked last.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// It has work and is at a new turn.
    pub fn beat(&self) {
        self.0.store(self.turns().wrapping_add(1) | 1, Ordering::Relaxed);
    }

    /// It waits for work, or for something that is not its fault.
    pub fn rest(&self) {
        let turns = self.turns();
        self.0.store(turns.wrapping_add(turns & 1), Ordering::Relaxed);
    }

    /// A number that changes with each turn; odd while there is work.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_another_number_and_odd_while_there_is_work() {
        let pulse = Pulse::default();
        let seen = [Pulse::rest, Pulse::beat, Pulse::beat, Pulse::rest, Pulse::rest, Pulse::beat]
            .map(|step| {
                step(&pulse);
                pulse.turns()
            });
        assert_eq!(seen, [0, 1, 3, 4, 4, 5]);
    }
}
