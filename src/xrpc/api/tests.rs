//! Accounts, graph, labels, records and takedowns, call by call.

use std::sync::Arc;

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{AccountStatus, RecordId, Target, graph::MODLIST};
use crate::schema::rows::{EdgeKind, fwd_key, handle_key};
use crate::schema::{Edit, Rows};
use crate::store::Ks;
use crate::xrpc::{Credentials, XrpcError};

const PROFILE: &str = "app.bsky.actor.getProfile";
const CURATE: &str = "app.bsky.graph.defs#curatelist";

fn handles(body: &Value, key: &str) -> Vec<String> {
    let names = body[key].as_array().unwrap().iter().map(|p| p["handle"].as_str().unwrap());
    names.map(|handle| handle.trim_end_matches(".test").to_owned()).collect()
}

fn error(result: Result<Value, XrpcError>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.name(), error.message())
}

#[test]
fn a_profile_as_everybody_sees_it() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    f.record(
        alice,
        "app.bsky.actor.profile",
        "self",
        json!({
            "$type": "app.bsky.actor.profile", "displayName": "Alice", "description": "",
            "website": "http://plain.example", "createdAt": "2023-01-01T00:00:00Z",
            "avatar": { "$type": "blob", "mimeType": "image/png", "size": 3,
                "ref": { "$link": "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi" } },
            "labels": { "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "porn" }] },
            "pinnedPost": { "uri": "nonsense", "cid": "x" },
        }),
    );
    f.follow(bob, alice);
    let view = s.get(PROFILE, "actor=ALICE.test", None).unwrap();
    assert_eq!(view["did"], "did:plc:alice");
    assert_eq!(view["createdAt"], "2023-01-01T00:00:00.000Z");
    assert_eq!(view["followersCount"], 1);
    assert_eq!(view["associated"]["activitySubscription"]["allowSubscriptions"], "followers");
    assert_eq!(view["associated"]["labeler"], false);
    assert_eq!(view["labels"][0]["val"], "porn");
    assert_eq!(view["labels"][0]["src"], "did:plc:alice");
    let avatar = view["avatar"].as_str().unwrap();
    assert!(avatar.starts_with("https://appview.example/img/avatar/plain/did:plc:alice/bafkrei"));
    for absent in ["viewer", "description", "website", "pinnedPost", "banner", "verification"] {
        assert_eq!(view.get(absent), None, "{absent}");
    }
    let seen = s.get(PROFILE, "actor=did:plc:alice", Some(bob)).unwrap();
    assert_eq!(seen["viewer"]["muted"], false);
    assert!(seen["viewer"]["following"].is_string());
}

#[test]
fn a_profile_that_is_not_there() {
    let s = Server::new(Fixture::new());
    let bob = s.fixture.account("bob");
    for (status, expect) in [
        (AccountStatus::Deactivated, "AccountDeactivated Account is deactivated"),
        (AccountStatus::Takendown, "AccountTakedown Account has been suspended"),
        (AccountStatus::Deleted, "InvalidRequest Profile not found"),
    ] {
        s.fixture.update(bob, move |row| row.status = status);
        assert_eq!(error(s.get(PROFILE, "actor=bob.test", None)), expect);
        assert!(
            s.get("app.bsky.actor.getProfiles", "actors=bob.test", None).unwrap()["profiles"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
    s.fixture.update(bob, |row| row.status = AccountStatus::Active);
    for (tombstoned, shown) in [(true, 0), (false, 1)] {
        s.fixture.update(bob, move |row| row.tombstoned = tombstoned);
        let got = s.get("app.bsky.actor.getProfiles", "actors=did:plc:bob", None).unwrap();
        assert_eq!(got["profiles"].as_array().unwrap().len(), shown, "its DID is given up");
        assert_eq!(s.get(PROFILE, "actor=did:plc:bob", None).is_ok(), !tombstoned);
    }
    for nobody in ["nobody.test", "did:plc:nobody"] {
        let got = error(s.get(PROFILE, &format!("actor={nobody}"), None));
        assert_eq!(got, "InvalidRequest Profile not found");
    }
}

#[test]
fn a_row_that_does_not_decode_fails_the_calls_that_need_it_and_no_others() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| f.account(name));
    let damaged = f.edge(EdgeKind::Follow, bob, Target::Actor(alice), NOW - 5);
    f.follow(bob, carol);
    f.write(move |tx| {
        tx.put(Ks::Agg, &Target::Actor(alice).key(), &[0xff; 3]);
        tx.put(Ks::Fwd, &fwd_key(EdgeKind::Follow, bob, damaged), &[]);
        tx.touch(alice);
        tx.touch(bob);
        Ok(())
    });
    let refused = s.get(PROFILE, "actor=alice.test", None).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.name()), (500, "InternalServerError"));
    assert_eq!(s.get(PROFILE, "actor=bob.test", None).unwrap()["handle"], "bob.test");
    let follows = s.get("app.bsky.graph.getFollows", "actor=bob.test", None).unwrap();
    assert_eq!(handles(&follows, "follows"), ["carol"], "one of many is passed over");
    s.post("app.bsky.graph.muteActor", json!({ "actor": "carol.test" }), bob).unwrap();
}

#[test]
fn blocks_hide_follows_and_followers() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let names = ["star", "a", "b", "c", "viewer"];
    let [star, a, b, c, viewer] = names.map(|name| f.account(name));
    for fan in [a, b, c] {
        f.follow(fan, star);
        f.edge(EdgeKind::Follow, star, Target::Actor(fan), NOW - i64::from(fan.0));
    }
    f.block(a, star);
    f.block(viewer, b);
    for (method, key) in [("getFollowers", "followers"), ("getFollows", "follows")] {
        let nsid = format!("app.bsky.graph.{method}");
        let all = s.get(&nsid, "actor=star.test", None).unwrap();
        assert_eq!(handles(&all, key), ["b", "c"], "{method}");
        assert_eq!(all["subject"]["handle"], "star.test");
        assert_eq!(handles(&s.get(&nsid, "actor=star.test", Some(viewer)).unwrap(), key), ["c"]);
        // A page that rules made short is filled up.
        let first = s.get(&nsid, "actor=star.test&limit=1", None).unwrap();
        assert_eq!(handles(&first, key), ["b"]);
        let cursor = first["cursor"].as_str().unwrap();
        let query = format!("actor=star.test&limit=1&cursor={cursor}");
        let second = s.get(&nsid, &query, None).unwrap();
        assert_eq!((handles(&second, key), second.get("cursor")), (vec!["c".to_owned()], None));
        let old = s.get(&nsid, "actor=star.test&cursor=1::2", None).unwrap();
        assert!(handles(&old, key).is_empty());
        let bad = error(s.get(&nsid, "actor=star.test&cursor=x", None));
        assert_eq!(bad, "InvalidRequest Malformed cursor");
        let unknown = error(s.get(&nsid, "actor=no.test", None));
        assert_eq!(unknown, "InvalidRequest Actor not found: no.test");
    }
    f.follow(viewer, c);
    f.edge(EdgeKind::Follow, viewer, Target::Actor(b), NOW);
    let known = "app.bsky.graph.getKnownFollowers";
    let known = |actor: &str| s.get(known, &format!("actor={actor}"), Some(viewer));
    assert_eq!(handles(&known("star.test").unwrap(), "followers"), ["c"]);
    assert_eq!(error(known("no.test")), "InvalidRequest Actor not found: no.test");
}

#[test]
fn blocks_that_are_taken_down_are_not_listed() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [me, a, b, c] = ["me", "a", "b", "c"].map(|name| f.account(name));
    let [_, taken, _] = [(a, 30), (b, 20), (c, 10)]
        .map(|(who, ago)| f.edge(EdgeKind::Block, me, Target::Actor(who), NOW - ago));
    let blocks = |query: &str| {
        let body = s.get("app.bsky.graph.getBlocks", query, Some(me)).unwrap();
        (handles(&body, "blocks"), body.get("cursor").is_some())
    };
    assert_eq!(blocks("limit=2"), (vec!["c".to_owned(), "b".to_owned()], true));
    let block = RecordId::from_index(me, crate::schema::collections::BLOCK, taken);
    f.take_down(Target::Record(block));
    assert_eq!(blocks("limit=2"), (vec!["c".to_owned(), "a".to_owned()], false), "and filled up");
}

#[test]
fn nothing_is_shown_of_accounts_that_are_suspended_or_deactivated_but_that_is_no_error() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [star, viewer] = ["star", "viewer"].map(|name| f.account(name));
    f.list(star, "3kcur", CURATE, &[viewer]);
    for status in [AccountStatus::Suspended, AccountStatus::Deactivated] {
        f.update(star, move |row| row.status = status);
        for actor in ["star.test", "did:plc:star"] {
            let ask = |method: &str| {
                s.get(&format!("app.bsky.{method}"), &format!("actor={actor}"), Some(viewer))
                    .unwrap()
            };
            assert_eq!(ask("graph.getLists"), json!({ "lists": [] }));
            assert_eq!(ask("feed.getActorFeeds"), json!({ "feeds": [] }));
            let known = ask("graph.getKnownFollowers");
            assert_eq!(known["subject"]["did"], "did:plc:star");
            assert_eq!(known["subject"]["handle"], "handle.invalid");
            assert!(handles(&known, "followers").is_empty());
        }
    }
}

#[test]
fn fans_of_the_popular_come_from_the_time_order() {
    use crate::schema::rows::{Counter, fan_key};
    use crate::store::Ks;
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let star = f.account("star");
    let fans: Vec<_> = (0..7).map(|i| f.account(&format!("fan{i}"))).collect();
    for fan in &fans {
        let rkey = f.follow(*fan, star);
        let fan = *fan;
        f.write(move |tx| {
            let key = fan_key(EdgeKind::Follow, Target::Actor(star), NOW - i64::from(fan.0), fan);
            tx.put(Ks::Order, &key, &rkey.0.to_be_bytes());
            Ok(())
        });
    }
    let read = || {
        let (mut got, mut query) = (Vec::new(), "actor=star.test&limit=3".to_owned());
        loop {
            let page = s.get("app.bsky.graph.getFollowers", &query, None).unwrap();
            got.extend(handles(&page, "followers"));
            let Some(cursor) = page.get("cursor") else { return got };
            query = format!("actor=star.test&limit=3&cursor={}", cursor.as_str().unwrap());
        }
    };
    let sorted = read();
    assert_eq!(sorted.len(), 7);
    f.write(move |tx| {
        tx.update_agg(Target::Actor(star), |agg| {
            agg.set_ordered(EdgeKind::Follow);
            agg.set(Counter::Followers, 7);
        })?;
        Ok(())
    });
    assert_eq!(read(), sorted);
}

#[test]
fn mutes_are_private_and_come_and_go() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    f.account("carol");
    let list = f.list(bob, "3kmod", MODLIST, &[bob]);
    let uri = f.snapshot().uri(list).unwrap();
    let mutes =
        |viewer| handles(&s.get("app.bsky.graph.getMutes", "", Some(viewer)).unwrap(), "mutes");
    let mute = |input: Value| s.post("app.bsky.graph.muteActor", input, alice);
    mute(json!({ "actor": "bob.test" })).unwrap();
    mute(json!({ "actor": "did:plc:carol", "onlyReposts": true })).unwrap();
    assert_eq!(
        error(mute(json!({ "actor": "alice.test" }))),
        "InvalidRequest Actor cannot mute themselves"
    );
    assert_eq!(error(mute(json!({ "actor": "nobody.test" }))), "InvalidRequest Actor not found");
    assert_eq!((mutes(alice), mutes(bob)), (vec!["bob".to_owned()], vec![]));
    let carol = s.get(PROFILE, "actor=carol.test", Some(alice)).unwrap();
    assert_eq!(carol["viewer"]["mutedOnlyReposts"], true);
    assert_eq!(carol["viewer"]["muted"], false);
    s.post("app.bsky.graph.unmuteActor", json!({ "actor": "bob.test" }), alice).unwrap();
    assert!(mutes(alice).is_empty());

    s.post("app.bsky.graph.muteActorList", json!({ "list": uri }), alice).unwrap();
    let bob_seen = || s.get(PROFILE, "actor=bob.test", Some(alice)).unwrap()["viewer"].clone();
    assert_eq!(bob_seen()["mutedByList"]["uri"], uri);
    assert_eq!(bob_seen()["mutedByList"]["viewer"]["muted"], true);
    s.post("app.bsky.graph.unmuteActorList", json!({ "list": uri }), alice).unwrap();
    assert_eq!(bob_seen()["muted"], false);
    let not_a_list = json!({ "list": "at://did:plc:bob/app.bsky.feed.post/3k" });
    assert!(s.post("app.bsky.graph.muteActorList", not_a_list, alice).is_err());

    let root = "at://did:plc:bob/app.bsky.feed.post/3kaaaaaaaaa2a";
    s.post("app.bsky.graph.muteThread", json!({ "root": root }), alice).unwrap();
    let muted = || {
        let snapshot = f.snapshot();
        let root = snapshot.target(root).unwrap();
        let kind = crate::private::Kind::MutedThread;
        crate::private::get(&snapshot, kind, alice, root).unwrap()
    };
    assert_eq!(muted(), Some(NOW));
    s.post("app.bsky.graph.unmuteThread", json!({ "root": root }), alice).unwrap();
    assert_eq!(muted(), None);
}

#[test]
fn lists_and_their_items() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [owner, a, b, c] = ["owner", "a", "b", "c"].map(|name| f.account(name));
    let curated = f.list(owner, "3kcur", CURATE, &[a, b, c]);
    let modlist = f.list(owner, "3kmod", MODLIST, &[a, b]);
    f.block(b, owner);
    let uri = |list| f.snapshot().uri(list).unwrap();
    let items = |list, viewer| {
        let query = format!("limit=1&list={}", uri(list));
        let (mut out, mut next) = (Vec::new(), query.clone());
        loop {
            let page = s.get("app.bsky.graph.getList", &next, viewer).unwrap();
            for item in page["items"].as_array().unwrap() {
                out.push(item["subject"]["handle"].as_str().unwrap().replace(".test", ""));
            }
            let Some(cursor) = page.get("cursor") else { return out };
            next = format!("{query}&cursor={}", cursor.as_str().unwrap());
        }
    };
    assert_eq!(items(curated, None), ["c", "a"]);
    assert_eq!(items(curated, Some(owner)), ["c", "b", "a"]);
    assert_eq!(items(modlist, None), ["b", "a"]);
    let lists = |query: &str| {
        let query = format!("actor=owner.test{query}");
        let body = s.get("app.bsky.graph.getLists", &query, None).unwrap();
        body["lists"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lists("").len(), 2);
    assert_eq!(lists("&purposes=modlist"), ["3kmod"]);
    assert_eq!(lists("&purposes=curatelist"), ["3kcur"]);
    let view = s.get("app.bsky.graph.getList", &format!("list={}", uri(curated)), None).unwrap();
    assert_eq!(view["list"]["listItemCount"], 3);
    f.take_down(Target::Record(curated));
    let gone = error(s.get("app.bsky.graph.getList", &format!("list={}", uri(curated)), None));
    assert_eq!(gone, "InvalidRequest List not found");
}

#[test]
fn relationships() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    f.follow(alice, bob);
    f.block(bob, alice);
    let query = "actor=alice.test&others=did:plc:bob&others=did:plc:ghost&others=bob.test&others=did:plc:alice";
    let body = s.get("app.bsky.graph.getRelationships", query, None).unwrap();
    assert_eq!(body["actor"], "did:plc:alice");
    let [bobs, ghost, handle, own] = body["relationships"].as_array().unwrap().as_slice() else {
        panic!("{body}")
    };
    assert_eq!(bobs["$type"], "app.bsky.graph.defs#relationship");
    assert!(bobs["following"].is_string() && bobs["blockedBy"].is_string());
    assert_eq!(bobs.get("blocking"), None);
    assert_eq!(
        *ghost,
        json!({ "$type": "app.bsky.graph.defs#relationship", "did": "did:plc:ghost" })
    );
    assert_eq!(handle["$type"], "app.bsky.graph.defs#notFoundActor");
    assert_eq!(handle["notFound"], true);
    assert_eq!(own["did"], "did:plc:alice");
    let unknown =
        s.get("app.bsky.graph.getRelationships", "actor=no.test&others=did:plc:bob", None);
    let unknown = unknown.unwrap();
    assert_eq!(unknown.get("actor"), None);
    assert_eq!(unknown["relationships"][0]["actor"], "did:plc:bob");
}

#[test]
fn records_are_given_back_with_their_cid() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    let rkey = f.follow(alice, bob);
    let rkey = f.snapshot().rkey_text(rkey).unwrap();
    let get = |collection: &str, rkey: &str, more: &str| {
        let query = format!("repo=alice.test&collection={collection}&rkey={rkey}{more}");
        s.get("com.atproto.repo.getRecord", &query, None)
    };
    for (collection, rkey) in
        [("app.bsky.graph.follow", rkey.as_str()), ("app.bsky.actor.profile", "self")]
    {
        let found = get(collection, rkey, "").unwrap();
        let value = crate::repo::dag_cbor::from_json(&found["value"]);
        let cid = crate::syntax::cid::for_record(&crate::repo::dag_cbor::encode(&value));
        assert_eq!(found["cid"], cid.to_string());
        let same = format!("&cid={}", found["cid"].as_str().unwrap());
        assert!(get(collection, rkey, &same).is_ok());
    }
    let other = "&cid=bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
    for missing in [get("app.bsky.actor.profile", "self", other), get("com.example.none", "x", "")]
    {
        assert_eq!(missing.unwrap_err().name(), "RecordNotFound");
    }
    f.update(alice, |row| row.status = AccountStatus::Deactivated);
    let gone = error(get("app.bsky.actor.profile", "self", ""));
    assert_eq!(gone, "InvalidRequest Could not find repo: alice.test");
}

#[test]
fn labels_by_source() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, labeler) = (f.account("alice"), f.account("labeler"));
    f.label(labeler, Target::Actor(alice), "spam");
    let query = |query: &str| s.get("com.atproto.label.queryLabels", query, None);
    let found = query("uriPatterns=did:plc:alice&sources=did:plc:labeler").unwrap();
    assert_eq!(found["labels"][0]["val"], "spam");
    assert_eq!(found["labels"][0]["src"], "did:plc:labeler");
    let other = query("uriPatterns=did:plc:alice&sources=did:plc:alice").unwrap();
    assert_eq!(other, json!({ "labels": [] }));
    for (bad, message) in [
        ("uriPatterns=did:plc:alice", "source dids are required"),
        ("uriPatterns=a*b&sources=did:plc:labeler", "invalid uri pattern"),
        ("uriPatterns=**&sources=did:plc:labeler", "invalid uri pattern"),
        ("uriPatterns=*&sources=did:plc:labeler&cursor=x", "Malformed cursor"),
        ("uriPatterns=*&sources=did:plc:labeler&cursor=0.zz.0", "Malformed cursor"),
        ("uriPatterns=alice&sources=did:plc:labeler", "invalid uri pattern"),
    ] {
        assert_eq!(query(bad).unwrap_err().message(), message);
    }
}

#[test]
fn labelers_show_their_policies() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, labeler) = (f.account("alice"), f.account("labeler"));
    let id = f.record(
        labeler,
        "app.bsky.labeler.service",
        "self",
        json!({
            "$type": "app.bsky.labeler.service", "createdAt": "2023-01-01T00:00:00.000Z",
            "policies": { "labelValues": ["spam"] },
        }),
    );
    f.edge(EdgeKind::Like, alice, Target::Record(id), NOW);
    let get = |query: &str| {
        let query = format!("dids=did:plc:labeler&dids=did:plc:alice&dids=did:plc:ghost{query}");
        s.get("app.bsky.labeler.getServices", &query, Some(alice)).unwrap()
    };
    let views = get("");
    assert_eq!(views["views"].as_array().unwrap().len(), 1);
    assert_eq!(views["views"][0]["$type"], "app.bsky.labeler.defs#labelerView");
    assert_eq!(views["views"][0]["likeCount"], 1);
    assert!(views["views"][0]["viewer"]["like"].is_string());
    let detailed = get("&detailed=true");
    assert_eq!(detailed["views"][0]["policies"]["labelValues"][0], "spam");
    assert_eq!(detailed["views"][0]["creator"]["associated"]["labeler"], true);
}

#[test]
fn takedowns_of_accounts_records_and_blobs() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let bob = f.account("bob");
    let profile = "at://did:plc:bob/app.bsky.actor.profile/self";
    let cid = s
        .get(
            "com.atproto.repo.getRecord",
            "repo=bob.test&collection=app.bsky.actor.profile&rkey=self",
            None,
        )
        .unwrap()["cid"]
        .clone();
    let admin = |nsid: &str, query: Option<&str>, input: Option<Value>| {
        s.call(nsid, query, input, Credentials::Admin, http::HeaderMap::new())
    };
    let status = |query: &str| {
        admin("com.atproto.admin.getSubjectStatus", Some(query), None)
            .map(|body| body["takedown"].clone())
    };
    let set = |subject: &Value, takedown: Value| {
        let input = json!({ "subject": subject, "takedown": takedown });
        let body = admin("com.atproto.admin.updateSubjectStatus", None, Some(input)).unwrap();
        assert_eq!(body["subject"], *subject);
    };
    let blob = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";
    for (subject, query) in [
        (
            json!({ "$type": "com.atproto.admin.defs#repoRef", "did": "did:plc:bob" }),
            "did=did:plc:bob".to_owned(),
        ),
        (
            json!({ "$type": "com.atproto.repo.strongRef", "uri": profile, "cid": cid }),
            format!("uri={profile}"),
        ),
        (
            json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": "did:plc:bob", "cid": blob }),
            format!("did=did:plc:bob&blob={blob}"),
        ),
    ] {
        assert_eq!(status(&query).unwrap(), json!({ "applied": false }));
        set(&subject, json!({ "applied": true }));
        assert_eq!(status(&query).unwrap(), json!({ "applied": true, "ref": "TAKEDOWN" }));
        set(&subject, json!({ "applied": false }));
        assert_eq!(status(&query).unwrap(), json!({ "applied": false }));
    }
    let repo = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": "did:plc:bob" });
    set(&repo, json!({ "applied": true, "ref": "case 7" }));
    assert_eq!(status("did=did:plc:bob").unwrap()["ref"], "case 7");
    assert_eq!(s.get(PROFILE, "actor=bob.test", None).unwrap_err().name(), "AccountTakedown");
    assert!(admin(PROFILE, Some("actor=bob.test"), None).is_ok());
    assert_eq!(status("did=did:plc:nobody").unwrap_err().name(), "NotFound");
    let as_viewer = s.post(
        "com.atproto.admin.updateSubjectStatus",
        json!({ "subject": repo, "takedown": { "applied": false } }),
        bob,
    );
    assert_eq!(as_viewer.unwrap_err().status(), 401);
}

#[test]
fn activity_subscriptions_show_while_they_are_permitted() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    let put = |subject: &str, post: bool, reply: bool| {
        let to = json!({ "post": post, "reply": reply });
        let input = json!({ "subject": subject, "activitySubscription": to });
        s.post("app.bsky.notification.putActivitySubscription", input, alice)
    };
    let shown = || {
        let view = s.get(PROFILE, "actor=bob.test", Some(alice)).unwrap();
        view["viewer"].get("activitySubscription").cloned()
    };
    assert!(put("did:plc:alice", true, true).is_err());
    let both = json!({ "post": true, "reply": true });
    assert_eq!(put("did:plc:bob", true, true).unwrap()["activitySubscription"], both);
    assert_eq!(shown(), None);
    f.follow(alice, bob);
    assert_eq!(shown(), Some(both.clone()));
    let declaration = json!({
        "$type": "app.bsky.notification.declaration", "allowSubscriptions": "mutuals",
    });
    f.record(bob, "app.bsky.notification.declaration", "self", declaration);
    assert_eq!(shown(), None);
    f.follow(bob, alice);
    assert_eq!(shown(), Some(both));
    assert_eq!(put("did:plc:bob", false, false).unwrap().get("activitySubscription"), None);
    assert_eq!(shown(), None);
}

#[test]
fn who_joined_through_a_starter_pack_lately_is_counted() {
    use crate::schema::rows::{Counter, order_joined_key};
    use crate::store::Ks;
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (owner, a, b) = (f.account("owner"), f.account("a"), f.account("b"));
    let pack = f.record(owner, "app.bsky.graph.starterpack", "3kpack", json!({
        "$type": "app.bsky.graph.starterpack", "name": "pack", "createdAt": "2023-01-01T00:00:00.000Z",
        "list": "at://did:plc:owner/app.bsky.graph.list/3klist",
    }));
    let uri = f.snapshot().uri(pack).unwrap();
    f.record(
        a,
        "app.bsky.actor.profile",
        "self",
        json!({
            "$type": "app.bsky.actor.profile", "joinedViaStarterPack": {
                "uri": uri, "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a" },
        }),
    );
    const DAY: i64 = 24 * 60 * 60 * 1000;
    f.write(move |tx| {
        for (actor, days) in [(a, 1), (b, 6), (owner, 8)] {
            let key = order_joined_key(Target::Record(pack), NOW - days * DAY, actor);
            tx.put(Ks::Order, &key, &[]);
            tx.count(Target::Record(pack), Counter::Joined, 1)?;
        }
        Ok(())
    });
    let view = s.get(PROFILE, "actor=a.test", None).unwrap();
    let via = &view["joinedViaStarterPack"];
    assert_eq!((&via["joinedAllTimeCount"], &via["joinedWeekCount"]), (&json!(3), &json!(2)));
    assert_eq!(via["creator"]["handle"], "owner.test");
}

/// Knows who has a handle that nobody here has.
struct Directory(crate::store::Writer);

impl crate::xrpc::OnRead for Directory {
    fn bring(
        &self,
        missing: Vec<crate::xrpc::FetchRequest>,
        _: std::time::Duration,
    ) -> futures_util::future::BoxFuture<'_, bool> {
        assert_eq!(missing, [crate::xrpc::FetchRequest::Account("far.test".to_owned())]);
        Box::pin(async {
            let known = |tx: &mut crate::store::Tx<'_>| {
                let id = tx.intern_actor("did:plc:far")?;
                tx.put(Ks::Actor, &handle_key("far.test"), &id.0.to_be_bytes());
                Ok(())
            };
            self.0.visible(known).await.is_ok()
        })
    }
}

#[test]
fn who_is_not_known_here_can_be_muted_by_handle() {
    let fixture = Fixture::new();
    let directory = Arc::new(Directory(fixture.writer.clone()));
    let s = Server::fetching(fixture, directory);
    let alice = s.fixture.account("alice");
    s.post("app.bsky.graph.muteActor", json!({ "actor": "far.test" }), alice).unwrap();
    let far = s.fixture.snapshot().actor_id("did:plc:far").unwrap().unwrap();
    let mutes = crate::private::mutes(&s.fixture.snapshot(), alice, None, 100).unwrap();
    assert_eq!(mutes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [far]);
}
