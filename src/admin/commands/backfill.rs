//! `aerie repo` and `aerie backfill`: what is fetched, and what is not any more.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Commands, words};
use crate::admin::ports::{Backfill, Fetch, Records, Repos, Said};
use crate::admin::protocol::{
    BackfillStarted, BackfillStopped, Done, RepoImported, RepoList, RepoRemove, RepoStatusSaid,
    ReposAdded, ReposRemoved,
};
use crate::work::repo_queue::{SourceKind, Stop};

/// Repos named in one command; further ones are refused.
const MAX_NAMES: usize = 10_000;

impl Commands {
    fn repos(&self) -> Said<Arc<dyn Repos>> {
        let stopped =
            || "nothing is fetched while ingest is stopped: see `aerie status`".to_owned();
        self.intake.repos().ok_or_else(stopped)
    }

    pub(super) async fn add(&self, names: &[String], fetch: Fetch) -> Said<ReposAdded> {
        check_number(names)?;
        let repos = self.repos()?;
        let (dids, unusable) = self.dids(names).await;
        Ok(ReposAdded { unusable, ..repos.add(dids, fetch).await? })
    }

    pub(super) async fn repo_status(&self, name: &str) -> Said<RepoStatusSaid> {
        let repos = self.repos()?;
        let did = self.did(name).await?;
        let status = repos.describe(&did).await?;
        Ok(RepoStatusSaid { did: did.as_str().to_owned(), status })
    }

    pub(super) async fn import_repo(&self, path: PathBuf) -> Said<RepoImported> {
        self.repos()?.import(path).await
    }

    pub(super) async fn remove_repos(&self, of: &RepoRemove) -> Said<ReposRemoved> {
        check_number(&of.repos)?;
        let records = if of.delete { Records::Go } else { Records::Stay };
        let (dids, unusable) = self.dids(&of.repos).await;
        let mut done = ReposRemoved { unusable, ..ReposRemoved::default() };
        for did in dids {
            let removed = self.accounts.remove_repo(did.as_str(), records).await.map_err(words)?;
            if removed.kept {
                done.kept.push(did.as_str().to_owned());
                continue;
            }
            // Also without a job in the store: it may have been taken away a moment ago.
            if let Some((actor, repos)) = removed.actor.zip(self.intake.repos()) {
                repos.forget(actor);
            }
            done.removed += usize::from(removed.queued);
            done.deleting += usize::from(removed.deleting);
        }
        Ok(done)
    }

    pub(super) async fn start(&self, list: &RepoList) -> Said<BackfillStarted> {
        let repos = self.repos()?;
        let (kind, url, collection) = self.source(list)?;
        let begun = repos.begin(kind, url, collection).await?;
        Ok(BackfillStarted { begun, url: url.to_owned() })
    }

    pub(super) async fn stop(&self, list: Option<&RepoList>) -> Said<BackfillStopped> {
        let repos = self.repos()?;
        let Some(list) = list else { return repos.stop(Stop::All).await };
        let (kind, url, collection) = self.source(list)?;
        let stop = Stop::List(kind, url.to_owned(), collection.to_owned());
        let stopped = repos.stop(stop).await?;
        if stopped.lists == 0 {
            return Err("there is no such list: `aerie backfill status` shows them".to_owned());
        }
        Ok(stopped)
    }

    pub(super) async fn set(&self, backfill: Backfill) -> Said<Done> {
        self.repos()?.set(backfill).await.map(|()| Done {})
    }

    fn source<'l>(&'l self, list: &'l RepoList) -> Said<(SourceKind, &'l str, &'l str)> {
        Ok(match list {
            RepoList::Pds { url } => (SourceKind::Repos, url, ""),
            RepoList::Relay { url, collection: None } => (SourceKind::Hosts, url, ""),
            RepoList::Relay { url, collection: Some(collection) } => {
                (SourceKind::Collection, url, collection)
            }
            RepoList::Network {} => {
                let relay = self.relay.as_deref();
                (SourceKind::Hosts, relay.ok_or("network.upstreams names no relay")?, "")
            }
        })
    }
}

fn check_number(names: &[String]) -> Said<()> {
    if names.len() > MAX_NAMES {
        return Err(format!(
            "{} repositories in one request; {MAX_NAMES} are the most",
            names.len()
        ));
    }
    Ok(())
}
