//! The indexes follow a real store.

use std::path::Path;
use std::time::Duration;

use super::Settings;
use super::testing::*;
use crate::changes::catch_up::{Step, step};
use crate::event::{Body, HostingStatus};
use crate::index::testing::*;
use crate::search::eval::actors::Accounts;
use crate::search::eval::{Plan, top};
use crate::search::index::TextField;

#[tokio::test]
async fn what_is_written_changed_and_deleted_is_found_as_the_store_has_it() {
    let mut f = Found::new().await;
    f.catch_up();
    f.world.commit("a", [say(1, "red apple"), say(2, "green apple")]).await;
    f.world.commit("b", [say(3, "red car")]).await;
    f.catch_up();
    assert_eq!((f.with_word("apple"), f.with_word("red")), (vec![2, 1], vec![3, 1]));
    f.world.commit("a", [say(1, "blue apple"), gone(POST, 2)]).await;
    f.catch_up();
    assert_eq!(f.with_word("apple"), [1]);
    assert_eq!((f.with_word("red"), f.with_word("blue")), (vec![3], vec![1]));
    f.world.event("b", Body::Account(HostingStatus::Deleted)).await;
    f.catch_up();
    assert_eq!(f.with_word("red"), [0_u64; 0]);
    assert_eq!(f.search.status().state, "ready");
}

fn everything(f: &Found) -> Vec<crate::schema::PostId> {
    newest(&f.seen(), &Plan::All)
}

#[tokio::test]
async fn after_a_crash_at_any_time_the_answers_are_those_of_an_index_made_anew() {
    let later = Settings { commit_interval: Duration::from_secs(3600), ..SETTINGS };
    let mut f = Found::with(later).await;
    f.catch_up();
    let mut crashes = 0;
    for n in 1..=24 {
        f.world.commit("a", [say(n, "one two"), say(n + 100, &format!("word{n}"))]).await;
        if u64::is_multiple_of(n, 3) {
            f.world.commit("a", [gone(POST, n - 1), say(n - 2, "changed")]).await;
        }
        // Some of it is read, and none of that is kept before the next batch.
        step(&f.log, &*f.search).unwrap();
        if u64::is_multiple_of(n, 5) {
            f.crash(later).await;
            crashes += 1;
        }
    }
    f.crash(SETTINGS).await;
    f.catch_up();
    let kept = (everything(&f), f.with_word("two"), f.with_word("changed"));
    assert_eq!((crashes, kept.0.len(), kept.2.len()), (4, 40, 8));
    f.search.rebuild();
    f.catch_up();
    assert_eq!((everything(&f), f.with_word("two"), f.with_word("changed")), kept);
    let folders = std::fs::read_dir(f.home.path()).unwrap().count();
    assert_eq!(folders, 2, "the generation that is served, and what says which");
}

#[tokio::test]
async fn an_index_that_is_made_anew_is_not_served_before_it_is_whole() {
    let mut f = Found::new().await;
    f.world.commit("a", [say(1, "red"), say(2, "red")]).await;
    assert!(f.search.seen().is_none());
    assert_eq!(f.search.status().state, "unavailable");
    f.catch_up();
    assert_eq!(f.with_word("red"), [2, 1]);
    f.search.rebuild();
    for _ in 0..3 {
        assert_eq!(step(&f.log, &*f.search).unwrap(), Step::Moved);
        assert_eq!((f.with_word("red"), f.search.status().state), (vec![2, 1], "building"));
    }
    f.world.commit("a", [say(3, "red"), gone(POST, 1)]).await;
    f.crash(SETTINGS).await;
    f.catch_up();
    assert_eq!((f.with_word("red"), f.search.status().state), (vec![3, 2], "ready"));
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_by_itself() {
    let ways: [&dyn Fn(&Path); 4] = [
        &Found::flip,
        &|file| std::fs::write(file, "not what it was").unwrap(),
        &|file| std::fs::write(file, []).unwrap(),
        &|file| std::fs::remove_file(file).unwrap(),
    ];
    for (n, damage) in ways.into_iter().enumerate() {
        let mut f = Found::new().await;
        f.world.commit("a", [say(1, "red"), say(2, "red")]).await;
        f.catch_up();
        f.damage(1, damage);
        f.crash(SETTINGS).await;
        assert_eq!(f.search.status().state, "unavailable");
        f.catch_up();
        if n == 0 {
            assert!(f.search.seen().is_none(), "nobody reads what is damaged");
            f.catch_up();
        }
        assert_eq!((f.with_word("red"), f.search.status().state), (vec![2, 1], "ready"), "{n}");
    }
}

#[tokio::test]
async fn popular_posts_are_by_tier_and_leave_when_they_are_not() {
    let mut f = Found::new().await;
    f.catch_up();
    f.world.commit("a", [say(1, "red"), say(2, "red"), say(3, "red")]).await;
    f.world.crowd(7, &uri("a", POST, 1)).await;
    f.catch_up();
    let tiers = |f: &Found| {
        let plan = Plan::Term(TextField::Text, "red".to_owned());
        let found = top(&f.seen(), &ask(&plan), 100).unwrap();
        found.iter().map(|c| (second(c.at.post), c.tier)).collect::<Vec<_>>()
    };
    assert_eq!(tiers(&f), [(1, 3), (3, 0), (2, 0)]);
    f.world.commit("f0", [gone(LIKE, 10)]).await;
    f.catch_up();
    assert_eq!(tiers(&f), [(1, 2), (3, 0), (2, 0)]);
    f.search.rebuild();
    let before = tiers(&f);
    f.catch_up();
    assert_eq!(tiers(&f), before);
    for n in 1..4 {
        f.world.commit(&format!("f{n}"), [gone(LIKE, 10 + n)]).await;
    }
    f.catch_up();
    assert_eq!(tiers(&f), [(3, 0), (2, 0), (1, 0)]);
    f.world.crowd(7, &uri("a", POST, 1)).await;
    f.world.commit("a", [gone(POST, 1)]).await;
    f.catch_up();
    assert_eq!(tiers(&f), [(3, 0), (2, 0)]);
}

#[tokio::test]
async fn merging_changes_no_answer() {
    let mut f = Found::new().await;
    f.catch_up();
    for n in 1..=30 {
        f.world.commit("a", [say(n, "red")]).await;
        f.catch_up();
    }
    let all: Vec<u64> = (1..=30).rev().collect();
    // Merges end on a thread of their own.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while f.seen().posts.0.len() > 12 {
        assert!(std::time::Instant::now() < end, "{} segments", f.seen().posts.0.len());
        assert_eq!(f.with_word("red"), all);
        f.catch_up();
        std::thread::yield_now();
    }
    f.world.commit("a", [gone(POST, 7)]).await;
    f.catch_up();
    assert_eq!(f.with_word("red"), all.iter().copied().filter(|n| *n != 7).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_does_not_fit_into_memory_at_once_is_written_in_pieces_and_seen_together() {
    let small = Settings { commit_interval: Duration::from_secs(3600), bytes: 0, ..SETTINGS };
    let mut f = Found::with(small).await;
    f.catch_up();
    f.world.commit("a", (1..=5).map(|n| say(n, "red")).collect::<Vec<_>>()).await;
    while step(&f.log, &*f.search).unwrap() == Step::Moved {}
    assert_eq!(f.with_word("red"), [0_u64; 0]);
    f.crash(Settings { bytes: 0, ..SETTINGS }).await;
    f.catch_up();
    assert_eq!(f.with_word("red"), [5, 4, 3, 2, 1]);
    assert_eq!(f.seen().posts.0.len(), 5, "a segment of each");
    f.world.commit("a", [say(1, "blue"), say(2, "blue"), gone(POST, 3)]).await;
    f.catch_up();
    assert_eq!((f.with_word("red"), f.with_word("blue")), (vec![5, 4], vec![2, 1]));
}

#[tokio::test]
async fn what_could_not_be_read_is_looked_at_and_made_anew_if_it_is_damaged() {
    let mut f = Found::new().await;
    f.world.commit("a", [say(1, "red")]).await;
    f.catch_up();
    f.search.doubt();
    f.catch_up();
    assert_eq!((f.with_word("red"), f.home.path().join("1").is_dir()), (vec![1], true));
    f.damage(1, Found::flip);
    f.search.doubt();
    f.catch_up();
    assert!(f.search.seen().is_none(), "nobody reads what is damaged");
    f.catch_up();
    assert_eq!((f.with_word("red"), f.search.status().state), (vec![1], "ready"));
}

#[tokio::test]
async fn how_far_everything_can_be_searched_waits_for_the_commit() {
    let later = Settings { commit_interval: Duration::from_secs(3600), ..SETTINGS };
    let mut f = Found::with(later).await;
    assert_eq!(f.search.searchable(), None);
    f.catch_up();
    let begun = f.search.searchable().unwrap();
    f.world.commit("a", [say(1, "red")]).await;
    f.catch_up();
    assert_eq!((f.with_word("red"), f.search.searchable()), (vec![], Some(begun)));
    f.crash(SETTINGS).await;
    f.catch_up();
    assert_eq!((f.with_word("red"), f.search.searchable()), (vec![1], Some(f.log.tip())));
    f.search.rebuild();
    step(&f.log, &*f.search).unwrap();
    assert_eq!(f.search.searchable(), Some(f.log.tip()), "what was there is served");
}

#[tokio::test]
async fn who_is_followed_by_many_more_than_before_comes_first_before_long() {
    let mut f = Found::new().await;
    f.catch_up();
    f.person("a", "a.test", "Rob", "").await;
    f.person("b", "b.test", "Rob", "").await;
    f.catch_up();
    let followers = |f: &Found| {
        let (seen, nobody) = (f.seen(), |_| false);
        let accounts = Accounts { seen: &seen, hidden: &nobody, most: 5 };
        let found = accounts.beginning(&["rob"]).unwrap();
        let of = |who| found.iter().find(|account| account.actor == f.world.actor(who)).unwrap();
        [of("a").followers, of("b").followers]
    };
    for n in 0..9 {
        f.world.commit(&format!("f{n}"), [follow(1, "b")]).await;
    }
    f.world.commit("f0", [follow(2, "a")]).await;
    // Once to see it, once to take it in.
    f.catch_up();
    f.catch_up();
    assert_eq!(followers(&f), [0, 9], "a few are of no account");
    for n in 0..5 {
        f.world.commit(&format!("f{n}"), [gone(FOLLOW, 1)]).await;
    }
    f.world.commit("f9", [follow(1, "b")]).await;
    f.catch_up();
    f.catch_up();
    assert_eq!(followers(&f), [0, 5]);
    f.world.commit("f10", [follow(1, "b")]).await;
    f.catch_up();
    f.catch_up();
    assert_eq!(followers(&f), [0, 5], "nothing is written again for one more");
}
