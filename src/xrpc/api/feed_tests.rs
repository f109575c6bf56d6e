//! Feeds, threads, posts and notifications, call by call.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use super::testing::Server;
use crate::config::Limits;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, PostId, Target};
use crate::schema::Rows;
use crate::schema::rows::{EdgeKind, NotifRow, Reason, RepoRow, post_flags, repo_key};
use crate::store::Ks;
use crate::xrpc::{ClientConfig, Credentials, XrpcError};

fn error(result: Result<Value, XrpcError>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.name(), error.message())
}

fn uri(s: &Server, post: PostId) -> String {
    s.fixture.snapshot().post_uri(post).unwrap()
}

/// One of `getPosts`.
fn post(s: &Server, post: PostId, viewer: Option<ActorId>) -> Value {
    let query = format!("uris={}", uri(s, post));
    let body = s.get("app.bsky.feed.getPosts", &query, viewer).unwrap();
    body["posts"].get(0).cloned().unwrap_or_default()
}

fn embed(quoted: &Value) -> Value {
    json!({ "embed": { "$type": "app.bsky.embed.record", "record": quoted } })
}

const BLOB: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";

fn blob(mime: &str) -> Value {
    json!({ "$type": "blob", "mimeType": mime, "size": 3, "ref": { "$link": BLOB } })
}

#[test]
fn a_post_as_its_viewer_sees_it() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b) = (f.account("a"), f.account("b"));
    let labels = json!({ "labels": { "$type": "com.atproto.label.defs#selfLabels",
        "values": [{ "val": "porn" }] } });
    let id = f.post(a, NOW - 9, labels);
    f.edge(EdgeKind::Like, b, Target::Post(id), NOW - 5);
    let anonymous = post(&s, id, None);
    assert_eq!(anonymous["likeCount"], 1);
    assert_eq!(anonymous["author"]["handle"], "a.test");
    assert_eq!(anonymous["labels"][0]["val"], "porn");
    assert_eq!(anonymous["indexedAt"], "2023-11-14T22:13:19.991Z");
    assert_eq!(anonymous.get("viewer"), None);
    let seen = post(&s, id, Some(b));
    assert!(
        seen["viewer"]["like"].as_str().unwrap().starts_with("at://did:plc:b/app.bsky.feed.like/")
    );
    assert_eq!(seen["viewer"]["bookmarked"], false);
    assert_eq!(seen["viewer"]["threadMuted"], false);
    assert_eq!(seen["viewer"]["embeddingDisabled"], false);
    for absent in ["repost", "replyDisabled", "pinned"] {
        assert_eq!(seen["viewer"].get(absent), None, "{absent}");
    }
    f.take_down(Target::Post(id));
    assert_eq!(post(&s, id, Some(b)), Value::Null);
}

#[test]
fn embeds() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b, c) = (f.account("a"), f.account("b"), f.account("c"));
    let images = f.post(a, NOW - 99, json!({ "embed": { "$type": "app.bsky.embed.images",
        "images": [{ "alt": "x", "image": blob("image/png"), "aspectRatio": { "width": 1, "height": 2 } }] } }));
    let base = "https://appview.example/img";
    let image = &post(&s, images, None)["embed"];
    assert_eq!(image["$type"], "app.bsky.embed.images#view");
    assert_eq!(
        image["images"][0]["thumb"],
        format!("{base}/feed_thumbnail/plain/did:plc:a/{BLOB}")
    );
    assert_eq!(image["images"][0]["aspectRatio"]["height"], 2);
    let video = f.post(
        a,
        NOW - 98,
        json!({ "embed": {
        "$type": "app.bsky.embed.video", "video": blob("video/mp4") } }),
    );
    let video = &post(&s, video, None)["embed"];
    let playlist = format!("https://appview.example/vid/did%3Aplc%3Aa/{BLOB}/playlist.m3u8");
    assert_eq!((&video["playlist"], &video["cid"]), (&json!(playlist), &json!(BLOB)));

    // Two levels of quotes, not three.
    let first = f.post(b, NOW - 97, embed(&f.strong_ref(images)));
    let second = f.post(b, NOW - 96, embed(&f.strong_ref(first)));
    let view = &post(&s, second, None)["embed"]["record"];
    assert_eq!(view["$type"], "app.bsky.embed.record#viewRecord");
    let inner = &view["embeds"][0]["record"];
    assert_eq!(inner["uri"], uri(&s, images));
    assert_eq!(inner.get("embeds"), None);

    // With media, the record view has no type of its own.
    let both = f.post(
        b,
        NOW - 95,
        json!({ "embed": {
        "$type": "app.bsky.embed.recordWithMedia",
        "record": { "record": f.strong_ref(images) },
        "media": { "$type": "app.bsky.embed.external",
            "external": { "uri": "https://x.example", "title": "t", "description": "" } } } }),
    );
    let view = &post(&s, both, None)["embed"];
    assert_eq!(view["media"]["external"]["title"], "t");
    assert_eq!(view["record"].get("$type"), None);
    assert_eq!(view["record"]["record"]["uri"], uri(&s, images));

    let kind = |id, viewer| post(&s, id, viewer)["embed"]["record"]["$type"].take();
    let gone = json!({ "uri": "at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a", "cid": BLOB });
    let of_gone = f.post(b, NOW - 94, embed(&gone));
    assert_eq!(kind(of_gone, None), "app.bsky.embed.record#viewNotFound");
    let forbidden = json!({ "embed": { "$type": "app.bsky.embed.record", "record": f.strong_ref(images) },
        "testFlags": post_flags::VIOLATES_EMBEDDING });
    let forbidden = f.post(b, NOW - 93, forbidden);
    assert_eq!(kind(forbidden, None), "app.bsky.embed.record#viewDetached");
    // The viewer's block hides the quoted, a third-party block does for everybody.
    let quote = f.post(b, NOW - 92, embed(&f.strong_ref(images)));
    f.block(c, a);
    assert_eq!(kind(quote, Some(c)), "app.bsky.embed.record#viewBlocked");
    assert_eq!(kind(quote, None), "app.bsky.embed.record#viewRecord");
    f.block(a, b);
    assert_eq!(kind(quote, None), "app.bsky.embed.record#viewBlocked");
}

#[test]
fn gates_decide_who_may_reply_and_quote() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let names = ["a", "follower", "member", "mentioned", "nobody"];
    let [a, follower, member, mentioned, nobody] = names.map(|n| f.account(n));
    let facet = json!({ "facets": [{ "index": { "byteStart": 0, "byteEnd": 1 }, "features": [
        { "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:mentioned" }] }],
        "testFlags": post_flags::HAS_THREADGATE | post_flags::HAS_POSTGATE });
    let id = f.post(a, NOW - 9, facet);
    f.follow(follower, a);
    let list = f.list(a, "friends", "app.bsky.graph.defs#curatelist", &[member]);
    let list = f.snapshot().uri(list).unwrap();
    let rkey = f.snapshot().rkey_text(id.rkey).unwrap();
    let post_uri = uri(&s, id);
    let rule = |name: &str| json!({ "$type": format!("app.bsky.feed.threadgate#{name}") });
    let mut on_list = rule("listRule");
    on_list["list"] = json!(list);
    let gate = json!({ "$type": "app.bsky.feed.threadgate", "post": post_uri,
        "createdAt": "2023-01-01T00:00:00Z",
        "allow": [rule("mentionRule"), rule("followerRule"), on_list] });
    f.record(a, "app.bsky.feed.threadgate", &rkey, gate);
    let gate = json!({ "$type": "app.bsky.feed.postgate", "post": post_uri,
        "createdAt": "2023-01-01T00:00:00Z",
        "embeddingRules": [{ "$type": "app.bsky.feed.postgate#disableRule" }] });
    f.record(a, "app.bsky.feed.postgate", &rkey, gate);
    for (viewer, reply, quote) in [
        (a, false, false),
        (follower, false, true),
        (member, false, true),
        (mentioned, false, true),
        (nobody, true, true),
    ] {
        let view = post(&s, id, Some(viewer));
        assert_eq!(view["viewer"]["replyDisabled"], reply, "{viewer:?}");
        assert_eq!(view["viewer"]["embeddingDisabled"], quote, "{viewer:?}");
        assert_eq!(view["threadgate"]["lists"][0]["name"], "friends");
    }
}

#[test]
fn feeds_show_reasons_and_replies() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b, viewer) = (f.account("a"), f.account("b"), f.account("viewer"));
    let root = f.post(a, NOW - 50, json!({}));
    let parent = f.reply(b, NOW - 40, root, root);
    let reply = f.reply(a, NOW - 30, root, parent);
    f.repost(a, parent, NOW - 20);
    let feed = s.get("app.bsky.feed.getAuthorFeed", "actor=a.test", Some(viewer)).unwrap();
    let items = feed["feed"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0]["reason"]["$type"], "app.bsky.feed.defs#reasonRepost");
    assert_eq!(items[0]["reason"]["by"]["handle"], "a.test");
    assert_eq!(items[1]["post"]["uri"], uri(&s, reply));
    assert_eq!(items[1]["reply"]["root"]["uri"], uri(&s, root));
    assert_eq!(items[1]["reply"]["root"]["$type"], "app.bsky.feed.defs#postView");
    assert_eq!(items[1]["reply"]["grandparentAuthor"]["handle"], "a.test");
    // Pages give the same, one by one.
    let (mut uris, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = format!("actor=a.test&limit=1{cursor}");
        let page = s.get("app.bsky.feed.getAuthorFeed", &query, None).unwrap();
        uris.push(page["feed"][0]["post"]["uri"].clone());
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(uris, [uri(&s, parent), uri(&s, reply), uri(&s, root)]);

    f.block(b, viewer);
    let feed = s.get("app.bsky.feed.getAuthorFeed", "actor=a.test", Some(viewer)).unwrap();
    assert_eq!(feed["feed"].as_array().unwrap().len(), 2);
    assert_eq!(feed["feed"][0]["reply"]["parent"]["$type"], "app.bsky.feed.defs#blockedPost");
    let got = error(s.get("app.bsky.feed.getAuthorFeed", "actor=b.test", Some(viewer)));
    assert_eq!(got, "BlockedByActor Requester is blocked by actor: did:plc:b");
    let got = error(s.get("app.bsky.feed.getAuthorFeed", "actor=viewer.test", Some(b)));
    assert_eq!(got, "BlockedActor Requester has blocked actor: did:plc:viewer");
    for (cursor, expect) in
        [("!!!", "InvalidRequest Malformed cursor"), ("x__", "InvalidRequest Malformed cursor")]
    {
        let query = format!("actor=a.test&cursor={cursor}");
        assert_eq!(error(s.get("app.bsky.feed.getAuthorFeed", &query, None)), expect);
    }
    let old = s.get("app.bsky.feed.getAuthorFeed", "actor=a.test&cursor=1::x", None).unwrap();
    assert_eq!(old, json!({ "feed": [] }));
}

#[test]
fn timelines_leave_out_replies_below_who_is_blocked() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (friend, other, foe) = (f.account("friend"), f.account("other"), f.account("foe"));
    let viewer = f.account("viewer");
    f.follow(viewer, friend);
    let root = f.post(other, NOW - 60, json!({}));
    let bad = f.reply(foe, NOW - 50, root, root);
    let below = f.reply(other, NOW - 40, root, bad);
    let further = f.reply(other, NOW - 35, root, below);
    f.reply(friend, NOW - 30, root, bad);
    f.reply(friend, NOW - 20, root, below);
    let shown = f.reply(friend, NOW - 10, root, further);
    let uris = || -> Vec<Value> {
        let page = s.get("app.bsky.feed.getTimeline", "", Some(viewer)).unwrap();
        let feed = page["feed"].as_array().unwrap();
        feed.iter().map(|item| item["post"]["uri"].clone()).collect()
    };
    assert_eq!(uris().len(), 3);
    f.block(viewer, foe);
    // Parent and grandparent count, who is further up does not, as in the reference.
    assert_eq!(uris(), [uri(&s, shown)]);
}

#[test]
fn timelines_leave_out_the_muted() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b, viewer) = (f.account("a"), f.account("b"), f.account("viewer"));
    for (i, author) in [a, b].into_iter().enumerate() {
        f.edge(EdgeKind::Follow, viewer, Target::Actor(author), NOW - i64::try_from(i).unwrap());
        for n in 0..5 {
            f.post(author, NOW - 100 * n - i64::from(author.0), json!({}));
        }
    }
    f.mute(viewer, a);
    let page = s.get("app.bsky.feed.getTimeline", "limit=5", Some(viewer)).unwrap();
    let authors: Vec<&Value> =
        page["feed"].as_array().unwrap().iter().map(|i| &i["post"]["author"]["handle"]).collect();
    // The page is filled, however many were left out.
    assert_eq!(authors, ["b.test"; 5]);
}

#[test]
fn likes_reposts_and_quotes_of_a_post() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b, c) = (f.account("a"), f.account("b"), f.account("c"));
    let id = f.post(a, NOW - 50, json!({}));
    f.edge(EdgeKind::Like, b, Target::Post(id), NOW - 40);
    f.edge(EdgeKind::Like, c, Target::Post(id), NOW - 30);
    f.repost(b, id, NOW - 20);
    f.post(c, NOW - 10, embed(&f.strong_ref(id)));
    f.block(c, a);
    let query = format!("uri={}", uri(&s, id));
    let likes = s.get("app.bsky.feed.getLikes", &query, None).unwrap();
    assert_eq!(likes["likes"].as_array().unwrap().len(), 1);
    assert_eq!(likes["likes"][0]["actor"]["handle"], "b.test");
    assert_eq!(likes["likes"][0]["createdAt"], "2023-11-14T22:13:19.960Z");
    let got = error(s.get("app.bsky.feed.getLikes", &format!("{query}&cursor=did:plc:x"), None));
    assert!(got.contains("out of date"), "{got}");
    let reposts = s.get("app.bsky.feed.getRepostedBy", &query, None).unwrap();
    assert_eq!(reposts["repostedBy"][0]["handle"], "b.test");
    assert_eq!(reposts["uri"], uri(&s, id));
    let quotes = s.get("app.bsky.feed.getQuotes", &query, None).unwrap();
    assert_eq!(quotes["posts"], json!([]), "the quoted author is blocked");
    let own = s.get("app.bsky.feed.getActorLikes", "actor=b.test", Some(b)).unwrap();
    assert_eq!(own["feed"][0]["post"]["uri"], uri(&s, id));

    // Of a post that is not held the quotes are listed, of one that its author deleted they are not.
    let gone = f.post(a, NOW - 60, json!({}));
    let query = format!("uri={}", uri(&s, gone));
    let quote = f.post(b, NOW - 5, embed(&f.strong_ref(gone)));
    f.write(move |tx| {
        tx.del(Ks::Post, &gone.to_bytes());
        tx.touch(a);
        Ok(())
    });
    let quotes = || s.get("app.bsky.feed.getQuotes", &query, None).unwrap()["posts"].clone();
    assert_eq!(quotes()[0]["uri"], uri(&s, quote));
    f.write(move |tx| {
        let whole = RepoRow { rev: 1, data: [0; 32], resync: None, whole: Some(1) };
        tx.put(Ks::Actor, &repo_key(a), &whole.encode());
        Ok(())
    });
    assert_eq!(quotes(), json!([]));
    let got = error(s.get("app.bsky.feed.getActorLikes", "actor=b.test", Some(a)));
    assert_eq!(got, "InvalidRequest Profile not found");
}

/// A thread: root, two replies of which the first has two more below.
fn thread(s: &Server) -> ([ActorId; 3], [PostId; 5]) {
    let f = &s.fixture;
    let actors @ [a, b, c] = ["a", "b", "c"].map(|n| f.account(n));
    let root = f.post(a, NOW - 50, json!({}));
    let first = f.reply(b, NOW - 40, root, root);
    let second = f.reply(c, NOW - 30, root, root);
    let below = f.reply(c, NOW - 20, root, first);
    let own = f.reply(a, NOW - 10, root, first);
    (actors, [root, first, second, below, own])
}

#[test]
fn a_thread_as_a_tree() {
    let s = Server::new(Fixture::new());
    let ([a, b, _], [root, first, second, ..]) = thread(&s);
    let get = |post, more: &str, viewer| {
        let query = format!("uri={}{more}", uri(&s, post));
        s.get("app.bsky.feed.getPostThread", &query, viewer)
    };
    let tree = get(root, "", None).unwrap();
    let replies = tree["thread"]["replies"].as_array().unwrap();
    let uris: Vec<&Value> = replies.iter().map(|r| &r["post"]["uri"]).collect();
    assert_eq!(uris, [&json!(uri(&s, second)), &json!(uri(&s, first))]);
    assert_eq!(replies[1]["replies"].as_array().unwrap().len(), 2);
    assert_eq!(tree["thread"]["threadContext"], json!({}));
    let tree = get(first, "&depth=0", None).unwrap();
    assert_eq!(tree["thread"]["parent"]["post"]["uri"], uri(&s, root));
    assert_eq!(tree["thread"].get("replies"), None);
    // The viewer's block leaves a placeholder, a third party's nothing.
    s.fixture.block(a, b);
    let tree = get(root, "", None).unwrap();
    assert_eq!(tree["thread"]["replies"].as_array().unwrap().len(), 1);
    let tree = get(second, "", Some(b)).unwrap();
    assert_eq!(tree["thread"]["parent"]["$type"], "app.bsky.feed.defs#blockedPost");
    let missing = "uri=at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a";
    let got = error(s.get("app.bsky.feed.getPostThread", missing, None));
    assert_eq!(got, "NotFound Post not found: at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a");
    let by_handle = uri(&s, root).replace("did:plc:a", "a.test");
    assert!(s.get("app.bsky.feed.getPostThread", &format!("uri={by_handle}"), None).is_ok());
}

#[test]
fn a_long_thread() {
    let s = Server::new(Fixture::new());
    let a = s.fixture.account("a");
    let root = s.fixture.post(a, NOW - 1_000_000, json!({}));
    let mut last = root;
    for n in 1..40 {
        last = s.fixture.reply(a, NOW - 1_000_000 + n, root, last);
    }
    for (post, key) in [(root, "replies"), (last, "parent")] {
        let query = format!("uri={}&depth=1000&parentHeight=1000", uri(&s, post));
        let tree = s.get("app.bsky.feed.getPostThread", &query, None).unwrap();
        let (mut at, mut len) = (&tree["thread"], 1);
        loop {
            at = if key == "parent" { &at["parent"] } else { &at["replies"][0] };
            if at.is_null() {
                break;
            }
            len += 1;
        }
        assert_eq!(len, 40, "{key}");
    }
}

#[test]
fn threads_are_cut_to_the_operators_limits() {
    let s = Server::new(Fixture::new());
    let a = s.fixture.account("a");
    let mut line = vec![s.fixture.post(a, NOW - 1000, json!({}))];
    for n in 1..9 {
        line.push(s.fixture.reply(a, NOW - 1000 + n, line[0], *line.last().unwrap()));
    }
    s.limit(Limits { max_thread_parents: 2, max_thread_depth: 3, ..Limits::default() });
    let depths = |anchor: PostId, more: &str| -> Vec<i64> {
        let query = format!("anchor={}{more}", uri(&s, anchor));
        let body = s.get("app.bsky.unspecced.getPostThreadV2", &query, None).unwrap();
        flat(&body).into_iter().map(|(depth, _)| depth).collect()
    };
    assert_eq!(depths(line[4], ""), [-2, -1, 0, 1, 2, 3]);
    assert_eq!(depths(line[4], "&below=1&above=false"), [0, 1]);
    let levels = |more: &str, key: &str| {
        let query = format!("uri={}{more}", uri(&s, line[4]));
        let tree = s.get("app.bsky.feed.getPostThread", &query, None).unwrap();
        let (mut at, mut levels) = (&tree["thread"], 0);
        while at["post"].is_object() {
            at = if key == "parent" { &at["parent"] } else { &at["replies"][0] };
            levels += 1;
        }
        levels - 1
    };
    assert_eq!((levels("&depth=1000", "replies"), levels("&depth=2", "replies")), (3, 2));
    // Here the request says how far up, as with the reference.
    assert_eq!((levels("", "parent"), levels("&parentHeight=3", "parent")), (4, 3));
}

fn flat(body: &Value) -> Vec<(i64, String)> {
    let items = body["thread"].as_array().unwrap().iter();
    let name = |item: &Value| item["uri"].as_str().unwrap().to_owned();
    items.map(|item| (item["depth"].as_i64().unwrap(), name(item))).collect()
}

#[test]
fn a_thread_as_a_list() {
    let s = Server::new(Fixture::new());
    let ([a, b, c], [root, first, second, below, own]) = thread(&s);
    let get = |post, more: &str, viewer| {
        let query = format!("anchor={}{more}", uri(&s, post));
        s.get("app.bsky.unspecced.getPostThreadV2", &query, viewer).unwrap()
    };
    let at = |depth, post| (depth, uri(&s, post));
    let oldest = get(root, "", None);
    // The author's own reply comes before others.
    let expect = [at(0, root), at(1, first), at(2, own), at(2, below), at(1, second)];
    assert_eq!(flat(&oldest), expect);
    let newest = get(root, "&sort=newest&branchingFactor=1", None);
    assert_eq!(flat(&newest), [at(0, root), at(1, second), at(1, first), at(2, own)]);
    assert_eq!(newest["thread"][2]["value"]["moreReplies"], 1);
    // A like of the author outweighs the order of time.
    s.fixture.edge(EdgeKind::Like, a, Target::Post(first), NOW - 5);
    let top = get(root, "&sort=top&below=1", None);
    assert_eq!(flat(&top), [at(0, root), at(1, first), at(1, second)]);
    let above = get(own, "", Some(b));
    assert_eq!(flat(&above), [at(-2, root), at(-1, first), at(0, own)]);
    assert_eq!(above["thread"][0]["value"]["opThread"], true);
    assert_eq!(above["thread"][2]["value"]["opThread"], false);
    // Muted replies are others.
    s.fixture.mute(b, c);
    let muted = get(root, "", Some(b));
    assert_eq!(muted["hasOtherReplies"], true);
    assert_eq!(flat(&muted), [at(0, root), at(1, first), at(2, own)]);
    let others = s
        .get(
            "app.bsky.unspecced.getPostThreadOtherV2",
            &format!("anchor={}", uri(&s, root)),
            Some(b),
        )
        .unwrap();
    assert_eq!(flat(&others), [at(1, second)]);
    assert_eq!(others["thread"][0]["value"]["mutedByViewer"], true);
    s.fixture.block(b, a);
    let blocked = get(first, "", Some(b));
    assert_eq!(blocked["thread"][0]["value"]["$type"], "app.bsky.unspecced.defs#threadItemBlocked");
    let gone = "anchor=at://did:plc:a/app.bsky.feed.post/3kaaaaaaaaa2a";
    let gone = s.get("app.bsky.unspecced.getPostThreadV2", gone, None).unwrap();
    assert_eq!(gone["thread"][0]["value"]["$type"], "app.bsky.unspecced.defs#threadItemNotFound");
}

#[test]
fn the_authors_line_is_numbered() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b) = (f.account("a"), f.account("b"));
    let root = f.post(a, NOW - 50, json!({}));
    let theirs = f.reply(b, NOW - 45, root, root);
    let two = f.reply(a, NOW - 40, root, root);
    let three = f.reply(a, NOW - 30, root, two);
    let query = format!("anchor={}&sort=oldest", uri(&s, root));
    let thread = s.get("app.bsky.unspecced.getPostThreadV2", &query, None).unwrap();
    let at = |depth, post| (depth, uri(&s, post));
    assert_eq!(flat(&thread), [at(0, root), at(1, two), at(2, three), at(1, theirs)]);
    let numbers: Vec<Value> = thread["thread"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| json!([i["value"].get("opThreadPostIndex"), i["value"].get("opThreadPostCount")]))
        .collect();
    assert_eq!(numbers, [json!([1, 3]), json!([2, 3]), json!([3, 3]), json!([null, null])]);
}

#[test]
fn a_feed_of_a_generator() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (a, b) = (f.account("a"), f.account("b"));
    let post = f.post(a, NOW - 9, json!({}));
    let generator = json!({ "$type": "app.bsky.feed.generator", "did": "did:web:feeds.example",
        "displayName": "Feed", "createdAt": "2023-01-01T00:00:00Z" });
    f.record(b, "app.bsky.feed.generator", "feed", generator.clone());
    let feed = "at://did:plc:b/app.bsky.feed.generator/feed";
    let nsid = "app.bsky.feed.getFeed";
    let query = format!("feed={feed}&limit=2&cursor=x");
    let ask = |status: u16, body: Value| {
        *s.generators.answer.lock() = Some((status, body.to_string()));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer t".parse().unwrap());
        headers.insert("cookie", "secret".parse().unwrap());
        s.call(nsid, Some(&query), None, Credentials::None, headers)
    };
    let item = json!({ "post": uri(&s, post), "feedContext": "c" });
    let answer = ask(200, json!({ "feed": [item], "cursor": "y", "reqId": "r" })).unwrap();
    assert_eq!(answer["feed"][0]["post"]["uri"], uri(&s, post));
    assert_eq!(
        (&answer["feed"][0]["feedContext"], &answer["feed"][0]["reqId"]),
        (&json!("c"), &json!("r"))
    );
    assert_eq!(answer["cursor"], "y");
    {
        let asked = s.generators.asked.lock();
        let (url, headers) = &asked[0];
        assert!(url.starts_with(
            "https://feeds.example/xrpc/app.bsky.feed.getFeedSkeleton?feed=at%3A%2F%2F"
        ));
        assert!(url.ends_with("&limit=2&cursor=x"), "{url}");
        assert_eq!(headers.get("authorization").unwrap(), "Bearer t");
        assert_eq!(headers.get("cookie"), None);
    }
    let reply = s.reply(nsid, &query, None).unwrap();
    let timing = reply.headers.iter().find(|(name, _)| name == "server-timing").unwrap();
    assert_eq!(timing.1, "skele;dur=0, hydr;dur=0", "the clock stands still");
    // Nothing, or the same cursor again, is the end.
    assert_eq!(ask(200, json!({ "feed": [], "cursor": "z" })).unwrap(), json!({ "feed": [] }));
    let again = json!({ "feed": [{ "post": uri(&s, post) }], "cursor": "x" });
    assert_eq!(ask(200, again).unwrap().get("cursor"), None);
    for (status, body, expect) in [
        (400, json!({ "error": "UnknownFeed", "message": "no" }), "400 UnknownFeed no"),
        (500, json!({ "error": "Oops", "message": "x" }), "502 Oops x"),
        (200, json!({ "nothing": 1 }), "502 InvalidFeedResponse feed provided an invalid response"),
        (
            200,
            json!({ "feed": [{ "post": "x" }] }),
            "502 InvalidFeedResponse feed provided an invalid response",
        ),
    ] {
        let e = ask(status, body).unwrap_err();
        assert_eq!(format!("{} {} {}", e.status().as_u16(), e.name(), e.message()), expect);
    }
    *s.generators.answer.lock() = None;
    assert_eq!(error(s.get(nsid, &query, None)), "UpstreamFailure feed unavailable");
    let got = error(s.get(nsid, "feed=at://did:plc:b/app.bsky.feed.generator/none", None));
    assert_eq!(got, "InvalidRequest could not find feed");

    let one = s.get("app.bsky.feed.getFeedGenerator", &format!("feed={feed}"), None).unwrap();
    assert_eq!((&one["view"]["displayName"], &one["isOnline"]), (&json!("Feed"), &json!(true)));
    let more = s.get("app.bsky.feed.getFeedGenerators", &format!("feeds={feed}"), None).unwrap();
    assert_eq!(more["feeds"][0]["creator"]["handle"], "b.test");
    let own = s.get("app.bsky.feed.getActorFeeds", "actor=b.test", None).unwrap();
    assert_eq!(own["feeds"][0]["uri"], feed);
}

#[test]
fn notifications_are_listed_and_seen() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [me, liker, replier, muted] = ["me", "liker", "replier", "muted"].map(|n| f.account(n));
    let own = f.post(me, NOW - 900, json!({}));
    let like = f.edge(EdgeKind::Like, liker, Target::Post(own), NOW - 800);
    let reply = f.reply(replier, NOW - 700, own, own);
    let hidden = f.edge(EdgeKind::Like, muted, Target::Post(own), NOW - 600);
    f.mute(me, muted);
    let subject = Some(Target::Post(own));
    let gone = Some(Target::Post(PostId { author: me, rkey: crate::schema::Rkey(5) }));
    let row = |ago, author, reason, rkey, subject| NotifRow {
        sort: NOW - ago,
        author,
        reason,
        rkey,
        subject,
    };
    let rows = [
        row(800, liker, Reason::Like, like, subject),
        row(700, replier, Reason::Reply, reply.rkey, subject),
        row(600, muted, Reason::Like, hidden, subject),
        row(500, liker, Reason::Like, like, gone),
    ];
    f.write(move |tx| {
        for row in &rows {
            tx.put(Ks::Notif, &row.key(me), &row.encode());
        }
        Ok(())
    });
    let list = |query: &str| s.get("app.bsky.notification.listNotifications", query, Some(me));
    let reasons = |body: &Value| -> Vec<String> {
        let all = body["notifications"].as_array().unwrap().iter();
        all.map(|n| format!("{} {}", n["reason"].as_str().unwrap(), n["isRead"])).collect()
    };
    let all = list("").unwrap();
    assert_eq!(
        reasons(&all),
        ["reply true", "like true"],
        "only the newest, which is muted, is unread"
    );
    assert_eq!(all["notifications"][0]["reasonSubject"], uri(&s, own));
    assert_eq!(all["notifications"][1]["record"]["$type"], "app.bsky.feed.like");
    assert_eq!(all["priority"], false);
    assert_eq!(reasons(&list("reasons=like").unwrap()), ["like true"]);
    let page = list("limit=1").unwrap();
    assert_eq!(reasons(&page), ["reply true"]);
    let next = format!("limit=1&cursor={}", page["cursor"].as_str().unwrap());
    assert_eq!(reasons(&list(&next).unwrap()), ["like true"]);
    assert_eq!(reasons(&list("priority=true").unwrap()), [""; 0]);
    assert_eq!(error(list("cursor=zzz")), "InvalidRequest Malformed cursor");

    let count =
        || s.get("app.bsky.notification.getUnreadCount", "", Some(me)).unwrap()["count"].take();
    assert_eq!(count(), 4);
    let seen = json!({ "seenAt": "2023-11-14T22:13:19.250Z" });
    s.post("app.bsky.notification.updateSeen", seen, me).unwrap();
    assert_eq!(count(), 3);
    let all = list("").unwrap();
    assert_eq!(reasons(&all), ["reply false", "like true"]);
    assert_eq!(all["seenAt"], "2023-11-14T22:13:19.250Z");
}

/// The network, which has everything that is asked for.
struct Network {
    asked: parking_lot::Mutex<Vec<crate::xrpc::FetchRequest>>,
}

impl crate::xrpc::OnRead for Network {
    fn bring(
        &self,
        missing: Vec<crate::xrpc::FetchRequest>,
        _: std::time::Duration,
    ) -> futures_util::future::BoxFuture<'_, bool> {
        self.asked.lock().extend(missing);
        Box::pin(async { true })
    }
}

const WHATS_HOT: &str = "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.generator/whats-hot";

#[test]
fn behind_the_end_of_following_there_is_a_feed_or_nothing_but_no_error() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let a = f.account("a");
    let post = f.post(a, NOW - 9, json!({}));
    let generator = json!({ "$type": "app.bsky.feed.generator", "did": "did:web:feeds.example",
        "displayName": "Feed", "createdAt": "2023-01-01T00:00:00Z" });
    f.record(a, "app.bsky.feed.generator", "feed", generator.clone());
    let own = "at://did:plc:a/app.bsky.feed.generator/feed";
    let ask = |feed: &str| s.get("app.bsky.feed.getFeed", &format!("feed={feed}"), None);
    let record = || {
        let query = "repo=did:plc:z72i7hdynmk6r22z27h6tvur&collection=app.bsky.feed.generator&rkey=whats-hot";
        s.get("com.atproto.repo.getRecord", query, None)
    };
    *s.generators.answer.lock() =
        Some((200, json!({ "feed": [{ "post": uri(&s, post) }] }).to_string()));
    assert_eq!(ask(WHATS_HOT).unwrap(), json!({ "feed": [] }), "nobody here has it");
    assert_eq!(error(ask(&format!("{own}x"))), "InvalidRequest could not find feed");
    assert!(record().is_err() && s.generators.asked.lock().is_empty());

    s.configure(ClientConfig { whats_hot: Some(own.to_owned()), ..ClientConfig::default() });
    assert_eq!(ask(WHATS_HOT).unwrap()["feed"][0]["post"]["uri"], uri(&s, post));
    assert!(s.generators.asked.lock()[0].0.contains("feed=at%3A%2F%2Fdid%3Aplc%3Aa%2F"));
    let found = record().unwrap();
    assert_eq!((&found["uri"], &found["value"]), (&json!(WHATS_HOT), &generator));
    *s.generators.answer.lock() = None;
    assert_eq!(ask(WHATS_HOT).unwrap(), json!({ "feed": [] }), "its service does not answer");
    assert_eq!(error(ask(own)), "UpstreamFailure feed unavailable");
}

#[test]
fn what_a_feed_has_and_the_store_lacks_is_fetched() {
    let network = Arc::new(Network { asked: parking_lot::Mutex::default() });
    let asked = Arc::clone(&network);
    let s = Server::fetching(Fixture::new(), network);
    let f = &s.fixture;
    let a = f.account("a");
    let post = f.post(a, NOW - 9, json!({}));
    let generator = json!({ "$type": "app.bsky.feed.generator", "did": "did:web:feeds.example",
        "displayName": "Feed", "createdAt": "2023-01-01T00:00:00Z" });
    f.record(a, "app.bsky.feed.generator", "feed", generator);
    let far = "at://did:plc:far/app.bsky.feed.post/3kaaaaaaaaa2a";
    let repost = "at://did:plc:far/app.bsky.feed.repost/3kaaaaaaaaa2a";
    let reason = json!({ "$type": "app.bsky.feed.defs#skeletonReasonRepost", "repost": repost });
    let items = json!([{ "post": far }, { "post": uri(&s, post), "reason": reason }]);
    *s.generators.answer.lock() = Some((200, json!({ "feed": items }).to_string()));
    let taken = || {
        let mut asked = std::mem::take(&mut *asked.asked.lock()).into_iter();
        let named = asked.by_ref().map(|request| match request {
            crate::xrpc::FetchRequest::Record { repo, collection, rkey, .. } => {
                format!("at://{repo}/{collection}/{rkey}")
            }
            crate::xrpc::FetchRequest::Account(id) => id,
        });
        named.collect::<Vec<_>>()
    };
    let ask = |feed: &str| s.get("app.bsky.feed.getFeed", &format!("feed={feed}"), None);
    ask("at://did:plc:a/app.bsky.feed.generator/feed").unwrap();
    assert_eq!(taken(), [far.to_owned(), uri(&s, post), repost.to_owned()]);
    let unknown = "at://did:plc:far/app.bsky.feed.generator/other";
    assert_eq!(error(ask(unknown)), "InvalidRequest could not find feed");
    assert_eq!(taken(), [unknown]);
}
