//! Community posts, call by call: who is let in, what is refused, and from whom what is hidden.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, Target};
use crate::repo::dag_cbor;
use crate::store::Reader;
use crate::store::rows::EdgeKind;
use crate::syntax::{Tid, cid, datetime};
use crate::xrpc::XrpcError;
use crate::xrpc::testing::{Door, community};

const FEED: &str = "community.blacksky.feed";
const CURATELIST: &str = "app.bsky.graph.defs#curatelist";

fn error(result: Result<Value, XrpcError>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.status().as_u16(), error.name())
}

/// A server whose community is behind a door that is open to these accounts.
struct Bench {
    s: Server,
    door: Arc<Door>,
}

impl Bench {
    fn new<const N: usize>(names: [&str; N]) -> (Self, [ActorId; N]) {
        let fixture = Fixture::new();
        let ids = names.map(|name| fixture.account(name));
        let door = Arc::new(Door::default());
        *door.members.lock() = names.map(|name| format!("did:plc:{name}")).to_vec();
        let s = Server::with(fixture, Some(community(&door, None, 20)));
        (Self { s, door }, ids)
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
    let door = Arc::new(Door::default());
    *door.members.lock() = vec!["did:plc:hooked".to_owned(), "did:plc:unlucky".to_owned()];
    let s = Server::with(f, Some(community(&door, Some(uri), 20)));
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
    let (b, [me, other]) = Bench::new(["me", "other"]);
    let made = b.posted(me, 3, json!({}));
    b.reply(other, 2, &made, &made).unwrap();
    let quoting = b.s.fixture.post(
        other,
        NOW - 1000,
        json!({ "embed":
        { "$type": "app.bsky.embed.record", "record": made } }),
    );
    let quoting = b.s.fixture.snapshot().post_uri(quoting).unwrap();
    let uri = made["uri"].as_str().unwrap();
    for viewer in [Some(me), None] {
        let posts =
            |uri: &str| b.s.get("app.bsky.feed.getPosts", &format!("uris={uri}"), viewer).unwrap();
        assert_eq!(posts(uri), json!({ "posts": [] }));
        assert_eq!(
            posts(&quoting)["posts"][0]["embed"]["record"]["$type"],
            "app.bsky.embed.record#viewNotFound"
        );
        let thread = b.s.get("app.bsky.feed.getPostThread", &format!("uri={uri}"), viewer);
        assert_eq!(error(thread), "400 NotFound");
        for name in ["getAuthorFeed?actor=did:plc:me", &format!("getQuotes?uri={uri}")] {
            let (name, query) = name.split_once('?').unwrap();
            let body = b.s.get(&format!("app.bsky.feed.{name}"), query, viewer).unwrap();
            assert!(!body.to_string().contains("\"text\":\"3\""), "{name}: {body}");
        }
    }
    assert_eq!(b.door.asked.load(Relaxed), 2);
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
    let mut other = gate;
    other["post"] = elsewhere["uri"].clone();
    f.record(me, "community.blacksky.feed.threadgate", key, other);
    b.reply(friend, 40, &root, &root).unwrap();

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
