//! The posts of a list in a store, found through its indexes.

use std::collections::HashMap;
use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::{FindError, PostSearch};
use crate::event::{Body, Commit, Event, IdentityState, Op};
use crate::index::members::Door;
use crate::index::testing::{FOLLOW, LIKE, NOW, POST, at, map, op, strong, text, tid};
use crate::private::bookmarks;
use crate::schema::{ActorId, PostId, Rows as _, Target};
use crate::search::index::testing::Found;
use crate::search::query::testing::Posts;
use crate::search::query::{Search, Sort, parse};
use crate::store::Tx;
use crate::syntax::{Did, Tid, datetime};

/// Those posts with their accounts, and whoever looks at them.
pub(crate) struct Indexed {
    found: Found,
    names: HashMap<PostId, String>,
    viewer: Option<ActorId>,
    revs: u64,
    runtime: tokio::runtime::Runtime,
}

impl Indexed {
    /// All of a list.
    pub(crate) fn of(posts: &Posts) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(Found::new());
        let mut all = Self { found, names: HashMap::new(), viewer: None, revs: 0, runtime };
        for did in posts.dids() {
            let handle = Some(did.replace("did:plc:", "") + ".test");
            all.event(&did, Body::Identity(IdentityState { handle, key: None, pds: None }));
        }
        for (name, did, sort, record) in posts.records() {
            let mut post = record.clone();
            if let Ipld::Map(fields) = &mut post {
                fields.insert("createdAt".into(), text(datetime::format_ms(sort)));
            }
            let mut op = op(POST, 1, post);
            op.rkey = name.into();
            all.commit(&did, op);
            let Some(Target::Post(post)) = all.target(&address(&did, name)) else {
                panic!("{name} is no post");
            };
            all.names.insert(post, name.to_owned());
        }
        all.look_as(posts);
        all.found.catch_up();
        all
    }

    fn look_as(&mut self, posts: &Posts) {
        let Some(viewer) = posts.who_looks() else { return };
        for (n, did) in posts.followed().into_iter().enumerate() {
            self.commit(&viewer, edge(FOLLOW, n as u64, text(did)));
        }
        for (n, (did, name)) in posts.liked().into_iter().enumerate() {
            self.commit(&viewer, edge(LIKE, n as u64, strong(&address(&did, &name))));
        }
        let world = &self.found.world;
        let actor = world.store.snapshot().actor_id(&viewer).unwrap().unwrap();
        let private = world.private();
        let join = world.index.ensure_member(&world.store, &private, actor, NOW, Door::Open);
        self.runtime.block_on(join).unwrap();
        for (did, name) in posts.bookmarked() {
            let (member, uri) = (Did::parse(&viewer).unwrap(), address(&did, &name));
            let add = private.change(move |r: &Tx<'_>| bookmarks::add(r, &member, &uri, "c", NOW));
            self.runtime.block_on(add).unwrap();
        }
        self.viewer = Some(actor);
    }

    /// Who looks goes.
    pub(crate) fn look_as_nobody(&mut self) {
        self.viewer = None;
    }

    fn target(&self, uri: &str) -> Option<Target> {
        self.found.world.store.snapshot().target(uri).unwrap()
    }

    fn commit(&mut self, did: &str, op: Op) {
        self.revs += 1;
        let rev = Tid::parse(&tid(self.revs)).unwrap();
        self.event(did, Body::Commit(Commit { rev, data: None, prev_data: None, ops: vec![op] }));
    }

    fn event(&self, did: &str, body: Body) {
        let index = Arc::clone(&self.found.world.index);
        let events = [Event::found_here(Did::parse(did).unwrap(), NOW, body)];
        let apply = self.found.world.writer.durable(move |tx| index.apply(tx, &events));
        self.runtime.block_on(apply).unwrap();
    }

    /// The names of the posts that fit a text, the oldest first, with a space between.
    pub(crate) fn find(&self, text: &str) -> String {
        let mut names = self.pages(text, Sort::Latest);
        names.reverse();
        let (mut newest, mut best) = (names.clone(), self.pages(text, Sort::Top));
        newest.sort_unstable();
        best.sort_unstable();
        assert_eq!(newest, best, "the best are the same ones: {text}");
        names.join(" ")
    }

    fn pages(&self, text: &str, sort: Sort) -> Vec<String> {
        let (seen, s) = (self.found.seen(), self.found.world.store.snapshot());
        let search =
            Search { query: parse(text).unwrap(), sort, only_recent: false, language: None };
        let nobody = |_: ActorId| false;
        let found = PostSearch::new(&seen, &s, &search, (self.viewer, NOW), &nobody).unwrap();
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let page = found.page(cursor.as_deref(), 5, Ok::<_, FindError>).unwrap();
            names.extend(page.posts.iter().map(|post| self.names[post].clone()));
            let Some(next) = page.cursor else { return names };
            cursor = Some(next);
        }
    }
}

fn address(did: &str, name: &str) -> String {
    format!("at://{did}/{POST}/{name}")
}

fn edge(collection: &str, n: u64, subject: Ipld) -> Op {
    let created = text(at(n));
    op(
        collection,
        n,
        map([("$type", text(collection)), ("subject", subject), ("createdAt", created)]),
    )
}
