//! What upkeep needs of the parts that bring new data, as a trait so that it knows none of them.

use crate::ingest::UpstreamTime;

/// What is derived from the store and may wait until there is room.
pub trait Derived: Send + Sync {
    /// Writes nothing, or goes on; what it has is served meanwhile.
    fn hold(&self, held: bool);
}

/// Everything that brings new data: firehoses, labelers, repos that are fetched. Started and stopped together.
pub trait Intake: Send + Sync {
    /// Whether new data is taken in.
    fn is_running(&self) -> bool;

    /// Takes new data in from the stored cursors on as far as the disk is concerned, or stops that. What was read but not
    /// applied is read again then. Whether it runs again because of this.
    fn take_in(&self, open: bool) -> bool;

    /// Stops taking new data in because of the clock, for this reason, until it is called with `None`.
    fn wait_for_clock(&self, why: Option<String>);

    /// What the upstreams tell of the time.
    fn times(&self) -> Vec<UpstreamTime>;

    /// Lets nothing but repairs of broken repos begin, for this reason, until it is called with `None`.
    fn hold_backfill(&self, why: Option<String>);
}
