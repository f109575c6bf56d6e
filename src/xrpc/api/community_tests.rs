//! Community posts, call by call: who is let in, what is refused, and from whom what is hidden.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::testing::Server;
use crate::event::{Body, Commit, Event, Op, Record};
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{AccountStatus, ActorId, Target};
use crate::index::{Door, Index};
use crate::repo::dag_cbor;
use crate::schema::rows::{EdgeKind, RecordRow, notif_prefix};
use crate::schema::{RecordId, Rows, collections};
use crate::store::{Ks, Reader};
use crate::syntax::{Did, Tid, cid, datetime};
use crate::xrpc::XrpcError;
use crate::xrpc::testing::{CommunityHook, community};

const FEED: &str = "community.blacksky.feed";
const CURATELIST: &str = "app.bsky.graph.defs#curatelist";

fn error(result: Result<Value, XrpcError>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.status().as_u16(), error.name())
}

/// A server whose community is behind a door that is open to these accounts.
struct Bench {
    s: Server,
    door: Arc<CommunityHook>,
    index: Arc<Index>,
}

impl Bench {
    fn new<const N: usize>(names: [&str; N]) -> (Self, [ActorId; N]) {
        let fixture = Fixture::new();
        let ids = names.map(|name| fixture.account(name));
        let door = Arc::new(CommunityHook::default());
        *door.members.lock() = names.map(|name| format!("did:plc:{name}")).to_vec();
        let (community, index) = community(&fixture.store, &door, None, 20);
        let s = Server::with(fixture, Some((community, Arc::clone(&index))));
        (Self { s, door, index }, ids)
    }

    /// What the repo of `by` says under the key of `n` seconds ago: nothing, or a record.
    fn commit(&self, by: ActorId, coll: &str, n: i64, value: Option<Value>) {
        let rkey = Tid::from_micros(u64::try_from(NOW - n * 1000).unwrap() * 1000, 0);
        let record = value.map(|value| {
            let value = dag_cbor::from_json(&value);
            let cid = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
            Record { cid, value, valid: true }
        });
        let rkey = rkey.to_string().into();
        let op = Op { collection: coll.into(), rkey, record, created: false };
        let did = Did::parse(&self.s.fixture.snapshot().did(by).unwrap()).unwrap();
        let (index, events) = (Arc::clone(&self.index), move |rev| {
            let commit = Commit { rev, data: None, prev_data: None, ops: vec![op] };
            [Event::found_here(did, NOW, Body::Commit(commit))]
        });
        self.s.fixture.write(move |tx| {
            let rev = tx.repo(by)?.map_or(1 << 50, |row| row.rev + 1);
            index.apply(tx, &events(Tid::from_u64(rev).unwrap()))
        });
    }

    /// A like or repost by the community's own record.
    fn fan(&self, by: ActorId, kind: &str, n: i64, of: &Value) {
        let coll = format!("{FEED}.{kind}");
        let at = datetime::format_ms(NOW - n * 1000);
        let value = json!({ "$type": coll, "subject": of, "createdAt": at });
        self.commit(by, &coll, n, Some(value));
    }

    /// Keeps the notifications of an account from now on.
    fn join(&self, who: ActorId) {
        let (store, private) = (&self.s.fixture.store, &self.s.ctx.private);
        self.s
            .fixture
            .wait(self.index.ensure_member(store, private, who, NOW, Door::Open))
            .unwrap();
    }

    /// Reason, author, record and subject of each notification, and how many are unread.
    fn notified(&self, who: ActorId) -> (Vec<[String; 4]>, u64) {
        let call =
            |name| self.s.get(&format!("app.bsky.notification.{name}"), "", Some(who)).unwrap();
        let count = call("getUnreadCount")["count"].as_u64().unwrap();
        let all = call("listNotifications")["notifications"].as_array().unwrap().clone();
        let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let rows = all.iter().map(|n| {
            let what = n["record"]["text"].as_str().or(n["record"]["$type"].as_str());
            let what = what.unwrap_or_default().rsplit('.').next().unwrap().to_owned();
            [text(&n["reason"]), text(&n["author"]["handle"]), what, text(&n["reasonSubject"])]
        });
        (rows.collect(), count)
    }

    /// Submits a post of `n` seconds ago.
    fn submit(&self, by: ActorId, n: i64, more: Value) -> Result<Value, XrpcError> {
        let ms = NOW - n * 1000;
        let micros = u64::try_from(ms).unwrap() * 1000;
        let mut input = json!({
            "rkey": Tid::from_micros(micros, 0).to_string(), "text": format!("{n}"),
            "createdAt": datetime::format_ms(ms),
        });
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        self.s.post(&format!("{FEED}.submitPost"), input, by)
    }

    /// The reference to a post that was just submitted.
    fn posted(&self, by: ActorId, n: i64, more: Value) -> Value {
        self.submit(by, n, more).unwrap()
    }

    fn reply(&self, by: ActorId, n: i64, root: &Value, parent: &Value) -> Result<Value, XrpcError> {
        self.submit(by, n, json!({ "reply": { "root": root, "parent": parent } }))
    }

    fn quote(&self, by: ActorId, n: i64, of: &Value) -> Result<Value, XrpcError> {
        self.submit(by, n, json!({ "embed": { "$type": "app.bsky.embed.record", "record": of } }))
    }

    fn timeline(&self, query: &str, viewer: ActorId) -> Value {
        self.s.get(&format!("{FEED}.getCommunityTimeline"), query, Some(viewer)).unwrap()
    }

    /// The texts in the timeline.
    fn texts(&self, viewer: ActorId) -> Vec<String> {
        texts(&self.timeline("", viewer))
    }

    fn get(&self, of: &Value, viewer: ActorId) -> Result<Value, XrpcError> {
        let query = format!("uri={}", of["uri"].as_str().unwrap());
        let body = self.s.get(&format!("{FEED}.getCommunityPost"), &query, Some(viewer))?;
        Ok(body["post"].clone())
    }

    fn target(&self, of: &Value) -> Target {
        self.s.fixture.snapshot().target(of["uri"].as_str().unwrap()).unwrap().unwrap()
    }
}

fn texts(page: &Value) -> Vec<String> {
    let all = page["feed"].as_array().unwrap().iter();
    all.map(|item| item["post"]["record"]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn off_unless_configured() {
    let s = Server::new(Fixture::new());
    let me = s.fixture.account("me");
    for (name, query) in [
        ("getCommunityTimeline", ""),
        ("getCommunityFeed", "actor=did:plc:me"),
        ("getCommunityPost", "uri=at://did:plc:me/community.blacksky.feed.post/3kaaaaaaaaa2a"),
    ] {
        let answer = s.get(&format!("{FEED}.{name}"), query, Some(me));
        assert_eq!(error(answer), "501 MethodNotImplemented", "{name}");
    }
    let input =
        json!({ "rkey": "3kaaaaaaaaa2a", "text": "x", "createdAt": datetime::format_ms(NOW) });
    assert_eq!(error(s.post(&format!("{FEED}.submitPost"), input, me)), "501 MethodNotImplemented");
    let input = json!({ "uri": "at://did:plc:me/community.blacksky.feed.post/3kaaaaaaaaa2a" });
    assert_eq!(error(s.post(&format!("{FEED}.deletePost"), input, me)), "501 MethodNotImplemented");
}

#[test]
fn members_are_those_on_the_list_or_of_whom_the_hook_says_so() {
    let f = Fixture::new();
    let [owner, listed, hooked, stranger, unlucky] =
        ["owner", "listed", "hooked", "stranger", "unlucky"].map(|name| f.account(name));
    let list = f.list(owner, "3kaaaaaaaaa2a", CURATELIST, &[listed]);
    let uri = f.snapshot().uri(list).unwrap();
    let door = Arc::new(CommunityHook::default());
    *door.members.lock() = vec!["did:plc:hooked".to_owned(), "did:plc:unlucky".to_owned()];
    let community = community(&f.store, &door, Some(uri), 20);
    let s = Server::with(f, Some(community));
    let enters = |who| {
        let answer = s.get(&format!("{FEED}.getCommunityTimeline"), "", Some(who));
        answer
            .map_err(|e| assert_eq!((e.status().as_u16(), e.name()), (401, "MembershipRequired")))
            .is_ok()
    };
    for (who, expect, asked) in [
        (listed, true, 0),
        (hooked, true, 1),
        (hooked, true, 1),
        (stranger, false, 2),
        (stranger, false, 2),
        (owner, false, 3),
    ] {
        assert_eq!((enters(who), door.asked.load(Relaxed)), (expect, asked));
    }
    door.down.store(true, Relaxed);
    assert!(enters(listed) && enters(hooked) && !enters(unlucky));
    let input =
        json!({ "rkey": "3kaaaaaaaaa2a", "text": "x", "createdAt": datetime::format_ms(NOW) });
    let submitted = s.post(&format!("{FEED}.submitPost"), input, stranger);
    assert_eq!(error(submitted), "401 MembershipRequired");
    for name in
        ["getCommunityFeed?actor=listed.test", "getCommunityPost?uri=at://did:plc:x/a.b.c/d"]
    {
        let (name, query) = name.split_once('?').unwrap();
        let answer = s.get(&format!("{FEED}.{name}"), query, Some(stranger));
        assert_eq!(error(answer), "401 MembershipRequired");
    }
}

#[test]
fn what_is_submitted_is_held_to_its_cid_and_shown_as_a_post() {
    let (b, [me, other]) = Bench::new(["me", "other"]);
    let created = datetime::format_ms(NOW - 5000);
    let canonical = json!({ "$type": "community.blacksky.feed.post", "text": "5", "createdAt": created,
        "langs": ["en"] });
    let bytes = dag_cbor::encode(&dag_cbor::from_json(&canonical));
    let expected = cid::to_base32(&cid::for_record(&bytes));
    let labels =
        json!({ "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "porn" }] });
    let with = |cid: &str, langs: Value| json!({ "expectedCid": cid, "langs": langs, "labels": labels, "tags": ["t"], "facets": [] });
    let wrong = b.submit(me, 5, with(&expected, json!(["de"])));
    assert_eq!(error(wrong), "400 CidMismatch");
    assert!(b.texts(other).is_empty());
    let made = b.posted(me, 5, with(&expected, json!(["en"])));
    assert_eq!(made["cid"].as_str(), Some(&*expected));
    let post = b.get(&made, other).unwrap();
    assert_eq!((&post["uri"], &post["cid"]), (&made["uri"], &made["cid"]));
    let record = json!({ "$type": "app.bsky.feed.post", "text": "5", "createdAt": created,
        "langs": ["en"], "labels": labels, "tags": ["t"] });
    assert_eq!(post["record"], record);
    assert_eq!(post["labels"][0]["val"], "porn");
    assert_eq!(
        (&post["indexedAt"], &post["author"]["did"]),
        (&json!(created), &json!("did:plc:me"))
    );
    // Again, and changed: one post, the last that was said.
    b.posted(me, 5, json!({ "text": "new" }));
    b.posted(me, 5, json!({ "text": "new" }));
    assert_eq!(b.texts(other), ["new"]);
    for bad in [json!({ "createdAt": "2023-11-14T22:13:20Z" }), json!({ "rkey": "2222222222222" })]
    {
        assert_eq!(error(b.submit(me, 6, bad)), "400 InvalidRequest");
    }
    for n in 10..29 {
        b.posted(me, n, json!({}));
    }
    assert_eq!(error(b.submit(me, 40, json!({}))), "400 PostLimitReached");
    b.posted(me, 28, json!({ "text": "in place of another" }));
    b.posted(other, 40, json!({}));
}

#[test]
fn feeds_are_paged_newest_first() {
    let (b, [me, other]) = Bench::new(["me", "other"]);
    for n in 1..=5 {
        b.posted(if n % 2 == 0 { other } else { me }, n, json!({}));
    }
    assert_eq!(b.texts(me), ["1", "2", "3", "4", "5"]);
    let first = b.timeline("limit=2", me);
    let cursor = first["cursor"].as_str().unwrap();
    let rest = b.timeline(&format!("limit=9&cursor={cursor}"), me);
    assert_eq!(
        (texts(&first), texts(&rest)),
        (vec!["1".into(), "2".into()], vec!["3".into(), "4".into(), "5".into()])
    );
    assert_eq!(rest.get("cursor"), None);
    let of = |actor: &str| {
        b.s.get(&format!("{FEED}.getCommunityFeed"), &format!("actor={actor}"), Some(me))
    };
    assert_eq!(texts(&of("other.test").unwrap()), ["2", "4"]);
    assert_eq!(texts(&of("did:plc:me").unwrap()), ["1", "3", "5"]);
    assert!(texts(&of("did:plc:unknown").unwrap()).is_empty());
    assert_eq!(error(of("unknown.test")), "400 InvalidRequest");
}

#[test]
fn nothing_shows_outside() {
    let (b, [me, other, far]) = Bench::new(["me", "other", "far"]);
    let made = b.posted(me, 9, json!({}));
    b.reply(other, 8, &made, &made).unwrap();
    b.quote(other, 7, &made).unwrap();
    b.fan(other, "like", 6, &made);
    b.s.fixture.edge(EdgeKind::Like, far, b.target(&made), NOW);
    b.s.fixture.edge(EdgeKind::Repost, far, b.target(&made), NOW);
    let quoting = b.s.fixture.post(
        other,
        NOW - 1000,
        json!({ "embed":
        { "$type": "app.bsky.embed.record", "record": made } }),
    );
    let quoting = b.s.fixture.snapshot().post_uri(quoting).unwrap();
    let uri = made["uri"].as_str().unwrap();
    b.door.members.lock().retain(|did| did != "did:plc:far");
    for viewer in [Some(far), None] {
        let get = |name: &str, query: &str| b.s.get(&format!("app.bsky.{name}"), query, viewer);
        let of = |key: &str| format!("{key}={uri}");
        assert_eq!(get("feed.getPosts", &of("uris")).unwrap(), json!({ "posts": [] }));
        assert_eq!(error(get("feed.getPostThread", &of("uri"))), "400 NotFound");
        for name in ["getPostThreadV2", "getPostThreadOtherV2"] {
            let body = get(&format!("unspecced.{name}"), &of("anchor")).unwrap().to_string();
            assert!(!body.contains("#threadItemPost"), "{name}: {body}");
        }
        for (name, list) in
            [("getLikes", "likes"), ("getRepostedBy", "repostedBy"), ("getQuotes", "posts")]
        {
            let body = get(&format!("feed.{name}"), &of("uri")).unwrap();
            assert_eq!(body[list], json!([]), "{name}");
        }
        let body = get("feed.getAuthorFeed", "actor=did:plc:me").unwrap();
        assert_eq!(body["feed"], json!([]));
    }
    // Not even to those who belong to it where everybody reads.
    for viewer in [Some(me), None] {
        let query = format!("uris={quoting}");
        let body = b.s.get("app.bsky.feed.getPosts", &query, viewer).unwrap();
        let embed = &body["posts"][0]["embed"]["record"]["$type"];
        assert_eq!(embed, "app.bsky.embed.record#viewNotFound");
    }
    let asked = b.door.asked.load(Relaxed);
    b.s.get("app.bsky.feed.getTimeline", "", Some(far)).unwrap();
    assert_eq!(
        (asked, b.door.asked.load(Relaxed)),
        (3, 3),
        "each once, and only about the community"
    );
}

#[test]
fn threads_and_fans_show_to_those_inside() {
    let (b, [me, other, far]) = Bench::new(["me", "other", "far"]);
    let root = b.posted(me, 90, json!({}));
    let reply = b.reply(other, 80, &root, &root).unwrap();
    let below = b.reply(me, 70, &root, &reply).unwrap();
    let quote = b.quote(other, 60, &root).unwrap();
    b.fan(other, "like", 50, &root);
    b.fan(far, "repost", 40, &root);
    b.s.fixture.edge(EdgeKind::Like, far, b.target(&root), NOW - 30_000);
    let get =
        |name: &str, query: &str| b.s.get(&format!("app.bsky.{name}"), query, Some(other)).unwrap();
    let of = |key: &str, of: &Value| format!("{key}={}", of["uri"].as_str().unwrap());

    let thread = get("feed.getPostThread", &of("uri", &reply))["thread"].clone();
    assert_eq!(thread["post"]["record"]["text"], "80");
    assert_eq!(thread["parent"]["post"]["uri"], root["uri"]);
    assert_eq!(thread["replies"][0]["post"]["uri"], below["uri"]);
    let flat = get("unspecced.getPostThreadV2", &of("anchor", &root))["thread"].clone();
    let flat = flat.as_array().unwrap();
    let line: Vec<_> = flat.iter().map(|i| (i["uri"].clone(), i["depth"].clone())).collect();
    let expect = [(&root, 0), (&reply, 1), (&below, 2)];
    assert_eq!(line, expect.map(|(post, depth)| (post["uri"].clone(), json!(depth))));

    let post = get("feed.getPosts", &of("uris", &root))["posts"][0].clone();
    let counts = ["likeCount", "repostCount", "replyCount", "quoteCount"];
    assert_eq!(counts.map(|c| post[c].clone()), [2, 1, 1, 1].map(|n| json!(n)));
    let like = post["viewer"]["like"].as_str().unwrap();
    assert!(like.starts_with(&format!("at://did:plc:other/{FEED}.like/")), "{like}");
    let likes = get("feed.getLikes", &of("uri", &root))["likes"].clone();
    let likes =
        likes.as_array().unwrap().iter().map(|l| {
            (l["actor"]["handle"].clone(), l["createdAt"].clone(), l["indexedAt"].clone())
        });
    let at = |n: i64| json!(datetime::format_ms(NOW - n * 1000));
    let expect = [("far.test", 30), ("other.test", 50)];
    assert_eq!(likes.collect::<Vec<_>>(), expect.map(|(who, n)| (json!(who), at(n), at(n))));
    let by = get("feed.getRepostedBy", &of("uri", &root))["repostedBy"].clone();
    assert_eq!((by[0]["handle"].as_str(), by.as_array().unwrap().len()), (Some("far.test"), 1));
    let quotes = get("feed.getQuotes", &of("uri", &root))["posts"].clone();
    assert_eq!((&quotes[0]["uri"], quotes.as_array().unwrap().len()), (&quote["uri"], 1));

    // A page of likes goes on where it ended, whichever records made them.
    let first = get("feed.getLikes", &format!("{}&limit=1", of("uri", &root)));
    let next = format!("{}&limit=1&cursor={}", of("uri", &root), first["cursor"].as_str().unwrap());
    assert_eq!(get("feed.getLikes", &next)["likes"][0]["actor"]["handle"], "other.test");
    // Those of one moment, too: whose time is in the future count as of when they came.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for (who, n) in [me, other, far].into_iter().zip(1..) {
        b.fan(who, "like", -n, &quote);
    }
    loop {
        let page = get("feed.getLikes", &format!("{}&limit=1{cursor}", of("uri", &quote)));
        let likes = page["likes"].as_array().unwrap().iter();
        seen.extend(likes.map(|l| l["actor"]["handle"].as_str().unwrap().to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    assert_eq!(seen, ["far.test", "me.test", "other.test"]);
}

#[test]
fn likes_and_reposts_of_the_community_count_once_and_go() {
    let (b, [me, other]) = Bench::new(["me", "other"]);
    let root = b.posted(me, 90, json!({}));
    let public = b.s.fixture.post(me, NOW - 80_000, json!({}));
    let public = b.s.fixture.strong_ref(public);
    let count = |of: &Value, key: &str| {
        let query = format!("uris={}", of["uri"].as_str().unwrap());
        b.s.get("app.bsky.feed.getPosts", &query, Some(me)).unwrap()["posts"][0][key].clone()
    };
    for (kind, key) in [("like", "likeCount"), ("repost", "repostCount")] {
        let coll = format!("{FEED}.{kind}");
        b.fan(other, kind, 50, &root);
        b.fan(other, kind, 49, &root);
        assert_eq!(count(&root, key), 1, "{kind}");
        b.commit(other, &coll, 50, None);
        assert_eq!(count(&root, key), 1, "another is left");
        b.commit(other, &coll, 49, None);
        assert_eq!(count(&root, key), 0);
        // Of a post of the network they are none.
        b.fan(other, kind, 48, &public);
        assert_eq!(count(&public, key), 0);
        b.commit(other, &coll, 48, None);
    }
    // Liked by both records: once, and one of them is enough.
    let mixed = |kind: &str, on: bool| {
        let coll = format!("{kind}.like");
        let at = datetime::format_ms(NOW - 40_000);
        let value = json!({ "$type": coll, "subject": root, "createdAt": at });
        b.commit(other, &coll, 40, on.then_some(value));
        count(&root, "likeCount")
    };
    for [first, second] in [[FEED, "app.bsky.feed"], ["app.bsky.feed", FEED]] {
        assert_eq!((mixed(first, true), mixed(second, true)), (json!(1), json!(1)));
        assert_eq!((mixed(first, false), mixed(second, false)), (json!(1), json!(0)));
    }
}

#[test]
fn posts_notify_those_inside() {
    let (b, [me, other, third, gone]) = Bench::new(["me", "other", "third", "gone"]);
    for who in [me, other] {
        b.join(who);
    }
    let mention = |name: &str| {
        json!([{ "index": { "byteStart": 0, "byteEnd": 1 },
            "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": format!("did:plc:{name}") }] }])
    };
    let root = b.posted(me, 90, json!({}));
    let uri = |of: &Value| of["uri"].as_str().unwrap().to_owned();
    let reply = b.reply(other, 80, &root, &root).unwrap();
    b.reply(third, 70, &root, &reply).unwrap();
    b.quote(other, 60, &root).unwrap();
    b.submit(third, 50, json!({ "facets": mention("me") })).unwrap();
    b.fan(other, "like", 40, &root);
    b.fan(third, "repost", 30, &root);
    b.s.fixture.edge(EdgeKind::Like, gone, b.target(&root), NOW);
    let row = |reason: &str, by: &str, what: &str, subject: &str| {
        [reason, &format!("{by}.test"), what, subject].map(str::to_owned)
    };
    let of_me = [
        row("repost", "third", "repost", &uri(&root)),
        row("like", "other", "like", &uri(&root)),
        row("mention", "third", "50", ""),
        row("quote", "other", "60", &uri(&root)),
        row("reply", "third", "70", &uri(&root)),
        row("reply", "other", "80", &uri(&root)),
    ];
    assert_eq!(b.notified(me), (of_me.to_vec(), 6));
    let of_other = [row("reply", "third", "70", &uri(&reply))];
    assert_eq!(b.notified(other), (of_other.to_vec(), 1));

    // Who joins later is told of the same; the like that only has rows is found by them.
    let rows = |who| {
        let mut rows = Vec::new();
        let s = b.s.fixture.snapshot();
        s.scan_prefix(Ks::Notif, &notif_prefix(who), &mut |k, v| {
            rows.push((k.to_vec(), v.to_vec()));
            true
        })
        .unwrap();
        rows
    };
    let live = rows(me);
    let (store, private) = (&b.s.fixture.store, &b.s.ctx.private);
    assert!(b.s.fixture.wait(b.index.remove_member(private, me)).unwrap());
    assert!(rows(me).is_empty());
    b.s.fixture.wait(b.index.ensure_member(store, private, me, NOW, Door::Open)).unwrap();
    let (built, liked) = (rows(me), 1);
    assert_eq!(built.iter().filter(|row| live.contains(row)).count(), live.len());
    assert_eq!(built.len(), live.len() + liked);

    // A muted thread is silent, and what is deleted is not told of.
    let muted = json!({ "root": uri(&root) });
    b.s.post("app.bsky.graph.muteThread", muted, me).unwrap();
    b.reply(third, 20, &root, &reply).unwrap();
    b.fan(third, "like", 10, &reply);
    assert_eq!((b.notified(me).1, b.notified(other).1), (7, 3));
    for post in [&reply, &root] {
        let by = if post == &root { me } else { other };
        b.s.post(&format!("{FEED}.deletePost"), json!({ "uri": post["uri"] }), by).unwrap();
    }
    assert_eq!(b.notified(me).0, [row("mention", "third", "50", "")]);
    assert!(b.notified(other).0.is_empty());
}

#[test]
fn who_is_outside_is_not_told() {
    let (b, [me, out]) = Bench::new(["me", "out"]);
    b.door.members.lock().retain(|did| did != "did:plc:out");
    b.join(out);
    b.join(me);
    let mention = json!([{ "index": { "byteStart": 0, "byteEnd": 1 },
        "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:out" }] }]);
    let theirs = b.s.fixture.post(out, NOW - 20_000, json!({}));
    b.submit(me, 9, json!({ "facets": mention })).unwrap();
    b.quote(me, 8, &b.s.fixture.strong_ref(theirs)).unwrap();
    // It waits for them to come in: asked for at each call, by what is kept.
    assert_eq!(b.notified(out), (vec![], 0));
    let like = json!({ "$type": "app.bsky.feed.like", "subject": b.s.fixture.strong_ref(theirs),
        "createdAt": datetime::format_ms(NOW - 1000) });
    b.commit(me, "app.bsky.feed.like", 1, Some(like));
    let (told, unread) = b.notified(out);
    assert_eq!((told.len(), told[0][0].as_str(), unread), (1, "like", 1));
    let asked = b.door.asked.load(Relaxed);
    assert_eq!(asked, 2, "about the author of the posts, and about the one who is told");
    // Nobody is asked about whose notifications are of the network only.
    b.s.fixture.account("plain");
    b.notified(b.s.fixture.snapshot().actor_id("did:plc:plain").unwrap().unwrap());
    assert_eq!(b.door.asked.load(Relaxed), asked);
}

#[test]
fn replies_stand_in_threads_and_keep_to_blocks_and_gates() {
    let (b, [me, friend, fan, foe]) = Bench::new(["me", "friend", "fan", "foe"]);
    let f = &b.s.fixture;
    let rule =
        |name: &str| json!({ "$type": format!("community.blacksky.feed.threadgate#{name}") });
    let root = b.posted(me, 90, json!({}));
    let answer = b.reply(friend, 80, &root, &root).unwrap();
    let below = b.reply(me, 79, &root, &answer).unwrap();
    assert_eq!(b.get(&root, me).unwrap()["replyCount"], 1);
    let page = b.timeline("", me);
    assert_eq!(page["feed"][0]["reply"]["parent"]["uri"], answer["uri"]);
    assert_eq!(page["feed"][0]["reply"]["root"]["record"]["text"], "90");

    let elsewhere = b.posted(me, 78, json!({}));
    let strange =
        json!({ "uri": "at://did:plc:me/app.bsky.feed.post/3kaaaaaaaaa2a", "cid": root["cid"] });
    let gone = json!({ "uri": "at://did:plc:me/community.blacksky.feed.post/3kaaaaaaaaa2a", "cid": root["cid"] });
    for (root, parent) in [
        (&strange, &strange),
        (&gone, &gone),
        (&root, &gone),
        (&root, &elsewhere),
        (&answer, &below),
    ] {
        assert_eq!(error(b.reply(friend, 70, root, parent)), "400 InvalidReply");
    }

    let allow = |rules: Value| json!({ "threadgateAllow": rules });
    f.follow(fan, me);
    f.follow(me, friend);
    let mention = json!([{ "index": { "byteStart": 0, "byteEnd": 1 },
        "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:foe" }] }]);
    let list = f.snapshot().uri(f.list(me, "3kaaaaaaaaa2a", CURATELIST, &[friend])).unwrap();
    let mut on_list = rule("listRule");
    on_list["list"] = json!(list);
    let mut mentioned = allow(json!([rule("mentionRule")]));
    mentioned["facets"] = mention;
    let cases = [
        (allow(json!([])), [true, false, false, false]),
        (allow(json!([rule("followerRule")])), [true, false, true, false]),
        (allow(json!([rule("followingRule")])), [true, true, false, false]),
        (mentioned, [true, false, false, true]),
        (allow(json!([on_list])), [true, true, false, false]),
    ];
    for ((gate, expect), n) in cases.into_iter().zip(0..) {
        let root = b.posted(me, 60 - n, gate);
        for (who, may) in [me, friend, fan, foe].into_iter().zip(expect) {
            let disabled = b.get(&root, who).unwrap()["viewer"]["replyDisabled"].clone();
            assert_eq!(disabled, json!(!may), "case {n}");
            let tried = b.reply(who, 50 - n, &root, &root);
            match may {
                true => assert!(tried.is_ok(), "case {n}"),
                false => assert_eq!(error(tried), "400 ReplyNotAllowed", "case {n}"),
            }
        }
        assert_eq!(b.get(&root, me).unwrap().get("threadgate"), None);
    }

    // A gate in the author's repo is the last word.
    let key = root["uri"].as_str().unwrap().rsplit('/').next().unwrap();
    let gate = json!({ "$type": "community.blacksky.feed.threadgate", "post": root["uri"],
        "allow": [], "createdAt": datetime::format_ms(NOW) });
    f.record(me, "community.blacksky.feed.threadgate", key, gate.clone());
    assert_eq!(error(b.reply(friend, 40, &root, &root)), "400 ReplyNotAllowed");
    assert_eq!(b.get(&root, me).unwrap()["threadgate"]["record"], gate);
    // Unless it breaks its lexicon or is taken down.
    let id =
        RecordId { coll: collections::COMMUNITY_THREADGATE, ..b.target(&root).record().unwrap() };
    f.write(move |tx| {
        let row = RecordRow { valid: false, ..tx.record(id)?.unwrap() };
        tx.put(Ks::Record, &id.to_bytes(), &row.encode());
        Ok(())
    });
    b.reply(friend, 40, &root, &root).unwrap();
    f.record(me, "community.blacksky.feed.threadgate", key, gate.clone());
    assert_eq!(error(b.reply(friend, 40, &root, &root)), "400 ReplyNotAllowed");
    f.take_down(Target::Record(id));
    b.reply(friend, 40, &root, &root).unwrap();
    assert_eq!(b.get(&root, me).unwrap().get("threadgate"), None);
    let uri = f.snapshot().uri(id).unwrap();
    f.wait(f.shared.takedowns.set(&f.writer, uri, None)).unwrap();
    let mut other = gate;
    other["post"] = elsewhere["uri"].clone();
    f.record(me, "community.blacksky.feed.threadgate", key, other);
    b.reply(friend, 40, &root, &root).unwrap();

    // A post that began a thread and is a reply now begins none.
    let first = b.posted(me, 39, json!({}));
    let second = b.reply(friend, 38, &first, &first).unwrap();
    b.reply(me, 39, &root, &root).unwrap();
    assert_eq!(error(b.reply(friend, 37, &first, &second)), "400 InvalidReply");

    // Nobody is answered who is not there any more.
    let theirs = b.posted(fan, 36, json!({}));
    f.update(fan, |row| row.status = AccountStatus::Deactivated);
    assert_eq!(error(b.reply(friend, 35, &theirs, &theirs)), "400 InvalidReply");
    f.update(fan, |row| row.status = AccountStatus::Active);
    b.reply(friend, 35, &theirs, &theirs).unwrap();

    f.block(me, foe);
    assert_eq!(error(b.reply(foe, 30, &root, &root)), "400 BlockedActor");
    f.block(foe, friend);
    let theirs = b.posted(fan, 29, json!({}));
    let of_friend = b.reply(friend, 28, &theirs, &theirs).unwrap();
    assert_eq!(error(b.reply(foe, 27, &theirs, &of_friend)), "400 BlockedActor");
    b.reply(foe, 27, &theirs, &theirs).unwrap();
}

#[test]
fn quotes_are_shown_unless_the_author_does_not_want_them() {
    let (b, [me, friend]) = Bench::new(["me", "friend"]);
    let f = &b.s.fixture;
    let rules = json!([{ "$type": "community.blacksky.feed.postgate#disableRule" }]);
    let (open, closed) =
        (b.posted(me, 9, json!({})), b.posted(me, 8, json!({ "embeddingRules": rules })));
    assert_eq!(error(b.quote(friend, 7, &closed)), "400 EmbeddingDisabled");
    let link = json!({ "$type": "app.bsky.embed.external",
        "external": { "uri": "https://a.example", "title": "", "description": "" } });
    let with_link = json!({ "embed": { "$type": "app.bsky.embed.recordWithMedia",
        "record": { "$type": "app.bsky.embed.record", "record": closed }, "media": link } });
    assert_eq!(error(b.submit(friend, 7, with_link)), "400 EmbeddingDisabled");
    b.quote(me, 7, &closed).unwrap();
    let quote = b.quote(friend, 6, &open).unwrap();
    let shown = |viewer| b.get(&quote, viewer).unwrap()["embed"]["record"].clone();
    assert_eq!(shown(friend)["$type"], "app.bsky.embed.record#viewRecord");
    assert_eq!(shown(friend)["value"]["text"], "9");
    assert_eq!(b.get(&open, me).unwrap()["quoteCount"], 1);
    // A post of the network, and one with a collision of keys.
    let public = f.post(me, NOW - 9000, json!({ "text": "public" }));
    let of_public = b.quote(friend, 5, &f.strong_ref(public)).unwrap();
    let embed = b.get(&of_public, me).unwrap()["embed"]["record"].clone();
    assert_eq!(embed["value"]["text"], "public");
    // Of which nobody outside learns anything.
    let uri = f.snapshot().post_uri(public).unwrap();
    let get = |nsid: &str, key: &str| b.s.get(nsid, &format!("{key}={uri}"), None).unwrap();
    assert_eq!(get("app.bsky.feed.getPosts", "uris")["posts"][0]["quoteCount"], 0);
    assert_eq!(get("app.bsky.feed.getQuotes", "uri")["posts"], json!([]));
    assert_eq!(b.get(&open, me).unwrap()["quoteCount"], 1);

    let key = open["uri"].as_str().unwrap().rsplit('/').next().unwrap();
    let gate = json!({ "$type": "community.blacksky.feed.postgate", "post": open["uri"],
        "detachedEmbeddingUris": [quote["uri"]], "createdAt": datetime::format_ms(NOW) });
    f.record(me, "community.blacksky.feed.postgate", key, gate);
    assert_eq!(shown(friend)["$type"], "app.bsky.embed.record#viewDetached");
}

#[test]
fn what_is_blocked_muted_labeled_or_taken_down_is_hidden() {
    let (b, [me, foe, dull, bad, gone, fine]) =
        Bench::new(["me", "foe", "dull", "bad", "gone", "fine"]);
    let f = &b.s.fixture;
    let posts = [foe, dull, bad, gone, fine].map(|by| b.posted(by, i64::from(by.0), json!({})));
    assert_eq!(b.texts(me).len(), 5);
    let labeler = f.account("default");
    f.label(labeler, b.target(&posts[2]), "!takedown");
    f.block(foe, me);
    f.mute(me, dull);
    f.take_down(Target::Actor(gone));
    assert_eq!(b.texts(me), [fine.0.to_string()]);
    let seen = |n: usize| b.get(&posts[n], me).map(drop).map_err(|e| e.name().to_owned());
    let hidden = || Err("PostNotFound".to_owned());
    // Mutes hide in feeds only.
    assert_eq!([0, 1, 2, 3, 4].map(seen), [hidden(), Ok(()), hidden(), hidden(), Ok(())]);
    f.take_down(b.target(&posts[4]));
    assert_eq!(seen(4), hidden());
    assert!(b.texts(me).is_empty() && b.texts(foe).len() == 2);

    // Lists count as for other posts.
    let far = f.account("far");
    b.door.members.lock().push("did:plc:far".to_owned());
    let list = f.list(far, "3kaaaaaaaaa2a", MODLIST, &[dull]);
    let listblock = json!({ "$type": "app.bsky.graph.listblock", "subject": f.snapshot().uri(list).unwrap(),
        "createdAt": datetime::format_ms(NOW) });
    assert!(b.texts(far).contains(&dull.0.to_string()));
    f.record(far, "app.bsky.graph.listblock", "3kaaaaaaaaa2a", listblock);
    assert!(!b.texts(far).contains(&dull.0.to_string()));
}

#[test]
fn likes_count_and_authors_take_posts_away() {
    let (b, [me, other]) = Bench::new(["me", "other"]);
    let made = b.posted(me, 3, json!({}));
    let answer = b.reply(other, 2, &made, &made).unwrap();
    b.s.fixture.edge(EdgeKind::Like, other, b.target(&made), NOW);
    let post = b.get(&made, other).unwrap();
    assert_eq!((&post["likeCount"], &post["replyCount"]), (&json!(1), &json!(1)));
    assert!(
        post["viewer"]["like"]
            .as_str()
            .unwrap()
            .starts_with("at://did:plc:other/app.bsky.feed.like/")
    );
    let delete = |what: &Value, by| {
        b.s.post(&format!("{FEED}.deletePost"), json!({ "uri": what["uri"] }), by)
    };
    assert_eq!(error(delete(&made, other)), "400 PostNotFound");
    assert_eq!(delete(&answer, other).unwrap(), json!({}));
    assert_eq!(b.get(&made, me).unwrap()["replyCount"], 0);
    // Who is no member any more may still do it.
    b.door.members.lock().clear();
    assert_eq!(delete(&made, me).unwrap(), json!({}));
    assert_eq!(error(delete(&made, me)), "400 PostNotFound");
    assert!(b.texts(other).is_empty());
}

#[test]
fn nothing_is_kept_of_who_opted_out() {
    let (b, [alice]) = Bench::new(["alice"]);
    b.posted(alice, 1, json!({}));
    let opt_out =
        |out: bool| b.s.post("alt.aerie.account.putOptOut", json!({ "optOut": out }), alice);
    opt_out(true).unwrap();
    assert_eq!(error(b.submit(alice, 2, json!({}))), "400 OptedOut");
    opt_out(false).unwrap();
    b.posted(alice, 3, json!({}));
}

#[test]
fn a_client_asks_whether_it_has_a_community_to_show() {
    let nsid = "community.blacksky.actor.checkMembership";
    let (bench, [member, other]) = Bench::new(["member", "other"]);
    bench.door.members.lock().retain(|did| did != "did:plc:other");
    for (who, is_member) in [(member, true), (other, false)] {
        assert_eq!(bench.s.get(nsid, "", Some(who)).unwrap(), json!({ "isMember": is_member }));
    }
    let none = Server::new(Fixture::new());
    let somebody = none.fixture.account("somebody");
    assert_eq!(error(none.get(nsid, "", Some(somebody))), "501 MethodNotImplemented");
}
