//! Threads for work that blocks on files or takes long, with a bounded queue.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use flume::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::error::MediaError;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped and the queue is empty.
pub(super) struct Workers {
    queue: Sender<Job>,
}

impl Workers {
    /// Starts `threads` threads (at least 1) with room for `queue` waiting jobs. `nice` above 0 lets everything else
    /// on the machine go first.
    pub(super) fn start(name: &str, threads: usize, queue: usize, nice: i32) -> io::Result<Self> {
        let (sender, receiver) = bounded::<Job>(queue);
        for n in 0..threads.max(1) {
            let jobs: Receiver<Job> = receiver.clone();
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                if nice > 0 {
                    // On Linux this is the thread's own priority. Refused, the work is only less polite.
                    let _ = rustix::process::setpriority_process(None, nice);
                }
                jobs.iter().for_each(|job| job());
            })?;
        }
        Ok(Self { queue: sender })
    }

    /// Runs `work`. Work whose caller has gone before it starts is skipped.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, MediaError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !done.is_closed()
                && let Ok(value) = catch_unwind(AssertUnwindSafe(work))
            {
                // The caller may have hung up meanwhile; nobody misses the result.
                let _ = done.send(value);
            }
        });
        self.queue.try_send(job).map_err(|_| MediaError::Overloaded)?;
        result.await.map_err(|_| MediaError::Worker("panicked".into()))
    }

    /// Runs `work` if there is room, and tells nobody.
    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let quiet = move || drop(catch_unwind(AssertUnwindSafe(work)));
        // A full queue: whoever wants it asks again.
        let _ = self.queue.try_send(Box::new(quiet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_job_and_a_full_queue_refuses() {
        let workers = Workers::start("test", 1, 1, 0).unwrap();
        let panicked = workers.run(|| -> u32 { panic!("boom") }).await;
        assert!(matches!(panicked, Err(MediaError::Worker(_))));
        let (release, gate) = bounded::<()>(0);
        let (started, has_started) = bounded(1);
        let busy = workers.run(move || {
            started.send(()).unwrap();
            gate.recv().unwrap_err();
        });
        tokio::pin!(busy);
        assert!(futures_util::poll!(busy.as_mut()).is_pending());
        has_started.recv().unwrap();
        let queued = workers.run(|| 1);
        tokio::pin!(queued);
        assert!(futures_util::poll!(queued.as_mut()).is_pending());
        assert!(matches!(workers.run(|| 2).await, Err(MediaError::Overloaded)));
        drop(release);
        busy.await.unwrap();
        assert_eq!(queued.await.unwrap(), 1);
    }
}
