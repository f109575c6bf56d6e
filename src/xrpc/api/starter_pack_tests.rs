//! Starter packs, membership, and those who opt out.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::graph::{MODLIST, REFERENCELIST};
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, RecordId, Target};
use crate::schema::Rows;
use crate::schema::rows::EdgeKind;

const CURATE: &str = "app.bsky.graph.defs#curatelist";

fn pack(f: &Fixture, owner: ActorId, rkey: &str, list: RecordId, feeds: &[&str]) -> String {
    let refs: Vec<Value> = feeds.iter().map(|uri| json!({ "uri": uri })).collect();
    let record = json!({
        "$type": "app.bsky.graph.starterpack", "name": rkey, "feeds": refs,
        "list": f.snapshot().uri(list).unwrap(), "createdAt": format!("2023-03-0{}T00:00:00.000Z", rkey.len()),
    });
    let id = f.record(owner, "app.bsky.graph.starterpack", rkey, record);
    f.snapshot().uri(id).unwrap()
}

fn members(pack: &Value) -> Vec<&str> {
    let items = pack["listItemsSample"].as_array().unwrap().iter();
    items
        .map(|item| item["subject"]["handle"].as_str().unwrap().trim_end_matches(".test"))
        .collect()
}

#[test]
fn a_starter_pack_with_its_list_feeds_and_most_followed_members() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let owner = f.account("owner");
    let people: Vec<_> = (0..15).map(|i| f.account(&format!("p{i}"))).collect();
    let list = f.list(owner, "3klist", REFERENCELIST, &people);
    let feed = f.record(owner, "app.bsky.feed.generator", "3kfeed", json!({
        "$type": "app.bsky.feed.generator", "did": "did:web:feeds.example", "displayName": "Feed",
        "createdAt": "2023-01-01T00:00:00.000Z",
    }));
    let feed = f.snapshot().uri(feed).unwrap();
    let gone = "at://did:plc:owner/app.bsky.feed.generator/3kgone";
    let uri = pack(f, owner, "abc", list, &[&feed, gone]);
    for fan in &people[..3] {
        f.follow(*fan, people[0]);
    }
    f.follow(people[4], people[2]);
    f.block(people[3], owner);
    let get = |uri: &str, viewer| {
        let query = format!("starterPack={uri}");
        s.get("app.bsky.graph.getStarterPack", &query, viewer).map(|b| b["starterPack"].clone())
    };

    let seen = get(&uri, None).unwrap();
    assert_eq!(seen["record"]["name"], "abc");
    assert_eq!(seen["list"]["purpose"], REFERENCELIST);
    assert_eq!(seen["list"]["listItemCount"], 15);
    assert_eq!(seen["feeds"].as_array().unwrap().len(), 1);
    assert_eq!(seen["feeds"][0]["uri"], feed);
    // The most followed first, then the newest; no more than a dozen, and nobody who has a block with the owner.
    assert_eq!(
        members(&seen),
        ["p0", "p2", "p14", "p13", "p12", "p11", "p10", "p9", "p8", "p7", "p6", "p5"]
    );
    f.follow(people[5], people[3]);
    assert!(!members(&get(&uri, Some(people[0])).unwrap()).contains(&"p3"));
    assert!(members(&get(&uri, Some(owner)).unwrap()).contains(&"p3"));

    let by_handle = uri.replace("did:plc:owner", "owner.test");
    assert_eq!(get(&by_handle, None).unwrap()["uri"], uri);
    for bad in [gone, "at://did:plc:owner/app.bsky.graph.starterpack/3kno", &feed] {
        assert_eq!(get(bad, None).unwrap_err().message(), "Starter pack not found");
    }
    let several = format!("uris={uri}&uris={gone}&uris={uri}");
    let several = s.get("app.bsky.graph.getStarterPacks", &several, None).unwrap();
    assert_eq!(several["starterPacks"].as_array().unwrap().len(), 2);

    f.take_down(Target::Actor(owner));
    assert!(get(&uri, None).is_err());
}

#[test]
fn who_opts_out_of_a_reference_list_is_seen_by_its_owner_only() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [owner, a, b] = ["owner", "a", "b"].map(|name| f.account(name));
    let list = f.list(owner, "3kref", REFERENCELIST, &[a, b]);
    let curated = f.list(owner, "3kcur", CURATE, &[a, b]);
    let uri = |list| f.snapshot().uri(list).unwrap();
    let pack = pack(f, owner, "abc", list, &[]);
    for (rkey, list) in [("3kaaaaaaaaa2a", list), ("3kaaaaaaaaa3a", curated)] {
        let record = json!({
            "$type": "app.bsky.graph.referencelistoptout", "subject": uri(list),
            "createdAt": "2023-03-01T00:00:00.000Z",
        });
        f.record(a, "app.bsky.graph.referencelistoptout", rkey, record);
    }
    let sample = |viewer| {
        let query = format!("starterPack={pack}");
        s.get("app.bsky.graph.getStarterPack", &query, viewer).unwrap()["starterPack"].clone()
    };
    let items = |list, viewer| {
        let query = format!("list={}", uri(list));
        s.get("app.bsky.graph.getList", &query, viewer).unwrap()
    };
    assert_eq!(members(&sample(None)), ["b"]);
    assert_eq!(items(list, Some(b))["items"].as_array().unwrap().len(), 1);
    assert_eq!(items(curated, None)["items"].as_array().unwrap().len(), 2);

    let own = sample(Some(owner));
    assert_eq!(members(&own), ["b", "a"]);
    assert_eq!(own["listItemsSample"][0].get("subjectOptedOut"), None);
    assert_eq!(own["listItemsSample"][1]["subjectOptedOut"], true);
    assert_eq!(items(list, Some(owner))["items"][1]["subjectOptedOut"], true);

    let viewer = &items(list, Some(a))["list"]["viewer"];
    assert_eq!(
        viewer["referenceListOptOut"],
        "at://did:plc:a/app.bsky.graph.referencelistoptout/3kaaaaaaaaa2a"
    );
    assert_eq!(items(curated, Some(a))["list"]["viewer"].get("referenceListOptOut"), None);
    assert_eq!(items(list, Some(b))["list"]["viewer"].get("referenceListOptOut"), None);
}

#[test]
fn which_of_the_viewers_lists_and_packs_an_account_is_on() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [owner, a, b] = ["owner", "a", "b"].map(|name| f.account(name));
    let mods = f.list(owner, "3kmod", MODLIST, &[b]);
    f.list(owner, "3kcur", CURATE, &[a]);
    let reference = f.list(owner, "3kref", REFERENCELIST, &[a]);
    f.list(b, "3kother", CURATE, &[a]);
    pack(f, owner, "ab", reference, &[]);
    pack(f, owner, "abc", mods, &[]);
    let lists = |query: &str, viewer| {
        let body = s.get("app.bsky.graph.getListsWithMembership", query, Some(viewer));
        let rows = body?["listsWithMembership"].as_array().unwrap().clone();
        let row = |row: &Value| {
            format!("{}:{}", row["list"]["name"].as_str().unwrap(), row["listItem"].is_object())
        };
        Ok::<_, crate::xrpc::XrpcError>(rows.iter().map(row).collect::<Vec<_>>())
    };
    let mut all = lists("actor=a.test", owner).unwrap();
    all.sort();
    assert_eq!(all, ["3kcur:true", "3kmod:false"]);
    assert_eq!(lists("actor=a.test&purposes=modlist", owner).unwrap(), ["3kmod:false"]);
    assert_eq!(lists("actor=b.test&purposes=modlist", owner).unwrap(), ["3kmod:true"]);
    assert_eq!(lists("actor=did:plc:nobody&purposes=modlist", owner).unwrap(), ["3kmod:false"]);
    assert!(lists("actor=b.test&cursor=1::2", owner).unwrap().is_empty());
    assert!(lists("actor=b.test", a).unwrap().is_empty());
    let error = lists("actor=nobody.test", owner).unwrap_err();
    assert_eq!(error.message(), "Profile not found");

    let packs = |query: &str| {
        let nsid = "app.bsky.graph.getStarterPacksWithMembership";
        let body = s.get(nsid, query, Some(owner)).unwrap();
        let rows = body["starterPacksWithMembership"].as_array().unwrap().clone();
        let row = |row: &Value| {
            let name = row["starterPack"]["record"]["name"].as_str().unwrap().to_owned();
            (name, row["listItem"]["subject"]["handle"].as_str().map(str::to_owned))
        };
        (rows.iter().map(row).collect::<Vec<_>>(), body.get("cursor").cloned())
    };
    let (page, cursor) = packs("actor=a.test&limit=1");
    assert_eq!(page, [("abc".to_owned(), None)]);
    let cursor = cursor.unwrap();
    let (page, end) = packs(&format!("actor=a.test&limit=1&cursor={}", cursor.as_str().unwrap()));
    assert_eq!((page, end), (vec![("ab".to_owned(), Some("a.test".to_owned()))], None));
}

#[test]
fn the_packs_of_an_account_are_paged() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (owner, other) = (f.account("owner"), f.account("other"));
    let list = f.list(owner, "3klist", REFERENCELIST, &[]);
    for rkey in ["a", "bb", "ccc"] {
        pack(f, owner, rkey, list, &[]);
    }
    f.edge(EdgeKind::Follow, other, Target::Actor(owner), NOW);
    let get = |query: &str| s.get("app.bsky.graph.getActorStarterPacks", query, None);
    let names = |body: &Value| -> Vec<String> {
        let packs = body["starterPacks"].as_array().unwrap().iter();
        packs.map(|p| p["record"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = get("actor=owner.test&limit=2").unwrap();
    assert_eq!(names(&first), ["ccc", "bb"]);
    let next = format!("actor=owner.test&cursor={}", first["cursor"].as_str().unwrap());
    let last = get(&next).unwrap();
    assert_eq!((names(&last), last.get("cursor")), (vec!["a".to_owned()], None));
    assert!(names(&get("actor=did:plc:nobody").unwrap()).is_empty());
    for (query, message) in [
        ("actor=nobody.test", "Profile not found"),
        ("actor=owner.test&cursor=1::2", "Malformed cursor"),
    ] {
        assert_eq!(get(query).unwrap_err().message(), message);
    }
}
