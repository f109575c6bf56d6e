//! How the viewer and accounts relate: point reads on the edges between the two, and on the few lists that either
//! of them blocks or mutes.

use std::sync::Arc;

use super::block_set::BlockSet;
use super::follow_sets::FollowSets;
use super::mute_set::MuteSet;
use super::state::{HydrationState, ProfileViewer};
use super::{Hydrator, Result};
use crate::private;
use crate::schema::rows::{Counter, EdgeKind};
use crate::schema::{ActorId, RecordId, Rkey, Rows, Target};

/// An account's side of its relations, read once for all of them.
pub struct Side {
    id: ActorId,
    blocks: Arc<BlockSet>,
    mutes: Arc<MuteSet>,
    follows: Arc<FollowSets>,
}

impl Hydrator<'_> {
    /// Adds the viewer's relation to `ids`.
    pub fn profile_viewers(&self, state: &mut HydrationState, ids: &[ActorId]) -> Result<()> {
        if !self.ctx.signed_in {
            return Ok(());
        }
        let Some(viewer) = self.ctx.viewer else {
            ids.iter().for_each(|id| _ = state.profile_viewers.entry(*id).or_default());
            return Ok(());
        };
        let own = self.side(viewer)?;
        state.profile_viewers.reserve(ids.len());
        for &id in ids {
            if state.profile_viewers.contains_key(&id) {
                continue;
            }
            let relation = self.relation(state, &own, id)?;
            state.profile_viewers.insert(id, relation);
        }
        Ok(())
    }

    /// What decides how an account relates to others.
    pub fn side(&self, id: ActorId) -> Result<Side> {
        Ok(Side {
            id,
            blocks: self.block_set(id)?,
            mutes: self.mute_set(id)?,
            follows: self.follow_sets(id)?,
        })
    }

    /// A number that is another one once a viewer follows, blocks or mutes others than before. Of what is too much to be
    /// held it has the count at most.
    pub fn stance(&self, viewer: ActorId) -> Result<u64> {
        let own = self.side(viewer)?;
        let mut sum = 0_u64;
        let mut add = |kind: u8, of: &[u8]| {
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(of, kind.into());
            // In whatever order they come.
            sum = sum.wrapping_add(hash);
        };
        match &own.follows.follows {
            Some(follows) => follows.ids.iter().for_each(|id| add(0, &id.0.to_be_bytes())),
            None => {
                let agg = self.snapshot.agg(Target::Actor(viewer))?;
                add(1, &agg.get(Counter::Follows).to_be_bytes());
            }
        }
        for id in own.blocks.accounts.iter().flatten() {
            add(2, &id.0.to_be_bytes());
        }
        for (id, mute) in own.mutes.accounts.iter().flatten() {
            let entirely = !mute.only_reposts && !mute.only_quoteposts;
            add(3 + u8::from(entirely), &id.0.to_be_bytes());
        }
        own.blocks.blocked_lists.iter().for_each(|list| add(5, &list.to_bytes()));
        own.mutes.lists.iter().for_each(|list| add(6, &list.to_bytes()));
        Ok(sum)
    }

    fn relation(
        &self,
        state: &mut HydrationState,
        own: &Side,
        id: ActorId,
    ) -> Result<ProfileViewer> {
        if id == own.id {
            return Ok(ProfileViewer::default());
        }
        let theirs = self.block_set_of(state, id)?;
        let mut relation = self.direct(own, id, &theirs)?;
        self.list_relation(state, own, &theirs, id, &mut relation)?;
        Ok(relation)
    }

    /// The relation without lists; nobody relates to themselves.
    pub fn direct_relation(&self, own: &Side, id: ActorId) -> Result<ProfileViewer> {
        if id == own.id {
            return Ok(ProfileViewer::default());
        }
        let theirs = self.block_set(id)?;
        self.direct(own, id, &theirs)
    }

    fn direct(&self, own: &Side, id: ActorId, theirs: &BlockSet) -> Result<ProfileViewer> {
        let mut out = ProfileViewer::default();
        let (viewer, follows) = (own.id, &own.follows);
        let mute = match &own.mutes.accounts {
            Some(muted) => muted.get(&id).copied(),
            None => private::mute(self.snapshot, viewer, id)?,
        };
        if let Some(mute) = mute {
            out.muted_only_reposts = mute.only_reposts;
            out.muted_only_quoteposts = mute.only_quoteposts;
            out.muted = !mute.only_reposts && !mute.only_quoteposts;
        }
        out.blocking = self.block_uri(&own.blocks, viewer, id)?;
        out.blocked_by = self.block_uri(theirs, id, viewer)?;
        out.following = match follows.follows.as_ref().map(|list| list.places.get(&id)) {
            Some(None) => None,
            Some(Some((_, Some(rkey)))) => Some(self.follow_uri(viewer, *rkey)?),
            Some(Some((_, None))) | None => self.edge_uri(EdgeKind::Follow, viewer, id)?,
        };
        out.followed_by = match &follows.followers {
            Some(followers) => {
                followers.get(&id).map(|rkey| self.follow_uri(id, *rkey)).transpose()?
            }
            None => self.edge_uri(EdgeKind::Follow, id, viewer)?,
        };
        Ok(out)
    }

    fn list_relation(
        &self,
        state: &mut HydrationState,
        own: &Side,
        theirs: &BlockSet,
        id: ActorId,
        out: &mut ProfileViewer,
    ) -> Result<()> {
        out.muted_by_list = self.live_list_with(state, &own.mutes.lists, id)?;
        out.blocking_by_list = self.live_list_with(state, &own.blocks.blocked_lists, id)?;
        out.blocked_by_list = self.live_list_with(state, &theirs.blocked_lists, own.id)?;
        // The profile view shows these two lists, so they are hydrated; of a list that blocks the viewer it shows nothing.
        let named: Vec<RecordId> =
            [out.muted_by_list, out.blocking_by_list].into_iter().flatten().collect();
        self.lists_basic(state, &named)
    }

    /// The first of `lists` that has `member` on it and is a live moderation list.
    pub(super) fn live_list_with(
        &self,
        state: &mut HydrationState,
        lists: &[RecordId],
        member: ActorId,
    ) -> Result<Option<RecordId>> {
        for &list in lists {
            if self.is_on_list(&mut state.list_lookups, list, member)?
                && self.is_live_mod_list(state, list)?
            {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    /// The first of `lists` that has `member` on it, live or not.
    pub fn any_list_with(
        &self,
        state: &mut HydrationState,
        lists: &[RecordId],
        member: ActorId,
    ) -> Result<Option<RecordId>> {
        for &list in lists {
            if self.is_on_list(&mut state.list_lookups, list, member)? {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    /// The AT-URI of the block from one account to another.
    fn block_uri(&self, of: &BlockSet, from: ActorId, to: ActorId) -> Result<Option<String>> {
        match &of.accounts {
            Some(blocked) if !blocked.contains(&to) => Ok(None),
            _ => self.edge_uri(EdgeKind::Block, from, to),
        }
    }

    /// The AT-URI of the edge from one account to another.
    fn edge_uri(&self, kind: EdgeKind, from: ActorId, to: ActorId) -> Result<Option<String>> {
        self.fan_uri(kind, Target::Actor(to), from)
    }

    fn follow_uri(&self, actor: ActorId, rkey: Rkey) -> Result<String> {
        self.snapshot.uri(RecordId { actor, coll: EdgeKind::Follow.collection(), rkey })
    }

    /// The AT-URI of an account's record on a target.
    pub fn fan_uri(&self, kind: EdgeKind, target: Target, fan: ActorId) -> Result<Option<String>> {
        match self.snapshot.fan(kind, target, fan)? {
            Some(row) => {
                let id = RecordId::from_index(fan, kind.collection(), row.rkey);
                self.snapshot.uri(id).map(Some)
            }
            None => Ok(None),
        }
    }
}
