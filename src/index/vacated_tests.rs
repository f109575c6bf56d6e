//! What deleted replies leave in the line of an author's replies to themselves.

use std::sync::Arc;

use super::check::{Options, check};
use super::retention_tests::{policy, run};
use super::scope::Mode;
use super::testing::*;
use super::{Index, purge_step};
use crate::event::{Body, HostingStatus};
use crate::schema::PostId;
use crate::schema::vacated::{MOST, vacated};

/// The deleted replies in the thread of a post of `a`, by number, with what they stood under.
fn places(w: &World, root: u64) -> Vec<(PostId, PostId)> {
    let root = w.post("a", root);
    let places = vacated(&w.store.snapshot(), root, usize::MAX).unwrap();
    places.into_iter().map(|(post, row)| (post, PostId { rkey: row.parent, ..root })).collect()
}

fn clean(w: &World) {
    let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// `a` goes on with a post by 2, and by 3 below it.
async fn line() -> World {
    let mut w = World::new();
    let of = |n| uri("a", POST, n);
    w.commit("a", [post(1), reply(2, &of(1), &of(1)), reply(3, &of(1), &of(2))]).await;
    w
}

#[tokio::test]
async fn a_deleted_reply_to_oneself_leaves_its_place_and_the_root_takes_it_along() {
    let mut w = line().await;
    let ids = [1, 2, 3].map(|n| w.post("a", n));
    w.commit("a", [gone(POST, 3)]).await;
    assert_eq!(places(&w, 1), [(ids[2], ids[1])]);
    w.commit("a", [gone(POST, 2)]).await;
    assert_eq!(places(&w, 1), [(ids[1], ids[0]), (ids[2], ids[1])]);
    let when = vacated(&w.store.snapshot(), ids[0], 1).unwrap()[0].1.deleted;
    assert_eq!(when, NOW);
    clean(&w);
    // Another version of the root is still the root.
    let mut other = post(1);
    other.record = quote(1, &uri("b", POST, 9)).record;
    w.commit("a", [other]).await;
    assert_eq!(places(&w, 1).len(), 2);
    w.commit("a", [gone(POST, 1)]).await;
    assert_eq!(places(&w, 1), []);
    clean(&w);
}

#[tokio::test]
async fn what_is_in_no_line_of_its_author_leaves_nothing() {
    let mut w = line().await;
    let of = |n| uri("a", POST, n);
    let theirs = uri("b", POST, 4);
    w.commit("b", [reply(4, &of(1), &of(2)), post(5)]).await;
    // A reply to another, one in the thread of another, one in a thread whose root is not here, and no reply.
    w.commit(
        "a",
        [
            reply(6, &of(1), &theirs),
            reply(7, &uri("b", POST, 5), &of(2)),
            reply(8, &of(99), &of(99)),
            post(9),
        ],
    )
    .await;
    w.commit("a", [6, 7, 8, 9].map(|n| gone(POST, n))).await;
    w.commit("b", [gone(POST, 4)]).await;
    for root in [1, 9, 99] {
        assert_eq!(places(&w, root), []);
    }
    // A second deletion of what is gone, and another version, which is no deletion.
    let mut other = reply(3, &of(1), &of(2));
    other.record = reply(3, &of(1), &of(1)).record;
    w.commit("a", [other]).await;
    w.commit("a", [gone(POST, 6)]).await;
    assert_eq!(places(&w, 1), []);
    clean(&w);
}

#[tokio::test]
async fn a_thread_keeps_a_bounded_number_of_places() {
    let mut w = line().await;
    let root = uri("a", POST, 1);
    let many = 10..10 + MOST as u64 + 20;
    let replies: Vec<_> = many.clone().map(|n| reply(n, &root, &root)).collect();
    w.commit("a", replies).await;
    w.commit("a", many.map(|n| gone(POST, n)).collect::<Vec<_>>()).await;
    assert_eq!(places(&w, 1).len(), MOST);
}

#[tokio::test]
async fn retention_leaves_no_places_and_takes_them_with_the_root() {
    let mut w = line().await;
    w.commit("a", [gone(POST, 2)]).await;
    assert_eq!(places(&w, 1).len(), 1);
    assert_eq!(run(&w, policy(Mode::Window)).await.posts, 2);
    assert_eq!(places(&w, 1), []);
    clean(&w);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_places() {
    let mut w = line().await;
    w.commit("a", [gone(POST, 2)]).await;
    let a = w.actor("a");
    w.event("a", Body::Account(HostingStatus::Deleted)).await;
    let step = |index: Arc<Index>| w.writer.durable(move |tx| purge_step(&index, tx, a));
    while !step(Arc::clone(&w.index)).await.unwrap() {}
    assert_eq!(places(&w, 1), []);
    clean(&w);
}
