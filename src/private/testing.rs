//! Private rows for tests: written without the rules of plans, by numbers; and a store that changes go through.

use serde_json::Value;

use super::apply::Private;
use super::bookmarks::{self, Bookmark};
use super::change::{Change, Plan};
use super::drafts::{self, Draft};
use super::registrations::{self, Registration};
use super::subscriptions::{self, Subscription};
use super::timed::{self, Kind};
use super::{Mute, Takedown, community, mutes, opt_outs, portable, preferences, takedowns};
use crate::schema::{ActorId, Edit, PostId, Rows, Target};
use crate::store::{Snapshot, Store, StoreError, Tx, Writer};
use crate::syntax::Tid;

/// An account.
pub(crate) const DID: &str = "did:plc:me";
/// Another one.
pub(crate) const OTHER: &str = "did:plc:you";

type Done = Result<(), StoreError>;

/// A row of this kind, whatever it would mean to others; one that is there keeps its time, but for what was seen.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    kind: Kind,
    viewer: ActorId,
    subject: Option<Target>,
    at: i64,
) -> Done {
    let held = timed::get(tx, kind, viewer, subject)?.filter(|_| kind != Kind::Seen);
    timed::write(tx, kind, viewer, subject, held.unwrap_or(at));
    Ok(())
}

pub(crate) fn put_mute(tx: &mut Tx<'_>, viewer: ActorId, subject: ActorId, mute: Mute) -> Done {
    mutes::write(tx, viewer, subject, mute);
    Ok(())
}

pub(crate) fn put_preferences(tx: &mut Tx<'_>, viewer: ActorId, json: &str) {
    preferences::write(tx, viewer, json);
}

pub(crate) fn set_takedown(tx: &mut Tx<'_>, target: Target, takedown: Option<&Takedown>) {
    takedowns::set(&(), tx, target, takedown);
}

pub(crate) fn set_blob_takedown(
    tx: &mut Tx<'_>,
    owner: ActorId,
    cid: &str,
    takedown: Option<&Takedown>,
) {
    takedowns::set_blob(tx, owner, cid, takedown);
}

pub(crate) fn set_opt_out(tx: &mut Tx<'_>, actor: ActorId, since: Option<i64>) {
    match since {
        Some(at) => opt_outs::set(tx, actor, at),
        None => opt_outs::remove(tx, actor),
    }
}

pub(crate) fn bookmark(tx: &mut Tx<'_>, viewer: ActorId, post: PostId, cid: &str, at: i64) -> Done {
    if bookmarks::get(tx, viewer, post)?.is_some() {
        return Ok(());
    }
    let key = bookmarks::next_key(tx, viewer, at)?;
    bookmarks::write(tx, viewer, post, &Bookmark { key, cid: cid.to_owned() })
}

pub(crate) fn draft(
    tx: &mut Tx<'_>,
    owner: ActorId,
    json: String,
    at: i64,
) -> Result<Tid, StoreError> {
    let at = drafts::next_update(tx, owner, at)?;
    let id = Tid::from_micros(u64::try_from(at).unwrap() * 1000, 0);
    drafts::write(tx, owner, id, &Draft { created: at, updated: at, json })?;
    Ok(id)
}

pub(crate) fn subscribe(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    account: ActorId,
    to: Subscription,
) -> Done {
    subscriptions::write(tx, viewer, account, to);
    Ok(())
}

pub(crate) fn register(tx: &mut Tx<'_>, viewer: ActorId, new: &Registration) -> Done {
    registrations::write(tx, viewer, new);
    Ok(())
}

/// Another version of a post that is there has that one's time of coming.
pub(crate) fn community_post(
    tx: &mut Tx<'_>,
    post: PostId,
    new: &community::NewPost,
    at: i64,
) -> Done {
    let indexed = community::get(tx, post)?.map_or(at, |old| old.indexed);
    community::write(tx, post, new, indexed)
}

/// A store of its own.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) private: Private,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let private = Private::new(writer.clone(), std::sync::Arc::new(()));
        Self { store, writer, private, _dir: dir }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    pub(crate) fn actor(&self, did: &str) -> ActorId {
        self.snapshot().actor_id(did).unwrap().unwrap()
    }

    pub(crate) async fn intern(&self, did: &'static str) -> ActorId {
        self.write(move |tx| tx.intern_actor(did)).await
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.writer.durable(job).await.unwrap()
    }

    pub(crate) async fn change<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Tx<'_>) -> Plan<T> + Send + 'static,
    ) -> T {
        self.private.change(plan).await.unwrap()
    }

    pub(crate) async fn apply(&self, changes: &[Change]) {
        let changes = changes.to_vec();
        self.change(move |_| Ok((changes, ()))).await;
    }

    pub(crate) async fn forget(&self, did: &str, most: usize) -> bool {
        let actor = self.actor(did);
        self.write(move |tx| super::forget(tx, actor, most)).await
    }

    /// Everything as it is exported.
    pub(crate) fn lines(&self) -> Vec<String> {
        let s = self.snapshot();
        let (mut out, mut next) = (Vec::new(), None);
        loop {
            let page = portable::page(&s, next.as_deref()).unwrap();
            assert_eq!(page.left_out, 0);
            out.extend(page.rows.iter().map(|row| serde_json::to_string(row).unwrap()));
            next = page.next;
            if next.is_none() {
                return out;
            }
        }
    }

    /// The same, in an order that no store numbers decide.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort_unstable();
        lines
    }
}

/// A draft that its lexicon allows.
pub(crate) fn a_draft(text: &str) -> Value {
    serde_json::json!({ "posts": [{ "text": text }] })
}
