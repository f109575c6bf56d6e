//! Sockets (RFC 6455) as those see them who talk through them: what comes in, and what waits to go out. How one is opened is
//! `handshake`'s matter, and `server::sockets` carries both ways.
//!
//! # Invariants
//! - What waits for a reader is bounded for each socket and in all; who reads too slowly for that is closed with a reason.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::limits::Hold;
use crate::threads::{Budget, Held};

/// What a message takes beside its bytes.
const OVERHEAD: u64 = 64;

/// A message, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    fn weight(&self) -> u64 {
        let bytes = match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        };
        bytes as u64 + OVERHEAD
    }
}

/// How a socket is closed: a code of RFC 6455 section 7.4, and why, for people (at most 123 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// The reason.
    pub reason: &'static str,
}

impl Close {
    /// Who opened it may not have it any more, or goes beyond what one may have.
    #[must_use]
    pub const fn policy(reason: &'static str) -> Self {
        Self { code: 1008, reason }
    }
}

/// What is done with an open socket, to its end.
pub type Talk = Box<dyn FnOnce(Socket) -> BoxFuture<'static, Close> + Send>;

/// What one socket may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// As the log calls it.
    pub(super) name: &'static str,
    /// Bytes of a message that comes in.
    pub(super) largest: usize,
    /// Bytes that may wait for the reader; a single message may have more.
    pub(super) waiting: u64,
}

/// All sockets together.
#[derive(Debug, Clone)]
pub struct Sockets {
    pub(super) places: Arc<Semaphore>,
    /// What waits to go out.
    pub(super) bytes: Budget,
}

impl Sockets {
    /// So many at a time, for which so many bytes may wait.
    #[must_use]
    pub fn new(most: usize, bytes: Budget) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), bytes }
    }
}

/// That a request becomes a socket once its answer is out.
pub struct Upgrade {
    pub(super) bounds: Bounds,
    pub(super) talk: Talk,
    /// Its place among all and among those of its client.
    pub(super) held: (OwnedSemaphorePermit, Hold),
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upgrade({})", self.bounds.name)
    }
}

/// That a reader is too slow: its socket is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader is too slow")]
pub struct TooSlow;

/// An open socket.
pub struct Socket {
    out: Outbox,
    inbox: mpsc::Receiver<Message>,
}

impl Socket {
    /// The socket and, for who carries it, where what comes in goes.
    pub(super) fn new(out: Outbox) -> (Self, mpsc::Sender<Message>) {
        let (to, inbox) = mpsc::channel(1);
        (Self { out, inbox }, to)
    }

    /// The next message; waits for ever once nothing comes any more, as the socket then ends by itself. Safe to cancel.
    pub async fn next(&mut self) -> Message {
        match self.inbox.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }

    /// Says something, without waiting for it to be read.
    ///
    /// # Errors
    /// So much waits for the reader that the socket is closed.
    pub fn send(&self, message: Message) -> Result<(), TooSlow> {
        self.out.send(message)
    }
}

/// What waits to go out of a socket. Clones are the same.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Waiting>);

struct Waiting {
    queue: Mutex<Queue>,
    changed: Notify,
    emptied: Notify,
    most: u64,
    budget: Budget,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: u64,
    held: Held,
    too_slow: bool,
}

impl Outbox {
    pub(super) fn new(most: u64, budget: Budget) -> Self {
        let (queue, changed, emptied) = Default::default();
        Self(Arc::new(Waiting { queue, changed, emptied, most, budget }))
    }

    fn send(&self, message: Message) -> Result<(), TooSlow> {
        let mut queue = self.0.queue.lock();
        if queue.too_slow {
            return Err(TooSlow);
        }
        let bytes = queue.bytes + message.weight();
        let fits = queue.messages.is_empty() || bytes <= self.0.most;
        if !fits || !queue.holds(bytes, &self.0.budget) {
            queue.too_slow = true;
            self.0.changed.notify_one();
            return Err(TooSlow);
        }
        queue.bytes = bytes;
        queue.messages.push_back(message);
        self.0.changed.notify_one();
        Ok(())
    }

    /// The next message; it counts until [`Self::sent`]. Safe to cancel.
    ///
    /// # Errors
    /// The reader was too slow.
    pub(super) async fn next(&self) -> Result<Message, TooSlow> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut queue = self.0.queue.lock();
                if queue.too_slow {
                    return Err(TooSlow);
                }
                if let Some(message) = queue.messages.pop_front() {
                    return Ok(message);
                }
            }
            changed.await;
        }
    }

    /// Waits until the reader is found to be too slow.
    pub(super) async fn too_slow(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.queue.lock().too_slow {
                // The notice may have been the other waiter's.
                self.0.changed.notify_one();
                return;
            }
            changed.await;
        }
    }

    /// A message is out.
    pub(super) fn sent(&self, weight: u64) {
        let mut queue = self.0.queue.lock();
        queue.bytes = queue.bytes.saturating_sub(weight);
        let bytes = queue.bytes;
        queue.held.keep(bytes);
        if bytes == 0 {
            self.0.emptied.notify_one();
        }
    }

    /// Waits until all of it is out.
    pub(super) async fn emptied(&self) {
        while self.0.queue.lock().bytes > 0 {
            self.0.emptied.notified().await;
        }
    }
}

impl Queue {
    /// Whether there is room for so many bytes in all, which are taken then.
    fn holds(&mut self, bytes: u64, budget: &Budget) -> bool {
        let held = self.held.bytes();
        if bytes <= held {
            return true;
        }
        match budget.try_take(bytes - held) {
            Some(more) => {
                self.held.add(more);
                true
            }
            None => false,
        }
    }
}

pub(super) fn weight(message: &Message) -> u64 {
    message.weight()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn text(bytes: usize) -> Message {
        Message::Text("x".repeat(bytes).into())
    }

    #[tokio::test]
    async fn what_waits_is_bounded_for_each_and_in_all() {
        let budget = Budget::new(64 << 10);
        let out = Outbox::new(10_000, budget.clone());
        out.send(text(20_000)).unwrap();
        assert_eq!(
            out.send(text(1)),
            Err(TooSlow),
            "a single one may be larger, but nothing behind it"
        );
        assert_eq!(out.next().await, Err(TooSlow));
        drop(out);
        assert_eq!(budget.held(), 0);
        let (one, other) =
            (Outbox::new(1 << 20, budget.clone()), Outbox::new(1 << 20, budget.clone()));
        one.send(text(50_000)).unwrap();
        assert_eq!(other.send(text(50_000)), Err(TooSlow), "there is no room for both");
        other.too_slow().now_or_never().unwrap();
        let message = one.next().await.unwrap();
        assert!(budget.held() >= 50_000, "it counts until it is out");
        one.sent(weight(&message));
        assert_eq!(budget.held(), 0);
        one.emptied().now_or_never().unwrap();
        one.send(text(1)).unwrap();
    }
}
