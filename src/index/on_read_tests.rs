//! Single records beside streams and whole repos.

use std::sync::Arc;

use super::check::{Options, check};
use super::scope::Mode;
use super::testing::*;
use super::*;
use crate::event::{HostingStatus, IdentityState, Op};
use crate::schema::Target;
use crate::schema::rows::{AccountStatus, Counter};
use crate::syntax::Tid;
use crate::work::{on_read, recheck};

fn rev(n: u64) -> Tid {
    Tid::parse(&tid(n)).unwrap()
}

fn found(n: u64, ops: impl Into<Vec<Op>>) -> Body {
    Body::Found { rev: rev(n), ops: ops.into() }
}

fn chained(n: u64, prev: u8, ops: Vec<Op>) -> Body {
    let data = Some([u8::try_from(n).unwrap(); 32]);
    Body::Commit(Commit { rev: rev(n), data, prev_data: Some([prev; 32]), ops })
}

fn posts(w: &World) -> u64 {
    w.count(Target::Actor(w.actor("a")), Counter::Posts)
}

#[tokio::test]
async fn found_records_leave_the_repo_as_it_was() {
    let mut w = World::new();
    w.event("a", found(5, [post(1)])).await;
    let a = w.actor("a");
    assert_eq!((posts(&w), w.store.snapshot().repo(a).unwrap()), (1, None));
    // Commits from before the found rev are no replays, and what both bring is there once.
    w.event("a", chained(4, 9, vec![post(1), post(4)])).await;
    w.event("a", chained(5, 4, vec![post(5)])).await;
    assert_eq!(posts(&w), 3);
    assert!(w.requests.resync.try_recv().is_err(), "no gap");
    let row = w.store.snapshot().repo(a).unwrap();
    w.event("a", found(7, [post(7)])).await;
    assert_eq!((posts(&w), w.store.snapshot().repo(a).unwrap()), (4, row));
    // And taken away again there is nothing of them.
    w.event("a", chained(6, 5, vec![gone(POST, 7), gone(POST, 1)])).await;
    assert_eq!(posts(&w), 2);
    // The order of a found record and of what refers to it does not matter.
    w.commit("b", [like(2, &uri("c", POST, 3))]).await;
    w.event("c", found(9, [post(3)])).await;
    assert_eq!(w.count(Target::Post(w.post("c", 3)), Counter::Likes), 1);
}

#[tokio::test]
async fn what_is_known_better_stays() {
    let w = World::new();
    w.event("a", chained(3, 9, vec![post(3)])).await;
    w.event("a", found(2, [post(1)])).await;
    assert_eq!(posts(&w), 1, "older than what is held");
    w.event("a", Body::Wanted).await;
    w.event("a", Body::Fetching { rev: rev(4), data: [4; 32] }).await;
    // The repo that is being fetched is older, lacks it, and would take it away.
    w.event("a", found(5, [post(5)])).await;
    w.event("a", Body::Part { rev: rev(4), ops: vec![gone(POST, 5)] }).await;
    assert_eq!(posts(&w), 2);
    w.event("a", Body::Fetched { rev: rev(4) }).await;
    w.event("a", found(6, [post(6)])).await;
    assert_eq!(posts(&w), 2, "a complete repo has what there is");
    for status in [HostingStatus::Takendown, HostingStatus::Deleted] {
        w.event("d", Body::Account(status)).await;
        w.event("d", found(1, [post(1)])).await;
        assert_eq!(w.count(Target::Actor(w.actor("d")), Counter::Posts), 0);
    }
}

fn clean(w: &World) {
    let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

async fn found_at(w: &World, who: &str, n: u64, at: i64, ops: impl Into<Vec<Op>>) {
    let event = Event::found_here(did(who), at, found(n, ops));
    let index = Arc::clone(&w.index);
    w.writer.durable(move |tx| index.apply(tx, &[event])).await.unwrap();
}

/// Evicts until `target` bytes are left, in as many steps as it takes.
async fn evict_to(w: &World, target: u64) -> usize {
    for steps in 1.. {
        let (index, kept) =
            (Arc::clone(&w.index), w.index.scope().1.anew(&w.store.snapshot()).unwrap());
        let more = w.writer.durable(move |tx| evict(&index, tx, &kept, NOW, target)).await.unwrap();
        if !more {
            return steps;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn what_was_fetched_first_goes_first_and_the_rest_adds_up() {
    let mut w = World::new();
    let held = |w: &World, n| w.store.snapshot().post(w.post("a", n)).unwrap().is_some();
    let total = |w: &World| on_read::total(&w.store.snapshot()).unwrap();
    for n in 1..=9_u64 {
        found_at(&w, "a", 20, 1000 - n.cast_signed(), [post(n)]).await;
    }
    // Fetched again, so it is young.
    found_at(&w, "a", 20, 2000, [post(9)]).await;
    w.commit(
        "b",
        [like(30, &uri("a", POST, 8)), reply(31, &uri("a", POST, 7), &uri("a", POST, 7))],
    )
    .await;
    let each = total(&w).bytes / 9;
    assert_eq!(total(&w).records, 9);
    w.restart(Mode::Whole, 30);
    assert_eq!(evict_to(&w, each * 6).await, 1);
    assert_eq!((1..=9).filter(|n| held(&w, *n)).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 9]);
    assert_eq!((total(&w).records, posts(&w)), (6, 6));
    // What others did stays, and counts again when it is fetched again.
    assert_eq!(w.count(Target::Post(w.post("a", 8)), Counter::Likes), 1);
    clean(&w);
    found_at(&w, "a", 21, 3000, [post(8)]).await;
    assert_eq!(w.count(Target::Post(w.post("a", 8)), Counter::Likes), 1);
    let many: Vec<_> = (100..400).map(post).collect();
    found_at(&w, "c", 500, 4000, many).await;
    assert_eq!(evict_to(&w, 0).await, 4);
    assert_eq!((total(&w).records, total(&w).bytes, posts(&w)), (0, 0, 0));
    clean(&w);
}

#[tokio::test]
async fn what_is_no_cache_any_more_stays() {
    let mut w = World::new();
    w.commit("m", [follow(1, "friend")]).await;
    w.join("m").await;
    found_at(&w, "a", 5, 10, (1..=4).map(post).collect::<Vec<_>>()).await;
    found_at(&w, "friend", 5, 10, [post(1)]).await;
    found_at(&w, "whole", 5, 10, [post(1)]).await;
    // Changed by the stream; liked by a member; deleted; of a repo that is complete since.
    w.event("a", chained(6, 9, vec![post(2)])).await;
    w.commit("m", [like(7, &uri("a", POST, 3))]).await;
    w.event("a", chained(8, 6, vec![gone(POST, 4)])).await;
    w.event("whole", Body::Wanted).await;
    w.event("whole", Body::Fetching { rev: rev(9), data: [0; 32] }).await;
    w.event("whole", Body::Fetched { rev: rev(9) }).await;
    // Held by the stream before somebody fetched it.
    found_at(&w, "a", 8, 10, [post(2)]).await;
    // Nothing of an account that is deleted is listed.
    found_at(&w, "d", 5, 10, [post(1)]).await;
    w.event("d", Body::Account(HostingStatus::Deleted)).await;
    let (index, d) = (Arc::clone(&w.index), w.actor("d"));
    let listed = on_read::total(&w.store.snapshot()).unwrap().records;
    while !w
        .writer
        .durable({
            let index = Arc::clone(&index);
            move |tx| purge_step(&index, tx, d)
        })
        .await
        .unwrap()
    {}
    assert_eq!(on_read::total(&w.store.snapshot()).unwrap().records, listed - 1);
    evict_to(&w, 0).await;
    let held = |who: &str, n| w.store.snapshot().post(w.post(who, n)).unwrap().is_some();
    let stays = [("a", 1, false), ("a", 2, true), ("a", 3, true), ("a", 4, false)];
    for (who, n, stays) in stays.into_iter().chain([("friend", 1, true), ("whole", 1, true)]) {
        assert_eq!(held(who, n), stays, "{who} {n}");
    }
    assert_eq!(on_read::total(&w.store.snapshot()).unwrap().records, 0);
    clean(&w);
}

#[tokio::test]
async fn an_introduction_counts_only_for_strangers() {
    let w = World::new();
    let state = |handle: &str| IdentityState { handle: Some(handle.into()), key: None, pds: None };
    let handle = |w: &World, who: &str| {
        let row = w.store.snapshot().actor(w.actor(who)).unwrap();
        row.and_then(|row| row.handle)
    };
    w.event("a", Body::Introduced(state("a.example"))).await;
    w.event("a", Body::Introduced(state("old.example"))).await;
    assert_eq!(handle(&w, "a").as_deref(), Some("a.example"));
    // Its document changed and is being looked at: what was read before does not count.
    w.event("b", Body::Account(HostingStatus::Active)).await;
    w.event("b", Body::IdentityDue { since: NOW }).await;
    w.event("b", Body::Introduced(state("b.example"))).await;
    assert_eq!(handle(&w, "b"), None);
    assert!(recheck::is_identity_due(&w.store.snapshot(), w.actor("b")).unwrap());
    w.event("c", Body::Account(HostingStatus::Deleted)).await;
    w.event("c", Body::Introduced(state("c.example"))).await;
    assert_eq!(handle(&w, "c"), None);
    let row = w.store.snapshot().actor(w.actor("c")).unwrap().unwrap();
    assert_eq!(row.status, AccountStatus::Deleted);
}
