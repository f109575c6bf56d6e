//! That only accounts which the viewer follows notify.

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Kept, Row, RowKey, Table};
use super::names::{Of, Time, owned};
use super::timed::{self, Kind};
use crate::schema::Edit;
use crate::store::{Reader, StoreError, Tx};

/// That only accounts which a viewer follows notify, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Priority {
    pub viewer: String,
    pub at: Time,
}

owned!(viewer: Priority);

/// Who notifies the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notifying {
    /// Accounts that the viewer follows.
    Followed,
    /// All.
    Everyone,
}

/// Says who notifies the viewer from `at` on; who said the same before keeps that time.
pub fn set<R: Reader>(r: &R, viewer: &str, notifying: Notifying, at: i64) -> Plan {
    let viewer = viewer.to_owned();
    let change = match notifying {
        Notifying::Everyone => Change::Gone(RowKey::Priority(Of { viewer })),
        Notifying::Followed if timed::named(r, Kind::Priority, &viewer, None)?.is_some() => {
            return nothing(());
        }
        Notifying::Followed => Change::Put(Row::Priority(Priority { viewer, at: Time(at) })),
    };
    Ok((vec![change], ()))
}

impl Kept for Priority {
    type Key = Of;
    const TABLES: &'static [Table] = &[Kind::Priority.table()];

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        Ok(timed::of(r, k, v)?.map(|(viewer, at)| Self { viewer, at: Time(at) }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        set(r, &self.viewer, Notifying::Followed, self.at.0).map(|(changes, ())| changes)
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        timed::write(tx, Kind::Priority, viewer, None, self.at.0);
        Ok(())
    }

    fn remove(key: &Of, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        timed::remove_named(tx, Kind::Priority, &key.viewer, None)
    }
}
