//! Bookmarks, notification preferences and subscriptions, call by call.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::ActorId;
use crate::hydrate::testing::{Fixture, NOW};
use crate::xrpc::XrpcError;

fn error(result: Result<Value, XrpcError>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.name(), error.message())
}

#[test]
fn bookmarks_are_made_listed_and_taken_away() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [me, other, author, foe] = ["me", "other", "author", "foe"].map(|n| f.account(n));
    let posts = [author, foe, author].map(|by| f.post(by, NOW - 50 - i64::from(by.0), json!({})));
    let refs = [f.strong_ref(posts[0]), f.strong_ref(posts[1])];
    let gone =
        json!({ "uri": "at://did:plc:author/app.bsky.feed.post/3kgone", "cid": refs[0]["cid"] });
    let create = |what: &Value, by| s.post("app.bsky.bookmark.createBookmark", what.clone(), by);
    for what in [&refs[0], &refs[1], &gone, &refs[0]] {
        assert_eq!(create(what, me).unwrap(), Value::Null);
    }
    create(&refs[0], other).unwrap();
    f.block(foe, me);
    let list =
        json!({ "uri": "at://did:plc:author/app.bsky.graph.list/3k", "cid": refs[0]["cid"] });
    assert_eq!(
        error(create(&list, me)),
        "UnsupportedCollection Only 'app.bsky.feed.post' records can be bookmarked"
    );
    let handle = json!({ "uri": "at://author.test/app.bsky.feed.post/3k", "cid": refs[0]["cid"] });
    assert!(error(create(&handle, me)).starts_with("InvalidRequest"));

    let get = |query: &str| s.get("app.bsky.bookmark.getBookmarks", query, Some(me));
    let types = |body: &Value| -> Vec<String> {
        let all = body["bookmarks"].as_array().unwrap().iter();
        all.map(|b| b["item"]["$type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned())
            .collect()
    };
    let all = get("").unwrap();
    assert_eq!(types(&all), ["notFoundPost", "blockedPost", "postView"]);
    assert_eq!(all.get("cursor"), None);
    assert_eq!(all["bookmarks"][0]["subject"], gone);
    assert_eq!(all["bookmarks"][2]["subject"], refs[0]);
    assert_eq!(all["bookmarks"][1]["item"]["author"]["viewer"]["blockedBy"], true);
    let page = get("limit=2").unwrap();
    assert_eq!(types(&page), ["notFoundPost", "blockedPost"]);
    let rest = get(&format!("cursor={}", page["cursor"].as_str().unwrap())).unwrap();
    assert_eq!((types(&rest), rest.get("cursor")), (vec!["postView".to_owned()], None));
    assert_eq!(error(get("cursor=x__y")), "InvalidRequest Malformed cursor");

    let seen = |by: Option<ActorId>| {
        let query = format!("uris={}", refs[0]["uri"].as_str().unwrap());
        let post = s.get("app.bsky.feed.getPosts", &query, by).unwrap()["posts"][0].clone();
        (post["bookmarkCount"].as_u64(), post["viewer"]["bookmarked"].as_bool())
    };
    assert_eq!(seen(Some(me)), (Some(2), Some(true)));
    assert_eq!(seen(Some(author)), (Some(2), Some(false)));
    let delete = |what: &Value| {
        s.post("app.bsky.bookmark.deleteBookmark", json!({ "uri": what["uri"] }), me)
    };
    for _ in 0..2 {
        delete(&refs[0]).unwrap();
    }
    assert!(delete(&list).is_err());
    assert_eq!(seen(Some(me)), (Some(1), Some(false)));
    assert_eq!(types(&get("").unwrap()), ["notFoundPost", "blockedPost"]);
}

#[test]
fn notification_preferences_are_merged_with_what_is_saved() {
    let s = Server::new(Fixture::new());
    let me = s.fixture.account("me");
    let get = || {
        let body = s.get("app.bsky.notification.getPreferences", "", Some(me)).unwrap();
        body["preferences"].clone()
    };
    let default = get();
    assert_eq!(default.as_object().unwrap().len(), 13);
    assert_eq!(default["like"], json!({ "include": "all", "list": true, "push": true }));
    assert_eq!(default["verified"], json!({ "list": true, "push": true }));
    assert_eq!(default["chat"], json!({ "include": "all", "push": true }));
    let put = |input: Value| {
        let body = s.post("app.bsky.notification.putPreferencesV2", input, me).unwrap();
        body["preferences"].clone()
    };
    let like = json!({ "include": "follows", "list": true, "push": false });
    put(json!({ "like": like, "chat": { "include": "accepted", "push": false } }));
    let verified = json!({ "list": false, "push": true });
    let answer = put(json!({ "verified": verified }));
    assert_eq!(answer, get());
    assert_eq!((&answer["like"], &answer["verified"]), (&like, &verified));
    assert_eq!((&answer["chat"], &answer["reply"]), (&default["chat"], &default["reply"]));
}

#[test]
fn saved_priority_holds_where_the_call_does_not_say() {
    let s = Server::new(Fixture::new());
    let me = s.fixture.account("me");
    let put = |priority: bool| {
        let input = json!({ "priority": priority });
        s.post("app.bsky.notification.putPreferences", input, me).unwrap()
    };
    let list = |query: &str| {
        let body = s.get("app.bsky.notification.listNotifications", query, Some(me)).unwrap();
        (body["priority"].as_bool().unwrap(), body["seenAt"].as_str().is_some())
    };
    assert_eq!(list(""), (false, false));
    put(true);
    assert_eq!((list(""), list("priority=false")), ((true, true), (false, true)));
    put(false);
    assert_eq!((list(""), list("priority=true")), ((false, true), (true, true)));
}

#[test]
fn subscriptions_are_paged() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let names = ["me", "a", "b", "c"];
    let [me, a, b, _] = names.map(|n| f.account(n));
    for name in &names[1..] {
        let did = format!("did:plc:{name}");
        let input =
            json!({ "subject": did, "activitySubscription": { "post": true, "reply": false } });
        s.post("app.bsky.notification.putActivitySubscription", input, me).unwrap();
    }
    let list = |query: &str| {
        let nsid = "app.bsky.notification.listActivitySubscriptions";
        let body = s.get(nsid, query, Some(me)).unwrap();
        let shown: Vec<String> = body["subscriptions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["handle"].as_str().unwrap().to_owned())
            .collect();
        (shown, body["cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").0, ["c.test", "b.test", "a.test"]);
    let (first, cursor) = list("limit=2");
    assert_eq!(first, ["c.test", "b.test"]);
    assert_eq!(list(&format!("cursor={}", cursor.unwrap())), (vec!["a.test".to_owned()], None));
    f.follow(me, a);
    let nsid = "app.bsky.notification.listActivitySubscriptions";
    let last = s.get(nsid, "", Some(me)).unwrap()["subscriptions"][2]["viewer"].clone();
    assert_eq!(last["activitySubscription"], json!({ "post": true, "reply": false }));
    f.block(b, me);
    assert_eq!(list(""), (vec!["c.test".to_owned(), "a.test".to_owned()], None));
}
