//! What is suggested, over the wire's shapes.

use serde_json::{Value, json};

use super::testing::Server;
use crate::discovery::Settings;
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, Target};
use crate::schema::Rows;
use crate::schema::rows::EdgeKind;
use crate::syntax::Did;

const SUGGESTIONS: &str = "app.bsky.actor.getSuggestions";
const BY_ACTOR: &str = "app.bsky.graph.getSuggestedFollowsByActor";
const USERS: [&str; 5] = [
    "app.bsky.unspecced.getSuggestedUsers",
    "app.bsky.unspecced.getSuggestedOnboardingUsers",
    "app.bsky.unspecced.getSuggestedUsersForDiscover",
    "app.bsky.unspecced.getSuggestedUsersForExplore",
    "app.bsky.unspecced.getSuggestedUsersForSeeMore",
];

fn names(answer: &Value, key: &str) -> Vec<String> {
    let shown = answer[key].as_array().unwrap().iter();
    shown
        .map(|view| view["handle"].as_str().unwrap().trim_end_matches(".test").to_owned())
        .collect()
}

/// Each at a time of its own, the follow of the first first.
fn follow(f: &Fixture, from: ActorId, to: ActorId) {
    f.edge(EdgeKind::Follow, from, Target::Actor(to), NOW - 1_000_000 + i64::from(to.0));
}

/// A viewer who follows three, each of whom follows all of `liked`, who posted today.
fn world(liked: &[&str]) -> (Server, ActorId, Vec<ActorId>) {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let viewer = f.account("viewer");
    let friends = ["f1", "f2", "f3"].map(|name| f.account(name));
    let liked: Vec<ActorId> = liked.iter().map(|name| f.account(name)).collect();
    for friend in friends {
        follow(f, viewer, friend);
        liked.iter().for_each(|id| follow(f, friend, *id));
    }
    for id in &liked {
        f.post(*id, NOW - 1000, json!({}));
    }
    (s, viewer, liked)
}

#[test]
fn whom_those_follow_whom_one_follows() {
    let (s, viewer, liked) = world(&["a", "b", "c"]);
    let f = &s.fixture;
    let answer = s.get(SUGGESTIONS, "", Some(viewer)).unwrap();
    assert_eq!(names(&answer, "actors"), ["a", "b", "c"]);
    assert_eq!(answer["actors"][0]["viewer"]["knownFollowers"]["count"], 3);
    assert_eq!((answer.get("cursor"), answer.get("recIdStr")), (None, None));
    for method in USERS {
        let answer = s.get(method, "limit=2", Some(viewer)).unwrap();
        assert_eq!(names(&answer, "actors"), ["a", "b"], "{method}");
    }
    // A follow counts at once, though the list is young.
    follow(f, viewer, liked[0]);
    let answer = s.get(SUGGESTIONS, "", Some(viewer)).unwrap();
    assert_eq!(names(&answer, "actors"), ["b", "c"]);
}

#[test]
fn who_may_not_be_suggested_is_not() {
    let hidden = ["blocked", "blocker", "muted", "listed", "gone", "spam", "shy", "down", "ok"];
    let (s, viewer, ids) = world(&hidden);
    let f = &s.fixture;
    let all = names(&s.get(SUGGESTIONS, "", Some(viewer)).unwrap(), "actors");
    assert_eq!(all.len(), ids.len());
    // In the middle of the list that was made before.
    let page = s.get(SUGGESTIONS, "limit=1", Some(viewer)).unwrap();
    let cursor = format!("cursor={}", page["cursor"].as_str().unwrap());
    let of = |name| ids[hidden.iter().position(|known| *known == name).unwrap()];
    f.block(viewer, of("blocked"));
    f.block(of("blocker"), viewer);
    f.mute(viewer, of("muted"));
    let list = f.list(of("ok"), "3kmod", MODLIST, &[of("listed")]);
    f.mute_list(viewer, list);
    f.update(of("gone"), |row| row.status = crate::hydrate::AccountStatus::Deactivated);
    let labeler = f.account("default");
    f.label(labeler, Target::Actor(of("spam")), "spam");
    f.take_down(Target::Actor(of("down")));
    f.record(
        of("shy"),
        "app.bsky.actor.contentVisibilityDeclaration",
        "self",
        json!({
            "$type": "app.bsky.actor.contentVisibilityDeclaration",
            "hideFromAlgorithmicRecommendations": true,
        }),
    );
    let answer = s.get(SUGGESTIONS, "", Some(viewer)).unwrap();
    assert_eq!(names(&answer, "actors"), ["ok"]);
    let rest = names(&s.get(SUGGESTIONS, &cursor, Some(viewer)).unwrap(), "actors");
    assert!(rest.iter().all(|name| name == "ok"), "{rest:?}");
    // What the viewer did is nothing to others.
    let mut like = names(&s.get(BY_ACTOR, "actor=ok.test", None).unwrap(), "suggestions");
    like.sort_unstable();
    assert_eq!(like, ["blocked", "blocker", "listed", "muted"]);
}

#[test]
fn pages_are_of_one_list_whatever_changes() {
    let liked: Vec<String> = (0..20).map(|n| format!("p{n:02}")).collect();
    let (s, viewer, ids) = world(&liked.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for turn in 0.. {
        let answer = s.get(SUGGESTIONS, &format!("limit=3{cursor}"), Some(viewer)).unwrap();
        seen.extend(names(&answer, "actors"));
        let Some(next) = answer["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // Whom one follows on the way is not shown again, and nobody is passed over.
        let followed = ids[seen[turn].trim_start_matches('p').parse::<usize>().unwrap()];
        follow(&s.fixture, viewer, followed);
    }
    let mut all = seen.clone();
    all.sort_unstable();
    assert_eq!(all, liked);
    // Somebody else's list, one of another life, and no cursor at all.
    let other = s.fixture.account("other");
    for foreign in [&cursor, "&cursor=zzzz.3"] {
        let answer = s.get(SUGGESTIONS, &foreign[1..], Some(other)).unwrap();
        assert_eq!((names(&answer, "actors").len(), answer.get("cursor")), (0, None));
    }
    let error = s.get(SUGGESTIONS, "cursor=nonsense", Some(viewer)).unwrap_err();
    assert_eq!((error.status().as_u16(), error.name()), (400, "InvalidRequest"));
}

#[test]
fn accounts_like_one_are_those_whom_its_followers_follow() {
    let (s, viewer, liked) = world(&["a", "b", "c"]);
    let f = &s.fixture;
    let answer = s.get(BY_ACTOR, "actor=a.test", None).unwrap();
    assert_eq!(names(&answer, "suggestions"), ["b", "c"]);
    follow(f, viewer, liked[1]);
    let answer = s.get(BY_ACTOR, "actor=a.test", Some(viewer)).unwrap();
    assert_eq!(names(&answer, "suggestions"), ["c"]);
    assert_eq!(
        s.get(BY_ACTOR, "actor=viewer.test", Some(viewer)).unwrap()["suggestions"],
        json!([])
    );
    let error = s.get(BY_ACTOR, "actor=nobody.test", Some(viewer)).unwrap_err();
    assert_eq!(error.status().as_u16(), 400);
}

#[test]
fn the_operators_own_come_first_and_follow_a_reload() {
    let (s, viewer, liked) = world(&["a", "b"]);
    let did = |id| Did::parse(&s.fixture.snapshot().did(id).unwrap()).unwrap();
    let own = s.fixture.account("own");
    let first = |ids: &[ActorId]| Settings { follows: ids.iter().map(|id| did(*id)).collect() };
    s.ctx.discovery.reload(first(&[own, liked[1]]));
    let actors = |who| names(&s.get(SUGGESTIONS, "", who).unwrap(), "actors");
    assert_eq!(actors(Some(viewer)), ["own", "b", "a"]);
    assert_eq!(actors(None), ["own", "b"]);
    assert_eq!(actors(Some(own)), ["b"]);
    s.ctx.discovery.reload(first(&[]));
    assert_eq!(actors(Some(viewer)), ["a", "b"]);
    assert_eq!(actors(None), [""; 0]);
}
