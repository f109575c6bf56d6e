//! Profiles in their three sizes (`app.bsky.actor.defs`).

use std::sync::Arc;

use super::actor::{Actor, self_id};
use super::state::HydrationState;
use super::{Hydrator, Result};
use crate::private::subscriptions;
use crate::repo::fields;
use crate::schema::{ActorId, Rows, Target, collections as c};

/// Which accounts an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownAccounts {
    /// Those that are hosted, without their records that are taken down.
    Hosted,
    /// All, whatever their status.
    All,
}

impl Hydrator<'_> {
    fn shown_accounts(&self) -> ShownAccounts {
        match self.ctx.include_takedowns {
            true => ShownAccounts::All,
            false => ShownAccounts::Hosted,
        }
    }

    /// What `profileViewBasic` and `profileView` need.
    pub fn profiles(&self, state: &mut HydrationState, ids: &[ActorId]) -> Result<()> {
        self.profiles_seen(state, ids, self.shown_accounts())
    }

    /// What `profileViewDetailed` needs. [`ShownAccounts::All`] is for callers that answer with the
    /// reason why an account is not shown.
    pub fn profiles_detailed(
        &self,
        state: &mut HydrationState,
        ids: &[ActorId],
        shown: ShownAccounts,
    ) -> Result<()> {
        self.profiles_with_known(state, ids, ids, shown)
    }

    /// The same, and for `known` only whom the viewer follows among their followers.
    pub fn profiles_with_known(
        &self,
        state: &mut HydrationState,
        ids: &[ActorId],
        known: &[ActorId],
        shown: ShownAccounts,
    ) -> Result<()> {
        let shown = match self.ctx.include_takedowns {
            true => ShownAccounts::All,
            false => shown,
        };
        self.known_followers(state, known)?;
        for &id in ids {
            if let Some(viewer) = self.ctx.viewer
                && let Some(to) = subscriptions::get(self.snapshot, viewer, id)?
            {
                state.subscriptions.insert(id, to);
            }
        }
        let mut all = ids.to_vec();
        for id in ids {
            if let Some(known) = state.known_followers.get(id) {
                all.extend(&known.sample);
            }
        }
        let pairs: Vec<_> = ids
            .iter()
            .flat_map(|id| {
                let known = state.known_followers.get(id);
                known.into_iter().flat_map(|k| &k.sample).map(|other| (*id, *other))
            })
            .collect();
        self.profiles_seen(state, &all, shown)?;
        self.blocks(state, pairs)?;
        for &id in ids {
            let agg = self.snapshot.agg(Target::Actor(id))?;
            state.profile_aggs.insert(id, agg);
        }
        self.joined_via(state, ids)
    }

    fn joined_via(&self, state: &mut HydrationState, ids: &[ActorId]) -> Result<()> {
        let uris: Vec<String> = ids
            .iter()
            .filter_map(|id| state.actor(*id)?.profile.as_ref())
            .filter_map(|p| fields::ref_uri(&p.record.value, "joinedViaStarterPack"))
            .map(str::to_owned)
            .collect();
        let mut packs = Vec::new();
        for uri in uris {
            if let Some(Target::Record(id)) = self.snapshot.target(&uri)?
                && id.coll == c::STARTERPACK
            {
                packs.push(id);
                state.starter_packs.insert(uri, id);
            }
        }
        self.starter_packs_basic(state, &packs)
    }

    fn profiles_seen(
        &self,
        state: &mut HydrationState,
        ids: &[ActorId],
        shown: ShownAccounts,
    ) -> Result<()> {
        self.actors(state, ids, shown)?;
        self.profile_viewers(state, ids)?;
        let issuers: Vec<ActorId> = ids
            .iter()
            .filter_map(|id| state.actor(*id))
            .flat_map(|actor| actor.verifications.iter().map(|v| v.issuer))
            .filter(|issuer| !state.actors.contains_key(issuer))
            .collect();
        for issuer in issuers {
            let actor = self.visible(state, issuer, shown)?;
            state.actors.entry(issuer).or_insert(actor);
        }
        Ok(())
    }

    /// Accounts and the labels on them, without the viewer's relation.
    pub(super) fn actors(
        &self,
        state: &mut HydrationState,
        ids: &[ActorId],
        shown: ShownAccounts,
    ) -> Result<()> {
        state.actors.reserve(ids.len());
        for &id in ids {
            let account = Target::Actor(id);
            if state.actors.contains_key(&id)
                && (self.ctx.labelers.is_empty() || state.labels.contains_key(&account))
            {
                continue;
            }
            let actor = self.visible(state, id, shown)?;
            self.labels(state, label_subjects(id, actor.as_ref()))?;
            let hidden = shown == ShownAccounts::Hosted && self.label_hides(state, account);
            state.actors.insert(id, actor.filter(|_| !hidden));
        }
        Ok(())
    }

    /// An account, if the caller may see it.
    fn visible(
        &self,
        state: &mut HydrationState,
        id: ActorId,
        shown: ShownAccounts,
    ) -> Result<Option<Arc<Actor>>> {
        let actor = self.actor(id)?.filter(|a| shown == ShownAccounts::All || a.is_hosted());
        Ok(actor.filter(|actor| state.room.take(actor.memory)).map(|actor| match shown {
            ShownAccounts::All => actor,
            ShownAccounts::Hosted => actor.without_taken_down_records(),
        }))
    }
}

/// The account, its profile and its status.
fn label_subjects(id: ActorId, actor: Option<&Arc<Actor>>) -> impl Iterator<Item = Target> + use<> {
    let profile = actor.is_some_and(|a| a.profile.is_some());
    let live = actor.is_some_and(|a| a.live.is_some());
    let records = [(profile, c::PROFILE), (live, c::STATUS)];
    let records = records.into_iter().filter(|(has, _)| *has);
    std::iter::once(Target::Actor(id))
        .chain(records.map(move |(_, coll)| Target::Record(self_id(id, coll))))
}
