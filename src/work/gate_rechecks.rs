//! Rows of the `jobs` keyspace: replies that a thread gate forbids as far as is known, while the repo of somebody on whom
//! that depends is not all here.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `D` | whose repo is waited for, the reply | |
//!
//! In a repo that is fetched posts come before follows, and repos come in any order: without these rows every reply under
//! "followers may reply" would be forbidden.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Key, PostId};
use crate::store::{Ks, Reader, StoreError, Tx};

const DOUBT: u8 = b'D';

fn of(actor: ActorId) -> Key {
    Key::tag(DOUBT).actor(actor)
}

/// Has a reply judged again once the repo of `actor` is here.
pub fn put(tx: &mut Tx<'_>, actor: ActorId, reply: PostId) {
    tx.put(Ks::Jobs, &of(actor).post(reply), &[]);
}

/// Takes up to `limit` of the replies that wait for the repo of `actor`.
pub fn take(tx: &mut Tx<'_>, actor: ActorId, limit: usize) -> Result<Vec<PostId>, StoreError> {
    let prefix = of(actor);
    let mut out = Vec::new();
    tx.scan_prefix(Ks::Jobs, &prefix, &mut |key, _| {
        out.extend(key.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).post()));
        out.len() < limit
    })?;
    for reply in &out {
        tx.del(Ks::Jobs, &prefix.clone().post(*reply));
    }
    Ok(out)
}
