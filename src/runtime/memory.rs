//! The bytes that are held for strangers, each with its share of the budget, and what everybody holds now.

use std::sync::Arc;

use serde_json::Value;

use crate::config::memory::Share;
use crate::ops::MemoryShare;
use crate::store::Store;
use crate::threads::Budget;
use crate::xrpc::Outflow;

/// What waits, goes to disk or is refused beyond its share.
#[derive(Clone)]
pub(super) struct Memory {
    budget: u64,
    pub(super) fetches: Budget,
    pub(super) records: Budget,
    pub(super) pictures: Budget,
    pub(super) files: Budget,
    pub(super) answers: Arc<Outflow>,
    pub(super) sockets: Budget,
}

impl Memory {
    pub(super) fn new(budget: u64) -> Self {
        let bytes = |share: Share| Budget::new(share.of(budget));
        Self {
            budget,
            fetches: bytes(Share::Fetches),
            records: bytes(Share::Records),
            pictures: bytes(Share::Pictures),
            files: bytes(Share::Files),
            answers: Arc::new(Outflow::new(Share::Answers.of(budget))),
            sockets: bytes(Share::Sockets),
        }
    }

    /// Each share, and what it holds now where that is known; what is counted by entries is not.
    pub(super) fn shares(&self, store: &Store, upstreams: &Value) -> Vec<MemoryShare> {
        let of_store = store.memory();
        let held = |share: Share| match share {
            Share::Fetches => Some(self.fetches.held()),
            Share::Records => Some(self.records.held()),
            Share::Pictures => Some(self.pictures.held()),
            Share::Files => Some(self.files.held()),
            Share::Answers => Some(self.answers.bytes()),
            Share::Sockets => Some(self.sockets.held()),
            Share::Intake => Some(queued(upstreams)),
            share => of_store.iter().find(|(of, _)| *of == share).map(|(_, bytes)| *bytes),
        };
        let row = |share: Share| MemoryShare {
            name: share.name(),
            bytes: share.of(self.budget),
            held: held(share),
        };
        Share::all().map(row).collect()
    }
}

fn queued(upstreams: &Value) -> u64 {
    let queues = upstreams.as_array().into_iter().flatten();
    queues.filter_map(|upstream| upstream.get("queue_bytes")?.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn each_share_says_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let memory = Memory::new(512_000_000);
        let _held = memory.fetches.take(1 << 20).await;
        let upstreams = json!([{"queue_bytes": 5}, {"queue_bytes": 6}]);
        let shares = memory.shares(&store, &upstreams);
        let of = |name| shares.iter().find(|share| share.name == name).map(|s| (s.bytes, s.held));
        assert_eq!(of("fetches"), Some((24_000_000, Some(1 << 20))));
        assert_eq!(of("intake"), Some((32_000_000, Some(11))));
        assert_eq!(of("pictures"), Some((80 << 20, Some(0))));
        assert_eq!(of("answers"), Some((32 << 20, Some(0))));
        assert_eq!(of("names"), Some((Share::Names.of(512_000_000), None)));
        assert!(of("memtables").and_then(|(_, held)| held).is_some());
    }
}
