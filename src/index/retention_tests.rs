//! Retention takes away what touches nobody, and nothing that members see.

use std::collections::BTreeMap;

use super::check::{Options, check};
use super::retention::{Place, Policy, Tally, find, place, step};
use super::scope::Mode;
use super::testing::{
    NOW, POST, World, at, filled, follow, gate_nobody, gone, like, map, op, post, quote, reply,
    strong, text, uri,
};
use crate::event::Op;
use crate::schema::rows::{Counter, FeedRow, NotifRow, Order, order_prefix};
use crate::schema::{ActorId, PostId, Rows, Target};
use crate::store::{Ks, Reader};

const REPOST: &str = "app.bsky.feed.repost";

pub(super) fn policy(mode: Mode) -> Policy {
    Policy { mode, now: NOW, cutoff: NOW - 30 * super::scope::DAY_MS, spare: None }
}

/// Runs up to `most` steps; `false` if there are more.
async fn steps(w: &World, policy: Policy, most: usize, tally: &mut Tally) -> bool {
    let kept = std::sync::Arc::clone(w.index.scope().1);
    let mut at = place(&w.store.snapshot()).unwrap();
    let mut n = 0;
    while !at.is_end() {
        let found = find(&w.store.snapshot(), &kept, &policy, at).unwrap();
        at = found.place.clone();
        let mut left = found.going;
        loop {
            if n == most {
                return false;
            }
            n += 1;
            let (index, place) = (std::sync::Arc::clone(&w.index), found.place.clone());
            let done =
                w.writer.durable(move |tx| step(&index, tx, &policy, left, &place)).await.unwrap();
            tally.add(done.tally);
            left = done.left;
            if left.is_empty() {
                break;
            }
        }
    }
    true
}

pub(super) async fn run(w: &World, policy: Policy) -> Tally {
    let mut tally = Tally::default();
    assert!(steps(w, policy, usize::MAX, &mut tally).await);
    assert_eq!(place(&w.store.snapshot()).unwrap(), Place::default());
    tally
}

fn clean(w: &World, what: &str) {
    let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
}

fn repost(n: u64, of: &str) -> Op {
    let v = [("$type", text(REPOST)), ("subject", strong(of)), ("createdAt", text(at(n)))];
    op(REPOST, n, map(v))
}

fn held(w: &World, who: &str, n: u64) -> bool {
    w.store.snapshot().post(w.post(who, n)).unwrap().is_some()
}

#[tokio::test]
async fn what_touches_nobody_goes_and_the_rest_stays() {
    let mut w = World::new();
    let of = |n| uri("s", POST, n);
    w.commit(
        "m",
        [follow(1, "f"), like(2, &of(20)), repost(3, &of(21)), reply(4, &of(22), &of(23))],
    )
    .await;
    w.commit("f", [quote(5, &of(24)), repost(6, &of(25)), post(7)]).await;
    w.join("m").await;
    let of_m = uri("m", POST, 4);
    w.commit("s", (20..30).filter(|n| *n != 23).map(post).collect::<Vec<_>>()).await;
    w.commit("s", [reply(23, &of(22), &of(22))]).await;
    w.commit("s", [gate_nobody(26, "s"), reply(31, &of(22), &of_m), post(100_000_000)]).await;
    // Below a reply to a member, in a stranger's thread.
    w.commit(
        "t",
        [reply(40, &of(22), &uri("s", POST, 31)), reply(41, &of(28), &of(28)), quote(42, &of(29))],
    )
    .await;
    w.commit(
        "t",
        [
            like(43, &of(26)),
            like(44, &of(20)),
            repost(45, &of(26)),
            follow(46, "s"),
            follow(47, "m"),
        ],
    )
    .await;
    w.commit("t", [like(48, &uri("nobody", POST, 1)), like(49, &uri("nobody", POST, 1))]).await;
    let viewer = w.actor("m");
    let post_27 = w.post("s", 27);
    w.writer
        .durable(move |tx| crate::private::testing::bookmark(tx, viewer, post_27, "c", NOW))
        .await
        .unwrap();
    w.restart(Mode::Window, 30);
    let before = w.notifs("m");
    let tally = run(&w, policy(Mode::Window)).await;
    for (who, n, stays) in [
        ("s", 20, true),
        ("s", 21, true),
        ("s", 22, true),
        ("s", 23, true),
        ("s", 24, true),
        ("s", 25, true),
        ("s", 26, false),
        ("s", 27, true),
        ("s", 28, false),
        ("s", 29, false),
        ("s", 31, true),
        ("s", 100_000_000, true),
        ("t", 40, true),
        ("t", 41, false),
        ("t", 42, false),
        ("m", 4, true),
        ("f", 7, true),
    ] {
        assert_eq!(held(&w, who, n), stays, "{who} {n}");
    }
    assert_eq!((tally.likes, tally.reposts, tally.follows), (3, 1, 1));
    assert_eq!(w.count(Target::Post(w.post("s", 20)), Counter::Likes), 2);
    assert_eq!(w.notifs("m"), before);
    let s = w.store.snapshot();
    let mut shared = Vec::new();
    s.scan(Ks::Cid, &[], None, false, &mut |k, _| {
        shared.extend(crate::schema::bytes::ByteReader::new(k).target());
        true
    })
    .unwrap();
    assert!(!shared.contains(&Target::Post(w.post("s", 26))), "{shared:?}");
    clean(&w, "window");
    assert_eq!(run(&w, policy(Mode::Window)).await.total(), 0);
}

#[tokio::test]
async fn who_is_subscribed_to_stays() {
    let mut w = World::new();
    w.commit("m", []).await;
    w.join("m").await;
    w.commit("s", [post(1)]).await;
    w.commit("t", [post(1)]).await;
    let (m, s) = (w.actor("m"), w.actor("s"));
    let to = crate::private::subscriptions::Subscription { at: 0, post: true, reply: false };
    w.writer.durable(move |tx| crate::private::testing::subscribe(tx, m, s, to)).await.unwrap();
    w.restart(Mode::Window, 30);
    assert_eq!(run(&w, policy(Mode::Window)).await.posts, 1);
    assert!(held(&w, "s", 1) && !held(&w, "t", 1));
}

#[tokio::test]
async fn popular_posts_are_spared_when_asked() {
    let mut w = World::new();
    w.commit("s", [post(1), post(2)]).await;
    w.crowd(1200, &uri("s", POST, 1)).await;
    w.restart(Mode::Window, 30);
    let spare = Policy { spare: Some(1200), ..policy(Mode::Window) };
    assert_eq!(run(&w, spare).await, Tally { posts: 1, ..Tally::default() });
    // More fans than one step takes.
    assert_eq!(
        run(&w, policy(Mode::Window)).await,
        Tally { posts: 1, likes: 1200, ..Tally::default() }
    );
    let left: usize = w
        .rows()
        .keys()
        .filter(|(ks, _)| matches!(ks, Ks::Rev | Ks::Fwd | Ks::Post | Ks::Agg))
        .count();
    assert_eq!(left, 0);
    clean(&w, "crowd");
}

#[tokio::test]
async fn one_of_everything() {
    for mode in [Mode::Window, Mode::Circle] {
        let mut w = filled().await;
        w.restart(mode, 30);
        run(&w, Policy { cutoff: NOW + 1, ..policy(mode) }).await;
        clean(&w, mode.name());
    }
}

/// What members and those they follow see of themselves: feeds, counts, what is below their posts, notifications.
fn pages(w: &World, kept: &[ActorId]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let s = w.store.snapshot();
    let mut out = BTreeMap::new();
    let mut put = |tag: u8, k: &[u8], v: &[u8]| drop(out.insert([&[tag], k].concat(), v.to_vec()));
    let mut posts: Vec<PostId> = Vec::new();
    s.scan(Ks::Feed, &[], None, false, &mut |k, v| {
        let (actor, row) = FeedRow::decode(k, v).unwrap();
        if kept.contains(&actor) {
            put(1, k, v);
            posts.push(row.repost_of.unwrap_or(PostId { author: actor, rkey: row.rkey }));
        }
        true
    })
    .unwrap();
    s.scan(Ks::Notif, &[], None, false, &mut |k, v| {
        put(2, k, v);
        let row = NotifRow::decode(k, v).unwrap().1;
        if row.record().coll == crate::schema::collections::POST {
            posts.push(PostId { author: row.author, rkey: row.rkey });
        }
        true
    })
    .unwrap();
    // With what is above them, and what is quoted.
    let mut n = 0;
    while let Some(post) = posts.get(n).copied() {
        n += 1;
        let Some(row) = s.post(post).unwrap() else { continue };
        put(3, &post.to_bytes(), &row.encode());
        let refs =
            super::posts::refs(&mut super::names::Known(&s), &s.unpack(&row.packed).unwrap())
                .unwrap();
        for next in [refs.parent, refs.root, refs.quoted()].into_iter().flatten() {
            if !posts.contains(&next) {
                posts.push(next);
            }
        }
        if kept.contains(&post.author) {
            put(4, &post.to_bytes(), &s.agg(Target::Post(post)).unwrap().encode());
            s.scan_prefix(
                Ks::Order,
                &order_prefix(Order::Replies, Target::Post(post)),
                &mut |k, v| {
                    put(5, k, v);
                    true
                },
            )
            .unwrap();
        }
    }
    out
}

/// Numbers that look random and are not.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// `m` and `n` are members, who follow some of the others.
async fn network(seed: u64) -> World {
    let mut w = World::new();
    let mut dice = Dice(seed);
    let who = ["m", "n", "f", "g", "s", "t", "u", "v", "x", "y", "z"];
    w.commit("m", [follow(1, "f"), follow(2, "n")]).await;
    w.commit("n", [follow(1, "g")]).await;
    for name in ["m", "n"] {
        w.join(name).await;
    }
    let mut posts: Vec<(String, String)> = Vec::new();
    for n in 10..260u64 {
        // Strangers are more.
        let name = if dice.roll(4) == 0 { who[dice.roll(4)] } else { who[4 + dice.roll(7)] };
        let any = |dice: &mut Dice| match posts.len() {
            0 => (uri("s", POST, 5), uri("s", POST, 5)),
            len => posts[dice.roll(len)].clone(),
        };
        let (own, root) = (uri(name, POST, n), any(&mut dice));
        let op = match dice.roll(8) {
            0 | 1 => post(n),
            2..=4 => reply(n, &root.1, &root.0),
            5 => quote(n, &root.0),
            6 => like(n, &root.0),
            _ => repost(n, &root.0),
        };
        if &*op.collection == POST {
            let is_reply = op
                .record
                .as_ref()
                .is_some_and(|r| crate::repo::fields::field(&r.value, "reply").is_some());
            posts.push((own.clone(), if is_reply { root.1 } else { own }));
        }
        w.commit(name, [op]).await;
    }
    w
}

#[tokio::test]
async fn members_see_the_same_as_before() {
    for seed in 1..=6 {
        let mut w = network(seed).await;
        let kept: Vec<ActorId> = ["m", "n", "f", "g"].iter().map(|n| w.actor(n)).collect();
        let before = pages(&w, &kept);
        w.restart(Mode::Window, 30);
        let mut tally = Tally::default();
        // Stopped and started again in the middle of it.
        while !steps(&w, policy(Mode::Window), 1, &mut tally).await {
            w.restart(Mode::Window, 30);
        }
        assert!(tally.posts > 10 && tally.likes > 1, "{seed}: {tally:?}");
        let after = pages(&w, &kept);
        for (key, row) in &before {
            assert_eq!(after.get(key), Some(row), "{seed}: {key:?}");
        }
        assert_eq!(after.len(), before.len(), "{seed}");
        clean(&w, "random");
        assert_eq!(run(&w, policy(Mode::Window)).await.posts, 0, "{seed}");
    }
}

#[tokio::test]
async fn what_was_liked_meanwhile_stays() {
    let mut w = World::new();
    w.commit("m", []).await;
    w.join("m").await;
    w.commit("s", [post(1)]).await;
    w.restart(Mode::Window, 30);
    let policy = policy(Mode::Window);
    let found = find(&w.store.snapshot(), w.index.scope().1, &policy, Place::default()).unwrap();
    assert_eq!(found.going.len(), 1);
    w.commit("m", [like(2, &uri("s", POST, 1))]).await;
    let index = std::sync::Arc::clone(&w.index);
    let done = w
        .writer
        .durable(move |tx| step(&index, tx, &policy, found.going, &found.place))
        .await
        .unwrap();
    assert_eq!(done.tally.total(), 0);
    assert!(held(&w, "s", 1));
    assert_eq!(w.count(Target::Post(w.post("s", 1)), Counter::Likes), 1);
}

/// Something that has to do with a post that is about to go; `true` if it has to stay because of it.
async fn meddle(w: &mut World, dice: &mut Dice, n: u64, id: crate::schema::RecordId) -> bool {
    let (author, uri, rkey) = {
        let s = w.store.snapshot();
        let did = s.did(id.actor).unwrap();
        let name = did.trim_start_matches("did:web:").trim_end_matches(".example").to_owned();
        (name, s.target_text(Target::of(id)).unwrap(), s.rkey_text(id.rkey).unwrap())
    };
    let there = w.store.snapshot().has(Ks::Post, &PostId::of(id).unwrap().to_bytes()).unwrap();
    let (who, op, stays) = match dice.roll(7) {
        0 => ("m", like(n, &uri), true),
        1 => ("m", reply(n, &uri, &uri), true),
        2 => ("g", quote(n, &uri), true),
        3 => ("m", follow(n, &author), true),
        4 => ("t", like(n + 100_000_000, &uri), false),
        5 => ("u", reply(n + 100_000_000, &uri, &uri), false),
        _ => (&*author, Op { rkey: rkey.into(), ..gone(POST, 0) }, false),
    };
    w.commit(who, [op]).await;
    there && stays
}

#[tokio::test]
async fn counts_stay_right_while_events_come() {
    for seed in 1..=4 {
        let mut w = network(seed).await;
        w.restart(Mode::Window, 30);
        let (mut dice, policy) = (Dice(seed + 100), policy(Mode::Window));
        let (mut at, mut n, mut taken) = (Place::default(), 1000, 0);
        let mut staying: BTreeMap<PostId, u64> = BTreeMap::new();
        while !at.is_end() {
            let found = find(&w.store.snapshot(), w.index.scope().1, &policy, at.clone()).unwrap();
            let mut rest = found.going;
            while !rest.is_empty() {
                // A few at a time, so that much comes in between.
                let mut left = rest.split_off(rest.len() - rest.len().min(5));
                for id in left.clone() {
                    n += 1;
                    let Some(post) = PostId::of(id).filter(|_| dice.roll(3) == 0) else { continue };
                    let stays = meddle(&mut w, &mut dice, n, id).await;
                    staying.extend(stays.then_some((post, n)));
                }
                while !left.is_empty() {
                    let (index, place) = (std::sync::Arc::clone(&w.index), at.clone());
                    let step = move |tx: &mut crate::store::Tx<'_>| {
                        step(&index, tx, &policy, left, &place)
                    };
                    let done = w.writer.durable(step).await.unwrap();
                    taken += done.tally.total();
                    left = done.left;
                }
            }
            at = found.place;
        }
        clean(&w, "meddled with");
        assert!(taken > 20 && staying.len() > 5, "{seed}: {taken} {staying:?}");
        for (post, n) in staying {
            assert!(w.store.snapshot().post(post).unwrap().is_some(), "{seed}: {post:?} {n}");
        }
        run(&w, policy).await;
        clean(&w, "after the next run");
    }
}
