//! What the store holds after events, in whatever order they come.

use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::testing::*;
use super::*;
use crate::event::{Belief, HostingStatus, IdentityState, Op};
use crate::private::{self, community, registrations, subscriptions};
use crate::schema::rows::{AccountStatus, Counter, EdgeKind, Order, order_prefix, post_flags};
use crate::schema::{Key, PostId, RecordId, Rkey, Target, collections};
use crate::store::{Ks, Reader};
use crate::syntax::Tid;
use crate::work::repo_queue::Priority;
use crate::work::{purge, repo_queue as jobs};

#[tokio::test]
async fn counts_are_right_whatever_comes_first() {
    for late_post in [false, true] {
        let mut w = World::new();
        w.commit("seen", []).await;
        let target = uri("a", POST, 1);
        if !late_post {
            w.commit("a", [post(1)]).await;
        }
        w.commit(
            "b",
            [like(2, &target), like(3, &target), reply(4, &target, &target), quote(5, &target)],
        )
        .await;
        w.commit("c", [like(6, &target), follow(7, "b")]).await;
        if late_post {
            w.commit("a", [post(1)]).await;
        }
        let p = Target::Post(w.post("a", 1));
        let counts = [Counter::Likes, Counter::Replies, Counter::Quotes].map(|c| w.count(p, c));
        assert_eq!(counts, [2, 1, 1]);
        assert_eq!(w.count(Target::Actor(w.actor("b")), Counter::Followers), 1);
        assert_eq!(w.count(Target::Actor(w.actor("c")), Counter::Follows), 1);
        assert_eq!(
            w.flags(w.post("b", 4)) & post_flags::INVALID_ROOT,
            0,
            "repaired when the parent came"
        );
        // The winner goes, its duplicate stays; then that goes too.
        w.commit("b", [gone(LIKE, 2)]).await;
        assert_eq!(w.count(p, Counter::Likes), 2);
        w.commit("b", [gone(LIKE, 3)]).await;
        assert_eq!(w.count(p, Counter::Likes), 1);
        w.commit("b", [gone(POST, 4), gone(POST, 5)]).await;
        assert_eq!([Counter::Replies, Counter::Quotes].map(|c| w.count(p, c)), [0, 0]);
        assert_eq!(w.count(Target::Actor(w.actor("b")), Counter::Posts), 0);
    }
}

#[tokio::test]
async fn what_is_deleted_leaves_no_row() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.join("a").await;
    let before = w.rows();
    let target = uri("a", POST, 1);
    let gate = gate_nobody(9, "b");
    let ops = [
        like(2, &target),
        reply(4, &target, &target),
        quote(5, &target),
        follow(7, "a"),
        post(9),
        gate,
    ];
    w.commit("b", ops.clone()).await;
    assert!(w.rows().len() > before.len() + 10);
    let deletes: Vec<Op> = ops.iter().map(|o| Op { record: None, ..o.clone() }).collect();
    w.commit("b", deletes).await;
    assert_eq!(w.rows(), before);
}

#[tokio::test]
async fn replays_change_nothing() {
    let mut w = World::new();
    let rev = Tid::parse(&tid(50)).unwrap();
    let body = Body::Commit(Commit {
        rev,
        data: Some([7; 32]),
        prev_data: None,
        ops: vec![post(1), like(2, &uri("a", POST, 1))],
    });
    w.event("a", body.clone()).await;
    let once = w.rows();
    w.event("a", body).await;
    assert_eq!(w.rows(), once);
    w.revs = 60;
    w.commit("a", [post(1), like(2, &uri("a", POST, 1))]).await;
    assert_eq!(w.rows(), once, "the same records under a newer rev");
}

#[tokio::test]
async fn an_edge_that_is_new_twice_counts_once() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let rev = |n| Tid::parse(&tid(n)).unwrap();
    let made = [like(10, &uri("a", POST, 1)), follow(11, "a")];
    let ops: Vec<Op> = made.into_iter().map(|op| Op { created: true, ..op }).collect();
    // From an upstream whose trees are verified, and from one that is believed.
    for (who, verified, likes) in [("b", true, 1), ("c", false, 2)] {
        let commit = |n: u8, ops: &[Op]| {
            Body::Commit(Commit {
                rev: rev(n.into()),
                data: Some([n; 32]),
                prev_data: verified.then_some([n - 1; 32]),
                ops: ops.to_vec(),
            })
        };
        w.event(who, commit(1, &[])).await;
        w.event(who, commit(2, &ops)).await;
        let once = w.rows();
        w.event(who, commit(3, &ops)).await;
        assert_eq!(w.rows(), once);
        assert_eq!(w.count(Target::Post(w.post("a", 1)), Counter::Likes), likes);
        assert_eq!(w.count(Target::Actor(w.actor(who)), Counter::Follows), 1);
    }
}

#[tokio::test]
async fn a_gap_marks_the_repo_until_it_was_fetched() {
    let w = World::new();
    let rev = |n| Tid::parse(&tid(n)).unwrap();
    let commit = |n, prev: u8, data: u8, ops: Vec<Op>| {
        Body::Commit(Commit {
            rev: rev(n),
            data: Some([data; 32]),
            prev_data: Some([prev; 32]),
            ops,
        })
    };
    let job = |w: &World, a| jobs::get(&w.store.snapshot(), a).unwrap().map(|job| job.priority);
    w.event("a", commit(1, 9, 1, vec![post(1)])).await;
    w.event("a", commit(2, 1, 2, vec![post(2)])).await;
    w.event("a", commit(4, 3, 4, vec![post(4)])).await;
    let a = w.actor("a");
    assert_eq!(w.requests.resync.try_recv(), Ok(a));
    assert_eq!(job(&w, a), Some(Priority::Resync));
    w.event("a", Body::Wanted).await;
    w.event("a", commit(5, 4, 5, vec![post(5), gone(POST, 2)])).await;
    assert!(w.requests.resync.try_recv().is_err(), "asked once");
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 3, "commits go on being applied");
    // The host was behind the mark: what it has is not compared, and the mark stays.
    let part = |n, ops| Body::Part { rev: rev(n), ops };
    w.event("a", Body::Fetching { rev: rev(3), data: [3; 32] }).await;
    w.event("a", part(3, vec![post(2), post(3), gone(POST, 5)])).await;
    w.event("a", Body::Fetched { rev: rev(3) }).await;
    let row = w.store.snapshot().repo(a).unwrap().unwrap();
    assert_eq!((row.is_complete(), row.resync), (false, Some(rev(5).as_u64())));
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 3);
    // Once more. What newer commits did stays.
    w.event("a", Body::Wanted).await;
    w.event("a", commit(6, 5, 6, vec![post(6), gone(POST, 5)])).await;
    w.event("a", Body::Fetching { rev: rev(5), data: [5; 32] }).await;
    w.event("a", part(5, vec![post(2), post(3), gone(POST, 1), post(5), gone(POST, 6)])).await;
    w.event("a", Body::Fetched { rev: rev(5) }).await;
    let row = w.store.snapshot().repo(a).unwrap().unwrap();
    assert!(row.is_complete());
    let s = w.store.snapshot();
    let held = |n| s.has(Ks::Post, &w.post("a", n).to_bytes()).unwrap();
    assert_eq!([1, 2, 3, 4, 5, 6].map(held), [false, true, true, true, false, true]);
    w.event("a", commit(7, 6, 7, vec![post(7)])).await;
    assert!(w.requests.resync.try_recv().is_err(), "the chain goes on");
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 5);
    w.writer.durable(move |tx| jobs::remove(tx, a).map(drop)).await.unwrap();
    // A commit that comes after the comparison began, and is in the fetched repo, changes nothing any more.
    w.event("a", Body::Sync { rev: rev(8), data: [8; 32] }).await;
    assert_eq!(w.requests.resync.try_recv(), Ok(a));
    w.event("a", Body::Wanted).await;
    w.event("a", Body::Fetching { rev: rev(10), data: [10; 32] }).await;
    w.event("a", commit(9, 8, 9, vec![post(9)])).await;
    w.event("a", Body::Fetched { rev: rev(10) }).await;
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 5);
    // A #sync with what is held is no gap, another one is.
    w.event("a", Body::Sync { rev: rev(11), data: [10; 32] }).await;
    assert!(w.requests.resync.try_recv().is_err());
    w.event("a", Body::Sync { rev: rev(12), data: [12; 32] }).await;
    assert_eq!(w.requests.resync.try_recv(), Ok(a));
    // A part that comes after the account is gone brings nothing back.
    w.event("a", Body::Account(HostingStatus::Deleted)).await;
    assert_eq!(job(&w, a), None);
    w.event("a", Body::Wanted).await;
    w.event("a", Body::Fetching { rev: rev(13), data: [13; 32] }).await;
    w.event("a", part(13, vec![post(9)])).await;
    w.event("a", Body::Fetched { rev: rev(13) }).await;
    assert!(!w.store.snapshot().has(Ks::Post, &w.post("a", 9).to_bytes()).unwrap());
    assert_eq!(w.store.snapshot().repo(a).unwrap(), None);
}

/// What a fetch of `a` at rev 10 is told as, in three steps, with posts 1 to 3.
fn fetch_of_three() -> [Body; 3] {
    let rev = Tid::parse(&tid(10)).unwrap();
    let ops = vec![post(1), post(2), post(3)];
    [Body::Fetching { rev, data: [10; 32] }, Body::Part { rev, ops }, Body::Fetched { rev }]
}

#[tokio::test]
async fn commits_at_any_moment_of_a_first_fetch_are_neither_missed_nor_repeated() {
    let commit = |n, prev: u8, data: u8, ops| {
        let rev = Tid::parse(&tid(n)).unwrap();
        let (data, prev_data) = (Some([data; 32]), Some([prev; 32]));
        Body::Commit(Commit { rev, data, prev_data, ops })
    };
    // What was committed at 10 is in the fetched repo, what came at 11 is newer: it has 1 no more and 4 new.
    let old = commit(10, 8, 10, vec![post(3), gone(POST, 9)]);
    let new = commit(11, 10, 11, vec![gone(POST, 1), post(4)]);
    let mut steps = vec![Body::Wanted];
    steps.extend(fetch_of_three());
    for seen_before in [false, true] {
        for moment in 0..=steps.len() {
            let w = World::new();
            if seen_before {
                w.event("a", commit(8, 7, 8, vec![post(2), post(8)])).await;
            }
            for (n, step) in steps.iter().enumerate() {
                if n == moment {
                    w.event("a", old.clone()).await;
                    w.event("a", new.clone()).await;
                }
                let mut step = step.clone();
                // The walk beside what is held finds that post 8 is gone.
                if let (Body::Part { ops, .. }, true) = (&mut step, seen_before) {
                    ops.push(gone(POST, 8));
                }
                w.event("a", step).await;
            }
            if moment == steps.len() {
                w.event("a", old.clone()).await;
                w.event("a", new.clone()).await;
            }
            let (s, a) = (w.store.snapshot(), w.actor("a"));
            let row = s.repo(a).unwrap().unwrap();
            let held = |n| s.has(Ks::Post, &w.post("a", n).to_bytes()).unwrap();
            let case = format!("seen {seen_before}, at {moment}");
            if moment == 0 {
                // The host answered with less than was held when it was asked: nothing is touched.
                assert!(!row.is_complete(), "{case}");
                continue;
            }
            assert_eq!([1, 2, 3, 4, 8].map(held), [false, true, true, true, false], "{case}");
            assert!(row.is_complete(), "{case}");
            assert_eq!(row.whole, Some(Tid::parse(&tid(10)).unwrap().as_u64()), "{case}");
            assert_eq!(w.count(Target::Actor(a), Counter::Posts), 3, "{case}");
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_records_touched_during_a_fetch_are_remembered() {
    let w = World::new();
    w.event("a", Body::Wanted).await;
    let rev = Tid::parse(&tid(11)).unwrap();
    let ops = (0..100_000).map(|n| gone(POST, n)).collect();
    w.event("a", Body::Commit(Commit { rev, data: None, prev_data: None, ops })).await;
    for step in fetch_of_three() {
        w.event("a", step).await;
    }
    let a = w.actor("a");
    assert!(w.store.snapshot().repo(a).unwrap().unwrap().is_complete());
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 0, "all were deleted since");
}

#[tokio::test]
async fn a_repo_that_begins_before_our_eyes_is_whole() {
    let empty = cid::digest(&mst::empty_root());
    for (prev, data, whole) in [
        (empty, Some([1; 32]), true),
        (None, empty, true),
        (None, Some([1; 32]), false),
        (Some([2; 32]), Some([1; 32]), false),
    ] {
        let w = World::new();
        let rev = Tid::parse(&tid(1)).unwrap();
        let commit = Commit { rev, data, prev_data: prev, ops: vec![post(1)] };
        w.event("a", Body::Commit(commit)).await;
        let row = w.store.snapshot().repo(w.actor("a")).unwrap().unwrap();
        assert_eq!(row.is_complete(), whole, "{prev:?} {data:?}");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_repo_that_was_wanted_in_vain() {
    let w = World::new();
    w.event("a", Body::Wanted).await;
    let a = w.actor("a");
    assert!(w.store.snapshot().repo(a).unwrap().is_some());
    w.event("a", Body::GivenUp).await;
    assert_eq!(w.store.snapshot().repo(a).unwrap(), None);
    assert_eq!(w.store.snapshot().actor(a).unwrap(), None, "no account either");
    // What was seen live stays, and so does the mark.
    w.event("a", Body::Wanted).await;
    let rev = Tid::parse(&tid(1)).unwrap();
    let commit = Commit { rev, data: None, prev_data: None, ops: vec![post(1)] };
    w.event("a", Body::Commit(commit)).await;
    w.event("a", Body::GivenUp).await;
    let row = w.store.snapshot().repo(a).unwrap().unwrap();
    assert!(row.resync.is_some() && !row.is_complete());
    assert!(w.store.snapshot().actor(a).unwrap().is_some());
}

#[tokio::test]
async fn a_thread_gate_holds_for_replies_before_and_after_it_arrives() {
    for late in [false, true] {
        let mut w = World::new();
        let root = uri("a", POST, 1);
        let gated: Vec<Op> = vec![post(1), gate_nobody(1, "a")];
        if !late {
            w.commit("a", gated.clone()).await;
        }
        w.commit("b", [reply(4, &root, &root)]).await;
        if late {
            w.commit("a", gated).await;
        }
        assert_ne!(w.flags(w.post("b", 4)) & post_flags::VIOLATES_THREADGATE, 0, "late: {late}");
        assert_eq!(w.count(Target::Post(w.post("a", 1)), Counter::Replies), 0);
        assert_ne!(w.flags(w.post("a", 1)) & post_flags::HAS_THREADGATE, 0);
        w.commit("b", [gone(POST, 4)]).await;
        assert_eq!(w.count(Target::Post(w.post("a", 1)), Counter::Replies), 0);
    }
}

#[tokio::test]
async fn a_gate_is_asked_again_when_the_repos_are_here_that_could_have_allowed_a_reply() {
    let rev = Tid::parse(&tid(20)).unwrap();
    let fetch = |ops| {
        [Body::Fetching { rev, data: [7; 32] }, Body::Part { rev, ops }, Body::Fetched { rev }]
    };
    let gate = |rule: &str| {
        let mut gate = gate_nobody(1, "a");
        let rule = map([("$type", text(format!("app.bsky.feed.threadgate#{rule}")))]);
        if let Some(Ipld::Map(m)) = gate.record.as_mut().map(|r| &mut r.value) {
            m.insert("allow".into(), Ipld::List(vec![rule]));
        }
        gate
    };
    let root = uri("a", POST, 1);
    // Who follows, when, and whether that allows the reply at 4. Posts come before follows, as in a repo.
    let cases = [
        ("followerRule", "b", 3, true),
        ("followerRule", "b", 5, false),
        ("followingRule", "a", 3, true),
        ("followingRule", "a", 5, false),
        ("followerRule", "a", 3, false),
    ];
    for (rule, who, when, allowed) in cases {
        for b_first in [false, true] {
            let w = World::new();
            for name in ["a", "b"] {
                let who = did(name);
                w.writer.durable(move |tx| tx.intern_actor(who.as_str())).await.unwrap();
                w.event(name, Body::Wanted).await;
            }
            w.join("a").await;
            let mut repos = [("a", vec![post(1), gate(rule)]), ("b", vec![reply(4, &root, &root)])];
            let other = if who == "a" { "b" } else { "a" };
            repos.iter_mut().filter(|(name, _)| *name == who).for_each(|(_, ops)| {
                ops.push(follow(when, other));
            });
            if b_first {
                repos.reverse();
            }
            for (name, ops) in repos {
                for body in fetch(ops) {
                    w.event(name, body).await;
                }
            }
            let case = format!("{rule} {who} {when} b first: {b_first}");
            let violates = w.flags(w.post("b", 4)) & post_flags::VIOLATES_THREADGATE != 0;
            assert_eq!(violates, !allowed, "{case}");
            let replies = w.count(Target::Post(w.post("a", 1)), Counter::Replies);
            assert_eq!(replies, u64::from(allowed), "{case}");
            let told = w.notifs("a").iter().any(|(_, reason)| *reason == "reply");
            assert_eq!(told, allowed, "{case}");
        }
    }
}

#[tokio::test]
async fn a_new_member_gets_what_an_old_one_got_live() {
    let mut live = World::new();
    let mut late = World::new();
    let mut mentioned = post(6);
    if let Some(Ipld::Map(m)) = mentioned.record.as_mut().map(|r| &mut r.value) {
        let feature = map([
            ("$type", text("app.bsky.richtext.facet#mention")),
            ("did", text(did("a").as_str())),
        ]);
        m.insert("facets".into(), Ipld::List(vec![map([("features", Ipld::List(vec![feature]))])]));
    }
    let root = uri("a", POST, 1);
    let first = uri("b", POST, 3);
    let feed = "app.bsky.feed.generator";
    let repost = |n, of: &str| {
        let coll = "app.bsky.feed.repost";
        let v = [("$type", text(coll)), ("subject", strong(of)), ("createdAt", text(at(n)))];
        op(coll, n, map(v))
    };
    let mut through = like(14, &uri("d", POST, 11));
    if let Some(Ipld::Map(m)) = through.record.as_mut().map(|r| &mut r.value) {
        m.insert("via".into(), strong(&uri("a", "app.bsky.feed.repost", 12)));
        // The reference does not ask whether that repost is of the same post.
    }
    let joined = op(
        "app.bsky.actor.profile",
        15,
        map([
            ("$type", text("app.bsky.actor.profile")),
            ("joinedViaStarterPack", strong(&uri("a", "app.bsky.graph.starterpack", 13))),
        ]),
    );
    let joined = Op { rkey: "self".into(), ..joined };
    for w in [&mut live, &mut late] {
        w.commit("d", [post(11)]).await;
        let generator = op(feed, 13, map([("$type", text(feed)), ("createdAt", text(at(13)))]));
        let pack = "app.bsky.graph.starterpack";
        let pack = op(pack, 13, map([("$type", text(pack)), ("createdAt", text(at(13)))]));
        w.commit("a", [post(1), repost(12, &uri("d", POST, 11)), generator, pack]).await;
    }
    live.join("a").await;
    for w in [&mut live, &mut late] {
        w.commit("b", [like(2, &root), reply(3, &root, &root), follow(4, "a")]).await;
        w.commit(
            "c",
            [reply(5, &root, &first), mentioned.clone(), quote(7, &root), like(8, &root)],
        )
        .await;
        w.commit("a", [like(9, &root), reply(10, &root, &first)]).await;
        // The second of two likes takes the place of the first, and is no news.
        w.commit("f", [like(20, &root), like(21, &root)]).await;
        w.commit("f", [gone(LIKE, 20)]).await;
        w.commit("e", [through.clone(), like(16, &uri("a", feed, 13)), joined.clone()]).await;
    }
    late.join("a").await;
    let expect = live.notifs("a");
    assert_eq!(late.notifs("a"), expect);
    let reasons: Vec<_> = expect.iter().map(|(_, r)| *r).collect();
    let old = ["like", "quote", "mention", "reply", "follow", "reply", "like"];
    assert_eq!(reasons[..3], ["starterpack-joined", "like", "like-via-repost"]);
    assert_eq!(reasons[3..], old);
}

#[tokio::test]
async fn muted_threads_and_hidden_replies_do_not_notify() {
    let mut w = World::new();
    let root = uri("a", POST, 1);
    w.commit("a", [post(1), post(2)]).await;
    w.join("a").await;
    let (me, muted) = (w.actor("a"), Target::Post(w.post("a", 1)));
    w.writer
        .durable(move |tx| {
            private::testing::put(tx, private::Kind::MutedThread, me, Some(muted), 1)
        })
        .await
        .unwrap();
    let other = uri("a", POST, 2);
    w.commit("b", [like(3, &root), reply(4, &root, &root), like(5, &other)]).await;
    assert_eq!(w.notifs("a").len(), 1);
}

/// Content as it is submitted.
fn community_post(tx: &mut Tx<'_>, of: ActorId, n: u64) -> Result<PostId, StoreError> {
    let uri = format!("at://{}/community.blacksky.feed.post/{}", tx.did(of)?, tid(n));
    let Some(Target::Post(id)) = tx.intern_target(&uri)? else { panic!("{uri}") };
    let input = map([("text", text("hi")), ("createdAt", text(at(n)))]);
    private::testing::community_post(tx, id, &community::NewPost::read(&input).unwrap(), NOW)?;
    Ok(id)
}

#[tokio::test]
async fn a_community_post_goes_with_its_stub() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let a = w.actor("a");
    let [id, other] = w
        .writer
        .durable(move |tx| Ok([community_post(tx, a, 5)?, community_post(tx, a, 6)?]))
        .await
        .unwrap();
    let held = |w: &World, id| community::get(&w.store.snapshot(), id).unwrap().is_some();
    let stub = |m: u64| {
        let nsid = "community.blacksky.feed.post";
        op(nsid, 5, map([("$type", text(nsid)), ("createdAt", text(at(m)))]))
    };
    w.commit("a", [stub(5)]).await;
    w.commit("a", [stub(6)]).await;
    assert!(held(&w, id) && held(&w, other));
    w.commit("a", [gone("community.blacksky.feed.post", 5)]).await;
    assert!(!held(&w, id) && held(&w, other));
    // One whose stub was never seen, and a post of the network under the same key.
    w.commit("a", [gone("community.blacksky.feed.post", 6), post(6)]).await;
    assert!(!held(&w, other));
}

pub(super) fn one_private_row_of_each_kind(
    tx: &mut Tx<'_>,
    of: ActorId,
    about: ActorId,
) -> Result<(), StoreError> {
    use private::Kind::*;
    let post = PostId { author: about, rkey: Rkey(1) };
    let subscription = subscriptions::Subscription { at: 1, post: true, reply: true };
    private::testing::put_mute(tx, of, about, private::Mute { at: 1, ..Default::default() })?;
    private::testing::put(tx, MutedList, of, Some(Target::Post(post)), 1)?;
    private::testing::put(tx, MutedThread, of, Some(Target::Post(post)), 1)?;
    private::testing::subscribe(tx, of, about, subscription)?;
    for kind in [Seen, Member, Priority] {
        private::testing::put(tx, kind, of, None, 1)?;
    }
    private::testing::put_preferences(tx, of, "{}");
    private::testing::bookmark(tx, of, post, "cid", 1)?;
    private::testing::draft(tx, of, "{}".into(), 1)?;
    community_post(tx, of, 1)?;
    private::testing::register(
        tx,
        of,
        &registrations::Registration {
            at: 1,
            platform: registrations::Platform::Web,
            app_id: "app".into(),
            token: "token".into(),
            age_restricted: false,
        },
    )?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let target = uri("a", POST, 1);
    let before = w.rows();
    let mut ops: Vec<Op> = (10..700).map(post).collect();
    ops.extend([
        like(2, &target),
        reply(3, &target, &target),
        follow(4, "a"),
        gate_nobody(10, "b"),
    ]);
    w.commit("b", ops).await;
    w.event(
        "b",
        Body::Identity(IdentityState { handle: Some("b.example".into()), key: None, pds: None }),
    )
    .await;
    w.event("b", Body::Account(HostingStatus::Deleted)).await;
    let (a, b) = (w.actor("a"), w.actor("b"));
    let held = w.writer.durable(move |tx| {
        one_private_row_of_each_kind(tx, b, a)?;
        let mut held = Vec::new();
        for tag in private::tags_of_account() {
            tx.scan_prefix(Ks::Private, &Key::tag(tag).actor(b), &mut |k, _| {
                held.push(k[0]);
                true
            })?;
        }
        Ok(held)
    });
    assert_eq!(held.await.unwrap(), private::tags_of_account(), "a row of each kind");
    assert_eq!(w.requests.purge.try_recv(), Ok(b));
    assert_eq!(w.store.snapshot().handle_owner("b.example").unwrap(), None);
    let mut steps = 0;
    loop {
        let index = Arc::clone(&w.index);
        steps += 1;
        if w.writer.durable(move |tx| purge_step(&index, tx, b)).await.unwrap() {
            break;
        }
    }
    assert!(steps > 1, "in bounded steps");
    assert_eq!(w.rows(), before);
    assert_eq!(w.store.snapshot().actor(b).unwrap().unwrap().status, AccountStatus::Deleted);
    assert_eq!(purge::purges(&w.store.snapshot()).unwrap(), []);
}

#[tokio::test]
async fn the_newest_proof_of_a_handle_wins() {
    let w = World::new();
    let proof =
        |h: &str| Body::Identity(IdentityState { handle: Some(h.into()), key: None, pds: None });
    w.event("a", proof("x.example")).await;
    w.event("b", proof("x.example")).await;
    let s = w.store.snapshot();
    assert_eq!(s.handle_owner("x.example").unwrap(), Some(w.actor("b")));
    assert_eq!(s.actor(w.actor("a")).unwrap().unwrap().handle, None);
    w.event("b", proof("y.example")).await;
    assert_eq!(w.store.snapshot().handle_owner("x.example").unwrap(), None);
}

#[tokio::test]
async fn many_fans_are_kept_in_order_of_time() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let target = uri("a", POST, 1);
    let n = reverse_edges::ORDERED_FROM + 3;
    w.crowd(n, &target).await;
    let t = Target::Post(w.post("a", 1));
    let ordered = |w: &World| {
        let s = w.store.snapshot();
        let mut keys = Vec::new();
        s.scan_prefix(
            Ks::Order,
            &crate::schema::rows::fans_prefix(EdgeKind::Like, t),
            &mut |k, _| {
                keys.push(k.to_vec());
                true
            },
        )
        .unwrap();
        keys.len() as u64
    };
    assert_eq!(ordered(&w), n);
    w.commit("f7", [gone(LIKE, 17)]).await;
    assert_eq!((ordered(&w), w.count(t, Counter::Likes)), (n - 1, n - 1));
}

#[tokio::test]
async fn list_items_of_other_peoples_lists_have_no_effect() {
    let mut w = World::new();
    let coll = "app.bsky.graph.listitem";
    let item = |n, list: &str| {
        op(
            coll,
            n,
            map([
                ("$type", text(coll)),
                ("list", text(list)),
                ("subject", text(did("m").as_str())),
                ("createdAt", text(at(n))),
            ]),
        )
    };
    let list = uri("a", "app.bsky.graph.list", 1);
    w.commit("a", [item(2, &list)]).await;
    w.commit("b", [item(3, &list)]).await;
    let id = RecordId { actor: w.actor("a"), coll: collections::LIST, rkey: w.post("a", 1).rkey };
    assert_eq!(w.count(Target::Record(id), Counter::Items), 1);
    let s = w.store.snapshot();
    let mut items = 0;
    s.scan_prefix(Ks::Order, &order_prefix(Order::Items, Target::Record(id)), &mut |_, _| {
        items += 1;
        true
    })
    .unwrap();
    assert_eq!(items, 1);
}

#[tokio::test]
async fn a_like_on_a_post_that_broke_its_lexicon_comes_back_as_it_was() {
    let mut w = World::new();
    let mut broken = post(1);
    let cid = broken.record.as_ref().unwrap().cid;
    if let Some(record) = broken.record.as_mut() {
        record.valid = false;
    }
    w.commit("a", [broken]).await;
    let subject = map([
        ("uri", text(uri("a", POST, 1))),
        ("cid", text(cid::for_digest(cid::DAG_CBOR, &cid).to_string())),
    ]);
    let value = map([("$type", text(LIKE)), ("subject", subject), ("createdAt", text(at(2)))]);
    w.commit("b", [op(LIKE, 2, value.clone())]).await;
    let (s, b, rkey) = (w.store.snapshot(), w.actor("b"), w.post("b", 2).rkey);
    let edge = s.edge(EdgeKind::Like, b, rkey).unwrap().unwrap();
    let rebuilt = crate::schema::rebuild::edge_record(&s, EdgeKind::Like, b, rkey, &edge).unwrap();
    assert_eq!(rebuilt.map(|(v, _)| v), Some(value));
}

#[tokio::test]
async fn questions_about_an_account_stand_until_they_are_answered() {
    use crate::event::HostingStatus::{Active, Deactivated, Deleted};
    use crate::work::recheck::{Due, Said, dues};
    let w = World::new();
    let known = Body::Identity(IdentityState {
        handle: Some("a.example".into()),
        key: Some("did:key:old".into()),
        pds: Some("https://pds.example".into()),
    });
    let key = |w: &World| w.store.snapshot().identity(w.actor("a")).unwrap().unwrap().key;
    let due = |w: &World| {
        let dues = dues(&w.store.snapshot()).unwrap();
        dues.into_iter().map(|(actor, due)| (actor == w.actor("a"), due)).collect::<Vec<_>>()
    };
    w.event("a", known.clone()).await;
    w.event("a", Body::IdentityDue { since: NOW }).await;
    assert_eq!((key(&w), due(&w)), (String::new(), vec![(true, Due::Identity)]));
    w.event("a", known).await;
    assert_eq!((key(&w).as_str(), due(&w)), ("did:key:old", vec![]));
    for answer in [Active, Deactivated, Deleted] {
        w.event("a", Body::Claimed(Deleted, Belief::UntilAsked)).await;
        assert_eq!(due(&w), [(true, Due::Status(Said::Deleted))]);
        let row = w.store.snapshot().actor(w.actor("a")).unwrap().unwrap();
        assert_eq!(row.status, AccountStatus::Deactivated);
        assert!(w.requests.purge.is_empty());
        w.event("a", Body::Account(answer)).await;
        assert_eq!(due(&w), []);
    }
    assert_eq!(w.requests.purge.len(), 1);
}

fn known(handle: &str) -> Body {
    Body::Identity(IdentityState {
        handle: Some(handle.into()),
        key: Some("did:key:k".into()),
        pds: Some("https://pds.example".into()),
    })
}

#[tokio::test]
async fn who_gave_the_did_up_is_gone_until_there_is_a_document_again() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.event("a", known("a.example")).await;
    let row = |w: &World| w.store.snapshot().actor(w.actor("a")).unwrap().unwrap();
    w.event("a", Body::NoDocument { tombstoned: false }).await;
    assert!(row(&w).is_active(), "a directory may not know it");
    assert_eq!(row(&w).handle, None);
    for tombstoned in [true, false] {
        w.event("a", Body::NoDocument { tombstoned }).await;
        assert!(!row(&w).is_active() && row(&w).tombstoned, "it does not come back without one");
    }
    assert_eq!(w.store.snapshot().handle_owner("a.example").unwrap(), None);
    assert_eq!(w.store.snapshot().identity(w.actor("a")).unwrap().unwrap().key, "");
    // What its host says of it is another matter, and counts when it is back.
    w.event("a", Body::Account(HostingStatus::Active)).await;
    assert!(row(&w).tombstoned);
    w.event("a", Body::Account(HostingStatus::Suspended)).await;
    w.event("a", known("a.example")).await;
    assert_eq!((row(&w).tombstoned, row(&w).status), (false, AccountStatus::Suspended));
    w.event("a", Body::Account(HostingStatus::Active)).await;
    assert!(row(&w).is_active() && row(&w).handle.as_deref() == Some("a.example"));
    assert!(w.store.snapshot().post(w.post("a", 1)).unwrap().is_some(), "nothing was deleted");
}

#[tokio::test]
async fn a_deleted_account_gets_no_handle_and_comes_back_whole() {
    let mut w = World::new();
    w.commit("a", (1..=700).map(post).collect::<Vec<_>>()).await;
    w.event("a", known("a.example")).await;
    w.event("a", Body::Account(HostingStatus::Deleted)).await;
    let (a, index) = (w.actor("a"), Arc::clone(&w.index));
    let step = |index: Arc<Index>| w.writer.durable(move |tx| purge_step(&index, tx, a));
    assert!(!step(index).await.unwrap());
    // The process ends here; what is left to do is in the store.
    let (index, requests) = Index::new(&w.store).unwrap();
    let index = Arc::new(index);
    assert_eq!(purge::purges(&w.store.snapshot()).unwrap(), [(a, purge::Purge::Deleted)]);
    assert!(w.count(Target::Actor(a), Counter::Posts) > 0);
    while !step(Arc::clone(&index)).await.unwrap() {}
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), 0);
    // Its DID is still there and names a handle.
    (w.index, w.requests) = (index, requests);
    w.event("a", known("a.example")).await;
    let s = w.store.snapshot();
    let row = s.actor(a).unwrap().unwrap();
    assert_eq!((row.handle.as_deref(), s.handle_owner("a.example").unwrap()), (None, None));
    assert_eq!(s.identity(a).unwrap(), None);
    assert!(w.requests.resync.is_empty());
    w.event("a", Body::Account(HostingStatus::Active)).await;
    assert_eq!(w.requests.resync.try_recv(), Ok(a), "what it had has to be fetched");
    assert_eq!(w.store.snapshot().actor(a).unwrap().unwrap().handle_checked, 0, "and its handle");
}

#[tokio::test]
async fn an_account_that_comes_back_while_it_is_removed_keeps_what_is_left_and_is_fetched() {
    let mut w = World::new();
    w.commit("a", (1..=700).map(post).collect::<Vec<_>>()).await;
    w.event("a", Body::Account(HostingStatus::Deleted)).await;
    let a = w.actor("a");
    let index = Arc::clone(&w.index);
    assert!(!w.writer.durable(move |tx| purge_step(&index, tx, a)).await.unwrap());
    w.event("a", Body::Account(HostingStatus::Active)).await;
    let left = w.count(Target::Actor(a), Counter::Posts);
    assert!(left > 0 && left < 700);
    let index = Arc::clone(&w.index);
    assert!(w.writer.durable(move |tx| purge_step(&index, tx, a)).await.unwrap());
    assert_eq!(w.count(Target::Actor(a), Counter::Posts), left);
    assert_eq!(w.requests.resync.try_recv(), Ok(a));
    // An account that was only deactivated has everything.
    w.commit("b", [post(1)]).await;
    w.event("b", Body::Account(HostingStatus::Deactivated)).await;
    w.event("b", Body::Account(HostingStatus::Active)).await;
    assert!(w.requests.resync.is_empty());
}
