//! Members and the rights of accounts: from the server's handlers and the operator's commands to the index.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::admin::ports::{self, Afterwards, Records, Removed};
use crate::index::{Door, Index};
use crate::moderation::Takedowns;
use crate::private::{Effects, Private, Together, opt_outs};
use crate::schema::{ActorId, Edit as _, Rows as _};
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;
use crate::xrpc::{Members, Rights};

/// Calls of accounts that are no members, by why they do not become one.
static REFUSED: Counters = Counters::new("members.refused");

/// The accounts of the index. Cheap to clone.
#[derive(Clone)]
pub(super) struct IndexAccounts {
    pub(super) index: Arc<Index>,
    pub(super) store: Store,
    pub(super) private: Private,
    pub(super) clock: Clock,
    /// For whoever calls; whom the operator names comes in anyway.
    pub(super) door: Door,
}

impl IndexAccounts {
    /// The account of a DID, if there is one.
    async fn known(&self, did: &str) -> Result<Option<ActorId>, StoreError> {
        let (store, did) = (self.store.clone(), did.to_owned());
        let known = tokio::task::spawn_blocking(move || store.snapshot().actor_id(&did)).await;
        known.map_err(|_| StoreError::Closed)?
    }

    /// Whether it was let in, and whether it was no member before.
    async fn join_at(&self, did: &str, at: i64, door: Door) -> Result<(bool, bool), StoreError> {
        let known = self.known(did).await?;
        if !self.index.members().lets_in(known, door) {
            return Ok((false, false));
        }
        let actor = match known {
            Some(actor) => actor,
            // The network has not shown it yet, but its token was good, or the operator knows it.
            None => {
                let did = did.to_owned();
                self.private.writer().durable(move |tx| tx.intern_actor(&did)).await?
            }
        };
        let new = !self.index.members().contains(actor);
        // Also for one that is a member already: somebody else's call may be building its notifications now.
        let let_in = self.index.ensure_member(&self.store, &self.private, actor, at, door).await?;
        Ok((let_in, new))
    }

    async fn opt_out_at(&self, did: &str, at: i64) -> Result<bool, StoreError> {
        let did = did.to_owned();
        self.private.change(move |r| opt_outs::opt_out(r, &did, at)).await
    }

    async fn opt_in_now(&self, did: &str) -> Result<bool, StoreError> {
        let (did, now) = (did.to_owned(), self.clock.now_ms());
        self.private.change(move |r| opt_outs::opt_in(r, &did, now)).await
    }

    async fn erase_now(&self, did: &str, afterwards: Afterwards) -> Result<(), StoreError> {
        let (did, now) = (did.to_owned(), self.clock.now_ms());
        self.private.change(move |r| opt_outs::erase(r, &did, afterwards, now)).await
    }
}

/// Private state over a writer, whose changes `index` and `takedowns` follow.
pub(super) fn followed(
    writer: Writer,
    index: &Arc<Index>,
    takedowns: &Takedowns,
    others: Vec<Arc<dyn Effects>>,
) -> Private {
    let mut effects: Vec<Arc<dyn Effects>> =
        vec![Arc::clone(index) as _, Arc::new(takedowns.clone())];
    effects.extend(others);
    Private::new(writer, Arc::new(Together(effects)))
}

impl Members for IndexAccounts {
    fn ensure<'a>(&'a self, viewer: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let now = self.clock.now_ms();
            let (let_in, _) = self.join_at(viewer.as_str(), now, self.door).await?;
            if !let_in {
                REFUSED.inc(if self.door == Door::Until(0) { "not-listed" } else { "full" });
            }
            Ok(let_in)
        })
    }
}

impl Rights for IndexAccounts {
    fn opt_out<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.opt_out_at(did.as_str(), self.clock.now_ms()).await.map(drop) })
    }

    fn opt_in<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.opt_in_now(did.as_str()))
    }

    fn erase<'a>(&'a self, did: &'a Did, opt_out: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let afterwards = if opt_out { Afterwards::OptedOut } else { Afterwards::Collected };
        Box::pin(self.erase_now(did.as_str(), afterwards))
    }
}

impl ports::Accounts for IndexAccounts {
    fn join<'a>(&'a self, did: &'a str, at: i64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.join_at(did, at, Door::Open).await.map(|(_, new)| new) })
    }

    fn leave<'a>(&'a self, did: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            match self.known(did).await? {
                Some(actor) => self.index.remove_member(&self.private, actor).await,
                None => Ok(false),
            }
        })
    }

    fn opt_out<'a>(&'a self, did: &'a str, at: i64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.opt_out_at(did, at))
    }

    fn opt_in<'a>(&'a self, did: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.opt_in_now(did))
    }

    fn erase<'a>(
        &'a self,
        did: &'a str,
        afterwards: Afterwards,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.erase_now(did, afterwards))
    }

    /// Of one that was never seen there is nothing.
    fn remove_repo<'a>(
        &'a self,
        did: &'a str,
        records: Records,
    ) -> BoxFuture<'a, Result<Removed, StoreError>> {
        let (index, did, now) = (Arc::clone(&self.index), did.to_owned(), self.clock.now_ms());
        let private = self.private.clone();
        let job = self.private.writer().durable(move |tx| {
            let Some(actor) = tx.actor_id(&did)? else { return Ok(Removed::default()) };
            let done = index.remove_repo(&private, tx, actor, records == Records::Go, now)?;
            let (queued, deleting, kept) = (done.queued, done.deleting, done.kept);
            Ok(Removed { actor: Some(actor), queued, deleting, kept })
        });
        Box::pin(job)
    }
}
