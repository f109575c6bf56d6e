//! Notifications that are to be pushed: what is in the outbox of the kind `Push`. Thin: it says what a destination and a
//! payload are there. `index` adds jobs in the batch of the notification, `push` works them off.

use super::due::{self, Kind};
use super::outbox::{self, Destination, Due, Item};
use crate::schema::ActorId;
use crate::schema::rows::NotifRow;
use crate::store::{Reader, StoreError, Tx};

const KIND: Kind = Kind::Push;

/// Stands for the operator's endpoint where a job names its destination.
pub const ENDPOINT: Destination = [0; 16];

/// One notification that is to be pushed to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PushJob {
    /// When to try next, milliseconds.
    pub due: i64,
    /// [`ENDPOINT`], or the number of one of the recipient's registrations.
    pub to: Destination,
    /// The key of the row in `notif`.
    pub notif: Vec<u8>,
    /// When it was due first, milliseconds.
    pub born: i64,
    /// Tries so far.
    pub tries: u8,
}

impl PushJob {
    /// The job that pushes a new notification.
    #[must_use]
    pub fn new(due: i64, to: Destination, viewer: ActorId, row: &NotifRow) -> Self {
        Self { due, to, notif: row.key(viewer).to_vec(), born: due, tries: 0 }
    }

    fn read(item: Item) -> Option<Self> {
        let Item { due, to, payload: notif, born, tries } = item;
        NotifRow::decode(&notif, &[])?;
        Some(Self { due, to, notif, born, tries })
    }

    fn item(self) -> Item {
        let Self { due, to, notif: payload, born, tries } = self;
        Item { due, to, payload, born, tries }
    }
}

/// Every job is due at this time or later.
#[cfg(test)]
pub fn watermark<R: Reader + ?Sized>(r: &R) -> Result<i64, StoreError> {
    due::watermark(r, KIND)
}

/// Adds a job. One that is due before the watermark becomes due there.
pub fn put(tx: &mut Tx<'_>, job: PushJob) -> Result<(), StoreError> {
    outbox::put(tx, KIND, &job.item())
}

/// Takes a job away.
pub fn remove(tx: &mut Tx<'_>, job: PushJob) {
    outbox::remove(tx, KIND, &job.item());
}

/// Takes a row away that does not decode.
pub fn remove_damaged(tx: &mut Tx<'_>, row: &outbox::Damaged) {
    outbox::remove_damaged(tx, KIND, row);
}

/// Moves the watermark to the first job that is left, at most to `now`.
pub fn advance(tx: &mut Tx<'_>, now: i64) -> Result<(), StoreError> {
    due::advance(tx, KIND, now)
}

/// Retries end after a day; the slack is for clocks that were set a little.
const LONGEST_MS: i64 = 2 * 86_400_000;

/// Lets no job wait for a time that a wrong clock gave it.
pub fn bring_back(tx: &mut Tx<'_>, now: i64) -> Result<(), StoreError> {
    due::bring_back(tx, KIND, now, LONGEST_MS)
}

/// Up to `limit` jobs that are due at `now`.
pub fn due<R: Reader>(r: &R, now: i64, limit: usize) -> Result<Due<PushJob>, StoreError> {
    outbox::due(r, KIND, now, limit, PushJob::read)
}

/// How many jobs there are, counted up to `limit`.
pub fn count<R: Reader>(r: &R, limit: usize) -> Result<usize, StoreError> {
    due::count(r, KIND, limit)
}

/// Whether the row of a job is whole.
pub(super) fn decodes(key: &[u8], value: &[u8]) -> bool {
    Item::decode(key, value).and_then(PushJob::read).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::Reason;
    use crate::schema::{Key, Rkey};
    use crate::store::{Ks, Store, Writer};

    fn job(due: i64, n: u64) -> PushJob {
        let row = NotifRow {
            sort: 5,
            author: ActorId(2),
            reason: Reason::Follow,
            rkey: Rkey(n),
            subject: None,
        };
        PushJob::new(due, ENDPOINT, ActorId(1), &row)
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let years = 3650 * 86_400_000;
        writer
            .durable(move |tx| {
                put(tx, job(years + 5, 1))?;
                advance(tx, years)?;
                // The clock was set; this one waits for the watermark all the same.
                put(tx, job(100, 2))
            })
            .await
            .unwrap();
        let due = |now| due(&store.snapshot(), now, 10).unwrap().items.len();
        assert_eq!(due(1000), 0);
        writer.durable(|tx| bring_back(tx, 50)).await.unwrap();
        assert_eq!((due(49), due(50)), (0, 2));
        writer.durable(|tx| bring_back(tx, 40)).await.unwrap();
        assert_eq!(due(50), 2);
    }

    #[tokio::test]
    async fn jobs_come_when_due_and_none_is_left_behind_the_watermark() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let dues = |now, limit| {
            let due = due(&store.snapshot(), now, limit).unwrap();
            (due.items.iter().map(|j| j.due).collect::<Vec<_>>(), due.next)
        };
        writer
            .durable(|tx| {
                for (due, n) in [(300, 1), (100, 2), (100, 3), (200, 4)] {
                    put(tx, job(due, n))?;
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(dues(99, 9), (vec![], Some(100)));
        assert_eq!(dues(250, 9), (vec![100, 100, 200], Some(300)));
        assert_eq!(dues(250, 1), (vec![100], Some(100)));
        // One of the two that are due first is left: the watermark stays with it.
        let mark = writer
            .durable(|tx| {
                remove(tx, job(100, 2));
                remove(tx, job(200, 4));
                advance(tx, 250)?;
                watermark(tx)
            })
            .await
            .unwrap();
        assert_eq!((mark, dues(400, 9)), (100, (vec![100, 300], None)));
        let mark = writer
            .durable(|tx| {
                remove(tx, job(100, 3));
                advance(tx, 250)?;
                // Came late, from an event whose clock is behind: due at once, not lost.
                put(tx, job(120, 7))?;
                watermark(tx)
            })
            .await
            .unwrap();
        assert_eq!((mark, dues(250, 9)), (250, (vec![250], Some(300))));
        let late = due(&store.snapshot(), 250, 9).unwrap().items.remove(0);
        assert_eq!((late.born, late.tries), (120, 0));
        assert_eq!(count(&store.snapshot(), 9).unwrap(), 2);
        assert_eq!(count(&store.snapshot(), 1).unwrap(), 1);
        // One of each does not decode; the others come, and these are gone with them.
        let damage = |tx: &mut Tx<'_>| {
            let what = job(0, 1).item();
            tx.put(Ks::Jobs, &Key::tag(b'p').u64(260).bytes(&what.to).bytes(&what.payload), &[]);
            tx.put(Ks::Jobs, &Key::tag(b'p').u64(270).bytes(&what.to).bytes(b"short"), &[0, 0]);
            Ok(())
        };
        writer.durable(damage).await.unwrap();
        let all = due(&store.snapshot(), 300, 9).unwrap();
        assert_eq!((all.items.len(), all.damaged.len(), all.next), (2, 2, None));
        let mark = writer
            .durable(move |tx| {
                all.items.into_iter().for_each(|job| remove(tx, job));
                all.damaged.iter().for_each(|row| remove_damaged(tx, row));
                advance(tx, 300)?;
                watermark(tx)
            })
            .await
            .unwrap();
        assert_eq!((mark, count(&store.snapshot(), 9).unwrap()), (300, 0));
    }
}
