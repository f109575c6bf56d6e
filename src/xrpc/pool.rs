//! A fixed pool of threads for work that blocks on the store or burns CPU.
//!
//! The number of threads and the length of the queue are bounded, so that a flood of requests is answered with 503
//! at once instead of growing memory and everybody's waiting time. One request makes one hop.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use flume::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Why a job gave no result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PoolError {
    /// The queue is full: try again later.
    #[error("the read queue is full")]
    Overloaded,
    /// The job panicked; the thread lives on.
    #[error("panic: {0}")]
    Panicked(String),
}

/// The pool. Its threads end when it is dropped and the queue is empty.
#[derive(Debug)]
pub struct ReadPool {
    queue: Sender<Job>,
}

impl ReadPool {
    /// Starts `threads` threads (at least 1) with room for `queue` waiting jobs.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = bounded::<Job>(queue);
        for n in 0..threads.max(1) {
            let jobs: Receiver<Job> = receiver.clone();
            // Not joined: the last owner of the pool may be a job on one of these threads.
            thread::Builder::new()
                .name(format!("read-{n}"))
                // A thread may nest a thousand levels deep; pages that are not touched cost nothing.
                .stack_size(32 << 20)
                .spawn(move || jobs.iter().for_each(|job| job()))?;
        }
        Ok(Self { queue: sender })
    }

    /// Runs `work` on the pool. A job whose caller has gone before it starts is skipped.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !done.is_closed() {
                let outcome = catch_unwind(AssertUnwindSafe(work));
                // The caller may have hung up meanwhile; nobody misses the result.
                let _ = done
                    .send(outcome.map_err(|panic| PoolError::Panicked(panic_text(panic.as_ref()))));
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return Err(PoolError::Overloaded);
            }
        }
        result.await.unwrap_or_else(|_| Err(PoolError::Panicked("job dropped".to_owned())))
    }

    /// Jobs that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// The message of a caught panic.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_leaves_the_thread_alive() {
        let pool = ReadPool::start(1, 4).unwrap();
        let outcome = pool.run(|| -> u32 { panic!("boom") }).await;
        assert_eq!(outcome, Err(PoolError::Panicked("boom".to_owned())));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_queue_sheds_load() {
        let pool = ReadPool::start(1, 1).unwrap();
        let (started, has_started) = bounded(1);
        let (release, gate) = bounded::<()>(0);
        let busy = pool.run(move || {
            started.send(()).unwrap();
            gate.recv().unwrap_err();
        });
        tokio::pin!(busy);
        assert!(futures_util::poll!(busy.as_mut()).is_pending());
        has_started.recv().unwrap();
        let queued = pool.run(|| 1);
        tokio::pin!(queued);
        assert!(futures_util::poll!(queued.as_mut()).is_pending());
        assert_eq!(pool.waiting(), 1);
        assert_eq!(pool.run(|| 2).await, Err(PoolError::Overloaded));
        drop(release);
        assert_eq!(busy.await, Ok(()));
        assert_eq!(queued.await, Ok(1));
    }
}
