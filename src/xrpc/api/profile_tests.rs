//! Parts of profiles and posts that came after 2024: live status, Germ, verification, galleries, scoped mutes.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{HydrationSettings, Target};
use crate::schema::Rows;
use crate::schema::rows::EdgeKind;
use crate::syntax::datetime;
use crate::xrpc::Credentials;

const CID: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";
const PROFILE: &str = "app.bsky.actor.getProfile";

#[test]
fn a_live_status_ends_and_its_owner_sees_that_it_was_taken_down() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (alice, bob) = (f.account("alice"), f.account("bob"));
    const MINUTE: i64 = 60_000;
    let mut status = None;
    for (begun, minutes, active, ends) in
        [(10, 30, true, 20), (40, 30, false, -10), (1, 1, true, 4), (1, 10_000, true, 239)]
    {
        status = Some(f.record(
            alice,
            "app.bsky.actor.status",
            "self",
            json!({
                "$type": "app.bsky.actor.status", "status": "app.bsky.actor.status#live",
                "durationMinutes": minutes, "createdAt": datetime::format_ms(NOW - begun * MINUTE),
            }),
        ));
        let view = s.get(PROFILE, "actor=alice.test", None).unwrap()["status"].clone();
        assert_eq!(view["isActive"], active, "{begun} {minutes}");
        assert_eq!(view["expiresAt"], datetime::format_ms(NOW + ends * MINUTE));
        assert_eq!(view.get("isDisabled"), None);
    }
    f.take_down(Target::Record(status.unwrap()));
    assert_eq!(s.get(PROFILE, "actor=alice.test", Some(bob)).unwrap().get("status"), None);
    let own = s.get(PROFILE, "actor=alice.test", Some(alice)).unwrap();
    assert_eq!(own["status"]["isDisabled"], true);
}

#[test]
fn a_germ_declaration_shows_unless_it_is_taken_down() {
    let s = Server::new(Fixture::new());
    let alice = s.fixture.account("alice");
    let record = s.fixture.record(
        alice,
        "com.germnetwork.declaration",
        "self",
        json!({
            "$type": "com.germnetwork.declaration", "version": "1.1.0",
            "currentKey": { "$bytes": "AAAA" },
            "messageMe": { "showButtonTo": "everyone", "messageMeUrl": "https://germ.example/me" },
        }),
    );
    let germ = || {
        // As in the reference, getProfile itself shows records that are taken down.
        let view = s.get("app.bsky.actor.getProfiles", "actors=alice.test", None).unwrap();
        view["profiles"][0]["associated"].get("germ").cloned()
    };
    let shown = json!({ "showButtonTo": "everyone", "messageMeUrl": "https://germ.example/me" });
    assert_eq!(germ(), Some(shown));
    s.fixture.take_down(Target::Record(record));
    assert_eq!(germ(), None);
}

#[test]
fn impersonators_are_not_verified() {
    let settings = HydrationSettings {
        trusted_verifiers: vec!["did:plc:trusted".into()],
        ..HydrationSettings::new("https://appview.example")
    };
    let s = Server::new(Fixture::with(settings));
    let f = &s.fixture;
    let [bob, trusted, labeler] = ["bob", "trusted", "labeler"].map(|name| f.account(name));
    let verify = |name: &str, rkey: &str| {
        f.record(trusted, "app.bsky.graph.verification", rkey, json!({
            "$type": "app.bsky.graph.verification", "subject": "did:plc:bob", "handle": "bob.test",
            "displayName": name, "createdAt": "2023-03-01T00:00:00.000Z",
        }));
    };
    let status = |accept: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("atproto-accept-labelers", HeaderValue::from_static(accept));
        let query = Some("actor=bob.test");
        let view = s.call(PROFILE, query, None, Credentials::None, headers).unwrap();
        view["verification"]["verifiedStatus"].as_str().unwrap().to_owned()
    };
    verify("Another name", "v1");
    assert_eq!(status(""), "invalid");
    verify("BOB", "v1");
    assert_eq!(status(""), "valid");
    f.label(labeler, Target::Actor(bob), "impersonation");
    assert_eq!(status("did:plc:labeler"), "valid");
    assert_eq!(status("did:plc:labeler;redact"), "invalid");
}

#[test]
fn a_gallery_shows_ten_pictures() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let alice = f.account("alice");
    let item = |n: usize| {
        json!({
            "$type": "app.bsky.embed.gallery#image", "alt": n.to_string(),
            "image": { "$type": "blob", "mimeType": "image/png", "size": 3, "ref": { "$link": CID } },
            "aspectRatio": { "width": 1, "height": 2 },
        })
    };
    let items: Vec<Value> = (0..20).map(item).collect();
    let post = f.post(
        alice,
        NOW,
        json!({
            "embed": { "$type": "app.bsky.embed.gallery", "items": items },
        }),
    );
    let uri = f.snapshot().post_uri(post).unwrap();
    let body = s.get("app.bsky.feed.getPosts", &format!("uris={uri}"), None).unwrap();
    let shown = body["posts"][0]["embed"]["items"].as_array().unwrap().clone();
    assert_eq!((shown.len(), &shown[9]["alt"]), (10, &json!("9")));
    assert!(
        shown[0]["thumbnail"].as_str().unwrap().contains("/feed_thumbnail/plain/did:plc:alice/")
    );
}

#[test]
fn scoped_mutes_hide_only_reposts_or_quotes() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [me, friend, other] = ["me", "friend", "other"].map(|name| f.account(name));
    f.follow(me, friend);
    let quoted = f.post(other, NOW - 9_000, json!({}));
    f.post(friend, NOW - 3_000, json!({ "text": "plain" }));
    let embed = json!({ "$type": "app.bsky.embed.record", "record": f.strong_ref(quoted) });
    f.post(friend, NOW - 2_000, json!({ "text": "quote", "embed": embed }));
    f.repost(friend, quoted, NOW - 1_000);
    let timeline = || -> Vec<String> {
        let body = s.get("app.bsky.feed.getTimeline", "", Some(me)).unwrap();
        let kind = |item: &Value| match item.get("reason") {
            Some(_) => "repost".to_owned(),
            None => item["post"]["record"]["text"].as_str().unwrap().to_owned(),
        };
        body["feed"].as_array().unwrap().iter().map(kind).collect()
    };
    let mute = |reposts: bool, quotes: bool| {
        let input = json!({
            "actor": "friend.test", "onlyReposts": reposts, "onlyQuoteposts": quotes,
        });
        s.post("app.bsky.graph.muteActor", input, me).unwrap();
        let view = s.get(PROFILE, "actor=friend.test", Some(me)).unwrap()["viewer"].clone();
        [&view["muted"], &view["mutedOnlyReposts"], &view["mutedOnlyQuoteposts"]]
            .map(|flag| flag.as_bool().unwrap())
    };
    assert_eq!(timeline(), ["repost", "quote", "plain"]);
    assert_eq!(mute(true, false), [false, true, false]);
    assert_eq!(timeline(), ["quote", "plain"]);
    assert_eq!(mute(false, true), [false, false, true]);
    assert_eq!(timeline(), ["repost", "plain"]);
    assert_eq!(mute(true, true), [false, true, true]);
    assert_eq!(timeline(), ["plain"]);
    let mutes = s.get("app.bsky.graph.getMutes", "", Some(me)).unwrap();
    assert_eq!(mutes["mutes"], json!([]));
    assert_eq!(mute(false, false), [true, false, false]);
    assert!(timeline().is_empty());
}

#[test]
fn the_operators_services_ask_how_somebody_sees_accounts() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [star, other, viewer, fan] = ["star", "other", "viewer", "fan"].map(|name| f.account(name));
    for (at, (from, to)) in
        (NOW - 100..).zip([(fan, star), (fan, other), (viewer, fan), (viewer, star)])
    {
        f.edge(EdgeKind::Follow, from, Target::Actor(to), at);
    }
    let nsid = "internal.bsky.actor.getProfiles";
    let ask = |more: &str, by: Credentials| {
        let query = format!("dids=did:plc:star&dids=did:plc:other&dids=did:plc:nobody{more}");
        s.call(nsid, Some(&query), None, by, HeaderMap::new())
    };
    let admin = |more: &str| ask(more, Credentials::Admin).unwrap()["profiles"].clone();
    let known = |profile: &Value| profile["viewer"]["knownFollowers"]["count"].as_u64();
    let seen = admin("&viewer=did:plc:viewer&socialProof=did:plc:star&socialProof=did:plc:fan");
    assert_eq!(seen.as_array().unwrap().len(), 2);
    assert_eq!((known(&seen[0]), known(&seen[1])), (Some(1), None));
    assert!(seen[0]["viewer"]["following"].is_string());
    assert!(admin("&socialProof=did:plc:star")[0].get("viewer").is_none());

    f.take_down(Target::Actor(star));
    assert_eq!(admin("&viewer=did:plc:viewer").as_array().unwrap().len(), 1);
    assert_eq!(admin("&includeTakedowns=true")[0]["displayName"], "STAR");
}
