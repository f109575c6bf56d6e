//! A store with those posts, and the indexes that follow it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aerie::changes::catch_up::{Step, rest, step};
use aerie::changes::{Follower, Log};
use aerie::event::{Body, Commit, Event, IdentityState, Op, Record};
use aerie::index::Index;
use aerie::repo::dag_cbor;
use aerie::schema::{ActorId, PostId, Rkey, Rows as _};
use aerie::search::find::{FindError, PostSearch};
use aerie::search::index::{Search as Indexes, Settings};
use aerie::search::query::{Search, Sort, parse};
use aerie::store::{Store, Writer};
use aerie::syntax::{Did, Tid, cid, datetime};
use serde_json::{Value, json};

use crate::judged::Post;

const NOW: i64 = 1_800_000_000_000;
const DAY: u64 = 86_400_000;
/// How old a post is that says nothing of it.
const DAYS: u64 = 3;
const POST: &str = "app.bsky.feed.post";
const LIKE: &str = "app.bsky.feed.like";
const AUTHORS: [&str; 6] = ["ann", "bea", "cem", "dov", "eva", "fay"];
const SETTINGS: Settings =
    Settings { commit_interval: Duration::ZERO, batch: 100, bytes: 64 << 20 };
/// Posts of a page.
const PAGE: usize = 100;

pub(crate) struct World {
    store: Store,
    writer: Writer,
    index: Arc<Index>,
    indexes: Arc<Indexes>,
    places: BTreeMap<PostId, usize>,
    revs: u64,
    _folder: tempfile::TempDir,
}

fn did(name: &str) -> Did {
    Did::parse(&format!("did:web:{name}.example")).unwrap()
}

fn op(rkey: Tid, record: &Value) -> Op {
    let value = dag_cbor::from_json(record);
    let cid = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
    Op {
        collection: record["$type"].as_str().unwrap().into(),
        rkey: rkey.to_string().into(),
        record: Some(Record { cid, value, valid: true }),
        created: false,
    }
}

fn record(post: &Post, created: u64) -> Value {
    let feature = |kind: &str, key: &str, value: &str| json!({"$type": format!("app.bsky.richtext.facet#{kind}"), key: value});
    let tags = post.tags.iter().map(|tag| feature("tag", "tag", tag));
    let links = post.links.iter().map(|link| feature("link", "uri", link));
    let mentions = post.mentions.iter().map(|name| feature("mention", "did", &did(name)));
    let features: Vec<_> = tags.chain(links).chain(mentions).collect();
    let mut record = json!({
        "$type": POST, "text": post.text, "createdAt": datetime::format_ms(created as i64),
        "facets": [{"features": features, "index": {"byteStart": 0, "byteEnd": 1}}],
    });
    if let Some(alt) = &post.alt {
        record["embed"] = json!({"$type": "app.bsky.embed.images", "images": [{"alt": alt}]});
    }
    if let Some((title, description)) = &post.card {
        let external =
            json!({"uri": "https://card.invalid/", "title": title, "description": description});
        record["embed"] = json!({"$type": "app.bsky.embed.external", "external": external});
    }
    record
}

impl World {
    pub(crate) async fn new(posts: &[Post]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let indexes = Arc::new(Indexes::new(&folder.path().join("search"), SETTINGS));
        let follower = Arc::clone(&indexes) as Arc<dyn Follower>;
        let log = Log::start(&store, &writer, vec![follower]).await.unwrap();
        let index = Arc::new(Index::new(&store).unwrap().0.logging(Arc::clone(&log)));
        let places = BTreeMap::new();
        let mut world = Self { store, writer, index, indexes, places, revs: 0, _folder: folder };
        world.fill(posts).await;
        while step(&log, &*world.indexes).unwrap() == Step::Moved {}
        rest(&log, &*world.indexes).unwrap();
        world
    }

    async fn fill(&mut self, posts: &[Post]) {
        for name in AUTHORS {
            let handle = Some(format!("{name}.example"));
            self.event(name, Body::Identity(IdentityState { handle, key: None, pds: None })).await;
        }
        let key = |place: usize| Tid::from_micros(NOW as u64 * 1000 - 1_000_000 + place as u64, 1);
        for (place, post) in posts.iter().enumerate() {
            let author = AUTHORS[(post.name as usize - 'a' as usize) % AUTHORS.len()];
            // Within a group the first is the oldest.
            let age = post.days.unwrap_or(DAYS) * DAY - (post.name as u64 - 'a' as u64) * 60_000;
            let record = record(post, NOW as u64 - age);
            self.commit(author, op(key(place), &record)).await;
            let uri = format!("at://{}/{POST}/{}", did(author), key(place));
            let cid = cid::for_record(uri.as_bytes()).to_string();
            let like = json!({"$type": LIKE, "subject": {"uri": uri, "cid": cid},
                "createdAt": record["createdAt"]});
            for number in 0..post.likes {
                self.commit(&format!("fan{number}"), op(key(place), &like)).await;
            }
            let author = self.store.snapshot().actor_id(&did(author)).unwrap().unwrap();
            self.places.insert(PostId { author, rkey: Rkey(key(place).as_u64()) }, place);
        }
    }

    async fn commit(&mut self, who: &str, op: Op) {
        self.revs += 1;
        let rev = Tid::from_micros(self.revs * 1000, 1);
        let commit = Commit { rev, data: None, prev_data: None, ops: vec![op] };
        self.event(who, Body::Commit(commit)).await;
    }

    async fn event(&self, who: &str, body: Body) {
        let index = Arc::clone(&self.index);
        let events = [Event::found_here(did(who), NOW, body)];
        self.writer.visible(move |tx| index.apply(tx, &events)).await.unwrap();
    }

    /// What somebody finds who types this: places of posts.
    pub(crate) fn search(&self, text: &str, sort: Sort) -> Vec<usize> {
        let (seen, s) = (self.indexes.seen().unwrap(), self.store.snapshot());
        let search =
            Search { query: parse(text).unwrap(), sort, only_recent: false, language: None };
        let nobody = |_: ActorId| false;
        let found = PostSearch::new(&seen, &s, &search, (None, NOW), &nobody).unwrap();
        let (mut out, mut cursor) = (Vec::new(), None);
        loop {
            // However the clock cuts the pages.
            let page = found.page(cursor.as_deref(), PAGE, Ok::<_, FindError>).unwrap();
            out.extend(page.posts.into_iter().map(|post| self.places[&post]));
            let Some(next) = page.cursor else { return out };
            cursor = Some(next);
        }
    }
}
