//! A fixed pool of threads for work that blocks on files or the store, or burns CPU.
//!
//! The number of threads and the length of the queue are bounded, so that a flood of requests is refused at once instead
//! of growing memory and everybody's waiting time. Jobs begin in the order in which they came; one job makes one hop.
//!
//! # Invariants
//! - A panic costs its own job and nothing else: the thread lives on.
//! - A job whose caller has gone before it starts is skipped.

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
    #[error("the queue is full")]
    Overloaded,
    /// The job panicked; the thread lives on.
    #[error("panic: {0}")]
    Panicked(String),
}

/// Who goes first on a busy machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As everything else.
    Normal,
    /// Everything else on the machine.
    Yielding,
}

/// How much [`Priority::Yielding`] yields (`nice`).
const NICE: i32 = 10;

/// The threads of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    /// What they are called, with a number.
    pub name: &'static str,
    /// How many; at least one.
    pub count: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// Bytes of the stack of each; the system's default without. Pages that are not touched cost nothing.
    pub stack: Option<usize>,
    /// Who goes first.
    pub priority: Priority,
}

/// The pool. Its threads end when it is dropped and the queue is empty.
#[derive(Debug)]
pub struct Pool {
    queue: Sender<Job>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: Threads) -> io::Result<Self> {
        let (sender, receiver) = bounded::<Job>(threads.queue);
        for n in 0..threads.count.max(1) {
            let jobs: Receiver<Job> = receiver.clone();
            let mut builder = thread::Builder::new().name(format!("{}-{n}", threads.name));
            if let Some(bytes) = threads.stack {
                builder = builder.stack_size(bytes);
            }
            // Not joined: the last owner of the pool may be a job on one of these threads.
            builder.spawn(move || {
                if threads.priority == Priority::Yielding {
                    // On Linux this is the thread's own priority. Refused, the work is only less polite.
                    let _ = rustix::process::setpriority_process(None, NICE);
                }
                jobs.iter().for_each(|job| job());
            })?;
        }
        Ok(Self { queue: sender })
    }

    /// Runs `work` on the pool.
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

    /// Runs `work` if there is room, and tells nobody: for what is asked for again if it was not done.
    pub fn try_spawn(&self, work: impl FnOnce() + Send + 'static) {
        let quiet = move || drop(catch_unwind(AssertUnwindSafe(work)));
        let _ = self.queue.try_send(Box::new(quiet));
    }

    /// Jobs that wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// The message of a caught panic.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(queue: usize) -> Pool {
        let priority = Priority::Normal;
        Pool::start(Threads { name: "test", count: 1, queue, stack: None, priority }).unwrap()
    }

    #[tokio::test]
    async fn a_panic_leaves_the_thread_alive() {
        let pool = pool(4);
        let outcome = pool.run(|| -> u32 { panic!("boom") }).await;
        assert_eq!(outcome, Err(PoolError::Panicked("boom".to_owned())));
        pool.try_spawn(|| panic!("nobody hears it"));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_queue_sheds_load() {
        let pool = pool(1);
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

    #[tokio::test]
    async fn jobs_of_callers_that_left_are_skipped_and_the_others_keep_their_order() {
        let pool = pool(8);
        let (release, gate) = bounded::<()>(0);
        let (tell, told) = bounded(8);
        pool.try_spawn(move || {
            let _ = gate.recv();
        });
        let job = |n: u32| {
            let tell = tell.clone();
            Box::pin(pool.run(move || tell.send(n).unwrap()))
        };
        let (mut first, mut left, mut last) = (job(1), job(2), job(3));
        for waiting in [&mut first, &mut left, &mut last] {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        drop(left);
        drop(release);
        first.await.unwrap();
        last.await.unwrap();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 3]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn yielding_threads_let_others_go_first() {
        let threads = Threads {
            name: "polite",
            count: 1,
            queue: 1,
            stack: Some(1 << 20),
            priority: Priority::Yielding,
        };
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let polite = Pool::start(threads).unwrap().run(nice).await.unwrap();
        assert_eq!((polite, nice()), ((before + NICE).clamp(NICE, 19), before));
    }
}
