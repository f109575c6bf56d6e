//! What is suggested, over the wire's shapes.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::testing::Server;
use crate::changes::{Change, Entry, Follower as _, Mark, Position, What};
use crate::discovery::{Ground, Settings, Tagged};
use crate::hydrate::graph::{CURATELIST, MODLIST, REFERENCELIST};
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, Counter, RecordId, Target, collections as c};
use crate::schema::rows::{EdgeKind, order_joined_key};
use crate::schema::{Edit, Rows};
use crate::store::Ks;
use crate::syntax::Did;
use crate::xrpc::Credentials;

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
    // A page that is full leads on, even to an empty one; who got fewer than they asked for is at the end.
    let (s, viewer, _) = world(&["a", "b", "c"]);
    let page = |query: &str| s.get(SUGGESTIONS, query, Some(viewer)).unwrap();
    assert_eq!(page("limit=4").get("cursor"), None);
    let full = page("limit=3");
    assert_eq!(names(&full, "actors").len(), 3);
    let behind = page(&format!("limit=3&cursor={}", full["cursor"].as_str().unwrap()));
    assert_eq!((names(&behind, "actors").len(), behind.get("cursor")), (0, None));
}

#[test]
fn a_cursor_of_another_list_leads_nowhere() {
    let (s, viewer, _) = world(&["a", "b", "c"]);
    let page = s.get(SUGGESTIONS, "limit=1", Some(viewer)).unwrap();
    let cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
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
    let never_seen = s.get(BY_ACTOR, "actor=did:web:never.example", Some(viewer)).unwrap();
    assert_eq!(never_seen["suggestions"], json!([]));
}

#[test]
fn the_operators_own_come_first_and_follow_a_reload() {
    let (s, viewer, liked) = world(&["a", "b"]);
    let did = |id| Did::parse(&s.fixture.snapshot().did(id).unwrap()).unwrap();
    let own = s.fixture.account("own");
    let first = |ids: &[ActorId]| Settings {
        follows: ids.iter().map(|id| did(*id)).collect(),
        ..Settings::default()
    };
    s.ctx.discovery.reload(first(&[own, liked[1]]));
    let actors = |who| names(&s.get(SUGGESTIONS, "", who).unwrap(), "actors");
    assert_eq!(actors(Some(viewer)), ["own", "b", "a"]);
    assert_eq!(actors(None), ["own", "b"]);
    assert_eq!(actors(Some(own)), ["b"]);
    s.ctx.discovery.reload(first(&[]));
    assert_eq!(actors(Some(viewer)), ["a", "b"]);
    assert_eq!(actors(None), [""; 0]);
}

/// What is looked through now and then.
fn with_ground<T>(s: &Server, look: impl FnOnce(&Ground<'_>) -> T) -> T {
    let labelers = [Did::parse("did:plc:default").unwrap()];
    look(&Ground {
        store: &s.fixture.store,
        shared: &s.fixture.shared,
        labelers: &labelers,
        clock: &s.ctx.clock,
        rest: 0,
        stop: &|| false,
    })
}

fn survey(s: &Server) {
    assert!(with_ground(s, |ground| s.ctx.discovery.look(ground).unwrap()));
}

fn asked(s: &Server, nsid: &str, query: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let answer = s.call(nsid, Some(query), None, Credentials::None, map).unwrap();
    names(&answer, "actors")
}

/// Three groups of eight who follow one another: their members, whose profiles say what they like.
fn groups(s: &Server) -> Vec<Vec<ActorId>> {
    let f = &s.fixture;
    let of_group = |(topic, language): (&str, &str)| {
        let members: Vec<ActorId> = (0..8).map(|n| f.account(&format!("{topic}{n}"))).collect();
        for (n, id) in members.iter().enumerate() {
            let profile = json!({
                "$type": "app.bsky.actor.profile",
                "description": format!("I am number {n}, and I love {topic}!"),
            });
            f.record(*id, "app.bsky.actor.profile", "self", profile);
            f.post(*id, NOW - 1000, json!({ "langs": [language] }));
            for step in 1..=4 {
                follow(f, *id, members[(n + step) % 8]);
            }
        }
        members
    };
    [("trains", "de"), ("gardens", "en"), ("chess", "ja")].map(of_group).to_vec()
}

#[test]
fn who_follows_nobody_is_shown_some_of_each_community() {
    let s = Server::new(Fixture::new());
    let groups = groups(&s);
    // Followed by twelve who all follow one another, whom nobody else follows.
    let f = &s.fixture;
    let star = f.account("star");
    let ring: Vec<ActorId> = (0..12).map(|n| f.account(&format!("ring{n}"))).collect();
    for id in &ring {
        follow(f, *id, star);
        ring.iter().filter(|other| *other != id).for_each(|other| follow(f, *id, *other));
    }
    f.label(f.account("default"), Target::Actor(groups[0][0]), "spam");
    survey(&s);
    let newcomer = f.account("newcomer");
    let cold = names(&s.get(SUGGESTIONS, "", Some(newcomer)).unwrap(), "actors");
    let of = |name: &String| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let mut first: Vec<String> = cold.iter().take(3).map(of).collect();
    first.sort_unstable();
    assert_eq!(first, ["chess", "gardens", "trains"], "{cold:?}");
    assert!(
        !cold.iter().any(|name| name == "trains0" || of(name) == "star" || of(name) == "ring"),
        "{cold:?}"
    );
    // The languages that the client prefers come first.
    let german = asked(&s, SUGGESTIONS, "", &[("accept-language", "de-AT,en;q=0.5")]);
    assert_eq!(german.iter().take(7).map(of).collect::<Vec<_>>(), ["trains"; 7]);
    assert_eq!(of(&german[7]), "gardens");
    // So do what the viewer is interested in, before that.
    let topics = [("x-bsky-topics", "chess,Nothing"), ("accept-language", "de")];
    let chess = asked(&s, SUGGESTIONS, "", &topics);
    assert_eq!(chess.iter().take(8).map(of).collect::<Vec<_>>(), ["chess"; 8]);
    assert_eq!(of(&chess[8]), "trains");
}

#[test]
fn a_category_is_who_says_so_and_whom_they_follow() {
    let s = Server::new(Fixture::new());
    let groups = groups(&s);
    let f = &s.fixture;
    let [friend, listed] = ["friend", "listed"].map(|name| f.account(name));
    groups[1].iter().for_each(|id| follow(f, *id, friend));
    let list = f.list(friend, "3kgarden", CURATELIST, &[listed]);
    let record = json!({
        "$type": "app.bsky.graph.list", "name": "Gardens of the world", "purpose": CURATELIST,
        "createdAt": "2023-02-01T00:00:00.000Z",
    });
    f.record(friend, "app.bsky.graph.list", "3kgarden", record);
    assert_eq!(f.snapshot().agg(Target::Record(list)).unwrap().get(Counter::Items), 1);
    survey(&s);
    for method in USERS.into_iter().filter(|method| !method.ends_with("Discover")) {
        let found = asked(&s, method, "category=GARDENS", &[]);
        let (about, others): (Vec<_>, Vec<_>) =
            found.iter().partition(|name| name.starts_with("gardens") || *name == "listed");
        assert_eq!((about.len(), others), (9, vec![&"friend".to_owned()]), "{method}");
        assert_eq!(asked(&s, method, "category=nonsense", &[]), [""; 0]);
    }
}

/// A feed generator that says this of itself, liked by these.
fn feed(f: &Fixture, by: ActorId, name: &str, likes: &[ActorId]) -> RecordId {
    let record = json!({
        "$type": "app.bsky.feed.generator", "did": "did:web:feeds.example", "displayName": name,
        "createdAt": "2023-02-01T00:00:00.000Z",
    });
    let key = format!("feed-{}", name.to_lowercase().replace(' ', "-"));
    let id = f.record(by, "app.bsky.feed.generator", &key, record);
    for like in likes {
        f.edge(
            EdgeKind::Like,
            *like,
            Target::Record(id),
            NOW - 1_000_000 + i64::from(id.rkey.0 as u32),
        );
    }
    id
}

fn feed_names(answer: &Value) -> Vec<&str> {
    let feeds = answer["feeds"].as_array().unwrap().iter();
    feeds.map(|feed| feed["displayName"].as_str().unwrap()).collect()
}

const FEEDS: [&str; 2] =
    ["app.bsky.feed.getSuggestedFeeds", "app.bsky.unspecced.getSuggestedFeeds"];
const POPULAR: &str = "app.bsky.unspecced.getPopularFeedGenerators";

#[test]
fn feeds_by_likes_and_by_those_of_whom_one_follows() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let [viewer, friend, maker, other] =
        ["viewer", "friend", "maker", "other"].map(|name| f.account(name));
    let crowd: Vec<ActorId> = (0..9).map(|n| f.account(&format!("c{n}"))).collect();
    follow(f, viewer, friend);
    feed(f, maker, "Many", &crowd);
    feed(f, maker, "Few", &crowd[..3]);
    let known = feed(f, other, "Known cats", &[friend, crowd[0], crowd[1], crowd[2]]);
    feed(f, maker, "Nobody", &[]);
    survey(&s);
    s.make_searchable();
    let get = |nsid, query: &str, who| s.get(nsid, query, who).unwrap();
    for nsid in [FEEDS[0], FEEDS[1], POPULAR] {
        let answer = get(nsid, "", None);
        assert_eq!(feed_names(&answer), ["Many", "Known cats", "Few"], "{nsid}");
    }
    for nsid in FEEDS {
        assert_eq!(feed_names(&get(nsid, "", Some(viewer))), ["Known cats", "Many", "Few"]);
    }
    assert_eq!(feed_names(&get(POPULAR, "", Some(viewer))), ["Many", "Known cats", "Few"]);
    assert_eq!(feed_names(&get(POPULAR, "query=CATS", None)), ["Known cats"]);
    assert_eq!(feed_names(&get(POPULAR, "query=nobody", None)), ["Nobody"], "liked or not");
    assert_eq!(feed_names(&get(POPULAR, "query=dogs", None)), [""; 0]);
    assert_eq!(feed_names(&get(POPULAR, "query=cats&cursor=1::b", None)), [""; 0]);
    assert_eq!(feed_names(&get(POPULAR, "cursor=1::b", None)), [""; 0]);
    // Pages, and whose feeds are not shown.
    let first = get(POPULAR, "limit=1", Some(viewer));
    let next = format!("limit=1&cursor={}", first["cursor"].as_str().unwrap());
    assert_eq!(feed_names(&get(POPULAR, &next, Some(viewer))), ["Known cats"]);
    assert_eq!(get(FEEDS[1], "limit=1", Some(viewer)).get("cursor"), None);
    f.block(viewer, other);
    assert_eq!(feed_names(&get(FEEDS[0], "", Some(viewer))), ["Many", "Few"]);
    assert_eq!(feed_names(&get(POPULAR, &next, Some(viewer))), ["Few"]);
    assert_eq!(feed_names(&get(FEEDS[0], "", None)).len(), 3);
    let uri = f.snapshot().uri(known).unwrap();
    let settings = Settings { feeds: vec![uri.clone(), uri], ..Settings::default() };
    s.ctx.discovery.reload(settings);
    assert_eq!(feed_names(&get(FEEDS[0], "", None)), ["Known cats", "Many", "Few"]);
    assert_eq!(feed_names(&get(POPULAR, "", None)), ["Known cats", "Many", "Few"]);
}

#[test]
fn starter_packs_by_who_is_in_them_and_who_joined() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let viewer = f.account("viewer");
    let friends: Vec<ActorId> = (0..3).map(|n| f.account(&format!("f{n}"))).collect();
    let others: Vec<ActorId> = (0..3).map(|n| f.account(&format!("o{n}"))).collect();
    friends.iter().for_each(|friend| follow(f, viewer, *friend));
    let pack = |by: ActorId, key: &str, members: &[ActorId], joined: usize| {
        let list = f.list(by, &format!("list-{key}"), REFERENCELIST, members);
        let record = json!({
            "$type": "app.bsky.graph.starterpack", "name": key,
            "list": f.snapshot().uri(list).unwrap(), "createdAt": "2023-02-01T00:00:00.000Z",
        });
        let id = f.record(by, "app.bsky.graph.starterpack", key, record);
        f.write(move |tx| {
            let target = Target::Record(id);
            for n in 0..joined {
                let who = ActorId(1000 + n as u32);
                tx.put(Ks::Order, &order_joined_key(target, NOW - 1000, who), &[]);
            }
            tx.count(target, Counter::Joined, joined as i64)?;
            tx.count(Target::Actor(by), Counter::StarterPacks, 1).map(drop)
        });
        id
    };
    pack(others[0], "joined", &others, 9);
    let known = pack(others[1], "known", &friends, 1);
    // Nobody joined through it yet, but the viewer knows who made it.
    pack(friends[0], "made", &others, 0);
    survey(&s);
    let names = |who| {
        let nsid = "app.bsky.unspecced.getOnboardingSuggestedStarterPacks";
        let answer = s.get(nsid, "", who).unwrap();
        let same = s.get("app.bsky.unspecced.getSuggestedStarterPacks", "", who).unwrap();
        assert_eq!(answer, same);
        let packs = answer["starterPacks"].as_array().unwrap().iter();
        packs.map(|pack| pack["record"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(Some(viewer)), ["known", "made", "joined"]);
    assert_eq!(names(None), ["joined", "known"]);
    f.mute(viewer, friends[0]);
    assert_eq!(names(Some(viewer)), ["known", "joined"]);
    let uri = f.snapshot().uri(known).unwrap();
    s.ctx.discovery.reload(Settings { starter_packs: vec![uri], ..Settings::default() });
    assert_eq!(names(None), ["known", "joined"]);
}

#[test]
fn words_of_communities_with_their_best_account_and_feed() {
    const TAGGED: &str = "app.bsky.unspecced.getTaggedSuggestions";
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let groups = groups(&s);
    feed(f, groups[0][7], "Trainspotting", &groups[0]);
    feed(f, groups[0][7], "All", &[&groups[0][..6], &groups[1][..6], &groups[2][..6]].concat());
    assert_eq!(s.get(TAGGED, "", None).unwrap()["suggestions"], json!([]));
    survey(&s);
    let shown = || {
        let answer = s.get(TAGGED, "", None).unwrap();
        let all = answer["suggestions"].as_array().unwrap().clone();
        let text = |v: &Value| v.as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        let line = |v: &Value| [&v["tag"], &v["subjectType"], &v["subject"]].map(text).join(" ");
        all.iter().map(line).collect::<Vec<_>>()
    };
    let found = shown();
    let trains: Vec<&String> = found.iter().filter(|line| line.starts_with("trains")).collect();
    assert!(trains[0].starts_with("trains feed") && trains[0].ends_with("feed-trainspotting"));
    assert!(trains[1].starts_with("trains actor trains"), "{found:?}");
    for tag in ["gardens", "chess"] {
        assert!(found.iter().any(|line| line.starts_with(&format!("{tag} actor {tag}"))));
    }
    let subject = "did:plc:own".to_owned();
    let own = Tagged { tag: "Own".to_owned(), subject, is_feed: false };
    s.ctx.discovery.reload(Settings { tagged: vec![own], ..Settings::default() });
    assert_eq!(shown(), [vec!["Own actor own".to_owned()], found].concat());
}

/// These write of something with a tag, and what is shown is found out anew.
fn tagged(s: &Server, authors: &[ActorId], tag: &str) {
    let f = &s.fixture;
    let posted = authors.iter().zip(0..).map(|(&actor, seq)| {
        let post = f.post(actor, NOW, json!({ "text": "x", "tags": [tag], "langs": ["de"] }));
        let put = What::Put { coll: c::POST, rkey: post.rkey, rev: 0, cid: [0; 4], created: true };
        Entry { seq, time_us: 0, change: Change { mark: Mark::Live, actor, what: put } }
    });
    let posted: Vec<Entry> = posted.collect();
    s.ctx.trends.apply(&posted, &f.snapshot(), &Position::At(9)).unwrap();
    with_ground(s, |ground| s.ctx.trends.rank(ground).unwrap());
}

#[test]
fn trends_with_some_who_write_of_them() {
    const TRENDS: &str = "app.bsky.unspecced.getTrends";
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    assert_eq!(s.get(TRENDS, "", None).unwrap(), json!({ "trends": [] }));
    let people: Vec<ActorId> = (0..8).map(|n| f.account(&format!("p{n}"))).collect();
    let fans: Vec<ActorId> = (0..9).map(|n| f.account(&format!("fan{n}"))).collect();
    // The first has most followers.
    for (n, id) in people.iter().enumerate() {
        fans.iter().take(9 - n.min(7)).for_each(|fan| follow(f, *fan, *id));
    }
    tagged(&s, &people, "Ça va");
    tagged(&s, &people, "Ça_va");
    f.block(fans[0], people[1]);
    let answer = s.get(TRENDS, "", Some(fans[0])).unwrap();
    let trend = &answer["trends"][0];
    assert_eq!((&trend["displayName"], &trend["topic"]), (&json!("Ça_va"), &json!("Ça_va")));
    assert_eq!(trend["link"], "/hashtag/%C3%87a_va");
    assert_eq!((&trend["postCount"], &trend["status"]), (&json!(8), &json!("hot")));
    assert!(trend["startedAt"].as_str().unwrap().ends_with('Z') && trend.get("category").is_none());
    assert_eq!(names(trend, "actors"), ["p0", "p2", "p3", "p4", "p5"], "the best known first");
    let topics = s.get("app.bsky.unspecced.getTrendingTopics", "limit=1", None).unwrap();
    let shown = json!({ "topic": "Ça_va", "displayName": "Ça_va", "link": "/hashtag/%C3%87a_va" });
    assert_eq!(topics, json!({ "topics": [shown], "suggested": [] }));
}
