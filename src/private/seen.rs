//! Up to when a viewer saw notifications. It is what the viewer said last, even if that is earlier than before: a client
//! whose clock is ahead would else hide for long what comes. Of what is imported the later time counts.

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Kept, Row, Table};
use super::names::{Of, Time, owned};
use super::timed::{self, Kind};
use crate::schema::Edit;
use crate::store::{Reader, StoreError, Tx};

/// Up to when a viewer saw notifications, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Seen {
    pub viewer: String,
    pub at: Time,
}

owned!(viewer: Seen);

fn put(viewer: &str, at: i64) -> Change {
    Change::Put(Row::Seen(Seen { viewer: viewer.to_owned(), at: Time(at) }))
}

/// The viewer saw what came up to `at`, and nothing of what came later.
pub fn see<R: Reader>(r: &R, viewer: &str, at: i64) -> Plan {
    match timed::named(r, Kind::Seen, viewer, None)? {
        Some(held) if held == at => nothing(()),
        _ => Ok((vec![put(viewer, at)], ())),
    }
}

/// A viewer who never said what they saw has seen what came up to `at`.
pub fn begin<R: Reader>(r: &R, viewer: &str, at: i64) -> Plan {
    match timed::named(r, Kind::Seen, viewer, None)? {
        Some(_) => nothing(()),
        None => Ok((vec![put(viewer, at)], ())),
    }
}

impl Kept for Seen {
    type Key = Of;
    const TABLES: &'static [Table] = &[Kind::Seen.table()];

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        Ok(timed::of(r, k, v)?.map(|(viewer, at)| Self { viewer, at: Time(at) }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let held = timed::named(r, Kind::Seen, &self.viewer, None)?;
        let is_later = held.is_none_or(|held| held < self.at.0);
        Ok(is_later.then(|| put(&self.viewer, self.at.0)).into_iter().collect())
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        timed::write(tx, Kind::Seen, viewer, None, self.at.0);
        Ok(())
    }

    fn remove(key: &Of, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        timed::remove_named(tx, Kind::Seen, &key.viewer, None)
    }
}
