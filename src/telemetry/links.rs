//! Bytes between this server and those that it asks or follows: by what they are to it, and by name.
//!
//! # Invariants
//! - There is a bounded number of them; further ones count together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::counters::OTHER;

/// Most of them: upstreams and labelers that an operator names, and what is fetched for.
const MOST: usize = 256;

type Key = (&'static str, String);

static ALL: Mutex<BTreeMap<Key, Arc<Link>>> = Mutex::new(BTreeMap::new());

/// Bytes to and from one.
#[derive(Debug, Default)]
pub struct Link {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Link {
    /// The one of this name, among those of a kind (`upstream`, `labeler`, `fetch`).
    pub fn of(kind: &'static str, name: &str) -> Arc<Self> {
        let mut all = ALL.lock();
        let key = (kind, name.to_owned());
        let key = match all.contains_key(&key) || all.len() < MOST {
            true => key,
            false => (kind, OTHER.to_owned()),
        };
        Arc::clone(all.entry(key).or_default())
    }

    /// So many bytes came.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many went.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// All with something to tell: kind and name, bytes received and sent.
pub fn snapshot() -> BTreeMap<Key, (u64, u64)> {
    let read =
        |link: &Link| (link.received.load(Ordering::Relaxed), link.sent.load(Ordering::Relaxed));
    let all = ALL.lock();
    let all = all.iter().map(|(key, link)| (key.clone(), read(link)));
    all.filter(|(_, bytes)| *bytes != (0, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_by_name_and_there_are_not_more_than_so_many_names() {
        Link::of("test", "a").received(5);
        Link::of("test", "a").sent(7);
        for n in 0..MOST + 10 {
            Link::of("test-many", &format!("n{n}")).received(1);
        }
        let all = snapshot();
        assert_eq!(all[&("test", "a".to_owned())], (5, 7));
        let many = all.iter().filter(|((kind, _), _)| *kind == "test-many");
        assert_eq!(many.map(|(_, (received, _))| received).sum::<u64>(), (MOST + 10) as u64);
        assert!(all[&("test-many", OTHER.to_owned())].0 > 10);
        assert!(all.len() <= MOST + 2);
    }
}
