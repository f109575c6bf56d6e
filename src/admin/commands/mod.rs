//! Carries the operator's commands out: from a request to an answer or a sentence. One file for each kind of command.

mod access;
mod backfill;
mod identity;
mod intake;
mod members;
mod names;
mod private;
mod retention;
mod rights;
mod search;

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;

use super::ports::{self, Accounts, Intake, Said};
use super::protocol::{
    AccountDelete, AccountExport, AccountOptIn, AccountOptOut, AccountOptOuts, AccountStatus,
    AdminLogin, BackfillPause, BackfillResume, BackfillStart, BackfillStop, BackupBegun,
    BackupCreate, ConfigReload, IdentityImport, IngestPause, IngestReconnect, IngestResume,
    MemberAdd, MemberList, MemberRemove, Operation, PrivateExport, PrivateImport, RepoAdd,
    RepoImport, RepoRemove, RepoResync, RepoStatus, Request, RetentionPlan, RetentionRun,
    SearchQuery, SearchRebuild, SessionList, SessionRevoke,
};
use super::socket::Handler;
use crate::identity::Identity;
use crate::login::Login;
use crate::store::{Store, StoreError};
use crate::syntax::Did;
use crate::threads::Clock;

pub use private::PrivateState;

/// What the commands work with.
pub struct Commands {
    /// What is read.
    pub store: Store,
    /// Finds out whom a handle names.
    pub identity: Identity,
    /// What brings new data.
    pub intake: Arc<dyn Intake>,
    /// Members and the rights of accounts.
    pub accounts: Arc<dyn Accounts>,
    /// What takes old records away.
    pub retention: Arc<dyn ports::Retention>,
    /// What is searched.
    pub search: Arc<dyn ports::Search>,
    /// What makes backups.
    pub backups: Arc<dyn ports::Backups>,
    /// What exists only here.
    pub private: PrivateState,
    /// The status document.
    pub status: Box<dyn Fn() -> Value + Send + Sync>,
    /// The first of `network.upstreams`: what `--network` asks.
    pub relay: Option<String>,
    /// Signs operators in.
    pub login: Login,
    /// Where this server is, without a slash at the end.
    pub public_url: String,
    /// Has the configuration read again.
    pub reload: Box<dyn Fn() + Send + Sync>,
    /// `scope.members`.
    pub configured: Vec<Did>,
    /// What time it is.
    pub clock: Clock,
}

impl Commands {
    /// Answers requests of the socket.
    #[must_use]
    pub fn handler(self) -> Arc<Handler> {
        let this = Arc::new(self);
        Arc::new(move |request| {
            let this = Arc::clone(&this);
            async move { this.answer(request).await }.boxed()
        })
    }

    async fn answer(&self, request: Request) -> Said<Value> {
        match request {
            Request::Status(_) => Ok((self.status)()),
            Request::RepoAdd(of) => {
                say::<RepoAdd>(self.add(&of.repos, ports::Fetch::Incomplete).await)
            }
            Request::RepoResync(of) => {
                say::<RepoResync>(self.add(&of.repos, ports::Fetch::Anew).await)
            }
            Request::RepoRemove(of) => say::<RepoRemove>(self.remove_repos(&of).await),
            Request::RepoStatus(of) => say::<RepoStatus>(self.repo_status(&of.repo).await),
            Request::RepoImport(of) => say::<RepoImport>(self.import_repo(of.path).await),
            Request::BackfillStart(of) => say::<BackfillStart>(self.start(&of.list).await),
            Request::BackfillStop(of) => say::<BackfillStop>(self.stop(of.list.as_ref()).await),
            Request::BackfillPause(_) => {
                say::<BackfillPause>(self.set(ports::Backfill::Paused).await)
            }
            Request::BackfillResume(_) => {
                say::<BackfillResume>(self.set(ports::Backfill::Runs).await)
            }
            Request::IdentityImport(of) => say::<IdentityImport>(self.import_identities(of)),
            Request::MemberAdd(of) => say::<MemberAdd>(self.add_member(&of.member).await),
            Request::MemberRemove(of) => say::<MemberRemove>(self.remove_member(&of.member).await),
            Request::MemberList(_) => say::<MemberList>(self.members().await),
            Request::AccountStatus(of) => say::<AccountStatus>(self.account(&of.account).await),
            Request::AccountOptOut(of) => say::<AccountOptOut>(self.opt_out(&of.account).await),
            Request::AccountOptIn(of) => say::<AccountOptIn>(self.opt_in(&of.account).await),
            Request::AccountOptOuts(_) => say::<AccountOptOuts>(self.opt_outs().await),
            Request::AccountDelete(of) => say::<AccountDelete>(self.delete(&of).await),
            Request::AccountExport(of) => say::<AccountExport>(self.export(of).await),
            Request::RetentionRun(_) => say::<RetentionRun>(self.run_retention()),
            Request::RetentionPlan(of) => say::<RetentionPlan>(self.plan_retention(of)),
            Request::RetentionStatus(_) => Ok(self.retention.status()),
            Request::SearchRebuild(_) => say::<SearchRebuild>(self.rebuild_search()),
            Request::SearchStatus(_) => Ok(self.search.status()),
            Request::SearchQuery(of) => say::<SearchQuery>(self.search(of).await),
            Request::BackupCreate(of) => {
                let begun = self.backups.begin(of.private);
                say::<BackupCreate>(begun.map(|run| BackupBegun { run }))
            }
            Request::BackupState(_) => Ok(self.backups.status()),
            Request::PrivateExport(of) => say::<PrivateExport>(self.private.export(of).await),
            Request::PrivateImport(of) => say::<PrivateImport>(self.private.put(of).await),
            Request::IngestPause(_) => say::<IngestPause>(self.pause(true)),
            Request::IngestResume(_) => say::<IngestResume>(self.pause(false)),
            Request::IngestReconnect(of) => say::<IngestReconnect>(self.reconnect(&of.url)),
            Request::ConfigReload(_) => say::<ConfigReload>(self.reload()),
            Request::AdminLogin(of) => say::<AdminLogin>(self.login_link(of.role).await),
            Request::SessionList(_) => say::<SessionList>(self.sessions()),
            Request::SessionRevoke(of) => say::<SessionRevoke>(self.revoke(&of).await),
        }
    }

    /// Reads the store on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Said<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || read(&store)).await;
        done.map_err(words)?.map_err(words)
    }
}

/// The answer of an operation, as it goes over the wire.
fn say<O: Operation>(answer: Said<O::Answer>) -> Said<Value> {
    serde_json::to_value(answer?).map_err(words)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
