//! The form that most settings of an account have: a row with the time since when.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `m` | viewer, account | see [`super::mutes`] |
//! | `l` | viewer, list | when it was muted |
//! | `t` | viewer, thread root | when it was muted |
//! | `n` | viewer, account | see [`super::subscriptions`] |
//! | `s` | viewer | up to when notifications were seen |
//! | `b` | viewer | since when the account is a member |
//! | `p` | viewer | since when only followed accounts notify |

use super::kinds::{Export, Goes, Table};
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, Key, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};

/// The kinds that belong to one viewer, with a time as value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A muted account.
    MutedActor = b'm',
    /// A muted list.
    MutedList = b'l',
    /// A muted thread, by its root.
    MutedThread = b't',
    /// An account whose activity is subscribed to.
    Subscription = b'n',
    /// Notifications seen.
    Seen = b's',
    /// Called with a valid token before.
    Member = b'b',
    /// Only accounts that the viewer follows notify.
    Priority = b'p',
}

impl Kind {
    /// The one table of a kind whose rows have just the time.
    pub(super) const fn table(self) -> Table {
        Table { tag: self as u8, goes: Goes::WithAccount, export: Export::Rows, whole }
    }
}

pub(super) fn key(kind: Kind, viewer: ActorId, subject: Option<Target>) -> Key {
    let key = Key::tag(kind as u8).actor(viewer);
    match subject {
        Some(t) => key.target(t),
        None => key,
    }
}

pub(super) fn time(b: &[u8]) -> Option<i64> {
    ByteReader::new(b).zigzag()
}

/// Whether a row decodes.
pub(super) fn whole(k: &[u8], v: &[u8]) -> bool {
    row(k, v).is_some()
}

/// Whose row it is, about what, and the time in it.
pub(super) fn row(k: &[u8], v: &[u8]) -> Option<(ActorId, Option<Target>, i64)> {
    let mut r = ByteReader::new(k);
    let (_, viewer) = (r.u8()?, r.actor()?);
    let subject = if r.is_empty() { None } else { Some(r.target()?) };
    r.is_empty().then_some((viewer, subject, time(v)?))
}

/// The names of viewer and subject, and the time: of a row that is about something.
pub(super) fn about<R: Reader>(
    r: &R,
    k: &[u8],
    v: &[u8],
) -> Result<Option<(String, String, i64)>, StoreError> {
    let Some((viewer, Some(subject), at)) = row(k, v) else { return Ok(None) };
    Ok(Some((r.did(viewer)?.to_string(), r.target_text(subject)?, at)))
}

/// The name of the viewer, and the time: of a row that is about nothing else.
pub(super) fn of<R: Reader>(
    r: &R,
    k: &[u8],
    v: &[u8],
) -> Result<Option<(String, i64)>, StoreError> {
    let Some((viewer, None, at)) = row(k, v) else { return Ok(None) };
    Ok(Some((r.did(viewer)?.to_string(), at)))
}

/// The time in a row, if it is there.
pub fn get<R: Reader + ?Sized>(
    r: &R,
    kind: Kind,
    viewer: ActorId,
    subject: Option<Target>,
) -> Result<Option<i64>, StoreError> {
    r.row(Ks::Private, &key(kind, viewer, subject), time)
}

/// The time in a row that is known by names.
pub(super) fn named<R: Reader>(
    r: &R,
    kind: Kind,
    viewer: &str,
    subject: Option<&str>,
) -> Result<Option<i64>, StoreError> {
    let Some(viewer) = r.actor_id(viewer)? else { return Ok(None) };
    match subject {
        None => get(r, kind, viewer, None),
        Some(subject) => match r.target(subject)? {
            Some(subject) => get(r, kind, viewer, Some(subject)),
            None => Ok(None),
        },
    }
}

pub(super) fn write(
    tx: &mut Tx<'_>,
    kind: Kind,
    viewer: ActorId,
    subject: Option<Target>,
    at: i64,
) {
    let mut value = Vec::new();
    push_zigzag(&mut value, at);
    tx.put(Ks::Private, &key(kind, viewer, subject), &value);
    tx.touch(viewer);
}

pub(super) fn remove(tx: &mut Tx<'_>, kind: Kind, viewer: ActorId, subject: Option<Target>) {
    tx.del(Ks::Private, &key(kind, viewer, subject));
    tx.touch(viewer);
}

/// Removes a row that is known by names; of names that were never seen there is none.
pub(super) fn remove_named(
    tx: &mut Tx<'_>,
    kind: Kind,
    viewer: &str,
    subject: Option<&str>,
) -> Result<(), StoreError> {
    let Some(viewer) = tx.actor_id(viewer)? else { return Ok(()) };
    match subject {
        None => remove(tx, kind, viewer, None),
        Some(subject) => {
            if let Some(subject) = tx.target(subject)? {
                remove(tx, kind, viewer, Some(subject));
            }
        }
    }
    Ok(())
}

/// Up to `most` rows of a kind that a viewer has, in the order of the subjects' numbers, those up to `after` left out.
pub fn list_of<R: Reader + ?Sized>(
    r: &R,
    kind: Kind,
    viewer: ActorId,
    after: Option<Target>,
    most: usize,
) -> Result<Vec<(Target, i64)>, StoreError> {
    some(r, kind, viewer, after, most, time)
}

pub(super) fn some<R: Reader + ?Sized, T>(
    r: &R,
    kind: Kind,
    viewer: ActorId,
    after: Option<Target>,
    most: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<(Target, T)>, StoreError> {
    let prefix = key(kind, viewer, None);
    let end = prefix_end(&prefix);
    let lo = match after {
        // The least key behind it.
        Some(after) => prefix.clone().target(after).u8(0),
        None => prefix.clone(),
    };
    let mut out = Vec::new();
    if most == 0 {
        return Ok(out);
    }
    r.scan(Ks::Private, &lo, end.as_deref(), false, &mut |k, v| {
        let subject = k.get(prefix.len()..).and_then(|s| ByteReader::new(s).target());
        out.extend(subject.zip(decode(v)));
        out.len() < most
    })?;
    Ok(out)
}
