//! Rows of the `private` keyspace: what the network cannot give back. Written through
//! [`super::Writer::durable`], so that a caller who heard yes finds it after a power cut.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `m` | viewer, account | when it was muted, and what of it |
//! | `l` | viewer, list | when it was muted |
//! | `t` | viewer, thread root | when it was muted |
//! | `n` | viewer, account | since when its activity is subscribed to, and which |
//! | `s` | viewer | up to when notifications were seen |
//! | `b` | viewer | since when the account is a member |
//! | `p` | viewer | since when only followed accounts notify |
//! | `f` | viewer | notification preferences, as JSON |
//! | `x` | account or record | when it was taken down, and the reference given |
//! | `y` | account, CID of a blob | the same |
//! | `z` | account | since when it wants nothing of its own collected here |
//!
//! Bookmarks are in [`super::bookmarks`], drafts in [`super::drafts`], what else there is about subscriptions in
//! [`super::subscriptions`], registrations for push in [`super::registrations`], posts of the community in
//! [`super::community`].
use crate::private::{bookmarks, community, drafts, registrations, subscriptions};
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::schema::{ActorId, Key, RecordId, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::work::purge;

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

const ALL: [Kind; 7] = [
    Kind::MutedActor,
    Kind::MutedList,
    Kind::MutedThread,
    Kind::Subscription,
    Kind::Seen,
    Kind::Member,
    Kind::Priority,
];

impl Kind {
    pub(super) fn of(tag: u8) -> Option<Self> {
        ALL.into_iter().find(|kind| *kind as u8 == tag)
    }
}

fn key(kind: Kind, viewer: ActorId, subject: Option<Target>) -> Key {
    let key = Key::tag(kind as u8).actor(viewer);
    match subject {
        Some(t) => key.target(t),
        None => key,
    }
}

pub(super) fn time(b: &[u8]) -> Option<i64> {
    ByteReader::new(b).zigzag()
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

/// Writes a row. A row that is there keeps its time, except [`Kind::Seen`].
pub fn put(
    tx: &mut Tx<'_>,
    kind: Kind,
    viewer: ActorId,
    subject: Option<Target>,
    at: i64,
) -> Result<(), StoreError> {
    let key = key(kind, viewer, subject);
    if kind != Kind::Seen && tx.has(Ks::Private, &key)? {
        return Ok(());
    }
    let mut value = Vec::new();
    push_zigzag(&mut value, at);
    tx.put(Ks::Private, &key, &value);
    tx.touch(viewer);
    Ok(())
}

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

    pub(super) fn decode(b: &[u8]) -> Option<Self> {
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

/// Mutes an account. One that is muted keeps its time and gets the new scope.
pub fn put_mute(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    subject: ActorId,
    mute: Mute,
) -> Result<(), StoreError> {
    let key = key(Kind::MutedActor, viewer, Some(Target::Actor(subject)));
    let at = tx.row(Ks::Private, &key, time)?.unwrap_or(mute.at);
    tx.put(Ks::Private, &key, &Mute { at, ..mute }.encode());
    tx.touch(viewer);
    Ok(())
}

/// Up to `most` accounts that a viewer muted, in the order of their numbers, those up to `after` left out.
pub fn mutes<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    after: Option<ActorId>,
    most: usize,
) -> Result<Vec<(ActorId, Mute)>, StoreError> {
    let after = after.map(Target::Actor);
    let rows = some(r, Kind::MutedActor, viewer, after, most, Mute::decode)?;
    Ok(rows.into_iter().map(|(subject, mute)| (subject.actor(), mute)).collect())
}

/// Removes a row.
pub fn remove(tx: &mut Tx<'_>, kind: Kind, viewer: ActorId, subject: Option<Target>) {
    tx.del(Ks::Private, &key(kind, viewer, subject));
    tx.touch(viewer);
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

fn some<R: Reader + ?Sized, T>(
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

/// Every member.
pub fn members<R: Reader + ?Sized>(r: &R) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[Kind::Member as u8], &mut |k, _| {
        out.extend(k.get(1..).and_then(|a| ByteReader::new(a).actor()));
        true
    })?;
    Ok(out)
}

pub(crate) const PREFERENCES: u8 = b'f';

fn preferences_key(viewer: ActorId) -> Key {
    Key::tag(PREFERENCES).actor(viewer)
}

/// The notification preferences that a viewer saved, as they were put.
pub fn preferences<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
) -> Result<Option<String>, StoreError> {
    let text = |b: &[u8]| std::str::from_utf8(b).ok().map(str::to_owned);
    r.row(Ks::Private, &preferences_key(viewer), text)
}

/// Saves notification preferences (`app.bsky.notification.defs#preferences`) as JSON.
pub fn put_preferences(tx: &mut Tx<'_>, viewer: ActorId, json: &str) {
    tx.put(Ks::Private, &preferences_key(viewer), json.as_bytes());
}

/// Tags of rows whose key goes on with the account that they belong to: all but takedowns and opt-outs, which hold
/// whatever becomes of the account, the counterparts of bookmarks and subscriptions, and community posts.
pub(crate) const OF_ACCOUNT: [u8; 12] = [
    Kind::MutedActor as u8,
    Kind::MutedList as u8,
    Kind::MutedThread as u8,
    Kind::Subscription as u8,
    Kind::Seen as u8,
    Kind::Member as u8,
    Kind::Priority as u8,
    PREFERENCES,
    bookmarks::BY_VIEWER,
    drafts::BY_ID,
    drafts::BY_TIME,
    registrations::TAG,
];

/// Removes up to `most` rows of a viewer, but for community posts, which others see; `true` once nothing is left.
pub fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<bool, StoreError> {
    let mut left = most.saturating_sub(bookmarks::forget(tx, viewer, most)?);
    left = left.saturating_sub(subscriptions::forget(tx, viewer, left)?);
    for tag in OF_ACCOUNT {
        if left == 0 {
            return Ok(false);
        }
        let mut keys = Vec::new();
        tx.scan_prefix(Ks::Private, &Key::tag(tag).actor(viewer), &mut |k, _| {
            keys.push(k.to_vec());
            keys.len() < left
        })?;
        left = left.saturating_sub(keys.len());
        for k in keys {
            tx.del(Ks::Private, &k);
        }
    }
    tx.touch(viewer);
    Ok(left > 0)
}

pub(super) const TAKEDOWN: u8 = b'x';
pub(super) const BLOB_TAKEDOWN: u8 = b'y';

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
    pub(super) fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self { at: r.zigzag()?, reference: r.str()?.to_owned() })
    }
}

/// The takedown of an account or record.
pub fn takedown<R: Reader + ?Sized>(r: &R, target: Target) -> Result<Option<Takedown>, StoreError> {
    r.row(Ks::Private, &Key::tag(TAKEDOWN).target(target), Takedown::decode)
}

/// Takes an account or record down, or lifts that.
pub fn set_takedown(tx: &mut Tx<'_>, target: Target, takedown: Option<&Takedown>) {
    let key = Key::tag(TAKEDOWN).target(target);
    match takedown {
        Some(t) => tx.put(Ks::Private, &key, &t.encode()),
        None => tx.del(Ks::Private, &key),
    }
    tx.touch(target.actor());
}

/// Everything that is taken down.
pub fn takedowns<R: Reader + ?Sized>(r: &R) -> Result<Vec<Target>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[TAKEDOWN], &mut |k, _| {
        out.extend(k.get(1..).and_then(|t| ByteReader::new(t).target()));
        true
    })?;
    Ok(out)
}

fn blob_key(owner: ActorId, cid: &str) -> Key {
    Key::tag(BLOB_TAKEDOWN).actor(owner).bytes(cid.as_bytes())
}

/// The takedown of a blob.
pub fn blob_takedown<R: Reader + ?Sized>(
    r: &R,
    owner: ActorId,
    cid: &str,
) -> Result<Option<Takedown>, StoreError> {
    r.row(Ks::Private, &blob_key(owner, cid), Takedown::decode)
}

/// Takes a blob down, or lifts that.
pub fn set_blob_takedown(tx: &mut Tx<'_>, owner: ActorId, cid: &str, takedown: Option<&Takedown>) {
    match takedown {
        Some(t) => tx.put(Ks::Private, &blob_key(owner, cid), &t.encode()),
        None => tx.del(Ks::Private, &blob_key(owner, cid)),
    }
}

pub(super) const OPT_OUT: u8 = b'z';

fn opt_out_key(actor: ActorId) -> Key {
    Key::tag(OPT_OUT).actor(actor)
}

/// Since when an account wants nothing of its own collected; `None` if it has not said so.
pub fn opted_out<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<Option<i64>, StoreError> {
    r.row(Ks::Private, &opt_out_key(actor), time)
}

/// Writes that down, or that it is no longer so. What follows from it is the index's to do.
pub fn set_opt_out(tx: &mut Tx<'_>, actor: ActorId, since: Option<i64>) {
    match since {
        Some(at) => {
            let mut value = Vec::new();
            push_zigzag(&mut value, at);
            tx.put(Ks::Private, &opt_out_key(actor), &value);
        }
        None => tx.del(Ks::Private, &opt_out_key(actor)),
    }
}

/// What an account asked of us about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when nothing of it is collected, milliseconds; none if it is.
    pub opted_out: Option<i64>,
    /// Whether something of it is still to be deleted.
    pub deleting: bool,
}

/// What the account behind a DID asked; one that the store never saw asked nothing.
pub fn standing<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Standing, StoreError> {
    let Some(actor) = r.actor_id(did)? else { return Ok(Standing::default()) };
    let deleting = purge::purge(r, actor)?.is_some();
    Ok(Standing { opted_out: opted_out(r, actor)?, deleting })
}

/// Every account that opted out, and since when.
pub fn opt_outs<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, i64)>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &[OPT_OUT], &mut |k, v| {
        let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
        out.extend(actor.zip(time(v)));
        true
    })?;
    Ok(out)
}

/// Whether a row of this keyspace is whole; rows that this module does not know are.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    let mut r = ByteReader::new(key);
    let Some(tag) = r.u8() else { return false };
    if tag == TAKEDOWN {
        return r.target().is_some() && r.is_empty() && Takedown::decode(value).is_some();
    }
    if tag == BLOB_TAKEDOWN {
        return r.actor().is_some() && !r.is_empty() && Takedown::decode(value).is_some();
    }
    match tag {
        bookmarks::BY_POST => return bookmarks::by_post_row(key, value).is_some(),
        bookmarks::BY_VIEWER => return bookmarks::by_viewer_row(key, value).is_some(),
        drafts::BY_ID => return drafts::by_id_row(key, value).is_some(),
        drafts::BY_TIME => return drafts::by_time_row(key).is_some() && value.is_empty(),
        registrations::TAG => return registrations::row(key, value).is_some(),
        subscriptions::BY_ACCOUNT => return subscriptions::row(key, value).is_some(),
        community::CONTENT => return community::content_row(key, value).is_some(),
        community::BY_TIME | community::BY_AUTHOR => {
            return community::listed_row(key).is_some() && value.is_empty();
        }
        OPT_OUT => return r.actor().is_some() && r.is_empty() && time(value).is_some(),
        PREFERENCES => {
            let whole = r.actor().is_some() && r.is_empty();
            return whole && std::str::from_utf8(value).is_ok();
        }
        _ => {}
    }
    if Kind::of(tag).is_none() {
        return true;
    }
    let subject = r.actor().is_some() && (r.is_empty() || r.target().is_some());
    subject && r.is_empty() && time(value).is_some()
}

/// A list as the subject of a row.
#[must_use]
pub fn list(id: RecordId) -> Target {
    Target::Record(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn rows_of_one_viewer_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let (me, other) = (ActorId(1), Target::Actor(ActorId(2)));
        writer
            .durable(move |tx| {
                put(tx, Kind::MutedActor, me, Some(other), 5)?;
                put(tx, Kind::MutedActor, me, Some(other), 6)?;
                put(tx, Kind::Seen, me, None, 7)?;
                put(tx, Kind::Seen, me, None, 8)?;
                put(tx, Kind::Member, me, None, 9)?;
                set_takedown(tx, other, Some(&Takedown { at: 3, reference: "r".into() }));
                Ok(())
            })
            .await
            .unwrap();
        let s = store.snapshot();
        assert_eq!(list_of(&s, Kind::MutedActor, me, None, 9).unwrap(), [(other, 5)]);
        assert_eq!(list_of(&s, Kind::MutedActor, me, Some(other), 9).unwrap(), []);
        assert_eq!(get(&s, Kind::Seen, me, None).unwrap(), Some(8));
        assert_eq!(members(&s).unwrap(), [me]);
        assert_eq!(takedowns(&s).unwrap(), [other]);
        assert!(!writer.durable(move |tx| forget(tx, me, 2)).await.unwrap());
        assert!(writer.durable(move |tx| forget(tx, me, 100)).await.unwrap());
        let s = store.snapshot();
        assert_eq!(list_of(&s, Kind::MutedActor, me, None, 9).unwrap(), []);
        assert_eq!(get(&s, Kind::Seen, me, None).unwrap(), None);
        assert_eq!(takedown(&s, other).unwrap().map(|t| t.reference), Some("r".into()));
    }
}
