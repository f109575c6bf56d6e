//! How many rows of private state of each kind an account has, as far as that is known: what quotas go by.
//!
//! Rows are counted once and then by what is added, so that a write costs no scan: the number remembered may be too high,
//! since what is taken away again is not subtracted. Only when it reaches the quota are the rows counted anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::sync::Cache;

use crate::limits::Client;
use crate::private::Counted;

/// Accounts and kinds whose numbers are remembered.
const REMEMBERED: usize = 16_384;

/// What is known of all accounts.
pub struct Quotas(Cache<(Client, Counted), Arc<AtomicU32>>);

impl Default for Quotas {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Quotas {
    /// Counts another row in if it is known that there are less than `most`.
    pub(super) fn add(&self, account: Client, kind: Counted, most: u32) -> bool {
        let known = self.0.get(&(account, kind));
        known.is_some_and(|rows| rows.fetch_add(1, Ordering::Relaxed) < most)
    }

    /// So many rows there are.
    pub(super) fn counted(&self, account: Client, kind: Counted, rows: u32) {
        self.0.insert((account, kind), Arc::new(AtomicU32::new(rows)));
    }
}
