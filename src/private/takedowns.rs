//! What the operator or the moderation service took down. It holds whatever becomes of the account.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `x` | account or record | when it was taken down, and the reference given |
//! | `y` | account, CID of a blob | the same |

use serde::{Deserialize, Serialize};

use super::change::{Applied, Change, Moderated, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Table};
use super::names::{self, Time, owned};
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::schema::{ActorId, Edit, Key, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

const TAG: u8 = b'x';
const BLOB: u8 = b'y';

/// A takedown by the operator or the moderation service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Takedown {
    /// When.
    pub at: i64,
    /// The reference given with it; empty if there was none.
    pub reference: String,
}

impl Takedown {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_zigzag(&mut out, self.at);
        push_blob(&mut out, self.reference.as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self { at: r.zigzag()?, reference: r.str()?.to_owned() })
    }
}

fn key(target: Target) -> Key {
    Key::tag(TAG).target(target)
}

fn blob_key(owner: ActorId, cid: &str) -> Key {
    Key::tag(BLOB).actor(owner).bytes(cid.as_bytes())
}

fn row(k: &[u8], v: &[u8]) -> Option<(Target, Takedown)> {
    let mut r = ByteReader::new(k);
    let (_, target) = (r.u8()?, r.target()?);
    r.is_empty().then_some((target, Takedown::decode(v)?))
}

fn blob_row<'k>(k: &'k [u8], v: &[u8]) -> Option<(ActorId, &'k [u8], Takedown)> {
    let mut r = ByteReader::new(k);
    let (_, owner) = (r.u8()?, r.actor()?);
    let cid = Some(r.rest()).filter(|cid| !cid.is_empty())?;
    Some((owner, cid, Takedown::decode(v)?))
}

/// The takedown of an account or record.
pub fn takedown<R: Reader + ?Sized>(r: &R, target: Target) -> Result<Option<Takedown>, StoreError> {
    r.row(Ks::Private, &key(target), Takedown::decode)
}

/// The takedown of a blob.
pub fn blob_takedown<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    cid: &str,
) -> Result<Option<Takedown>, StoreError> {
    r.row(Ks::Private, &blob_key(owner, cid), Takedown::decode)
}

/// Everything that is taken down but blobs.
pub fn takedowns<R: Reader + ?Sized>(r: &R) -> Result<Vec<Target>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[TAG], &mut |k, _| {
        out.extend(k.get(1..).and_then(|t| ByteReader::new(t).target()));
        true
    })?;
    Ok(out)
}

/// Takes an account or record down, or lifts that.
pub(super) fn set(
    effects: &dyn Effects,
    tx: &mut Tx<'_>,
    target: Target,
    takedown: Option<&Takedown>,
) {
    match takedown {
        Some(t) => tx.put(Ks::Private, &key(target), &t.encode()),
        None => tx.del(Ks::Private, &key(target)),
    }
    tx.touch(target.actor());
    match takedown {
        Some(_) => effects.taken_down(tx, target),
        None => effects.reinstated(tx, target),
    }
}

/// Takes a blob down, or lifts that.
pub(super) fn set_blob(tx: &mut Tx<'_>, owner: ActorId, cid: &str, takedown: Option<&Takedown>) {
    match takedown {
        Some(t) => tx.put(Ks::Private, &blob_key(owner, cid), &t.encode()),
        None => tx.del(Ks::Private, &blob_key(owner, cid)),
    }
}

/// Takes a subject (a DID or the URI of a record by the DID of its owner) down, or lifts that. `false` if it is neither.
pub fn moderate(subject: &str, takedown: Option<Takedown>) -> Plan<bool> {
    if names::subject("subject", subject).is_err() {
        return nothing(false);
    }
    Ok((vec![moderated(subject, None, takedown)], true))
}

/// Takes a blob of an account down, or lifts that.
#[must_use]
pub fn moderate_blob(did: &str, cid: &str, takedown: Option<Takedown>) -> Change {
    moderated(did, Some(cid), takedown)
}

fn moderated(subject: &str, cid: Option<&str>, takedown: Option<Takedown>) -> Change {
    Change::Moderate(Moderated {
        subject: subject.to_owned(),
        cid: cid.map(str::to_owned),
        takedown: takedown.map(|t| Applied { at: Time(t.at), reference: t.reference }),
    })
}

/// An account or record that was taken down, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct TakenDown {
    pub subject: String,
    pub at: Time,
    pub reference: String,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct TakenDownKey {
    pub subject: String,
}

/// A blob that was taken down, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct BlobTakenDown {
    pub did: String,
    pub cid: String,
    pub at: Time,
    pub reference: String,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct BlobTakenDownKey {
    pub did: String,
    pub cid: String,
}

owned!(nobody: TakenDown, BlobTakenDown);

impl Kept for TakenDown {
    type Key = TakenDownKey;
    const TABLES: &'static [Table] = &[Table {
        tag: TAG,
        goes: Goes::Never,
        export: Export::Rows,
        whole: |k, v| row(k, v).is_some(),
    }];

    fn check(&self) -> Result<(), String> {
        names::subject("subject", &self.subject)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((target, Takedown { at, reference })) = row(k, v) else { return Ok(None) };
        Ok(Some(Self { subject: r.target_text(target)?, at: Time(at), reference }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        if let Some(target) = r.target(&self.subject)?
            && takedown(r, target)?.is_some()
        {
            return Ok(Vec::new());
        }
        let new = Takedown { at: self.at.0, reference: self.reference.clone() };
        moderate(&self.subject, Some(new)).map(|(changes, _)| changes)
    }

    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let new = Takedown { at: self.at.0, reference: self.reference.clone() };
        if let Some(target) = tx.intern_target(&self.subject)? {
            set(effects, tx, target, Some(&new));
        }
        Ok(())
    }

    fn remove(
        key: &TakenDownKey,
        effects: &dyn Effects,
        tx: &mut Tx<'_>,
    ) -> Result<(), StoreError> {
        if let Some(target) = tx.target(&key.subject)? {
            set(effects, tx, target, None);
        }
        Ok(())
    }
}

impl Kept for BlobTakenDown {
    type Key = BlobTakenDownKey;
    const TABLES: &'static [Table] = &[Table {
        tag: BLOB,
        goes: Goes::Never,
        export: Export::Rows,
        whole: |k, v| blob_row(k, v).is_some(),
    }];

    fn check(&self) -> Result<(), String> {
        names::did("did", &self.did)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((owner, cid, Takedown { at, reference })) = blob_row(k, v) else {
            return Ok(None);
        };
        let Ok(cid) = std::str::from_utf8(cid) else { return Ok(None) };
        let did = r.did(owner)?.to_string();
        Ok(Some(Self { did, cid: cid.to_owned(), at: Time(at), reference }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        if let Some(owner) = r.actor_id(&self.did)?
            && blob_takedown(r, owner, &self.cid)?.is_some()
        {
            return Ok(Vec::new());
        }
        let new = Takedown { at: self.at.0, reference: self.reference.clone() };
        Ok(vec![moderate_blob(&self.did, &self.cid, Some(new))])
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let owner = tx.intern_actor(&self.did)?;
        let new = Takedown { at: self.at.0, reference: self.reference.clone() };
        set_blob(tx, owner, &self.cid, Some(&new));
        Ok(())
    }

    fn remove(key: &BlobTakenDownKey, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if let Some(owner) = tx.actor_id(&key.did)? {
            set_blob(tx, owner, &key.cid, None);
        }
        Ok(())
    }
}
