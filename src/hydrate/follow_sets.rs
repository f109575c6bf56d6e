//! Whom a viewer follows and who follows them, held as a whole where they are not too many.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, EdgeRow, FanRow, fwd_prefix, rev_prefix};
use crate::schema::{ActorId, Rkey, Rows, Target, whole};
use crate::store::{ActorCache, Ks, Reader, Snapshot, Store};

/// FollowList and followers held of one viewer.
const MAX_FOLLOWS: usize = 5_000;
const MAX_FOLLOWERS: u64 = 2_000;

/// Whom a viewer follows and who follows them.
#[derive(Debug, Clone, Default)]
pub(super) struct FollowSets {
    /// `None` if they are too many to hold.
    pub(super) follows: Option<Arc<FollowList>>,
    /// With the key of the follow; `None` if they are too many to hold.
    pub(super) followers: Option<FxHashMap<ActorId, Rkey>>,
}

impl FollowSets {
    /// Bytes that it takes.
    fn weight(self: &Arc<Self>) -> u64 {
        let follows = self.follows.as_ref();
        let follows = follows.map_or(0, |f| 4 * f.ids.capacity() + 28 * f.places.capacity());
        let followers = self.followers.as_ref().map_or(0, |held| 19 * held.capacity());
        200 + (follows + followers) as u64
    }
}

/// Whom an account follows.
#[derive(Debug, Clone, Default)]
pub(super) struct FollowList {
    /// Once each, the oldest follow first.
    pub(super) ids: Vec<ActorId>,
    /// Place in `ids`, and the key of the follow unless there are several.
    pub(super) places: FxHashMap<ActorId, (u32, Option<Rkey>)>,
    /// Whether all of them are here; the rest was left out otherwise.
    complete: bool,
}

impl FollowList {
    /// Reads them, the oldest `most` records at most.
    pub(super) fn load(s: &Snapshot, actor: ActorId, most: usize) -> Result<Self> {
        let (mut out, mut read) = (Self::default(), 0);
        let prefix = fwd_prefix(EdgeKind::Follow, actor);
        s.scan_prefix(Ks::Fwd, &prefix, &mut |key, value| {
            let rkey = key.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).rkey());
            let edge = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
            let Some((rkey, edge)) = rkey.zip(edge) else { return true };
            let id = edge.target.actor();
            match out.places.entry(id) {
                Entry::Occupied(mut place) => place.get_mut().1 = None,
                Entry::Vacant(place) => {
                    place.insert((u32::try_from(out.ids.len()).unwrap_or(u32::MAX), Some(rkey)));
                    out.ids.push(id);
                }
            }
            read += 1;
            read < most
        })?;
        out.complete = read < most;
        Ok(out)
    }
}

/// Follow sets of those who call.
pub(super) type FollowSetsCache = ActorCache<Arc<FollowSets>>;

/// A cache of follow sets of `budget` bytes together. One takes three kilobytes mostly, a hundred at worst.
pub(super) fn cache(store: &Store, budget: u64) -> FollowSetsCache {
    ActorCache::weighed(store, budget, FollowSets::weight)
}

impl Hydrator<'_> {
    /// Whom a viewer follows and who follows them.
    pub(super) fn follow_sets(&self, viewer: ActorId) -> Result<Arc<FollowSets>> {
        let load = || Ok(Arc::new(load_follow_sets(self.snapshot, viewer)?));
        self.shared.follow_sets.get(self.snapshot, viewer, load)
    }
}

fn load_follow_sets(s: &Snapshot, viewer: ActorId) -> Result<FollowSets> {
    let agg = s.agg(Target::Actor(viewer))?;
    let mut sets = FollowSets::default();
    // The counter counts an account once, however many records name it, but a scan reads every record. So the number of
    // records read is bounded too.
    if agg.get(Counter::Follows) <= MAX_FOLLOWS as u64 {
        let follows = FollowList::load(s, viewer, 2 * MAX_FOLLOWS)?;
        sets.follows = Some(Arc::new(follows)).filter(|follows| follows.complete);
    }
    if agg.get(Counter::Followers) <= MAX_FOLLOWERS {
        let (mut followers, mut left) = (FxHashMap::default(), 2 * MAX_FOLLOWERS);
        let target = Target::Actor(viewer);
        let prefix = rev_prefix(EdgeKind::Follow, target);
        s.scan_prefix(Ks::Rev, &prefix, &mut |key, value| {
            // Longer keys are further records of the same account.
            let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            let fan = rest.actor().filter(|_| rest.is_empty());
            followers.extend(fan.zip(FanRow::decode(target, value).map(|row| row.rkey)));
            left -= 1;
            left > 0
        })?;
        sets.followers = Some(followers).filter(|_| left > 0);
    }
    Ok(sets)
}
