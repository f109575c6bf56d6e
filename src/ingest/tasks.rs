//! Tasks that end together.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Starts tasks on the runtime it was made on, from any thread, as long as its [`Group`] lives.
#[derive(Clone)]
pub(crate) struct Tasks {
    runtime: Handle,
    stop: CancellationToken,
    alive: mpsc::WeakSender<()>,
}

impl Tasks {
    /// Runs `work` until it ends or the group is stopped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Some(alive) = self.alive.upgrade() else { return };
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            stop.run_until_cancelled(work).await;
            drop(alive);
        });
    }
}

/// The owner of tasks.
pub(crate) struct Group {
    stop: CancellationToken,
    alive: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl Group {
    /// Without tasks. Needs a tokio runtime.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let (alive, ended) = mpsc::channel(1);
        Self { stop, alive, ended }
    }

    pub(crate) fn tasks(&self) -> Tasks {
        Tasks { runtime: Handle::current(), stop: self.stop.clone(), alive: self.alive.downgrade() }
    }

    /// Stops every task and waits for them to end.
    pub(crate) async fn stop(self) {
        let Self { stop, alive, mut ended } = self;
        stop.cancel();
        drop(alive);
        // Nothing is ever sent: the answer comes when the last task is gone.
        let _ = ended.recv().await;
    }
}
