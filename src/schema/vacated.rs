//! What deleted replies leave in the line of an author's replies to themselves.
//!
//! A thread that its author goes on with by replies is numbered ("2 of 5"). Should one in the middle be deleted, those
//! below keep their numbers, and what was written beside it before does not take its place; so its place and the time of
//! the deletion are kept, and nothing else of it. The rules are those of the reference; `hydrate::op_thread` reads the
//! rows, `index::posts` writes them.
//!
//! # Invariants
//! - A row is there only as long as the root of its thread is: it goes with it, whoever takes that away. So an account
//!   that is purged leaves none.
//! - A thread has a bounded number of rows.

use super::bytes::ByteReader;
use super::rows::{Order, VacatedRow, order_prefix, vacated_key};
use super::{PostId, Target, whole};
use crate::store::{Ks, Reader, Snapshot, StoreError, Tx};

/// Rows of a thread. No more deleted replies than that keep their places.
pub const MOST: usize = 500;

/// Replies that the author of a thread wrote to themselves and deleted, at most `most`.
pub fn vacated(
    s: &Snapshot,
    root: PostId,
    most: usize,
) -> Result<Vec<(PostId, VacatedRow)>, StoreError> {
    let mut out = Vec::new();
    let prefix = order_prefix(Order::Vacated, Target::Post(root));
    s.scan_prefix(Ks::Order, &prefix, &mut |key, value| {
        let rkey = ByteReader::new(key.get(prefix.len()..).unwrap_or_default()).rkey();
        let row = whole(Ks::Order, key, rkey.zip(VacatedRow::decode(value)));
        out.extend(row.map(|(rkey, row)| (PostId { rkey, ..root }, row)));
        out.len() < most
    })?;
    Ok(out)
}

/// Keeps the place of a reply, unless the root is not there or has enough of them.
pub fn keep(
    tx: &mut Tx<'_>,
    root: PostId,
    reply: PostId,
    row: VacatedRow,
) -> Result<(), StoreError> {
    if tx.has(Ks::Post, &root.to_bytes())? && keys(tx, root)?.len() < MOST {
        tx.put(Ks::Order, &vacated_key(root, reply.rkey), &row.encode());
    }
    Ok(())
}

/// The root of a thread goes.
pub fn clear(tx: &mut Tx<'_>, root: PostId) -> Result<(), StoreError> {
    for key in keys(tx, root)? {
        tx.del(Ks::Order, &key);
    }
    Ok(())
}

fn keys(tx: &Tx<'_>, root: PostId) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    tx.scan_prefix(Ks::Order, &order_prefix(Order::Vacated, Target::Post(root)), &mut |key, _| {
        keys.push(key.to_vec());
        true
    })?;
    Ok(keys)
}
