//! Backfill as the operator and the members see it: commands of the socket, and what a member's repo makes wanted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::sources::Sources;
use crate::identity::{Freshness, Identity};
use crate::index::{context_to_fetch, follows_to_fetch};
use crate::schema::ActorId;
use crate::store::{Store, StoreError};
use crate::sync::{FollowUp, Handle};
use crate::syntax::{Did, Handle as Name};
use crate::work::repo_queue::{Priority, SourceKind, Stop};

/// Repos named in one command.
const MAX_NAMES: usize = 10_000;

/// What comes after a member's repo, read from the index.
pub(super) struct FromIndex(pub(super) Store);

impl FollowUp for FromIndex {
    fn next(
        &self,
        actor: ActorId,
        priority: Priority,
    ) -> Result<Vec<(ActorId, Priority)>, StoreError> {
        let s = self.0.snapshot();
        let mut out = Vec::new();
        if priority == Priority::Member {
            out.extend(follows_to_fetch(&s, actor)?.into_iter().map(|a| (a, Priority::Follow)));
        }
        if matches!(priority, Priority::Member | Priority::Follow) {
            out.extend(context_to_fetch(&s, actor)?.into_iter().map(|a| (a, Priority::Context)));
        }
        Ok(out)
    }
}

/// A command of this module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Add,
    Resync,
    State,
    Start,
    Stop,
    Pause,
    Resume,
    Import,
}

impl Command {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "repo.add" => Self::Add,
            "repo.resync" => Self::Resync,
            "repo.status" => Self::State,
            "backfill.start" => Self::Start,
            "backfill.stop" => Self::Stop,
            "backfill.pause" => Self::Pause,
            "backfill.resume" => Self::Resume,
            "repo.import" => Self::Import,
            _ => return None,
        })
    }
}

/// Carries commands out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Backfill {
    pub(super) sources: Arc<Sources>,
    pub(super) identity: Identity,
    /// Of the first upstream: what `--network` asks.
    pub(super) relay: Option<String>,
}

impl Backfill {
    pub(super) async fn answer(self, command: Command, request: Value) -> Result<Value, String> {
        let sync = self.sources.sync().ok_or_else(|| {
            "nothing is fetched while ingest is stopped: see `aerie status`".to_owned()
        })?;
        match command {
            Command::Add => self.add(&sync, &request, false).await,
            Command::Resync => self.add(&sync, &request, true).await,
            Command::State => {
                let did = self.did(text(&request, "repo")).await?;
                let says = sync.describe(&did).await.map_err(words)?;
                Ok(json!({ "did": did.as_str(), "status": says }))
            }
            Command::Start => self.start(&sync, &request).await,
            Command::Stop => self.stop(&sync, &request).await,
            Command::Pause => sync.pause(true).await.map(|()| json!({})).map_err(words),
            Command::Import => {
                let path = std::path::PathBuf::from(text(&request, "path"));
                let got = sync.import(&path).await.map_err(words)?;
                Ok(json!({ "did": got.did.as_str(), "records": got.records, "bytes": got.bytes }))
            }
            Command::Resume => sync.pause(false).await.map(|()| json!({})).map_err(words),
        }
    }

    async fn add(&self, sync: &Handle, request: &Value, force: bool) -> Result<Value, String> {
        let names = request.get("repos").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut dids, mut unusable) = (Vec::new(), Vec::new());
        for name in names.iter().take(MAX_NAMES) {
            let name = name.as_str().unwrap_or_default();
            match self.did(name).await {
                Ok(did) => dids.push(did),
                Err(why) => unusable.push(why),
            }
        }
        let count = sync.add(dids, force).await.map_err(words)?;
        let mut answer = serde_json::to_value(count).unwrap_or_default();
        if let Value::Object(answer) = &mut answer {
            answer.insert("unusable".to_owned(), unusable.into());
        }
        Ok(answer)
    }

    /// A DID, or what a handle stands for.
    pub(super) async fn did(&self, name: &str) -> Result<Did, String> {
        if let Ok(did) = Did::parse(name) {
            return Ok(did);
        }
        let handle = Name::parse(name.trim_start_matches('@'))
            .map_err(|_| format!("{name:?} is neither a DID nor a handle"))?;
        match self.identity.resolve_handle(&handle, Freshness::Fresh).await {
            Ok(Some(did)) => Ok(did),
            Ok(None) => Err(format!("the handle {name} belongs to nobody")),
            Err(error) => Err(format!("the handle {name}: {error}")),
        }
    }

    /// The list that a request means.
    fn list<'v>(&'v self, request: &'v Value) -> Result<(SourceKind, &'v str, &'v str), String> {
        let (url, collection) = (text(request, "url"), text(request, "collection"));
        let (kind, url) = match text(request, "of") {
            "pds" => (SourceKind::Repos, url),
            "relay" if collection.is_empty() => (SourceKind::Hosts, url),
            "relay" => (SourceKind::Collection, url),
            "network" => {
                let relay = self.relay.as_deref();
                (SourceKind::Hosts, relay.ok_or("network.upstreams names no relay")?)
            }
            other => return Err(format!("there is no backfill of {other:?}")),
        };
        Ok((kind, url, collection))
    }

    async fn start(&self, sync: &Handle, request: &Value) -> Result<Value, String> {
        let (kind, url, collection) = self.list(request)?;
        let begun = sync.begin(kind, url, collection).await.map_err(words)?;
        Ok(json!({ "begun": begun, "url": url }))
    }

    async fn stop(&self, sync: &Handle, request: &Value) -> Result<Value, String> {
        let stop = if text(request, "of") == "all" {
            Stop::All
        } else {
            let (kind, url, collection) = self.list(request)?;
            Stop::List(kind, url.to_owned(), collection.to_owned())
        };
        let named = stop != Stop::All;
        let stopped = sync.stop(stop).await.map_err(words)?;
        if named && stopped.lists == 0 {
            return Err("there is no such list: `aerie backfill status` shows them".to_owned());
        }
        serde_json::to_value(stopped).map_err(words)
    }
}

fn text<'v>(request: &'v Value, key: &str) -> &'v str {
    request.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
