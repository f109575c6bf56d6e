//! Lists, starter packs, feed generators and labelers: records that have a view of their own.

use super::actor::self_id;
use super::record::ShownRecord;
use super::state::{HydrationState, ListViewer};
use super::{Hydrator, RecordRoom, Result};
use crate::private::Kind;
use crate::repo::fields;
use crate::schema::rows::{Counter, EdgeKind, Order, order_prefix};
use crate::schema::{ActorId, RecordId, Rows, Target, collections as c};
use crate::store::{Ks, Reader};

/// `purpose` of a list that can be blocked or muted.
pub const MODLIST: &str = "app.bsky.graph.defs#modlist";
/// `purpose` of a list that is for reading.
pub const CURATELIST: &str = "app.bsky.graph.defs#curatelist";
/// `purpose` of a list that a starter pack refers to; its members may opt out.
pub const REFERENCELIST: &str = "app.bsky.graph.defs#referencelist";

const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
/// How many that joined within a week are counted.
const MAX_JOINED: u64 = 100_000;

impl Hydrator<'_> {
    /// What `listView` needs.
    pub fn lists(&self, state: &mut HydrationState, ids: &[RecordId]) -> Result<()> {
        self.lists_basic(state, ids)?;
        self.profiles(state, &owners(ids))
    }

    /// What `listViewBasic` needs: the list, its size, its labels and the viewer's relation to it.
    pub fn lists_basic(&self, state: &mut HydrationState, ids: &[RecordId]) -> Result<()> {
        for &id in ids {
            if state.list_viewers.contains_key(&id) {
                continue;
            }
            self.view_record(state, id)?;
            state.aggs.insert(Target::Record(id), self.snapshot.agg(Target::Record(id))?);
            let relation = match self.ctx.viewer {
                Some(viewer) => ListViewer {
                    muted: self.has_muted(viewer, Kind::MutedList, Target::Record(id))?,
                    blocked: self.fan_uri(EdgeKind::ListBlock, Target::Record(id), viewer)?,
                    opt_out: match state.record(id) {
                        Some(list) if is_reference_list(list) => self.opt_out(id, viewer)?,
                        _ => None,
                    },
                },
                None => ListViewer::default(),
            };
            if self.ctx.signed_in {
                state.list_viewers.insert(id, relation);
            }
        }
        Ok(())
    }

    /// Whether a list exists, is a moderation list, and neither it nor its owner is taken down.
    pub fn is_live_mod_list(&self, state: &mut HydrationState, id: RecordId) -> Result<bool> {
        if let Some(known) = state.mod_lists.get(&id) {
            return Ok(*known);
        }
        self.view_record(state, id)?;
        let is_mod_list =
            state.record(id).is_some_and(|r| fields::text(&r.value, "purpose") == Some(MODLIST));
        let live = is_mod_list && self.owner_is_live(state, id.actor)?;
        state.mod_lists.insert(id, live);
        Ok(live)
    }

    fn owner_is_live(&self, state: &mut HydrationState, owner: ActorId) -> Result<bool> {
        let account = Target::Actor(owner);
        self.labels(state, [account])?;
        let hosted = self.actor(owner)?.is_some_and(|a| a.is_hosted());
        Ok(hosted && !state.labels.get(&account).is_some_and(|l| l.takedown))
    }

    /// What `starterPackViewBasic` needs.
    pub fn starter_packs_basic(&self, state: &mut HydrationState, ids: &[RecordId]) -> Result<()> {
        for &id in ids {
            self.view_record(state, id)?;
            let agg = self.snapshot.agg(Target::Record(id))?;
            if agg.get(Counter::Joined) > 0 {
                state.joined_week.insert(id, self.joined_since(id, self.ctx.now - WEEK)?);
            }
            state.aggs.insert(Target::Record(id), agg);
        }
        self.profiles(state, &owners(ids))
    }

    fn joined_since(&self, pack: RecordId, since: i64) -> Result<u64> {
        let lo = order_prefix(Order::Joined, Target::Record(pack));
        let hi = lo.clone().newest_first(since);
        let mut count = 0;
        self.snapshot.scan(Ks::Order, &lo, Some(&hi), false, &mut |_, _| {
            count += 1;
            count < MAX_JOINED
        })?;
        Ok(count)
    }

    /// What `generatorView` needs.
    pub fn feed_generators(&self, state: &mut HydrationState, ids: &[RecordId]) -> Result<()> {
        for &id in ids {
            self.view_record(state, id)?;
            self.likeable(state, id)?;
        }
        self.profiles(state, &owners(ids))
    }

    /// What `labelerView` and `labelerViewDetailed` need.
    pub fn labelers(&self, state: &mut HydrationState, accounts: &[ActorId]) -> Result<()> {
        for &account in accounts {
            let id = self_id(account, c::LABELER);
            self.view_record(state, id)?;
            self.likeable(state, id)?;
        }
        self.profiles(state, accounts)?;
        for &account in accounts {
            // Where a label takes the account down, the labeler is hidden even from the operator, as in the reference.
            if state.labels.get(&Target::Actor(account)).is_some_and(|l| l.takedown) {
                state.records.insert(self_id(account, c::LABELER), None);
            }
        }
        Ok(())
    }

    fn likeable(&self, state: &mut HydrationState, id: RecordId) -> Result<()> {
        let target = Target::Record(id);
        state.aggs.insert(target, self.snapshot.agg(target)?);
        if self.ctx.signed_in {
            let like = match self.ctx.viewer {
                Some(viewer) => self.fan_uri(EdgeKind::Like, target, viewer)?,
                None => None,
            };
            state.likes.insert(target, like);
        }
        Ok(())
    }

    /// Adds a record and the labels on it, unless it is taken down.
    pub fn view_record(&self, state: &mut HydrationState, id: RecordId) -> Result<()> {
        if state.records.contains_key(&id) {
            return Ok(());
        }
        let target = Target::Record(id);
        self.labels(state, [target])?;
        let hidden = self.label_hides(state, target)
            || (!self.ctx.include_takedowns && self.shared.takedowns.contains(target));
        let record = if hidden { None } else { self.load_record(id, &mut state.room)? };
        state.records.insert(id, record);
        Ok(())
    }

    /// A valid record of the `record` keyspace for who keeps none of it: each is as large as one may be.
    pub fn read_record(&self, id: RecordId) -> Result<Option<ShownRecord>> {
        self.load_record(id, &mut RecordRoom::default())
    }

    /// A valid record of the `record` keyspace, if there is room for it.
    pub(super) fn load_record(
        &self,
        id: RecordId,
        room: &mut RecordRoom,
    ) -> Result<Option<ShownRecord>> {
        match self.snapshot.record(id)? {
            Some(row) => ShownRecord::load(self.snapshot, id, &row, room),
            None => Ok(None),
        }
    }
}

/// Whether a list is one that starter packs refer to.
#[must_use]
pub fn is_reference_list(list: &ShownRecord) -> bool {
    fields::text(&list.value, "purpose") == Some(REFERENCELIST)
}

fn owners(ids: &[RecordId]) -> Vec<ActorId> {
    ids.iter().map(|id| id.actor).collect()
}

/// Where the labeler service record of an account is.
#[must_use]
pub fn labeler_id(account: ActorId) -> RecordId {
    self_id(account, c::LABELER)
}
