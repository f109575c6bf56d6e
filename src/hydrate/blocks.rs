//! Blocks between two accounts, whoever asks.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::block_set::BlockSet;
use super::state::{HydrationState, pair};
use super::{Hydrator, Result};
use crate::schema::rows::EdgeKind;
use crate::schema::{ActorId, Rows, Target};

impl Hydrator<'_> {
    /// Adds whether the accounts of each pair block each other, in either direction, directly or by list.
    pub fn blocks(
        &self,
        state: &mut HydrationState,
        pairs: impl IntoIterator<Item = (ActorId, ActorId)>,
    ) -> Result<()> {
        for (a, b) in pairs {
            let key = pair(a, b);
            // Nobody blocks themselves.
            if a != b && !state.blocks.contains_key(&key) {
                let blocked =
                    self.blocks_one_way(state, a, b)? || self.blocks_one_way(state, b, a)?;
                state.blocks.insert(key, blocked);
            }
        }
        Ok(())
    }

    /// Whom an account blocks, asked once for an answer.
    pub(super) fn block_set_of(
        &self,
        state: &mut HydrationState,
        id: ActorId,
    ) -> Result<Arc<BlockSet>> {
        Ok(match state.block_sets.entry(id) {
            Entry::Occupied(held) => Arc::clone(held.get()),
            Entry::Vacant(slot) => Arc::clone(slot.insert(self.block_set(id)?)),
        })
    }

    fn blocks_one_way(
        &self,
        state: &mut HydrationState,
        from: ActorId,
        to: ActorId,
    ) -> Result<bool> {
        let set = self.block_set_of(state, from)?;
        let blocked = match &set.accounts {
            Some(accounts) => accounts.contains(&to),
            None => self.snapshot.fan(EdgeKind::Block, Target::Actor(to), from)?.is_some(),
        };
        Ok(blocked || self.live_list_with(state, &set.blocked_lists, to)?.is_some())
    }
}
