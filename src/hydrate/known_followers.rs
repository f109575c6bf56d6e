//! Known followers: whom the viewer follows among those who follow an account.
//!
//! # Invariants
//! - An answer looks for no more than `MAX_LOOKUPS` follows, however many accounts it shows: of an account with many
//!   followers only the viewer's oldest follows are looked for then, and the count is of those.

use std::sync::Arc;

use super::follow_sets::FollowList;
use super::state::{HydrationState, KnownFollowers};
use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, rev_prefix};
use crate::schema::{ActorId, Rows, Target};
use crate::store::{Ks, Reader};

/// How many are shown.
const SAMPLE: usize = 5;
/// FollowList that are looked for in one answer, for all of its accounts together.
const MAX_LOOKUPS: usize = 10_000;
/// Reading the next row of a scan costs about a fifth of a point read.
const SCAN_ADVANTAGE: u64 = 5;

impl Hydrator<'_> {
    /// Adds the known followers of `ids`.
    pub fn known_followers(&self, state: &mut HydrationState, ids: &[ActorId]) -> Result<()> {
        let Some(viewer) = self.ctx.viewer else { return Ok(()) };
        let Some(most) = MAX_LOOKUPS.checked_div(ids.len()) else { return Ok(()) };
        let follows = self.sought(viewer)?;
        for &id in ids {
            let known = self.known_among(&follows, id, most)?;
            if let Some((first, _)) = known.split_at_checked(known.len().min(SAMPLE))
                && !first.is_empty()
            {
                let found = KnownFollowers { count: known.len() as u64, sample: first.to_vec() };
                state.known_followers.insert(id, found);
            }
        }
        Ok(())
    }

    /// Everybody whom the viewer follows and who follows `subject`.
    pub fn all_known_followers(&self, viewer: ActorId, subject: ActorId) -> Result<Vec<ActorId>> {
        let follows = self.sought(viewer)?;
        self.known_among(&follows, subject, MAX_LOOKUPS)
    }

    fn sought(&self, viewer: ActorId) -> Result<Arc<FollowList>> {
        match &self.follow_sets(viewer)?.follows {
            Some(follows) => Ok(Arc::clone(follows)),
            None => Ok(Arc::new(FollowList::load(self.snapshot, viewer, MAX_LOOKUPS)?)),
        }
    }

    fn known_among(
        &self,
        follows: &FollowList,
        subject: ActorId,
        most: usize,
    ) -> Result<Vec<ActorId>> {
        let target = Target::Actor(subject);
        let followers = self.snapshot.agg(target)?.get(Counter::Followers);
        if followers == 0 || follows.ids.is_empty() {
            return Ok(Vec::new());
        }
        let sought = follows.ids.get(..most).unwrap_or(&follows.ids);
        let mut known = Vec::new();
        if followers > SCAN_ADVANTAGE * sought.len() as u64 {
            for &id in sought {
                if self.snapshot.fan(EdgeKind::Follow, target, id)?.is_some() {
                    known.push(id);
                }
            }
            return Ok(known);
        }
        let places = &follows.places;
        let prefix = rev_prefix(EdgeKind::Follow, target);
        self.snapshot.scan_prefix(Ks::Rev, &prefix, &mut |key, _| {
            // Longer keys are further records of the same account.
            let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            known.extend(rest.actor().filter(|id| rest.is_empty() && places.contains_key(id)));
            true
        })?;
        known.sort_unstable_by_key(|id| places.get(id).map(|(place, _)| *place));
        Ok(known)
    }
}
