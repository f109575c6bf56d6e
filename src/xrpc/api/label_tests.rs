//! Labels: which of them apply to an answer, what they do, and who may ask for them.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{AccountStatus, ActorId, Target};
use crate::store::rows::LabelRow;
use crate::store::{Ks, Reader};
use crate::syntax::datetime;
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
            coll: crate::store::collections::PROFILE,
            rkey: crate::store::Rkey::SELF,
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
