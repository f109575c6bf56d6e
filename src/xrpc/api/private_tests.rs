//! Bookmarks, lists used against others, notification preferences and subscriptions, call by call.

use serde_json::{Value, json};

use super::testing::Server;
use crate::config::Limits;
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, Target};
use crate::private::registrations;
use crate::schema::Rows;
use crate::store::Ks;
use crate::xrpc::XrpcError;
use crate::xrpc::testing::OWN;

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
    let foreign = get("cursor=1700000000000__bafyabc").unwrap();
    assert!(types(&foreign).is_empty() && foreign.get("cursor").is_none(), "of another method");
    assert_eq!(error(get("cursor=x/y")), "InvalidRequest Malformed cursor");

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
fn on_a_full_disk_nothing_is_saved_and_everything_is_read() {
    let s = Server::new(Fixture::new());
    let [me, author] = ["me", "author"].map(|n| s.fixture.account(n));
    let [old, new] = [1, 2].map(|n| s.fixture.post(author, NOW - n, json!({})));
    let [old, new] = [old, new].map(|post| s.fixture.strong_ref(post));
    let create = |what: &Value| s.post("app.bsky.bookmark.createBookmark", what.clone(), me);
    let held = || {
        let body = s.get("app.bsky.bookmark.getBookmarks", "", Some(me)).unwrap();
        body["bookmarks"].as_array().unwrap().len()
    };
    create(&old).unwrap();
    let room = s.fixture.writer.room();
    room.set_floor(u64::MAX);
    for _ in 0..2 {
        let error = create(&new).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (503, "InsufficientStorage"));
    }
    assert_eq!(held(), 1);
    room.set_floor(0);
    while room.is_short() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    create(&new).unwrap();
    assert_eq!(held(), 2);
}

#[test]
fn drafts_are_kept_changed_paged_and_end_at_the_limit() {
    let s = Server::new(Fixture::new());
    let [me, other] = ["me", "other"].map(|n| s.fixture.account(n));
    let draft = |text: &str| json!({ "posts": [{ "text": text }], "langs": ["en"] });
    let create = |text: &str, by| {
        let body = s.post("app.bsky.draft.createDraft", json!({ "draft": draft(text) }), by)?;
        Ok::<_, XrpcError>(body["id"].as_str().unwrap().to_owned())
    };
    let ids = ["a", "b", "c"].map(|text| create(text, me).unwrap());
    assert_eq!(error(create("d", me).map(Value::from)), "DraftLimitReached Drafts limit reached");
    create("theirs", other).unwrap();

    let get = |query: &str| s.get("app.bsky.draft.getDrafts", query, Some(me));
    let shown = |body: &Value| -> Vec<(String, String)> {
        let all = body["drafts"].as_array().unwrap().iter();
        let text = |d: &Value| d["draft"]["posts"][0]["text"].as_str().unwrap().to_owned();
        all.map(|d| (d["id"].as_str().unwrap().to_owned(), text(d))).collect()
    };
    let named = |page: &[(usize, &str)]| -> Vec<(String, String)> {
        page.iter().map(|(id, text)| (ids[*id].clone(), (*text).to_owned())).collect()
    };
    let change = |id: &str, text: &str, by| {
        let input = json!({ "draft": { "id": id, "draft": draft(text) } });
        s.post("app.bsky.draft.updateDraft", input, by).unwrap()
    };
    assert_eq!(change(&ids[0], "A", me), Value::Null);
    for id in ["3kunknown2222", "jzzzzzzzzzzzz"] {
        change(id, "nothing", me);
    }
    change(&ids[1], "not mine", other);
    let page = get("limit=2").unwrap();
    assert_eq!(shown(&page), named(&[(0, "A"), (2, "c")]));
    assert_eq!(page["drafts"][0]["draft"], draft("A"));
    assert!(page["drafts"][0]["updatedAt"].as_str() > page["drafts"][0]["createdAt"].as_str());
    assert_eq!(page["cursor"], page["drafts"][1]["updatedAt"]);
    let rest = get(&format!("cursor={}", page["cursor"].as_str().unwrap())).unwrap();
    assert_eq!((shown(&rest), &rest["cursor"]), (named(&[(1, "b")]), &json!("")));
    assert_eq!(get("cursor=").unwrap()["drafts"].as_array().unwrap().len(), 3);
    for cursor in ["a__b", "1700000000000__x", "3kaaaaaaaaaaa"] {
        assert_eq!(error(get(&format!("cursor={cursor}"))), "InvalidRequest Malformed cursor");
    }
    for id in [&ids[2], &ids[2], &"jzzzzzzzzzzzz".to_owned()] {
        s.post("app.bsky.draft.deleteDraft", json!({ "id": id }), me).unwrap();
    }
    assert_eq!(shown(&get("").unwrap()), named(&[(0, "A"), (1, "b")]));
    create("d", me).unwrap();
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

#[test]
fn lists_used_against_others_come_by_their_own_age() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [me, other, owner, gone] = ["me", "other", "owner", "gone"].map(|n| f.account(n));
    // Created in another order than they are blocked and muted; the last two share a time.
    let made = |by: ActorId, rkey: &str, created: &str| {
        let value = json!({
            "$type": "app.bsky.graph.list", "name": rkey, "purpose": MODLIST, "createdAt": created,
        });
        f.record(by, "app.bsky.graph.list", rkey, value)
    };
    let new = made(owner, "new", "2024-03-01T00:00:00.000Z");
    let old = made(owner, "old", "2023-03-01T00:00:00.000Z");
    let twins = ["twin1", "twin2"].map(|rkey| made(owner, rkey, "2023-06-01T00:00:00.000Z"));
    let orphan = made(gone, "orphan", "2023-07-01T00:00:00.000Z");
    let deleted = made(owner, "deleted", "2023-08-01T00:00:00.000Z");
    let down = made(owner, "down", "2023-09-01T00:00:00.000Z");
    let unused = made(owner, "unused", "2023-10-01T00:00:00.000Z");
    let uri = |list| f.snapshot().uri(list).unwrap();
    let used = [old, twins[0], new, twins[1], orphan, deleted, down];
    for (list, n) in used.into_iter().zip(1..) {
        let block = json!({
            "$type": "app.bsky.graph.listblock", "subject": uri(list),
            "createdAt": format!("2024-05-0{n}T00:00:00.000Z"),
        });
        f.record(me, "app.bsky.graph.listblock", &format!("block{n}"), block);
        s.post("app.bsky.graph.muteActorList", json!({ "list": uri(list) }), me).unwrap();
    }
    f.mute_list(other, unused);
    f.update(gone, |row| row.status = crate::hydrate::AccountStatus::Deactivated);
    f.take_down(Target::Record(down));
    f.write(move |tx| {
        tx.del(Ks::Record, &deleted.to_bytes());
        Ok(())
    });

    for (name, state) in [("getListBlocks", "blocked"), ("getListMutes", "muted")] {
        let nsid = format!("app.bsky.graph.{name}");
        let page = |query: &str, by| {
            let body = s.get(&nsid, query, Some(by)).unwrap();
            let lists = body["lists"].as_array().unwrap().clone();
            (lists, body["cursor"].as_str().map(str::to_owned))
        };
        let names = |lists: &[Value]| -> Vec<String> {
            lists.iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect()
        };
        let (all, cursor) = page("", me);
        let mut middle = vec![all[1].clone(), all[2].clone()];
        assert!(middle[0]["cid"].as_str() > middle[1]["cid"].as_str(), "{name}");
        middle.sort_by_key(|l| l["name"].as_str().unwrap().to_owned());
        assert_eq!((names(&middle), cursor), (vec!["twin1".into(), "twin2".into()], None));
        assert_eq!(
            (names(&all).len(), &all[0]["name"], &all[3]["name"]),
            (4, &json!("new"), &json!("old"))
        );
        assert_eq!(all[0]["creator"]["handle"], "owner.test");
        match &all[0]["viewer"][state] {
            Value::String(block) => assert!(block.ends_with("/app.bsky.graph.listblock/block3")),
            muted => assert_eq!(muted, &json!(true)),
        }

        let (mut paged, mut query) = (Vec::new(), "limit=1".to_owned());
        loop {
            let (lists, cursor) = page(&query, me);
            assert!(lists.len() <= 1);
            paged.extend(names(&lists));
            let Some(cursor) = cursor else { break };
            query = format!("limit=1&cursor={cursor}");
        }
        assert_eq!(paged, names(&all), "{name}");
        let others = if state == "muted" { vec!["unused".to_owned()] } else { Vec::new() };
        assert_eq!(names(&page("", other).0), others);
        assert!(page("cursor=1::2", me).0.is_empty());
        assert_eq!(error(s.get(&nsid, "cursor=x__y", Some(me))), "InvalidRequest Malformed cursor");
    }
}

#[test]
fn devices_register_for_push() {
    let s = Server::new(Fixture::new());
    let [me, other] = ["me", "other"].map(|n| s.fixture.account(n));
    let held = |of| {
        let mut all = registrations::all(&s.fixture.snapshot(), of).unwrap();
        all.sort_by(|a, b| a.token.cmp(&b.token));
        all
    };
    let input = |token: &str, platform: &str, service: &str| {
        json!({
            "serviceDid": service, "token": token, "platform": platform, "appId": "app.example",
            "ageRestricted": true,
        })
    };
    let register = |input: Value, by| s.post("app.bsky.notification.registerPush", input, by);
    let unregister = |input: Value, by| s.post("app.bsky.notification.unregisterPush", input, by);
    let url = "https://up.example/x";
    for call in [&register as &dyn Fn(Value, ActorId) -> Result<Value, XrpcError>, &unregister] {
        for (input, expect) in [
            // No endpoint is configured: as the reference without its push service.
            (
                input("a1b2", "ios", "did:web:else.example"),
                "MethodNotImplemented This service is not configured to support push token registration.",
            ),
            (input(url, "web", "did:web:else.example"), "InvalidRequest Invalid serviceDid."),
            (
                input(url, "windows", OWN),
                "InvalidRequest Unsupported platform: must be \"ios\", \"android\", or \"web\".",
            ),
            (
                input(&format!("{url}{}", "x".repeat(4096)), "web", OWN),
                "InvalidRequest token or appId is too long",
            ),
        ] {
            assert_eq!(error(call(input, me)), expect);
        }
    }
    let subscription = json!({ "endpoint": url, "expirationTime": null }).to_string();
    for (token, platform) in [(url, "android"), (url, "android"), (subscription.as_str(), "web")] {
        assert_eq!(register(input(token, platform, OWN), me).unwrap(), Value::Null);
    }
    // What an earlier name of the server was given is still fine.
    register(input(url, "web", "did:web:old.example"), other).unwrap();
    let mine = held(me);
    assert_eq!(mine.len(), 2);
    assert_eq!((mine[0].token.as_str(), mine[0].platform.name()), (url, "android"));
    assert!(mine[0].age_restricted && mine[0].app_id == "app.example");
    unregister(input(url, "web", OWN), me).unwrap();
    assert_eq!(held(me).len(), 2, "another platform is another registration");
    unregister(input(url, "android", OWN), me).unwrap();
    unregister(input(url, "android", OWN), me).unwrap();
    assert_eq!((held(me).len(), held(other).len()), (1, 1));
}

#[test]
fn no_account_keeps_more_than_its_quota() {
    let s = Server::new(Fixture::new());
    let [me, other] = ["me", "other"].map(|n| s.fixture.account(n));
    s.limit(Limits {
        mutes: 2,
        list_mutes: 2,
        bookmarks: 2,
        subscriptions: 2,
        ..Limits::default()
    });
    let post = |n: usize| format!("at://did:plc:author/app.bsky.feed.post/3k{n}");
    let did = |n: usize| format!("did:plc:subject{n}");
    let list = |n: usize| format!("at://did:plc:author/app.bsky.graph.list/3k{n}");
    let cid = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
    let subscription = |n, post: bool| {
        let to = json!({ "post": post, "reply": false });
        json!({ "subject": did(n), "activitySubscription": to })
    };
    type Input<'a> = Box<dyn Fn(usize) -> Value + 'a>;
    let kinds: [(&str, Input<'_>, &str, Input<'_>, &str); 5] = [
        (
            "app.bsky.graph.muteActor",
            Box::new(|n| json!({ "actor": did(n) })),
            "app.bsky.graph.unmuteActor",
            Box::new(|n| json!({ "actor": did(n) })),
            "MuteLimitReached",
        ),
        (
            "app.bsky.graph.muteThread",
            Box::new(|n| json!({ "root": post(n) })),
            "app.bsky.graph.unmuteThread",
            Box::new(|n| json!({ "root": post(n) })),
            "MuteLimitReached",
        ),
        (
            "app.bsky.graph.muteActorList",
            Box::new(|n| json!({ "list": list(n) })),
            "app.bsky.graph.unmuteActorList",
            Box::new(|n| json!({ "list": list(n) })),
            "MuteLimitReached",
        ),
        (
            "app.bsky.bookmark.createBookmark",
            Box::new(|n| json!({ "uri": post(n), "cid": cid })),
            "app.bsky.bookmark.deleteBookmark",
            Box::new(|n| json!({ "uri": post(n) })),
            "BookmarkLimitReached",
        ),
        (
            "app.bsky.notification.putActivitySubscription",
            Box::new(|n| subscription(n, true)),
            "app.bsky.notification.putActivitySubscription",
            Box::new(|n| subscription(n, false)),
            "SubscriptionLimitReached",
        ),
    ];
    for (add, added, remove, removed, refusal) in &kinds {
        let put = |n, by| s.post(add, added(n), by);
        for n in [0, 1, 1, 0] {
            put(n, me).unwrap();
        }
        for n in [2, 3] {
            let error = put(n, me).unwrap_err();
            assert_eq!((error.status().as_u16(), error.name()), (400, *refusal), "{add}");
        }
        put(1, me).unwrap();
        put(2, other).unwrap();
        s.post(remove, removed(0), me).unwrap();
        put(2, me).unwrap();
        assert!(put(3, me).is_err(), "{add}");
    }
}
