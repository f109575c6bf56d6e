//! A small store for tests: rows are written as the index writes them, one call for each fact.

use std::sync::Arc;

use serde_json::Value;

use super::{HydrateCtx, HydrationSettings, Hydrator, Shared};
use crate::private::{self, Kind, Mute, Takedown};
use crate::repo::dag_cbor;
use crate::schema::rows::{
    ActorRow, Counter, EdgeKind, EdgeRow, FanRow, FeedRow, Kinds, LabelRow, Order, PostRow,
    RecordRow, SubjectCid, actor_key, fwd_key, handle_key, order_item_key, order_post_key,
    post_flags, rev_key,
};
use crate::schema::{ActorId, Edit, PostId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Snapshot, Store, Tx, Writer};
use crate::syntax::{cid, datetime};

/// The time in tests: 2023-11-14T22:13:20.000Z.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// A store in a temporary folder.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(HydrationSettings::new("https://appview.example"))
    }

    pub(crate) fn with(settings: HydrationSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let mut shared = Shared::new(&store, 100, settings).unwrap();
        shared.helpers = 1;
        let shared = Arc::new(shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { store, writer, shared, runtime, _dir: dir }
    }

    /// Changes something and waits for it.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> super::Result<T> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.writer.durable(job)).unwrap()
    }

    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The account `did:plc:NAME` with the handle `NAME.test` and a profile.
    pub(crate) fn account(&self, name: &str) -> ActorId {
        let handle = format!("{name}.test");
        let did = format!("did:plc:{name}");
        let id = self.write(move |tx| {
            let id = tx.intern_actor(&did)?;
            let row = ActorRow {
                handle: Some(handle.clone()),
                indexed: NOW,
                kinds: Kinds::ANY,
                ..ActorRow::default()
            };
            tx.put(Ks::Actor, &actor_key(id), &row.encode());
            tx.put(Ks::Actor, &handle_key(&handle), &id.0.to_be_bytes());
            tx.touch(id);
            Ok(id)
        });
        let profile = serde_json::json!({
            "$type": "app.bsky.actor.profile", "displayName": name.to_uppercase(),
            "createdAt": "2023-01-01T00:00:00.000Z",
        });
        self.record(id, "app.bsky.actor.profile", "self", profile);
        id
    }

    /// Changes the row of an account.
    pub(crate) fn update(&self, id: ActorId, change: impl FnOnce(&mut ActorRow) + Send + 'static) {
        self.write(move |tx| {
            let mut row = tx.actor(id)?.unwrap();
            change(&mut row);
            tx.put(Ks::Actor, &actor_key(id), &row.encode());
            tx.touch(id);
            Ok(())
        });
    }

    /// A valid record in a row of its own, with what else the index keeps of it.
    pub(crate) fn record(&self, actor: ActorId, nsid: &str, rkey: &str, value: Value) -> RecordId {
        let (nsid, rkey) = (nsid.to_owned(), rkey.to_owned());
        self.write(move |tx| {
            let id = RecordId { actor, coll: tx.intern_coll(&nsid)?, rkey: tx.intern_rkey(&rkey)? };
            let value = dag_cbor::from_json(&value);
            let digest = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
            let created =
                crate::repo::fields::text(&value, "createdAt").map(datetime::normalize_ms);
            let sort = created.unwrap_or(NOW).min(NOW);
            let (packed, cid) = tx.pack_record(&value, digest)?;
            let row = RecordRow { cid, indexed: NOW, sort, valid: true, packed };
            tx.put(Ks::Record, &id.to_bytes(), &row.encode());
            tx.touch(actor);
            let named = |key| crate::repo::fields::string(&value, key);
            match id.coll {
                c::LISTBLOCK => {
                    let list = tx.intern_target(&named("subject").unwrap())?.unwrap();
                    fan(tx, EdgeKind::ListBlock, list, actor, id.rkey, sort);
                }
                c::LISTITEM => {
                    let list = tx.intern_target(&named("list").unwrap())?.unwrap();
                    let member = tx.intern_actor(&named("subject").unwrap())?;
                    fan(tx, EdgeKind::ListItem, list, member, id.rkey, sort);
                    tx.put(
                        Ks::Order,
                        &order_item_key(list, sort, id.rkey),
                        &member.0.to_be_bytes(),
                    );
                    tx.count(list, Counter::Items, 1)?;
                }
                c::VERIFICATION => {
                    let subject = tx.intern_target(&named("subject").unwrap())?.unwrap();
                    fan(tx, EdgeKind::Verification, subject, actor, id.rkey, sort);
                    tx.touch(subject.actor());
                }
                _ => {}
            }
            Ok(id)
        })
    }

    /// A list of `members` by `owner`.
    pub(crate) fn list(
        &self,
        owner: ActorId,
        rkey: &str,
        purpose: &str,
        members: &[ActorId],
    ) -> RecordId {
        let list = serde_json::json!({
            "$type": "app.bsky.graph.list", "name": rkey, "purpose": purpose,
            "createdAt": "2023-02-01T00:00:00.000Z",
        });
        let id = self.record(owner, "app.bsky.graph.list", rkey, list);
        let uri = self.snapshot().uri(id).unwrap();
        for (member, i) in members.iter().zip(1..) {
            let item = serde_json::json!({
                "$type": "app.bsky.graph.listitem", "list": uri,
                "subject": &*self.snapshot().did(*member).unwrap(),
                "createdAt": datetime::format_ms(NOW - 100_000 + i),
            });
            self.record(owner, "app.bsky.graph.listitem", &format!("{rkey}-{i}"), item);
        }
        id
    }

    /// A like, repost, follow or block made at `sort` milliseconds.
    pub(crate) fn edge(&self, kind: EdgeKind, from: ActorId, target: Target, sort: i64) -> Rkey {
        self.write(move |tx| {
            let micros = u64::try_from(sort).unwrap() * 1000;
            let rkey = Rkey(crate::syntax::Tid::from_micros(micros, 0).as_u64());
            let cid = match target {
                Target::Actor(_) => SubjectCid::None,
                _ => SubjectCid::Own([7; 32]),
            };
            let row = EdgeRow { target, created_delta: 0, sort_delta: 0, cid, kept: false };
            tx.put(Ks::Fwd, &fwd_key(kind, from, rkey), &row.encode(rkey));
            fan(tx, kind, target, from, rkey, sort);
            match kind {
                EdgeKind::Follow => {
                    tx.count(target, Counter::Followers, 1)?;
                    tx.count(Target::Actor(from), Counter::Follows, 1)?;
                    tx.touch(target.actor());
                }
                EdgeKind::Like => drop(tx.count(target, Counter::Likes, 1)?),
                EdgeKind::Repost => drop(tx.count(target, Counter::Reposts, 1)?),
                _ => {}
            }
            tx.touch(from);
            Ok(rkey)
        })
    }

    /// A post made at `sort` milliseconds, with what the index keeps of it. `value` holds more fields, or none.
    pub(crate) fn post(&self, author: ActorId, sort: i64, value: Value) -> PostId {
        self.write(move |tx| {
            let micros = u64::try_from(sort).unwrap() * 1000;
            let rkey = Rkey(crate::syntax::Tid::from_micros(micros, 0).as_u64());
            let id = PostId { author, rkey };
            let mut record = serde_json::json!({
                "$type": "app.bsky.feed.post", "text": "hello",
                "createdAt": datetime::format_ms(sort),
            });
            for (key, field) in value.as_object().into_iter().flatten() {
                record[key] = field.clone();
            }
            let value = dag_cbor::from_json(&record);
            let parent = record["reply"]["parent"]["uri"].as_str().unwrap_or_default();
            let quoted = record["embed"]["record"]["uri"].as_str().unwrap_or_default();
            let mut flags = record["testFlags"].as_u64().map_or(0, |f| u16::try_from(f).unwrap());
            if let Some(parent @ Target::Post(p)) = tx.intern_target(parent)? {
                flags |= post_flags::REPLY;
                tx.put(Ks::Order, &order_post_key(Order::Replies, parent, sort, id), &[0]);
                tx.count(Target::Post(p), Counter::Replies, 1)?;
            }
            if let Some(quoted) = tx.intern_target(quoted)? {
                tx.put(Ks::Order, &order_post_key(Order::Quotes, quoted, sort, id), &[]);
            }
            let digest = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
            let (packed, cid) = tx.pack_record(&value, digest)?;
            let row = PostRow { flags, cid, sort_delta: 0, packed };
            tx.put(Ks::Post, &id.to_bytes(), &row.encode());
            let low = flags.to_be_bytes()[1];
            let entry = FeedRow { sort, rkey, flags: low, repost_of: None };
            tx.put(Ks::Feed, &entry.key(author), &entry.encode());
            tx.touch(author);
            Ok(id)
        })
    }

    /// A reference to a post as records hold it.
    pub(crate) fn strong_ref(&self, post: PostId) -> Value {
        let s = self.snapshot();
        let row = s.post(post).unwrap().unwrap();
        let cid = super::record::record_cid(&s.digest(row.cid, &row.packed).unwrap());
        serde_json::json!({ "uri": s.post_uri(post).unwrap(), "cid": cid })
    }

    /// A reply to `parent` in the thread of `root`.
    pub(crate) fn reply(&self, author: ActorId, sort: i64, root: PostId, parent: PostId) -> PostId {
        let reply =
            serde_json::json!({ "root": self.strong_ref(root), "parent": self.strong_ref(parent) });
        self.post(author, sort, serde_json::json!({ "reply": reply }))
    }

    /// A repost with its feed entry.
    pub(crate) fn repost(&self, from: ActorId, post: PostId, sort: i64) -> RecordId {
        let rkey = self.edge(EdgeKind::Repost, from, Target::Post(post), sort);
        self.write(move |tx| {
            let entry = FeedRow { sort, rkey, flags: 0, repost_of: Some(post) };
            tx.put(Ks::Feed, &entry.key(from), &entry.encode());
            tx.touch(from);
            Ok(RecordId { actor: from, coll: c::REPOST, rkey })
        })
    }

    pub(crate) fn follow(&self, from: ActorId, to: ActorId) -> Rkey {
        self.edge(EdgeKind::Follow, from, Target::Actor(to), NOW - i64::from(from.0))
    }

    pub(crate) fn block(&self, from: ActorId, to: ActorId) -> Rkey {
        self.edge(EdgeKind::Block, from, Target::Actor(to), NOW - i64::from(from.0))
    }

    pub(crate) fn mute(&self, viewer: ActorId, subject: ActorId) {
        self.write(move |tx| {
            private::testing::put_mute(tx, viewer, subject, Mute { at: NOW, ..Mute::default() })
        });
    }

    pub(crate) fn mute_list(&self, viewer: ActorId, list: RecordId) {
        let list = Some(Target::Record(list));
        self.write(move |tx| private::testing::put(tx, Kind::MutedList, viewer, list, NOW));
    }

    pub(crate) fn label(&self, src: ActorId, target: Target, val: &str) {
        let val = val.to_owned();
        self.write(move |tx| {
            let mut rows = tx.labels(target)?;
            rows.push(LabelRow {
                src,
                val,
                cid: String::new(),
                cts: datetime::format_ms(NOW),
                exp: String::new(),
                neg: false,
                sig: Vec::new(),
            });
            tx.put(Ks::Label, &target.key(), &LabelRow::encode_all(&rows));
            Ok(())
        });
    }

    pub(crate) fn take_down(&self, target: Target) {
        let subject = self.snapshot().target_text(target).unwrap();
        let takedown = Takedown { at: NOW, reference: "ref".into() };
        self.wait(self.shared.takedowns.set(&self.writer, subject, Some(takedown))).unwrap();
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    /// Calls `f` with a hydrator for `ctx` over what the store holds now.
    pub(crate) fn hydrate<T>(&self, ctx: &HydrateCtx, f: impl FnOnce(Hydrator<'_>) -> T) -> T {
        let snapshot = self.snapshot();
        f(Hydrator { snapshot: &snapshot, ctx, shared: &self.shared })
    }
}

/// A context for `viewer`, without labelers.
pub(crate) fn seen_by(viewer: Option<ActorId>) -> HydrateCtx {
    HydrateCtx { viewer, signed_in: viewer.is_some(), now: NOW, ..HydrateCtx::default() }
}

fn fan(tx: &mut Tx<'_>, kind: EdgeKind, target: Target, fan: ActorId, rkey: Rkey, sort: i64) {
    let sort_delta = sort - rkey.millis();
    let row = FanRow { rkey, sort_delta, duplicates: false, promoted: false };
    tx.put(Ks::Rev, &rev_key(kind, target, fan), &row.encode(target));
}
