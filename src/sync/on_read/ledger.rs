//! What is under way, what was asked for lately, and which hosts do not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Outcome, Want};

/// Tasks at a time, waiting ones included.
const TASKS: usize = 512;
/// Answers remembered.
const ANSWERS: usize = 50_000;
const HOSTS: usize = 4_096;
/// How long a host that did not answer is left alone.
const QUIET: Duration = Duration::from_secs(30);

/// Learns how a task ended.
pub(super) type Task = watch::Receiver<Option<Outcome>>;

/// Bounded; nothing of it outlives the process.
pub(super) struct Ledger {
    running: Mutex<HashMap<Arc<str>, Task>>,
    settled: Cache<Arc<str>, Instant>,
    hosts: Cache<Arc<str>, Instant>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { running: Mutex::default(), settled: Cache::new(ANSWERS), hosts: Cache::new(HOSTS) }
    }
}

/// What the ledger says to a wish.
pub(super) enum Entry {
    /// Somebody asked before.
    Running(Task),
    /// Not now.
    Refused(&'static str),
    /// To be done: through this everybody learns how it ended.
    New(watch::Sender<Option<Outcome>>),
}

/// One name for one thing. A post with the posts above it is another thing than the post alone.
pub(super) fn key(want: &Want) -> Arc<str> {
    match want {
        Want::Account(id) => id.to_ascii_lowercase().into(),
        Want::Record { repo, collection, rkey, parents } => {
            let up = if *parents > 0 { "^" } else { "" };
            format!("{up}at://{repo}/{collection}/{rkey}").into()
        }
    }
}

impl Ledger {
    pub(super) fn enter(&self, key: &Arc<str>) -> Entry {
        let mut running = self.running.lock();
        // One that panicked has left nobody to end it.
        if let Some(task) = running.get(key).filter(|task| task.has_changed().is_ok()) {
            return Entry::Running(task.clone());
        }
        if self.settled.get(key).is_some_and(|until| until > Instant::now()) {
            return Entry::Refused("remembered");
        }
        if running.len() >= TASKS {
            return Entry::Refused("busy");
        }
        let (ended, task) = watch::channel(None);
        running.insert(Arc::clone(key), task);
        Entry::New(ended)
    }

    /// It is not asked for again within `lifetime`.
    pub(super) fn leave(&self, key: &Arc<str>, lifetime: Duration) {
        self.settled.insert(Arc::clone(key), Instant::now() + lifetime);
        self.running.lock().remove(key);
    }

    /// Whether the host is left alone.
    pub(super) fn is_quiet(&self, host: &str) -> bool {
        self.hosts.get(host).is_some_and(|until| until > Instant::now())
    }

    /// The host did not answer.
    pub(super) fn quiet(&self, host: &str) {
        self.hosts.insert(host.into(), Instant::now() + QUIET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_for_one_thing_and_none_until_its_answer_expired() {
        let ledger = Ledger::default();
        let key: Arc<str> = "did:plc:a".into();
        let Entry::New(ended) = ledger.enter(&key) else { panic!() };
        assert!(matches!(ledger.enter(&key), Entry::Running(_)));
        ledger.leave(&key, Duration::from_secs(30));
        drop(ended);
        assert!(matches!(ledger.enter(&key), Entry::Refused("remembered")));
        let key: Arc<str> = "did:plc:b".into();
        let Entry::New(ended) = ledger.enter(&key) else { panic!() };
        ledger.leave(&key, Duration::ZERO);
        drop(ended);
        let Entry::New(panicked) = ledger.enter(&key) else { panic!() };
        drop(panicked);
        assert!(
            matches!(ledger.enter(&key), Entry::New(_)),
            "a task without an end ends nobody else's"
        );
    }

    #[test]
    fn what_is_over_the_cap_is_not_done() {
        let ledger = Ledger::default();
        let name = |n: usize| Arc::<str>::from(format!("did:plc:{n}"));
        let tasks: Vec<_> = (0..TASKS).map(|n| ledger.enter(&name(n))).collect();
        assert!(tasks.iter().all(|task| matches!(task, Entry::New(_))));
        assert!(matches!(ledger.enter(&name(TASKS)), Entry::Refused("busy")));
    }
}
