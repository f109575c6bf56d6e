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

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table, forget_tables};
use super::names::{self, About, Time, owned};
use super::timed::Kind;
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::{ActorId, Edit, Key, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx};

const BY_VIEWER: u8 = Kind::Subscription as u8;
const BY_ACCOUNT: u8 = b'w';

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

fn known<R: Reader>(
    r: &R,
    viewer: &str,
    subject: &str,
) -> Result<Option<(ActorId, ActorId)>, StoreError> {
    Ok(r.actor_id(viewer)?.zip(r.actor_id(subject)?))
}

/// Subscribes to an account; to nothing of it is to unsubscribe. One that is there keeps its time.
pub fn subscribe<R: Reader>(r: &R, viewer: &str, subject: &str, to: Subscription) -> Plan {
    let held = match known(r, viewer, subject)? {
        Some((viewer, account)) => get(r, viewer, account)?,
        None => None,
    };
    let (viewer, subject) = (viewer.to_owned(), subject.to_owned());
    let change = if to.post || to.reply {
        let at = Time(held.map_or(to.at, |held| held.at));
        let (post, reply) = (to.post, to.reply);
        Change::Put(Row::Subscription(Subscribed { viewer, subject, at, post, reply }))
    } else {
        Change::Gone(RowKey::Subscription(About { viewer, subject }))
    };
    Ok((vec![change], ()))
}

pub(super) fn write(tx: &mut Tx<'_>, viewer: ActorId, account: ActorId, to: Subscription) {
    let value = to.encode();
    tx.put(Ks::Private, &by_viewer(viewer, account), &value);
    tx.put(Ks::Private, &by_account(account, viewer), &value);
}

fn remove(tx: &mut Tx<'_>, viewer: ActorId, account: ActorId) {
    tx.del(Ks::Private, &by_viewer(viewer, account));
    tx.del(Ks::Private, &by_account(account, viewer));
}

/// A subscription, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Subscribed {
    pub viewer: String,
    pub subject: String,
    pub at: Time,
    pub post: bool,
    pub reply: bool,
}

owned!(viewer: Subscribed);

impl Kept for Subscribed {
    type Key = About;
    const TABLES: &'static [Table] = &[
        Table {
            tag: BY_VIEWER,
            goes: Goes::WithAccount,
            export: Export::Rows,
            whole: |k, v| row(k, v).is_some(),
        },
        Table {
            tag: BY_ACCOUNT,
            goes: Goes::WithRow,
            export: Export::Nothing,
            whole: |k, v| row(k, v).is_some(),
        },
    ];

    fn check(&self) -> Result<(), String> {
        names::did("subject", &self.subject)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let mut key = ByteReader::new(k);
        let (_, viewer, subject) = (key.u8(), key.actor(), key.target());
        let (Some(viewer), Some(Target::Actor(subject)), Some(held)) =
            (viewer, subject, Subscription::decode(v))
        else {
            return Ok(None);
        };
        let (viewer, subject) = (r.did(viewer)?.to_string(), r.did(subject)?.to_string());
        Ok(Some(Self { viewer, subject, at: Time(held.at), post: held.post, reply: held.reply }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        if let Some((viewer, account)) = known(r, &self.viewer, &self.subject)?
            && get(r, viewer, account)?.is_some()
        {
            return Ok(Vec::new());
        }
        // To nothing is no subscription.
        let any = self.post || self.reply;
        Ok(any.then(|| Change::Put(Row::Subscription(self.clone()))).into_iter().collect())
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (viewer, account) = (tx.intern_actor(&self.viewer)?, tx.intern_actor(&self.subject)?);
        let (at, post, reply) = (self.at.0, self.post, self.reply);
        write(tx, viewer, account, Subscription { at, post, reply });
        Ok(())
    }

    fn remove(key: &About, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if let Some((viewer, account)) = known(tx, &key.viewer, &key.subject)? {
            remove(tx, viewer, account);
        }
        Ok(())
    }

    /// With its counterpart.
    fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<usize, StoreError> {
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
        // Rows that lead nowhere.
        let rest = most.saturating_sub(accounts.len());
        Ok(accounts.len() + forget_tables(Self::TABLES, tx, viewer, rest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::testing::{Bench, DID, OTHER};

    const THIRD: &str = "did:plc:third";

    #[tokio::test]
    async fn subscriptions_are_found_from_both_sides() {
        let b = Bench::new();
        let to = |at, post, reply| Subscription { at, post, reply };
        b.change(move |r| subscribe(r, THIRD, OTHER, to(1, true, true))).await;
        let (me, you, other) = (b.intern(DID).await, b.actor(OTHER), b.actor(THIRD));
        let found = || {
            let s = b.snapshot();
            (get(&s, me, you).unwrap(), of_account(&s, you).unwrap())
        };
        let others = (other, to(1, true, true));
        for (post, reply) in [(true, false), (false, true), (false, false), (true, true)] {
            let now = to(if post && reply { 9 } else { 4 }, post, reply);
            // A new time counts only for a new subscription.
            let at = if post { now.at } else { 7 };
            b.change(move |r| subscribe(r, DID, OTHER, Subscription { at, ..now })).await;
            let mut both = match post || reply {
                true => (Some(now), vec![(me, now), others]),
                false => (None, vec![others]),
            };
            both.1.sort_unstable_by_key(|(viewer, _)| *viewer);
            assert_eq!(found(), both, "{post} {reply}");
        }
        b.change(move |r| subscribe(r, DID, THIRD, to(1, true, true))).await;
        assert!(!b.forget(DID, 1).await);
        assert!(b.forget(DID, 10).await);
        assert_eq!(found(), (None, vec![others]));
        assert_eq!(of_account(&b.snapshot(), other).unwrap(), []);
    }
}
