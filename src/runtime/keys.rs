//! Keys of callers, from their DID documents.

use futures_util::future::BoxFuture;

use crate::crypto::PublicKey;
use crate::identity::{Freshness, Identity, IdentityError};
use crate::syntax::Did;
use crate::xrpc::{KeyError, KeySource};

/// The documents that ingest uses too.
pub(super) struct FromDocuments(pub(super) Identity);

impl KeySource for FromDocuments {
    fn signing_key<'a>(
        &'a self,
        did: &'a Did,
        fragment: &'a str,
        fresh: bool,
    ) -> BoxFuture<'a, Result<PublicKey, KeyError>> {
        let freshness = if fresh { Freshness::Fresh } else { Freshness::Cached };
        Box::pin(async move {
            match self.0.resolve_did(did, freshness).await {
                Ok(doc) => doc.key(fragment).cloned().ok_or(KeyError::NoKey),
                Err(IdentityError::NotFound | IdentityError::Tombstoned) => Err(KeyError::Unknown),
                Err(e) => Err(KeyError::Unavailable(Box::new(e))),
            }
        })
    }
}
