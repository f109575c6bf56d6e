//! Commands and questions of the operator.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::files::{FileError, FileRepo};
use super::lists::base_url;
use super::state::{Source, State};
use super::{Setup, Status};
use crate::net::NetError;
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, Edit, Rows};
use crate::store::StoreError;
use crate::syntax::{Did, Tid, datetime, is_nsid};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{Added, JobRow, Priority, SourceKind, SourceRow, SourceState, Stop};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No usable URL.
    #[error(transparent)]
    Url(#[from] NetError),
    /// No collection.
    #[error("{0:?} is no collection")]
    Collection(String),
}

/// Stored jobs looked at in one step of the writer.
const STEP: usize = 2000;

/// What became of named repos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct AddedRepos {
    /// Jobs made.
    pub added: usize,
    /// Jobs that are more urgent or earlier now.
    pub raised: usize,
    /// Jobs that were there.
    pub known: usize,
    /// Accounts that are deleted, or want nothing of their own collected: there is nothing to be fetched.
    pub gone: usize,
}

/// What is fetched no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stopped {
    /// Lists that were meant, those that had been read to their end included.
    pub lists: usize,
    /// Jobs taken away.
    pub repos: usize,
}

/// A handle to the running workers. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    setup: Arc<Setup>,
    state: Arc<Mutex<State>>,
    poke: flume::Sender<ActorId>,
}

impl Handle {
    pub(super) fn new(setup: Setup) -> (Self, flume::Receiver<ActorId>) {
        let (poke, requests) = flume::unbounded();
        let state = Arc::<Mutex<State>>::default();
        state.lock().paused = jobs::is_paused(&setup.store.snapshot()).unwrap_or(false);
        (Self { setup: Arc::new(setup), state, poke }, requests)
    }

    pub(super) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup)
    }

    pub(super) fn state(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        // First: what is taken from there meanwhile is counted twice rather than not at all.
        let poked = self.poke.len();
        let mut status = self.state.lock().snapshot(Instant::now());
        status.queued += poked;
        status
    }

    /// Wants repos; with `force` also those that are complete, and at once.
    pub async fn add(&self, dids: Vec<Did>, force: bool) -> Result<AddedRepos, CommandError> {
        let priority = if force { Priority::Resync } else { Priority::Asked };
        let (poke, now) = (self.poke.clone(), self.setup.clock.now_ms());
        let job = self.setup.writer.durable(move |tx| {
            let mut count = AddedRepos::default();
            for did in &dids {
                let actor = tx.intern_actor(did)?;
                if tx.actor(actor)?.is_some_and(|row| row.status.is_gone()) {
                    count.gone += 1;
                    continue;
                }
                let job = JobRow { force, ..JobRow::new(priority, now) };
                match jobs::add(tx, actor, &job)? {
                    Added::New => count.added += 1,
                    Added::Raised => count.raised += 1,
                    Added::Known => count.known += 1,
                }
                let poke = poke.clone();
                tx.after_commit(move || {
                    let _ = poke.send(actor);
                });
            }
            Ok(count)
        });
        Ok(job.await?)
    }

    /// Takes a repo in from a CAR file.
    pub async fn import(&self, path: &Path) -> Result<FileRepo, FileError> {
        super::files::import(&self.setup, path).await
    }

    /// Reads a list of repos and wants what it names; `false` if it is being read already.
    pub async fn begin(
        &self,
        kind: SourceKind,
        url: &str,
        collection: &str,
    ) -> Result<bool, CommandError> {
        if kind == SourceKind::Collection && !is_nsid(collection) {
            return Err(CommandError::Collection(collection.to_owned()));
        }
        let row = SourceRow::new(kind, &base_url(url)?, collection, self.setup.clock.now_ms());
        let stored = row.clone();
        let (id, begun) = self
            .setup
            .writer
            .durable(move |tx| {
                let mut all = jobs::sources(tx)?;
                Ok(jobs::start_source(tx, &mut all, &stored))
            })
            .await?;
        if begun {
            self.state.lock().sources.insert(id, Source { row, busy: false, outstanding: 0 });
        }
        Ok(begun)
    }

    /// Ends lists, and takes away the jobs that came of them and those that nobody else wants. What is being fetched comes
    /// in still.
    pub async fn stop(&self, stop: Stop) -> Result<Stopped, CommandError> {
        let stop = match stop {
            Stop::All => Stop::All,
            Stop::List(kind, url, collection) => Stop::List(kind, base_url(&url)?, collection),
        };
        let all = stop == Stop::All;
        let lists = self.setup.writer.durable(move |tx| jobs::stop_sources(tx, &stop)).await?;
        {
            let sources = &mut self.state.lock().sources;
            for id in &lists {
                if let Some(source) = sources.get_mut(id) {
                    source.row.state = SourceState::Stopped;
                }
            }
        }
        let mut stopped = Stopped { lists: lists.len(), repos: 0 };
        let mut after = None;
        loop {
            let ids = lists.clone();
            let some =
                move |tx: &mut crate::store::Tx<'_>| jobs::drop_some(tx, &ids, all, after, STEP);
            let (dropped, next) = self.setup.writer.durable(some).await?;
            stopped.repos += dropped.len();
            let mut state = self.state.lock();
            dropped.into_iter().for_each(|actor| state.forget(actor, false));
            after = next;
            if after.is_none() {
                return Ok(stopped);
            }
        }
    }

    /// A job was taken out of the store: its repo is not waited for, nor fetched to the end.
    pub fn forget(&self, actor: ActorId) {
        self.state.lock().forget(actor, true);
    }

    /// Lets only resyncs begin, or everything again. Holds over a restart.
    pub async fn pause(&self, paused: bool) -> Result<(), CommandError> {
        let work = move |tx: &mut crate::store::Tx<'_>| {
            jobs::set_paused(tx, paused);
            Ok(())
        };
        self.setup.writer.durable(work).await?;
        self.state.lock().paused = paused;
        Ok(())
    }

    /// Holds everything but resyncs back for a reason that is not the operator's, until it is called with `None`.
    pub fn hold_back(&self, why: Option<String>) {
        self.state.lock().held_back = why;
    }

    /// What is the matter with a repo and what happens next, in a sentence.
    pub async fn describe(&self, did: &Did) -> Result<String, CommandError> {
        let (store, name) = (self.setup.store.clone(), did.clone());
        let read = move || -> Result<_, StoreError> {
            let s = store.snapshot();
            let Some(actor) = s.actor_id(&name)? else { return Ok(None) };
            let asleep = jobs::is_asleep(&s, actor)?;
            Ok(Some((actor, s.actor(actor)?, s.repo(actor)?, jobs::get(&s, actor)?, asleep)))
        };
        let known = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Closed)??;
        let Some((actor, account, repo, job, asleep)) = known else {
            return Ok(format!("{did} was never seen; `aerie repo add {did}` fetches its repo."));
        };
        let tombstoned = account.as_ref().is_some_and(|row| row.tombstoned);
        let status = account.map_or(AccountStatus::Active, |row| row.status);
        let has = match &repo {
            None => "nothing of it is here".to_owned(),
            Some(row) if row.is_complete() => format!("it is complete, at rev {}", rev(row.rev)),
            Some(row) if row.whole.is_some() => {
                format!("it is here up to rev {}, but commits are missing", rev(row.rev))
            }
            Some(_) => "it is incomplete: only what was seen live is here".to_owned(),
        };
        let hosted = match status {
            _ if tombstoned => "; its DID was given up",
            AccountStatus::Active => "",
            AccountStatus::Deactivated => "; the account is deactivated",
            AccountStatus::Suspended => "; its host suspended the account",
            AccountStatus::Takendown => "; its host took the account down",
            AccountStatus::Deleted => "; the account is deleted",
            AccountStatus::OptedOut => "; it wants nothing of its own collected here",
        };
        let in_memory = self.state.lock().describe(actor, Instant::now());
        let next = match (in_memory, job) {
            (Some(state), _) => state,
            (None, Some(job)) => next_try(&job, self.setup.clock.now_ms()),
            (None, None) if asleep => "a list says that its account is not active, so it is fetched once the account is seen alive".to_owned(),
            (None, None) if repo.as_ref().is_some_and(|row| row.is_complete()) => {
                "nothing is to be done".to_owned()
            }
            (None, None) if status == AccountStatus::Deleted => {
                "nothing happens unless it comes back".to_owned()
            }
            (None, None) if status == AccountStatus::OptedOut => {
                "nothing happens until it opts in again".to_owned()
            }
            (None, None) => format!("nobody asked for it: `aerie repo add {did}` does"),
        };
        Ok(format!("{did}: {has}{hosted}; {next}."))
    }
}

fn rev(n: u64) -> String {
    Tid::from_u64(n).map_or_else(|| n.to_string(), |tid| tid.to_string())
}

fn next_try(job: &JobRow, now: i64) -> String {
    if job.cause.is_empty() {
        return "it waits to be fetched".to_owned();
    }
    let at = if job.due <= now {
        "in a moment".to_owned()
    } else {
        format!("at {}", datetime::format_ms(job.due))
    };
    if job.tries == 0 {
        return format!("its host is left alone ({}), and it is fetched {at}", job.detail);
    }
    let times = if job.tries == 1 { "the last try failed" } else { "the last tries failed" };
    format!("{times} ({}: {}; {} so far), the next is {at}", job.cause, job.detail, job.tries)
}
