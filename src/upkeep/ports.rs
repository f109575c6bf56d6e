//! What upkeep needs of the parts that bring new data, as a trait so that it knows none of them.

/// Everything that brings new data: firehoses, labelers, repos that are fetched. Started and stopped together.
pub trait Intake: Send + Sync {
    /// Whether new data is taken in.
    fn is_running(&self) -> bool;

    /// Takes new data in from the stored cursors on, or stops that. What was read but not applied is read again then.
    fn take_in(&self, open: bool);

    /// Lets nothing but repairs of broken repos begin, for this reason, until it is called with `None`.
    fn hold_backfill(&self, why: Option<String>);
}
