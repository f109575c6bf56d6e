//! Accounts of which something has to go: what a host deleted, what somebody wants deleted here. Rows of `meta` under the
//! tag `p`; `index` works them off in steps and takes the row away with the last one.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Key, whole};
use crate::store::{Ks, Reader, StoreError, Tx};

/// What has to go of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Everything, since its host says that it is deleted; the rest stays if it comes back meanwhile.
    Deleted,
    /// What was collected of it and what it published here; what it set for itself stays.
    Collected,
    /// Everything, since somebody who may say so did.
    Everything,
    /// What was collected of it, to begin anew; what it set for itself stays.
    Records,
}

impl Purge {
    fn encode(self) -> &'static [u8] {
        match self {
            Self::Deleted => &[],
            Self::Collected => &[1],
            Self::Everything => &[2],
            Self::Records => &[3],
        }
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let all = [Self::Deleted, Self::Collected, Self::Everything, Self::Records];
        all.into_iter().find(|p| p.encode() == b)
    }

    /// Whether what the account set for itself goes too.
    #[must_use]
    pub fn takes_settings(self) -> bool {
        matches!(self, Self::Deleted | Self::Everything)
    }

    /// Whether the account is in the end as if it had never been seen.
    #[must_use]
    pub fn forgets(self) -> bool {
        matches!(self, Self::Everything | Self::Records)
    }
}

/// Puts an account on the list of those of which something has to go.
pub fn add_purge(tx: &mut Tx<'_>, actor: ActorId, purge: Purge) {
    tx.put(Ks::Meta, &Key::tag(b'p').actor(actor), purge.encode());
}

/// Takes an account off that list.
pub fn remove_purge(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &Key::tag(b'p').actor(actor));
}

/// What has to go of the account, if it is on that list.
pub fn purge<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<Purge>, StoreError> {
    r.row(Ks::Meta, &Key::tag(b'p').actor(actor), Purge::decode)
}

/// Every account on that list.
pub fn purges<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, Purge)>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Meta, b"p", &mut |k, v| {
        let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
        out.extend(whole(Ks::Meta, k, actor.zip(Purge::decode(v))));
        true
    })?;
    Ok(out)
}

/// Whether a row is whole; `None` if it is not of this module.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    let (b'p', rest) = key.split_first()? else { return None };
    Some(rest.len() == 4 && Purge::decode(value).is_some())
}
