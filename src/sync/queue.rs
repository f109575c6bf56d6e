//! Which repo is fetched when: a few at a time, failed ones again after a growing wait.
//!
//! The stored list is read page by page as places become free, so it may be of any length.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, fetch, now_ms};
use super::{FAILED, Setup, Status};
use crate::event::{Body, Event};
use crate::store::{ActorId, Reader as _, Store, StoreError, meta};
use crate::syntax::Did;

const PAGE: usize = 500;
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(3600);
const FAILURES: usize = 32;
/// Failed repos remembered; further ones come up again after the next start.
const MAX_PARKED: usize = 200_000;

/// What is known of all repos under way.
#[derive(Default)]
pub(crate) struct State {
    repos: FxHashMap<Did, Repo>,
    waiting: VecDeque<Did>,
    parked: BTreeMap<(Instant, u64), Did>,
    number: u64,
    done: u64,
    failed: BTreeMap<&'static str, u64>,
    last: VecDeque<(String, String)>,
}

struct Repo {
    tries: u32,
    place: Place,
    /// Asked for again while it was being fetched.
    again: bool,
}

enum Place {
    Waiting,
    Running(String),
    Parked(String),
}

impl State {
    pub(crate) fn snapshot(&self) -> Status {
        let running = self.repos.iter().filter_map(|(did, repo)| match &repo.place {
            Place::Running(what) => Some((did.as_str().to_owned(), what.clone())),
            _ => None,
        });
        Status {
            queued: self.waiting.len(),
            parked: self.parked.len(),
            running: running.collect(),
            done: self.done,
            failed: self.failed.clone(),
            last_failures: self.last.iter().cloned().collect(),
        }
    }

    pub(crate) fn describe(&self, did: &Did) -> Option<String> {
        Some(match &self.repos.get(did)?.place {
            Place::Waiting => "waits to be fetched".to_owned(),
            Place::Running(what) => format!("is being fetched: {what}"),
            Place::Parked(why) => format!("will be tried again: {why}"),
        })
    }

    fn add(&mut self, did: Did) {
        match self.repos.get_mut(&did) {
            Some(repo) if matches!(repo.place, Place::Parked(_)) => {
                repo.place = Place::Waiting;
                self.parked.retain(|_, parked| *parked != did);
                self.waiting.push_back(did);
            }
            Some(repo) => repo.again |= matches!(repo.place, Place::Running(_)),
            None => {
                let repo = Repo { tries: 0, place: Place::Waiting, again: false };
                self.repos.insert(did.clone(), repo);
                self.waiting.push_back(did);
            }
        }
    }

    /// The next repo to fetch.
    fn take(&mut self, now: Instant) -> Option<Did> {
        while let Some(entry) = self.parked.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let did = entry.remove();
            if let Some(repo) = self.repos.get_mut(&did) {
                repo.place = Place::Waiting;
                self.waiting.push_back(did);
            }
        }
        let did = self.waiting.pop_front()?;
        self.repos.get_mut(&did)?.place = Place::Running("starting".to_owned());
        Some(did)
    }

    fn progress(&mut self, did: &Did, what: String) {
        if let Some(repo) = self.repos.get_mut(did) {
            repo.place = Place::Running(what);
        }
    }

    fn finished(&mut self, did: &Did) {
        self.done += 1;
        if self.repos.remove(did).is_some_and(|repo| repo.again) {
            self.add(did.clone());
        }
    }

    fn failed(&mut self, did: &Did, error: &FetchError) {
        FAILED.inc(error.cause());
        *self.failed.entry(error.cause()).or_default() += 1;
        if self.last.len() >= FAILURES {
            self.last.pop_front();
        }
        self.last.push_back((did.as_str().to_owned(), error.to_string()));
        if self.parked.len() >= MAX_PARKED {
            self.repos.remove(did);
            return;
        }
        let Some(repo) = self.repos.get_mut(did) else { return };
        let wait = retry_after(repo.tries);
        repo.tries += 1;
        repo.place = Place::Parked(error.to_string());
        self.number += 1;
        self.parked.insert((Instant::now() + wait, self.number), did.clone());
    }
}

fn retry_after(tries: u32) -> Duration {
    RETRY_MIN.saturating_mul(2u32.saturating_pow(tries.min(20))).min(RETRY_MAX)
}

/// The dispatcher.
pub(crate) struct Queue {
    setup: Arc<Setup>,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    /// Where the stored list was read to; `None` when it was read to its end.
    stored: Option<Option<ActorId>>,
}

impl Queue {
    pub(crate) fn new(setup: Setup, state: Arc<Mutex<State>>, stop: CancellationToken) -> Self {
        Self { setup: Arc::new(setup), state, stop, stored: Some(None) }
    }

    /// Runs until stopped, or until nothing takes events any more.
    pub(crate) async fn run(mut self, requests: flume::Receiver<Did>) {
        let mut running = JoinSet::new();
        let mut open = true;
        loop {
            self.fill(&mut running);
            let due = self.state.lock().parked.keys().next().map(|(at, _)| *at);
            let idle = Instant::now() + RETRY_MAX;
            tokio::select! {
                () = self.stop.cancelled() => break,
                did = requests.recv_async(), if open => match did {
                    Ok(did) => self.state.lock().add(did),
                    Err(_) => open = false,
                },
                Some(ended) = running.join_next() => {
                    // A task that panicked was reported by the hook.
                    if matches!(ended, Ok(false)) {
                        break;
                    }
                }
                () = sleep_until(due.unwrap_or(idle)) => {}
            }
        }
        running.shutdown().await;
    }

    fn fill(&mut self, running: &mut JoinSet<bool>) {
        while running.len() < self.setup.concurrency {
            if self.state.lock().waiting.is_empty() && self.load().is_err() {
                // The writer meets the same store, and stops the process.
                self.stored = None;
            }
            let Some(did) = self.state.lock().take(Instant::now()) else { return };
            let (setup, state) = (Arc::clone(&self.setup), Arc::clone(&self.state));
            running.spawn(async move { one(&setup, &state, &did).await });
        }
    }

    /// One page of the stored list.
    fn load(&mut self) -> Result<(), StoreError> {
        let Some(after) = self.stored else { return Ok(()) };
        let snapshot = self.setup.store.snapshot();
        let actors = meta::resyncs(&snapshot, after, PAGE)?;
        self.stored = actors.last().map(|last| Some(*last));
        for actor in actors {
            if let Ok(did) = Did::parse(&snapshot.did(actor)?) {
                self.state.lock().add(did);
            }
        }
        Ok(())
    }
}

/// Fetches one repo; `false` when nothing takes events any more.
async fn one(setup: &Arc<Setup>, state: &Mutex<State>, did: &Did) -> bool {
    let progress = |what| state.lock().progress(did, what);
    let fetched = fetch(setup, did, progress).await;
    let fetched = match fetched {
        // At once would be as often as the host can answer.
        Ok(()) if still_wanted(&setup.store, did).unwrap_or(false) => Err(FetchError::Behind),
        other => other,
    };
    match fetched {
        Ok(()) => state.lock().finished(did),
        Err(FetchError::Closed(_)) => return false,
        Err(error) => {
            tracing::debug!(%did, %error, "repo not fetched");
            state.lock().failed(did, &error);
            if let FetchError::Refused(_, Some(status)) = error {
                let event = Event { did: did.clone(), time: now_ms(), body: Body::Account(status) };
                return setup.sink.apply_parts(did.clone(), vec![event]).await.is_ok();
            }
        }
    }
    true
}

/// Whether a repo that was fetched is on the list all the same.
fn still_wanted(store: &Store, did: &Did) -> Result<bool, StoreError> {
    let snapshot = store.snapshot();
    let actor = snapshot.actor_id(did)?;
    actor.map_or(Ok(false), |actor| meta::is_resync(&snapshot, actor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour() {
        let waits: Vec<u64> = (0..12).map(|tries| retry_after(tries).as_secs()).collect();
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[11], 3600);
    }

    #[test]
    fn a_failed_repo_waits_and_a_repeated_request_counts_once() {
        let did = Did::parse("did:plc:a").unwrap();
        let (mut state, now) = (State::default(), Instant::now());
        state.add(did.clone());
        state.add(did.clone());
        assert_eq!(state.take(now), Some(did.clone()));
        assert_eq!(state.take(now), None);
        state.failed(&did, &FetchError::Lacks("PDS"));
        assert_eq!((state.take(now), state.snapshot().parked), (None, 1));
        assert!(state.describe(&did).unwrap().contains("no PDS"));
        let now = now + RETRY_MIN * 2;
        assert_eq!(state.take(now), Some(did.clone()));
        state.add(did.clone());
        state.finished(&did);
        assert_eq!(state.take(now), Some(did), "asked for again meanwhile");
        assert_eq!(state.done, 1);
    }
}
