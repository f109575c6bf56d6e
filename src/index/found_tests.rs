//! Single records beside streams and whole repos.

use super::testing::*;
use super::*;
use crate::event::{HostingStatus, IdentityState, Op};
use crate::store::rows::{AccountStatus, Counter};
use crate::store::{Target, meta};
use crate::syntax::Tid;

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
    w.event("b", Body::IdentityDue).await;
    w.event("b", Body::Introduced(state("b.example"))).await;
    assert_eq!(handle(&w, "b"), None);
    assert!(meta::is_identity_due(&w.store.snapshot(), w.actor("b")).unwrap());
    w.event("c", Body::Account(HostingStatus::Deleted)).await;
    w.event("c", Body::Introduced(state("c.example"))).await;
    assert_eq!(handle(&w, "c"), None);
    let row = w.store.snapshot().actor(w.actor("c")).unwrap().unwrap();
    assert_eq!(row.status, AccountStatus::Deleted);
}
