//! Who called becomes a member: the link from the server's handlers to the index, which keeps members' notifications.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::index::Index;
use crate::store::{Reader, Store, StoreError, Writer};
use crate::syntax::Did;
use crate::xrpc::{Clock, Members};

/// Members of the index.
pub(super) struct IndexMembers {
    pub(super) index: Arc<Index>,
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) clock: Clock,
}

impl Members for IndexMembers {
    fn ensure<'a>(&'a self, viewer: &'a Did) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (store, did) = (self.store.clone(), viewer.as_str().to_owned());
            let known = tokio::task::spawn_blocking(move || store.snapshot().actor_id(&did)).await;
            let actor = match known.map_err(|_| StoreError::Closed)?? {
                Some(actor) => actor,
                // The network has not shown it yet, but its token was good.
                None => {
                    let did = viewer.as_str().to_owned();
                    self.writer.durable(move |tx| tx.intern_actor(&did)).await?
                }
            };
            let now = i64::try_from((self.clock)()).unwrap_or(i64::MAX);
            self.index.ensure_member(&self.store, &self.writer, actor, now).await
        })
    }
}
