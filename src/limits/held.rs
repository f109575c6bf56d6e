//! What each client holds now: given back when it is dropped, so that only those who hold something are remembered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::Client;

/// How much of one limit each client holds.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<Client, u64>>);

impl Held {
    /// Takes `n` if the client then has no more than `most`.
    pub(super) fn take(self: &Arc<Self>, client: Client, n: u64, most: u64) -> Option<Hold> {
        let mut held = self.0.lock();
        let now = held.get(&client).copied().unwrap_or(0).saturating_add(n);
        if now > most {
            return None;
        }
        held.insert(client, now);
        Some(Hold(Some((Arc::clone(self), client, n))))
    }
}

/// What one use holds of a limit, until it is dropped.
#[derive(Debug)]
pub struct Hold(Option<(Arc<Held>, Client, u64)>);

impl Hold {
    /// Of somebody who is not counted.
    #[must_use]
    pub fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some((held, client, n)) = self.0.take() else { return };
        if let Entry::Occupied(mut entry) = held.0.lock().entry(client) {
            match entry.get().saturating_sub(n) {
                0 => drop(entry.remove()),
                left => *entry.get_mut() = left,
            }
        }
    }
}
