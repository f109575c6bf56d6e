//! A record is held once, and what it wrote elsewhere goes with it: insert, delete and check of each collection held
//! together.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::check::{Options, check};
use super::repo_contents::held_records;
use super::testing::*;
use crate::event::{Body, Commit, Op};
use crate::private::community;
use crate::schema::rebuild::{Held, edge_record, held_cid};
use crate::schema::rows::{Counter, EdgeKind, RecordRow, SubjectCid};
use crate::schema::{CollId, Edit as _, RecordId, Rkey, Rows as _, Target, collections as c};
use crate::store::{Ks, Reader as _, Tx};
use crate::syntax::{Tid, cid};

const COMMUNITY_POST: &str = "community.blacksky.feed.post";
const LIST: &str = "app.bsky.graph.list";
const PACK: &str = "app.bsky.graph.starterpack";
const REPOST: &str = "app.bsky.feed.repost";

fn findings(w: &World) -> Vec<String> {
    let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    report.findings.iter().map(|(kind, found)| format!("{kind}: {:?}", found.samples)).collect()
}

async fn change<T: Send + 'static>(w: &World, f: impl FnOnce(&mut Tx<'_>) -> T + Send + 'static) {
    let job = w.writer.durable(move |tx| {
        f(tx);
        Ok(())
    });
    job.await.unwrap();
}

fn broken(mut op: Op) -> Op {
    op.record.as_mut().unwrap().valid = false;
    op
}

#[tokio::test]
async fn a_record_that_broke_its_lexicon_leaves_nothing_when_it_is_updated() {
    let target = uri("b", POST, 9);
    let versions = [
        (quote(1, &target), post(1)),
        (like(1, &target), like(1, &uri("b", POST, 8))),
        (follow(1, "b"), follow(1, "c")),
    ];
    for (first, second) in versions {
        for (first, second) in [(broken(first.clone()), second.clone()), (second, broken(first))] {
            let coll = first.collection.to_string();
            let mut w = World::new();
            w.commit("a", []).await;
            let before = w.rows();
            w.commit("a", [first]).await;
            w.commit("a", [second]).await;
            let held = held_records(&w.store.snapshot(), w.actor("a")).unwrap();
            assert_eq!(held.len(), 1, "{coll}: {held:?}");
            assert_eq!(findings(&w), [] as [String; 0], "{coll}");
            w.commit("a", [gone(&coll, 1)]).await;
            let s = w.store.snapshot();
            let coll = s.coll_id(&coll).unwrap().unwrap();
            let id = RecordId { coll, ..w.post("a", 1).record() };
            assert_eq!(held_cid(&s, id).unwrap(), None);
            assert_eq!(w.rows(), before);
        }
    }
}

/// A post whose CID is not that of what it says: nobody held its source to it.
fn odd(n: u64) -> Op {
    let mut op = post(n);
    op.record.as_mut().unwrap().cid = [7; 32];
    op
}

#[tokio::test]
async fn a_record_keeps_its_cid_if_it_does_not_give_it() {
    let mut w = World::new();
    let list = op(LIST, 3, map([("name", text("list"))]));
    let mut odd_list = op(LIST, 4, map([("name", text("list"))]));
    odd_list.record.as_mut().unwrap().cid = [7; 32];
    let digest = |op: &Op| op.record.as_ref().unwrap().cid;
    let given = [digest(&post(2)), digest(&list)];
    w.commit("a", [odd(1), post(2), odd_list, list]).await;
    let s = w.store.snapshot();
    let coll = s.coll_id(LIST).unwrap().unwrap();
    let id = |coll, n| RecordId { coll, ..w.post("a", n).record() };
    let posts = [1, 2].map(|n| s.post(w.post("a", n)).unwrap().unwrap().cid);
    let lists = [4, 3].map(|n| s.record(id(coll, n)).unwrap().unwrap().cid);
    assert_eq!((posts, lists), ([Some([7; 32]), None], [Some([7; 32]), None]));
    let held = [id(c::POST, 1), id(c::POST, 2), id(coll, 4), id(coll, 3)]
        .map(|id| held_cid(&s, id).unwrap().unwrap());
    assert_eq!(held, [[7; 32], given[0], [7; 32], given[1]].map(Held::Cid));
    // The same once more is no change.
    let before = w.rows();
    w.commit("a", [odd(1), post(2)]).await;
    let changed = w.rows().into_iter().filter(|(key, row)| before.get(key) != Some(row));
    assert!(changed.map(|((ks, _), _)| ks).all(|ks| ks == Ks::Actor), "the rev alone");
}

/// Likes of it share the CID that the post gives, and have it from elsewhere once the post is gone or another.
#[tokio::test]
async fn a_like_has_the_cid_of_its_subject_after_that_is_gone() {
    for last in [gone(POST, 1), odd(1)] {
        let mut w = World::new();
        w.commit("a", [post(1)]).await;
        let target = uri("a", POST, 1);
        let digest = post(1).record.unwrap().cid;
        let cid = cid::to_base32(&cid::for_digest(cid::DAG_CBOR, &digest));
        let subject = map([("uri", text(&target)), ("cid", text(cid))]);
        let value = map([("$type", text(LIKE)), ("subject", subject), ("createdAt", text(at(2)))]);
        let like = op(LIKE, 2, value);
        let came = like.record.as_ref().unwrap().cid;
        w.commit("b", [like]).await;
        let made = |w: &World| {
            let s = w.store.snapshot();
            let (actor, rkey) = (w.actor("b"), w.post("b", 2).rkey);
            let edge = s.edge(EdgeKind::Like, actor, rkey).unwrap().unwrap();
            assert_eq!(edge.cid, SubjectCid::Shared);
            let kept = s.has(Ks::Cid, &Target::Post(w.post("a", 1)).key()).unwrap();
            let record = edge_record(&s, EdgeKind::Like, actor, rkey, &edge).unwrap();
            (record.unwrap().1, kept)
        };
        assert_eq!(made(&w), (came, false), "the post gives it");
        w.commit("a", [last]).await;
        assert_eq!(made(&w), (came, true));
    }
}

/// So did versions before this one leave it.
#[tokio::test]
async fn a_post_that_has_two_rows_is_named_once_and_its_old_row_is_found_and_goes() {
    let mut w = World::new();
    w.commit("a", [post(1), post(2)]).await;
    let before = w.rows();
    let id = w.post("a", 1).record();
    change(&w, move |tx| {
        let packed = tx.pack(&map([("text", text("old"))])).unwrap();
        let row = RecordRow { cid: Some([7; 32]), indexed: NOW, sort: NOW, valid: false, packed };
        tx.put(Ks::Record, &id.to_bytes(), &row.encode());
    })
    .await;
    let held = held_records(&w.store.snapshot(), id.actor).unwrap();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.iter().all(|record| record.cid != Some([7; 32])), "{held:?}");
    let options = Options { full: false, repair: Some(&w.writer) };
    let report = check(&w.store, &options, &mut |_| {}).unwrap();
    assert_eq!((report.findings["record-twice"].count, report.repaired), (1, 1));
    change(&w, |_| ()).await;
    assert_eq!(w.rows(), before);
}

/// The CID that likes agree on is remembered beside the batch, which does not have it any more.
#[tokio::test]
async fn what_an_event_that_was_taken_back_agreed_on_is_forgotten() {
    let mut w = World::new();
    let (target, other) = (uri("a", POST, 1), uri("a", POST, 2));
    let damaged = other.clone();
    change(&w, move |tx| {
        let damaged = tx.intern_target(&damaged).unwrap().unwrap();
        tx.put(Ks::Agg, &damaged.key(), &[0xff]);
    })
    .await;
    w.commit("b", [like(3, &target), like(4, &target), like(5, &other)]).await;
    w.commit("c", [like(6, &target)]).await;
    let s = w.store.snapshot();
    let damaged = s.target(&other).unwrap().unwrap();
    assert_eq!(w.count(s.target(&target).unwrap().unwrap(), Counter::Likes), 1, "b's is dropped");
    change(&w, move |tx| tx.del(Ks::Agg, &damaged.key())).await;
    assert_eq!(findings(&w), [] as [String; 0]);
}

fn like_of(n: u64, of: &str, subject: &Op) -> Op {
    let cid = cid::for_digest(cid::DAG_CBOR, &subject.record.as_ref().unwrap().cid);
    let strong = map([("uri", text(of)), ("cid", text(cid::to_base32(&cid)))]);
    op(LIKE, n, map([("$type", text(LIKE)), ("subject", strong), ("createdAt", text(at(n)))]))
}

/// Most likes share their subject's CID, which is remembered beside the rows that have it.
#[tokio::test]
async fn likes_come_back_as_they_were_whatever_becomes_of_their_subject() {
    let of = uri("a", POST, 1);
    let made = |words: &str| {
        op(POST, 1, map([("$type", text(POST)), ("text", text(words)), ("createdAt", text(at(1)))]))
    };
    let (first, second, third) = (made("first"), made("second"), broken(made("third")));
    let gone = || gone(POST, 1);
    let versions = [first.clone(), gone(), second.clone(), gone(), third.clone(), gone()];
    let versions = [&versions[..], &[third.clone(), second.clone()]].concat();
    for until in 0..=versions.len() {
        for always in [false, true] {
            let mut w = World::new();
            let mut likes = Vec::new();
            w.commit("a", []).await;
            for n in 0..=until {
                if let Some(version) = n.checked_sub(1).and_then(|n| versions.get(n)) {
                    w.commit("a", [version.clone()]).await;
                }
                if !always && n < until {
                    continue;
                }
                for (who, subject) in [("b", &first), ("c", &second), ("d", &third)] {
                    let like = like_of(20 + n as u64, &of, subject);
                    let cid = like.record.as_ref().unwrap().cid;
                    w.commit(who, [like]).await;
                    likes.push((who, w.post(who, 20 + n as u64).rkey, cid));
                }
            }
            let s = w.store.snapshot();
            for (who, rkey, cid) in likes {
                let actor = w.actor(who);
                let edge = s.edge(EdgeKind::Like, actor, rkey).unwrap().unwrap();
                let record = edge_record(&s, EdgeKind::Like, actor, rkey, &edge).unwrap();
                assert_eq!(record.map(|(_, digest)| digest), Some(cid), "{until} {always}: {who}");
            }
            assert_eq!(findings(&w), [] as [String; 0], "{until} {always}");
        }
    }
}

/// An upstream that is believed tells of no tree, so a commit of it does not say what it follows on.
#[tokio::test]
async fn an_edge_that_is_made_under_an_old_key_replaces_what_is_held_there() {
    let w = World::new();
    let subjects = [1, 2].map(|n| uri("a", POST, n));
    for (n, subject) in (20..).zip(&subjects) {
        let made = Op { created: true, ..like(10, subject) };
        let rev = Tid::parse(&tid(n)).unwrap();
        let commit = Commit { rev, data: Some([7; 32]), prev_data: None, ops: vec![made] };
        w.event("b", Body::Commit(commit)).await;
    }
    let s = w.store.snapshot();
    let likes = |of: &String| w.count(s.target(of).unwrap().unwrap(), Counter::Likes);
    assert_eq!(subjects.each_ref().map(likes), [0, 1]);
    assert_eq!(findings(&w), [] as [String; 0]);
}

/// What a record of a collection does beside being kept.
enum Effects {
    /// Nothing.
    None,
    /// What this one, by `x` in the world of [`surroundings`], shows; and whether notifications stay when it goes.
    Of(Op, Notices),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Notices {
    Go,
    /// They tell of something that was so then.
    Stay,
}

fn fields<const N: usize>(coll: &str, n: u64, more: [(&'static str, Ipld); N]) -> Op {
    let Ipld::Map(mut value) = map(more) else { panic!() };
    value.insert("$type".into(), text(coll));
    value.insert("createdAt".into(), text(at(n)));
    op(coll, n, Ipld::Map(value))
}

/// The effects of each collection that has a number of its own. One that is new must be named here.
fn effects(coll: CollId, nsid: &str) -> Effects {
    use Notices::{Go, Stay};
    let post_of_a = uri("a", POST, 1);
    let via = || ("via", strong(&uri("a", REPOST, 50)));
    let subject = |of: String| ("subject", strong(&of));
    let account = || ("subject", text(did("a").as_str()));
    match coll {
        c::POST => {
            let mention = [
                ("$type", text("app.bsky.richtext.facet#mention")),
                ("did", text(did("m").as_str())),
            ];
            let facet = map([("features", Ipld::List(vec![map(mention)]))]);
            let embed = [("$type", text("app.bsky.embed.record")), ("record", strong(&post_of_a))];
            let reply = [("root", strong(&post_of_a)), ("parent", strong(&post_of_a))];
            let more = [
                ("text", text("hi")),
                ("facets", Ipld::List(vec![facet])),
                ("embed", map(embed)),
                ("reply", map(reply)),
            ];
            Effects::Of(fields(nsid, 5, more), Go)
        }
        c::LIKE | c::REPOST => Effects::Of(fields(nsid, 5, [subject(post_of_a), via()]), Go),
        c::FOLLOW | c::BLOCK | c::VERIFICATION => {
            let notices = if coll == c::VERIFICATION { Stay } else { Go };
            Effects::Of(fields(nsid, 5, [account()]), notices)
        }
        c::LIST | c::GENERATOR | c::STARTERPACK => {
            Effects::Of(fields(nsid, 5, [("name", text("n"))]), Go)
        }
        c::LISTITEM => {
            let more = [("list", text(uri("x", LIST, 30))), account()];
            Effects::Of(fields(nsid, 5, more), Go)
        }
        c::LISTBLOCK => Effects::Of(fields(nsid, 5, [("subject", text(uri("a", LIST, 30)))]), Go),
        c::PROFILE => {
            let pack = ("joinedViaStarterPack", strong(&uri("a", PACK, 31)));
            Effects::Of(Op { rkey: "self".into(), ..fields(nsid, 5, [pack]) }, Stay)
        }
        c::THREADGATE | c::POSTGATE => {
            Effects::Of(fields(nsid, 1, [("post", text(uri("x", POST, 1)))]), Go)
        }
        c::COMMUNITY_LIKE | c::COMMUNITY_REPOST => {
            Effects::Of(fields(nsid, 5, [subject(uri("a", COMMUNITY_POST, 70))]), Go)
        }
        c::LABELER
        | c::STATUS
        | c::CHAT_DECLARATION
        | c::NOTIFICATION_DECLARATION
        | c::GERM_DECLARATION
        | c::SITE_DOCUMENT
        | c::SITE_PUBLICATION
        | c::CONTENT_VISIBILITY
        | c::LIST_OPT_OUT
        | c::COMMUNITY_POST
        | c::COMMUNITY_THREADGATE
        | c::COMMUNITY_POSTGATE => Effects::None,
        _ => panic!("{nsid} is new: what does a record of it do?"),
    }
}

/// What records of `x` may refer to.
async fn surroundings() -> World {
    let mut w = World::new();
    let named = |coll, n| fields(coll, n, [("name", text("n"))]);
    w.commit("m", []).await;
    let of_a = [
        post(1),
        named(LIST, 30),
        named(PACK, 31),
        fields(REPOST, 50, [("subject", strong(&uri("b", POST, 1)))]),
    ];
    w.commit("a", of_a).await;
    w.commit("x", [post(1), named(LIST, 30)]).await;
    w.join("a").await;
    w.join("m").await;
    let input = map([("text", text("hi")), ("createdAt", text(at(70)))]);
    let new = community::NewPost::read(&input).unwrap();
    let private = w.private();
    let submit = private
        .change(move |r| community::submit(r, did("a").as_str(), &tid(70), &new, NOW, usize::MAX));
    assert!(submit.await.unwrap());
    w
}

type Rows = BTreeMap<(Ks, Vec<u8>), Vec<u8>>;

/// The rows of `now` that `before` did not have so.
fn written(before: &Rows, now: &Rows) -> Rows {
    now.iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn without_notices(rows: &Rows) -> Rows {
    rows.iter()
        .filter(|((ks, _), _)| *ks != Ks::Notif)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[tokio::test]
async fn what_a_record_writes_is_missed_by_the_check_and_goes_with_the_record() {
    let mut w = surroundings().await;
    let fixed = (1..c::FIRST_DYNAMIC).map(CollId);
    let mut seen = 0;
    for (coll, nsid) in fixed.filter_map(|coll| Some((coll, c::fixed_name(coll)?))) {
        seen += 1;
        let (made, notices, plain) = match effects(coll, nsid) {
            Effects::Of(op, notices) => (op, notices, false),
            Effects::None => (fields(nsid, 5, [account_of_a()]), Notices::Go, true),
        };
        let before = w.rows();
        w.commit("x", [made.clone()]).await;
        let with = w.rows();
        assert_eq!(findings(&w), [] as [String; 0], "{nsid}");
        let rows = written(&before, &with);
        let rkey = w.store.snapshot().rkey(&made.rkey).unwrap().unwrap_or(Rkey::SELF);
        let id = RecordId { actor: w.actor("x"), coll, rkey };
        let own = (Ks::Record, id.to_bytes().to_vec());
        let elsewhere = rows.keys().any(|key| *key != own);
        assert_eq!(elsewhere, !plain, "{nsid} writes {rows:?}");
        // Notifications are a record of the past, which nothing else tells of.
        for ((ks, key), value) in rows.into_iter().filter(|((ks, _), _)| *ks != Ks::Notif && !plain)
        {
            let (old, lost) = (before.get(&(ks, key.clone())).cloned(), key.clone());
            change(&w, move |tx| match old {
                Some(old) => tx.put(ks, &lost, &old),
                None => tx.del(ks, &lost),
            })
            .await;
            assert_ne!(
                findings(&w),
                [] as [String; 0],
                "{nsid}: {} {key:?} is not missed",
                ks.name()
            );
            change(&w, move |tx| tx.put(ks, &key, &value)).await;
        }
        w.commit("x", [Op { record: None, ..made }]).await;
        match notices {
            Notices::Go => assert_eq!(w.rows(), before, "{nsid}"),
            Notices::Stay => {
                assert_eq!(without_notices(&w.rows()), without_notices(&before), "{nsid}")
            }
        }
        assert_eq!(findings(&w), [] as [String; 0], "{nsid}");
    }
    assert!(seen > 20);
}

fn account_of_a() -> (&'static str, Ipld) {
    ("subject", text(did("a").as_str()))
}
