//! What runs for as long as the server does: a part. Its rule, a row of the list in `parts`, says what its end means.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Why a part ended that should not have, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct PartError(pub(super) String);

impl PartError {
    pub(super) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Something that runs until it is told to stop.
///
/// A part is shared, since others ask it while it runs, and since it may have to run again.
pub(super) trait Part: Send + Sync + 'static {
    /// Its row of the list.
    fn rule(&self) -> &'static Rule;

    /// Runs until `stop`. An end before that is a failure, with or without an error, and so is a panic. It can be called
    /// again after one.
    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>>;

    /// What it has to say for the status document. Cheap; it must not block.
    fn status(&self) -> Value {
        Value::Null
    }

    /// What it has under way that no read shows yet.
    fn pending(&self) -> usize {
        0
    }

    /// Takes over what a reload may change for it, and says which keys that were, changed or not.
    fn reload(&self, new: &Config) -> Vec<&'static str> {
        let _ = new;
        Vec::new()
    }

    /// Why the server should not be asked now, if this part knows a reason. It must not block.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A row of the list.
#[derive(Debug)]
pub(super) struct Rule {
    /// As the status and messages call it.
    pub(super) name: &'static str,
    /// What its end means.
    pub(super) at_end: AtEnd,
    /// What its absence means for those who ask.
    pub(super) without: Without,
    /// How long it may take to stop before it is left behind.
    pub(super) patience: Duration,
    /// When it stops.
    pub(super) stops: Stops,
}

/// What the end of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// The process ends, with the part's name, and whoever started it starts it again.
    Fatal,
    /// The part runs again, after a wait that doubles.
    Restart,
}

/// What the absence of a part means for those who ask the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Answers are as good as with it.
    Ready,
    /// They had better ask another server.
    NotReady,
}

/// When a part stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    /// With all others, at once.
    First,
    /// When all others have stopped: they need it to the end.
    Last,
}
