//! A filled store is clean, and each kind of damage is found.

use ipld_core::ipld::Ipld;

use super::super::reverse_edges::ORDERED_FROM;
use super::super::testing::*;
use super::*;
use crate::event::{Body, Op};
use crate::private::{bookmarks, community, subscriptions};
use crate::repo::{dag_cbor, mst};
use crate::schema::rows::{
    ActorRow, FeedRow, Kinds, Order, PostRow, RecordRow, VacatedRow, actor_key, fan_key,
    fans_prefix, fwd_key, handle_key, order_joined_key, order_prefix, post_flags, rev_key,
    vacated_key,
};
use crate::schema::{ActorId, PostId, RecordId, collections as c};
use crate::syntax::{Tid, cid};
use crate::work::on_read;

const FULL: Options<'_> = Options { full: true, repair: None };

fn run(w: &World, options: &Options<'_>) -> Report {
    check(&w.store, options, &mut |_| {}).unwrap()
}

fn kinds(r: &Report) -> Vec<&'static str> {
    r.findings.keys().copied().collect()
}

async fn change(w: &World, f: impl FnOnce(&mut Tx<'_>) + Send + 'static) {
    w.writer
        .durable(move |tx| {
            f(tx);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn what_events_made_is_clean() {
    let mut w = filled().await;
    let report = run(&w, &FULL);
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert!(report.rebuilt > 10);
    assert_eq!(report.rows.len(), Ks::ALL.len());
    w.commit("b", [gone(LIKE, 2), gone(POST, 4), post(5)]).await;
    w.commit("a", [gone(POST, 1), gone("app.bsky.feed.threadgate", 1)]).await;
    let report = run(&w, &FULL);
    assert!(report.is_clean(), "{:#?}", report.findings);
}

fn first_of(tx: &Tx<'_>, prefix: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    tx.scan_prefix(Ks::Private, prefix, &mut |k, _| {
        found = k.to_vec();
        false
    })
    .unwrap();
    found
}

type Damage = Box<dyn FnOnce(&mut Tx<'_>) + Send>;

/// Damage to a community post and a reply to it.
fn of_community(by: ActorId, f: impl FnOnce(&mut Tx<'_>, PostId) + Send + 'static) -> Damage {
    Box::new(move |tx| {
        let mut put = |n: u64, more: &[(&str, Ipld)]| {
            let did = tx.did(by).unwrap();
            let uri = format!("at://{did}/community.blacksky.feed.post/{}", tid(n));
            let Ok(Some(Target::Post(id))) = tx.intern_target(&uri) else { panic!("{uri}") };
            let Ipld::Map(mut input) = map([("text", text("hi")), ("createdAt", text(at(n)))])
            else {
                panic!()
            };
            input.extend(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
            let new = community::NewPost::read(&Ipld::Map(input)).unwrap();
            crate::private::testing::community_post(tx, id, &new, NOW).unwrap();
            (id, uri)
        };
        let (root, uri) = put(70, &[]);
        put(60, &[("reply", map([("root", strong(&uri)), ("parent", strong(&uri))]))]);
        f(tx, root);
    })
}

/// Each damage and the kinds that it must be found as.
fn damages(w: &World) -> Vec<(Damage, &'static [&'static str])> {
    let (a, b, cc) = (w.actor("a"), w.actor("b"), w.actor("c"));
    let rkey = |n| w.post("a", n).rkey;
    let unheard = Target::of(RecordId { actor: b, coll: c::COMMUNITY_POST, rkey: rkey(1) });
    let p = w.post("a", 1);
    let root = Target::Post(p);
    let nowhere = Target::Post(w.post("nobody", 9));
    let like = fwd_key(EdgeKind::Like, b, rkey(2));
    let duplicate = fwd_key(EdgeKind::Like, b, rkey(3));
    let fan = rev_key(EdgeKind::Like, root, cc);
    let record = |actor, coll, n| RecordId { actor, coll, rkey: rkey(n) };
    let list = record(a, c::LIST, 30);
    let item = record(a, c::LISTITEM, 32);
    let pack = Target::Record(record(a, c::STARTERPACK, 31));
    let del = |ks, key: &[u8]| -> Damage {
        let key = key.to_vec();
        Box::new(move |tx| {
            assert!(tx.has(ks, &key).unwrap());
            tx.del(ks, &key);
        })
    };
    let put = |ks, key: &[u8], value: &[u8]| -> Damage {
        let (key, value) = (key.to_vec(), value.to_vec());
        Box::new(move |tx| tx.put(ks, &key, &value))
    };
    let count = |t: Target, counter| -> Damage {
        Box::new(move |tx| assert!(tx.count(t, counter, 7).is_ok()))
    };
    let alter = |ks, key: &[u8], f: fn(&mut Vec<u8>)| -> Damage {
        let key = key.to_vec();
        Box::new(move |tx| {
            let mut v = tx.get(ks, &key).unwrap().unwrap().to_vec();
            f(&mut v);
            tx.put(ks, &key, &v);
        })
    };
    // The kinds of records come last.
    let untold = |id| {
        alter(Ks::Actor, &actor_key(id), |v| {
            let row = ActorRow::decode(v).unwrap();
            *v = ActorRow { kinds: Kinds::default(), ..row }.encode();
        })
    };
    let first = |ks, prefix: &[u8]| {
        let mut found = Vec::new();
        w.store
            .snapshot()
            .scan_prefix(ks, prefix, &mut |k, _| {
                found = k.to_vec();
                false
            })
            .unwrap();
        found
    };
    let me = Target::Actor(a);
    vec![
        (del(Ks::Fwd, &like), &["fan-without-edge", "notification-without-record"]),
        (del(Ks::Fwd, &duplicate), &["fan-without-edge"]),
        (del(Ks::Cid, &nowhere.key()), &["edge-does-not-rebuild"]),
        (del(Ks::Rev, &fan), &["count-likes", "edge-without-fan"]),
        (
            del(Ks::Rev, &rev_key(EdgeKind::Like, root, b)),
            &["count-likes", "duplicate-out-of-place", "edge-without-fan"],
        ),
        (
            del(Ks::Fwd, &fwd_key(EdgeKind::Repost, cc, rkey(41))),
            &["fan-without-edge", "feed-row-without-repost", "notification-without-record"],
        ),
        (del(Ks::Record, &record(cc, c::LIKE, 40).to_bytes()), &["edge-without-record"]),
        (
            del(Ks::Fwd, &fwd_key(EdgeKind::Like, cc, rkey(40))),
            &["fan-without-edge", "record-without-edge"],
        ),
        (del(Ks::Record, &record(cc, c::LISTBLOCK, 42).to_bytes()), &["fan-without-edge"]),
        (
            del(Ks::Rev, &rev_key(EdgeKind::ListItem, Target::Record(list), cc)),
            &["count-items", "edge-without-fan", "list-row-without-item"],
        ),
        (del(Ks::Record, &item.to_bytes()), &["fan-without-edge", "list-row-without-item"]),
        (
            del(Ks::Order, &first(Ks::Order, &order_prefix(Order::Items, Target::Record(list)))),
            &["item-without-list-row"],
        ),
        (
            del(Ks::Order, &first(Ks::Order, &order_prefix(Order::Joined, pack))),
            &["profile-without-joined-row"],
        ),
        (put(Ks::Order, &order_joined_key(pack, 5, a), &[]), &["joined-row-without-profile"]),
        (
            put(
                Ks::Order,
                &vacated_key(w.post("a", 98), rkey(99)),
                &VacatedRow { parent: rkey(98), deleted: NOW }.encode(),
            ),
            &["vacated-place-without-root"],
        ),
        (put(Ks::Order, &vacated_key(p, rkey(99)), &[0; 8]), &["undecodable"]),
        (
            del(Ks::Order, &first(Ks::Order, &order_prefix(Order::Quotes, root))),
            &["count-quotes", "post-without-list-row"],
        ),
        (
            del(Ks::Post, &w.post("b", 5).to_bytes()),
            &[
                "count-posts",
                "count-quotes",
                "feed-row-without-post",
                "list-row-without-post",
                "notification-without-record",
            ],
        ),
        (del(Ks::Feed, &first(Ks::Feed, &a.0.to_be_bytes())), &["post-without-feed-row"]),
        (
            put(
                Ks::Feed,
                &FeedRow { sort: 5, rkey: rkey(99), flags: 0, repost_of: None }.key(a),
                &[0],
            ),
            &["feed-row-without-post"],
        ),
        (del(Ks::Record, &record(a, c::THREADGATE, 1).to_bytes()), &["gate-flags-differ"]),
        (
            alter(Ks::Post, &p.to_bytes(), |v| {
                let row = PostRow::decode(v).unwrap();
                *v = PostRow { cid: Some([7; 32]), ..row }.encode();
            }),
            &["record-differs-from-cid"],
        ),
        (
            alter(Ks::Post, &p.to_bytes(), |v| v[1] ^= post_flags::VIDEO.to_be_bytes()[1]),
            &["feed-row-without-post", "post-flags-differ", "post-without-feed-row"],
        ),
        (
            alter(Ks::Record, &list.to_bytes(), |v| v.truncate(v.len() - 1)),
            &["record-does-not-unpack"],
        ),
        (alter(Ks::Record, &list.to_bytes(), |v| v.truncate(1)), &["count-lists", "undecodable"]),
        (alter(Ks::Fwd, &like, Vec::clear), &["fan-without-edge", "undecodable"]),
        (
            put(Ks::Agg, &root.key(), &[0xff]),
            &[
                "count-forbidden-replies",
                "count-likes",
                "count-quotes",
                "count-reposts",
                "undecodable",
            ],
        ),
        (del(Ks::Actor, &handle_key("a.example")), &["account-without-handle-row"]),
        (put(Ks::Actor, &handle_key("b.example"), &a.0.to_be_bytes()), &["handle-without-account"]),
        (untold(b), &["record-untold"]),
        (untold(cc), &["record-untold"]),
        (
            Box::new(move |tx| {
                let packed = tx.pack(&map([("text", text("old"))])).unwrap();
                let row =
                    RecordRow { cid: Some([7; 32]), indexed: NOW, sort: NOW, valid: false, packed };
                tx.put(Ks::Record, &p.record().to_bytes(), &row.encode());
            }),
            &["record-differs-from-cid", "record-twice"],
        ),
        (del(Ks::Names, &[&b"D"[..], &cc.0.to_be_bytes()].concat()), &["name-one-way"]),
        (put(Ks::Private, b"m1", b""), &["undecodable"]),
        (put(Ks::Meta, b"u1", b""), &["undecodable"]),
        (put(Ks::Label, b"1", b""), &["undecodable"]),
        (put(Ks::Notif, b"1", b""), &["undecodable"]),
        (put(Ks::Cid, b"1", b""), &["undecodable"]),
        (
            Box::new(move |tx| {
                crate::private::testing::bookmark(tx, b, p, "cid", 5).unwrap();
                let k = first_of(tx, &bookmarks::of_post(p));
                tx.del(Ks::Private, &k);
            }),
            &["bookmark-one-way", "count-bookmarks"],
        ),
        (
            Box::new(move |tx| {
                crate::private::testing::bookmark(tx, b, p, "cid", 5).unwrap();
                let k = first_of(tx, b"o");
                tx.del(Ks::Private, &k);
            }),
            &["bookmark-one-way"],
        ),
        (one_sided_subscription(b, a, b"n"), &["subscription-one-way"]),
        (one_sided_subscription(b, a, b"w"), &["subscription-one-way"]),
        (put(Ks::Private, b"w1", b""), &["undecodable"]),
        (put(Ks::Private, b"k1", b""), &["undecodable"]),
        (put(Ks::Private, b"o1", b""), &["undecodable"]),
        (put(Ks::Private, b"f1", b""), &["undecodable"]),
        (put(Ks::Private, b"d1", b""), &["undecodable"]),
        (put(Ks::Private, b"u1", b""), &["undecodable"]),
        (put(Ks::Private, b"g1", b""), &["undecodable"]),
        (put(Ks::Private, b"c1", b""), &["undecodable"]),
        (put(Ks::Private, b"e1", b""), &["undecodable"]),
        (put(Ks::Private, b"a1", b""), &["undecodable"]),
        (
            of_community(b, |tx, _| tx.del(Ks::Private, &first_of(tx, b"e"))),
            &["community-post-one-way"],
        ),
        (
            of_community(b, |tx, _| tx.del(Ks::Private, &first_of(tx, b"a"))),
            &["community-post-one-way"],
        ),
        (
            of_community(b, |tx, _| tx.del(Ks::Private, &first_of(tx, b"c"))),
            &["community-post-one-way", "list-row-without-post"],
        ),
        (
            of_community(b, |tx, root| {
                let prefix = order_prefix(Order::Replies, Target::Post(root));
                let mut rows = Vec::new();
                tx.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
                    rows.push(k.to_vec());
                    true
                })
                .unwrap();
                assert_eq!(rows.len(), 1);
                tx.del(Ks::Order, &rows[0]);
            }),
            &["community-post-one-way", "count-replies"],
        ),
        (
            of_community(b, move |tx, root| {
                let rkey = tx.intern_rkey(&tid(71)).unwrap();
                let (liked, coll) = (tx.post_uri(root).unwrap(), "community.blacksky.feed.like");
                let value = map([("subject", strong(&liked)), ("createdAt", text(at(71)))]);
                let digest = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
                let (packed, cid) = tx.pack_record(&value, digest).unwrap();
                let row = RecordRow { cid, indexed: NOW, sort: NOW, valid: true, packed };
                let id = RecordId { actor: b, coll: tx.intern_coll(coll).unwrap(), rkey };
                tx.put(Ks::Record, &id.to_bytes(), &row.encode());
            }),
            &["edge-without-fan"],
        ),
        (count(unheard, Counter::Replies), &["count-replies"]),
        (put(Ks::Jobs, b"p1", b""), &["undecodable"]),
        (put(Ks::Jobs, b"wp", b""), &["undecodable"]),
        (put(Ks::Jobs, b"T", &[1, 9, 0]), &["fetched-total"]),
        (
            Box::new(move |tx| {
                on_read::put(tx, p.record(), 5, 100).unwrap();
                tx.del(Ks::Jobs, &[b"F", &p.record().to_bytes()[..]].concat());
            }),
            &["fetched-one-way", "fetched-total"],
        ),
        (put(Ks::Plc, &[1; 16], b""), &["undecodable"]),
        (put(Ks::Meta, b"?1", b""), &["no-table"]),
        (put(Ks::Jobs, b"?", b""), &["no-table"]),
        (put(Ks::Meta, b"i12345", b""), &["undecodable"]),
        (put(Ks::Meta, b"e", b""), &["undecodable"]),
        (
            Box::new(move |tx| {
                crate::private::testing::draft(tx, b, "{}".into(), 5).unwrap();
                let k = first_of(tx, b"u");
                tx.del(Ks::Private, &k);
            }),
            &["draft-one-way"],
        ),
        (
            Box::new(move |tx| {
                crate::private::testing::draft(tx, b, "{}".into(), 5).unwrap();
                let k = first_of(tx, b"d");
                tx.del(Ks::Private, &k);
            }),
            &["draft-one-way"],
        ),
        (count(root, Counter::Bookmarks), &["count-bookmarks"]),
        (count(me, Counter::Bookmarks), &["count-bookmarks"]),
        (count(root, Counter::Likes), &["count-likes"]),
        (count(root, Counter::Reposts), &["count-reposts"]),
        (count(root, Counter::Replies), &["count-replies"]),
        (count(root, Counter::ForbiddenReplies), &["count-forbidden-replies"]),
        (count(root, Counter::Quotes), &["count-quotes"]),
        (count(Target::Record(list), Counter::Items), &["count-items"]),
        (count(pack, Counter::Joined), &["count-joined"]),
        (count(Target::Record(list), Counter::Joined), &["count-joined"]),
        (count(me, Counter::Followers), &["count-followers"]),
        (count(me, Counter::Follows), &["count-follows"]),
        (count(me, Counter::Posts), &["count-posts"]),
        (count(me, Counter::Lists), &["count-lists"]),
        (count(me, Counter::Feeds), &["count-feeds"]),
        (count(me, Counter::StarterPacks), &["count-starter-packs"]),
    ]
}

/// A subscription that has lost its row of one kind.
fn one_sided_subscription(viewer: ActorId, account: ActorId, lost: &'static [u8]) -> Damage {
    let to = subscriptions::Subscription { at: 5, post: true, reply: false };
    Box::new(move |tx| {
        crate::private::testing::subscribe(tx, viewer, account, to).unwrap();
        let k = first_of(tx, lost);
        tx.del(Ks::Private, &k);
    })
}

/// The rows as they were.
fn restore(before: Vec<(Ks, Vec<u8>, Vec<u8>)>) -> Damage {
    Box::new(move |tx| {
        for ks in Ks::ALL {
            let mut keys = Vec::new();
            tx.scan(*ks, &[], None, false, &mut |k, _| {
                keys.push(k.to_vec());
                true
            })
            .unwrap();
            keys.iter().for_each(|k| tx.del(*ks, k));
        }
        before.iter().for_each(|(ks, k, v)| tx.put(*ks, k, v));
    })
}

fn all_rows(w: &World) -> Vec<(Ks, Vec<u8>, Vec<u8>)> {
    let s = w.store.snapshot();
    let mut out = Vec::new();
    for ks in Ks::ALL {
        s.scan(*ks, &[], None, false, &mut |k, v| {
            out.push((*ks, k.to_vec(), v.to_vec()));
            true
        })
        .unwrap();
    }
    out
}

/// What is as it was after the repair.
const PUT_BACK: &[&str] = &[
    "account-without-handle-row",
    "edge-without-fan",
    "item-without-list-row",
    "name-one-way",
    "notification-without-trace",
    "post-without-feed-row",
    "post-without-list-row",
    "profile-without-joined-row",
    "record-twice",
    "record-untold",
];

/// What is gone after it, with the row that it was told of.
const TAKEN_AWAY: &[&str] = &[
    "edge-without-record",
    "edge-without-via-row",
    "fan-without-edge",
    "feed-row-without-post",
    "feed-row-without-repost",
    "joined-row-without-profile",
    "list-row-differs-from-post",
    "list-row-without-item",
    "list-row-without-post",
    "notification-without-record",
    "record-without-edge",
    "repost-without-feed-row",
    "trace-without-notification",
    "vacated-place-without-root",
    "via-row-without-edge",
];

#[tokio::test]
async fn each_damage_is_found_as_what_it_is_and_what_follows_from_other_rows_is_repaired() {
    let w = filled().await;
    let before = all_rows(&w);
    let mut wrong = Vec::new();
    for (i, (damage, expected)) in damages(&w).into_iter().enumerate() {
        change(&w, damage).await;
        let report = run(&w, &Options { full: true, repair: Some(&w.writer) });
        if kinds(&report) != expected {
            wrong.push(format!("damage {i}: {expected:?} but {:#?}", report.findings));
        }
        let mut runs = 0;
        // Whatever waits in the writer's queue is done when the change is; a run that saw half of it may find nothing.
        change(&w, |_| ()).await;
        while run(&w, &Options { full: true, repair: Some(&w.writer) }).repaired > 0 {
            change(&w, |_| ()).await;
            runs += 1;
            assert!(runs < 5, "damage {i}: {expected:?} is mended again and again");
        }

        let same = |kind: &&&str| kind.starts_with("count") || PUT_BACK.contains(*kind);
        let mends = |kind: &&&str| same(kind) || TAKEN_AWAY.contains(*kind);
        let counts = |r: &Report| kinds(r).iter().filter(mends).count();
        let again = run(&w, &FULL);
        assert_eq!(counts(&again), 0, "damage {i}: {:#?}", again.findings);
        if kinds(&report).iter().filter(same).count() == expected.len() {
            let after = all_rows(&w);
            // One of the damages is a row more, from which others follow.
            assert!(after == before || after.len() > before.len(), "damage {i}: {expected:?}");
        }
        change(&w, restore(before.clone())).await;
    }
    assert_eq!(wrong, [] as [String; 0]);
    assert!(run(&w, &FULL).is_clean());
}

/// A repo that was fetched whole, with records of every kind that rows keep in another way.
async fn whole_repo(w: &World) -> Vec<Op> {
    w.event("b", Body::Wanted).await;
    let mut named = post(3);
    named.rkey = "not-a-tid".into();
    let root = uri("b", POST, 1);
    let ops =
        vec![post(1), post(2), named, like(4, &root), like(5, &uri("c", POST, 1)), follow(6, "c")];
    let mut tree: Vec<_> = ops
        .iter()
        .map(|op| {
            let digest = op.record.as_ref().unwrap().cid;
            (format!("{}/{}", op.collection, op.rkey), cid::for_digest(cid::DAG_CBOR, &digest))
        })
        .collect();
    tree.sort();
    let root = mst::root(tree.iter().map(|(path, cid)| (path.as_bytes(), cid)));
    let rev = Tid::parse(&tid(9)).unwrap();
    w.event("b", Body::Fetching { rev, data: cid::digest(&root).unwrap() }).await;
    w.event("b", Body::Part { rev, ops: ops.clone() }).await;
    w.event("b", Body::Fetched { rev }).await;
    ops
}

#[tokio::test]
async fn a_record_that_is_another_than_came_is_found_by_the_tree_of_its_repo() {
    let w = World::new();
    whole_repo(&w).await;
    let report = run(&w, &FULL);
    assert!(report.is_clean() && report.trees == 1, "{:#?}", report.findings);
    assert_eq!(run(&w, &Options::default()).trees, 0, "only the full one");
    let key = w.post("b", 2).to_bytes();
    change(&w, move |tx| {
        let row = PostRow::decode(&tx.get(Ks::Post, &key).unwrap().unwrap()).unwrap();
        assert_eq!(row.cid, None);
        let Ipld::Map(mut value) = tx.unpack(&row.packed).unwrap() else { panic!() };
        value.insert("text".to_owned(), text("another"));
        let packed = tx.pack(&Ipld::Map(value)).unwrap();
        tx.put(Ks::Post, &key, &PostRow { packed, ..row }.encode());
    })
    .await;
    let report = run(&w, &FULL);
    assert_eq!(kinds(&report), ["repo-differs-from-tree"]);
    assert_eq!(report.findings["repo-differs-from-tree"].samples, [did("b").to_string()]);
}

#[tokio::test]
async fn what_is_held_of_a_repo_is_compared_by_cids_that_no_row_has() {
    let w = World::new();
    let ops = whole_repo(&w).await;
    let held =
        crate::index::repo_contents::held_records(&w.store.snapshot(), w.actor("b")).unwrap();
    assert_eq!(held.len(), ops.len());
    for record in held {
        let came = ops
            .iter()
            .find(|op| (&*op.collection, &*op.rkey) == (&*record.collection, &record.rkey));
        let digest = came.unwrap().record.as_ref().unwrap().cid;
        let own_row = &*record.collection == POST;
        assert_eq!(record.cid, own_row.then_some(digest), "{}", record.rkey);
    }
}

#[tokio::test]
async fn the_fans_of_the_popular_are_put_back_in_order() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let target = uri("a", POST, 1);
    w.crowd(ORDERED_FROM + 3, &target).await;
    let t = Target::Post(w.post("a", 1));
    assert!(run(&w, &FULL).is_clean());
    let before = all_rows(&w);
    let mut keys = Vec::new();
    w.store
        .snapshot()
        .scan_prefix(Ks::Order, &fans_prefix(EdgeKind::Like, t), &mut |k, _| {
            keys.push(k.to_vec());
            true
        })
        .unwrap();
    let stray = fan_key(EdgeKind::Like, t, 5, w.actor("f3"));
    change(&w, move |tx| {
        tx.del(Ks::Order, &keys[5]);
        tx.put(Ks::Order, &stray, &[0; 8]);
    })
    .await;
    let repair = Options { full: false, repair: Some(&w.writer) };
    let report = run(&w, &repair);
    assert_eq!(kinds(&report), ["fan-not-in-order", "stray-in-order"]);
    assert_eq!(report.repaired, 2);
    change(&w, |_| ()).await;
    assert!(all_rows(&w) == before);
    // The counters are lost, and with them that the fans are in order.
    change(&w, move |tx| tx.del(Ks::Agg, &t.key())).await;
    let report = run(&w, &repair);
    assert_eq!(kinds(&report), ["count-likes", "fans-not-ordered", "stray-in-order"]);
    assert_eq!(report.findings["stray-in-order"].samples.len(), 10);
    change(&w, |_| ()).await;
    assert!(all_rows(&w) == before);
}
