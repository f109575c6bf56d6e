//! Accounts that want nothing of their own collected, and what may be asked of us about an account. What follows from it
//! is the index's to do (see [`Effects`]).
//!
//! | tag | key | value |
//! |---|---|---|
//! | `z` | account | since when it wants nothing of its own collected here |

use serde::{Deserialize, Serialize};

use super::change::{Afterwards, Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Table};
use super::names::{self, Time, owned};
use super::timed::time;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, Edit, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};
use crate::work::purge;

const TAG: u8 = b'z';

fn key(actor: ActorId) -> Key {
    Key::tag(TAG).actor(actor)
}

fn row(k: &[u8], v: &[u8]) -> Option<(ActorId, i64)> {
    let mut r = ByteReader::new(k);
    let (_, actor) = (r.u8()?, r.actor()?);
    r.is_empty().then_some((actor, time(v)?))
}

/// Since when an account wants nothing of its own collected; `None` if it has not said so.
pub fn opted_out<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<i64>, StoreError> {
    r.row(Ks::Private, &key(actor), time)
}

/// Every account that opted out, and since when.
pub fn opt_outs<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, i64)>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[TAG], &mut |k, v| {
        out.extend(row(k, v));
        true
    })?;
    Ok(out)
}

/// What an account asked of us about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when nothing of it is collected, milliseconds; none if it is.
    pub opted_out: Option<i64>,
    /// Whether something of it is still to be deleted.
    pub deleting: bool,
}

/// What the account behind a DID asked; one that the store never saw asked nothing.
pub fn standing<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Standing, StoreError> {
    let Some(actor) = r.actor_id(did)? else { return Ok(Standing::default()) };
    let deleting = purge::purge(r, actor)?.is_some();
    Ok(Standing { opted_out: opted_out(r, actor)?, deleting })
}

pub(super) fn set(tx: &mut Tx<'_>, actor: ActorId, at: i64) {
    let mut value = Vec::new();
    push_zigzag(&mut value, at);
    tx.put(Ks::Private, &key(actor), &value);
}

pub(super) fn remove(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Private, &key(actor));
}

pub(super) fn write(
    effects: &dyn Effects,
    tx: &mut Tx<'_>,
    row: &OptOut,
) -> Result<(), StoreError> {
    let actor = tx.intern_actor(&row.did)?;
    set(tx, actor, row.at.0);
    effects.opted_out(tx, actor, row.at.0)
}

/// Nothing of the account is collected from `at` on, and what was goes; `false` if that was so already.
pub fn opt_out<R: Reader>(r: &R, did: &str, at: i64) -> Plan<bool> {
    if standing(r, did)?.opted_out.is_some() {
        return nothing(false);
    }
    Ok((vec![Change::OptOut(OptOut { did: did.to_owned(), at: Time(at) })], true))
}

/// The account is collected again, from the repo that its host has. `false` if that has to wait because what was held is
/// still being deleted: half of an old repo must not show again.
pub fn opt_in<R: Reader>(r: &R, did: &str, at: i64) -> Plan<bool> {
    match standing(r, did)? {
        Standing { opted_out: None, .. } => nothing(true),
        Standing { deleting: true, .. } => nothing(false),
        _ => Ok((vec![Change::OptIn { did: did.to_owned(), at: Time(at) }], true)),
    }
}

/// Everything that is held of the account goes. `then` says what is collected of what it does afterwards; nothing is if it
/// opted out before.
pub fn erase<R: Reader>(r: &R, did: &str, then: Afterwards, at: i64) -> Plan {
    let mut changes = Vec::new();
    if then == Afterwards::OptedOut {
        changes = opt_out(r, did, at)?.0;
    }
    let out = !changes.is_empty() || standing(r, did)?.opted_out.is_some();
    let then = if out { Afterwards::OptedOut } else { Afterwards::Collected };
    changes.push(Change::Erase { did: did.to_owned(), at: Time(at), then });
    Ok((changes, ()))
}

/// An account that opted out, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct OptOut {
    pub did: String,
    pub at: Time,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct OptOutKey {
    pub did: String,
}

owned!(nobody: OptOut);

impl Kept for OptOut {
    type Key = OptOutKey;
    const TABLES: &'static [Table] = &[Table {
        tag: TAG,
        goes: Goes::Never,
        export: Export::Rows,
        whole: |k, v| row(k, v).is_some(),
    }];

    fn check(&self) -> Result<(), String> {
        names::did("did", &self.did)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((actor, at)) = row(k, v) else { return Ok(None) };
        Ok(Some(Self { did: r.did(actor)?.to_string(), at: Time(at) }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        opt_out(r, &self.did, self.at.0).map(|(changes, _)| changes)
    }

    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        write(effects, tx, self)
    }

    /// As opting in at an unknown time.
    fn remove(key: &OptOutKey, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Some(actor) = tx.actor_id(&key.did)? else { return Ok(()) };
        remove(tx, actor);
        effects.opted_in(tx, actor, 0)
    }
}
