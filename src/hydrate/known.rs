//! Known followers: whom the viewer follows among those who follow an account.

use rustc_hash::{FxHashMap, FxHashSet};

use super::state::{KnownFollowers, State};
use super::{Hydrator, Result};
use crate::store::ids::ByteReader;
use crate::store::rows::{Counter, EdgeKind, EdgeRow, fwd_prefix, rev_prefix};
use crate::store::{ActorId, Ks, Reader, Target};

/// How many are shown.
const SAMPLE: usize = 5;
/// Beyond so many follows the rest is not looked at: an answer must stay cheap.
const MAX_FOLLOWS: usize = 10_000;
/// Reading the next row of a scan costs about a fifth of a point read.
const SCAN_ADVANTAGE: u64 = 5;

impl Hydrator<'_> {
    /// Adds the known followers of `ids`.
    pub fn known_followers(&self, state: &mut State, ids: &[ActorId]) -> Result<()> {
        let Some(viewer) = self.ctx.viewer else { return Ok(()) };
        if ids.is_empty() {
            return Ok(());
        }
        let follows = self.follows(viewer)?;
        for &id in ids {
            let known = self.known_among(&follows, id)?;
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
        self.known_among(&self.follows(viewer)?, subject)
    }

    fn known_among(&self, follows: &[ActorId], subject: ActorId) -> Result<Vec<ActorId>> {
        let target = Target::Actor(subject);
        let followers = self.snapshot.agg(target)?.get(Counter::Followers);
        if followers == 0 || follows.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = Vec::new();
        if followers > SCAN_ADVANTAGE * follows.len() as u64 {
            for &id in follows {
                if self.snapshot.fan(EdgeKind::Follow, target, id)?.is_some() {
                    known.push(id);
                }
            }
            return Ok(known);
        }
        let places: FxHashMap<ActorId, usize> = follows.iter().copied().zip(0..).collect();
        let prefix = rev_prefix(EdgeKind::Follow, target);
        self.snapshot.scan_prefix(Ks::Rev, &prefix, &mut |key, _| {
            // Longer keys are duplicates.
            let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            known.extend(rest.actor().filter(|id| rest.is_empty() && places.contains_key(id)));
            true
        })?;
        known.sort_unstable_by_key(|id| places.get(id));
        Ok(known)
    }

    /// Whom an account follows, once each, the oldest follow first.
    fn follows(&self, actor: ActorId) -> Result<Vec<ActorId>> {
        let (mut out, mut seen) = (Vec::new(), FxHashSet::default());
        let prefix = fwd_prefix(EdgeKind::Follow, actor);
        self.snapshot.scan_prefix(Ks::Fwd, &prefix, &mut |key, value| {
            let followed = EdgeRow::decode(key, value).map(|edge| edge.target.actor());
            out.extend(followed.filter(|id| seen.insert(*id)));
            out.len() < MAX_FOLLOWS
        })?;
        Ok(out)
    }
}
