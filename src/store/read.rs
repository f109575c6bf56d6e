//! Reading: one trait for the writer's view (its open batch over the store) and a request's snapshot.

use std::sync::Arc;

use super::ids::{ActorId, ByteReader, CollId, PostId, RecordId, Rkey, Target, prefix_end};
use super::keyspaces::Ks;
use super::row_cache::RowViews;
use super::rows::{
    ActorRow, AggRow, EdgeKind, EdgeRow, FanRow, IdentityRow, LabelRow, PostRow, RecordRow, RepoRow,
};
use super::{Slice, Store, StoreError, names, packed, rows};
use fjall::Readable as _;
use ipld_core::ipld::Ipld;

/// Called for each row of a scan; `false` ends it.
pub type Visit<'f> = &'f mut dyn FnMut(&[u8], &[u8]) -> bool;

/// A consistent view of the store.
///
/// The provided methods decode rows; a row that does not decode is [`StoreError::Corrupt`].
pub trait Reader {
    /// The store behind the view.
    fn store(&self) -> &Store;

    /// One value.
    fn get(&self, ks: Ks, key: &[u8]) -> Result<Option<Slice>, StoreError>;

    /// Whether the key exists.
    fn has(&self, ks: Ks, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(ks, key)?.is_some())
    }

    /// Visits `lo <= key < hi` (`None`: to the end) in order, or in reverse order.
    fn scan(
        &self,
        ks: Ks,
        lo: &[u8],
        hi: Option<&[u8]>,
        reverse: bool,
        f: Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Visits every key that begins with `prefix`, in order.
    fn scan_prefix(&self, ks: Ks, prefix: &[u8], f: Visit<'_>) -> Result<(), StoreError> {
        let end = prefix_end(prefix);
        self.scan(ks, prefix, end.as_deref(), false, f)
    }

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
        packed::unpack(packed, &Names(self))
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
    /// The labels on a target, negations included.
    fn labels(&self, target: Target) -> Result<Vec<LabelRow>, StoreError> {
        Ok(self.row(Ks::Label, &target.key(), LabelRow::decode_all)?.unwrap_or_default())
    }

    /// One decoded row.
    fn row<T>(
        &self,
        ks: Ks,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        decoded(ks, self.get(ks, key)?, decode)
    }
}

fn decoded<T>(
    ks: Ks,
    value: Option<Slice>,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    match value {
        None => Ok(None),
        Some(v) => decode(&v).map(Some).ok_or(StoreError::corrupt(ks)),
    }
}

struct Names<'r, R>(&'r R);

impl<R: Reader> packed::Resolve for Names<'_, R> {
    fn did(&self, id: ActorId) -> Result<Arc<str>, StoreError> {
        self.0.did(id)
    }
}

/// The store as it was at one instant. Cheap to make, one for each request.
pub struct Snapshot {
    store: Store,
    epoch: u64,
    inner: fjall::Snapshot,
}

impl Snapshot {
    pub(super) fn new(store: Store) -> Self {
        let epoch = store.epoch();
        let inner = store.db().snapshot();
        Self { store, epoch, inner }
    }

    /// Whether nothing was committed since, nor is being committed.
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.is_multiple_of(2) && self.store.epoch() == self.epoch
    }
}

impl Snapshot {
    /// What `load` makes of one row and of what never changes, kept in `views` if it says so.
    pub fn view<T: Clone>(
        &self,
        views: &RowViews<T>,
        row: (Ks, &[u8]),
        load: impl FnOnce() -> Result<(T, bool), StoreError>,
    ) -> Result<T, StoreError> {
        self.store.rows().view(views, row, self.epoch, load)
    }

    /// A row of which something is made that is kept, here or in another cache; the row itself then need not be.
    pub fn once<T>(
        &self,
        ks: Ks,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        decoded(ks, self.read(ks, key, false)?, decode)
    }

    /// One value, to keep among the rows that are kept or not.
    fn read(&self, ks: Ks, key: &[u8], keep: bool) -> Result<Option<Slice>, StoreError> {
        let load = || Ok(self.inner.get(self.store.keyspace(ks)?, key)?.map(Slice));
        self.store.rows().get((ks, key), self.epoch, keep, load)
    }

    /// Whether a view of a row is kept that holds here.
    #[must_use]
    pub fn holds<T: Clone>(&self, views: &RowViews<T>, row: (Ks, &[u8])) -> bool {
        self.store.rows().holds(views, row, self.epoch)
    }

    /// The replies to a post, the newest first; `None` if they are many hundreds, to be read with
    /// [`Self::each_reply`].
    pub fn replies(&self, parent: PostId) -> Result<Option<Vec<PostId>>, StoreError> {
        let prefix = rows::order_prefix(rows::Order::Replies, Target::Post(parent));
        self.store.rows().list(&prefix, self.epoch, |most| {
            let mut posts = Vec::new();
            self.each_reply(parent, false, &mut |post| {
                posts.push(post);
                posts.len() <= most
            })?;
            Ok(posts)
        })
    }

    /// Visits the replies to a post, the newest first or the oldest first; `false` ends it.
    pub fn each_reply(
        &self,
        parent: PostId,
        oldest_first: bool,
        f: &mut dyn FnMut(PostId) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = rows::order_prefix(rows::Order::Replies, Target::Post(parent));
        let end = prefix_end(&prefix);
        self.scan(Ks::Order, &prefix, end.as_deref(), oldest_first, &mut |key, _| {
            let mut key = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            key.newest_first().and_then(|_| key.post()).is_none_or(&mut *f)
        })
    }
}

impl Reader for Snapshot {
    fn store(&self) -> &Store {
        &self.store
    }

    fn get(&self, ks: Ks, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        self.read(ks, key, true)
    }

    fn scan(
        &self,
        ks: Ks,
        lo: &[u8],
        hi: Option<&[u8]>,
        reverse: bool,
        f: Visit<'_>,
    ) -> Result<(), StoreError> {
        let keyspace = self.store.keyspace(ks)?;
        let iter = match hi {
            Some(hi) if lo >= hi => return Ok(()),
            Some(hi) => self.inner.range(keyspace, lo..hi),
            None => self.inner.range(keyspace, lo..),
        };
        visit(iter, reverse, f)
    }
}

/// Drives a scan of the engine.
pub(super) fn visit(iter: fjall::Iter, reverse: bool, f: Visit<'_>) -> Result<(), StoreError> {
    let mut step = |guard: fjall::Guard| -> Result<bool, StoreError> {
        let (k, v) = guard.into_inner()?;
        Ok(f(&k, &v))
    };
    if reverse {
        for guard in iter.rev() {
            if !step(guard)? {
                break;
            }
        }
    } else {
        for guard in iter {
            if !step(guard)? {
                break;
            }
        }
    }
    Ok(())
}
