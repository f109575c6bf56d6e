//! Drafts (`app.bsky.draft.defs`), rows of the `private` keyspace.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `d` | owner, id | what kind of draft, when it was made, when it was changed last, the draft as JSON |
//! | `u` | owner, when it was changed last (newest first), id | |
//!
//! The id is a TID. No two drafts of an owner were changed in the same millisecond, so that the time alone says where a
//! page ends.
//!
//! # Invariants
//! - Every row has its counterpart.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table};
use super::names::{self, Time, owned};
use crate::lexicon::catalog;
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::schema::{ActorId, Edit, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::syntax::Tid;

const BY_ID: u8 = b'd';
const BY_TIME: u8 = b'u';

/// The kind of a draft that a client composes (`app.bsky.draft.defs#draft`). The byte is there so that another kind of
/// draft can be told from it.
const COMPOSITION: u8 = 1;

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
    /// When it was changed last, in milliseconds since 1970.
    pub updated: i64,
    /// `app.bsky.draft.defs#draft`.
    pub json: String,
}

impl Draft {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![COMPOSITION];
        push_zigzag(&mut out, self.created);
        push_zigzag(&mut out, self.updated);
        push_blob(&mut out, self.json.as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let kind = r.u8()?;
        let draft = Self { created: r.zigzag()?, updated: r.zigzag()?, json: r.str()?.to_owned() };
        (kind == COMPOSITION && r.is_empty()).then_some(draft)
    }
}

fn by_id(owner: ActorId, id: Tid) -> Key {
    Key::tag(BY_ID).actor(owner).u64(id.as_u64())
}

fn of_owner(owner: ActorId) -> Key {
    Key::tag(BY_TIME).actor(owner)
}

fn by_time(owner: ActorId, updated: i64, id: Tid) -> Key {
    of_owner(owner).newest_first(updated).u64(id.as_u64())
}

/// Whose draft a row `d` is.
pub(crate) fn by_id_row(k: &[u8], v: &[u8]) -> Option<(ActorId, Tid, Draft)> {
    let mut r = ByteReader::new(k);
    let (tag, owner, id) = (r.u8()?, r.actor()?, Tid::from_u64(r.u64()?)?);
    (tag == BY_ID && r.is_empty()).then_some((owner, id, Draft::decode(v)?))
}

/// Whose draft, changed when, a row `u` is.
pub(crate) fn by_time_row(k: &[u8]) -> Option<(ActorId, i64, Tid)> {
    let mut r = ByteReader::new(k);
    let tag = r.u8()?;
    let (owner, updated, id) = (r.actor()?, r.newest_first()?, Tid::from_u64(r.u64()?)?);
    (tag == BY_TIME && r.is_empty()).then_some((owner, updated, id))
}

/// A draft of an account.
pub fn get<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    id: Tid,
) -> Result<Option<Draft>, StoreError> {
    r.row(Ks::Private, &by_id(owner, id), Draft::decode)
}

/// Whether there is a row `u` of this draft.
pub(crate) fn is_listed<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    updated: i64,
    id: Tid,
) -> Result<bool, StoreError> {
    r.has(Ks::Private, &by_time(owner, updated, id))
}

/// Up to `limit` of an account's drafts that were changed last before `before`, the last changed first.
pub fn page<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<(Tid, Draft)>, StoreError> {
    let prefix = of_owner(owner);
    let lo = match before {
        Some(0 | i64::MIN..0) => return Ok(Vec::new()),
        Some(ms) => of_owner(owner).newest_first(ms - 1),
        None => prefix.clone(),
    };
    let mut ids = Vec::new();
    if limit > 0 {
        r.scan(Ks::Private, &lo, prefix_end(&prefix).as_deref(), false, &mut |k, _| {
            ids.extend(by_time_row(k).map(|(_, _, id)| id));
            ids.len() < limit
        })?;
    }
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(get(r, owner, id)?.map(|draft| (id, draft)));
    }
    Ok(out)
}

/// How many drafts an account has.
fn count<R: Reader + ?Sized>(r: &R, owner: ActorId) -> Result<usize, StoreError> {
    let mut count = 0;
    r.scan_prefix(Ks::Private, &of_owner(owner), &mut |_, _| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// `at`, or later if another draft was changed then.
pub(super) fn next_update<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    at: i64,
) -> Result<i64, StoreError> {
    let mut newest = None;
    r.scan_prefix(Ks::Private, &of_owner(owner), &mut |k, _| {
        newest = by_time_row(k).map(|(_, updated, _)| updated);
        false
    })?;
    Ok(newest.map_or(at, |newest| at.max(newest.saturating_add(1))))
}

/// Writes a draft in place of the one under its id.
pub(super) fn write(
    tx: &mut Tx<'_>,
    owner: ActorId,
    id: Tid,
    draft: &Draft,
) -> Result<(), StoreError> {
    if let Some(old) = get(tx, owner, id)? {
        tx.del(Ks::Private, &by_time(owner, old.updated, id));
    }
    tx.put(Ks::Private, &by_id(owner, id), &draft.encode());
    tx.put(Ks::Private, &by_time(owner, draft.updated, id), &[]);
    Ok(())
}

fn put(viewer: &str, id: Tid, created: i64, updated: i64, draft: Value) -> Change {
    Change::Put(Row::Draft(Drafted {
        viewer: viewer.to_owned(),
        id: id.to_string(),
        created_at: Time(created),
        updated_at: Time(updated),
        draft,
    }))
}

/// Keeps a new draft and gives its id; `None` if the account has `limit` drafts already.
pub fn create<R: Reader>(
    r: &R,
    viewer: &str,
    draft: Value,
    at: i64,
    limit: usize,
) -> Plan<Option<Tid>> {
    let owner = r.actor_id(viewer)?;
    let held = owner.map_or(Ok(0), |owner| count(r, owner))?;
    if held >= limit {
        return nothing(None);
    }
    let updated = owner.map_or(Ok(at), |owner| next_update(r, owner, at))?;
    let mut micros = u64::try_from(updated).unwrap_or(0).saturating_mul(1000);
    // A draft that came with an import may have an id of a later time.
    if let Some(owner) = owner {
        while r.has(Ks::Private, &by_id(owner, Tid::from_micros(micros, 0)))? {
            micros += 1;
        }
    }
    let id = Tid::from_micros(micros, 0);
    Ok((vec![put(viewer, id, updated, updated, draft)], Some(id)))
}

/// Changes a draft; one that is not there stays so.
pub fn update<R: Reader>(r: &R, viewer: &str, id: Tid, draft: Value, at: i64) -> Plan {
    let Some(owner) = r.actor_id(viewer)? else { return nothing(()) };
    let Some(old) = get(r, owner, id)? else { return nothing(()) };
    let updated = next_update(r, owner, at)?;
    Ok((vec![put(viewer, id, old.created, updated, draft)], ()))
}

/// Takes a draft away.
#[must_use]
pub fn delete(viewer: &str, id: Tid) -> Change {
    Change::Gone(RowKey::Draft(DraftKey { viewer: viewer.to_owned(), id: id.to_string() }))
}

/// A draft, in names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Drafted {
    pub viewer: String,
    pub id: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub draft: Value,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct DraftKey {
    pub viewer: String,
    pub id: String,
}

owned!(viewer: Drafted);

impl Kept for Drafted {
    type Key = DraftKey;
    const TABLES: &'static [Table] = &[
        Table {
            tag: BY_ID,
            goes: Goes::WithAccount,
            export: Export::Rows,
            whole: |k, v| by_id_row(k, v).is_some(),
        },
        Table {
            tag: BY_TIME,
            goes: Goes::WithAccount,
            export: Export::Nothing,
            whole: |k, v| by_time_row(k).is_some() && v.is_empty(),
        },
    ];

    fn check(&self) -> Result<(), String> {
        names::tid("id", &self.id)?;
        let schema = catalog().method("app.bsky.draft.createDraft");
        let checked = schema.map(|s| s.validate_input(&json!({ "draft": self.draft })));
        checked.unwrap_or(Ok(())).map_err(|invalid| invalid.to_string())
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((owner, id, held)) = by_id_row(k, v) else { return Ok(None) };
        let Ok(draft) = serde_json::from_str(&held.json) else { return Ok(None) };
        let (created_at, updated_at) = (Time(held.created), Time(held.updated));
        let (viewer, id) = (r.did(owner)?.to_string(), id.to_string());
        Ok(Some(Self { viewer, id, created_at, updated_at, draft }))
    }

    /// One that is as new as that which is held stays out. It is said to be changed later if another was changed then.
    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let Some(id) = Tid::parse(&self.id) else { return Ok(Vec::new()) };
        let (created, mut updated) = (self.created_at.0.max(0), self.updated_at.0.max(0));
        if let Some(owner) = r.actor_id(&self.viewer)? {
            if get(r, owner, id)?.is_some_and(|held| held.updated >= updated) {
                return Ok(Vec::new());
            }
            while is_taken(r, owner, updated, id)? {
                updated += 1;
            }
        }
        Ok(vec![put(&self.viewer, id, created, updated, self.draft.clone())])
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let owner = tx.intern_actor(&self.viewer)?;
        let Some(id) = Tid::parse(&self.id) else { return Ok(()) };
        let (created, updated) = (self.created_at.0, self.updated_at.0);
        write(tx, owner, id, &Draft { created, updated, json: self.draft.to_string() })
    }

    fn remove(key: &DraftKey, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (Some(owner), Some(id)) = (tx.actor_id(&key.viewer)?, Tid::parse(&key.id)) else {
            return Ok(());
        };
        let Some(old) = get(tx, owner, id)? else { return Ok(()) };
        tx.del(Ks::Private, &by_id(owner, id));
        tx.del(Ks::Private, &by_time(owner, old.updated, id));
        Ok(())
    }
}

/// Whether another draft of the owner was changed at this time.
fn is_taken<R: Reader>(r: &R, owner: ActorId, updated: i64, id: Tid) -> Result<bool, StoreError> {
    let mut any = false;
    let prefix = of_owner(owner).newest_first(updated);
    r.scan_prefix(Ks::Private, &prefix, &mut |k, _| {
        any |= by_time_row(k).is_some_and(|(_, _, other)| other != id);
        !any
    })?;
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::testing::{Bench, DID, OTHER};

    #[tokio::test]
    async fn drafts_come_by_their_last_change_and_end_at_the_limit() {
        let b = Bench::new();
        let mut ids = Vec::new();
        // The second in the same millisecond, the third with a clock that was set back.
        for (text, at) in [("a", 50), ("b", 50), ("c", 7), ("d", 60)] {
            ids.extend(b.change(move |r| create(r, DID, text.into(), at, 4)).await);
        }
        assert_eq!(b.change(|r| create(r, DID, "e".into(), 70, 4)).await, None);
        assert!(b.change(|r| create(r, OTHER, "y".into(), 50, 4)).await.is_some());
        let me = b.actor(DID);
        let texts = |before, limit| -> Vec<(String, i64)> {
            let page = page(&b.snapshot(), me, before, limit).unwrap();
            page.into_iter().map(|(_, draft)| (draft.json, draft.updated)).collect()
        };
        let named = |page: &[(&str, i64)]| -> Vec<(String, i64)> {
            page.iter().map(|(text, at)| (format!("{text:?}"), *at)).collect()
        };
        assert_eq!(texts(None, 9), named(&[("d", 60), ("c", 52), ("b", 51), ("a", 50)]));
        assert_eq!(texts(Some(60), 2), named(&[("c", 52), ("b", 51)]));
        assert_eq!(texts(Some(51), 2), named(&[("a", 50)]));
        for before in [50, 0, -1, i64::MIN] {
            assert_eq!(texts(Some(before), 2), []);
        }
        assert_eq!(texts(None, 0), []);
        let (a, second) = (ids[0], ids[1]);
        b.change(move |r| update(r, DID, a, "A".into(), 61)).await;
        b.change(move |r| update(r, OTHER, a, "not yours".into(), 99)).await;
        for _ in 0..2 {
            b.change(move |_| Ok((vec![delete(DID, second)], ()))).await;
        }
        assert_eq!(texts(None, 9), named(&[("A", 61), ("d", 60), ("c", 52)]));
        let changed = get(&b.snapshot(), me, a).unwrap().unwrap();
        assert_eq!((changed.created, changed.updated), (50, 61));
    }
}
