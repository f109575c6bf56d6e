//! Subscriptions to the activity of accounts (`app.bsky.notification.defs#activitySubscription`), rows of the `private`
//! keyspace.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `n` | viewer, account | since when, and which activity |
//! | `w` | account, viewer | the same: who waits for a post of the account |
//!
//! # Invariants
//! - Every row has its counterpart, with the same value.
use crate::private::Kind;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, Key, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

const BY_VIEWER: u8 = Kind::Subscription as u8;
pub(crate) const BY_ACCOUNT: u8 = b'w';

/// A subscription to an account's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subscription {
    /// When it was made first, milliseconds.
    pub at: i64,
    /// Posts notify.
    pub post: bool,
    /// Replies notify.
    pub reply: bool,
}

impl Subscription {
    fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        push_zigzag(&mut out, self.at);
        out.push(u8::from(self.post) | u8::from(self.reply) << 1);
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (at, which) = (r.zigzag()?, r.u8()?);
        Some(Self { at, post: which & 1 != 0, reply: which & 2 != 0 })
    }
}

fn by_viewer(viewer: ActorId, account: ActorId) -> Key {
    Key::tag(BY_VIEWER).actor(viewer).target(Target::Actor(account))
}

fn by_account(account: ActorId, viewer: ActorId) -> Key {
    Key::tag(BY_ACCOUNT).actor(account).actor(viewer)
}

/// The subscription in a row of either kind, and the key of its counterpart.
pub(crate) fn row(k: &[u8], v: &[u8]) -> Option<(Subscription, Key)> {
    let mut r = ByteReader::new(k);
    let counterpart = match r.u8()? {
        BY_VIEWER => {
            let (viewer, account) = (r.actor()?, r.target()?);
            by_account(account.actor(), viewer)
        }
        BY_ACCOUNT => {
            let (account, viewer) = (r.actor()?, r.actor()?);
            by_viewer(viewer, account)
        }
        _ => return None,
    };
    r.is_empty().then_some((Subscription::decode(v)?, counterpart))
}

/// A viewer's subscription to an account.
pub fn get<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    account: ActorId,
) -> Result<Option<Subscription>, StoreError> {
    r.row(Ks::Private, &by_viewer(viewer, account), Subscription::decode)
}

/// Who subscribed to an account, and to what of it.
pub fn of_account<R: Reader + ?Sized>(
    r: &R,
    account: ActorId,
) -> Result<Vec<(ActorId, Subscription)>, StoreError> {
    let prefix = Key::tag(BY_ACCOUNT).actor(account);
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &prefix, &mut |k, v| {
        let viewer = k.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).actor());
        out.extend(viewer.zip(Subscription::decode(v)));
        true
    })?;
    Ok(out)
}

/// Subscribes to an account; to nothing of it is to unsubscribe. One that is there keeps its time.
pub fn put(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    account: ActorId,
    to: Subscription,
) -> Result<(), StoreError> {
    if !to.post && !to.reply {
        remove(tx, viewer, account);
        return Ok(());
    }
    let at = get(tx, viewer, account)?.map_or(to.at, |held| held.at);
    let value = Subscription { at, ..to }.encode();
    tx.put(Ks::Private, &by_viewer(viewer, account), &value);
    tx.put(Ks::Private, &by_account(account, viewer), &value);
    Ok(())
}

fn remove(tx: &mut Tx<'_>, viewer: ActorId, account: ActorId) {
    tx.del(Ks::Private, &by_viewer(viewer, account));
    tx.del(Ks::Private, &by_account(account, viewer));
}

/// Takes up to `most` subscriptions of a viewer away and says how many.
pub(super) fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<usize, StoreError> {
    let prefix = Key::tag(BY_VIEWER).actor(viewer);
    let mut accounts = Vec::new();
    if most > 0 {
        tx.scan_prefix(Ks::Private, &prefix, &mut |k, _| {
            let account = k.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).target());
            accounts.extend(account.map(Target::actor));
            accounts.len() < most
        })?;
    }
    for account in &accounts {
        remove(tx, viewer, *account);
    }
    Ok(accounts.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn subscriptions_are_found_from_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let (me, you, other) = (ActorId(1), ActorId(2), ActorId(3));
        let to = |at, post, reply| Subscription { at, post, reply };
        let found = || {
            let s = store.snapshot();
            (get(&s, me, you).unwrap(), of_account(&s, you).unwrap())
        };
        writer.durable(move |tx| put(tx, other, you, to(1, true, true))).await.unwrap();
        let others = (other, to(1, true, true));
        for (post, reply) in [(true, false), (false, true), (false, false), (true, true)] {
            let now = to(if post && reply { 9 } else { 4 }, post, reply);
            // A new time counts only for a new subscription.
            let at = if post { now.at } else { 7 };
            writer.durable(move |tx| put(tx, me, you, Subscription { at, ..now })).await.unwrap();
            let both = match post || reply {
                true => (Some(now), vec![(me, now), others]),
                false => (None, vec![others]),
            };
            assert_eq!(found(), both, "{post} {reply}");
        }
        writer.durable(move |tx| put(tx, me, other, to(1, true, true))).await.unwrap();
        assert!(!writer.durable(move |tx| private::forget(tx, me, 1)).await.unwrap());
        assert!(writer.durable(move |tx| private::forget(tx, me, 10)).await.unwrap());
        assert_eq!(found(), (None, vec![others]));
        assert_eq!(of_account(&store.snapshot(), other).unwrap(), []);
    }
}
