//! Who follows the log of changes, each on a thread of its own, and the trimming of the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use crate::changes::{Follower, Log, catch_up, trim};
use crate::discovery::trends::Trends;
use crate::search::index::Search;
use crate::store::Writer;
use crate::upkeep::ClockState;

/// Everything that follows. A new one is a folder of its own and a line here.
pub(super) fn all(trends: &Arc<Trends>, search: &Arc<Search>) -> Vec<Arc<dyn Follower>> {
    vec![Arc::clone(trends) as _, Arc::clone(search) as _]
}

pub(super) static FOLLOWERS: Rule = Rule {
    name: "followers",
    at_end: AtEnd::Restart,
    without: Without::Ready,
    patience: Duration::from_secs(2),
    stops: Stops::First,
};

/// Everyone who follows, and the trimming of the log.
pub(super) struct FollowersPart {
    pub(super) log: Arc<Log>,
    pub(super) writer: Writer,
    pub(super) clock: Arc<ClockState>,
}

impl Part for FollowersPart {
    fn rule(&self) -> &'static Rule {
        &FOLLOWERS
    }

    /// Ends with the first error: all begin anew then, each from its own cursor.
    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        Box::pin(async move {
            let stop = stop.child_token();
            // One that is killed leaves nobody behind who follows without it.
            let _ends = stop.clone().drop_guard();
            let mut running = JoinSet::new();
            for follower in self.log.followers() {
                let (log, follower) = (Arc::clone(&self.log), Arc::clone(follower));
                let (runtime, stop) = (Handle::current(), stop.clone());
                running.spawn_blocking(move || {
                    let followed = catch_up::follow(&log, &*follower, &runtime, &stop);
                    followed.map_err(|error| format!("{}: {error}", follower.name()))
                });
            }
            let (log, writer, until) = (Arc::clone(&self.log), self.writer.clone(), stop.clone());
            let clock = Arc::clone(&self.clock);
            running.spawn(async move {
                let may = move || clock.may_delete().is_ok();
                trim::run(log, writer, may, until)
                    .await
                    .map_err(|error| format!("trimming: {error}"))
            });
            let mut result = Ok(());
            while let Some(ended) = running.join_next().await {
                let ended = ended.map_err(|error| error.to_string()).flatten();
                if let Err(error) = ended
                    && result.is_ok()
                {
                    result = Err(PartError(error));
                    stop.cancel();
                }
            }
            result
        })
    }
}
