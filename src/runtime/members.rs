//! Who called becomes a member: the link from the server's handlers to the index, which keeps members' notifications; and
//! `aerie member` with the members of the configuration.

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::backfill::Backfill;
use crate::index::Index;
use crate::private::{self, Private};
use crate::push::CommunityGate;
use crate::schema::rows::Counter;
use crate::schema::{Edit, Rows, Target};
use crate::store::{Store, StoreError};
use crate::syntax::Did;
use crate::xrpc::{AppCtx, Clock, Members};

/// Members of the index.
pub(super) struct IndexMembers {
    pub(super) index: Arc<Index>,
    pub(super) store: Store,
    pub(super) private: Private,
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
                    self.private.writer().durable(move |tx| tx.intern_actor(&did)).await?
                }
            };
            let now = i64::try_from((self.clock)()).unwrap_or(i64::MAX);
            self.index.ensure_member(&self.store, &self.private, actor, now).await
        })
    }
}

/// The server's handlers, once they are there.
pub(super) type Handlers = Arc<OnceLock<Weak<AppCtx>>>;

/// Who belongs to the community, as the handlers find it.
pub(super) struct Door(pub(super) Handlers);

impl CommunityGate for Door {
    fn admits<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(handlers) = self.0.get().and_then(Weak::upgrade) else { return false };
            handlers.in_community(did).await.unwrap_or(false)
        })
    }
}

/// Before the sources start; [`join_all`] may take a while, as it builds the notifications of who is new.
pub(super) async fn expect_all(
    members: &IndexMembers,
    configured: &[Did],
) -> Result<(), StoreError> {
    if configured.is_empty() {
        return Ok(());
    }
    let dids = configured.iter().map(|did| did.as_str().to_owned()).collect();
    members.index.expect_members(members.private.writer(), dids).await
}

/// Makes the accounts of the configuration members.
pub(super) async fn join_all(members: Arc<IndexMembers>, configured: Vec<Did>) {
    for did in configured {
        if let Err(error) = members.ensure(&did).await {
            tracing::error!(%did, %error, "scope.members: not a member");
        }
    }
}

/// A command of this module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Add,
    Remove,
    List,
}

impl Command {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "member.add" => Self::Add,
            "member.remove" => Self::Remove,
            "member.list" => Self::List,
            _ => return None,
        })
    }
}

/// Carries commands out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) members: Arc<IndexMembers>,
    pub(super) backfill: Backfill,
    /// `scope.members`.
    pub(super) configured: Vec<Did>,
}

impl Operator {
    pub(super) async fn answer(self, command: Command, request: Value) -> Result<Value, String> {
        let name = request.get("member").and_then(Value::as_str).unwrap_or_default();
        match command {
            Command::Add => {
                let did = self.backfill.did(name).await?;
                self.members.ensure(&did).await.map_err(words)?;
                Ok(json!({ "did": did.as_str() }))
            }
            Command::Remove => self.remove(name).await,
            Command::List => {
                let this = self.clone();
                let list = tokio::task::spawn_blocking(move || this.list()).await;
                list.map_err(words)?.map_err(words)
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<Value, String> {
        let did = self.backfill.did(name).await?;
        let actor = self.members.store.snapshot().actor_id(did.as_str()).map_err(words)?;
        let was = match actor {
            Some(actor) => {
                let IndexMembers { index, private, .. } = &*self.members;
                index.remove_member(private, actor).await.map_err(words)?
            }
            None => false,
        };
        if !was {
            return Err(format!("{did} is no member"));
        }
        Ok(json!({ "did": did.as_str(), "configured": self.configured.contains(&did) }))
    }

    fn list(&self) -> Result<Value, StoreError> {
        let s = self.members.store.snapshot();
        let mut out = Vec::new();
        for actor in private::members(&s)? {
            let did = s.did(actor)?;
            let configured = self.configured.iter().any(|c| c.as_str() == &*did);
            out.push(json!({
                "did": &*did,
                "handle": s.actor(actor)?.and_then(|row| row.handle),
                "since": private::get(&s, private::Kind::Member, actor, None)?,
                "follows": s.agg(Target::Actor(actor))?.get(Counter::Follows),
                "configured": configured,
            }));
        }
        Ok(json!({ "members": out }))
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
