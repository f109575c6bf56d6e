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
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::schema::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::syntax::Tid;

pub(crate) const BY_ID: u8 = b'd';
pub(crate) const BY_TIME: u8 = b'u';

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
fn next_update<R: Reader + ?Sized>(r: &R, owner: ActorId, at: i64) -> Result<i64, StoreError> {
    let mut newest = None;
    r.scan_prefix(Ks::Private, &of_owner(owner), &mut |k, _| {
        newest = by_time_row(k).map(|(_, updated, _)| updated);
        false
    })?;
    Ok(newest.map_or(at, |newest| at.max(newest.saturating_add(1))))
}

fn write(tx: &mut Tx<'_>, owner: ActorId, id: Tid, draft: &Draft) {
    tx.put(Ks::Private, &by_id(owner, id), &draft.encode());
    tx.put(Ks::Private, &by_time(owner, draft.updated, id), &[]);
}

/// Keeps a new draft and gives its id; `None` if the account has `limit` drafts already.
pub fn create(
    tx: &mut Tx<'_>,
    owner: ActorId,
    json: String,
    at: i64,
    limit: usize,
) -> Result<Option<Tid>, StoreError> {
    if count(tx, owner)? >= limit {
        return Ok(None);
    }
    let updated = next_update(tx, owner, at)?;
    let mut micros = u64::try_from(updated).unwrap_or(0).saturating_mul(1000);
    // A draft that came with an import may have an id of a later time.
    while tx.has(Ks::Private, &by_id(owner, Tid::from_micros(micros, 0)))? {
        micros += 1;
    }
    let id = Tid::from_micros(micros, 0);
    write(tx, owner, id, &Draft { created: updated, updated, json });
    Ok(Some(id))
}

/// Changes a draft; one that is not there stays so.
pub fn update(
    tx: &mut Tx<'_>,
    owner: ActorId,
    id: Tid,
    json: String,
    at: i64,
) -> Result<(), StoreError> {
    let Some(old) = get(tx, owner, id)? else { return Ok(()) };
    let updated = next_update(tx, owner, at)?;
    tx.del(Ks::Private, &by_time(owner, old.updated, id));
    write(tx, owner, id, &Draft { updated, json, ..old });
    Ok(())
}

/// Puts a draft of another store in; `false` if the one that is there is as new, and stays.
pub(super) fn restore(
    tx: &mut Tx<'_>,
    owner: ActorId,
    id: Tid,
    mut draft: Draft,
) -> Result<bool, StoreError> {
    match get(tx, owner, id)? {
        Some(held) if held.updated >= draft.updated => return Ok(false),
        Some(held) => tx.del(Ks::Private, &by_time(owner, held.updated, id)),
        None => {}
    }
    let taken = |tx: &Tx<'_>, updated| -> Result<bool, StoreError> {
        let mut any = false;
        let prefix = of_owner(owner).newest_first(updated);
        tx.scan_prefix(Ks::Private, &prefix, &mut |_, _| {
            any = true;
            false
        })?;
        Ok(any)
    };
    while taken(tx, draft.updated)? {
        draft.updated += 1;
    }
    write(tx, owner, id, &draft);
    Ok(true)
}

/// Takes a draft away, if it is there.
pub fn remove(tx: &mut Tx<'_>, owner: ActorId, id: Tid) -> Result<(), StoreError> {
    let Some(old) = get(tx, owner, id)? else { return Ok(()) };
    tx.del(Ks::Private, &by_id(owner, id));
    tx.del(Ks::Private, &by_time(owner, old.updated, id));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn drafts_come_by_their_last_change_and_end_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let (me, you) = (ActorId(1), ActorId(2));
        let ids = writer
            .durable(move |tx| {
                let mut ids = Vec::new();
                // The second in the same millisecond, the third with a clock that was set back.
                for (text, at) in [("a", 50), ("b", 50), ("c", 7), ("d", 60)] {
                    ids.extend(create(tx, me, text.into(), at, 4)?);
                }
                assert_eq!(create(tx, me, "e".into(), 70, 4)?, None);
                assert!(create(tx, you, "y".into(), 50, 4)?.is_some());
                Ok(ids)
            })
            .await
            .unwrap();
        let texts = |before, limit| -> Vec<(String, i64)> {
            let page = page(&store.snapshot(), me, before, limit).unwrap();
            page.into_iter().map(|(_, draft)| (draft.json, draft.updated)).collect()
        };
        let named = |page: &[(&str, i64)]| -> Vec<(String, i64)> {
            page.iter().map(|(text, at)| ((*text).to_owned(), *at)).collect()
        };
        assert_eq!(texts(None, 9), named(&[("d", 60), ("c", 52), ("b", 51), ("a", 50)]));
        assert_eq!(texts(Some(60), 2), named(&[("c", 52), ("b", 51)]));
        assert_eq!(texts(Some(51), 2), named(&[("a", 50)]));
        for before in [50, 0, -1, i64::MIN] {
            assert_eq!(texts(Some(before), 2), []);
        }
        assert_eq!(texts(None, 0), []);
        let (a, b) = (ids[0], ids[1]);
        writer
            .durable(move |tx| {
                update(tx, me, a, "A".into(), 61)?;
                update(tx, you, a, "not yours".into(), 99)?;
                remove(tx, me, b)?;
                remove(tx, me, b)
            })
            .await
            .unwrap();
        assert_eq!(texts(None, 9), named(&[("A", 61), ("d", 60), ("c", 52)]));
        let changed = get(&store.snapshot(), me, a).unwrap().unwrap();
        assert_eq!((changed.created, changed.updated), (50, 61));
    }
}
