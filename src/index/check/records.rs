//! Posts and other records: that they give a CID, and that what they say about others is there.

use ipld_core::ipld::Ipld;

use super::super::names::Known;
use super::super::{gates, posts, records};
use super::{Check, lenient, puts, takes};
use crate::schema::rows::{
    Counter, EdgeKind, FeedRow, PostRow, RecordRow, fwd_key, order_item_key, order_joined_key,
    order_post_key, post_flags as f,
};
use crate::schema::{ActorId, CollId, PostId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader, StoreError};
use crate::syntax::cid;

/// The low eight bits of a post's flags, which feeds and lists repeat.
const LOW: u16 = 0xff;

impl Check<'_> {
    pub(super) fn posts(&mut self) -> Result<(), StoreError> {
        let mut author: Option<(ActorId, u64)> = None;
        let mut rows = 0u64;
        self.rows(Ks::Post, |this, k, v| {
            rows += 1;
            let Some(post) = PostId::from_bytes(k) else { return Ok(None) };
            match author.as_mut() {
                Some((a, count)) if *a == post.author => *count += 1,
                _ => {
                    this.posts_of(author.take())?;
                    this.named(post.author)?;
                    author = Some((post.author, 1));
                }
            }
            let Some(row) = PostRow::decode(v) else { return Ok(None) };
            let target = Target::Post(post);
            let Some(value) = this.value(target, &row.packed, row.cid, rows)? else {
                return Ok(Some(()));
            };
            this.post(post, &row, &value)?;
            Ok(Some(()))
        })?;
        self.posts_of(author)
    }

    fn posts_of(&mut self, author: Option<(ActorId, u64)>) -> Result<(), StoreError> {
        match author {
            Some((a, count)) => self.counter(Target::Actor(a), Counter::Posts, count),
            None => Ok(()),
        }
    }

    /// Unpacks a record and, now and then, holds it to its CID.
    fn value(
        &mut self,
        target: Target,
        packed: &[u8],
        kept: Option<[u8; 32]>,
        row: u64,
    ) -> Result<Option<Ipld>, StoreError> {
        let value = match self.s.unpack(packed) {
            Ok(value) => value,
            Err(StoreError::Corrupt(_)) => {
                self.found("record-does-not-unpack", self.name(target));
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        if self.sampled(row) {
            self.report.rebuilt += 1;
            let bytes = crate::repo::dag_cbor::encode(&value);
            let made = cid::digest(&cid::for_record(&bytes));
            match kept {
                // It was kept because it was not given when the record came.
                Some(kept) => {
                    self.expect(made == Some(kept), "record-differs-from-cid", |t| t.name(target));
                }
                // The one that readers are given is made in another way. Whether it is the one that came, its repo's tree
                // tells.
                None => {
                    let given = self.s.packed_digest(packed)?;
                    self.expect(made == given, "record-does-not-rebuild", |t| t.name(target));
                }
            }
        }
        Ok(Some(value))
    }

    fn post(&mut self, post: PostId, row: &PostRow, value: &Ipld) -> Result<(), StoreError> {
        let target = Target::Post(post);
        let refs = posts::refs(&mut Known(self.s), value)?;
        let of_record = row.flags & LOW == refs.flags() & LOW;
        self.expect(of_record, "post-flags-differ", |t| t.name(target));
        let gates = row.flags & (f::HAS_THREADGATE | f::HAS_POSTGATE);
        let held = lenient(gates::flags_of_post(self.s, post))?;
        self.expect(gates == held, "gate-flags-differ", |t| t.name(target));
        let sort = row.sort_ms(post.rkey);
        let [_, low] = row.flags.to_be_bytes();
        let feed = FeedRow { sort, rkey: post.rkey, flags: low, repost_of: None };
        let entry = self.s.get(Ks::Feed, &feed.key(post.author))?;
        self.mended(
            entry.is_some_and(|v| *v == *feed.encode()),
            "post-without-feed-row",
            |t| t.name(target),
            puts(Ks::Feed, feed.key(post.author).to_vec(), feed.encode()),
        )?;
        for (order, under) in posts::lists(&refs) {
            let key = order_post_key(order, under, sort, post);
            let listed = self.s.has(Ks::Order, &key)?;
            self.mended(
                listed,
                "post-without-list-row",
                |t| format!("{} under {}", t.name(target), t.name(under)),
                puts(Ks::Order, key.to_vec(), [low]),
            )?;
        }
        Ok(())
    }

    pub(super) fn records(&mut self) -> Result<(), StoreError> {
        let mut group: Option<(ActorId, CollId, u64)> = None;
        let mut rows = 0u64;
        self.rows(Ks::Record, |this, k, v| {
            rows += 1;
            let Some(id) = RecordId::from_bytes(k) else { return Ok(None) };
            let row = RecordRow::decode(v);
            let counts = u64::from(row.as_ref().is_some_and(|r| r.valid));
            match group.as_mut() {
                Some((a, coll, count)) if (*a, *coll) == (id.actor, id.coll) => *count += counts,
                _ => {
                    this.records_of(group.take())?;
                    this.resolves(Target::Record(id))?;
                    this.told(id.actor, id.coll)?;
                    group = Some((id.actor, id.coll, counts));
                }
            }
            let Some(row) = row else { return Ok(None) };
            this.held_once(id, &row)?;
            let value = this.value(Target::of(id), &row.packed, row.cid, rows)?;
            if let Some(value) = value
                && row.valid
            {
                this.record(id, &row, &value)?;
            }
            Ok(Some(()))
        })?;
        self.records_of(group)
    }

    /// One row a record: a post or an edge has one here only if it broke its lexicon or cannot be rebuilt, and then none
    /// or one that says so where others of its kind are. What is there is newer.
    fn held_once(&mut self, id: RecordId, row: &RecordRow) -> Result<(), StoreError> {
        let post = posts::post_id(id).to_bytes();
        if id.coll == c::POST && self.s.has(Ks::Post, &post)? {
            self.found("record-twice", self.record_name(id));
            return self.fix(move |tx| {
                if tx.has(Ks::Post, &post)? {
                    tx.del(Ks::Record, &id.to_bytes());
                }
                Ok(())
            });
        }
        if let Some(kind) = EdgeKind::compact(id.coll).filter(|_| !row.valid) {
            let edge = self.s.has(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey))?;
            self.expect(!edge, "record-twice", |t| t.record_name(id));
        }
        Ok(())
    }

    fn records_of(&mut self, group: Option<(ActorId, CollId, u64)>) -> Result<(), StoreError> {
        let Some((actor, coll, count)) = group else { return Ok(()) };
        let counter = match coll {
            c::LIST => Counter::Lists,
            c::GENERATOR => Counter::Feeds,
            c::STARTERPACK => Counter::StarterPacks,
            _ => return Ok(()),
        };
        self.counter(Target::Actor(actor), counter, count)
    }

    /// The effects of a valid record.
    fn record(&mut self, id: RecordId, row: &RecordRow, v: &Ipld) -> Result<(), StoreError> {
        let mut names = Known(self.s);
        if let Some(kind) = EdgeKind::compact(id.coll) {
            let edge = lenient(self.s.edge(kind, id.actor, id.rkey))?;
            return self.mended(
                edge.is_some_and(|e| e.kept),
                "record-without-edge",
                |t| t.record_name(id),
                takes(Ks::Record, id.to_bytes()),
            );
        }
        match id.coll {
            c::LISTBLOCK | c::VERIFICATION => {
                let kind = if id.coll == c::LISTBLOCK {
                    EdgeKind::ListBlock
                } else {
                    EdgeKind::Verification
                };
                match records::text_target(&mut names, v, "subject")? {
                    Some(t) => drop(self.linked(kind, t, id.actor, id, row.sort)?),
                    None => self.found("record-without-subject", self.record_name(id)),
                }
            }
            c::LISTITEM => match records::list_item(&mut names, id, v)? {
                Some((list, member)) => {
                    self.linked(EdgeKind::ListItem, list, member, id, row.sort)?;
                    let (key, value) =
                        (order_item_key(list, row.sort, id.rkey), member.0.to_be_bytes());
                    let listed = self.s.get(Ks::Order, &key)?;
                    self.mended(
                        listed.is_some_and(|v| *v == value),
                        "item-without-list-row",
                        |t| t.record_name(id),
                        puts(Ks::Order, key.to_vec(), value),
                    )?;
                }
                None => self.found("record-without-subject", self.record_name(id)),
            },
            c::COMMUNITY_LIKE | c::COMMUNITY_REPOST => {
                if let Some((kind, _, post)) = records::community_edge(&mut names, id, v)? {
                    self.linked(kind, post, id.actor, id, row.sort)?;
                }
            }
            c::PROFILE if id.rkey == Rkey::SELF => {
                if let Some(pack) = records::starter_pack(&mut names, v)? {
                    *self.joined.entry(pack).or_default() += 1;
                    let key = order_joined_key(pack, row.sort, id.actor);
                    let listed = self.s.has(Ks::Order, &key)?;
                    self.mended(
                        listed,
                        "profile-without-joined-row",
                        |t| t.record_name(id),
                        puts(Ks::Order, key.to_vec(), []),
                    )?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
