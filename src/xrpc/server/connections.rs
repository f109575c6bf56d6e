//! Who is connected, what each connection does, and which one goes when there is no room for another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::limits::Elapsed;

/// What a connection may have on its way before another request on it waits.
const MOST_UNREAD: u64 = 4 << 20;
/// An answer of which nothing was taken for so long is not read any more.
pub(super) const STALL: Duration = Duration::from_secs(15);
/// An answer that is on its way for longer than this may be cut when others have no room.
const SLOW: Duration = Duration::from_secs(2);

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    time: Elapsed,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    id: u64,
    /// Requests that are being answered.
    running: AtomicUsize,
    spoke: AtomicBool,
    /// When it was opened, or something on it ended.
    last_ms: AtomicU64,
    unread: AtomicU64,
    read: Notify,
    answers: Mutex<Vec<Weak<Way>>>,
    /// It has to go.
    pub(super) gone: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Busy,
    Idle,
    NeverSpoke,
    Stalled,
}

impl Connections {
    pub(super) fn new(time: Elapsed) -> Arc<Self> {
        Arc::new(Self { time, next: AtomicU64::new(0), open: Mutex::default() })
    }

    pub(super) fn open(self: &Arc<Self>) -> Opened {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            all: Arc::clone(self),
            id,
            running: AtomicUsize::new(0),
            spoke: AtomicBool::new(false),
            last_ms: AtomicU64::new(self.now_ms()),
            unread: AtomicU64::new(0),
            read: Notify::new(),
            answers: Mutex::default(),
            gone: CancellationToken::new(),
        });
        self.open.lock().insert(id, Arc::clone(&connection));
        Opened(connection)
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.time.get().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sends away those that have been doing nothing for longest, a few at a time: looking for them is work.
    pub(super) fn send_idle_away(&self) {
        let open = self.open.lock();
        let idle = open.values().filter(|c| !c.is_busy() && !c.gone.is_cancelled());
        let mut idle: Vec<_> = idle.map(|c| (c.last_ms.load(Ordering::Relaxed), c.id)).collect();
        let few = (open.len() / 64).max(1);
        if few < idle.len() {
            idle.select_nth_unstable(few);
            idle.truncate(few);
        }
        for connection in idle.iter().filter_map(|(_, id)| open.get(id)) {
            connection.gone.cancel();
        }
    }

    /// Cuts the connection with the answer that has been on its way for longest, if that is long.
    pub(super) fn cut_slowest(&self) {
        let now = self.now_ms();
        let open = self.open.lock();
        let slow = open.values().filter(|c| !c.gone.is_cancelled()).filter_map(|connection| {
            let answers = connection.answers.lock();
            let began = answers.iter().filter_map(Weak::upgrade).map(|a| a.began_ms).min()?;
            Some((began, connection))
        });
        let slowest = slow.min_by_key(|(began, _)| *began);
        if let Some((began, connection)) = slowest
            && now.saturating_sub(began) > SLOW.as_millis() as u64
        {
            connection.gone.cancel();
        }
    }
}

/// A connection as long as it is open.
pub(super) struct Opened(pub(super) Arc<Connection>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.all.open.lock().remove(&self.0.id);
    }
}

impl Connection {
    pub(super) fn now_ms(&self) -> u64 {
        self.all.now_ms()
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.spoke.store(true, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Waits until what is on its way to the client leaves room for another answer.
    pub(super) async fn has_room(&self) {
        loop {
            let read = self.read.notified();
            if self.unread.load(Ordering::Relaxed) < MOST_UNREAD {
                return;
            }
            read.await;
        }
    }

    /// An answer begins its way.
    pub(super) fn sends(&self, bytes: u64) -> Arc<Way> {
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        let now = self.now_ms();
        let way =
            Arc::new(Way { began_ms: now, moved_ms: now.into(), unmade: AtomicBool::new(false) });
        let mut answers = self.answers.lock();
        answers.retain(|answer| answer.strong_count() > 0);
        answers.push(Arc::downgrade(&way));
        way
    }

    pub(super) fn has_read(&self, bytes: u64) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.read.notify_waiters();
    }

    pub(super) fn verdict(&self, header_time: Duration, idle: Duration) -> Verdict {
        let now = self.now_ms();
        let since = |ms: u64| Duration::from_millis(now.saturating_sub(ms));
        let stalled = self
            .answers
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .any(|answer| answer.waits_since().is_some_and(|ms| since(ms) >= STALL));
        let still = since(self.last_ms.load(Ordering::Relaxed));
        match self.spoke.load(Ordering::Relaxed) {
            _ if stalled => Verdict::Stalled,
            false if still >= header_time => Verdict::NeverSpoke,
            true if still >= idle && !self.is_busy() => Verdict::Idle,
            _ => Verdict::Busy,
        }
    }
}

/// How an answer gets on.
#[derive(Debug)]
pub(super) struct Way {
    began_ms: u64,
    moved_ms: AtomicU64,
    /// It is for more of it to be made, and not for its reader, that it does not move.
    unmade: AtomicBool,
}

impl Way {
    /// Some of it is asked for or was taken.
    pub(super) fn moves(&self, now_ms: u64) {
        self.moved_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether there is more to be taken.
    pub(super) fn is_made(&self, made: bool) {
        self.unmade.store(!made, Ordering::Relaxed);
    }

    /// Since when its reader has taken nothing of it, if it is for him to do so.
    fn waits_since(&self) -> Option<u64> {
        let unmade = self.unmade.load(Ordering::Relaxed);
        (!unmade).then(|| self.moved_ms.load(Ordering::Relaxed))
    }
}

/// A request that is being answered, to the last byte of the answer.
#[derive(Debug)]
pub(super) struct Running(pub(super) Arc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.last_ms.store(self.0.now_ms(), Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(15);
    const IDLE: Duration = Duration::from_secs(90);

    #[test]
    fn what_becomes_of_a_connection() {
        let time = Elapsed::stopped();
        let all = Connections::new(time.clone());
        let opened = all.open();
        let verdict = || opened.0.verdict(HEADER, IDLE);
        assert_eq!(verdict(), Verdict::Busy);
        time.advance(HEADER);
        assert_eq!(verdict(), Verdict::NeverSpoke);
        let running = opened.0.begin();
        time.advance(IDLE);
        assert_eq!(verdict(), Verdict::Busy, "a handler takes its time");
        drop(running);
        time.advance(IDLE);
        assert_eq!(verdict(), Verdict::Idle);
        assert!(all.open.lock().contains_key(&opened.0.id));
        drop(opened);
        assert!(all.open.lock().is_empty());
    }

    #[test]
    fn an_answer_of_which_nothing_is_taken_ends_its_connection() {
        let time = Elapsed::stopped();
        let all = Connections::new(time.clone());
        let opened = all.open();
        let verdict = || opened.0.verdict(HEADER, IDLE);
        let _running = opened.0.begin();
        let (moving, still) = (opened.0.sends(10), opened.0.sends(10));
        for _ in 0..3 {
            time.advance(STALL / 2);
            moving.moves(opened.0.now_ms());
        }
        assert_eq!(verdict(), Verdict::Stalled, "that another one moves does not help");
        still.is_made(false);
        assert_eq!(verdict(), Verdict::Busy, "there is nothing to take yet");
        still.is_made(true);
        assert_eq!(verdict(), Verdict::Stalled);
        drop(still);
        assert_eq!(verdict(), Verdict::Busy);
    }

    #[test]
    fn the_slowest_answer_is_cut_once_it_is_slow() {
        let time = Elapsed::stopped();
        let all = Connections::new(time.clone());
        let [first, second] = [all.open(), all.open()];
        let _first = first.0.sends(10);
        time.advance(Duration::from_secs(1));
        let _second = second.0.sends(10);
        all.cut_slowest();
        assert!(!first.0.gone.is_cancelled(), "both have just begun");
        time.advance(SLOW);
        all.cut_slowest();
        assert!(first.0.gone.is_cancelled() && !second.0.gone.is_cancelled());
        all.cut_slowest();
        assert!(!second.0.gone.is_cancelled(), "it is not slow yet");
    }
}
