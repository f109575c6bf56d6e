//! A store that is filled through events, and the records to fill it with.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::members::Door;
use super::{Index, Requests};
use crate::config::Scope;
use crate::event::{Body, Commit, Event, IdentityState, Op, Record};
use crate::private::Private;
use crate::schema::rows::{Counter, NotifRow, notif_prefix};
use crate::schema::{ActorId, PostId, Rkey, Rows, Target};
use crate::store::{Ks, Reader, Store, Writer};
use crate::syntax::{Did, Tid, cid};

pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) index: Arc<Index>,
    pub(crate) requests: Requests,
    pub(crate) revs: u64,
    _dir: tempfile::TempDir,
}

pub(crate) fn did(name: &str) -> Did {
    Did::parse(&format!("did:web:{name}.example")).unwrap()
}

pub(crate) fn tid(n: u64) -> String {
    Tid::from_micros(1_700_000_000_000_000 + n * 1_000_000, 1).to_string()
}

pub(crate) fn at(n: u64) -> String {
    crate::syntax::datetime::format_ms(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000)
}

pub(crate) fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<_, _>>())
}

pub(crate) fn text(s: impl Into<String>) -> Ipld {
    Ipld::String(s.into())
}

pub(crate) fn uri(who: &str, coll: &str, n: u64) -> String {
    format!("at://{}/{coll}/{}", did(who), tid(n))
}

pub(crate) const POST: &str = "app.bsky.feed.post";
pub(crate) const LIKE: &str = "app.bsky.feed.like";
pub(crate) const FOLLOW: &str = "app.bsky.graph.follow";
pub(crate) const BLOCK: &str = "app.bsky.graph.block";

pub(crate) fn strong(uri: &str) -> Ipld {
    map([("uri", text(uri)), ("cid", text(cid::for_record(uri.as_bytes()).to_string()))])
}

pub(crate) fn op(coll: &str, n: u64, value: Ipld) -> Op {
    let bytes = crate::repo::dag_cbor::encode(&value);
    let record = Record { cid: cid::digest(&cid::for_record(&bytes)).unwrap(), value, valid: true };
    Op { collection: coll.into(), rkey: tid(n).into(), record: Some(record), created: false }
}

pub(crate) fn gone(coll: &str, n: u64) -> Op {
    Op { collection: coll.into(), rkey: tid(n).into(), record: None, created: false }
}

pub(crate) fn post(n: u64) -> Op {
    op(POST, n, map([("$type", text(POST)), ("text", text("hi")), ("createdAt", text(at(n)))]))
}

pub(crate) fn reply(n: u64, root: &str, parent: &str) -> Op {
    let refs = map([("root", strong(root)), ("parent", strong(parent))]);
    op(
        POST,
        n,
        map([
            ("$type", text(POST)),
            ("text", text("re")),
            ("createdAt", text(at(n))),
            ("reply", refs),
        ]),
    )
}

pub(crate) fn quote(n: u64, of: &str) -> Op {
    let embed = map([("$type", text("app.bsky.embed.record")), ("record", strong(of))]);
    op(
        POST,
        n,
        map([
            ("$type", text(POST)),
            ("text", text("q")),
            ("createdAt", text(at(n))),
            ("embed", embed),
        ]),
    )
}

pub(crate) fn like(n: u64, of: &str) -> Op {
    op(LIKE, n, map([("$type", text(LIKE)), ("subject", strong(of)), ("createdAt", text(at(n)))]))
}

pub(crate) fn follow(n: u64, whom: &str) -> Op {
    on_account(FOLLOW, n, whom)
}

pub(crate) fn block(n: u64, whom: &str) -> Op {
    on_account(BLOCK, n, whom)
}

fn on_account(coll: &str, n: u64, whom: &str) -> Op {
    let v =
        [("$type", text(coll)), ("subject", text(did(whom).as_str())), ("createdAt", text(at(n)))];
    op(coll, n, map(v))
}

pub(crate) fn gate_nobody(n: u64, who: &str) -> Op {
    let coll = "app.bsky.feed.threadgate";
    let v = [
        ("$type", text(coll)),
        ("post", text(uri(who, POST, n))),
        ("createdAt", text(at(n))),
        ("allow", Ipld::List(vec![])),
    ];
    op(coll, n, map(v))
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let (index, requests) = Index::new(&store).unwrap();
        Self { store, writer, index: Arc::new(index), requests, revs: 0, _dir: dir }
    }

    /// The same store after a restart with another scope.
    pub(crate) fn restart(&mut self, mode: super::scope::Mode, days: u32) {
        self.restart_with(&Scope { mode, days, max_follows: 1000, ..Scope::default() });
    }

    pub(crate) fn restart_with(&mut self, scope: &Scope) {
        let (index, requests) = Index::new(&self.store).unwrap();
        self.index = Arc::new(index.scoped(&self.store, scope).unwrap());
        self.requests = requests;
    }

    pub(crate) async fn event(&self, who: &str, body: Body) {
        let index = Arc::clone(&self.index);
        let events = [Event::found_here(did(who), NOW, body)];
        self.writer.durable(move |tx| index.apply(tx, &events)).await.unwrap();
    }

    pub(crate) async fn commit(&mut self, who: &str, ops: impl Into<Vec<Op>>) {
        self.revs += 1;
        let rev = Tid::parse(&tid(self.revs)).unwrap();
        self.event(who, Body::Commit(Commit { rev, data: None, prev_data: None, ops: ops.into() }))
            .await;
    }

    /// Likes of so many accounts, `f0` and on, under the record keys 10 and on.
    pub(crate) async fn crowd(&mut self, n: u64, of: &str) {
        self.revs += 1;
        let rev = Tid::parse(&tid(self.revs)).unwrap();
        let of = of.to_owned();
        let commit =
            move |i| Commit { rev, data: None, prev_data: None, ops: vec![like(10 + i, &of)] };
        let event = move |i| Event::found_here(did(&format!("f{i}")), NOW, Body::Commit(commit(i)));
        let events: Vec<Event> = (0..n).map(event).collect();
        let index = Arc::clone(&self.index);
        self.writer.durable(move |tx| index.apply(tx, &events)).await.unwrap();
    }

    pub(crate) fn actor(&self, who: &str) -> ActorId {
        self.store.snapshot().actor_id(&did(who)).unwrap().unwrap()
    }

    pub(crate) fn post(&self, who: &str, n: u64) -> PostId {
        PostId { author: self.actor(who), rkey: Rkey(Tid::parse(&tid(n)).unwrap().as_u64()) }
    }

    pub(crate) fn count(&self, t: Target, c: Counter) -> u64 {
        self.store.snapshot().agg(t).unwrap().get(c)
    }

    pub(crate) fn flags(&self, p: PostId) -> u16 {
        self.store.snapshot().post(p).unwrap().unwrap().flags
    }

    pub(crate) fn notifs(&self, who: &str) -> Vec<(String, &'static str)> {
        let s = self.store.snapshot();
        let mut out = Vec::new();
        s.scan_prefix(Ks::Notif, &notif_prefix(self.actor(who)), &mut |k, v| {
            out.push(NotifRow::decode(k, v).unwrap().1);
            true
        })
        .unwrap();
        out.iter().map(|n| (s.did(n.author).unwrap().to_string(), n.reason.name())).collect()
    }

    pub(crate) async fn join(&self, who: &str) {
        let (private, actor) = (self.private(), self.actor(who));
        self.index.ensure_member(&self.store, &private, actor, NOW, Door::Open).await.unwrap();
    }

    pub(crate) fn private(&self) -> Private {
        Private::new(self.writer.clone(), Arc::clone(&self.index) as _)
    }

    pub(crate) fn rows(&self) -> BTreeMap<(Ks, Vec<u8>), Vec<u8>> {
        let s = self.store.snapshot();
        let mut out = BTreeMap::new();
        for ks in [
            Ks::Post,
            Ks::Fwd,
            Ks::Rev,
            Ks::Order,
            Ks::Feed,
            Ks::Agg,
            Ks::Record,
            Ks::Notif,
            Ks::Private,
        ] {
            s.scan(ks, &[], None, false, &mut |k, v| {
                out.insert((ks, k.to_vec()), v.to_vec());
                true
            })
            .unwrap();
        }
        out
    }
}

fn in_list(coll: &str, n: u64, key: &str, subject: &str) -> Op {
    let v = [
        ("$type", text(coll)),
        (key, text(subject)),
        (
            "subject",
            text(if key == "list" { did("c").as_str().to_owned() } else { subject.into() }),
        ),
        ("createdAt", text(at(n))),
    ];
    op(coll, n, map(v))
}

/// A store with one of everything, late ones included.
pub(crate) async fn filled() -> World {
    let mut w = World::new();
    let root = uri("a", POST, 1);
    w.commit("b", [like(2, &root), like(3, &root), reply(4, &root, &root), quote(5, &root)]).await;
    w.commit("a", [post(1), gate_nobody(1, "a"), post(20), follow(21, "b"), follow(22, "b")]).await;
    w.join("a").await;
    let list = uri("a", "app.bsky.graph.list", 30);
    let pack = uri("a", "app.bsky.graph.starterpack", 31);
    let named = |coll: &str, n| {
        let v = [("$type", text(coll)), ("name", text("n")), ("createdAt", text(at(n)))];
        op(coll, n, map(v))
    };
    let item = in_list("app.bsky.graph.listitem", 32, "list", &list);
    let ops = [
        named("app.bsky.graph.list", 30),
        named("app.bsky.graph.starterpack", 31),
        named("app.bsky.feed.generator", 33),
        named("com.example.other", 34),
        item,
    ];
    w.commit("a", ops).await;
    let mut profile =
        op("app.bsky.actor.profile", 1, map([("joinedViaStarterPack", strong(&pack))]));
    profile.rkey = "self".into();
    let mut via = like(40, &root);
    if let Some(Ipld::Map(m)) = via.record.as_mut().map(|r| &mut r.value) {
        m.insert("via".into(), strong(&root));
    }
    let via = op(LIKE, 40, via.record.unwrap().value);
    let repost = {
        let coll = "app.bsky.feed.repost";
        let v = [("$type", text(coll)), ("subject", strong(&root)), ("createdAt", text(at(41)))];
        op(coll, 41, map(v))
    };
    let list_block = in_list("app.bsky.graph.listblock", 42, "unused", &list);
    w.commit(
        "c",
        [
            profile,
            via,
            repost,
            like(44, &uri("nobody", POST, 9)),
            list_block,
            reply(43, &uri("a", POST, 20), &uri("a", POST, 20)),
        ],
    )
    .await;
    w.commit("b", [block(45, "a")]).await;
    let proof = IdentityState { handle: Some("a.example".into()), key: None, pds: None };
    w.event("a", Body::Identity(proof)).await;
    w
}
