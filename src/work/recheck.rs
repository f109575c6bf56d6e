//! Accounts about which something has to be asked again: their DID document, or whether they are gone. Rows of `meta`,
//! under tags of their own: `i` and `c` with the account.
//!
//! The question is written in the batch of the event that raised it and taken away by the answer, so a crash between the
//! two repeats it.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx};

/// What has to be asked about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// What its DID document says.
    Identity,
    /// Whether it is gone; somebody said so.
    Status {
        /// And that it is deleted, not only deactivated.
        deleted: bool,
    },
}

impl Due {
    fn key(self, actor: ActorId) -> Key {
        match self {
            Self::Identity => Key::tag(b'i').actor(actor),
            Self::Status { .. } => Key::tag(b'c').actor(actor),
        }
    }
}

/// Remembers a question until it is answered.
pub fn add_due(tx: &mut Tx<'_>, actor: ActorId, due: Due) {
    match due {
        Due::Identity => tx.put(Ks::Meta, &due.key(actor), &[]),
        Due::Status { deleted } => tx.put(Ks::Meta, &due.key(actor), &[u8::from(deleted)]),
    }
}

/// Whether the document has to be looked at.
pub fn is_identity_due<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    r.has(Ks::Meta, &Due::Identity.key(actor))
}

/// The document was looked at.
pub fn remove_identity_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Due::Identity.key(actor));
}

/// The status is known.
pub fn remove_status_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Due::Status { deleted: false }.key(actor));
}

/// Every question that is not answered.
pub fn dues<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, Due)>, StoreError> {
    let mut out = Vec::new();
    for tag in [b"i", b"c"] {
        r.scan_prefix(Ks::Meta, tag, &mut |k, v| {
            let due = match tag {
                b"i" => Due::Identity,
                _ => Due::Status { deleted: v == [1] },
            };
            let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
            out.extend(actor.map(|actor| (actor, due)));
            true
        })?;
    }
    Ok(out)
}

/// Whether a row is whole; `None` if it is not of this module.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key.split_first()? {
        (b'i', rest) => Some(rest.len() == 4),
        (b'c', rest) => Some(rest.len() == 4 && matches!(value, [0 | 1])),
        _ => None,
    }
}
