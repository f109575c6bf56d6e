//! Labels: which of them apply to an answer, what they do, and who may ask for them.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{AccountStatus, ActorId, NotifRow, PostId, Reason, Target};
use crate::schema::Rows;
use crate::schema::rows::LabelRow;
use crate::store::Ks;
use crate::syntax::{Did, datetime};
use crate::xrpc::Credentials;

const PROFILE: &str = "app.bsky.actor.getProfile";

fn vals(labels: &Value) -> Vec<String> {
    let labels = labels.as_array().unwrap().iter();
    labels
        .map(|l| format!("{}:{}", l["src"].as_str().unwrap(), l["val"].as_str().unwrap()))
        .collect()
}

/// The profile of bob as a client sees it that sends `accept`.
fn bob(s: &Server, accept: Option<&str>, viewer: Credentials) -> Result<Value, String> {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert("atproto-accept-labelers", HeaderValue::from_str(accept).unwrap());
    }
    let seen = s.call(PROFILE, Some("actor=bob.test"), None, viewer, headers);
    seen.map_err(|error| error.name().to_owned())
}

#[test]
fn the_header_names_the_labelers_that_apply() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [bob_id, default, a, b] = ["bob", "default", "a", "b"].map(|name| f.account(name));
    for labeler in [default, a, b] {
        f.label(labeler, Target::Actor(bob_id), "spam");
    }
    for (accept, expect) in [
        (None, vec!["did:plc:default:spam"]),
        (Some("nonsense"), vec!["did:plc:default:spam"]),
        (Some("did:plc:a"), vec!["did:plc:a:spam"]),
        (Some("did:plc:b;redact, did:plc:a"), vec!["did:plc:a:spam", "did:plc:b:spam"]),
        (Some(""), vec![]),
    ] {
        let mut shown = vals(&bob(&s, accept, Credentials::None).unwrap()["labels"]);
        shown.sort();
        assert_eq!(shown, expect, "{accept:?}");
    }
    // A labeler whose account is down labels nothing.
    f.update(a, |row| row.status = AccountStatus::Takendown);
    let seen = bob(&s, Some("did:plc:a,did:plc:b"), Credentials::None).unwrap();
    assert_eq!(vals(&seen["labels"]), ["did:plc:b:spam"]);
}

#[test]
fn the_answer_names_the_labelers_that_were_applied() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [_, _, down] = ["bob", "a", "down"].map(|name| f.account(name));
    f.take_down(Target::Actor(down));
    for (accept, expect) in [
        (None, Some("did:plc:default;redact")),
        (Some("did:plc:a;redact"), Some("did:plc:a;redact")),
        (Some("did:plc:a, did:plc:down, did:plc:nobody"), Some("did:plc:a")),
        (Some(""), Some("")),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert("atproto-accept-labelers", HeaderValue::from_str(accept).unwrap());
        }
        let applied = s.labelers_applied(PROFILE, "actor=bob.test", headers);
        assert_eq!(applied.as_deref(), expect, "{accept:?}");
    }
}

#[test]
fn only_who_may_redact_takes_down() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [bob_id, labeler] = ["bob", "labeler"].map(|name| f.account(name));
    f.label(labeler, Target::Actor(bob_id), "!takedown");
    assert!(bob(&s, Some("did:plc:labeler"), Credentials::None).is_ok());
    let redact = Some("did:plc:labeler;redact");
    assert_eq!(bob(&s, redact, Credentials::None).unwrap_err(), "AccountTakedown");
    assert!(bob(&s, redact, Credentials::Admin).is_ok());
}

fn put(f: &Fixture, src: ActorId, target: Target, val: &str, change: impl FnOnce(&mut LabelRow)) {
    let mut row = LabelRow {
        src,
        val: val.to_owned(),
        cid: String::new(),
        cts: datetime::format_ms(NOW),
        exp: String::new(),
        neg: false,
        sig: vec![1],
    };
    change(&mut row);
    f.write(move |tx| {
        let mut rows = tx.labels(target)?;
        rows.push(row);
        tx.put(Ks::Label, &target.key(), &LabelRow::encode_all(&rows));
        Ok(())
    });
}

#[test]
fn expired_and_negated_labels_do_not_show() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [bob_id, labeler] = ["bob", "labeler"].map(|name| f.account(name));
    let target = Target::Actor(bob_id);
    put(f, labeler, target, "gone", |row| row.exp = datetime::format_ms(NOW - 1));
    put(f, labeler, target, "soon", |row| row.exp = datetime::format_ms(NOW + 1));
    put(f, labeler, target, "back", |row| row.neg = true);
    let labels = bob(&s, Some("did:plc:labeler"), Credentials::None).unwrap()["labels"].clone();
    assert_eq!(vals(&labels), ["did:plc:labeler:soon"]);
    assert_eq!(labels[0].get("sig"), None);
}

#[test]
fn labels_by_pattern_and_page() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [alice, other, labeler] = ["alice", "other", "labeler"].map(|name| f.account(name));
    let post = Target::Post(f.post(alice, NOW, json!({})));
    let profile = |of| {
        Target::of(crate::hydrate::RecordId {
            actor: of,
            coll: crate::schema::collections::PROFILE,
            rkey: crate::schema::Rkey::SELF,
        })
    };
    for target in [Target::Actor(alice), post, profile(alice), Target::Actor(other), profile(other)]
    {
        f.label(labeler, target, "one");
        f.label(labeler, target, "two");
    }
    put(f, labeler, post, "back", |row| row.neg = true);
    let query = |query: &str| {
        let query = format!("{query}&sources=did:plc:labeler");
        s.get("com.atproto.label.queryLabels", &query, None).unwrap()
    };
    let all = |patterns: &str, limit: usize| {
        let (mut out, mut next) = (Vec::new(), String::new());
        loop {
            let page = query(&format!("{patterns}&limit={limit}{next}"));
            let labels = page["labels"].as_array().unwrap().clone();
            assert!(labels.len() <= limit);
            out.extend(labels.iter().map(|l| {
                let uri = l["uri"].as_str().unwrap().trim_start_matches("at://");
                let uri = uri.trim_start_matches("did:plc:").split('/').take(2);
                let uri: Vec<&str> = uri.map(|part| part.rsplit('.').next().unwrap()).collect();
                format!("{}:{}", uri.join("/"), l["val"].as_str().unwrap())
            }));
            let Some(cursor) = page.get("cursor") else { return out };
            next = format!("&cursor={}", cursor.as_str().unwrap());
        }
    };
    let of_alice = ["alice/post:one", "alice/post:two", "alice/profile:one", "alice/profile:two"];
    for limit in [1, 2, 3, 50] {
        assert_eq!(all("uriPatterns=at://did:plc:alice/*", limit), of_alice, "{limit}");
        assert_eq!(all("uriPatterns=*", limit).len(), 10);
        assert_eq!(all("uriPatterns=did:plc:al*&uriPatterns=did:plc:alice", limit).len(), 2);
        assert_eq!(all("uriPatterns=at://*", limit).len(), 6);
        let twice =
            "uriPatterns=at://did:plc:alice/app.bsky.feed.post/*&uriPatterns=at://did:plc:alice/*";
        assert_eq!(all(twice, limit), of_alice);
    }
    for (pattern, count) in [
        ("at://did:plc:alice/app.bsky.feed.post/*", 2),
        ("at://did:plc:alice/app.bsky.actor.profile/*", 2),
        ("at://did:plc:alice/app.bsky.*", 4),
        ("at://did:plc:alice/app.bsky.feed.like/*", 0),
        ("at://did:plc:alice/com.example.never/*", 0),
        ("at://did:plc:nobody/*", 0),
        ("did:plc:nobody", 0),
    ] {
        assert_eq!(all(&format!("uriPatterns={pattern}"), 50).len(), count, "{pattern}");
    }
}

/// What the viewer is shown of replies to and quotes of a post, with these labelers: v1, v2, quotes.
fn shown_below(
    s: &Server,
    root: &str,
    viewer: Option<ActorId>,
    accept: Option<&str>,
) -> [usize; 3] {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert("atproto-accept-labelers", HeaderValue::from_str(accept).unwrap());
    }
    let credentials = viewer.map_or(Credentials::None, |id| {
        let did = Did::parse(&s.fixture.snapshot().did(id).unwrap()).unwrap();
        Credentials::Viewer { did, mod_service: false }
    });
    let get = |nsid: &str, key: &str| {
        let query = format!("{key}={root}");
        s.call(nsid, Some(&query), None, credentials.clone(), headers.clone()).unwrap()
    };
    let tree = get("app.bsky.feed.getPostThread", "uri");
    let flat = get("app.bsky.unspecced.getPostThreadV2", "anchor");
    let quotes = get("app.bsky.feed.getQuotes", "uri");
    let len = |list: &Value| list.as_array().unwrap().len();
    [len(&tree["thread"]["replies"]), len(&flat["thread"]) - 1, len(&quotes["posts"])]
}

#[test]
fn what_needs_review_is_for_the_author_and_their_followers() {
    for by_account in [false, true] {
        let s = Server::new(Fixture::new());
        let f = &s.fixture;
        let [alice, bob, fan, stranger, labeler] =
            ["alice", "bob", "fan", "stranger", "default"].map(|name| f.account(name));
        f.follow(fan, bob);
        let root = f.post(alice, NOW - 9000, json!({}));
        let reply = f.reply(bob, NOW - 8000, root, root);
        let embed = json!({ "$type": "app.bsky.embed.record", "record": f.strong_ref(root) });
        let quote = f.post(bob, NOW - 7000, json!({ "embed": embed }));
        let uri = f.snapshot().post_uri(root).unwrap();
        let told = [(Reason::Reply, reply), (Reason::Quote, quote), (Reason::Mention, quote)];
        f.write(move |tx| {
            for (reason, post) in told {
                let subject = (reason != Reason::Mention).then_some(Target::Post(root));
                let PostId { author, rkey } = post;
                let row = NotifRow { sort: NOW - 1000, author, reason, rkey, subject };
                tx.put(Ks::Notif, &row.key(alice), &row.encode());
            }
            Ok(())
        });
        let notified = || {
            let body = s.get("app.bsky.notification.listNotifications", "", Some(alice)).unwrap();
            body["notifications"].as_array().unwrap().len()
        };
        assert_eq!((shown_below(&s, &uri, None, None), notified()), ([1; 3], 3));
        match by_account {
            true => f.label(labeler, Target::Actor(bob), "needs-review"),
            false => [reply, quote].map(|p| f.label(labeler, Target::Post(p), "needs-review"))[0],
        }
        for (viewer, sees) in
            [(None, 0), (Some(alice), 0), (Some(stranger), 0), (Some(bob), 1), (Some(fan), 1)]
        {
            assert_eq!(shown_below(&s, &uri, viewer, None), [sees; 3], "{viewer:?} {by_account}");
        }
        // From a labeler that may not redact it is a label like others.
        for (accept, sees) in [("did:plc:default", 1), ("", 1), ("did:plc:default;redact", 0)] {
            assert_eq!(shown_below(&s, &uri, None, Some(accept)), [sees; 3], "{accept}");
        }
        assert_eq!(notified(), 0);
        // By itself the post is shown, without the label.
        let query = format!("uris={}", f.snapshot().post_uri(reply).unwrap());
        let posts = s.get("app.bsky.feed.getPosts", &query, None).unwrap()["posts"].clone();
        assert_eq!(posts[0]["labels"], json!([]));
        f.follow(alice, bob);
        assert_eq!((shown_below(&s, &uri, Some(alice), None), notified()), ([1; 3], 3));
    }
}

#[test]
fn authors_label_what_they_publish() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [bob_id, labeler] = ["bob", "labeler"].map(|name| f.account(name));
    let created = datetime::format_ms(NOW - 5000);
    let own = |vals: &[&str]| {
        let values: Vec<_> = vals.iter().map(|val| json!({ "val": val })).collect();
        json!({ "$type": "com.atproto.label.defs#selfLabels", "values": values })
    };
    let labeled = |labels: &Value| -> Vec<[Value; 3]> {
        let labels = labels.as_array().unwrap().iter();
        labels.map(|l| ["src", "val", "cts"].map(|key| l[key].clone())).collect()
    };
    let by_bob = |vals: &[&str]| -> Vec<[Value; 3]> {
        vals.iter().map(|val| [json!("did:plc:bob"), json!(val), json!(created)]).collect()
    };
    f.record(
        bob_id,
        "app.bsky.actor.profile",
        "self",
        json!({ "$type": "app.bsky.actor.profile", "createdAt": created, "labels": own(&["!no-unauthenticated", "bot"]) }),
    );
    let service = json!({ "$type": "app.bsky.labeler.service", "createdAt": created,
        "policies": { "labelValues": [] }, "labels": own(&["spam"]) });
    f.record(bob_id, "app.bsky.labeler.service", "self", service);
    let post = f.post(bob_id, NOW - 5000, json!({ "labels": own(&["porn", "nudity"]) }));
    let quoted = json!({ "$type": "app.bsky.embed.record", "record": f.strong_ref(post) });
    let quote = f.post(labeler, NOW - 4000, json!({ "embed": quoted }));

    // Whichever labelers apply: an author is no labeler.
    for accept in [None, Some(""), Some("did:plc:labeler")] {
        let seen = bob(&s, accept, Credentials::None).unwrap();
        assert_eq!(labeled(&seen["labels"]), by_bob(&["!no-unauthenticated", "bot"]), "{accept:?}");
    }
    let uris = [post, quote].map(|p| format!("uris={}", f.snapshot().post_uri(p).unwrap()));
    let get = |nsid: &str, query: &str| s.get(nsid, query, None).unwrap();
    let body = get("app.bsky.feed.getPosts", &uris.join("&"));
    assert_eq!(labeled(&body["posts"][0]["labels"]), by_bob(&["porn", "nudity"]));
    assert_eq!(
        labeled(&body["posts"][1]["embed"]["record"]["labels"]),
        by_bob(&["porn", "nudity"])
    );
    assert_eq!(labeled(&body["posts"][1]["labels"]), by_bob(&[]));
    let service = get("app.bsky.labeler.getServices", "dids=did:plc:bob");
    assert_eq!(labeled(&service["views"][0]["labels"]), by_bob(&["spam"]));
    // Beside those of labelers, and of what is no self label nothing.
    f.label(labeler, Target::Post(post), "spam");
    let mut headers = HeaderMap::new();
    headers.insert("atproto-accept-labelers", HeaderValue::from_static("did:plc:labeler"));
    let body = s.call("app.bsky.feed.getPosts", Some(&uris[0]), None, Credentials::None, headers);
    let labels = body.unwrap()["posts"][0]["labels"].clone();
    assert_eq!(vals(&labels), ["did:plc:labeler:spam", "did:plc:bob:porn", "did:plc:bob:nudity"]);
    let odd = json!({ "$type": "com.example.labels", "values": [{ "val": "porn" }] });
    let odd = f.post(bob_id, NOW - 3000, json!({ "labels": odd }));
    let query = format!("uris={}", f.snapshot().post_uri(odd).unwrap());
    assert_eq!(get("app.bsky.feed.getPosts", &query)["posts"][0]["labels"], json!([]));
}
