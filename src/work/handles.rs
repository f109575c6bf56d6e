//! Handles that DID documents claim and that nobody has looked up yet, in the order in which they were found: rows of the
//! kind `Handle`, with the account, when the document was read, and the handle.
//!
//! A row is written in the batch that stores the key of the same document, and taken away in the batch of the answer.
//! Whatever was found out since about the account is newer than the claim.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::due::{self, Kind};
use crate::schema::ActorId;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::store::{Reader, StoreError, Tx};

const KIND: Kind = Kind::Handle;

/// How many wait, and who looks them up is told of new ones. For as long as the process lives.
#[derive(Default)]
pub struct Claims {
    waiting: AtomicUsize,
    added: Notify,
}

impl Claims {
    /// Those that an earlier process left.
    pub fn found(&self, count: usize) {
        self.waiting.fetch_add(count, Ordering::AcqRel);
    }

    /// There is one more.
    pub fn one_more(&self) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.added.notify_one();
    }

    /// One was taken away.
    pub fn one_less(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many there are.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits for a new one.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}

/// A handle that is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its place.
    pub due: i64,
    /// Whose document claims it.
    pub actor: ActorId,
    /// When the document was read, milliseconds.
    pub read: i64,
    /// The handle.
    pub handle: String,
}

/// Adds a claim; `false` if it has the place of one of the same account that waits.
pub fn add(tx: &mut Tx<'_>, actor: ActorId, read: i64, handle: &str) -> Result<bool, StoreError> {
    let what = actor.0.to_be_bytes();
    let mut value = Vec::with_capacity(8 + handle.len());
    push_zigzag(&mut value, read);
    value.extend_from_slice(handle.as_bytes());
    let due = read.max(due::watermark(tx, KIND)?);
    let new = !due::has(tx, KIND, due, &what)?;
    due::put(tx, KIND, due, &what, &value)?;
    Ok(new)
}

/// Takes a claim away; `false` if it is gone already.
pub fn take(tx: &mut Tx<'_>, actor: ActorId, due: i64, now: i64) -> Result<bool, StoreError> {
    let what = actor.0.to_be_bytes();
    if !due::has(tx, KIND, due, &what)? {
        return Ok(false);
    }
    due::remove(tx, KIND, due, &what);
    due::advance(tx, KIND, now)?;
    Ok(true)
}

/// Up to `limit` claims, the oldest first, without those at places for which `passed_over` is true.
pub fn waiting<R: Reader>(
    r: &R,
    limit: usize,
    mut passed_over: impl FnMut(i64, ActorId) -> bool,
) -> Result<Vec<Claim>, StoreError> {
    let mut out = Vec::new();
    due::scan(r, KIND, &mut |due, what, value| {
        let claim = read(due, what, value);
        out.extend(claim.filter(|claim| !passed_over(due, claim.actor)));
        out.len() < limit
    })?;
    Ok(out)
}

/// How many there are.
pub fn count<R: Reader>(r: &R) -> Result<usize, StoreError> {
    due::count(r, KIND, usize::MAX)
}

fn read(due: i64, what: &[u8], value: &[u8]) -> Option<Claim> {
    let actor = ByteReader::new(what).actor()?;
    let mut value = ByteReader::new(value);
    let read = value.zigzag()?;
    let handle = std::str::from_utf8(value.rest()).ok()?.to_owned();
    Some(Claim { due, actor, read, handle })
}

/// Whether a row is whole.
pub(super) fn decodes(key: &[u8], value: &[u8]) -> bool {
    due::parts(key).is_some_and(|(due, what)| read(due, what, value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn claims_wait_in_their_order_and_are_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let put = |tx: &mut Tx<'_>| {
            for n in 0..5 {
                assert!(add(tx, ActorId(n), 100 + i64::from(n % 2), &format!("a{n}.example"))?);
            }
            assert!(!add(tx, ActorId(0), 100, "b.example")?, "the last document counts");
            Ok(())
        };
        writer.durable(put).await.unwrap();
        let actors = |claims: &[Claim]| claims.iter().map(|c| c.actor.0).collect::<Vec<_>>();
        let all = waiting(&store.snapshot(), 9, |_, _| false).unwrap();
        assert_eq!(actors(&all), [0, 2, 4, 1, 3]);
        let first = Claim { due: 100, actor: ActorId(0), read: 100, handle: "b.example".into() };
        assert_eq!(all[0], first);
        let some = waiting(&store.snapshot(), 2, |due, actor| (due, actor.0) == (100, 2)).unwrap();
        assert_eq!(actors(&some), [0, 4]);
        let taken = writer.durable(|tx| {
            let first = take(tx, ActorId(0), 100, 1000)?;
            let again = take(tx, ActorId(0), 100, 1000)?;
            let others = take(tx, ActorId(2), 100, 1000)? && take(tx, ActorId(4), 100, 1000)?;
            // What was read before that is behind those that wait, and knows its time.
            add(tx, ActorId(7), 50, "late.example")?;
            Ok((first, again, others))
        });
        assert_eq!(taken.await.unwrap(), (true, false, true));
        let left = waiting(&store.snapshot(), 9, |_, _| false).unwrap();
        assert_eq!((actors(&left), count(&store.snapshot()).unwrap()), (vec![1, 3, 7], 3));
        assert_eq!((left[2].due, left[2].read), (101, 50));
        drop(writer);
        thread.join().unwrap().unwrap();
    }
}
