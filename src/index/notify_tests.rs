//! A notification goes with the record that caused it, whichever way that goes, and the count follows.

use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::check::{Options, check};
use super::retention_tests::{policy, run};
use super::scope::Mode;
use super::testing::*;
use super::*;
use crate::event::{HostingStatus, Op};
use crate::hydrate::{HydrateCtx, HydrationSettings, Hydrator, Shared};
use crate::private::{self, subscriptions::Subscription};
use crate::repo::mst;
use crate::schema::rows::{NotifRow, Order, Reason, notif_prefix};
use crate::schema::{Key, PostId, Rkey};
use crate::store::{Ks, Reader};
use crate::syntax::{Tid, cid};

const REPOST: &str = "app.bsky.feed.repost";
const PACK: &str = "app.bsky.graph.starterpack";
const VERIFICATION: &str = "app.bsky.graph.verification";

fn settings() -> HydrationSettings {
    HydrationSettings::new("https://appview.example")
}

/// What `a` is told is unread, by the caches of `shared`.
fn counted(w: &World, shared: &Shared) -> u64 {
    let snapshot = w.store.snapshot();
    let viewer = w.actor("a");
    let ctx =
        HydrateCtx { viewer: Some(viewer), signed_in: true, now: NOW, ..HydrateCtx::default() };
    Hydrator { snapshot: &snapshot, ctx: &ctx, shared }.unread(viewer).unwrap().0
}

fn shared(w: &World) -> Shared {
    Shared::new(&w.store, 100, settings()).unwrap()
}

fn findings(w: &World) -> Vec<String> {
    let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    report.findings.iter().map(|found| format!("{found:?}")).collect()
}

/// The reasons of what `a` is told, each with whether its record is there.
fn told(w: &World) -> Vec<(&'static str, bool)> {
    let s = w.store.snapshot();
    let mut rows = Vec::new();
    s.scan_prefix(Ks::Notif, &notif_prefix(w.actor("a")), &mut |k, v| {
        rows.push(NotifRow::decode(k, v).unwrap().1);
        true
    })
    .unwrap();
    let there = |row: &NotifRow| notify::is_there(&s, row.record()).unwrap();
    let mut told: Vec<_> = rows.iter().map(|row| (row.reason.name(), there(row))).collect();
    told.sort_unstable();
    told
}

fn traces(w: &World) -> usize {
    let mut found = 0;
    let s = w.store.snapshot();
    s.scan_prefix(Ks::Order, &Key::tag(Order::Notices as u8), &mut |_, _| {
        found += 1;
        true
    })
    .unwrap();
    found
}

/// All that is told has its record, and is counted by who remembers and by who does not.
fn exact(w: &World, remembers: &Shared, what: &str) {
    let told = told(w);
    assert!(told.iter().all(|(_, there)| *there), "{what}: {told:?}");
    let counts = [counted(w, remembers), counted(w, &shared(w))];
    assert_eq!(counts, [told.len() as u64; 2], "{what}: {told:?}");
    assert_eq!(findings(w), [] as [String; 0], "{what}");
}

fn profile(pack: Option<&str>) -> Op {
    let mut value = map([("$type", text("app.bsky.actor.profile")), ("createdAt", text(at(9)))]);
    if let (Ipld::Map(fields), Some(pack)) = (&mut value, pack) {
        fields.insert("joinedViaStarterPack".into(), strong(pack));
    }
    Op { rkey: "self".into(), ..op("app.bsky.actor.profile", 9, value) }
}

fn via(n: u64, of: &str, repost: &str) -> Op {
    let value = [
        ("$type", text(LIKE)),
        ("subject", strong(of)),
        ("createdAt", text(at(n))),
        ("via", strong(repost)),
    ];
    op(LIKE, n, map(value))
}

fn mention(n: u64) -> Op {
    let feature =
        map([("$type", text("app.bsky.richtext.facet#mention")), ("did", text(did("a").as_str()))]);
    let facets = Ipld::List(vec![map([("features", Ipld::List(vec![feature]))])]);
    op(POST, n, map([("$type", text(POST)), ("createdAt", text(at(n))), ("facets", facets)]))
}

/// Everything by which `x` notifies `a`: ten records.
fn all_of_x() -> Vec<Op> {
    let root = uri("a", POST, 1);
    let on = |coll, n| {
        op(
            coll,
            n,
            map([("$type", text(coll)), ("subject", strong(&root)), ("createdAt", text(at(n)))]),
        )
    };
    vec![
        like(20, &root),
        on(REPOST, 21),
        via(22, &uri("m", POST, 2), &uri("a", REPOST, 3)),
        follow(23, "a"),
        quote(24, &root),
        mention(25),
        // Two posts of others are between.
        reply(26, &uri("y", POST, 30), &uri("m", POST, 11)),
        // Subscribed to.
        post(27),
        profile(Some(&uri("a", PACK, 4))),
    ]
}

/// `a` and `m` are members, `x` did all of it, and `a` is notified of nothing else.
async fn world() -> World {
    let mut w = World::new();
    let pack =
        op(PACK, 4, map([("$type", text(PACK)), ("name", text("n")), ("createdAt", text(at(4)))]));
    let repost = {
        let subject = strong(&uri("m", POST, 2));
        op(
            REPOST,
            3,
            map([("$type", text(REPOST)), ("subject", subject), ("createdAt", text(at(3)))]),
        )
    };
    w.commit("y", [post(30)]).await;
    w.commit("m", [post(2)]).await;
    w.commit("a", [post(1), repost, pack, follow(5, "x")]).await;
    // A thread of `y`: `a` replied, `m` below, `x` will below that.
    let y = uri("y", POST, 30);
    w.commit("a", [reply(10, &y, &y)]).await;
    w.commit("m", [reply(11, &y, &uri("a", POST, 10))]).await;
    w.commit("x", []).await;
    w.join("a").await;
    w.join("m").await;
    let (a, x) = (w.actor("a"), w.actor("x"));
    let to = Subscription { at: 0, post: true, reply: false };
    w.writer.durable(move |tx| private::testing::subscribe(tx, a, x, to)).await.unwrap();
    w.commit("x", all_of_x()).await;
    w
}

/// Nobody can tell any more from the records of `x` who was told: what was between is gone, the subscription ended, the
/// profile names no pack.
async fn forget_the_way(w: &mut World) {
    w.commit("m", [gone(POST, 11)]).await;
    let (a, x) = (w.actor("a"), w.actor("x"));
    let ended = Subscription { at: 0, post: false, reply: false };
    w.writer.durable(move |tx| private::testing::subscribe(tx, a, x, ended)).await.unwrap();
    w.commit("x", [profile(None)]).await;
}

fn gone_all() -> Vec<Op> {
    all_of_x().into_iter().map(|op| Op { record: None, ..op }).collect()
}

#[tokio::test]
async fn what_is_deleted_is_told_no_more_whatever_became_of_those_between() {
    let mut w = world().await;
    let remembers = shared(&w);
    let reasons: Vec<_> = told(&w).into_iter().map(|(reason, _)| reason).collect();
    let all = [
        "follow",
        "like",
        "like-via-repost",
        "mention",
        "quote",
        "reply",
        "reply",
        "repost",
        "starterpack-joined",
        "subscribed-post",
    ];
    // `m` replied too.
    assert_eq!(reasons, all);
    exact(&w, &remembers, "all");
    forget_the_way(&mut w).await;
    exact(&w, &remembers, "forgotten");
    assert_eq!(told(&w).len(), all.len() - 1, "only what `m` wrote went");
    let mut left = told(&w).len();
    for op in gone_all() {
        let what = format!("{} {}", op.collection, op.rkey);
        w.commit("x", [op]).await;
        exact(&w, &remembers, &what);
        left -= 1;
        assert_eq!(told(&w).len(), left, "{what}");
    }
    assert_eq!((told(&w), traces(&w)), (vec![], 0));
}

#[tokio::test]
async fn another_version_is_told_of_instead() {
    let mut w = world().await;
    let remembers = shared(&w);
    exact(&w, &remembers, "all");
    let before = told(&w);
    // The same records with another member.
    let newer = all_of_x().into_iter().map(|op| {
        let mut record = op.record.unwrap();
        if let Ipld::Map(fields) = &mut record.value {
            fields.insert("other".into(), text("member"));
        }
        let bytes = crate::repo::dag_cbor::encode(&record.value);
        record.cid = cid::digest(&cid::for_record(&bytes)).unwrap();
        Op { record: Some(record), ..op }
    });
    w.commit("x", newer.collect::<Vec<_>>()).await;
    exact(&w, &remembers, "newer");
    assert_eq!(told(&w), before);
    // Nothing of it is about `a`.
    let elsewhere = uri("nobody", POST, 1);
    let on = |coll, n| {
        let subject = strong(&elsewhere);
        op(coll, n, map([("$type", text(coll)), ("subject", subject), ("createdAt", text(at(n)))]))
    };
    w.commit("x", [like(20, &elsewhere), on(REPOST, 21), like(22, &elsewhere), follow(23, "m")])
        .await;
    w.commit("x", [quote(24, &elsewhere), post(25), post(26)]).await;
    exact(&w, &remembers, "elsewhere");
    w.commit("x", gone_all()).await;
    exact(&w, &remembers, "gone");
    // What `m` wrote.
    assert_eq!(told(&w), [("reply", true)]);
}

#[tokio::test]
async fn accounts_that_go_step_by_step_take_theirs_along() {
    type Ends = fn(&World) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let deleted: Ends = |w| Box::pin(w.event("x", Body::Account(HostingStatus::Deleted)));
    let opted_out: Ends = |w| {
        Box::pin(async {
            let plan = |r: &Tx<'_>| private::opt_outs::opt_out(r, did("x").as_str(), NOW);
            assert!(w.private().change(plan).await.unwrap());
        })
    };
    let erased: Ends = |w| {
        Box::pin(async {
            let then = private::Afterwards::Collected;
            let plan = move |r: &Tx<'_>| private::opt_outs::erase(r, did("x").as_str(), then, NOW);
            w.private().change(plan).await.unwrap();
        })
    };
    for (what, ends) in [("deleted", deleted), ("opted out", opted_out), ("erased", erased)] {
        let mut w = world().await;
        forget_the_way(&mut w).await;
        // More than one step.
        w.commit("x", (1000..1700).map(|n| like(n, &uri("nobody", POST, n))).collect::<Vec<_>>())
            .await;
        let mut remembers = shared(&w);
        exact(&w, &remembers, what);
        ends(&w).await;
        let mut steps = 0;
        loop {
            exact(&w, &remembers, what);
            // As if the process had been killed here.
            w.restart(Mode::Whole, 0);
            remembers = shared(&w);
            exact(&w, &remembers, what);
            let (index, x) = (Arc::clone(&w.index), w.actor("x"));
            steps += 1;
            if w.writer.durable(move |tx| purge_step(&index, tx, x)).await.unwrap() {
                break;
            }
        }
        exact(&w, &remembers, what);
        assert!(steps > 2, "{what}");
        assert_eq!((told(&w), traces(&w)), (vec![], 0), "{what}");
    }
}

#[tokio::test]
async fn a_repo_that_is_fetched_takes_what_it_lacks() {
    let mut w = world().await;
    forget_the_way(&mut w).await;
    let remembers = shared(&w);
    exact(&w, &remembers, "before");
    let rev = |n| Tid::parse(&tid(n)).unwrap();
    w.event("x", Body::Wanted).await;
    let nothing = cid::digest(&mst::root(std::iter::empty())).unwrap();
    w.event("x", Body::Fetching { rev: rev(500), data: nothing }).await;
    w.event("x", Body::Part { rev: rev(500), ops: gone_all() }).await;
    exact(&w, &remembers, "a part");
    w.event("x", Body::Fetched { rev: rev(500) }).await;
    exact(&w, &remembers, "all");
    assert_eq!((told(&w), traces(&w)), (vec![], 0));
    // And so does what somebody wanted to see and is there no more.
    w.event("y2", Body::Found { rev: rev(600), ops: vec![mention(40)] }).await;
    assert_eq!(told(&w).len(), 1);
    w.event("y2", Body::Found { rev: rev(601), ops: vec![gone(POST, 40)] }).await;
    exact(&w, &remembers, "found gone");
    assert_eq!((told(&w), traces(&w)), (vec![], 0));
}

#[tokio::test]
async fn retention_takes_no_record_without_its_notification() {
    let mut w = world().await;
    forget_the_way(&mut w).await;
    let remembers = shared(&w);
    w.restart(Mode::Circle, 30);
    let last = retention::Policy { cutoff: NOW, ..policy(Mode::Circle) };
    run(&w, last).await;
    exact(&w, &remembers, "retention");
    let (index, kept) = (Arc::clone(&w.index), Arc::clone(w.index.scope().1));
    w.writer.durable(move |tx| evict(&index, tx, &kept, NOW, 0)).await.unwrap();
    exact(&w, &remembers, "cache");
}

#[tokio::test]
async fn verifications_stay_told_and_are_counted_while_they_are_there() {
    let mut w = world().await;
    w.commit("x", gone_all()).await;
    w.commit("m", [gone(POST, 11)]).await;
    let remembers = shared(&w);
    let verify = |n: u64| {
        let value = [
            ("$type", text(VERIFICATION)),
            ("subject", text(did("a").as_str())),
            ("createdAt", text(at(n))),
        ];
        op(VERIFICATION, n, map(value))
    };
    assert_eq!(counted(&w, &remembers), 0);
    w.commit("x", [verify(50)]).await;
    assert_eq!((told(&w), counted(&w, &remembers)), (vec![("verified", true)], 1));
    w.commit("x", [gone(VERIFICATION, 50)]).await;
    assert_eq!(told(&w), [("unverified", false), ("verified", false)]);
    assert_eq!(counted(&w, &remembers), 0);
    assert_eq!(findings(&w), [] as [String; 0]);
}

#[tokio::test]
async fn rows_of_early_versions_count_while_their_record_is_there() {
    let mut w = world().await;
    w.commit("x", gone_all()).await;
    w.commit("m", [gone(POST, 11)]).await;
    let remembers = shared(&w);
    w.commit("x", [post(60), post(61)]).await;
    let (a, x) = (w.actor("a"), w.actor("x"));
    let posts = [60, 61, 62].map(|n| w.post_id(n, x));
    w.writer
        .durable(move |tx| {
            for post in posts {
                let (sort, reason) = (post.rkey.millis(), Reason::Mention);
                let row = NotifRow { sort, author: x, reason, rkey: post.rkey, subject: None };
                tx.put(Ks::Notif, &row.key(a), &[]);
            }
            Ok(())
        })
        .await
        .unwrap();
    let mentions =
        |w: &World| told(w).into_iter().filter(|(reason, _)| *reason == "mention").count();
    let subscribed = told(&w).len() - mentions(&w);
    assert_eq!((mentions(&w), counted(&w, &remembers)), (3, 2 + subscribed as u64));
    assert_eq!(findings(&w), [] as [String; 0]);
    w.commit("x", [gone(POST, 60)]).await;
    let left = told(&w).into_iter().filter(|(_, there)| *there).count() as u64;
    assert_eq!((counted(&w, &remembers), counted(&w, &shared(&w))), (left, left));
}

#[tokio::test]
async fn what_goes_while_an_account_joins_is_not_built_for_it() {
    let mut w = world().await;
    w.private_leave("a").await;
    assert_eq!((told(&w), traces_of(&w, "a")), (vec![], 0));
    let a = w.actor("a");
    let (deleted, changed) =
        (vec![gone(LIKE, 20), gone(POST, 26)], vec![like(22, &uri("q", POST, 1))]);
    let index = Arc::clone(&w.index);
    let joining = members::Watch::new(&index.members.lost);
    let tells = Arc::clone(&w.index);
    w.writer.durable(move |tx| tells.tell_from_now(tx, a)).await.unwrap();
    let built = members::build(&w.store.snapshot(), a).unwrap();
    w.commit("x", deleted).await;
    w.commit("x", changed).await;
    let n = built.len();
    let puts = Arc::clone(&w.index);
    w.writer.durable(move |tx| puts.put_built(tx, a, &built)).await.unwrap();
    drop(joining);
    let there = told(&w);
    assert!(there.iter().all(|(_, there)| *there), "{there:?}");
    assert_eq!(there.len(), n - 3, "{there:?}");
    assert_eq!(findings(&w), [] as [String; 0]);
    w.commit("x", [gone(LIKE, 22)]).await;
    assert!(told(&w).iter().all(|(_, there)| *there));
    w.private_leave("a").await;
    w.join("a").await;
    exact(&w, &shared(&w), "joined");
}

#[tokio::test]
async fn who_leaves_has_none_and_a_kill_between_leaves_a_member_with_less() {
    let mut w = world().await;
    let crowd = 1500;
    w.crowd(crowd, &uri("a", POST, 1)).await;
    let all = told(&w).len();
    assert!(all > usize::try_from(crowd).unwrap());
    let (remembers, a) = (shared(&w), w.actor("a"));
    assert_eq!(counted(&w, &remembers), all as u64);
    w.writer.durable(move |tx| notify::clear(tx, a, 500)).await.unwrap();
    w.restart(Mode::Whole, 0);
    assert!(w.index.members().contains(a));
    exact(&w, &remembers, "killed");
    assert_eq!(told(&w).len(), all - 500);
    assert!(w.index.remove_member(&w.private(), a).await.unwrap());
    assert_eq!((told(&w), traces_of(&w, "a"), counted(&w, &remembers)), (vec![], 0, 0));
    assert!(!w.index.remove_member(&w.private(), a).await.unwrap());
    // What a crash left of one who had not quite joined goes when they come again.
    let row = NotifRow {
        sort: 5,
        author: w.actor("x"),
        reason: Reason::Like,
        rkey: Rkey(5),
        subject: None,
    };
    w.writer
        .durable(move |tx| {
            notify::keep(tx, a, &row);
            Ok(())
        })
        .await
        .unwrap();
    w.join("a").await;
    exact(&w, &remembers, "joined again");
}

/// Traces that lead to a notification of an account.
fn traces_of(w: &World, who: &str) -> usize {
    let (s, who) = (w.store.snapshot(), w.actor(who));
    let mut found = 0;
    s.scan_prefix(Ks::Order, &Key::tag(Order::Notices as u8), &mut |k, _| {
        found += usize::from(NotifRow::from_trace(k).unwrap().0 == who);
        true
    })
    .unwrap();
    found
}

#[tokio::test]
async fn a_check_finds_and_mends_what_is_not_so() {
    let w = world().await;
    let s = w.store.snapshot();
    let (a, x) = (w.actor("a"), w.actor("x"));
    let mention = w.post_id(25, x);
    let lost = NotifRow { sort: 7, author: x, reason: Reason::Like, rkey: Rkey(7), subject: None };
    let (sort, rkey) = (s.post(mention).unwrap().unwrap().sort_ms(mention.rkey), mention.rkey);
    let row = NotifRow { sort, author: x, reason: Reason::Mention, rkey, subject: None };
    let stray = NotifRow { sort: 8, ..row };
    w.writer
        .durable(move |tx| {
            tx.put(Ks::Notif, &lost.key(a), &lost.encode());
            assert!(tx.has(Ks::Order, &row.trace(a))?);
            tx.del(Ks::Order, &row.trace(a));
            tx.put(Ks::Order, &stray.trace(a), &[]);
            Ok(())
        })
        .await
        .unwrap();
    let found = findings(&w).join(" ");
    for kind in
        ["notification-without-record", "notification-without-trace", "trace-without-notification"]
    {
        assert!(found.contains(kind), "{kind}: {found}");
    }
    let (store, writer) = (w.store.clone(), w.writer.clone());
    tokio::task::spawn_blocking(move || {
        check(&store, &Options { full: true, repair: Some(&writer) }, &mut |_| {}).unwrap()
    })
    .await
    .unwrap();
    w.writer.durable(|_| Ok(())).await.unwrap();
    exact(&w, &shared(&w), "mended");
}

impl World {
    fn post_id(&self, n: u64, author: ActorId) -> PostId {
        PostId { author, rkey: Rkey(Tid::parse(&tid(n)).unwrap().as_u64()) }
    }

    async fn private_leave(&self, who: &str) {
        assert!(self.index.remove_member(&self.private(), self.actor(who)).await.unwrap());
    }
}
