//! Notification preferences (`app.bsky.notification.defs#preferences`).
//!
//! | tag | key | value |
//! |---|---|---|
//! | `f` | viewer | the preferences, as JSON |

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::Change;
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, Table};
use super::names::{Of, owned};
use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Edit, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};

const TAG: u8 = b'f';

fn key(viewer: ActorId) -> Key {
    Key::tag(TAG).actor(viewer)
}

fn owner(k: &[u8]) -> Option<ActorId> {
    let mut r = ByteReader::new(k);
    let (_, viewer) = (r.u8()?, r.actor()?);
    r.is_empty().then_some(viewer)
}

/// The notification preferences that a viewer saved, as they were put.
pub fn preferences<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
) -> Result<Option<String>, StoreError> {
    let text = |b: &[u8]| std::str::from_utf8(b).ok().map(str::to_owned);
    r.row(Ks::Private, &key(viewer), text)
}

pub(super) fn write(tx: &mut Tx<'_>, viewer: ActorId, json: &str) {
    tx.put(Ks::Private, &key(viewer), json.as_bytes());
}

/// Saves preferences in place of those that are there.
#[must_use]
pub fn save(viewer: &str, preferences: Value) -> Change {
    Change::Put(Row::Preferences(Preferences { viewer: viewer.to_owned(), preferences }))
}

/// Notification preferences of a viewer, in names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Preferences {
    pub viewer: String,
    pub preferences: Value,
}

owned!(viewer: Preferences);

impl Kept for Preferences {
    type Key = Of;
    const TABLES: &'static [Table] = &[Table {
        tag: TAG,
        goes: Goes::WithAccount,
        export: Export::Rows,
        whole: |k, v| owner(k).is_some() && std::str::from_utf8(v).is_ok(),
    }];

    fn check(&self) -> Result<(), String> {
        match self.preferences.is_object() {
            true => Ok(()),
            false => Err("preferences is not an object".to_owned()),
        }
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let (Some(owner), Ok(preferences)) = (owner(k), serde_json::from_slice(v)) else {
            return Ok(None);
        };
        Ok(Some(Self { viewer: r.did(owner)?.to_string(), preferences }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let held = match r.actor_id(&self.viewer)? {
            Some(viewer) => preferences(r, viewer)?,
            None => None,
        };
        let new = held.is_none().then(|| Change::Put(Row::Preferences(self.clone())));
        Ok(new.into_iter().collect())
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        write(tx, viewer, &self.preferences.to_string());
        Ok(())
    }

    fn remove(of: &Of, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if let Some(viewer) = tx.actor_id(&of.viewer)? {
            tx.del(Ks::Private, &key(viewer));
        }
        Ok(())
    }
}
