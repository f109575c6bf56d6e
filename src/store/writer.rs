//! The one thread that writes.
//!
//! It takes closures from a bounded queue, runs them over one [`Tx`], and commits when the batch is large, old
//! or asked for. A commit makes the batch visible and survives a crash of the process; it is on disk after
//! the next fsync, every 500 ms, or at once for who asked through [`Writer::durable`] (group commit: all that
//! came meanwhile share the fsync).
//!
//! An error of the engine is not survivable: the thread stops, the queue closes and the process ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Store, StoreError, Tx};

const MAX_BYTES: usize = 8 << 20;
const MAX_JOBS: usize = 4096;
const MAX_AGE: Duration = Duration::from_millis(100);
/// How long a batch that nobody waits for may stay open for more.
const LINGER: Duration = Duration::from_millis(10);
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Jobs that wait: one may hold the events of 256 commits, so this is a bound of memory.
const QUEUE: usize = 32;

/// Whom to tell, and whether only when it is on disk.
struct Ack {
    durable: bool,
    tell: Box<dyn FnOnce() + Send>,
}

type Job = Box<dyn FnOnce(&mut Tx<'_>) -> Result<Option<Ack>, StoreError> + Send>;

/// Time at the end for what makes the next start quick.
const SETTLE: Duration = Duration::from_secs(3);

/// What the thread is told.
enum Order {
    Run(Job),
    Stop,
}

/// A handle to the writer thread.
#[derive(Clone)]
pub struct Writer {
    queue: flume::Sender<Order>,
    stats: Arc<WriterStats>,
}

/// Totals since start.
#[derive(Debug, Default)]
pub struct WriterStats {
    /// Batches.
    pub commits: AtomicU64,
    /// Time in commits, microseconds.
    pub commit_us: AtomicU64,
    /// The longest commit, microseconds.
    pub worst_commit_us: AtomicU64,
    /// Calls of fsync.
    pub syncs: AtomicU64,
}

impl Writer {
    /// Starts the thread. It ends after [`Writer::stop`], or when every handle is gone, with a last fsync; the
    /// handle returned beside gives its result.
    pub fn start(
        store: Store,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<Result<(), StoreError>>)> {
        let (queue, jobs) = flume::bounded(QUEUE);
        let stats = Arc::new(WriterStats::default());
        let for_thread = Arc::clone(&stats);
        let handle =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
                let end = store.clone();
                Loop { store, jobs, stats: for_thread, synced: Instant::now(), dirty: false }
                    .run()?;
                end.settle(SETTLE)
            })?;
        Ok((Self { queue, stats }, handle))
    }

    /// Totals since start.
    #[must_use]
    pub fn stats(&self) -> &WriterStats {
        &self.stats
    }

    /// Ends the thread once everything queued so far is in and on disk. Later changes are refused.
    pub async fn stop(&self) {
        let _ = self.queue.send_async(Order::Stop).await;
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Queues a change, waiting for room. An error that `job` returns stops the writer.
    pub async fn submit(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let job: Job = Box::new(move |tx| job(tx).map(|()| None));
        self.queue.send_async(Order::Run(job)).await.map_err(|_| StoreError::Closed)
    }

    /// The same for threads.
    pub fn submit_blocking(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let job: Job = Box::new(move |tx| job(tx).map(|()| None));
        self.queue.send(Order::Run(job)).map_err(|_| StoreError::Closed)
    }

    /// Changes something and answers when it is on disk and every read shows it.
    pub async fn durable<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.answered(job, true).await
    }

    /// Changes something and answers when every read shows it. A power loss may take it back, with all that was
    /// written after it: for what can be had again.
    pub async fn visible<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.answered(job, false).await
    }

    async fn answered<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        durable: bool,
    ) -> Result<T, StoreError> {
        let (done, wait) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let value = job(tx)?;
            Ok(Some(Ack { durable, tell: Box::new(move || drop(done.send(value))) }))
        });
        self.queue.send_async(Order::Run(job)).await.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)
    }
}

struct Loop {
    store: Store,
    jobs: flume::Receiver<Order>,
    stats: Arc<WriterStats>,
    synced: Instant,
    dirty: bool,
}

impl Loop {
    fn run(mut self) -> Result<(), StoreError> {
        loop {
            let first = if self.dirty {
                match self.jobs.recv_timeout(SYNC_EVERY.saturating_sub(self.synced.elapsed())) {
                    Ok(Order::Run(job)) => job,
                    Err(flume::RecvTimeoutError::Timeout) => {
                        self.sync()?;
                        continue;
                    }
                    Ok(Order::Stop) | Err(flume::RecvTimeoutError::Disconnected) => {
                        return self.sync();
                    }
                }
            } else {
                match self.jobs.recv() {
                    Ok(Order::Run(job)) => job,
                    Ok(Order::Stop) | Err(_) => return Ok(()),
                }
            };
            if !self.batch(first)? {
                return self.sync();
            }
        }
    }

    /// Commits one batch that begins with `first`; `false` if it ended with the order to stop.
    fn batch(&mut self, first: Job) -> Result<bool, StoreError> {
        let store = self.store.clone();
        let mut tx = Tx::new(&store);
        let begun = Instant::now();
        let mut acks: Vec<Ack> = Vec::new();
        let mut count = 0;
        let mut go_on = true;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            tx.mark();
            acks.extend(job(&mut tx)?);
            count += 1;
            let age = begun.elapsed();
            if count >= MAX_JOBS || tx.bytes() >= MAX_BYTES || age >= MAX_AGE {
                break;
            }
            let order = match self.jobs.try_recv() {
                Ok(order) => Some(order),
                // Somebody waits for the commit, so nothing is gained by waiting for more.
                Err(_) if !acks.is_empty() => None,
                Err(_) => self.jobs.recv_timeout(LINGER.min(MAX_AGE.saturating_sub(age))).ok(),
            };
            match order {
                Some(Order::Run(job)) => next = Some(job),
                Some(Order::Stop) => go_on = false,
                None => {}
            }
        }
        self.commit(tx)?;
        if acks.iter().any(|ack| ack.durable) || self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        for ack in acks {
            (ack.tell)();
        }
        Ok(go_on)
    }

    fn commit(&mut self, tx: Tx<'_>) -> Result<(), StoreError> {
        let begun = Instant::now();
        self.store.commit(tx.into_parts()?)?;
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.commit_us.fetch_add(us, Ordering::Relaxed);
        self.stats.worst_commit_us.fetch_max(us, Ordering::Relaxed);
        self.dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.store.sync()?;
        self.stats.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced = Instant::now();
        self.dirty = false;
        Ok(())
    }
}
