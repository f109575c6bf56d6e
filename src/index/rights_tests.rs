//! What stays and what goes of accounts that opt out or want their data deleted.

use std::sync::Arc;

use super::check::{Options, check};
use super::testing::*;
use super::tests::one_private_row_of_each_kind;
use super::*;
use crate::event::{Belief, HostingStatus, IdentityState};
use crate::private;
use crate::schema::rows::{AccountStatus, ActorRow, Counter};
use crate::schema::{Key, Target};
use crate::store::{Ks, Reader};
use crate::syntax::Tid;
use crate::work::purge::{self, Purge};
use crate::work::repo_queue::{JobRow, Priority};
use crate::work::{recheck, repo_queue as jobs};

/// Posts of `b`, more than two steps of a purge take.
const POSTS: u64 = 1200;
/// The tag of community posts.
const COMMUNITY_POST: u8 = b'c';

fn rev(n: u64) -> Tid {
    Tid::parse(&tid(n)).unwrap()
}

fn identity(handle: &str) -> Body {
    Body::Identity(IdentityState { handle: Some(handle.into()), key: None, pds: None })
}

/// `b` has posts, a like and a reply under a post of `a`, a follow, a handle, a job and private rows.
async fn world() -> World {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let target = uri("a", POST, 1);
    let mut ops: Vec<_> = (2000..2000 + POSTS).map(post).collect();
    ops.extend([
        like(2, &target),
        reply(3, &target, &target),
        follow(4, "a"),
        gate_nobody(2000, "b"),
    ]);
    w.commit("b", ops).await;
    w.event("b", identity("b.example")).await;
    w.join("b").await;
    w.commit("c", [like(5, &uri("b", POST, 2000)), follow(6, "b")]).await;
    let (a, b) = (w.actor("a"), w.actor("b"));
    w.writer
        .durable(move |tx| {
            one_private_row_of_each_kind(tx, b, a)?;
            jobs::add(tx, b, &JobRow::new(Priority::Asked, NOW)).map(drop)
        })
        .await
        .unwrap();
    w
}

impl World {
    async fn opt_out(&self, who: &str) -> bool {
        let did = did(who);
        let plan = move |r: &Tx<'_>| private::opt_outs::opt_out(r, did.as_str(), NOW);
        self.private().change(plan).await.unwrap()
    }

    async fn opt_in(&self, who: &str) -> bool {
        let did = did(who);
        let plan = move |r: &Tx<'_>| private::opt_outs::opt_in(r, did.as_str(), NOW);
        self.private().change(plan).await.unwrap()
    }

    async fn erase(&self, who: &str) {
        let (did, then) = (did(who), private::Afterwards::Collected);
        let plan = move |r: &Tx<'_>| private::opt_outs::erase(r, did.as_str(), then, NOW);
        self.private().change(plan).await.unwrap();
    }

    /// One step of the removal; `true` if it was the last.
    async fn step(&self, who: &str) -> bool {
        let (index, actor) = (Arc::clone(&self.index), self.actor(who));
        self.writer.durable(move |tx| purge_step(&index, tx, actor)).await.unwrap()
    }

    async fn purge(&self, who: &str) -> usize {
        let mut steps = 1;
        while !self.step(who).await {
            steps += 1;
        }
        steps
    }

    fn account(&self, who: &str) -> Option<ActorRow> {
        self.store.snapshot().actor(self.actor(who)).unwrap()
    }

    fn job(&self, who: &str) -> Option<Priority> {
        jobs::get(&self.store.snapshot(), self.actor(who)).unwrap().map(|job| job.priority)
    }

    /// Tags of the rows that the account has under keys of its own.
    fn private_tags(&self, who: &str) -> Vec<u8> {
        let (s, actor) = (self.store.snapshot(), self.actor(who));
        let mut tags = Vec::new();
        for tag in private::tags_of_account().into_iter().chain([COMMUNITY_POST]) {
            s.scan_prefix(Ks::Private, &Key::tag(tag).actor(actor), &mut |k, _| {
                tags.push(k[0]);
                true
            })
            .unwrap();
        }
        tags.dedup();
        tags
    }

    fn likes_and_replies(&self) -> [u64; 2] {
        let post = Target::Post(self.post("a", 1));
        [Counter::Likes, Counter::Replies].map(|counter| self.count(post, counter))
    }

    fn is_clean(&self) {
        let report =
            check(&self.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }
}

/// Every way in which something of `b` may come.
async fn everything_comes(w: &mut World) {
    w.commit("b", [post(9000), like(9001, &uri("a", POST, 1))]).await;
    for body in [
        Body::Sync { rev: rev(9100), data: [3; 32] },
        Body::Account(HostingStatus::Active),
        Body::Account(HostingStatus::Takendown),
        Body::Claimed(HostingStatus::Deactivated, Belief::UntilAsked),
        Body::IdentityDue { since: NOW },
        Body::NoDocument { tombstoned: true },
        identity("b2.example"),
        Body::Introduced(IdentityState { handle: Some("b3.example".into()), key: None, pds: None }),
        Body::Found { rev: rev(9200), ops: vec![post(9002)] },
        Body::Wanted,
        Body::Fetching { rev: rev(9300), data: [4; 32] },
        Body::Part { rev: rev(9300), ops: vec![post(9003)] },
        Body::Fetched { rev: rev(9300) },
        Body::GivenUp,
    ] {
        w.event("b", body).await;
    }
}

fn nothing_of_it(w: &World, status: AccountStatus) {
    let (s, b) = (w.store.snapshot(), w.actor("b"));
    let row = w.account("b").unwrap();
    assert_eq!((row.status, row.handle), (status, None));
    assert_eq!((s.repo(b).unwrap(), s.identity(b).unwrap(), w.job("b")), (None, None, None));
    assert_eq!(recheck::dues(&s).unwrap(), []);
    for handle in ["b.example", "b2.example", "b3.example"] {
        assert_eq!(s.handle_owner(handle).unwrap(), None, "{handle}");
    }
}

#[tokio::test]
async fn who_opts_out_is_gone_at_once_and_nothing_comes_in_again() {
    let mut w = world().await;
    assert_eq!(w.likes_and_replies(), [1, 1]);
    let private = w.private_tags("b");
    assert_eq!(private.len(), private::tags_of_account().len() + 1);
    assert!(w.opt_out("b").await);
    assert!(!w.opt_out("b").await, "twice");
    nothing_of_it(&w, AccountStatus::OptedOut);
    assert_eq!(w.requests.purge.drain().count(), 1);

    assert!(!w.step("b").await);
    // A restart in the middle, and events.
    w.restart(scope::Mode::Whole, 0);
    everything_comes(&mut w).await;
    nothing_of_it(&w, AccountStatus::OptedOut);
    assert!(!w.opt_in("b").await, "what was held is still being deleted");
    let b = w.actor("b");
    assert_eq!(purge::purges(&w.store.snapshot()).unwrap(), [(b, Purge::Collected)]);
    assert!(w.purge("b").await > 2, "in bounded steps");
    everything_comes(&mut w).await;
    nothing_of_it(&w, AccountStatus::OptedOut);

    // What it showed is gone and counted nowhere; what it set for itself stays.
    assert_eq!(w.likes_and_replies(), [0, 0]);
    assert_eq!(w.count(Target::Actor(w.actor("a")), Counter::Followers), 0);
    assert_eq!(w.count(Target::Actor(b), Counter::Posts), 0);
    let kept: Vec<u8> = private.into_iter().filter(|tag| *tag != COMMUNITY_POST).collect();
    assert_eq!(w.private_tags("b"), kept);
    assert!(repo_contents::held_records(&w.store.snapshot(), b).unwrap().is_empty());
    assert!(w.index.members().contains(b));
    // What others wrote about it is theirs.
    assert_eq!(w.count(Target::Actor(b), Counter::Followers), 1);
    w.is_clean();
}

#[tokio::test]
async fn who_opts_in_again_is_fetched_and_collected() {
    let mut w = world().await;
    w.opt_out("b").await;
    w.purge("b").await;
    assert!(w.opt_in("b").await);
    assert!(w.opt_in("b").await, "twice");
    assert_eq!((w.account("b"), w.job("b")), (None, Some(Priority::Member)));
    let b = w.actor("b");
    assert_eq!(w.requests.resync.drain().last(), Some(b));
    w.event("b", Body::Wanted).await;
    w.event("b", Body::Fetching { rev: rev(9300), data: [4; 32] }).await;
    w.event("b", Body::Part { rev: rev(9300), ops: vec![post(9003)] }).await;
    w.event("b", Body::Fetched { rev: rev(9300) }).await;
    w.event("b", identity("b.example")).await;
    let s = w.store.snapshot();
    assert!(s.repo(b).unwrap().unwrap().is_complete());
    assert_eq!(s.handle_owner("b.example").unwrap(), Some(b));
    assert_eq!(w.count(Target::Actor(b), Counter::Posts), 1);
    // And after a restart.
    w.restart(scope::Mode::Whole, 0);
    w.revs = 9400;
    w.commit("b", [post(9004)]).await;
    assert_eq!(w.count(Target::Actor(b), Counter::Posts), 2);
    // Whoever is no member is fetched too.
    w.commit("d", [post(1)]).await;
    w.opt_out("d").await;
    w.purge("d").await;
    w.opt_in("d").await;
    assert_eq!(w.job("d"), Some(Priority::Asked));
    w.is_clean();
}

#[tokio::test]
async fn what_is_deleted_leaves_nothing_and_the_account_starts_anew() {
    for restarts in [false, true] {
        let mut w = world().await;
        w.erase("b").await;
        nothing_of_it(&w, AccountStatus::Deleted);
        while !w.step("b").await {
            if restarts {
                w.restart(scope::Mode::Whole, 0);
            }
            everything_comes(&mut w).await;
            nothing_of_it(&w, AccountStatus::Deleted);
        }
        assert_eq!((w.account("b"), w.private_tags("b")), (None, vec![]));
        let b = w.actor("b");
        assert!(repo_contents::held_records(&w.store.snapshot(), b).unwrap().is_empty());
        assert!(!w.index.members().contains(b) && w.notifs("b").is_empty());
        assert_eq!(w.likes_and_replies(), [0, 0]);
        w.is_clean();
        w.revs = 9400;
        w.commit("b", [post(9005)]).await;
        assert_eq!(w.count(Target::Actor(b), Counter::Posts), 1);
        assert!(!w.store.snapshot().repo(b).unwrap().unwrap().is_complete());
    }
}

#[tokio::test]
async fn both_together_and_one_after_the_other() {
    // In either order, and with the deletion of the account at its host.
    for way in 0..4 {
        let mut w = world().await;
        match way {
            0 => {
                w.opt_out("b").await;
                w.erase("b").await;
            }
            1 => {
                w.erase("b").await;
                w.opt_out("b").await;
            }
            2 => {
                w.opt_out("b").await;
                w.purge("b").await;
                w.event("b", Body::Account(HostingStatus::Deleted)).await;
                w.event("b", Body::Account(HostingStatus::Active)).await;
            }
            _ => {
                w.event("b", Body::Account(HostingStatus::Deleted)).await;
                w.opt_out("b").await;
                w.event("b", Body::Account(HostingStatus::Active)).await;
            }
        }
        let b = w.actor("b");
        let purges = purge::purges(&w.store.snapshot()).unwrap();
        assert_eq!(purges, [(b, Purge::Everything)], "{way}");
        w.purge("b").await;
        everything_comes(&mut w).await;
        nothing_of_it(&w, AccountStatus::OptedOut);
        assert!(w.private_tags("b").is_empty(), "{way}");
        assert!(!w.index.members().contains(b));
        let s = w.store.snapshot();
        assert_eq!(private::opt_outs(&s).unwrap(), [(b, NOW)]);
        w.is_clean();
    }
}

#[tokio::test]
async fn a_fetch_that_was_under_way_brings_nothing() {
    let w = World::new();
    w.event("b", Body::Wanted).await;
    w.event("b", Body::Fetching { rev: rev(3), data: [4; 32] }).await;
    w.opt_out("b").await;
    w.purge("b").await;
    w.event("b", Body::Part { rev: rev(3), ops: vec![post(1)] }).await;
    // Nor does it after the account has opted in: only the fetch that begins then does.
    w.opt_in("b").await;
    w.event("b", Body::Part { rev: rev(3), ops: vec![post(1)] }).await;
    w.event("b", Body::Fetched { rev: rev(3) }).await;
    let b = w.actor("b");
    assert_eq!(w.count(Target::Actor(b), Counter::Posts), 0);
    assert_eq!(w.store.snapshot().repo(b).unwrap(), None);
}

impl World {
    async fn remove_repo(&self, who: &str, delete: bool) -> Removed {
        let (index, actor) = (Arc::clone(&self.index), self.actor(who));
        let private = self.private();
        let remove = move |tx: &mut Tx<'_>| index.remove_repo(&private, tx, actor, delete, NOW);
        self.writer.durable(remove).await.unwrap()
    }
}

#[tokio::test]
async fn a_repo_that_is_removed_leaves_the_queue_and_with_delete_the_index() {
    let mut w = world().await;
    let was = Removed { queued: true, ..Removed::default() };
    assert_eq!(w.remove_repo("b", false).await, was);
    assert_eq!((w.job("b"), w.likes_and_replies()), (None, [1, 1]));
    assert_eq!(w.remove_repo("b", false).await, Removed::default(), "twice");
    // Members are kept, and whom they follow where the scope keeps some.
    let kept = Removed { kept: true, ..Removed::default() };
    assert_eq!(w.remove_repo("b", true).await, kept);
    w.restart(scope::Mode::Circle, 30);
    assert_eq!(w.remove_repo("a", true).await, kept, "b follows a");
    assert_eq!(w.likes_and_replies(), [1, 1]);
    w.restart(scope::Mode::Whole, 0);

    w.index.remove_member(&w.private(), w.actor("b")).await.unwrap();
    let private = w.private_tags("b");
    let deleting = Removed { deleting: true, ..Removed::default() };
    assert_eq!(w.remove_repo("b", true).await, deleting);
    nothing_of_it(&w, AccountStatus::Deleted);
    assert_eq!(w.remove_repo("b", true).await, Removed::default(), "twice");
    while !w.step("b").await {
        w.restart(scope::Mode::Whole, 0);
        everything_comes(&mut w).await;
        nothing_of_it(&w, AccountStatus::Deleted);
    }
    assert_eq!((w.account("b"), w.likes_and_replies()), (None, [0, 0]));
    let left: Vec<u8> = private.into_iter().filter(|tag| *tag != COMMUNITY_POST).collect();
    assert!(!left.is_empty() && w.private_tags("b") == left, "what it set stays");
    w.is_clean();
    // As an account that was never seen.
    w.revs = 9400;
    w.commit("b", [post(9005)]).await;
    assert_eq!(w.count(Target::Actor(w.actor("b")), Counter::Posts), 1);
}

#[tokio::test]
async fn rights_go_before_the_operators_wish() {
    for way in 0..3 {
        let w = world().await;
        w.index.remove_member(&w.private(), w.actor("b")).await.unwrap();
        let b = w.actor("b");
        let purge = |w: &World| purge::purge(&w.store.snapshot(), b).unwrap();
        if way == 0 {
            w.opt_out("b").await;
            assert!(!w.remove_repo("b", true).await.deleting);
            assert_eq!(purge(&w), Some(Purge::Collected));
            continue;
        }
        assert!(w.remove_repo("b", true).await.deleting);
        assert_eq!(purge(&w), Some(Purge::Records));
        if way == 1 {
            w.opt_out("b").await;
            assert_eq!(purge(&w), Some(Purge::Collected), "its settings stay");
        } else {
            w.erase("b").await;
            assert_eq!(purge(&w), Some(Purge::Everything));
        }
    }
}

#[tokio::test]
async fn a_gap_makes_a_new_job_for_a_repo_whose_job_was_removed_and_hurries_none() {
    let w = World::new();
    let commit = async |n: u64, prev: u8, data: u8| {
        let (prev, data) = (Some([prev; 32]), Some([data; 32]));
        let commit = Commit { rev: rev(n), data, prev_data: prev, ops: vec![post(n)] };
        w.event("b", Body::Commit(commit)).await;
    };
    commit(1, 0, 1).await;
    commit(2, 9, 2).await;
    assert_eq!(w.job("b"), Some(Priority::Resync), "a gap");
    assert!(w.remove_repo("b", false).await.queued);
    commit(3, 2, 3).await;
    assert_eq!(w.job("b"), None, "none");
    let b = w.actor("b");
    assert!(w.store.snapshot().repo(b).unwrap().unwrap().resync.is_some());
    commit(4, 9, 4).await;
    assert_eq!(w.job("b"), Some(Priority::Resync), "another");
    let failed = JobRow { tries: 3, ..JobRow::new(Priority::Resync, NOW) };
    w.writer.durable(move |tx| jobs::put(tx, b, &failed)).await.unwrap();
    commit(5, 9, 5).await;
    let due = jobs::get(&w.store.snapshot(), b).unwrap().unwrap().due;
    assert_eq!(due, NOW, "a gap is no reason to ask a host that fails");
}
