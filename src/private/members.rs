//! Members: accounts whose notifications are kept. The row and what the index keeps in memory of it change together;
//! notifications from before are built by the index, not here.

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Kept, Row, RowKey, Table};
use super::names::{Of, Time, owned};
use super::timed::{self, Kind};
use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Edit, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};

/// A member, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Member {
    pub viewer: String,
    pub at: Time,
}

owned!(viewer: Member);

/// Every member.
pub fn members<R: Reader + ?Sized>(r: &R) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[Kind::Member as u8], &mut |k, _| {
        out.extend(k.get(1..).and_then(|a| ByteReader::new(a).actor()));
        true
    })?;
    Ok(out)
}

/// The account is a member from `at` on; `false` if it was one.
pub fn join<R: Reader>(r: &R, viewer: &str, at: i64) -> Plan<bool> {
    match timed::named(r, Kind::Member, viewer, None)? {
        Some(_) => nothing(false),
        None => {
            let row = Member { viewer: viewer.to_owned(), at: Time(at) };
            Ok((vec![Change::Put(Row::Member(row))], true))
        }
    }
}

/// The account is a member no more.
#[must_use]
pub fn leave(viewer: &str) -> Change {
    Change::Gone(RowKey::Member(Of { viewer: viewer.to_owned() }))
}

impl Kept for Member {
    type Key = Of;
    const TABLES: &'static [Table] = &[Kind::Member.table()];

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        Ok(timed::of(r, k, v)?.map(|(viewer, at)| Self { viewer, at: Time(at) }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        join(r, &self.viewer, self.at.0).map(|(changes, _)| changes)
    }

    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        timed::write(tx, Kind::Member, viewer, None, self.at.0);
        effects.joined(tx, viewer, self.at.0)
    }

    fn remove(key: &Of, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Some(viewer) = tx.actor_id(&key.viewer)? else { return Ok(()) };
        timed::remove(tx, Kind::Member, viewer, None);
        effects.left(tx, viewer)
    }
}
