//! What the rows of the store mean to whoever reads: names behind numbers, rows decoded.

use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::bytes::ByteReader;
use crate::repo::memory::Room;
use crate::schema::rows::{
    self, ActorRow, AggRow, EdgeKind, EdgeRow, FanRow, IdentityRow, LabelRow, NotifRow, PostRow,
    RecordRow, RepoRow,
};
use crate::schema::{ActorId, CollId, PostId, RecordId, Rkey, Target, encoded, names, packed};
use crate::store::{Ks, Reader, Slice, Snapshot, StoreError, prefix_end};

/// Rows as what they stand for, over every view of the store. A row that does not decode is [`StoreError::Corrupt`].
pub trait Rows: Reader {
    /// The number of a DID that the store has seen.
    fn actor_id(&self, did: &str) -> Result<Option<ActorId>, StoreError> {
        names::actor_id(self, did)
    }
    /// The DID behind a number.
    fn did(&self, id: ActorId) -> Result<Arc<str>, StoreError> {
        names::did(self, id)
    }
    /// The number of a collection that the store has seen.
    fn coll_id(&self, nsid: &str) -> Result<Option<CollId>, StoreError> {
        names::coll_id(self, nsid)
    }
    /// The NSID of a collection.
    fn coll_text(&self, coll: CollId) -> Result<Arc<str>, StoreError> {
        names::coll_text(self, coll)
    }
    /// The form of a record key, if the store can have records under it.
    fn rkey(&self, text: &str) -> Result<Option<Rkey>, StoreError> {
        names::rkey(self, text)
    }
    /// The text of a record key.
    fn rkey_text(&self, rkey: Rkey) -> Result<String, StoreError> {
        names::rkey_text(self, rkey)
    }
    /// The AT-URI of a record.
    fn uri(&self, id: RecordId) -> Result<String, StoreError> {
        Ok(format!(
            "at://{}/{}/{}",
            self.did(id.actor)?,
            self.coll_text(id.coll)?,
            self.rkey_text(id.rkey)?
        ))
    }
    /// The AT-URI of a post.
    fn post_uri(&self, id: PostId) -> Result<String, StoreError> {
        self.uri(id.record())
    }
    /// A DID or AT-URI as the numbers the store knows; `None` if any part was never seen or it is neither.
    /// A handle as authority is not resolved here.
    fn target(&self, subject: &str) -> Result<Option<Target>, StoreError> {
        if !subject.starts_with("at://") {
            return Ok(self.actor_id(subject)?.map(Target::Actor));
        }
        let Some(uri) = crate::syntax::AtUriRef::parse(subject) else { return Ok(None) };
        let Some(actor) = self.actor_id(uri.authority)? else { return Ok(None) };
        let (Some(coll), Some(rkey)) = (uri.collection, uri.rkey) else {
            return Ok(
                (uri.collection.is_none() && uri.rkey.is_none()).then_some(Target::Actor(actor))
            );
        };
        let (Some(coll), Some(rkey)) = (self.coll_id(coll)?, self.rkey(rkey)?) else {
            return Ok(None);
        };
        Ok(Some(Target::of(RecordId { actor, coll, rkey })))
    }
    /// The text form of a target: a DID or an AT-URI.
    fn target_text(&self, t: Target) -> Result<String, StoreError> {
        match t.record() {
            Some(r) => self.uri(r),
            None => Ok(self.did(t.actor())?.as_ref().to_owned()),
        }
    }

    /// The account row.
    fn actor(&self, id: ActorId) -> Result<Option<ActorRow>, StoreError> {
        self.row(Ks::Actor, &rows::actor_key(id), ActorRow::decode)
    }
    /// The repo row.
    fn repo(&self, id: ActorId) -> Result<Option<RepoRow>, StoreError> {
        self.row(Ks::Actor, &rows::repo_key(id), RepoRow::decode)
    }
    /// The identity row.
    fn identity(&self, id: ActorId) -> Result<Option<IdentityRow>, StoreError> {
        self.row(Ks::Actor, &rows::identity_key(id), IdentityRow::decode)
    }
    /// Which account holds a handle (lower case).
    fn handle_owner(&self, handle: &str) -> Result<Option<ActorId>, StoreError> {
        self.row(Ks::Actor, &rows::handle_key(handle), |b| ByteReader::new(b).actor())
    }
    /// A post row, its record still packed.
    fn post(&self, id: PostId) -> Result<Option<PostRow>, StoreError> {
        self.row(Ks::Post, &id.to_bytes(), PostRow::decode)
    }
    /// A row of the `record` keyspace.
    fn record(&self, id: RecordId) -> Result<Option<RecordRow>, StoreError> {
        self.row(Ks::Record, &id.to_bytes(), RecordRow::decode)
    }
    /// The value of a packed record.
    fn unpack(&self, packed: &[u8]) -> Result<Ipld, StoreError>
    where
        Self: Sized,
    {
        let all = self.unpack_within(packed, usize::MAX)?;
        all.map(|(value, _)| value).ok_or_else(packed::bad)
    }
    /// The same with the memory that it takes; `None` if that is more than `most`.
    fn unpack_within(&self, packed: &[u8], most: usize) -> Result<Option<(Ipld, usize)>, StoreError>
    where
        Self: Sized,
    {
        let mut room = Room::new(most);
        let value = packed::unpack(packed, &Names(self), &mut room)?;
        Ok(value.map(|value| (value, room.taken())))
    }
    /// The digest of a record's CID: the one in its row, or that of what is packed.
    fn digest(&self, cid: Option<[u8; 32]>, packed: &[u8]) -> Result<[u8; 32], StoreError>
    where
        Self: Sized,
    {
        match cid {
            Some(digest) => Ok(digest),
            None => self.packed_digest(packed)?.ok_or_else(packed::bad),
        }
    }
    /// The digest of the CID that a packed record gives; `None` if it does not decode.
    fn packed_digest(&self, packed: &[u8]) -> Result<Option<[u8; 32]>, StoreError>
    where
        Self: Sized,
    {
        encoded::digest(packed, &Names(self))
    }
    /// The edge that an actor's record is.
    fn edge(
        &self,
        kind: EdgeKind,
        actor: ActorId,
        rkey: Rkey,
    ) -> Result<Option<EdgeRow>, StoreError> {
        let key = rows::fwd_key(kind, actor, rkey);
        self.row(Ks::Fwd, &key, |v| EdgeRow::decode(&key, v))
    }
    /// The edge from `actor` to `target`, if there is one.
    fn fan(
        &self,
        kind: EdgeKind,
        target: Target,
        actor: ActorId,
    ) -> Result<Option<FanRow>, StoreError> {
        let key = rows::rev_key(kind, target, actor);
        self.row(Ks::Rev, &key, |v| FanRow::decode(target, v))
    }
    /// The counters of a target; all zero if there are none.
    fn agg(&self, target: Target) -> Result<AggRow, StoreError> {
        Ok(self.row(Ks::Agg, &target.key(), AggRow::decode)?.unwrap_or_default())
    }
    /// The notification under a key of `notif`.
    fn notification(&self, key: &[u8]) -> Result<Option<NotifRow>, StoreError> {
        self.row(Ks::Notif, key, |value| NotifRow::decode(key, value).map(|(_, row)| row))
    }
    /// Visits the accounts from `from` on, in the order of their numbers; `false` ends it. One whose row does not decode is
    /// counted and passed over.
    fn each_actor(
        &self,
        from: ActorId,
        f: &mut dyn FnMut(ActorId, &ActorRow) -> bool,
    ) -> Result<(), StoreError> {
        let end = prefix_end(rows::actor_key(from).get(..1).unwrap_or_default());
        self.scan(Ks::Actor, &rows::actor_key(from), end.as_deref(), false, &mut |key, value| {
            let actor = key.get(1..).and_then(|key| ByteReader::new(key).actor());
            whole(Ks::Actor, key, actor.zip(ActorRow::decode(value)))
                .is_none_or(|(actor, row)| f(actor, &row))
        })
    }
    /// The labels on a target, negations included.
    fn labels(&self, target: Target) -> Result<Vec<LabelRow>, StoreError> {
        Ok(self.row(Ks::Label, &target.key(), LabelRow::decode_all)?.unwrap_or_default())
    }
}

impl<R: Reader + ?Sized> Rows for R {}

struct Names<'r, R>(&'r R);

impl<R: Reader> packed::Resolve for Names<'_, R> {
    fn did(&self, id: ActorId) -> Result<Arc<str>, StoreError> {
        self.0.did(id)
    }
}

/// A row of many, if it decodes; else it is counted and named, and the others are read on.
pub fn whole<T>(ks: Ks, key: &[u8], row: Option<T>) -> Option<T> {
    if row.is_none() {
        StoreError::pass_over(ks, key);
    }
    row
}

/// The replies to a post, the newest first; `None` if they are many hundreds, to be read with [`each_reply`].
pub fn replies(s: &Snapshot, parent: PostId) -> Result<Option<Vec<PostId>>, StoreError> {
    let prefix = rows::order_prefix(rows::Order::Replies, Target::Post(parent));
    let packed = s.group(Ks::Order, &prefix, |most| {
        let most = most / PostId::LEN;
        let mut posts = Vec::new();
        each_reply(s, parent, false, &mut |post| {
            posts.push(post);
            posts.len() <= most
        })?;
        let whole = posts.len() <= most;
        Ok(whole.then(|| posts.iter().flat_map(|p| p.to_bytes()).collect()))
    })?;
    let posts =
        |packed: Slice| packed.chunks_exact(PostId::LEN).filter_map(PostId::from_bytes).collect();
    Ok(packed.map(posts))
}

/// Visits the replies to a post, the newest first or the oldest first; `false` ends it.
pub fn each_reply(
    s: &Snapshot,
    parent: PostId,
    oldest_first: bool,
    f: &mut dyn FnMut(PostId) -> bool,
) -> Result<(), StoreError> {
    let prefix = rows::order_prefix(rows::Order::Replies, Target::Post(parent));
    let end = prefix_end(&prefix);
    s.scan(Ks::Order, &prefix, end.as_deref(), oldest_first, &mut |key, _| {
        let mut key = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
        key.newest_first().and_then(|_| key.post()).is_none_or(&mut *f)
    })
}
