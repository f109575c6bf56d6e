//! Search, as the rest of the house knows it: it waits for room, the operator asks it, and the status says up to where it is.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::Value;

use super::members::Handlers;
use crate::admin::ports::{self, Said};
use crate::changes::Log;
use crate::search::index::Search;
use crate::syntax::Did;
use crate::upkeep::Derived;
use crate::xrpc;

/// Lets search wait for room on the disk.
pub(super) struct HeldSearch(pub(super) Arc<Search>);

impl Derived for HeldSearch {
    fn hold(&self, held: bool) {
        self.0.hold(held);
    }
}

/// Searches for the operator.
pub(super) struct OperatorSearch {
    pub(super) search: Arc<Search>,
    pub(super) handlers: Handlers,
}

impl ports::Search for OperatorSearch {
    fn rebuild(&self) {
        self.search.rebuild();
    }

    fn status(&self) -> Value {
        status(&self.search)
    }

    fn explained(&self, parameters: &str, viewer: Option<Did>) -> Said<Value> {
        let handlers = self.handlers.get().and_then(Weak::upgrade);
        let handlers = handlers.ok_or_else(|| "the server is about to end".to_owned())?;
        xrpc::explained_search(&handlers, viewer, parameters).map_err(|error| error.to_string())
    }
}

fn status(search: &Search) -> Value {
    serde_json::to_value(search.status()).unwrap_or_default()
}

/// Looks of the status at how far the log was that may not be reached yet.
const LOOKS: usize = 256;

/// Up to which number of the first upstream everything can be searched.
pub(super) struct SearchSeq {
    search: Arc<Search>,
    log: Arc<Log>,
    state: Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    /// The number of the upstream, and the one of the log before which is all that it led to.
    waiting: VecDeque<(i64, u64)>,
    known: Option<i64>,
}

impl SearchSeq {
    pub(super) fn new(search: Arc<Search>, log: Arc<Log>) -> Self {
        Self { search, log, state: Mutex::default() }
    }

    pub(super) fn search(&self) -> Value {
        status(&self.search)
    }

    /// As of now, where the first upstream is at `seq`: that was read before.
    pub(super) fn get(&self, seq: Option<i64>) -> Option<i64> {
        let tip = self.log.tip();
        self.state.lock().look(seq.map(|seq| (seq, tip)), self.search.searchable())
    }
}

impl Looks {
    fn look(&mut self, now: Option<(i64, u64)>, searchable: Option<u64>) -> Option<i64> {
        let is_new = now.is_some() && self.waiting.back().copied() != now;
        if is_new && self.waiting.len() < LOOKS {
            self.waiting.extend(now);
        }
        let searchable = searchable?;
        while let Some((seq, _)) = self.waiting.front().copied().filter(|at| at.1 <= searchable) {
            self.known = Some(seq);
            self.waiting.pop_front();
        }
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_once_search_is_there() {
        let mut looks = Looks::default();
        assert_eq!(looks.look(None, None), None);
        assert_eq!(looks.look(Some((10, 100)), Some(99)), None);
        assert_eq!(looks.look(Some((20, 200)), Some(100)), Some(10));
        assert_eq!(looks.look(Some((30, 200)), Some(199)), Some(10));
        assert_eq!(looks.look(Some((40, 400)), Some(200)), Some(30));
        assert_eq!(looks.look(None, Some(400)), Some(40));
        assert_eq!(looks.look(None, None), None, "there is nothing to search");
    }

    #[test]
    fn who_looks_all_the_time_learns_it_all_the_same() {
        let mut looks = Looks::default();
        for n in 0..10_000 {
            assert_eq!(looks.look(Some((n, 100 + n.unsigned_abs())), Some(100)), Some(0));
        }
        let known = looks.look(Some((10_000, 10_100)), Some(10_100)).unwrap();
        assert!((200..=10_000).contains(&known), "{known}");
        assert_eq!(looks.look(Some((10_000, 10_100)), Some(10_100)), Some(10_000));
    }
}
