//! What each scope stores.

use super::members::Door;
use super::scope::Mode;
use super::testing::{
    FOLLOW, LIKE, POST, World, at, block, did, follow, gate_nobody, gone, like, map, op, post,
    quote, reply, strong, text, uri,
};
use crate::config::Scope;
use crate::event::Op;
use crate::schema::rows::{AccountStatus, Counter};
use crate::schema::{Rows, Target};
use crate::work::repo_queue;

const REPOST: &str = "app.bsky.feed.repost";

/// `m` is a member and follows `f`; `f` wrote a post, and `m` liked one of `s`.
async fn circle() -> World {
    let mut w = World::new();
    w.restart(Mode::Circle, 30);
    w.commit("m", []).await;
    w.join("m").await;
    w.commit("m", [follow(1, "f"), post(2), like(3, &uri("s", POST, 900))]).await;
    w.commit("f", [post(4)]).await;
    w
}

fn mention(n: u64, whom: &str) -> Op {
    let feature = map([
        ("$type", text("app.bsky.richtext.facet#mention")),
        ("did", text(did(whom).as_str())),
    ]);
    let facet = map([("features", ipld_core::ipld::Ipld::List(vec![feature]))]);
    let v = [
        ("$type", text(POST)),
        ("text", text("@")),
        ("createdAt", text(at(n))),
        ("facets", ipld_core::ipld::Ipld::List(vec![facet])),
    ];
    op(POST, n, map(v))
}

fn repost(n: u64, of: &str) -> Op {
    let v = [("$type", text(REPOST)), ("subject", strong(of)), ("createdAt", text(at(n)))];
    op(REPOST, n, map(v))
}

fn named(coll: &str, n: u64) -> Op {
    let v = [("$type", text(coll)), ("name", text("n")), ("createdAt", text(at(n)))];
    op(coll, n, map(v))
}

fn is_held(w: &World, who: &str, op: &Op) -> bool {
    let s = w.store.snapshot();
    let id = || {
        Some(crate::schema::RecordId {
            actor: s.actor_id(&did(who)).unwrap()?,
            coll: s.coll_id(&op.collection).unwrap()?,
            rkey: s.rkey(&op.rkey).unwrap()?,
        })
    };
    id().is_some_and(|id| crate::schema::rebuild::is_held(&s, id).unwrap())
}

#[tokio::test]
async fn a_circle_stores_what_touches_it() {
    let (of_m, of_f) = (uri("m", POST, 2), uri("f", POST, 4));
    let of_s = |n| uri("s", POST, n);
    for (name, op, stored) in [
        ("post", post(10), false),
        ("reply to a member", reply(11, &of_m, &of_m), true),
        ("reply to one that is followed", reply(12, &of_f, &of_f), true),
        ("reply to a stranger", reply(13, &of_s(1), &of_s(1)), false),
        ("reply in a member's thread", reply(14, &of_m, &of_s(1)), true),
        ("quote", quote(15, &of_m), true),
        ("quote of a stranger", quote(16, &of_s(1)), false),
        ("mention", mention(17, "m"), true),
        ("mention of one that is followed", mention(18, "f"), true),
        ("mention of a stranger", mention(19, "t"), false),
        ("what a member liked", post(900), true),
        ("like", like(20, &of_m), true),
        ("like of a stranger's", like(21, &of_s(1)), false),
        ("repost", repost(22, &of_f), true),
        ("repost of a stranger's", repost(23, &of_s(1)), false),
        ("follow", follow(24, "m"), true),
        ("follow of a stranger", follow(25, "t"), false),
        ("block", block(26, "m"), true),
        ("block of a stranger", block(27, "t"), false),
        ("list", named("app.bsky.graph.list", 28), true),
        ("of no collection we know", named("com.example.other", 29), false),
        ("gate of what a member liked", gate_nobody(900, "s"), true),
        ("gate of another", gate_nobody(30, "s"), false),
    ] {
        let mut w = circle().await;
        w.commit("s", [op.clone()]).await;
        assert_eq!(is_held(&w, "s", &op), stored, "{name}");
        let row = w.store.snapshot().repo(w.actor("s")).unwrap().unwrap();
        assert_eq!(
            row.rev,
            crate::syntax::Tid::parse(&super::testing::tid(w.revs)).unwrap().as_u64()
        );
        for who in ["m", "f"] {
            w.commit(who, [op.clone()]).await;
            let gate = name.starts_with("gate");
            assert!(gate || is_held(&w, who, &op), "{name} by {who}");
        }
        let report = super::check::check(
            &w.store,
            &super::check::Options { full: true, repair: None },
            &mut |_| {},
        );
        let report = report.unwrap();
        assert!(report.is_clean(), "{name}: {:#?}", report.findings);
    }
}

#[tokio::test]
async fn a_record_that_grows_out_of_the_circle_goes() {
    let mut w = circle().await;
    let of_m = uri("m", POST, 2);
    w.commit("s", [reply(10, &of_m, &of_m)]).await;
    w.commit("s", [post(10)]).await;
    assert!(!is_held(&w, "s", &post(10)));
    assert_eq!(w.count(Target::Post(w.post("m", 2)), Counter::Replies), 0);
}

#[tokio::test]
async fn a_window_leaves_out_what_is_old() {
    let (old, young) = (10, 100_000_000);
    let mut w = World::new();
    w.restart(Mode::Window, 30);
    w.commit("m", []).await;
    w.join("m").await;
    w.commit("m", [follow(1, "f")]).await;
    w.commit(
        "s",
        [post(old), post(young), block(old, "t"), follow(old, "t"), follow(old + 1, "m")],
    )
    .await;
    w.commit("f", [post(old)]).await;
    for (who, op, stored) in [
        ("s", post(old), false),
        ("s", post(young), true),
        ("s", block(old, "t"), true),
        ("s", follow(old, "t"), false),
        ("s", follow(old + 1, "m"), true),
        ("f", post(old), true),
    ] {
        assert_eq!(is_held(&w, who, &op), stored, "{who} {} {}", op.collection, op.rkey);
    }
}

#[tokio::test]
async fn follows_are_counted_exactly() {
    let mut w = circle().await;
    w.commit("n", []).await;
    w.join("n").await;
    let kept = |w: &World| w.index.scope().1.contains(w.actor("f"));
    // Twice, and by two.
    w.commit("m", [follow(50, "f")]).await;
    w.commit("n", [follow(51, "f")]).await;
    w.commit("s", [follow(52, "f")]).await;
    for (who, n, left) in [("m", 1, true), ("s", 52, true), ("m", 50, true), ("n", 51, false)] {
        w.commit(who, [gone(FOLLOW, n)]).await;
        assert_eq!(kept(&w), left, "{who} {n}");
    }
    w.commit("m", [follow(53, "f")]).await;
    assert!(kept(&w));
    assert!(w.index.remove_member(&w.private(), w.actor("m")).await.unwrap());
    assert!(!kept(&w) && !w.index.members().contains(w.actor("m")) && w.notifs("m").is_empty());
    assert!(!w.index.remove_member(&w.private(), w.actor("m")).await.unwrap());
    w.join("m").await;
    assert!(kept(&w));
    // As if it had started now.
    let fresh = w.index.scope().1.anew(&w.store.snapshot()).unwrap();
    assert_eq!(fresh.len(), w.index.scope().1.len());
    w.event("m", crate::event::Body::Account(crate::event::HostingStatus::Deleted)).await;
    let (index, m) = (std::sync::Arc::clone(&w.index), w.actor("m"));
    while !w
        .writer
        .durable({
            let index = std::sync::Arc::clone(&index);
            move |tx| super::purge_step(&index, tx, m)
        })
        .await
        .unwrap()
    {}
    assert!(!kept(&w));
    let row = w.store.snapshot().actor(m).unwrap().unwrap();
    assert_eq!(row.status, AccountStatus::Deleted);
}

#[tokio::test]
async fn of_each_member_so_many_are_kept() {
    let mut w = World::new();
    let scope =
        |max_follows| Scope { mode: Mode::Circle, days: 30, max_follows, ..Scope::default() };
    w.restart_with(&scope(2));
    for who in ["m", "n", "a", "b", "c", "d"] {
        w.commit(who, []).await;
    }
    w.join("m").await;
    w.join("n").await;
    let kept = |w: &World| {
        let kept = w.index.scope().1;
        let names = ["a", "b", "c", "d"].into_iter();
        names.filter(|who| kept.contains(w.actor(who))).collect::<String>()
    };
    let job = |w: &World, who| repo_queue::get(&w.store.snapshot(), w.actor(who)).unwrap();
    w.commit("m", [follow(1, "a"), follow(2, "b"), follow(3, "c")]).await;
    assert_eq!(kept(&w), "ab");
    assert!(job(&w, "b").is_some() && job(&w, "c").is_none());
    w.commit("m", [gone(FOLLOW, 3)]).await;
    assert_eq!(kept(&w), "ab", "c was never kept");
    w.commit("m", [gone(FOLLOW, 1), follow(4, "d"), follow(5, "a"), follow(6, "c")]).await;
    assert_eq!(kept(&w), "bd");
    w.commit("n", [follow(1, "a")]).await;
    assert_eq!(kept(&w), "abd", "another has room of its own");
    // As if it had started now: the last ones.
    w.restart_with(&scope(2));
    assert_eq!(kept(&w), "ac");
    let wanted = super::follows_to_fetch(&w.store.snapshot(), w.actor("m"), 2).unwrap();
    assert_eq!(wanted, [w.actor("c"), w.actor("a")]);
    assert!(w.index.remove_member(&w.private(), w.actor("m")).await.unwrap());
    assert_eq!(kept(&w), "a", "of n");
    assert_eq!(w.index.scope().1.len(), (1, 1));
}

#[tokio::test]
async fn the_door_closes_behind_so_many() {
    let mut w = World::new();
    for who in ["a", "b", "c"] {
        w.commit(who, []).await;
    }
    let private = w.private();
    for (who, door, let_in) in [
        ("a", Door::Until(0), false),
        ("a", Door::Until(1), true),
        ("b", Door::Until(1), false),
        ("b", Door::Open, true),
        ("a", Door::Until(0), true),
        ("c", Door::Until(2), false),
    ] {
        let (index, actor) = (&w.index, w.actor(who));
        let joined = index.ensure_member(&w.store, &private, actor, 1, door).await.unwrap();
        assert_eq!(joined, let_in, "{who} {door:?}");
        assert_eq!(index.members().contains(actor), let_in, "{who} {door:?}");
    }
}

#[tokio::test]
async fn who_is_followed_is_fetched_although_its_repo_began_here() {
    let mut w = circle().await;
    w.commit("s", [post(60), like(61, &uri("m", POST, 2))]).await;
    w.commit("m", [follow(62, "s"), gone(LIKE, 3)]).await;
    let job = repo_queue::get(&w.store.snapshot(), w.actor("s")).unwrap().unwrap();
    assert_eq!(job.priority, repo_queue::Priority::Follow);
    assert!(!w.store.snapshot().repo(w.actor("s")).unwrap().unwrap().is_complete());
    w.commit("s", [post(63)]).await;
    assert!(is_held(&w, "s", &post(63)));
}

/// One fetch of the repo of `s`, of a thousandth rev; the `nth` step of it comes after `m` followed `s`.
async fn fetch(w: &mut World, followed_before: usize) {
    use crate::event::Body;
    let rev = crate::syntax::Tid::parse(&super::testing::tid(1000)).unwrap();
    let steps = [
        Body::Wanted,
        Body::Fetching { rev, data: [4; 32] },
        Body::Part { rev, ops: vec![post(70)] },
        Body::Part { rev, ops: vec![post(71)] },
        Body::Fetched { rev },
    ];
    for (n, step) in steps.into_iter().enumerate() {
        if n == followed_before {
            w.commit("m", [follow(72, "s")]).await;
        }
        w.event("s", step).await;
    }
}

#[tokio::test]
async fn who_becomes_kept_while_it_is_fetched_is_fetched_once_more() {
    // Before the fetch, between its steps, after its end.
    for (followed_before, complete) in
        [(0, true), (1, true), (2, true), (3, false), (4, false), (9, false)]
    {
        let mut w = circle().await;
        fetch(&mut w, followed_before).await;
        let row = |w: &World| w.store.snapshot().repo(w.actor("s")).unwrap().unwrap();
        assert_eq!(row(&w).is_complete(), complete, "{followed_before}");
        if followed_before > 4 {
            continue;
        }
        // Whoever works jobs off goes by the mark.
        assert_eq!(row(&w).resync.is_none(), complete, "{followed_before}");
        let kept = |w: &World| [70, 71].map(|n| is_held(w, "s", &post(n)));
        assert_eq!(kept(&w), [followed_before < 3, followed_before < 4]);
        fetch(&mut w, 9).await;
        assert!(row(&w).is_complete(), "{followed_before}");
        assert_eq!(kept(&w), [true, true], "{followed_before}");
    }
}

#[tokio::test]
async fn what_a_commit_or_retention_leaves_out_during_a_fetch_is_missed_too() {
    use crate::event::{Body, Commit};
    let rev = |n| crate::syntax::Tid::parse(&super::testing::tid(n)).unwrap();
    for by_commit in [true, false] {
        let mut w = circle().await;
        let of_f = uri("f", POST, 4);
        w.commit("s", [reply(70, &of_f, &of_f)]).await;
        w.event("s", Body::Wanted).await;
        w.event("s", Body::Fetching { rev: rev(1000), data: [4; 32] }).await;
        if by_commit {
            let newer = Commit { rev: rev(1001), data: None, prev_data: None, ops: vec![post(70)] };
            w.event("s", Body::Commit(newer)).await;
        } else {
            w.commit("m", [gone(FOLLOW, 1)]).await;
            let taken =
                super::retention_tests::run(&w, super::retention_tests::policy(Mode::Circle)).await;
            assert_eq!(taken.posts, 2, "the reply, and what it answers");
        }
        w.commit("m", [follow(72, "s")]).await;
        w.event("s", Body::Part { rev: rev(1000), ops: vec![post(71)] }).await;
        w.event("s", Body::Fetched { rev: rev(1000) }).await;
        let row = w.store.snapshot().repo(w.actor("s")).unwrap().unwrap();
        assert!(!row.is_complete() && row.resync.is_some(), "{by_commit}");
        assert!(is_held(&w, "s", &post(71)) && !is_held(&w, "s", &post(70)));
    }
}
