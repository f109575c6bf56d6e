//! Suggestions over a store that the index filled: planted communities, and those who would be in every list.

use std::sync::Arc;

use super::suggest::Suggester;
use crate::event::Op;
use crate::hydrate::{ActorId, HydrateCtx, HydrationSettings, Hydrator, Result, Shared};
use crate::index::testing::{NOW, World, did, follow, post};
use crate::schema::Rows as _;

/// Members of each planted community.
const SIZE: u64 = 60;
const COMMUNITIES: u64 = 5;

/// A number below `below` that looks like chance and is the same each time.
fn chance(seed: &[u64], below: u64) -> u64 {
    let bytes: Vec<u8> = seed.iter().flat_map(|n| n.to_be_bytes()).collect();
    xxhash_rust::xxh3::xxh3_64(&bytes) % below
}

fn member(community: u64, n: u64) -> String {
    format!("m{community}-{n}")
}

/// Five communities whose members follow 15 of their own and 3 of others, and two whom nearly everybody follows.
async fn planted() -> World {
    let mut w = World::new();
    for community in 0..COMMUNITIES {
        for n in 0..SIZE {
            let mut follows = Vec::new();
            for turn in 0..18 {
                let others = turn >= 15;
                let of = if others {
                    (community + 1 + chance(&[1, community, n, turn], COMMUNITIES - 1))
                        % COMMUNITIES
                } else {
                    community
                };
                follows.push(member(of, chance(&[2, community, n, turn], SIZE)));
            }
            let famous = (0..2).filter(|star| chance(&[3, community, n, *star], 10) > 0);
            follows.extend(famous.map(|star| format!("star{star}")));
            commit_follows(&mut w, &member(community, n), &follows).await;
        }
    }
    for star in 0..2 {
        w.commit(&format!("star{star}"), [post(1)]).await;
    }
    w
}

async fn commit_follows(w: &mut World, who: &str, whom: &[String]) {
    let ops: Vec<Op> = whom.iter().zip(1..).map(|(whom, n)| follow(n, whom)).collect();
    w.commit(who, ops).await;
}

fn ask<T>(w: &World, viewer: Option<ActorId>, f: impl FnOnce(Suggester<'_>) -> Result<T>) -> T {
    let shared = Arc::new(Shared::new(&w.store, 1000, HydrationSettings::default()).unwrap());
    let snapshot = w.store.snapshot();
    let ctx = HydrateCtx { viewer, signed_in: true, now: NOW, ..HydrateCtx::default() };
    f(Suggester(Hydrator { snapshot: &snapshot, ctx: &ctx, shared: &shared })).unwrap()
}

/// Of the first ten, how many are of a community.
fn of_community(w: &World, found: &[ActorId], community: u64) -> usize {
    let prefix =
        did(&format!("m{community}-")).as_str().split(".example").next().map(str::to_owned);
    let s = w.store.snapshot();
    let is_in = |id: &&ActorId| s.did(**id).unwrap().starts_with(prefix.as_deref().unwrap());
    found.iter().take(10).filter(is_in).count()
}

#[tokio::test]
async fn nine_of_ten_suggestions_are_of_the_viewers_own_community() {
    let w = planted().await;
    let (mut own, mut like) = (0, 0);
    for community in 0..COMMUNITIES {
        for n in [1, 20, 40] {
            let viewer = w.actor(&member(community, n));
            let found = ask(&w, Some(viewer), |s| s.for_viewer(viewer));
            own += of_community(&w, &found, community);
            assert_eq!(found, ask(&w, Some(viewer), |s| s.for_viewer(viewer)), "always the same");
            like += of_community(&w, &ask(&w, None, |s| s.like(viewer)), community);
        }
    }
    assert!(own >= 135 && like >= 135, "{own} and {like} of 150");
}

#[tokio::test]
async fn who_follows_very_many_counts_by_their_newest_and_who_follows_somebody_often_counts_once() {
    let mut w = World::new();
    let many: Vec<String> = (0..350).map(|n| format!("x{n}")).collect();
    commit_follows(&mut w, "busy", &many).await;
    commit_follows(&mut w, "other", &["twice".to_owned(), "x349".to_owned()]).await;
    for name in many.iter().map(String::as_str).chain(["twice", "often"]) {
        w.commit(name, [post(1)]).await;
    }
    let often: Vec<String> = (0..100).map(|_| "often".to_owned()).collect();
    commit_follows(&mut w, "eager", &often).await;
    commit_follows(&mut w, "eager2", &["twice".to_owned()]).await;
    let all = ["busy", "other", "eager", "eager2"].map(str::to_owned);
    commit_follows(&mut w, "viewer", &all).await;
    let viewer = w.actor("viewer");
    let found = ask(&w, Some(viewer), |s| s.for_viewer(viewer));
    let place = |name: &str| found.iter().position(|id| *id == w.actor(name));
    assert!(place("x49").is_none() && found.len() == 200, "older than the newest 300");
    let mut first = found.get(..2).unwrap().to_vec();
    first.sort_unstable();
    let mut twice = ["twice", "x349"].map(|name| w.actor(name));
    twice.sort_unstable();
    assert_eq!(first, twice, "who is followed by two comes before who is followed often by one");
    // It follows hundreds itself, whom it is not shown.
    let busy = w.actor("busy");
    assert_eq!(ask(&w, Some(busy), |s| s.for_viewer(busy)), []);
}
