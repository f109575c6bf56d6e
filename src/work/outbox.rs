//! Rows of the `jobs` keyspace: work that must not be lost, in the order in which it is due.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `p` | when due, destination, key of the notification | when it was due first, tries so far |
//! | `w` | `p` | the watermark |
//!
//! Work that is done leaves a tombstone, and a scan from the head would pass over all of them. So every scan begins at
//! the watermark, which moves with the work.
//!
//! # Invariants
//! - No row is due before the watermark: a new one that would be is due at the watermark, and the watermark only
//!   moves up to the first row that is left. Both are decided by the writer, inside the batch.

use crate::private::registrations::RegistrationId;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::rows::NotifRow;
use crate::schema::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx};

const PUSH: u8 = b'p';
const WATERMARK: [u8; 2] = [b'w', PUSH];

/// Stands for the operator's endpoint where a job names its destination.
pub const ENDPOINT: RegistrationId = [0; 16];

/// One notification that is to be pushed to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PushJob {
    /// When to try next, milliseconds.
    pub due: i64,
    /// [`ENDPOINT`] or one of the recipient's registrations.
    pub to: RegistrationId,
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
    pub fn new(due: i64, to: RegistrationId, viewer: ActorId, row: &NotifRow) -> Self {
        Self { due, to, notif: row.key(viewer).to_vec(), born: due, tries: 0 }
    }

    /// Its key, which is its identity.
    #[must_use]
    pub fn key(&self) -> Key {
        at(self.due).bytes(&self.to).bytes(&self.notif)
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut k, mut v) = (ByteReader::new(key), ByteReader::new(value));
        if k.u8()? != PUSH {
            return None;
        }
        let due = i64::try_from(k.u64()?).ok()?;
        let to = k.array()?;
        let notif = k.rest().to_vec();
        NotifRow::decode(&notif, &[])?;
        Some(Self { due, to, notif, born: v.zigzag()?, tries: v.u8()? })
    }
}

fn at(due: i64) -> Key {
    Key::tag(PUSH).u64(u64::try_from(due).unwrap_or(0))
}

/// Every job is due at this time or later.
pub fn watermark<R: Reader + ?Sized>(r: &R) -> Result<i64, StoreError> {
    Ok(r.row(Ks::Jobs, &WATERMARK, |b| ByteReader::new(b).zigzag())?.unwrap_or(0))
}

/// Adds a job. One that is due before the watermark becomes due there.
pub fn put(tx: &mut Tx<'_>, mut job: PushJob) -> Result<(), StoreError> {
    job.due = job.due.max(watermark(tx)?);
    let mut value = Vec::with_capacity(8);
    push_zigzag(&mut value, job.born);
    value.push(job.tries);
    tx.put(Ks::Jobs, &job.key(), &value);
    Ok(())
}

/// Takes a job away.
pub fn remove(tx: &mut Tx<'_>, job: &PushJob) {
    tx.del(Ks::Jobs, &job.key());
}

/// Moves the watermark to the first job that is left, at most to `now`.
pub fn advance(tx: &mut Tx<'_>, now: i64) -> Result<(), StoreError> {
    let from = watermark(tx)?;
    let mut to = now;
    scan(tx, from, &mut |job| {
        to = to.min(job.due);
        false
    })?;
    if to > from {
        let mut value = Vec::with_capacity(8);
        push_zigzag(&mut value, to);
        tx.put(Ks::Jobs, &WATERMARK, &value);
    }
    Ok(())
}

/// Jobs that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The longest due first.
    pub jobs: Vec<PushJob>,
    /// When the next one after these is due; at once if more are due already.
    pub next: Option<i64>,
}

/// Up to `limit` jobs that are due at `now`.
pub fn due<R: Reader>(r: &R, now: i64, limit: usize) -> Result<Due, StoreError> {
    let mut out = Due::default();
    scan(r, watermark(r)?, &mut |job| {
        if job.due > now || out.jobs.len() >= limit {
            out.next = Some(job.due);
            return false;
        }
        out.jobs.push(job);
        true
    })?;
    Ok(out)
}

/// How many jobs there are, counted up to `limit`.
pub fn count<R: Reader>(r: &R, limit: usize) -> Result<usize, StoreError> {
    let mut n = 0;
    scan(r, watermark(r)?, &mut |_| {
        n += 1;
        n < limit
    })?;
    Ok(n)
}

fn scan<R: Reader>(r: &R, from: i64, f: &mut dyn FnMut(PushJob) -> bool) -> Result<(), StoreError> {
    r.scan(Ks::Jobs, &at(from), Some(&[PUSH + 1]), false, &mut |k, v| match PushJob::decode(k, v) {
        Some(job) => f(job),
        None => true,
    })
}

/// Whether a row of this keyspace is whole; rows that this module does not know are.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    match key.first() {
        Some(&PUSH) => PushJob::decode(key, value).is_some(),
        _ if key == WATERMARK => ByteReader::new(value).zigzag().is_some(),
        first => first.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Rkey;
    use crate::schema::rows::Reason;
    use crate::store::{Store, Writer};

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
    async fn jobs_come_when_due_and_none_is_left_behind_the_watermark() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let dues = |now, limit| {
            let due = due(&store.snapshot(), now, limit).unwrap();
            (due.jobs.iter().map(|j| j.due).collect::<Vec<_>>(), due.next)
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
                remove(tx, &job(100, 2));
                remove(tx, &job(200, 4));
                advance(tx, 250)?;
                watermark(tx)
            })
            .await
            .unwrap();
        assert_eq!((mark, dues(400, 9)), (100, (vec![100, 300], None)));
        let mark = writer
            .durable(|tx| {
                remove(tx, &job(100, 3));
                advance(tx, 250)?;
                // Came late, from an event whose clock is behind: due at once, not lost.
                put(tx, job(120, 7))?;
                watermark(tx)
            })
            .await
            .unwrap();
        assert_eq!((mark, dues(250, 9)), (250, (vec![250], Some(300))));
        let late = due(&store.snapshot(), 250, 9).unwrap().jobs.remove(0);
        assert_eq!((late.born, late.tries), (120, 0));
        assert_eq!(count(&store.snapshot(), 9).unwrap(), 2);
        assert_eq!(count(&store.snapshot(), 1).unwrap(), 1);
        let rows = store.snapshot();
        rows.scan(Ks::Jobs, &[], None, false, &mut |k, v| {
            assert!(decodes(k, v));
            assert!(!decodes(k, &[]));
            true
        })
        .unwrap();
        assert!(!decodes(b"p12", b"12"));
    }
}
