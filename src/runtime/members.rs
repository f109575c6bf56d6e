//! The community as push sees it, and the members of the configuration.

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;

use super::accounts::IndexAccounts;
use crate::admin::ports::Accounts;
use crate::config::{Join, Scope};
use crate::index::Door;
use crate::push::CommunityGate;
use crate::store::StoreError;
use crate::syntax::Did;
use crate::xrpc::AppCtx;

/// The server's handlers, once they are there.
pub(super) type Handlers = Arc<OnceLock<Weak<AppCtx>>>;

/// Who belongs to the community, as the handlers find it.
pub(super) struct CommunityFromHandlers(pub(super) Handlers);

impl CommunityGate for CommunityFromHandlers {
    fn admits<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(handlers) = self.0.get().and_then(Weak::upgrade) else { return false };
            handlers.in_community(did).await.unwrap_or(false)
        })
    }
}

/// Who becomes a member by calling.
pub(super) fn door(scope: &Scope) -> Door {
    Door::Until(match scope.join {
        Join::Anyone => scope.max_members as usize,
        Join::Listed => 0,
    })
}

/// Before the sources start; [`join_all`] may take a while, as it builds the notifications of who is new.
pub(super) async fn expect_all(
    members: &IndexAccounts,
    configured: &[Did],
) -> Result<(), StoreError> {
    if configured.is_empty() {
        return Ok(());
    }
    let dids = configured.iter().map(|did| did.as_str().to_owned()).collect();
    members.index.expect_members(members.private.writer(), dids).await
}

/// Makes the accounts of the configuration members. One that cannot be is in the log and keeps nobody else from it.
pub(super) async fn join_all(
    members: &IndexAccounts,
    configured: &[Did],
) -> Result<(), StoreError> {
    let mut result = Ok(());
    for did in configured {
        let now = members.clock.now_ms();
        if let Err(error) = Accounts::join(members, did.as_str(), now).await {
            tracing::error!(%did, %error, "scope.members: not a member");
            result = Err(error);
        }
    }
    result
}
