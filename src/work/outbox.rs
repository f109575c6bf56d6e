//! Something to send to somebody, tried until it was taken or is given up: `due` rows with a destination.
//!
//! | part | bytes |
//! |---|---|
//! | what | destination (16 bytes), payload |
//! | beside it | when it was due first, tries so far |
//!
//! Kind, destination and payload are what an item is; it does not know what they mean to the kind.

use super::due::{self, Kind};
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::store::{Ks, Reader, StoreError, Tx};

/// Where something is sent, in a number that means something to its kind.
pub type Destination = [u8; 16];

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// When to try next, milliseconds.
    pub due: i64,
    /// Where to.
    pub to: Destination,
    /// What, or what it is made from.
    pub payload: Vec<u8>,
    /// When it was due first, milliseconds.
    pub born: i64,
    /// Tries so far.
    pub tries: u8,
}

impl Item {
    fn what(&self) -> Vec<u8> {
        [&self.to, self.payload.as_slice()].concat()
    }

    fn read(due: i64, what: &[u8], value: &[u8]) -> Option<Self> {
        let (mut what, mut value) = (ByteReader::new(what), ByteReader::new(value));
        let (to, payload) = (what.array()?, what.rest().to_vec());
        Some(Self { due, to, payload, born: value.zigzag()?, tries: value.u8()? })
    }

    /// Reads a row.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (due, what) = due::parts(key)?;
        Self::read(due, what, value)
    }
}

/// A row that does not decode, by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    due: i64,
    what: Vec<u8>,
}

/// Adds something to send. If it is due before the watermark, it becomes due there.
pub fn put(tx: &mut Tx<'_>, kind: Kind, item: &Item) -> Result<(), StoreError> {
    let mut value = Vec::with_capacity(8);
    push_zigzag(&mut value, item.born);
    value.push(item.tries);
    due::put(tx, kind, item.due, &item.what(), &value).map(drop)
}

/// Takes it away.
pub fn remove(tx: &mut Tx<'_>, kind: Kind, item: &Item) {
    due::remove(tx, kind, item.due, &item.what());
}

/// Takes a row away that does not decode.
pub fn remove_damaged(tx: &mut Tx<'_>, kind: Kind, row: &Damaged) {
    due::remove(tx, kind, row.due, &row.what);
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due<T> {
    /// The longest due first.
    pub items: Vec<T>,
    /// Rows among them that do not decode, counted and named: whoever works the items off takes them away.
    pub damaged: Vec<Damaged>,
    /// When the next one after these is due; at once if more are due already.
    pub next: Option<i64>,
}

/// Up to `limit` items that are due at `now`, as what `read` makes of them.
pub fn due<R: Reader, T>(
    r: &R,
    kind: Kind,
    now: i64,
    limit: usize,
    read: impl Fn(Item) -> Option<T>,
) -> Result<Due<T>, StoreError> {
    let mut out = Due { items: Vec::new(), damaged: Vec::new(), next: None };
    due::scan(r, kind, &mut |due, what, value| {
        if due > now || out.items.len() + out.damaged.len() >= limit {
            out.next = Some(due);
            return false;
        }
        match Item::read(due, what, value).and_then(&read) {
            Some(item) => out.items.push(item),
            None => {
                let error = StoreError::corrupt(Ks::Jobs, what);
                tracing::error!(?kind, due, %error, "outbox: it is given up");
                out.damaged.push(Damaged { due, what: what.to_vec() });
            }
        }
        true
    })?;
    Ok(out)
}
