//! Keyspaces that depend on little else: names, accounts, labels, notifications; and, last of all,
//! counters that nothing counts towards.

use super::super::notify;
use super::{Check, hex, lenient, puts, takes};
use crate::changes;
use crate::private::bookmarks;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    ActorRow, AggRow, Counter, EdgeKind, Kinds, LabelRow, NotifRow, Order, actor_key, handle_key,
    order_prefix, rev_prefix,
};
use crate::schema::{ActorId, CollId, Key, Rows, Target, collections as c, names};
use crate::store::{Ks, Reader, StoreError};
use crate::work::on_read;

impl Check<'_> {
    pub(super) fn small(&mut self) -> Result<(), StoreError> {
        self.rows(Ks::Meta, |_, k, v| {
            Ok(changes::meta_decodes(k, v).unwrap_or(true).then_some(()))
        })?;
        self.private()?;
        self.rows(Ks::Names, Self::name_row)?;
        self.rows(Ks::Actor, Self::actor_row)?;
        self.rows(Ks::Label, Self::label_row)?;
        self.rows(Ks::Notif, Self::notification_row)?;
        self.rows(Ks::Jobs, Self::job_row)?;
        self.fetched()?;
        self.whole(Ks::Plc)?;
        self.rows(Ks::Events, |_, k, v| Ok(changes::decodes(k, v).then_some(())))?;
        self.whole(Ks::Cid)
    }

    /// Rows about which nothing else is to be said than that they decode.
    fn whole(&mut self, ks: Ks) -> Result<(), StoreError> {
        self.rows(ks, |_, _, _| Ok(Some(())))
    }

    /// A notification goes with its record, and a trace leads from the one to the other.
    fn notification_row(&mut self, k: &[u8], v: &[u8]) -> Result<Option<()>, StoreError> {
        let Some((to, row)) = NotifRow::decode(k, v) else { return Ok(None) };
        if row.may_outlive(v) {
            return Ok(Some(()));
        }
        let id = row.record();
        let held = lenient(notify::is_there(self.s, id))?;
        self.mended(
            held,
            "notification-without-record",
            |t| t.record_name(id),
            takes(Ks::Notif, k),
        )?;
        if row.reason.is_traced() {
            let trace = row.trace(to);
            let traced = self.s.has(Ks::Order, &trace)?;
            if held {
                self.mended(
                    traced,
                    "notification-without-trace",
                    |t| t.record_name(id),
                    puts(Ks::Order, &*trace, []),
                )?;
            }
        }
        Ok(Some(()))
    }

    fn job_row(&mut self, k: &[u8], v: &[u8]) -> Result<Option<()>, StoreError> {
        if on_read::decodes(k, v) == Some(false) {
            return Ok(None);
        }
        if let Some(twin) = on_read::twin(self.s, k, v)? {
            self.expect(twin, "fetched-one-way", |_| hex(k));
        }
        Ok(Some(()))
    }

    /// What is listed as cache adds up.
    fn fetched(&mut self) -> Result<(), StoreError> {
        let (mut records, mut bytes) = (0, 0);
        on_read::each(self.s, &mut |_, of| {
            records += 1;
            bytes += of;
        })?;
        let total = on_read::total(self.s)?;
        let same = (total.records, total.bytes) == (records, bytes);
        self.expect(same, "fetched-total", |_| format!("{total:?}, not {records} of {bytes}"));
        Ok(())
    }

    fn name_row(&mut self, k: &[u8], v: &[u8]) -> Result<Option<()>, StoreError> {
        let Some((key, value)) = names::counterpart(k, v) else { return Ok(None) };
        let other = self.s.get(Ks::Names, &key)?;
        if other.is_none() {
            self.fix(puts(Ks::Names, key, value.clone()))?;
        }
        self.expect(other.is_some_and(|o| *o == value), "name-one-way", |_| hex(k));
        Ok(Some(()))
    }

    fn actor_row(&mut self, k: &[u8], v: &[u8]) -> Result<Option<()>, StoreError> {
        let Some((tag, rest)) = k.split_first() else { return Ok(None) };
        if *tag == b'h' {
            let Some(owner) = ByteReader::new(v).actor() else { return Ok(None) };
            let row = lenient(self.s.actor(owner))?;
            let held = row.and_then(|r| r.handle);
            let same = held.as_deref().is_some_and(|h| h.as_bytes() == rest);
            self.expect(same, "handle-without-account", |_| {
                String::from_utf8_lossy(rest).into_owned()
            });
            return Ok(Some(()));
        }
        let Some(id) = ByteReader::new(rest).actor() else { return Ok(None) };
        match tag {
            b'a' => {
                let Some(row) = ActorRow::decode(v) else { return Ok(None) };
                self.named(id)?;
                if let Some(handle) = row.handle {
                    let owner =
                        self.s.row(Ks::Actor, &handle_key(&handle), |b| ByteReader::new(b).actor());
                    let owner = lenient(owner)?;
                    if owner.is_none() {
                        let key = handle_key(&handle);
                        self.fix(puts(Ks::Actor, key.to_vec(), id.0.to_be_bytes()))?;
                    }
                    self.expect(owner == Some(id), "account-without-handle-row", |_| handle);
                }
                Ok(Some(()))
            }
            _ => Ok(Some(())),
        }
    }

    fn label_row(&mut self, k: &[u8], v: &[u8]) -> Result<Option<()>, StoreError> {
        let (Some(_), Some(labels)) = (ByteReader::new(k).target(), LabelRow::decode_all(v)) else {
            return Ok(None);
        };
        for label in labels {
            self.named(label.src)?;
        }
        Ok(Some(()))
    }

    /// The account must have a DID.
    pub(super) fn named(&mut self, id: ActorId) -> Result<(), StoreError> {
        self.resolves(Target::Actor(id))
    }

    /// The account's row must tell of a kind that there are records of.
    pub(super) fn told(&mut self, actor: ActorId, coll: CollId) -> Result<(), StoreError> {
        let lacks = move |row: &ActorRow| !row.kinds.may_have(coll);
        if !Kinds::tell(coll) || !lenient(self.s.actor(actor))?.as_ref().is_some_and(lacks) {
            return Ok(());
        }
        let name = self.name(Target::Actor(actor));
        self.found("record-untold", format!("{name} {}", self.s.coll_text(coll)?));
        self.fix(move |tx| {
            let Some(row) = tx.actor(actor)?.filter(lacks) else { return Ok(()) };
            let row = ActorRow { kinds: row.kinds.with(coll), ..row };
            tx.put(Ks::Actor, &actor_key(actor), &row.encode());
            tx.touch(actor);
            Ok(())
        })
    }

    /// Every number in the target must have a name.
    pub(super) fn resolves(&mut self, target: Target) -> Result<(), StoreError> {
        match self.s.target_text(target) {
            Ok(_) => Ok(()),
            Err(StoreError::Corrupt(_)) => {
                self.found("number-without-name", format!("{target:?}"));
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// The groups that there are were counted where their rows lie; here are those that there are not.
    pub(super) fn agg(&mut self) -> Result<(), StoreError> {
        let joined = std::mem::take(&mut self.joined);
        for (pack, count) in &joined {
            self.counter(*pack, Counter::Joined, *count)?;
        }
        self.rows(Ks::Agg, |this, k, v| {
            let mut key = ByteReader::new(k);
            let (Some(target), true) = (key.target(), key.is_empty()) else { return Ok(None) };
            let Some(row) = AggRow::decode(v) else {
                this.fix(move |tx| {
                    if matches!(tx.agg(target), Err(StoreError::Corrupt(_))) {
                        tx.del(Ks::Agg, &target.key());
                    }
                    Ok(())
                })?;
                return Ok(None);
            };
            for counter in ALL {
                if row.get(counter) == 0 {
                    continue;
                }
                let counted = match (counter, group(counter, target)) {
                    (Counter::Joined, _) => joined.contains_key(&target),
                    (_, Some((ks, prefix))) => this.any(ks, &prefix)?,
                    (_, None) => false,
                };
                if !counted {
                    this.counter(target, counter, 0)?;
                }
            }
            Ok(Some(()))
        })
    }

    fn any(&self, ks: Ks, prefix: &[u8]) -> Result<bool, StoreError> {
        let mut any = false;
        self.s.scan_prefix(ks, prefix, &mut |_, _| {
            any = true;
            false
        })?;
        Ok(any)
    }
}

const ALL: [Counter; 14] = [
    Counter::Likes,
    Counter::Reposts,
    Counter::Replies,
    Counter::Quotes,
    Counter::Items,
    Counter::Joined,
    Counter::Followers,
    Counter::Follows,
    Counter::Posts,
    Counter::Lists,
    Counter::Feeds,
    Counter::StarterPacks,
    Counter::Bookmarks,
    Counter::ForbiddenReplies,
];

/// Where the rows lie that a counter counts.
fn group(counter: Counter, target: Target) -> Option<(Ks, Key)> {
    let rev = |kind| Some((Ks::Rev, rev_prefix(kind, target)));
    let own = |coll: CollId| match target {
        Target::Actor(a) => Some((Ks::Record, Key::new().actor(a).u32(coll.0))),
        _ => None,
    };
    match (counter, target) {
        (Counter::Likes, _) => rev(EdgeKind::Like),
        (Counter::Reposts, _) => rev(EdgeKind::Repost),
        (Counter::Followers, _) => rev(EdgeKind::Follow),
        (Counter::Items, _) => rev(EdgeKind::ListItem),
        (Counter::Replies | Counter::ForbiddenReplies, _) => {
            Some((Ks::Order, order_prefix(Order::Replies, target)))
        }
        (Counter::Quotes, _) => Some((Ks::Order, order_prefix(Order::Quotes, target))),
        (Counter::Follows, Target::Actor(a)) => {
            Some((Ks::Fwd, crate::schema::rows::fwd_prefix(EdgeKind::Follow, a)))
        }
        (Counter::Posts, Target::Actor(a)) => Some((Ks::Post, Key::new().actor(a))),
        (Counter::Lists, _) => own(c::LIST),
        (Counter::Feeds, _) => own(c::GENERATOR),
        (Counter::StarterPacks, _) => own(c::STARTERPACK),
        (Counter::Bookmarks, Target::Post(p)) => Some((Ks::Private, bookmarks::of_post(p))),
        (Counter::Joined | Counter::Follows | Counter::Posts | Counter::Bookmarks, _) => None,
    }
}
