//! What commands need of the parts that fetch, index and clear away, as traits that `runtime` fills.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::protocol::{BackfillStopped, RepoImported, ReposAdded};
use crate::config::ScopeMode;
use crate::identity::plc::PlcExport;
pub use crate::private::Afterwards;
use crate::schema::ActorId;
use crate::store::StoreError;
use crate::syntax::Did;
use crate::work::repo_queue::{SourceKind, Stop};

/// A failure in words, for the operator.
pub type Said<T> = Result<T, String>;

/// Which repos a command fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Those that are not complete.
    Incomplete,
    /// All that are named, anew, before anything else.
    Anew,
}

/// What may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// Everything.
    Runs,
    /// Nothing but resyncs.
    Paused,
}

/// What becomes of the records of a repo that is fetched no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// They stay.
    Stay,
    /// They are deleted.
    Go,
}

/// What fetches repos.
pub trait Repos: Send + Sync {
    /// Queues repos.
    fn add(&self, dids: Vec<Did>, fetch: Fetch) -> BoxFuture<'_, Said<ReposAdded>>;

    /// What is the matter with a repo and what happens next, in a sentence.
    fn describe<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Said<String>>;

    /// Takes a repo in from a CAR file.
    fn import(&self, path: PathBuf) -> BoxFuture<'_, Said<RepoImported>>;

    /// Begins to read a list; `false` if it is being read.
    fn begin<'a>(
        &'a self,
        kind: SourceKind,
        url: &'a str,
        collection: &'a str,
    ) -> BoxFuture<'a, Said<bool>>;

    /// Ends lists, and takes away the jobs that came of them.
    fn stop(&self, stop: Stop) -> BoxFuture<'_, Said<BackfillStopped>>;

    /// Says what may begin; holds over a restart.
    fn set(&self, backfill: Backfill) -> BoxFuture<'_, Said<()>>;

    /// The job of a repo was taken out of the store.
    fn forget(&self, actor: ActorId);
}

/// What brings new data, while it runs.
pub trait Intake: Send + Sync {
    /// What fetches repos.
    fn repos(&self) -> Option<Arc<dyn Repos>>;

    /// Takes nothing new in, or does again.
    fn pause(&self, paused: bool);

    /// Connects anew to the upstream with this URL; `false` if there is none.
    fn reconnect(&self, url: &str) -> bool;

    /// Where operations of the PLC directory go, and what ends them.
    fn plc_export(&self) -> Option<(PlcExport, CancellationToken)>;
}

/// What became of a repo that an operator does not want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Its account, if it was ever seen.
    pub actor: Option<ActorId>,
    /// It was queued.
    pub queued: bool,
    /// Its records are being deleted.
    pub deleting: bool,
    /// Nothing was done, since all of it is kept.
    pub kept: bool,
}

/// Accounts, here by whoever keeps the index. Answers are on disk; times are milliseconds since the epoch.
pub trait Accounts: Send + Sync {
    /// Makes an account a member; `false` if it was one. Its notifications are there then.
    fn join<'a>(&'a self, did: &'a str, at: i64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Makes it a member no more; `false` if it was none.
    fn leave<'a>(&'a self, did: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Nothing of the account is collected any more, and what was goes; `false` if that was so already.
    fn opt_out<'a>(&'a self, did: &'a str, at: i64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// It is collected again; `false` while what was held is still being deleted.
    fn opt_in<'a>(&'a self, did: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Everything that is held of it goes.
    fn erase<'a>(
        &'a self,
        did: &'a str,
        afterwards: Afterwards,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Its repo is fetched no more.
    fn remove_repo<'a>(
        &'a self,
        did: &'a str,
        records: Records,
    ) -> BoxFuture<'a, Result<Removed, StoreError>>;
}

/// What is searched.
pub trait Search: Send + Sync {
    /// Makes the indexes anew.
    fn rebuild(&self);

    /// How they are.
    fn status(&self) -> Value;

    /// What `app.bsky.feed.searchPosts` with these parameters gives this account, and why. Blocks.
    fn explained(&self, parameters: &str, viewer: Option<Did>) -> Said<Value>;
}

/// What makes backups.
pub trait Backups: Send + Sync {
    /// Begins one of the store, or of private state alone; its number.
    fn begin(&self, private: bool) -> Said<u64>;

    /// How they are.
    fn status(&self) -> Value;
}

/// What takes old records away.
pub trait Retention: Send + Sync {
    /// Begins now.
    fn run(&self) -> Said<()>;

    /// Begins to count what would go under another scope.
    fn plan(&self, mode: Option<ScopeMode>, days: Option<u32>, budget: Option<u64>) -> Said<()>;

    /// What is kept, how far a run is, and what the last one did.
    fn status(&self) -> Value;
}
