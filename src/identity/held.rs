//! What is known of an account without asking anybody: the memory, the directory's operations, the account's row.
//!
//! A row is as new as the last look at its document, and `#identity` takes its key away until the next one. Whether it
//! is worth another look by now, whoever uses it is told.

use super::{DidDoc, Freshness, Identity};
use crate::crypto::PublicKey;
use crate::schema::Rows;
use crate::schema::rows::IdentityRow;
use crate::syntax::Did;
use crate::threads::Clock;

/// A row that is older should be looked at again.
const ROW_AGE_MS: i64 = 24 * 3600 * 1000;

/// A key that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// The key.
    pub key: PublicKey,
    /// It should be looked up again some time.
    pub old: bool,
}

/// What the disk has of an account.
enum OnDisk {
    Document(DidDoc),
    Row(IdentityRow),
}

impl Identity {
    /// The key with this fragment, if it is here.
    pub async fn held_key(&self, did: &Did, fragment: &str) -> Option<HeldKey> {
        if let Some((Ok(doc), old)) = self.inner.dids.peek(did) {
            return Some(HeldKey { key: doc.key(fragment)?.clone(), old });
        }
        match self.on_disk(did).await? {
            OnDisk::Document(doc) => Some(HeldKey { key: doc.key(fragment)?.clone(), old: false }),
            // Of the keys it has only this one.
            OnDisk::Row(row) if fragment == "atproto" => {
                let key = PublicKey::from_did_key(&row.key).ok()?;
                let now = Clock::system().now_ms();
                Some(HeldKey { key, old: now.saturating_sub(row.checked) > ROW_AGE_MS })
            }
            OnDisk::Row(_) => None,
        }
    }

    /// The URL of the account's PDS, if it is here.
    pub async fn held_pds(&self, did: &Did) -> Option<String> {
        if let Some((Ok(doc), false)) = self.inner.dids.peek(did) {
            return doc.pds().map(str::to_owned);
        }
        match self.on_disk(did).await? {
            OnDisk::Document(doc) => doc.pds().map(str::to_owned),
            // Without its key it is in doubt whether it moved.
            OnDisk::Row(row) if row.key.is_empty() || row.pds.is_empty() => None,
            OnDisk::Row(row) => Some(row.pds),
        }
    }

    async fn on_disk(&self, did: &Did) -> Option<OnDisk> {
        let (inner, did) = (self.inner.clone(), did.clone());
        let look = move || {
            let listed = inner.table.get().and_then(|table| table.lookup(&did, Freshness::Cached));
            if let Some(listed) = listed {
                return listed.ok().map(OnDisk::Document);
            }
            // Whoever keeps the store finds out what is wrong with it.
            let snapshot = inner.store.get()?.snapshot();
            let actor = snapshot.actor_id(&did).ok()??;
            snapshot.identity(actor).ok()?.map(OnDisk::Row)
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}
