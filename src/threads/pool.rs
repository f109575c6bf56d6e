//! A fixed pool of threads for work that blocks on files or the store, or burns CPU.
//!
//! The number of threads and the length of the queue are bounded, so that a flood of requests is refused at once instead
//! of growing memory and everybody's waiting time. Who begins next is [`fair`](super::fair)'s to say: with one key all
//! jobs begin in the order in which they came, with many no key waits for the jobs of another. One job makes one hop.
//!
//! # Invariants
//! - A panic costs its own job and nothing else: the thread lives on.
//! - A job whose caller has gone before it starts is skipped.

use std::any::Any;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::fair::{Fair, Next, NoPlace, Turn};

type Job = Box<dyn FnOnce() + Send>;

/// Why a job gave no result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PoolError {
    /// The queue is full, or the job waited too long: try again later.
    #[error("the queue is full")]
    Overloaded,
    /// As many jobs of its key wait as may.
    #[error("too many jobs of one caller wait")]
    Crowded,
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
    /// How long a job may wait; for ever without.
    pub patience: Option<Duration>,
    /// Bytes of the stack of each; the system's default without. Pages that are not touched cost nothing.
    pub stack: Option<usize>,
    /// Who goes first.
    pub priority: Priority,
}

/// The pool; keys say whose jobs are whose. Its threads end when it is dropped and the queue is empty.
pub struct Pool<K = ()>(Arc<Shared<K>>);

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    wake: Condvar,
    /// As of the last job that came or began.
    lines: AtomicUsize,
}

struct Queue<K> {
    jobs: Fair<K, Job>,
    closed: bool,
}

impl<K> fmt::Debug for Pool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl<K> Drop for Pool<K> {
    fn drop(&mut self) {
        self.0.queue.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl<K: Copy + Eq + Hash + Send + 'static> Pool<K> {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: Threads) -> io::Result<Self> {
        let jobs = Fair::new(threads.queue, threads.patience);
        let queue = Mutex::new(Queue { jobs, closed: false });
        // Dropped with an error, it ends those that were started.
        let this =
            Self(Arc::new(Shared { queue, wake: Condvar::new(), lines: AtomicUsize::new(0) }));
        for n in 0..threads.count.max(1) {
            let mut builder = thread::Builder::new().name(format!("{}-{n}", threads.name));
            if let Some(bytes) = threads.stack {
                builder = builder.stack_size(bytes);
            }
            let shared = Arc::clone(&this.0);
            // Not joined: the last owner of the pool may be a job on one of these threads.
            builder.spawn(move || {
                if threads.priority == Priority::Yielding {
                    // On Linux this is the thread's own priority. Refused, the work is only less polite.
                    let _ = rustix::process::setpriority_process(None, NICE);
                }
                shared.work();
            })?;
        }
        Ok(this)
    }

    /// Runs `work` on the pool when its turn comes.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run_in<T, F>(&self, turn: Turn<K>, work: F) -> Result<T, PoolError>
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
        self.push(turn, job)?;
        // Dropped without a result: it waited too long, or lost its place to somebody with fewer.
        result.await.unwrap_or(Err(PoolError::Overloaded))
    }

    fn push(&self, turn: Turn<K>, job: Job) -> Result<(), PoolError> {
        let lost = {
            let mut queue = self.0.queue.lock();
            let lost = queue.jobs.push(turn, job, Instant::now());
            self.0.lines.store(queue.jobs.lines(), Ordering::Relaxed);
            lost
        };
        match lost {
            Ok(_) => {
                self.0.wake.notify_one();
                Ok(())
            }
            Err(NoPlace::InLine) => Err(PoolError::Crowded),
            Err(NoPlace::AtAll) => Err(PoolError::Overloaded),
        }
    }

    /// Jobs that wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.lock().jobs.waiting()
    }

    /// Keys whose jobs wait or run: how many jobs one of another key waits for, about.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.0.lines.load(Ordering::Relaxed)
    }
}

impl Pool {
    /// Runs `work` on a pool whose jobs are all alike.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.run_in(Turn { key: (), most: usize::MAX, first: false }, work).await
    }

    /// Runs `work` if there is room, and tells nobody: for what is asked for again if it was not done.
    pub fn try_spawn(&self, work: impl FnOnce() + Send + 'static) {
        let quiet = move || drop(catch_unwind(AssertUnwindSafe(work)));
        let _ = self.push(Turn { key: (), most: usize::MAX, first: false }, Box::new(quiet));
    }
}

impl<K: Copy + Eq + Hash> Shared<K> {
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            let now = Instant::now();
            let next = queue.jobs.next(now);
            self.lines.store(queue.jobs.lines(), Ordering::Relaxed);
            match next {
                Some(Next::Job(key, job)) => {
                    drop(queue);
                    job();
                    queue = self.queue.lock();
                    queue.jobs.charge(key, now.elapsed());
                }
                Some(Next::Late(job)) => {
                    // Whoever waits for it is told so by its end, which may take locks of its own.
                    drop(queue);
                    drop(job);
                    queue = self.queue.lock();
                }
                None if queue.closed => return,
                None => self.wake.wait(&mut queue),
            }
        }
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
    use flume::bounded;

    use super::*;

    fn pool(queue: usize) -> Pool {
        let (stack, priority) = (None, Priority::Normal);
        Pool::start(Threads { name: "test", count: 1, queue, patience: None, stack, priority })
            .unwrap()
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
            patience: None,
            stack: Some(1 << 20),
            priority: Priority::Yielding,
        };
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let polite = Pool::start(threads).unwrap().run(nice).await.unwrap();
        assert_eq!((polite, nice()), ((before + NICE).clamp(NICE, 19), before));
    }
    #[tokio::test]
    async fn a_caller_that_floods_is_told_apart_from_a_full_queue() {
        let threads = Threads {
            name: "fair",
            count: 1,
            queue: 2,
            patience: None,
            stack: None,
            priority: Priority::Normal,
        };
        let pool: Pool<char> = Pool::start(threads).unwrap();
        let turn = |key, most| Turn { key, most, first: false };
        let (started, has_started) = bounded(1);
        let (release, gate) = bounded::<()>(0);
        let mut busy = Box::pin(pool.run_in(turn('b', 9), move || {
            started.send(()).unwrap();
            gate.recv().unwrap_err();
        }));
        assert!(futures_util::poll!(&mut busy).is_pending());
        has_started.recv().unwrap();
        let mut first = Box::pin(pool.run_in(turn('f', 2), || 1));
        let mut second = Box::pin(pool.run_in(turn('f', 2), || 2));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(pool.run_in(turn('f', 2), || 3).await, Err(PoolError::Crowded));
        let mut other = Box::pin(pool.run_in(turn('a', 2), || 4));
        assert!(futures_util::poll!(&mut other).is_pending());
        assert_eq!(second.await, Err(PoolError::Overloaded), "it lost its place to the other");
        drop(release);
        assert_eq!((busy.await, first.await, other.await), (Ok(()), Ok(1), Ok(4)));
    }
}
