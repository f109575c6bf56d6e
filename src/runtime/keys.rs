//! Keys of callers, from their DID documents.

use futures_util::future::BoxFuture;

use crate::crypto::PublicKey;
use std::sync::Arc;

use crate::identity::{Freshness, HeldKey, Identity, IdentityError, Stranger, StrangerError};
use crate::limits::{Client, Limits};
use crate::syntax::Did;
use crate::xrpc::{KeyLookupError, KeySource};

/// The documents that ingest uses too.
pub(super) struct FromDocuments {
    pub(super) identity: Identity,
    pub(super) limits: Arc<Limits>,
    /// Looks at the document of an account again.
    pub(super) look_at: Box<dyn Fn(&Did) + Send + Sync>,
}

impl KeySource for FromDocuments {
    fn held_key<'a>(&'a self, did: &'a Did, fragment: &'a str) -> BoxFuture<'a, Option<HeldKey>> {
        Box::pin(self.identity.held_key(did, fragment))
    }

    fn signing_key<'a>(
        &'a self,
        did: &'a Did,
        fragment: &'a str,
        freshness: Freshness,
        client: Client,
    ) -> BoxFuture<'a, Result<PublicKey, KeyLookupError>> {
        Box::pin(async move {
            let stranger = Stranger { client, limits: &self.limits };
            match self.identity.resolve_for_stranger(did, freshness, stranger).await {
                Ok(doc) => {
                    let key = doc.key(fragment).cloned();
                    if key.is_none() {
                        self.asked_in_vain(client);
                    }
                    key.ok_or(KeyLookupError::NoKey)
                }
                Err(StrangerError::Failed(IdentityError::NotFound | IdentityError::Tombstoned)) => {
                    Err(KeyLookupError::Unknown)
                }
                Err(
                    StrangerError::Failed(IdentityError::Busy(wait)) | StrangerError::Busy(wait),
                ) => Err(KeyLookupError::Busy(wait)),
                Err(StrangerError::Refused(refused)) => Err(KeyLookupError::Refused(refused)),
                Err(StrangerError::Failed(error)) => {
                    Err(KeyLookupError::Unavailable(Box::new(error)))
                }
            }
        })
    }

    fn asked_in_vain(&self, client: Client) {
        self.identity.asked_in_vain(Stranger { client, limits: &self.limits });
    }

    fn proved(&self, client: Client) {
        self.identity.proved(client);
    }

    fn renew(&self, did: &Did) {
        (self.look_at)(did);
    }
}
