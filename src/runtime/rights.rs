//! People's rights: from the server's handlers and the operator's socket to the index.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::backfill::Backfill;
use crate::index::{Index, Removed};
use crate::private::{self, Afterwards, Private, Standing, takeout};
use crate::schema::{ActorId, Rows};
use crate::store::{Snapshot, Store, StoreError, Tx};
use crate::syntax::Did;
use crate::xrpc::{Clock, Rights};

/// The rights of accounts in the index. Cheap to clone.
#[derive(Clone)]
pub(super) struct IndexRights {
    pub(super) index: Arc<Index>,
    pub(super) store: Store,
    pub(super) private: Private,
    pub(super) clock: Clock,
}

impl IndexRights {
    fn now(&self) -> i64 {
        i64::try_from((self.clock)()).unwrap_or(i64::MAX)
    }

    /// Fetches a repo no more, and deletes what is held of it if wanted. Of one that was never seen there is nothing.
    async fn remove(
        &self,
        did: &Did,
        delete: bool,
    ) -> Result<(Option<ActorId>, Removed), StoreError> {
        let (index, did, now) = (Arc::clone(&self.index), did.clone(), self.now());
        let private = self.private.clone();
        let job = self.private.writer().durable(move |tx| match tx.actor_id(did.as_str())? {
            Some(actor) => Ok((Some(actor), index.remove_repo(&private, tx, actor, delete, now)?)),
            None => Ok((None, Removed::default())),
        });
        job.await
    }
}

impl Rights for IndexRights {
    fn opt_out<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<(), StoreError>> {
        let (did, now) = (did.clone(), self.now());
        let plan = move |r: &Tx<'_>| private::opt_outs::opt_out(r, did.as_str(), now);
        Box::pin(async move { self.private.change(plan).await.map(drop) })
    }

    fn opt_in<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (did, now) = (did.clone(), self.now());
        Box::pin(self.private.change(move |r| private::opt_outs::opt_in(r, did.as_str(), now)))
    }

    fn erase<'a>(&'a self, did: &'a Did, opt_out: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let (did, now) = (did.clone(), self.now());
        let then = if opt_out { Afterwards::OptedOut } else { Afterwards::Collected };
        Box::pin(self.private.change(move |r| private::opt_outs::erase(r, did.as_str(), then, now)))
    }
}

/// A command of this module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    State,
    OptOut,
    OptIn,
    OptOuts,
    Delete,
    Export,
    RemoveRepo,
}

impl Command {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "account.status" => Self::State,
            "account.opt-out" => Self::OptOut,
            "account.opt-in" => Self::OptIn,
            "account.opt-outs" => Self::OptOuts,
            "account.delete" => Self::Delete,
            "account.export" => Self::Export,
            "repo.remove" => Self::RemoveRepo,
            _ => return None,
        })
    }
}

/// Carries commands out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) rights: IndexRights,
    pub(super) backfill: Backfill,
}

impl Operator {
    pub(super) async fn answer(self, command: Command, request: Value) -> Result<Value, String> {
        let text = |key: &str| request.get(key).and_then(Value::as_str);
        let did = match command {
            Command::OptOuts => {
                let store = self.rights.store.clone();
                return read(move || opt_outs(&store)).await;
            }
            Command::RemoveRepo => return self.remove_repos(&request).await,
            _ => self.backfill.did(text("account").unwrap_or_default()).await?,
        };
        match command {
            Command::OptOut => self.rights.opt_out(&did).await.map_err(words)?,
            Command::OptIn => {
                if !self.rights.opt_in(&did).await.map_err(words)? {
                    return Err(format!(
                        "what was held of {did} is still being deleted: `aerie account status {did}` says when it is done"
                    ));
                }
            }
            Command::Delete => {
                let opt_out = request.get("optOut") == Some(&Value::Bool(true));
                self.rights.erase(&did, opt_out).await.map_err(words)?;
            }
            Command::Export => {
                let (store, now) = (self.rights.store.clone(), self.rights.now());
                let next = text("next").map(str::to_owned);
                let page =
                    move || takeout::page(&store.snapshot(), did.as_str(), now, next.as_deref());
                return read(page).await;
            }
            Command::State | Command::OptOuts | Command::RemoveRepo => {}
        }
        let store = self.rights.store.clone();
        read(move || state(&store.snapshot(), did.as_str())).await
    }

    async fn remove_repos(&self, request: &Value) -> Result<Value, String> {
        let delete = request.get("delete") == Some(&Value::Bool(true));
        let names = request.get("repos").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut removed, mut deleting, mut kept, mut unusable) = (0, 0, Vec::new(), Vec::new());
        for name in names.iter().filter_map(Value::as_str) {
            let did = match self.backfill.did(name).await {
                Ok(did) => did,
                Err(why) => {
                    unusable.push(why);
                    continue;
                }
            };
            let (actor, done) = self.rights.remove(&did, delete).await.map_err(words)?;
            if done.kept {
                kept.push(did.as_str().to_owned());
                continue;
            }
            // Also without a job in the store: it may have been taken away a moment ago.
            if let Some((actor, sync)) = actor.zip(self.backfill.sources.sync()) {
                sync.forget(actor);
            }
            removed += usize::from(done.queued);
            deleting += usize::from(done.deleting);
        }
        Ok(json!({ "removed": removed, "deleting": deleting, "kept": kept, "unusable": unusable }))
    }
}

async fn read<T: serde::Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<Value, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(words)?;
    serde_json::to_value(done.map_err(words)?).map_err(words)
}

fn state(s: &Snapshot, did: &str) -> Result<Value, StoreError> {
    let Standing { opted_out, deleting } = private::standing(s, did)?;
    Ok(json!({ "did": did, "optedOutAt": opted_out, "deleting": deleting }))
}

fn opt_outs(store: &Store) -> Result<Value, StoreError> {
    let s = store.snapshot();
    let mut out = Vec::new();
    for (actor, _) in private::opt_outs(&s)? {
        out.push(state(&s, &s.did(actor)?)?);
    }
    Ok(json!({ "optOuts": out }))
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
