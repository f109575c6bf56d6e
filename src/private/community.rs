//! Community posts (`community.blacksky.feed.*`), rows of the `private` keyspace: their content is nowhere else, the
//! author's repo has only a stub that names its CID.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `c` | post | when it came, its `sortAt`, SHA-256 of the record, what was submitted |
//! | `e` | `sortAt` (newest first), post | |
//! | `a` | author, `sortAt` (newest first), post | |
//!
//! Under a community post that it replies to or quotes, and under whom it mentions, a post is in the `order` keyspace and
//! counted, as posts of the network are. Quotes of those are not: what the community says is not to be seen from outside.
//!
//! # Invariants
//! - A row `c` has its rows `e` and `a`, and its rows in `order`; there are no others.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table};
use super::names::{Time, owned};
use crate::lexicon::catalog;
use crate::repo::dag_cbor;
use crate::repo::fields::{field, text};
use crate::schema::bytes::{ByteReader, push_zigzag};
use crate::schema::rows::{Counter, Order, order_post_key};
use crate::schema::{ActorId, Edit, Key, PostId, RecordId, Rkey, Rows, Target, collections};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::syntax::{Tid, cid, datetime, is_did};

const CONTENT: u8 = b'c';
const BY_TIME: u8 = b'e';
const BY_AUTHOR: u8 = b'a';

const COLLECTION: &str = "community.blacksky.feed.post";

/// What is kept of a submission besides the members of the record: they say how the post is shown and who may answer.
const BESIDE: [&str; 4] = ["labels", "tags", "threadgateAllow", "embeddingRules"];

/// A submission that can be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPost {
    /// The members of `community.blacksky.feed.submitPost` that are kept.
    pub content: Ipld,
    /// SHA-256 of the record.
    pub cid: [u8; 32],
    /// `createdAt`, milliseconds.
    pub created: i64,
}

impl NewPost {
    /// Reads the input of `community.blacksky.feed.submitPost`, which passed its lexicon. `None` if `createdAt` is not in
    /// the form of `Date.toISOString`, by which its time is certain, or if it nests too deep for a record.
    #[must_use]
    pub fn read(input: &Ipld) -> Option<Self> {
        let created = text(input, "createdAt")?;
        let ms =
            datetime::parse_strict(created).filter(|ms| datetime::format_ms(*ms) == created)?;
        let Ipld::Map(mut content) = record(input) else { return None };
        content.remove("$type");
        let is_reply = content.contains_key("reply");
        // Only the first post of a thread says who may reply.
        let beside = BESIDE.into_iter().filter(|key| !is_reply || *key != "threadgateAllow");
        content.extend(beside.filter_map(|key| Some((key.to_owned(), field(input, key)?.clone()))));
        let content = Ipld::Map(content);
        dag_cbor::decode(&dag_cbor::encode(&content)).ok()?;
        let cid = cid::digest(&cid::for_record(&dag_cbor::encode(&record(&content))))?;
        Some(Self { content, cid, created: ms })
    }
}

/// The record whose CID clients compute: empty lists are left out, references are no more than URI and CID.
fn record(content: &Ipld) -> Ipld {
    let mut out = BTreeMap::from([("$type".to_owned(), Ipld::String(COLLECTION.to_owned()))]);
    for key in ["text", "createdAt", "facets", "langs", "embed"] {
        match field(content, key) {
            None => {}
            Some(Ipld::List(list)) if list.is_empty() => {}
            Some(value) => drop(out.insert(key.to_owned(), value.clone())),
        }
    }
    let strong = |of: &Ipld| {
        let parts = ["uri", "cid"].map(|key| Some((key.to_owned(), field(of, key)?.clone())));
        Ipld::Map(parts.into_iter().flatten().collect())
    };
    if let Some(reply) = field(content, "reply") {
        let parts =
            ["root", "parent"].map(|key| Some((key.to_owned(), strong(field(reply, key)?))));
        out.insert("reply".to_owned(), Ipld::Map(parts.into_iter().flatten().collect()));
    }
    Ipld::Map(out)
}

/// The record as views show it: one of `app.bsky.feed.post`, which is what clients read.
#[must_use]
pub fn shown(content: &Ipld) -> Ipld {
    let Ipld::Map(mut out) = record(content) else { return Ipld::Null };
    out.insert("$type".to_owned(), Ipld::String("app.bsky.feed.post".to_owned()));
    for key in ["labels", "tags"] {
        out.extend(field(content, key).map(|value| (key.to_owned(), value.clone())));
    }
    Ipld::Map(out)
}

/// A community post that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// When it came, milliseconds.
    pub indexed: i64,
    /// `sortAt`, milliseconds.
    pub sort: i64,
    /// SHA-256 of the record.
    pub cid: [u8; 32],
    /// [`NewPost::content`], packed.
    pub packed: Vec<u8>,
}

impl Held {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.cid.to_vec();
        push_zigzag(&mut out, self.indexed);
        push_zigzag(&mut out, self.sort);
        out.extend_from_slice(&self.packed);
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (cid, indexed, sort) = (r.array()?, r.zigzag()?, r.zigzag()?);
        Some(Self { indexed, sort, cid, packed: r.rest().to_vec() })
    }
}

fn content_key(post: PostId) -> Key {
    Key::tag(CONTENT).post(post)
}

fn of_author(author: ActorId) -> Key {
    Key::tag(BY_AUTHOR).actor(author)
}

fn listed_keys(post: PostId, sort: i64) -> [Key; 2] {
    [
        Key::tag(BY_TIME).newest_first(sort).post(post),
        of_author(post.author).newest_first(sort).post(post),
    ]
}

/// Which post a row `c` is.
pub(crate) fn content_row(k: &[u8], v: &[u8]) -> Option<(PostId, Held)> {
    let mut r = ByteReader::new(k);
    let (tag, post) = (r.u8()?, r.post()?);
    let whole = tag == CONTENT && r.is_empty() && post.is_community();
    whole.then_some((post, Held::decode(v)?))
}

/// The time and the post of a row `e` or `a`.
pub(crate) fn listed_row(k: &[u8]) -> Option<(i64, PostId)> {
    let mut r = ByteReader::new(k);
    let author = match r.u8()? {
        BY_TIME => None,
        BY_AUTHOR => Some(r.actor()?),
        _ => return None,
    };
    let (sort, post) = (r.newest_first()?, r.post()?);
    let whole = r.is_empty() && post.is_community();
    (whole && author.is_none_or(|author| author == post.author)).then_some((sort, post))
}

/// Whether the rows `e` and `a` of a post are there.
pub(crate) fn is_listed<R: Reader + ?Sized>(
    r: &R,
    post: PostId,
    sort: i64,
) -> Result<bool, StoreError> {
    let [by_time, by_author] = listed_keys(post, sort);
    Ok(r.has(Ks::Private, &by_time)? && r.has(Ks::Private, &by_author)?)
}

/// A community post.
pub fn get<R: Reader + ?Sized>(r: &R, post: PostId) -> Result<Option<Held>, StoreError> {
    r.row(Ks::Private, &content_key(post), Held::decode)
}

/// Whether a community post is held.
pub fn has<R: Reader + ?Sized>(r: &R, post: PostId) -> Result<bool, StoreError> {
    r.has(Ks::Private, &content_key(post))
}

/// Visits the posts of everybody or of one author, the newest first, those of `from` milliseconds included, until `f`
/// says `false`.
pub fn scan<R: Reader + ?Sized>(
    r: &R,
    author: Option<ActorId>,
    from: Option<i64>,
    f: &mut dyn FnMut(i64, PostId) -> bool,
) -> Result<(), StoreError> {
    let prefix = author.map_or_else(|| Key::tag(BY_TIME), of_author);
    let end = prefix_end(&prefix);
    let lo = match from {
        Some(ms) => prefix.newest_first(ms),
        None => prefix,
    };
    r.scan(Ks::Private, &lo, end.as_deref(), false, &mut |k, _| {
        listed_row(k).is_none_or(|(sort, post)| f(sort, post))
    })
}

/// How many posts an author has, counted up to `most`.
pub fn count<R: Reader + ?Sized>(r: &R, author: ActorId, most: usize) -> Result<usize, StoreError> {
    let mut count = 0;
    if most > 0 {
        scan(r, Some(author), None, &mut |_, _| {
            count += 1;
            count < most
        })?;
    }
    Ok(count)
}

/// The URIs of the post's parent and of the record that it embeds.
fn subjects(content: &Ipld) -> [Option<&str>; 2] {
    let parent = field(content, "reply").and_then(|reply| field(reply, "parent"));
    let embed = field(content, "embed");
    let embedded = embed.and_then(|embed| field(embed, "record"));
    let embedded = match embed.and_then(|embed| text(embed, "$type")) {
        Some("app.bsky.embed.record") => embedded,
        Some("app.bsky.embed.recordWithMedia") => embedded.and_then(|inner| field(inner, "record")),
        _ => None,
    };
    [parent, embedded].map(|of| text(of?, "uri"))
}

/// The DIDs that the post's facets mention.
fn mentioned(content: &Ipld) -> impl Iterator<Item = &str> {
    let list = |of, key| match field(of, key) {
        Some(Ipld::List(list)) => list.as_slice(),
        _ => &[],
    };
    let features = list(content, "facets").iter().flat_map(move |facet| list(facet, "features"));
    features
        .filter(|feature| text(feature, "$type") == Some("app.bsky.richtext.facet#mention"))
        .filter_map(|feature| text(feature, "did"))
        .filter(|did| is_did(did))
}

/// Under what a post is listed: community posts, and accounts that it mentions.
pub(crate) fn lists<R: Reader + ?Sized>(
    r: &R,
    content: &Ipld,
) -> Result<Vec<(Order, Target)>, StoreError> {
    let mut out = Vec::new();
    for (order, uri) in [Order::Replies, Order::Quotes].into_iter().zip(subjects(content)) {
        if let Some(uri) = uri
            && let Some(under) = r.target(uri)?.filter(|target| target.is_community())
        {
            out.push((order, under));
        }
    }
    for did in mentioned(content) {
        out.extend(r.actor_id(did)?.map(|actor| (Order::Mentions, Target::Actor(actor))));
    }
    Ok(out)
}

fn list(
    tx: &mut Tx<'_>,
    post: PostId,
    sort: i64,
    content: &Ipld,
    add: bool,
) -> Result<(), StoreError> {
    for (order, under) in lists(tx, content)? {
        let key = order_post_key(order, under, sort, post);
        match add {
            true => tx.put(Ks::Order, &key, &[0]),
            false => tx.del(Ks::Order, &key),
        }
        let counter = match order {
            Order::Replies => Counter::Replies,
            Order::Quotes => Counter::Quotes,
            _ => continue,
        };
        tx.count(under, counter, if add { 1 } else { -1 })?;
    }
    for key in listed_keys(post, sort) {
        match add {
            true => tx.put(Ks::Private, &key, &[]),
            false => tx.del(Ks::Private, &key),
        }
    }
    Ok(())
}

/// Keeps a post that came at `indexed`, in place of another version.
pub(super) fn write(
    tx: &mut Tx<'_>,
    post: PostId,
    new: &NewPost,
    indexed: i64,
) -> Result<(), StoreError> {
    remove(tx, post)?;
    for name in subjects(&new.content).into_iter().flatten().chain(mentioned(&new.content)) {
        tx.intern_target(name)?;
    }
    let (sort, packed) = (new.created.min(indexed), tx.pack(&new.content)?);
    let held = Held { indexed, sort, cid: new.cid, packed };
    tx.put(Ks::Private, &content_key(post), &held.encode());
    list(tx, post, sort, &new.content, true)
}

fn remove(tx: &mut Tx<'_>, post: PostId) -> Result<bool, StoreError> {
    let Some(held) = get(tx, post)? else { return Ok(false) };
    let content = tx.unpack(&held.packed)?;
    tx.del(Ks::Private, &content_key(post));
    list(tx, post, held.sort, &content, false)?;
    Ok(true)
}

/// Takes a post away with what it means to others; `false` if it is not there.
pub(super) fn take(
    effects: &dyn Effects,
    tx: &mut Tx<'_>,
    post: PostId,
) -> Result<bool, StoreError> {
    if !has(tx, post)? {
        return Ok(false);
    }
    effects.post_going(tx, post)?;
    remove(tx, post)
}

/// The post of an author under a record key, if that is a TID of our time.
#[must_use]
pub fn id(actor: ActorId, rkey: &str) -> Option<PostId> {
    let rkey = Rkey(Tid::parse(rkey)?.as_u64());
    PostId::of(RecordId { actor, coll: collections::COMMUNITY_POST, rkey })
}

/// Keeps a post that came `at`; another version of one that is there has that one's time of coming. `false` if the author
/// has `most` posts already.
pub fn submit<R: Reader>(
    r: &R,
    viewer: &str,
    rkey: &str,
    new: &NewPost,
    at: i64,
    most: usize,
) -> Plan<bool> {
    let post = r.actor_id(viewer)?.and_then(|author| id(author, rkey));
    let held = post.map_or(Ok(None), |post| get(r, post))?;
    let posts = post.map_or(Ok(0), |post| count(r, post.author, most))?;
    if held.is_none() && posts >= most {
        return nothing(false);
    }
    let row = Submitted {
        viewer: viewer.to_owned(),
        rkey: rkey.to_owned(),
        indexed_at: Time(held.map_or(at, |held| held.indexed)),
        post: dag_cbor::to_json(&new.content),
    };
    Ok((vec![Change::Put(Row::CommunityPost(row))], true))
}

/// Takes a post of the author's away; `false` if there is none under this URI.
pub fn delete<R: Reader>(r: &R, viewer: &str, uri: &str) -> Plan<bool> {
    let author = r.actor_id(viewer)?;
    match r.target(uri)? {
        Some(Target::Post(post))
            if post.is_community() && Some(post.author) == author && has(r, post)? =>
        {
            let (viewer, rkey) = (viewer.to_owned(), r.rkey_text(post.record().rkey)?);
            let key = RowKey::CommunityPost(SubmittedKey { viewer, rkey });
            Ok((vec![Change::Gone(key)], true))
        }
        _ => nothing(false),
    }
}

/// A community post as it was submitted, in names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Submitted {
    pub viewer: String,
    pub rkey: String,
    pub indexed_at: Time,
    pub post: Value,
}

/// What it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct SubmittedKey {
    pub viewer: String,
    pub rkey: String,
}

owned!(viewer: Submitted);

impl Kept for Submitted {
    type Key = SubmittedKey;
    const TABLES: &'static [Table] = &[
        Table {
            tag: CONTENT,
            goes: Goes::WithPosts,
            export: Export::Rows,
            whole: |k, v| content_row(k, v).is_some(),
        },
        Table { tag: BY_TIME, goes: Goes::WithRow, export: Export::Nothing, whole: listed },
        Table { tag: BY_AUTHOR, goes: Goes::WithRow, export: Export::Nothing, whole: listed },
    ];

    fn check(&self) -> Result<(), String> {
        let made = id(ActorId(0), &self.rkey);
        made.ok_or_else(|| format!("rkey {:?} is not a TID of our time", self.rkey))?;
        let Value::Object(mut input) = self.post.clone() else {
            return Err("post is not an object".to_owned());
        };
        input.insert("rkey".to_owned(), self.rkey.clone().into());
        let schema = catalog().method("community.blacksky.feed.submitPost");
        let checked = schema.map(|s| s.validate_input(&Value::Object(input)));
        checked.unwrap_or(Ok(())).map_err(|invalid| invalid.to_string())?;
        let whole = NewPost::read(&dag_cbor::from_json(&self.post));
        whole.map(drop).ok_or_else(|| "post cannot be kept".to_owned())
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((id, held)) = content_row(k, v) else { return Ok(None) };
        let (viewer, rkey) = (r.did(id.author)?.to_string(), r.rkey_text(id.record().rkey)?);
        let (indexed_at, post) = (Time(held.indexed), dag_cbor::to_json(&r.unpack(&held.packed)?));
        Ok(Some(Self { viewer, rkey, indexed_at, post }))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let post = r.actor_id(&self.viewer)?.and_then(|author| id(author, &self.rkey));
        let held = post.map_or(Ok(false), |post| has(r, post))?;
        let new = (!held).then(|| Change::Put(Row::CommunityPost(self.clone())));
        Ok(new.into_iter().collect())
    }

    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let new = NewPost::read(&dag_cbor::from_json(&self.post));
        let post = id(tx.intern_actor(&self.viewer)?, &self.rkey);
        let Some((post, new)) = post.zip(new) else { return Ok(()) };
        take(effects, tx, post)?;
        write(tx, post, &new, self.indexed_at.0)?;
        effects.post_kept(tx, post, self.indexed_at.0)
    }

    fn remove(
        key: &SubmittedKey,
        effects: &dyn Effects,
        tx: &mut Tx<'_>,
    ) -> Result<(), StoreError> {
        match tx.actor_id(&key.viewer)?.and_then(|author| id(author, &key.rkey)) {
            Some(post) => take(effects, tx, post).map(drop),
            None => Ok(()),
        }
    }
}

fn listed(k: &[u8], v: &[u8]) -> bool {
    listed_row(k).is_some() && v.is_empty()
}

/// Up to `most` posts of an author.
pub fn some_of<R: Reader + ?Sized>(
    r: &R,
    author: ActorId,
    most: usize,
) -> Result<Vec<PostId>, StoreError> {
    let mut posts = Vec::new();
    r.scan_prefix(Ks::Private, &Key::tag(CONTENT).actor(author), &mut |k, _| {
        posts.extend(ByteReader::new(k.get(1..).unwrap_or_default()).post());
        posts.len() < most
    })?;
    Ok(posts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::private::testing;
    use crate::store::{Store, Writer};

    const BASE: &str = "at://did:plc:me/community.blacksky.feed.post/";

    fn at(n: i64) -> String {
        datetime::format_ms(1_700_000_000_000 + n)
    }

    fn new(value: Value) -> NewPost {
        NewPost::read(&dag_cbor::from_json(&value)).unwrap()
    }

    #[test]
    fn the_record_is_what_clients_hash() {
        let strong = json!({ "uri": format!("{BASE}3kaaaaaaaaa2a"), "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a" });
        let plain = new(json!({ "text": "hi", "createdAt": at(0) }));
        let more = new(json!({
            "text": "hi", "createdAt": at(0), "facets": [], "langs": [], "tags": ["t"],
            "expectedCid": "x", "rkey": "y", "labels": { "values": [] }, "threadgateAllow": [],
        }));
        assert_eq!(plain.cid, more.cid);
        let expect =
            dag_cbor::from_json(&json!({ "$type": COLLECTION, "text": "hi", "createdAt": at(0) }));
        assert_eq!(record(&more.content), expect);
        assert_eq!(cid::digest(&cid::for_record(&dag_cbor::encode(&expect))), Some(plain.cid));
        let keys = |of: &Ipld| match of {
            Ipld::Map(map) => map.keys().cloned().collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        assert_eq!(keys(&more.content), "createdAt labels tags text threadgateAllow");
        let mut odd = strong.clone();
        odd["more"] = json!(1);
        let reply = |of: &Value| {
            new(
                json!({ "text": "x", "createdAt": at(0), "threadgateAllow": [], "reply": { "root": strong, "parent": of } }),
            )
        };
        assert_eq!(reply(&odd), reply(&strong));
        assert_eq!(keys(&reply(&odd).content), "createdAt reply text");
        assert_eq!(text(&shown(&more.content), "$type"), Some("app.bsky.feed.post"));
        for created in
            ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.0000Z", "2023-11-14T22:13:20.000+00:00"]
        {
            assert_eq!(
                NewPost::read(&dag_cbor::from_json(&json!({ "text": "", "createdAt": created }))),
                None
            );
        }
        let mut deep = json!(0);
        for _ in 0..80 {
            deep = json!([deep]);
        }
        let deep =
            json!({ "text": "", "createdAt": at(0), "embed": { "$type": "a.b.c", "x": deep } });
        assert_eq!(NewPost::read(&dag_cbor::from_json(&deep)), None);
    }

    #[tokio::test]
    async fn posts_come_newest_first_count_and_go_with_the_account() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let id = |tx: &mut Tx<'_>, who: &str, n: char| -> PostId {
            let uri = format!("at://did:plc:{who}/{COLLECTION}/3kaaaaaaaaa{n}a");
            let Ok(Some(Target::Post(post))) = tx.intern_target(&uri) else { panic!("{uri}") };
            assert_eq!(tx.post_uri(post).unwrap(), uri);
            assert_eq!(Target::of(post.record()), Target::Post(post));
            post
        };
        let (me, root, other) = writer
            .durable(move |tx| {
                let (root, reply, other) =
                    (id(tx, "me", '2'), id(tx, "me", '3'), id(tx, "you", '2'));
                let strong = json!({ "uri": tx.post_uri(root)?, "cid": "c" });
                let thread = json!({ "root": strong, "parent": strong });
                let quote = json!({ "$type": "app.bsky.embed.record", "record": strong });
                testing::community_post(
                    tx,
                    root,
                    &new(json!({ "text": "a", "createdAt": at(1) })),
                    i64::MAX,
                )?;
                let answer = json!({ "text": "b", "createdAt": at(9), "reply": thread });
                testing::community_post(tx, reply, &new(answer.clone()), 1_700_000_000_002)?;
                testing::community_post(tx, reply, &new(answer), 1_700_000_000_005)?;
                testing::community_post(
                    tx,
                    other,
                    &new(json!({ "text": "c", "createdAt": at(3), "embed": quote })),
                    i64::MAX,
                )?;
                Ok((root.author, root, other))
            })
            .await
            .unwrap();
        let listed = |author, from: Option<i64>| {
            let mut out = Vec::new();
            let from = from.map(|n| 1_700_000_000_000 + n);
            scan(&store.snapshot(), author, from, &mut |ms, post| {
                out.push((ms - 1_700_000_000_000, post.author));
                true
            })
            .unwrap();
            out
        };
        // The reply says a time after it came, and keeps that when it comes again.
        assert_eq!(listed(None, None), [(3, other.author), (2, me), (1, me)]);
        assert_eq!(listed(None, Some(2)), [(2, me), (1, me)]);
        assert_eq!(listed(Some(me), None), [(2, me), (1, me)]);
        let counts = || {
            let agg = store.snapshot().agg(Target::Post(root)).unwrap();
            (agg.get(Counter::Replies), agg.get(Counter::Quotes))
        };
        assert_eq!(counts(), (1, 1));
        assert_eq!(count(&store.snapshot(), me, 1).unwrap(), 1);
        assert_eq!(count(&store.snapshot(), me, 9).unwrap(), 2);
        let own = some_of(&store.snapshot(), me, 9).unwrap();
        assert_eq!((own.len(), some_of(&store.snapshot(), me, 1).unwrap().len()), (2, 1));
        for post in own {
            writer.durable(move |tx| remove(tx, post)).await.unwrap();
        }
        assert_eq!(listed(None, None), [(3, other.author)]);
        assert_eq!(listed(Some(me), None), []);
        assert_eq!(counts(), (0, 1));
        assert!(writer.durable(move |tx| remove(tx, other)).await.unwrap());
        assert!(!writer.durable(move |tx| remove(tx, other)).await.unwrap());
        assert_eq!((counts(), listed(None, None)), ((0, 0), vec![]));
    }
}
