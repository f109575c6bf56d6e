//! What upkeep needs of the parts that bring new data, as a trait so that it knows none of them.

use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::ingest::StartError;

/// Everything that brings new data: firehoses, labelers, repos that are fetched. Started and stopped together.
pub trait Intake: Send + Sync {
    /// Whether new data comes in.
    fn is_running(&self) -> bool;

    /// Goes on from the stored cursors.
    ///
    /// # Errors
    /// The store cannot be read or no thread be started.
    fn start(&self, config: &Config) -> Result<(), StartError>;

    /// Ends when nothing is written any more. What was read but not applied is read again after the next start.
    fn stop(&self) -> BoxFuture<'_, ()>;

    /// Lets nothing but repairs of broken repos begin, for this reason, until it is called with `None`.
    fn hold_backfill(&self, why: Option<String>);
}
