//! Blocks between two accounts, whoever asks.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::state::{State, pair};
use super::{Against, Hydrator, Result};
use crate::schema::rows::EdgeKind;
use crate::schema::{ActorId, Rows, Target};
use crate::store::Reader;

impl Hydrator<'_> {
    /// Adds whether the accounts of each pair block each other, in either direction, directly or by list.
    pub fn blocks(
        &self,
        state: &mut State,
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

    /// Whom an account keeps away, asked once for an answer.
    pub(super) fn against_of(&self, state: &mut State, id: ActorId) -> Result<Arc<Against>> {
        Ok(match state.against.entry(id) {
            Entry::Occupied(held) => Arc::clone(held.get()),
            Entry::Vacant(slot) => Arc::clone(slot.insert(self.against(id)?)),
        })
    }

    fn blocks_one_way(&self, state: &mut State, from: ActorId, to: ActorId) -> Result<bool> {
        let against = self.against_of(state, from)?;
        let blocked = match &against.accounts {
            Some(accounts) => accounts.contains(&to),
            None => self.snapshot.fan(EdgeKind::Block, Target::Actor(to), from)?.is_some(),
        };
        Ok(blocked || self.live_list_with(state, &against.blocked_lists, to)?.is_some())
    }
}
