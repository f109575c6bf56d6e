//! Keys of callers, from their DID documents.

use futures_util::future::BoxFuture;

use crate::crypto::PublicKey;
use crate::identity::{Freshness, Identity, IdentityError};
use crate::syntax::Did;
use crate::xrpc::{KeyLookupError, KeySource};

/// The documents that ingest uses too.
pub(super) struct FromDocuments(pub(super) Identity);

impl KeySource for FromDocuments {
    fn signing_key<'a>(
        &'a self,
        did: &'a Did,
        fragment: &'a str,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<PublicKey, KeyLookupError>> {
        Box::pin(async move {
            match self.0.resolve_did(did, freshness).await {
                Ok(doc) => doc.key(fragment).cloned().ok_or(KeyLookupError::NoKey),
                Err(IdentityError::NotFound | IdentityError::Tombstoned) => {
                    Err(KeyLookupError::Unknown)
                }
                Err(e) => Err(KeyLookupError::Unavailable(Box::new(e))),
            }
        })
    }
}
