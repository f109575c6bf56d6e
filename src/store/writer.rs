//! The one thread that writes.
//!
//! It takes closures from a bounded queue, runs them over one [`Tx`], and commits when the batch is large, old
//! or asked for. A commit makes the batch visible; it is safe from a crash of the process or the machine after
//! the next fsync, every 500 ms, or at once for who asked through [`Writer::durable`] (group commit: all that
//! came meanwhile share the fsync).
//!
//! [`Writer::start_bulk`] is for filling a store that nobody reads: batches grow until they are worth tables of their
//! own (see `bulk`), and are committed earlier only for who waits to read them.
//!
//! The engine's death is not survivable ([`StoreError::is_fatal`]): the thread stops, the queue closes and the process
//! ends with it. So that a full disk does not become one, nothing is written without room ([`Room`]). A change that
//! fails for any other reason, or panics, is taken back whole, counted by its cause and named in the log; its caller is
//! told, and the other changes of the batch go on.
//!
//! # Invariants
//! - Changes are made in the order in which they were queued. Only those whose callers wait for an answer may be left
//!   out, when there is no room, and then the caller is told.

use std::any::{Any, type_name_of_val};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::store::{Room, Store, StoreError, Tx, free_space};
use crate::telemetry::counters::Counters;
use crate::telemetry::timing::Timing;
use crate::threads::{Pulse, fault};

/// Changes that were taken back, by cause.
static TAKEN_BACK: Counters = Counters::new("store.changes_taken_back");
static COMMIT: Timing = Timing::new("store.commit", "");
static FSYNC: Timing = Timing::new("store.fsync", "");

const MAX_BYTES: usize = 8 << 20;
const MAX_JOBS: usize = 4096;
const MAX_AGE: Duration = Duration::from_millis(100);
/// How long a batch that nobody waits for may stay open for more.
const LINGER: Duration = Duration::from_millis(10);
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// How often an idle writer asks the engine whether it still works.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// Jobs that wait: one may hold the events of 256 commits, so this is a bound of memory.
const QUEUE: usize = 32;

/// Whom to tell, and whether only when it is on disk.
struct Ack {
    durable: bool,
    tell: Box<dyn FnOnce() + Send>,
}

/// Makes the change; without a batch, says that it is not made.
type Work =
    Box<dyn for<'t, 's> FnOnce(Option<&'t mut Tx<'s>>) -> Result<Option<Ack>, StoreError> + Send>;

struct Job {
    work: Work,
    /// Whether somebody waits for the answer.
    answered: bool,
}

/// Time at the end for what makes the next start quick.
const SETTLE: Duration = Duration::from_millis(1500);
/// Between two looks whether there is room again.
const LOOK: Duration = Duration::from_millis(100);

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
    room: Arc<Room>,
    stopping: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
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
        let path = store.path().to_owned();
        Self::start_in(store, Room::new(move || free_space(&path)), false)
    }

    /// The same, to fill a store that nobody reads.
    pub fn start_bulk(
        store: Store,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<Result<(), StoreError>>)> {
        let path = store.path().to_owned();
        Self::start_in(store, Room::new(move || free_space(&path)), true)
    }

    /// The same with another idea of how much room there is.
    pub(crate) fn start_in(
        store: Store,
        room: Room,
        bulk: bool,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<Result<(), StoreError>>)> {
        let (queue, jobs) = flume::bounded(QUEUE);
        let writer = Self {
            queue,
            stats: Arc::default(),
            room: Arc::new(room),
            stopping: Arc::default(),
            pulse: Arc::default(),
        };
        let work = Loop {
            store: store.clone(),
            jobs,
            kept: VecDeque::new(),
            stats: Arc::clone(&writer.stats),
            room: Arc::clone(&writer.room),
            stopping: Arc::clone(&writer.stopping),
            pulse: Arc::clone(&writer.pulse),
            synced: Instant::now(),
            dirty: false,
            unsynced: Vec::new(),
            bulk,
        };
        let (room, pulse) = (Arc::clone(&writer.room), Arc::clone(&writer.pulse));
        let waiting = work.jobs.clone();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let handle = thread.spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| work.run()));
            // One that has ended is not stuck: what its end means is for whoever watches it to say.
            pulse.rest();
            // Who still waits for an answer is told that there is none: handles to the queue live on.
            waiting.drain().for_each(drop);
            ended.unwrap_or_else(|panic| resume_unwind(panic))?;
            // Tables are made of what is in the journal anyway.
            if room.lacks() { Ok(()) } else { store.settle(SETTLE) }
        })?;
        Ok((writer, handle))
    }

    /// Whether there is room to write.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Whether the thread gets on. One that waits for room on the disk does.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Totals since start.
    #[must_use]
    pub fn stats(&self) -> &WriterStats {
        &self.stats
    }

    /// Ends the thread once everything queued so far is in and on disk. Later changes are refused.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.queue.send_async(Order::Stop).await;
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Queues a change, waiting for a place in the queue. If `job` fails, what it did is taken back, and only the log and the
    /// counters say so. While the disk is full the change waits.
    pub async fn submit(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let job = unanswered(job);
        self.queue.send_async(Order::Run(job)).await.map_err(|_| StoreError::Closed)
    }

    /// The same for threads.
    pub fn submit_blocking(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.send(Order::Run(unanswered(job))).map_err(|_| StoreError::Closed)
    }

    /// Changes something and answers when it is on disk and every read shows it. [`StoreError::NoRoom`] while the disk is
    /// full. If `job` fails, its error is the answer, and what it did is taken back.
    pub async fn durable<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.answered(job, true).await
    }

    /// Changes something and answers when every read shows it. A crash may take it back, with all that was written
    /// after it, since the engine holds the end of its journal in memory between two fsyncs: for what can be had
    /// again.
    pub async fn visible<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.answered(job, false).await
    }

    /// Queues a change and gives where its answer comes as soon as it is made: what is changed after it finds it, but
    /// reads may not show it yet, and a crash may take it back. For threads.
    pub fn made_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Answer<T>, StoreError> {
        let (order, answer) = self.asked(|done| {
            Box::new(move |tx| {
                drop(done.send(match tx {
                    Some(tx) => attempt(tx, job)?,
                    None => Err(StoreError::NoRoom),
                }));
                Ok(None)
            })
        })?;
        self.queue.send(order).map_err(|_| StoreError::Closed)?;
        Ok(Answer(answer))
    }

    async fn answered<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        durable: bool,
    ) -> Result<T, StoreError> {
        let (order, answer) = self.asked(|done| {
            Box::new(move |tx| {
                let Some(tx) = tx else {
                    drop(done.send(Err(StoreError::NoRoom)));
                    return Ok(None);
                };
                match attempt(tx, job)? {
                    Ok(value) => {
                        let tell = Box::new(move || drop(done.send(Ok(value))));
                        Ok(Some(Ack { durable, tell }))
                    }
                    // Nothing is left of it that would have to be committed first.
                    Err(error) => {
                        drop(done.send(Err(error)));
                        Ok(None)
                    }
                }
            })
        })?;
        self.queue.send_async(order).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Work that answers, and where.
    fn asked<T>(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Work,
    ) -> Result<(Order, oneshot::Receiver<Result<T, StoreError>>), StoreError> {
        if self.room.is_short() {
            return Err(StoreError::NoRoom);
        }
        let (done, answer) = oneshot::channel();
        Ok((Order::Run(Job { work: work(done), answered: true }), answer))
    }
}

/// What a change will answer.
pub struct Answer<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Answer<T> {
    /// Waits for it, on a thread that may block.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().map_err(|_| StoreError::Closed)?
    }
}

fn unanswered(job: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) -> Job {
    let work: Work = Box::new(move |tx| {
        if let Some(tx) = tx {
            // Whoever queued it has gone on; the log and the counters know.
            let _ = attempt(tx, job)?;
        }
        Ok(None)
    });
    Job { work, answered: false }
}

/// Makes a change, or none of it. The outer error is the engine's death.
fn attempt<T, J: FnOnce(&mut Tx<'_>) -> Result<T, StoreError>>(
    tx: &mut Tx<'_>,
    job: J,
) -> Result<Result<T, StoreError>, StoreError> {
    let change = type_name_of_val(&job);
    tx.keep();
    let error = match catch_unwind(AssertUnwindSafe(|| job(tx))) {
        Ok(Ok(value)) => return Ok(Ok(value)),
        Ok(Err(error)) if error.is_fatal() => return Err(error),
        Ok(Err(error)) => error,
        Err(panic) => StoreError::Panicked(panic_text(panic.as_ref())),
    };
    tx.take_back();
    TAKEN_BACK.inc(error.cause());
    tracing::error!(change, %error, "a change was taken back");
    Ok(Err(error))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Whether a job may wait; who waits for its answer is told that there is no room.
fn refuse(job: Job) -> Option<Job> {
    if !job.answered {
        return Some(job);
    }
    // Nothing is changed, so nothing can fail.
    let _ = (job.work)(None);
    None
}

struct Loop {
    store: Store,
    jobs: flume::Receiver<Order>,
    /// Taken from the queue while there was no room; before all that is in it.
    kept: VecDeque<Job>,
    stats: Arc<WriterStats>,
    room: Arc<Room>,
    stopping: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    synced: Instant,
    dirty: bool,
    /// To run after the next fsync.
    unsynced: Vec<Box<dyn FnOnce() + Send>>,
    bulk: bool,
}

impl Loop {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(first) = self.first()? {
            self.pulse.beat();
            fault::point_when_serving("writer");
            if self.room.lacks() {
                if !self.wait_for_room(first)? {
                    break;
                }
            } else if !self.batch(first)? {
                break;
            }
        }
        let synced = if self.dirty { self.sync() } else { Ok(()) };
        self.pulse.rest();
        synced
    }

    /// The next job, whenever it comes; nothing at the end. What is written meanwhile waits for an fsync.
    fn first(&mut self) -> Result<Option<Job>, StoreError> {
        if let Some(job) = self.kept.pop_front() {
            return Ok(Some(job));
        }
        self.pulse.rest();
        while self.dirty {
            match self.jobs.recv_timeout(SYNC_EVERY.saturating_sub(self.synced.elapsed())) {
                Ok(Order::Run(job)) => return Ok(Some(job)),
                Ok(Order::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return Ok(None),
                Err(flume::RecvTimeoutError::Timeout) => self.sync()?,
            }
            self.pulse.rest();
        }
        loop {
            match self.jobs.recv_timeout(ALIVE_EVERY) {
                Ok(Order::Run(job)) => return Ok(Some(job)),
                Ok(Order::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return Ok(None),
                // With nothing to write nobody would hear that nothing can be written any more.
                Err(flume::RecvTimeoutError::Timeout) => self.store.is_alive()?,
            }
        }
    }

    /// Writes nothing until there is room again; `false` if it ended with the order to stop. What is kept then is lost,
    /// and the cursors with it.
    fn wait_for_room(&mut self, first: Job) -> Result<bool, StoreError> {
        if self.dirty {
            self.sync()?;
        }
        self.pulse.rest();
        self.room.shut();
        let kept = std::mem::take(&mut self.kept);
        self.kept = std::iter::once(first).chain(kept).filter_map(refuse).collect();
        while self.room.lacks() {
            if self.stopping.load(Ordering::Acquire) {
                return Ok(false);
            }
            // As many as the queue holds: then those who send wait.
            if self.kept.len() >= QUEUE {
                std::thread::sleep(LOOK);
                continue;
            }
            match self.jobs.recv_timeout(LOOK) {
                Ok(Order::Run(job)) => self.kept.extend(refuse(job)),
                Ok(Order::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return Ok(false),
                Err(flume::RecvTimeoutError::Timeout) => {}
            }
        }
        self.room.open();
        Ok(true)
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
            self.pulse.beat();
            acks.extend((job.work)(Some(&mut tx))?);
            count += 1;
            let age = begun.elapsed();
            // A big batch has the time that it needs, unless somebody waits for it.
            let full = if self.bulk && acks.is_empty() {
                tx.bytes() >= store.max_bulk()
            } else {
                let bytes = store.max_batch().min(MAX_BYTES);
                count >= MAX_JOBS || tx.bytes() >= bytes || age >= MAX_AGE
            };
            if full {
                break;
            }
            if let Some(job) = self.kept.pop_front() {
                next = Some(job);
                continue;
            }
            let order = match self.jobs.try_recv() {
                Ok(order) => Some(order),
                // Somebody waits for the commit, so nothing is gained by waiting for more.
                Err(_) if !acks.is_empty() => None,
                Err(_) if self.bulk => self.jobs.recv().ok(),
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
        self.pulse.beat();
        let begun = Instant::now();
        let big = self.bulk && tx.bytes() >= MAX_BYTES;
        let mut parts = tx.into_parts()?;
        self.unsynced.append(&mut parts.synced);
        if big {
            self.store.load(parts)?
        } else {
            self.store.commit(parts)?
        }
        let took = begun.elapsed();
        COMMIT.record(took);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.commit_us.fetch_add(us, Ordering::Relaxed);
        self.stats.worst_commit_us.fetch_max(us, Ordering::Relaxed);
        self.dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.pulse.beat();
        let begun = Instant::now();
        self.store.sync()?;
        FSYNC.since(begun);
        self.stats.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced = Instant::now();
        self.dirty = false;
        std::mem::take(&mut self.unsynced).into_iter().for_each(|f| f());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Ks, Reader};

    fn put(key: &'static [u8]) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send {
        move |tx| {
            tx.put(Ks::Meta, key, b"1");
            Ok(())
        }
    }

    /// A writer on a disk that a test fills.
    fn on_a_disk() -> (Store, Writer, Arc<AtomicU64>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let free = Arc::new(AtomicU64::new(1000));
        let seen = Arc::clone(&free);
        let room = Room::new(move || seen.load(Ordering::Relaxed));
        room.set_floor(160);
        let (writer, _thread) = Writer::start_in(store.clone(), room, false).unwrap();
        (store, writer, free, dir)
    }

    #[tokio::test]
    async fn without_room_answers_say_so_and_the_rest_waits_in_order() {
        let (store, writer, free, _dir) = on_a_disk();
        writer.durable(put(b"xa")).await.unwrap();
        free.store(159, Ordering::Relaxed);
        writer.submit(put(b"xb")).await.unwrap();
        assert!(matches!(writer.durable(put(b"xc")).await, Err(StoreError::NoRoom)));
        assert!(writer.room().is_short());
        assert!(matches!(writer.visible(put(b"xc")).await, Err(StoreError::NoRoom)));
        let after = |tx: &mut Tx<'_>| {
            assert!(tx.has(Ks::Meta, b"xb")?, "the change before it");
            tx.del(Ks::Meta, b"xb");
            Ok(())
        };
        writer.submit(after).await.unwrap();
        writer.submit(put(b"xe")).await.unwrap();
        let held = |key| store.snapshot().has(Ks::Meta, key).unwrap();
        assert_eq!([held(b"xa"), held(b"xb"), held(b"xc")], [true, false, false]);
        // A little more than the floor is needed to go on.
        free.store(170, Ordering::Relaxed);
        while writer.room().is_short() {
            tokio::time::sleep(LOOK / 10).await;
        }
        writer.durable(put(b"xd")).await.unwrap();
        let all = [held(b"xb"), held(b"xc"), held(b"xd"), held(b"xe")];
        assert_eq!(all, [false, false, true, true]);
        assert_eq!(writer.room().stops(), 1);
    }

    #[tokio::test]
    async fn the_end_of_a_thread_of_the_engine_ends_it_though_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        writer.durable(put(b"xa")).await.unwrap();
        // Where the next table would go.
        for keyspace in &store.0.keyspaces {
            let tables = keyspace.path().join("tables");
            std::fs::remove_dir_all(&tables).unwrap();
            std::fs::write(tables, "a file").unwrap();
        }
        store.settle(Duration::from_secs(5)).unwrap();
        let ended = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        assert!(matches!(ended, Err(StoreError::Engine(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_change_that_fails_is_taken_back_alone_and_its_caller_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let followed = Arc::new(AtomicU64::new(0));
        // One batch: nothing is committed before the last of them is queued.
        let (go, wait) = flume::bounded::<()>(1);
        writer
            .submit(move |tx| {
                wait.recv().map_err(|_| StoreError::Closed)?;
                tx.put(Ks::Meta, b"xa", b"1");
                Ok(())
            })
            .await
            .unwrap();
        let fails = {
            let followed = Arc::clone(&followed);
            move |tx: &mut Tx<'_>| {
                tx.put(Ks::Meta, b"xa", b"2");
                tx.mark();
                // A part that stays, behind one that a part of its own took back.
                tx.put(Ks::Meta, b"xb", b"2");
                let (after, back) = (Arc::clone(&followed), Arc::clone(&followed));
                tx.after_commit(move || {
                    after.fetch_add(1, Ordering::Relaxed);
                });
                tx.if_taken_back(move || {
                    back.fetch_add(100, Ordering::Relaxed);
                });
                tx.mark();
                tx.put(Ks::Meta, b"xc", b"2");
                tx.rollback();
                tx.put_kept(Ks::Meta, b"xk", b"2");
                Err::<(), _>(StoreError::corrupt(Ks::Label, b"\x01"))
            }
        };
        let told = {
            let writer = writer.clone();
            tokio::spawn(async move { writer.durable(fails).await })
        };
        while writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        writer.submit(|_| panic!("of a test")).await.unwrap();
        let panics = {
            let writer = writer.clone();
            tokio::spawn(
                async move { writer.visible(|_| -> Result<(), _> { panic!("n {}", 1) }).await },
            )
        };
        while writer.waiting() < 3 {
            tokio::task::yield_now().await;
        }
        writer.submit(put(b"xd")).await.unwrap();
        go.send(()).unwrap();
        let error = told.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "store: a row of label_1 does not decode: 01");
        let panicked = panics.await.unwrap().unwrap_err();
        assert!(matches!(&panicked, StoreError::Panicked(text) if text == "n 1"), "{panicked}");
        writer.durable(put(b"xe")).await.unwrap();
        let held = |key| store.snapshot().get(Ks::Meta, key).unwrap().map(|v| v.to_vec());
        let one = Some(b"1".to_vec());
        assert_eq!((held(b"xa"), held(b"xd"), held(b"xe")), (one.clone(), one.clone(), one));
        assert_eq!((held(b"xb"), held(b"xc"), held(b"xk")), (None, None, Some(b"2".to_vec())));
        assert_eq!(followed.load(Ordering::Relaxed), 100, "undone in memory, and never announced");
        assert!(TAKEN_BACK.counts()["corrupt-row"] >= 1 && TAKEN_BACK.counts()["panic"] >= 2);
    }

    #[tokio::test]
    async fn what_a_change_lets_stay_outlives_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let fails = |tx: &mut Tx<'_>| {
            tx.put(Ks::Meta, b"xa", b"1");
            tx.keep();
            tx.put(Ks::Meta, b"xa", b"2");
            tx.put(Ks::Meta, b"xb", b"2");
            Err::<(), _>(StoreError::corrupt(Ks::Label, b"\x01"))
        };
        writer.durable(fails).await.unwrap_err();
        writer.durable(put(b"xc")).await.unwrap();
        let held = |key| store.snapshot().get(Ks::Meta, key).unwrap().map(|v| v.to_vec());
        assert_eq!((held(b"xa"), held(b"xb")), (Some(b"1".to_vec()), None));
    }

    #[tokio::test]
    async fn it_ends_without_room_however_many_wait() {
        let (store, writer, free, _dir) = on_a_disk();
        free.store(0, Ordering::Relaxed);
        let full = (0..2 * QUEUE).map(|_| writer.submit(put(b"xa")));
        futures_util::future::try_join_all(full).await.unwrap();
        writer.stop().await;
        while !writer.queue.is_disconnected() {
            tokio::time::sleep(LOOK / 10).await;
        }
        assert!(!store.snapshot().has(Ks::Meta, b"xa").unwrap());
    }

    #[tokio::test]
    async fn a_filled_store_has_everything_and_shows_it_to_who_waits() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start_bulk(store.clone()).unwrap();
        // More than one batch, the last of them small.
        let value = vec![7; 1 << 20];
        let fill = move |n: u8| {
            let value = value.clone();
            move |tx: &mut Tx<'_>| {
                tx.put(Ks::Record, &[n], &value);
                tx.put(Ks::Agg, &[n % 2], &[n]);
                Ok(tx.get(Ks::Record, &[n.saturating_sub(1)])?.is_some())
            }
        };
        let held = |n: u8| store.snapshot().has(Ks::Record, &[n]).unwrap();
        for n in 0..20 {
            let (writer, fill) = (writer.clone(), fill.clone());
            let made = move || writer.made_blocking(fill(n)).unwrap().wait().unwrap();
            let before = tokio::task::spawn_blocking(made).await.unwrap();
            assert!(before, "{n}");
        }
        assert!(held(0) && !held(19), "{}", writer.stats().commits.load(Ordering::Relaxed));
        assert!(writer.visible(fill(20)).await.unwrap());
        assert!((0..=20).all(held));
        let last = |n: u8| store.snapshot().get(Ks::Agg, &[n]).unwrap().map(|v| v.to_vec());
        assert_eq!((last(0), last(1)), (Some(vec![20]), Some(vec![19])));
        writer.stop().await;
        thread.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_waits_is_told_before_a_big_batch_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 512 << 20).unwrap();
        let (writer, _thread) = Writer::start_bulk(store.clone()).unwrap();
        let (go, wait) = flume::bounded::<()>(1);
        let (begin, begun) = flume::bounded::<()>(1);
        let busy = move |_: &mut Tx<'_>| {
            begin.send(()).and(Ok(wait.recv())).map(drop).map_err(|_| StoreError::Closed)
        };
        writer.submit(busy).await.unwrap();
        begun.recv_async().await.unwrap();
        let asks = writer.clone();
        let asked = tokio::spawn(async move { asks.visible(put(b"xa")).await });
        while writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let (tell, told) = flume::unbounded();
        for n in 0..10 {
            let (store, tell) = (store.clone(), tell.clone());
            let fill = move |tx: &mut Tx<'_>| {
                tx.put(Ks::Record, &[n], &vec![7; 1 << 20]);
                tell.send(store.snapshot().has(Ks::Meta, b"xa")?).map_err(|_| StoreError::Closed)
            };
            writer.submit(fill).await.unwrap();
        }
        drop(tell);
        go.send(()).unwrap();
        asked.await.unwrap().unwrap();
        assert_eq!((told.recv_async().await, told.into_iter().last()), (Ok(false), Some(true)));
    }
}
