//! What lets somebody in: sessions of browsers and links that open one. Their secrets are nowhere here, only what they hash
//! to, so that whoever reads the store or an export cannot use them.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `j` | SHA-256 of the secret | what it is, the role, since when, last used, until when, its name |

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table};
use super::names::{Time, owned};
use crate::schema::Key;
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::store::{Ks, Reader, StoreError, Tx};

const TAG: u8 = b'j';

/// Sessions, and links, that there may be; a further one takes the place of the oldest.
pub const MAX_OF_EACH: usize = 200;
/// Bytes of a name.
const MAX_NAME: usize = 256;

/// What a secret hashes to.
pub type Hash = [u8; 32];

/// What it does for whoever has its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lets {
    /// It is a browser that somebody signed in with.
    Session,
    /// It opens a session, once.
    Link,
}

/// What somebody may do. More than those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees the dashboard.
    Viewer,
    /// Everything.
    Admin,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }
}

/// Something that lets somebody in. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// What its secret hashes to, in hexadecimal digits.
    #[serde(with = "hex")]
    pub hash: Hash,
    /// What it does.
    pub lets: Lets,
    /// With which role.
    pub role: Role,
    /// How whoever was let in is called in the log.
    pub name: String,
    /// Since when it is there.
    pub at: Time,
    /// When it was last used, to within some minutes.
    pub seen: Time,
    /// When it ends.
    pub until: Time,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct AccessKey {
    #[serde(with = "hex")]
    pub hash: Hash,
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{HEXLOWER, Hash};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&HEXLOWER.encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a hash")))
    }
}

fn key(hash: &Hash) -> Key {
    Key::tag(TAG).bytes(hash)
}

fn decode(k: &[u8], v: &[u8]) -> Option<Access> {
    let hash = k.get(1..)?.try_into().ok()?;
    let mut r = ByteReader::new(v);
    let lets = match r.u8()? {
        0 => Lets::Session,
        1 => Lets::Link,
        _ => return None,
    };
    let role = match r.u8()? {
        0 => Role::Viewer,
        1 => Role::Admin,
        _ => return None,
    };
    let [at, seen, until] = [r.zigzag()?, r.zigzag()?, r.zigzag()?].map(Time);
    Some(Access { hash, lets, role, at, seen, until, name: r.str()?.to_owned() })
}

fn encode(access: &Access) -> Vec<u8> {
    let lets = match access.lets {
        Lets::Session => 0,
        Lets::Link => 1,
    };
    let role = match access.role {
        Role::Viewer => 0,
        Role::Admin => 1,
    };
    let mut out = vec![lets, role];
    for time in [access.at, access.seen, access.until] {
        push_zigzag(&mut out, time.0);
    }
    push_blob(&mut out, access.name.as_bytes());
    out
}

/// What a secret of this hash lets in.
pub fn access<R: Reader + ?Sized>(r: &R, hash: &Hash) -> Result<Option<Access>, StoreError> {
    let value = r.get(Ks::Private, &key(hash))?;
    Ok(value.and_then(|value| decode(&key(hash), &value)))
}

/// Everything that lets somebody in, what has ended included.
pub fn accesses<R: Reader + ?Sized>(r: &R) -> Result<Vec<Access>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[TAG], &mut |k, v| {
        out.extend(decode(k, v));
        true
    })?;
    Ok(out)
}

fn gone(hash: Hash) -> Change {
    Change::Gone(RowKey::Access(AccessKey { hash }))
}

/// This lets somebody in from now on. What has ended goes, and the oldest if there are too many.
pub fn open<R: Reader>(r: &R, new: Access, now: i64) -> Plan {
    let (ended, mut others): (Vec<_>, Vec<_>) =
        accesses(r)?.into_iter().partition(|one| one.until.0 <= now);
    others.retain(|one| one.lets == new.lets);
    others.sort_by_key(|one| one.at.0);
    let over = (others.len() + 1).saturating_sub(MAX_OF_EACH);
    let goes = ended.iter().chain(others.iter().take(over));
    let mut changes: Vec<Change> = goes.map(|one| gone(one.hash)).collect();
    changes.push(Change::Put(Row::Access(new)));
    Ok((changes, ()))
}

/// Uses a link up for a session, which gets the role and the name of the link; `false` if there is no such link any more.
pub fn redeem<R: Reader>(r: &R, link: &Hash, session: Access, now: i64) -> Plan<bool> {
    let link = access(r, link)?.filter(|one| one.lets == Lets::Link && one.until.0 > now);
    let Some(link) = link else { return nothing(false) };
    let session = Access { role: link.role, name: link.name, ..session };
    let (mut changes, ()) = open(r, session, now)?;
    changes.push(gone(link.hash));
    Ok((changes, true))
}

/// It was used.
pub fn see<R: Reader>(r: &R, hash: &Hash, now: i64) -> Plan {
    let seen = access(r, hash)?.map(|one| Access { seen: Time(now), ..one });
    Ok((seen.map(|one| Change::Put(Row::Access(one))).into_iter().collect(), ()))
}

/// These let nobody in any more; how many of them did.
pub fn close<R: Reader>(r: &R, hashes: &[Hash]) -> Plan<usize> {
    let mut changes = Vec::new();
    for hash in hashes {
        if access(r, hash)?.is_some() {
            changes.push(gone(*hash));
        }
    }
    let closed = changes.len();
    Ok((changes, closed))
}

owned!(nobody: Access);

impl Kept for Access {
    type Key = AccessKey;
    const TABLES: &'static [Table] = &[Table {
        tag: TAG,
        goes: Goes::Never,
        export: Export::Rows,
        whole: |k, v| decode(k, v).is_some(),
    }];

    fn check(&self) -> Result<(), String> {
        match self.name.len() <= MAX_NAME {
            true => Ok(()),
            false => Err(format!("name {:?} is too long", self.name)),
        }
    }

    fn read<R: Reader>(_: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        Ok(decode(k, v))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let held = access(r, &self.hash)?.is_some();
        Ok(if held { Vec::new() } else { vec![Change::Put(Row::Access(self.clone()))] })
    }

    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.put(Ks::Private, &key(&self.hash), &encode(self));
        effects.let_in(tx, self);
        Ok(())
    }

    fn remove(key_: &AccessKey, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.del(Ks::Private, &key(&key_.hash));
        effects.shut_out(tx, &key_.hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::testing::Bench;

    fn one(n: u8, lets: Lets, at: i64) -> Access {
        let name = format!("n{n}");
        let until = Time(at + 100);
        Access { hash: [n; 32], lets, role: Role::Admin, name, at: Time(at), seen: Time(at), until }
    }

    fn held(b: &Bench) -> Vec<u8> {
        accesses(&b.snapshot()).unwrap().iter().map(|one| one.hash[0]).collect()
    }

    #[tokio::test]
    async fn a_link_is_used_once_and_gives_what_it_was_made_for() {
        let b = Bench::new();
        let link = Access { role: Role::Viewer, ..one(1, Lets::Link, 0) };
        b.change(move |r| open(r, link, 0)).await;
        let redeem = |session, now| {
            b.change(move |r| redeem(r, &[1; 32], one(session, Lets::Session, 0), now))
        };
        assert!(!redeem(2, 100).await, "its time is over");
        assert!(redeem(3, 99).await);
        assert!(!redeem(4, 99).await, "it was used");
        let session = access(&b.snapshot(), &[3; 32]).unwrap().unwrap();
        assert_eq!((session.role, session.name.as_str()), (Role::Viewer, "n1"));
        assert_eq!(held(&b), [3]);
        assert!(!b.change(|r| super::redeem(r, &[3; 32], one(5, Lets::Session, 0), 0)).await);
    }

    #[tokio::test]
    async fn what_has_ended_goes_with_the_next_and_there_are_only_so_many() {
        let b = Bench::new();
        b.change(|r| open(r, one(1, Lets::Session, 0), 0)).await;
        b.change(|r| open(r, one(2, Lets::Session, 50), 100)).await;
        assert_eq!(held(&b), [2]);
        for n in 0..MAX_OF_EACH {
            let at = i64::try_from(n).unwrap() + 60;
            b.change(move |r| {
                let mut new = one(3, Lets::Session, at);
                new.hash[1] = u8::try_from(n).unwrap();
                new.until = Time(1000);
                open(r, new, 100)
            })
            .await;
        }
        let held = held(&b);
        assert_eq!((held.len(), held.contains(&2)), (MAX_OF_EACH, false));
        assert_eq!(b.change(|r| close(r, &[[3; 32], [9; 32]])).await, 1);
    }
}
