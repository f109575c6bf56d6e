//! The order of the fields of answers. Clients do not depend on it; the tests of the reference do, since they number
//! accounts and records as these appear.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{Target, graph::CURATELIST};
use crate::schema::rows::EdgeKind;
use crate::schema::{ActorId, Rows};

/// The fields of an object as they were written.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Collect)
    }
}

/// The names of the fields of the object behind `path`; of a list it is the first item.
fn names(text: &str, path: &[&str]) -> String {
    if text.starts_with('[') {
        let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
        return names(items.first().unwrap().get(), path);
    }
    let Fields(fields) = serde_json::from_str(text).unwrap();
    match path.split_first() {
        None => fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "),
        Some((first, rest)) => {
            let found = fields.iter().find(|(name, _)| name == first);
            names(found.unwrap_or_else(|| panic!("{first} in {text}")).1.get(), rest)
        }
    }
}

const IMAGE: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";
const CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";

/// Alice, of whom everything is known; she follows bob, who follows her, as carol does, whom bob follows.
fn network() -> (Server, ActorId, ActorId) {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| f.account(name));
    let image =
        json!({ "$type": "blob", "mimeType": "image/png", "size": 3, "ref": { "$link": IMAGE } });
    let list = f.list(alice, "3klist", CURATELIST, &[carol]);
    let uri = f.snapshot().uri(list).unwrap();
    let facets = json!([{ "index": { "byteStart": 0, "byteEnd": 1 }, "features": [] }]);
    f.record(alice, "app.bsky.graph.list", "3klist", json!({
        "$type": "app.bsky.graph.list", "name": "3klist", "purpose": CURATELIST, "avatar": image,
        "description": "d", "descriptionFacets": facets, "createdAt": "2023-02-01T00:00:00.000Z",
    }));
    let pack = f.record(
        alice,
        "app.bsky.graph.starterpack",
        "3kpack",
        json!({
            "$type": "app.bsky.graph.starterpack", "name": "pack", "list": uri,
            "feeds": [], "createdAt": "2023-01-01T00:00:00.000Z",
        }),
    );
    let pack = f.snapshot().uri(pack).unwrap();
    f.record(alice, "app.bsky.actor.profile", "self", json!({
        "$type": "app.bsky.actor.profile", "displayName": "Alice", "pronouns": "she", "description": "d",
        "website": "https://alice.example", "avatar": image, "banner": image,
        "createdAt": "2023-01-01T00:00:00Z", "joinedViaStarterPack": { "uri": pack, "cid": CID },
        "pinnedPost": { "uri": "at://did:plc:alice/app.bsky.feed.post/3kaaaaaaaaa2a", "cid": CID },
    }));
    f.record(alice, "app.bsky.actor.status", "self", json!({
        "$type": "app.bsky.actor.status", "status": "app.bsky.actor.status#live", "durationMinutes": 60,
        "createdAt": "2023-11-14T22:00:00.000Z",
        "embed": { "$type": "app.bsky.embed.external", "external": {
            "uri": "https://live.example", "title": "t", "description": "d", "thumb": image } },
    }));
    f.record(bob, "app.bsky.graph.verification", "3kver", json!({
        "$type": "app.bsky.graph.verification", "subject": "did:plc:alice", "handle": "alice.test",
        "displayName": "Alice", "createdAt": "2023-01-01T00:00:00.000Z",
    }));
    let follows = [(alice, bob), (bob, alice), (carol, alice), (bob, carol)];
    for (at, (from, to)) in (NOW - 100..).zip(follows) {
        f.edge(EdgeKind::Follow, from, Target::Actor(to), at);
    }
    f.mute_list(bob, list);
    (s, alice, bob)
}

fn text(s: &Server, method: &str, query: &str, viewer: ActorId) -> String {
    let reply = s.reply(&format!("app.bsky.{method}"), query, Some(viewer)).unwrap();
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn fields_come_in_the_order_of_the_reference() {
    let (s, alice, bob) = network();
    s.fixture.edge(EdgeKind::Block, alice, Target::Actor(bob), NOW - 1);
    let blocked = text(&s, "actor.getProfile", "actor=alice.test", bob);
    assert_eq!(
        names(&blocked, &["viewer"]),
        "muted mutedOnlyReposts mutedOnlyQuoteposts blockedBy knownFollowers"
    );

    let (s, alice, bob) = network();
    let ask = |method: &str, query: &str| text(&s, method, query, bob);
    let profile = ask("actor.getProfile", "actor=alice.test");
    assert_eq!(
        names(&profile, &[]),
        "did handle displayName pronouns avatar associated viewer labels createdAt status description indexedAt \
         website banner followersCount followsCount postsCount joinedViaStarterPack pinnedPost"
    );
    assert_eq!(
        names(&profile, &["viewer"]),
        "muted mutedOnlyReposts mutedOnlyQuoteposts blockedBy following followedBy knownFollowers"
    );
    assert_eq!(names(&profile, &["status", "embed", "external"]), "uri title description thumb");
    assert_eq!(
        names(&profile, &["joinedViaStarterPack"]),
        "uri cid record creator joinedAllTimeCount joinedWeekCount labels indexedAt"
    );
    assert_eq!(
        names(&profile, &["joinedViaStarterPack", "record"]),
        "list name $type feeds createdAt",
        "as in the record's own bytes"
    );
    let lists = ask("graph.getLists", "actor=alice.test");
    assert_eq!(
        names(&lists, &["lists"]),
        "uri cid name purpose avatar listItemCount indexedAt labels viewer creator description descriptionFacets"
    );
    assert_eq!(names(&ask("graph.getFollows", "actor=alice.test"), &[]), "follows subject");
    assert_eq!(names(&ask("graph.getFollowers", "actor=alice.test"), &[]), "followers subject");
    let known = ask("graph.getKnownFollowers", "actor=alice.test");
    assert_eq!(names(&known, &[]), "subject followers");

    let post = s.fixture.post(alice, NOW - 10, json!({}));
    let reply = s.fixture.reply(bob, NOW - 5, post, post);
    let uri = s.fixture.snapshot().post_uri(reply).unwrap();
    let posts = ask("feed.getPosts", &format!("uris={uri}"));
    assert_eq!(names(&posts, &["posts", "record"]), "text $type reply createdAt");
    assert_eq!(names(&posts, &["posts", "record", "reply"]), "root parent");
}
