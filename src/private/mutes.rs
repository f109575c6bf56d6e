//! What a viewer muted: accounts, lists, threads. Rows as `timed` has them; that of an account says what of it is
//! muted, too.

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Kept, Row, RowKey, Table};
use super::names::{self, About, Time, is_false, owned};
use super::timed::{self, Kind, key};
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, Edit, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

/// A muted account, and what of it is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mute {
    /// When it was muted first.
    pub at: i64,
    /// Its reposts, not all of it.
    pub only_reposts: bool,
    /// Its quote posts, not all of it.
    pub only_quoteposts: bool,
}

impl Mute {
    /// All of the account is muted.
    #[must_use]
    pub fn is_full(self) -> bool {
        !self.only_reposts && !self.only_quoteposts
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        push_zigzag(&mut out, self.at);
        if !self.is_full() {
            out.push(u8::from(self.only_reposts) | u8::from(self.only_quoteposts) << 1);
        }
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let at = r.zigzag()?;
        let scope = if r.is_empty() { 0 } else { r.u8()? };
        Some(Self { at, only_reposts: scope & 1 != 0, only_quoteposts: scope & 2 != 0 })
    }
}

/// A viewer's mute of an account.
pub fn mute<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    subject: ActorId,
) -> Result<Option<Mute>, StoreError> {
    let key = key(Kind::MutedActor, viewer, Some(Target::Actor(subject)));
    r.row(Ks::Private, &key, Mute::decode)
}

/// Up to `most` accounts that a viewer muted, in the order of their numbers, those up to `after` left out.
pub fn mutes<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    after: Option<ActorId>,
    most: usize,
) -> Result<Vec<(ActorId, Mute)>, StoreError> {
    let after = after.map(Target::Actor);
    let rows = timed::some(r, Kind::MutedActor, viewer, after, most, Mute::decode)?;
    Ok(rows.into_iter().map(|(subject, mute)| (subject.actor(), mute)).collect())
}

pub(super) fn write(tx: &mut Tx<'_>, viewer: ActorId, subject: ActorId, mute: Mute) {
    let key = key(Kind::MutedActor, viewer, Some(Target::Actor(subject)));
    tx.put(Ks::Private, &key, &mute.encode());
    tx.touch(viewer);
}

/// Mutes an account. One that is muted keeps its time and gets the new scope.
pub fn mute_account<R: Reader>(r: &R, viewer: &str, subject: &str, new: Mute) -> Plan {
    let at = timed::named(r, Kind::MutedActor, viewer, Some(subject))?.unwrap_or(new.at);
    let row = MutedAccount {
        viewer: viewer.to_owned(),
        subject: subject.to_owned(),
        at: Time(at),
        only_reposts: new.only_reposts,
        only_quoteposts: new.only_quoteposts,
    };
    Ok((vec![Change::Put(Row::Mute(row))], ()))
}

/// What else can be muted: records that others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutedRecord {
    /// A list.
    List,
    /// The root of a thread.
    Thread,
}

/// Mutes a record; one that is muted keeps its time. One that is not named by the DID of its owner is passed over.
pub fn mute_record<R: Reader>(r: &R, viewer: &str, what: MutedRecord, uri: &str, at: i64) -> Plan {
    let kind = match what {
        MutedRecord::List => Kind::MutedList,
        MutedRecord::Thread => Kind::MutedThread,
    };
    let named = names::record_of("uri", uri, &[]).is_ok();
    if !named || timed::named(r, kind, viewer, Some(uri))?.is_some() {
        return nothing(());
    }
    let (viewer, uri, at) = (viewer.to_owned(), uri.to_owned(), Time(at));
    let row = match what {
        MutedRecord::List => Row::ListMute(MutedList { viewer, list: uri, at }),
        MutedRecord::Thread => Row::ThreadMute(MutedThread { viewer, root: uri, at }),
    };
    Ok((vec![Change::Put(row)], ()))
}

/// Mutes an account no more.
#[must_use]
pub fn unmute_account(viewer: &str, subject: &str) -> Change {
    let (viewer, subject) = (viewer.to_owned(), subject.to_owned());
    Change::Gone(RowKey::Mute(About { viewer, subject }))
}

/// Mutes a record no more.
#[must_use]
pub fn unmute_record(viewer: &str, what: MutedRecord, uri: &str) -> Change {
    let (viewer, uri) = (viewer.to_owned(), uri.to_owned());
    Change::Gone(match what {
        MutedRecord::List => RowKey::ListMute(MutedListKey { viewer, list: uri }),
        MutedRecord::Thread => RowKey::ThreadMute(MutedThreadKey { viewer, root: uri }),
    })
}

/// A muted account, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "members are those of a mute")]
pub struct MutedAccount {
    pub viewer: String,
    pub subject: String,
    pub at: Time,
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_reposts: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_quoteposts: bool,
}

/// A muted list, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct MutedList {
    pub viewer: String,
    pub list: String,
    pub at: Time,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct MutedListKey {
    pub viewer: String,
    pub list: String,
}

/// A muted thread, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct MutedThread {
    pub viewer: String,
    pub root: String,
    pub at: Time,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct MutedThreadKey {
    pub viewer: String,
    pub root: String,
}

owned!(viewer: MutedAccount, MutedList, MutedThread);

impl Kept for MutedAccount {
    type Key = About;
    const TABLES: &'static [Table] = &[Kind::MutedActor.table()];

    fn check(&self) -> Result<(), String> {
        names::did("subject", &self.subject)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let (Some((viewer, subject, _)), Some(mute)) = (timed::about(r, k, v)?, Mute::decode(v))
        else {
            return Ok(None);
        };
        let (at, only_reposts) = (Time(mute.at), mute.only_reposts);
        let only_quoteposts = mute.only_quoteposts;
        Ok(Some(Self { viewer, subject, at, only_reposts, only_quoteposts }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let held = timed::named(r, Kind::MutedActor, &self.viewer, Some(&self.subject))?;
        Ok(held.is_none().then(|| Change::Put(Row::Mute(self.clone()))).into_iter().collect())
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (viewer, subject) = (tx.intern_actor(&self.viewer)?, tx.intern_actor(&self.subject)?);
        let (only_reposts, only_quoteposts) = (self.only_reposts, self.only_quoteposts);
        write(tx, viewer, subject, Mute { at: self.at.0, only_reposts, only_quoteposts });
        Ok(())
    }

    fn remove(key: &About, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        timed::remove_named(tx, Kind::MutedActor, &key.viewer, Some(&key.subject))
    }
}

/// The two kinds that are the same but for what the record is called.
macro_rules! muted_record {
    ($row:ident, $key:ident, $kind:expr, $variant:path, $field:ident, $($collection:literal),+) => {
        impl Kept for $row {
            type Key = $key;
            const TABLES: &'static [Table] = &[$kind.table()];

            fn check(&self) -> Result<(), String> {
                names::record_of(stringify!($field), &self.$field, &[$($collection),+])
            }

            fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
                let named = timed::about(r, k, v)?;
                Ok(named.map(|(viewer, $field, at)| Self { viewer, $field, at: Time(at) }))
            }

            fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
                let held = timed::named(r, $kind, &self.viewer, Some(&self.$field))?;
                Ok(held.is_none().then(|| Change::Put($variant(self.clone()))).into_iter().collect())
            }

            fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
                let viewer = tx.intern_actor(&self.viewer)?;
                if let Some(subject) = tx.intern_target(&self.$field)? {
                    timed::write(tx, $kind, viewer, Some(subject), self.at.0);
                }
                Ok(())
            }

            fn remove(key: &$key, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
                timed::remove_named(tx, $kind, &key.viewer, Some(&key.$field))
            }
        }
    };
}

muted_record!(MutedList, MutedListKey, Kind::MutedList, Row::ListMute, list, "app.bsky.graph.list");
muted_record!(
    MutedThread,
    MutedThreadKey,
    Kind::MutedThread,
    Row::ThreadMute,
    root,
    "app.bsky.feed.post",
    "community.blacksky.feed.post"
);
