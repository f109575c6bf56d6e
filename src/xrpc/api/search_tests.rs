//! Search for accounts, starter packs and feeds, over the wire's shapes.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::graph::REFERENCELIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{AccountStatus, ActorId, Target};
use crate::schema::Rows as _;
use crate::schema::rows::EdgeKind;

const ACTORS: &str = "app.bsky.actor.searchActors";
const TYPEAHEAD: &str = "app.bsky.actor.searchActorsTypeahead";
const PACKS: &str = "app.bsky.graph.searchStarterPacks";
const PACKS_V2: &str = "app.bsky.graph.searchStarterPacksV2";
const FEEDS: &str = "app.bsky.unspecced.getPopularFeedGenerators";

fn names(answer: &Value) -> Vec<&str> {
    let actors = answer["actors"].as_array().unwrap().iter();
    actors.map(|actor| actor["handle"].as_str().unwrap().trim_end_matches(".test")).collect()
}

fn found(s: &Server, nsid: &str, query: &str, viewer: Option<ActorId>) -> Vec<String> {
    let answer = s.get(nsid, query, viewer).unwrap();
    names(&answer).into_iter().map(str::to_owned).collect()
}

#[test]
fn without_an_index_search_alone_is_not_there() {
    let s = Server::new(Fixture::new());
    s.fixture.account("anna");
    for (nsid, query) in [
        (ACTORS, "q=anna"),
        (TYPEAHEAD, "q=anna"),
        (PACKS, "q=anna"),
        (PACKS_V2, "q=anna"),
        (FEEDS, "query=anna"),
    ] {
        assert_eq!(s.get(nsid, query, None).unwrap_err().status().as_u16(), 503, "{nsid}");
    }
    assert_eq!(s.get(FEEDS, "", None).unwrap()["feeds"], json!([]));
}

#[test]
fn profiles_as_their_method_shows_them() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [viewer, anna] = ["viewer", "anna"].map(|name| f.account(name));
    let profile = json!({
        "$type": "app.bsky.actor.profile", "displayName": "Anna Banana", "description": "fruit",
        "createdAt": "2023-01-01T00:00:00.000Z",
    });
    f.record(anna, "app.bsky.actor.profile", "self", profile);
    f.follow(viewer, anna);
    s.make_searchable();
    let whole = s.get(ACTORS, "q=banana", Some(viewer)).unwrap();
    assert_eq!(whole["actors"][0]["description"], "fruit");
    assert!(whole["actors"][0]["viewer"]["following"].is_string());
    let basic = s.get(TYPEAHEAD, "q=ban", Some(viewer)).unwrap();
    assert_eq!((names(&basic), basic["actors"][0].get("description")), (vec!["anna"], None));
    assert_eq!((whole.get("cursor"), basic.get("cursor")), (None, None));
    // The description is searched where it is shown. The older parameter counts where the newer is missing.
    assert_eq!(found(&s, ACTORS, "q=fruit", None), ["anna"]);
    assert_eq!(found(&s, TYPEAHEAD, "q=fruit", None), [""; 0]);
    assert_eq!(found(&s, ACTORS, "term=banana", None), ["anna"]);
    assert_eq!(found(&s, ACTORS, "term=banana&q=viewer", None), ["viewer"]);
    for all in ["", "q=", "q=*"] {
        assert_eq!(found(&s, TYPEAHEAD, all, Some(viewer)), ["anna", "viewer"], "{all}");
    }
    assert_eq!(found(&s, TYPEAHEAD, "limit=1", None), ["anna"], "the most followed");
    for refused in ["q=a&limit=0", "q=a&limit=101", "q=a&cursor=25"] {
        let error = s.get(ACTORS, refused, None).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (400, "InvalidRequest"), "{refused}");
    }
}

#[test]
fn who_may_not_be_shown_is_not_and_who_is_blocked_by_the_exact_handle() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let viewer = f.account("viewer");
    let cast = ["rob0", "rob1", "rob2", "rob3", "rob4", "rob5"];
    let [blocked, blocker, muted, down, asleep, spam] = cast.map(|name| f.account(name));
    f.block(viewer, blocked);
    f.block(blocker, viewer);
    f.mute(viewer, muted);
    for fan in [viewer, muted, spam] {
        f.follow(fan, down);
    }
    f.label(f.account("default"), Target::Actor(spam), "spam");
    s.make_searchable();
    f.take_down(Target::Actor(down));
    f.update(asleep, |row| row.status = AccountStatus::Deactivated);
    for nsid in [ACTORS, TYPEAHEAD] {
        assert_eq!(found(&s, nsid, "q=rob", Some(viewer)), ["rob2", "rob5"], "{nsid}");
        let mut all = found(&s, nsid, "q=rob", None);
        assert_eq!(all.pop().as_deref(), Some("rob5"), "marked ones come last");
        all.sort_unstable();
        assert_eq!(all, ["rob0", "rob1", "rob2"], "{nsid}");
        for (q, expect) in [
            ("rob0.test", vec!["rob0"]),
            ("@ROB1.test", vec!["rob1"]),
            ("rob3.test", vec![]),
            ("rob4.test", vec![]),
        ] {
            let exact = found(&s, nsid, &format!("q={q}"), Some(viewer));
            let expect = if nsid == TYPEAHEAD { expect } else { vec![] };
            assert_eq!(exact, expect, "{nsid} {q}");
        }
        // No place is lost to those that are not shown.
        assert_eq!(found(&s, nsid, "q=rob&limit=1", Some(viewer)), ["rob2"], "{nsid}");
    }
    let answer = s.get(ACTORS, "q=rob2", Some(viewer)).unwrap();
    assert_eq!(answer["actors"][0]["viewer"]["muted"], true);
}

#[test]
fn pages_of_accounts_are_filled_and_end() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let viewer = f.account("viewer");
    for n in 0..20 {
        let other = f.account(&format!("rob{n:02}"));
        if n % 2 == 0 {
            f.edge(EdgeKind::Block, viewer, Target::Actor(other), NOW - n);
        }
    }
    s.make_searchable();
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..4 {
        let answer = s.get(ACTORS, &format!("q=rob&limit=3{cursor}"), Some(viewer)).unwrap();
        all.extend(names(&answer).into_iter().map(str::to_owned));
        let Some(next) = answer["cursor"].as_str() else { break };
        assert_eq!(all.len() % 3, 0, "a page with a cursor is full");
        cursor = format!("&cursor={next}");
    }
    all.sort_unstable();
    let expect: Vec<String> = (1..20).step_by(2).map(|n| format!("rob{n:02}")).collect();
    assert_eq!(all, expect);
}

#[test]
fn starter_packs_with_how_many_there_are() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [viewer, owner, member] = ["viewer", "owner", "member"].map(|name| f.account(name));
    let list = f.list(owner, "3klist", REFERENCELIST, &[member]);
    let list = f.snapshot().uri(list).unwrap();
    for key in ["one", "two", "three"] {
        let record = json!({
            "$type": "app.bsky.graph.starterpack", "name": format!("Gardens {key}"),
            "list": list, "createdAt": "2023-03-01T00:00:00.000Z",
        });
        f.record(owner, "app.bsky.graph.starterpack", key, record);
    }
    s.make_searchable();
    let first = s.get(PACKS_V2, "q=gardens&limit=2", Some(viewer)).unwrap();
    assert_eq!(first["hitsTotal"], 3);
    assert_eq!(first["starterPacks"].as_array().unwrap().len(), 2);
    assert_eq!(first["starterPacks"][0]["listItemsSample"].as_array().unwrap().len(), 1);
    let next = format!("q=gardens&limit=2&cursor={}", first["cursor"].as_str().unwrap());
    let rest = s.get(PACKS, &next, Some(viewer)).unwrap();
    assert_eq!((rest["starterPacks"].as_array().unwrap().len(), rest.get("cursor")), (1, None));
    assert_eq!((rest.get("hitsTotal"), rest["starterPacks"][0].get("feeds")), (None, None));
    let two = s.get(PACKS, "q=owner%20two", Some(viewer)).unwrap();
    assert_eq!(two["starterPacks"][0]["record"]["name"], "Gardens two");
    f.block(owner, viewer);
    let none = s.get(PACKS_V2, "q=gardens", Some(viewer)).unwrap();
    assert_eq!(none["starterPacks"], json!([]));
    assert_eq!(s.get(PACKS, "", None).unwrap_err().status().as_u16(), 400, "q is required");
}
