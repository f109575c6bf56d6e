//! Fills the ports of the operator's commands: what fetches, takes in and clears away, as `admin` knows it.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::accounts::{IndexAccounts, followed};
use super::sources::Sources;
use crate::admin::PrivateState;
use crate::admin::ports::{Backfill, Backups, Fetch, Intake, Repos, Retention, Said};
use crate::admin::protocol::{BackfillStopped, RepoImported, ReposAdded};
use crate::backup::{Kind, Schedule};
use crate::config::ScopeMode;
use crate::identity::plc::PlcExport;
use crate::index::{Door, Index};
use crate::moderation::Takedowns;
use crate::schema::ActorId;
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::threads::Clock;
use crate::work::repo_queue::{SourceKind, Stop};
use crate::{sync, upkeep};

/// Private state over a store that no server has open.
pub fn private_state(store: Store, writer: Writer) -> Result<PrivateState, StoreError> {
    let index = Arc::new(Index::new(&store)?.0);
    let takedowns = Takedowns::load(&store.snapshot())?;
    takedowns.log_to(index.log());
    let private = followed(writer, &index, &takedowns, Vec::new());
    let (of, to) = (store.clone(), private.clone());
    let door = Door::Open;
    let accounts = IndexAccounts { index, store: of, private: to, clock: Clock::system(), door };
    Ok(PrivateState { store, private, accounts: Arc::new(accounts) })
}

impl Intake for Sources {
    fn repos(&self) -> Option<Arc<dyn Repos>> {
        self.sync().map(|sync| Arc::new(FetchedRepos(sync)) as _)
    }

    fn pause(&self, paused: bool) {
        self.pause(paused);
    }

    fn reconnect(&self, url: &str) -> bool {
        self.reconnect(url)
    }

    fn plc_export(&self) -> Option<(PlcExport, CancellationToken)> {
        self.export()
    }
}

/// What sync fetches.
struct FetchedRepos(sync::Handle);

impl Repos for FetchedRepos {
    fn add(&self, dids: Vec<Did>, fetch: Fetch) -> BoxFuture<'_, Said<ReposAdded>> {
        Box::pin(async move {
            let count = self.0.add(dids, fetch == Fetch::Anew).await.map_err(words)?;
            let sync::AddedRepos { added, raised, known, gone } = count;
            Ok(ReposAdded { added, raised, known, gone, unusable: Vec::new() })
        })
    }

    fn describe<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Said<String>> {
        Box::pin(async move { self.0.describe(did).await.map_err(words) })
    }

    fn import(&self, path: PathBuf) -> BoxFuture<'_, Said<RepoImported>> {
        Box::pin(async move {
            let sync::FileRepo { did, records, bytes } =
                self.0.import(&path).await.map_err(words)?;
            Ok(RepoImported { did: did.as_str().to_owned(), records, bytes })
        })
    }

    fn begin<'a>(
        &'a self,
        kind: SourceKind,
        url: &'a str,
        collection: &'a str,
    ) -> BoxFuture<'a, Said<bool>> {
        Box::pin(async move { self.0.begin(kind, url, collection).await.map_err(words) })
    }

    fn stop(&self, stop: Stop) -> BoxFuture<'_, Said<BackfillStopped>> {
        Box::pin(async move {
            let sync::Stopped { lists, repos } = self.0.stop(stop).await.map_err(words)?;
            Ok(BackfillStopped { lists, repos })
        })
    }

    fn set(&self, backfill: Backfill) -> BoxFuture<'_, Said<()>> {
        Box::pin(async move { self.0.pause(backfill == Backfill::Paused).await.map_err(words) })
    }

    fn forget(&self, actor: ActorId) {
        self.0.forget(actor);
    }
}

/// What makes backups.
pub(super) struct MadeBackups(pub(super) Arc<Schedule>);

impl Backups for MadeBackups {
    fn begin(&self, private: bool) -> Said<u64> {
        self.0.begin(if private { Kind::Private } else { Kind::Whole })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
}

/// What upkeep takes away.
pub(super) struct RetentionRuns(pub(super) Arc<upkeep::Retention>);

impl Retention for RetentionRuns {
    fn run(&self) -> Said<()> {
        self.0.run_now()
    }

    fn plan(&self, mode: Option<ScopeMode>, days: Option<u32>, budget: Option<u64>) -> Said<()> {
        self.0.plan(mode, days, budget)
    }

    fn status(&self) -> Value {
        self.0.status()
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
