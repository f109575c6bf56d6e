//! Tasks that end together. None ends unseen: what one held, an answer that others wait for or the place of a frame,
//! would be missing for good, so whoever started them is told and begins all of them anew.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::threads::{Failure, catch_async};

/// Starts tasks on the runtime it was made on, from any thread, as long as its [`Group`] lives.
#[derive(Clone)]
pub(crate) struct Tasks {
    runtime: Handle,
    stop: CancellationToken,
    alive: mpsc::WeakSender<()>,
    failure: Failure,
}

impl Tasks {
    /// Runs `work` until it ends or the group is stopped. A panic in it is a failure of the group.
    pub(crate) fn spawn(
        &self,
        what: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(alive) = self.alive.upgrade() else { return };
        let (stop, failure) = (self.stop.clone(), self.failure.clone());
        self.runtime.spawn(async move {
            if let Err(panic) = catch_async(stop.run_until_cancelled(work)).await {
                failure.tell(&format!("{what}: {panic}"));
            }
            drop(alive);
        });
    }

    /// Runs `work`, which does not end by itself: if it does, that is a failure of the group too.
    pub(crate) fn keep(&self, what: String, work: impl Future<Output = ()> + Send + 'static) {
        let Some(alive) = self.alive.upgrade() else { return };
        let (stop, failure) = (self.stop.clone(), self.failure.clone());
        self.runtime.spawn(async move {
            match catch_async(stop.run_until_cancelled(work)).await {
                Ok(None) => {}
                Ok(Some(())) => failure.tell(&format!("{what} ended")),
                Err(panic) => failure.tell(&format!("{what}: {panic}")),
            }
            drop(alive);
        });
    }
}

/// The owner of tasks.
pub(crate) struct Group {
    stop: CancellationToken,
    alive: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
    failure: Failure,
}

impl Group {
    /// Without tasks. Needs a tokio runtime.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let (alive, ended) = mpsc::channel(1);
        Self { stop, alive, ended, failure: Failure::default() }
    }

    pub(crate) fn tasks(&self) -> Tasks {
        Tasks {
            runtime: Handle::current(),
            stop: self.stop.clone(),
            alive: self.alive.downgrade(),
            failure: self.failure.clone(),
        }
    }

    /// Told when one of them ended that should not have.
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Stops every task and waits for them to end.
    pub(crate) async fn stop(self) {
        let Self { stop, alive, mut ended, failure: _ } = self;
        stop.cancel();
        drop(alive);
        // Nothing is ever sent: the answer comes when the last task is gone.
        let _ = ended.recv().await;
    }
}
