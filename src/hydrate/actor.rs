//! An account: what is the same for every viewer, from half a dozen point reads, cached in [`super::Shared`].

use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::images::ImagePreset;
use super::record::{Json, ShownRecord};
use super::room::{RecordRoom, beyond_small};
use super::settings::HydrationSettings;
use super::{Hydrator, Result};
use crate::config::memory::ACCOUNT;
use crate::private;
use crate::repo::fields;
use crate::schema::rows::{AccountStatus, EdgeKind, Kinds, RecordRow};
use crate::schema::{ActorId, CollId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{ActorCache, Ks, Snapshot, Store};
use crate::syntax::datetime;

/// An account that the network showed us, whatever its status.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Its number.
    pub id: ActorId,
    /// Its DID.
    pub did: Arc<str>,
    /// Its handle, if it is valid in both directions.
    pub handle: Option<Arc<str>>,
    /// Hosting status upstream.
    pub status: AccountStatus,
    /// Taken down by the operator.
    pub taken_down: bool,
    /// `createdAt` of the profile record, milliseconds.
    pub created: Option<i64>,
    /// The profile record.
    pub profile: Option<Profile>,
    /// The status record (`app.bsky.actor.status`).
    pub live: Option<LiveStatus>,
    /// Whether it has a labeler service record.
    pub is_labeler: bool,
    /// Whose chat messages it takes: `allowIncoming` and `allowGroupInvites`.
    pub chat: Option<(String, Option<String>)>,
    /// `messageMe` of its Germ declaration.
    pub germ: Option<Json>,
    /// The Germ declaration is taken down.
    pub germ_taken_down: bool,
    /// Who may subscribe to its activity: `followers`, `mutuals` or `none`.
    pub allow_subscriptions: &'static str,
    /// Its verifications by trusted verifiers, the oldest first.
    pub verifications: Vec<Verification>,
    /// Whether its own verifications count.
    pub trusted_verifier: bool,
    /// Bytes of memory that its records take.
    pub(super) memory: usize,
}

/// A profile record (`app.bsky.actor.profile`).
#[derive(Debug, Clone)]
pub struct Profile {
    /// The record itself.
    pub record: ShownRecord,
    /// Taken down by the operator.
    pub taken_down: bool,
    /// `displayName`.
    pub display_name: Option<Arc<str>>,
    /// `pronouns`.
    pub pronouns: Option<Arc<str>>,
    /// URL of the avatar.
    pub avatar: Option<Arc<str>>,
    /// CID of the banner.
    pub banner: Option<String>,
}

impl Profile {
    /// A text field of the record.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        fields::text(&self.record.value, key)
    }
}

/// A status record, "live" being the only status so far.
#[derive(Debug, Clone)]
pub struct LiveStatus {
    /// The record itself.
    pub record: ShownRecord,
    /// Taken down by the operator: its owner sees that it is.
    pub taken_down: bool,
}

/// A verification by a trusted verifier.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The verifier.
    pub issuer: ActorId,
    /// Its DID.
    pub issuer_did: Arc<str>,
    /// The record.
    pub uri: String,
    /// The subject's handle when it was verified.
    pub handle: String,
    /// The subject's display name when it was verified.
    pub display_name: String,
    /// `sortAt`, milliseconds.
    pub sort: i64,
}

/// Accounts by number; `None` for those that the network never showed.
pub(super) type ActorViewCache = ActorCache<Option<Arc<Actor>>>;

/// A cache of up to `entries` accounts. What takes more than accounts do counts as several.
pub(super) fn cache(store: &Store, entries: usize) -> ActorViewCache {
    ActorCache::of_sizes(store, entries, |actor| {
        let memory = actor.as_ref().map_or(0, |actor| actor.memory);
        1 + beyond_small(memory) as u64 / ACCOUNT
    })
}

impl Hydrator<'_> {
    /// An account whatever its status; `None` if the network never showed it.
    pub fn actor(&self, id: ActorId) -> Result<Option<Arc<Actor>>> {
        let load = || Actor::load(self.snapshot, id, &self.shared.settings.load());
        self.shared.actors.get(self.snapshot, id, load)
    }
}

impl Actor {
    /// Whether views may show it to anybody.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        !self.taken_down && self.status == AccountStatus::Active
    }

    /// The URI of the post that the profile pins. Pins were written unchecked for a while: others do not count.
    #[must_use]
    pub fn pinned_post(&self) -> Option<&str> {
        let pin = fields::field(&self.profile.as_ref()?.record.value, "pinnedPost")?;
        let valid = fields::text(pin, "cid").is_some_and(crate::syntax::cid::is_cid);
        fields::text(pin, "uri").filter(|uri| valid && crate::syntax::is_at_uri(uri))
    }

    fn load(s: &Snapshot, id: ActorId, settings: &HydrationSettings) -> Result<Option<Arc<Self>>> {
        let Some(row) = s.actor(id)? else { return Ok(None) };
        if row.status.is_gone() || row.tombstoned {
            return Ok(None);
        }
        let did = s.did(id)?;
        let taken_down = |target| private::takedown(s, target).map(|t| t.is_some());
        let own_row = |coll| own_row(s, id, coll, row.kinds);
        let mut room = RecordRoom::of_account();
        let mut own = |coll| {
            let Some(row) = own_row(coll)? else { return Ok(None) };
            ShownRecord::load(s, self_id(id, coll), &row, &mut room)
        };
        let own_value = |coll| {
            own_row(coll)?.filter(|row| row.valid).map(|row| s.unpack(&row.packed)).transpose()
        };
        let profile = own(c::PROFILE)?;
        let created = profile
            .as_ref()
            .and_then(|p| fields::text(&p.value, "createdAt").map(datetime::normalize_ms));
        let profile = match profile {
            Some(record) => Some(Profile {
                taken_down: taken_down(Target::Record(record.id))?,
                display_name: fields::text(&record.value, "displayName").map(Arc::from),
                pronouns: fields::text(&record.value, "pronouns").map(Arc::from),
                avatar: fields::blob(&record.value, "avatar")
                    .map(|cid| ImagePreset::Avatar.url(&settings.images, &did, &cid).into()),
                banner: fields::blob(&record.value, "banner"),
                record,
            }),
            None => None,
        };
        let live = match own(c::STATUS)? {
            Some(record) => {
                Some(LiveStatus { taken_down: taken_down(Target::Record(record.id))?, record })
            }
            None => None,
        };
        let germ = own(c::GERM_DECLARATION)?;
        let germ_taken_down = match &germ {
            Some(record) => taken_down(Target::Record(record.id))?,
            None => false,
        };
        let records = [profile.as_ref().map(|p| &p.record), live.as_ref().map(|l| &l.record)];
        let memory = records.into_iter().flatten().chain(&germ).map(|r| r.memory).sum();
        Ok(Some(Arc::new(Self {
            id,
            memory,
            handle: row.handle.map(Arc::from),
            status: row.status,
            taken_down: taken_down(Target::Actor(id))?,
            created,
            profile,
            live,
            is_labeler: own_row(c::LABELER)?.is_some_and(|row| row.valid),
            chat: own_value(c::CHAT_DECLARATION)?.and_then(|v| chat(&v)),
            germ: germ.and_then(|g| fields::field(&g.value, "messageMe").cloned().map(Json::from)),
            germ_taken_down,
            allow_subscriptions: own_value(c::NOTIFICATION_DECLARATION)?
                .map_or("followers", |v| allow_subscriptions(&v)),
            verifications: verifications(s, id, settings)?,
            trusted_verifier: settings.trusted_verifiers.contains(&did),
            did,
        })))
    }

    /// The account as somebody sees it who may not see records that are taken down.
    pub(super) fn without_taken_down_records(self: &Arc<Self>) -> Arc<Self> {
        let hide_profile = self.profile.as_ref().is_some_and(|p| p.taken_down);
        if !hide_profile && !self.germ_taken_down {
            return Arc::clone(self);
        }
        let mut seen = Self::clone(self);
        if hide_profile {
            seen.profile = None;
        }
        if self.germ_taken_down {
            seen.germ = None;
        }
        Arc::new(seen)
    }
}

/// The record of a collection that has one under `self`.
pub(super) fn self_id(actor: ActorId, coll: CollId) -> RecordId {
    RecordId { actor, coll, rkey: Rkey::SELF }
}

/// The account's record of a collection that has one under `self`, if `kinds` allow for one.
fn own_row(s: &Snapshot, actor: ActorId, coll: CollId, kinds: Kinds) -> Result<Option<RecordRow>> {
    match kinds.may_have(coll) {
        true => s.once(Ks::Record, &self_id(actor, coll).to_bytes(), RecordRow::decode),
        false => Ok(None),
    }
}

fn chat(value: &Ipld) -> Option<(String, Option<String>)> {
    let incoming = fields::string(value, "allowIncoming").filter(|text| !text.is_empty())?;
    Some((incoming, fields::string(value, "allowGroupInvites").filter(|text| !text.is_empty())))
}

fn allow_subscriptions(value: &Ipld) -> &'static str {
    match fields::text(value, "allowSubscriptions") {
        Some("mutuals") => "mutuals",
        Some("none") => "none",
        _ => "followers",
    }
}

fn verifications(
    s: &Snapshot,
    subject: ActorId,
    settings: &HydrationSettings,
) -> Result<Vec<Verification>> {
    let mut out = Vec::new();
    for did in &settings.trusted_verifiers {
        let Some(issuer) = s.actor_id(did)? else { continue };
        let fan = s.fan(EdgeKind::Verification, Target::Actor(subject), issuer)?;
        let Some(fan) = fan else { continue };
        let id = RecordId { actor: issuer, coll: c::VERIFICATION, rkey: fan.rkey };
        let Some(row) = s.record(id)? else { continue };
        let value = s.unpack(&row.packed)?;
        let handle = fields::string(&value, "handle").filter(|handle| !handle.is_empty());
        let Some(handle) = handle else { continue };
        out.push(Verification {
            issuer,
            issuer_did: Arc::clone(did),
            uri: s.uri(id)?,
            handle,
            display_name: fields::string(&value, "displayName").unwrap_or_default(),
            sort: row.sort,
        });
    }
    out.sort_by_key(|v| v.sort);
    Ok(out)
}
