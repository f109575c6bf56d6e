//! Puts what the lanes settled back into the order of arrival and hands the contiguous prefix to the sink.
//!
//! # Invariants
//! - A batch's `seq` is that of its last slot that has one, so the cursor never passes a slot that is not settled.
//! - The budget of a slot, and what its event took beyond it, is given back after the sink took its event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::feed::{Done, Feed, Seq};
use super::{Batch, Pending, Sink};
use crate::telemetry::timing::Timing;
use crate::threads::{Held, fault};

/// Until there was a place in the writer's queue: what ingest waits for when the index is slower.
static HAND_OVER: Timing = Timing::new("ingest.stage", "hand_over");
const MAX_EVENTS: usize = 256;
/// A prefix of slots without events must not keep the cursor for ever, nor a batch grow without end.
const MAX_SLOTS: usize = 4096;
const LINGER: Duration = Duration::from_millis(2);

/// Runs until it is dropped, or stops everything when the sink is closed; what is then not applied comes again with the stored cursor.
pub(crate) async fn run(
    feed: Arc<Feed>,
    done: flume::Receiver<Vec<Done>>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let mut order = Order::default();
    loop {
        let Ok(chunk) = done.recv_async().await else { return };
        fault::point("sequencer");
        order.insert(chunk);
        let until = Instant::now() + LINGER;
        while order.ready() < MAX_EVENTS {
            let chunk = match done.try_recv() {
                Ok(chunk) => chunk,
                Err(_) => match timeout_at(until, done.recv_async()).await {
                    Ok(Ok(chunk)) => chunk,
                    Ok(Err(_)) | Err(_) => break,
                },
            };
            order.insert(chunk);
        }
        while let Some(prefix) = order.take() {
            if !deliver(&feed, &sink, prefix).await {
                stop.cancel();
                return;
            }
        }
    }
}

async fn deliver(feed: &Feed, sink: &Arc<dyn Sink>, prefix: Prefix) -> bool {
    let Prefix { seq, events, weight, sent, held } = prefix;
    let (count, begun) = (events.len(), std::time::Instant::now());
    if let Some(seq) = seq {
        let batch = Batch { cursor: feed.cursor.clone(), seq, events };
        if sink.apply(batch).await.is_err() {
            return false;
        }
    } else if !events.is_empty() && sink.apply_aside(events, Pending::default()).await.is_err() {
        return false;
    }
    HAND_OVER.since(begun);
    feed.status.applied(seq, &sent, count);
    feed.budget.add_permits(weight);
    drop(held);
    true
}

/// What may go to the sink.
#[derive(Debug, Default)]
struct Prefix {
    seq: Option<i64>,
    events: Vec<crate::event::Event>,
    weight: usize,
    /// When those that say so were sent.
    sent: Vec<i64>,
    /// What the events take beyond their weight.
    held: Held,
}

/// Settled slots, the first one expected at the front.
#[derive(Debug, Default)]
struct Order {
    slots: VecDeque<Option<Done>>,
    first: u64,
    /// Settled slots at the front.
    prefix: usize,
    /// The cursor, which goes back only after a restart.
    cursor: Option<i64>,
}

impl Order {
    fn insert(&mut self, chunk: Vec<Done>) {
        for done in chunk {
            let Some(at) = done.place.slot.checked_sub(self.first) else { continue };
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if at >= self.slots.len() {
                self.slots.resize_with(at.saturating_add(1), || None);
            }
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = Some(done);
            }
        }
        while self.slots.get(self.prefix).is_some_and(Option::is_some) {
            self.prefix += 1;
        }
    }

    fn ready(&self) -> usize {
        self.prefix
    }

    /// The next part of the prefix.
    fn take(&mut self) -> Option<Prefix> {
        let mut out = Prefix::default();
        let mut slots = 0;
        while self.prefix > 0 && slots < MAX_SLOTS && out.events.len() < MAX_EVENTS {
            let Some(Some(done)) = self.slots.pop_front() else { break };
            self.first += 1;
            self.prefix -= 1;
            slots += 1;
            out.weight += done.place.weight as usize;
            if done.place.sent > 0 {
                out.sent.push(done.place.sent);
            }
            out.events.extend(done.event);
            out.held.add(done.held);
            match done.place.seq {
                Seq::Same => {}
                Seq::At(seq) if self.cursor.is_none_or(|cursor| seq > cursor) => {
                    self.cursor = Some(seq);
                }
                Seq::At(_) => {}
                Seq::Restart => {
                    // What came before belongs to the old numbers, so it goes with the old cursor.
                    out.seq = self.cursor.take();
                    return Some(out);
                }
            }
        }
        out.seq = self.cursor;
        (slots > 0).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use parking_lot::Mutex;

    use super::super::SinkClosed;
    use super::super::feed::{Place, Setup};
    use super::super::status::UpstreamKind;
    use super::*;
    use crate::event::Event;
    use crate::schema::cursors::CursorOf;
    use crate::threads::{Budget, Clock};

    fn done(slot: u64, seq: Seq) -> Done {
        Done::nothing(Place { slot, seq, weight: 10, received: 0, sent: 0 })
    }

    #[test]
    fn only_the_contiguous_prefix_passes() {
        let mut order = Order::default();
        order.insert(vec![done(1, Seq::At(11)), done(3, Seq::At(13))]);
        assert!(order.take().is_none(), "slot 0 is open");
        order.insert(vec![done(0, Seq::At(10))]);
        let prefix = order.take().unwrap();
        assert_eq!((prefix.seq, prefix.weight), (Some(11), 20));
        assert!(order.take().is_none());
        order.insert(vec![done(2, Seq::Same)]);
        let prefix = order.take().unwrap();
        assert_eq!((prefix.seq, prefix.weight), (Some(13), 20));
    }

    #[test]
    fn the_cursor_goes_back_only_on_a_restart() {
        let mut order = Order::default();
        order.insert(vec![done(0, Seq::At(10)), done(1, Seq::At(4)), done(2, Seq::Restart)]);
        order.insert(vec![done(3, Seq::At(5))]);
        assert_eq!(order.take().unwrap().seq, Some(10));
        assert_eq!(order.take().unwrap().seq, Some(5));
        assert!(order.take().is_none());
    }

    /// Sees how much is held while it takes events.
    struct Watch(Budget, Mutex<Vec<u64>>);

    impl Watch {
        fn look(&self) -> BoxFuture<'_, Result<(), SinkClosed>> {
            self.1.lock().push(self.0.held());
            Box::pin(async { Ok(()) })
        }
    }

    impl Sink for Watch {
        fn apply(&self, _: Batch) -> BoxFuture<'_, Result<(), SinkClosed>> {
            self.look()
        }
        fn apply_aside(&self, _: Vec<Event>, _: Pending) -> BoxFuture<'_, Result<(), SinkClosed>> {
            self.look()
        }
        fn gap(&self, _: CursorOf, _: i64) -> BoxFuture<'_, Result<(), SinkClosed>> {
            self.look()
        }
    }

    #[tokio::test]
    async fn what_events_take_is_held_until_the_sink_has_them() {
        let budget = Budget::new(1 << 20);
        let (feed, _done) = Feed::new(&Setup {
            url: "wss://relay.example",
            line: 1,
            kind: UpstreamKind::Firehose,
            budget: 1000,
            decoded: &budget,
            cursor: None,
            alone: true,
            clock: Clock::default(),
        });
        let taken = |slot| Done {
            held: budget.try_take(4096).unwrap(),
            ..done(slot, Seq::At(i64::try_from(slot).unwrap()))
        };
        let mut order = Order::default();
        order.insert(vec![taken(0), taken(1), taken(3)]);
        let watch = Arc::new(Watch(budget.clone(), Mutex::default()));
        let sink: Arc<dyn Sink> = Arc::<Watch>::clone(&watch);
        assert!(deliver(&feed, &sink, order.take().unwrap()).await);
        assert_eq!((&**watch.1.lock(), budget.held()), (&[3 * 4096][..], 4096));
    }

    #[test]
    fn a_slot_settled_twice_or_late_changes_nothing() {
        let mut order = Order::default();
        order.insert(vec![done(0, Seq::At(1))]);
        assert_eq!(order.take().unwrap().weight, 10);
        order.insert(vec![done(0, Seq::At(9)), done(1, Seq::At(2)), done(1, Seq::At(2))]);
        let prefix = order.take().unwrap();
        assert_eq!((prefix.seq, prefix.weight), (Some(2), 10));
    }
}
