//! Blocks between two accounts, whoever asks.

use super::state::{State, pair};
use super::{Hydrator, Result};
use crate::store::rows::EdgeKind;
use crate::store::{ActorId, Reader, Target};

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

    fn blocks_one_way(&self, state: &mut State, from: ActorId, to: ActorId) -> Result<bool> {
        let against = self.against(from)?;
        let blocked = match &against.accounts {
            Some(accounts) => accounts.contains(&to),
            None => self.snapshot.fan(EdgeKind::Block, Target::Actor(to), from)?.is_some(),
        };
        Ok(blocked || self.live_list_with(state, &against.blocked_lists, to)?.is_some())
    }
}
