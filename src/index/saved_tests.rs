//! A database saved by an earlier build opens and reads the same, for ever.
//!
//! `tests/fixtures/store-v2.tar.gz` is the folder, `store-v2.txt` what it holds. When the format changes before a
//! release, both are made anew: `cargo test --lib saved -- --ignored`. After a release they stay, and the new format
//! gets files of its own beside them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::check::{Options, check};
use super::testing::*;
use super::*;
use crate::event::label::Label;
use crate::private;
use crate::repo::dag_cbor;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    AggRow, Counter, EdgeRow, FeedRow, LabelRow, NotifRow, Order, PostRow, RecordRow, order_prefix,
};
use crate::schema::{CollId, PostId, RecordId, Target, collections, cursors};
use crate::store::{Ks, Reader, Snapshot};
use crate::syntax::cid;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn tar(args: &[&std::ffi::OsStr]) {
    let done = Command::new("tar").args(args).status().unwrap();
    assert!(done.success(), "tar {args:?}");
}

const UPSTREAM: &str = "wss://relay.example";

#[tokio::test]
#[ignore = "writes the fixture"]
async fn save() {
    let mut w = filled().await;
    let mut named = post(50);
    named.rkey = "not-a-tid".into();
    w.commit("d", [named]).await;
    let root = uri("a", POST, 1);
    let label = |uri: &str, neg| Label {
        ver: Some(1),
        src: did("labeler"),
        uri: uri.to_owned(),
        cid: None,
        val: "spam".into(),
        neg,
        cts: at(60),
        exp: None,
        sig: Some(vec![1, 2, 3]),
    };
    let labels = [label(&root, None), label(did("b").as_str(), Some(true))];
    let (me, other) = (w.actor("a"), Target::Actor(w.actor("b")));
    let index = std::sync::Arc::clone(&w.index);
    w.writer
        .durable(move |tx| {
            apply_labels(&index, tx, &labels)?;
            cursors::set_cursor(tx, &cursors::CursorOf::Upstream(UPSTREAM.into()), 77);
            private::testing::put(tx, private::Kind::MutedActor, me, Some(other), NOW)?;
            private::testing::put(tx, private::Kind::Seen, me, None, NOW)?;
            let takedown = private::Takedown { at: NOW, reference: "ref".into() };
            private::testing::set_takedown(tx, other, Some(&takedown));
            Ok(())
        })
        .await
        .unwrap();
    // Some of it in tables; what comes after stays in a journal.
    w.store.compact(|_| {}).unwrap();
    w.commit("d", [post(51)]).await;
    std::fs::write(fixture("store-v2.txt"), answers(&w.store.snapshot())).unwrap();
    let out = fixture("store-v2.tar.gz");
    let folder = w.store.path().to_owned();
    tar(&[
        "--sparse".as_ref(),
        "--sort=name".as_ref(),
        "--mtime=@0".as_ref(),
        "--owner=0".as_ref(),
        "--group=0".as_ref(),
        "-czf".as_ref(),
        out.as_ref(),
        "-C".as_ref(),
        folder.as_ref(),
        ".".as_ref(),
    ]);
}

#[test]
fn a_saved_database_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = fixture("store-v2.tar.gz");
    tar(&["-xzf".as_ref(), file.as_ref(), "-C".as_ref(), dir.path().as_ref()]);
    let store = Store::open(dir.path(), 64 << 20).unwrap();
    let expected = std::fs::read_to_string(fixture("store-v2.txt")).unwrap();
    let found = answers(&store.snapshot());
    for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", n + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    let report = check(&store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

fn each(s: &Snapshot, ks: Ks, prefix: &[u8], mut f: impl FnMut(&[u8], &[u8])) {
    s.scan_prefix(ks, prefix, &mut |k, v| {
        f(k, v);
        true
    })
    .unwrap();
}

/// What the record of a row encodes to, beside what the row says.
fn record(s: &Snapshot, held: &[u8; 32], packed: &[u8]) -> String {
    let value = s.unpack(packed).unwrap();
    let made = cid::for_record(&dag_cbor::encode(&value));
    format!("{} {made}", cid::to_base32(&cid::for_digest(cid::DAG_CBOR, held)))
}

/// Everything that a reader can ask, in words that do not depend on how it is stored.
fn answers(s: &Snapshot) -> String {
    let mut out = String::new();
    each(s, Ks::Post, &[], |k, v| {
        let (id, row) = (PostId::from_bytes(k).unwrap(), PostRow::decode(v).unwrap());
        let (uri, cids) = (s.post_uri(id).unwrap(), record(s, &row.cid, &row.packed));
        let sort = row.sort_ms(id.rkey);
        writeln!(out, "post {uri} {:#06x} {sort} {cids}", row.flags).unwrap();
        for (order, name) in [(Order::Replies, "reply"), (Order::Quotes, "quote")] {
            let prefix = order_prefix(order, Target::Post(id));
            each(s, Ks::Order, &prefix, |k, _| {
                let mut r = ByteReader::new(&k[prefix.len()..]);
                let (sort, post) = (r.newest_first().unwrap(), r.post().unwrap());
                writeln!(out, "  {name} {sort} {}", s.post_uri(post).unwrap()).unwrap();
            });
        }
    });
    each(s, Ks::Record, &[], |k, v| {
        let (id, row) = (RecordId::from_bytes(k).unwrap(), RecordRow::decode(v).unwrap());
        let (uri, cids) = (s.uri(id).unwrap(), record(s, &row.cid, &row.packed));
        writeln!(out, "record {uri} {} {} {} {cids}", row.valid, row.indexed, row.sort).unwrap();
    });
    each(s, Ks::Fwd, &[], |k, v| {
        let mut r = ByteReader::new(k);
        let kind = check::edge_kind(r.u8().unwrap()).unwrap();
        let (actor, rkey) = (r.actor().unwrap(), r.rkey().unwrap());
        let edge = EdgeRow::decode(k, v).unwrap();
        let uri = s.uri(RecordId { actor, coll: kind.collection(), rkey }).unwrap();
        let target = s.target_text(edge.target).unwrap();
        let fan = s.fan(kind, edge.target, actor).unwrap().unwrap();
        let times = (edge.created_ms(rkey), edge.sort_ms(rkey), fan.sort_ms());
        writeln!(out, "edge {uri} {target} {times:?} {:?} {}", edge.cid, edge.kept).unwrap();
    });
    each(s, Ks::Feed, &[], |k, v| {
        let (actor, row) = FeedRow::decode(k, v).unwrap();
        let of = row.repost_of.map(|p| s.post_uri(p).unwrap());
        let rkey = s.rkey_text(row.rkey).unwrap();
        writeln!(out, "feed {} {} {rkey} {} {of:?}", s.did(actor).unwrap(), row.sort, row.flags)
            .unwrap();
    });
    each(s, Ks::Agg, &[], |k, v| {
        let (target, row) = (ByteReader::new(k).target().unwrap(), AggRow::decode(v).unwrap());
        let counts = [
            Counter::Likes,
            Counter::Reposts,
            Counter::Replies,
            Counter::Quotes,
            Counter::Items,
            Counter::Joined,
            Counter::Followers,
            Counter::Follows,
            Counter::Posts,
            Counter::Lists,
            Counter::Feeds,
            Counter::StarterPacks,
            Counter::Bookmarks,
            Counter::ForbiddenReplies,
        ]
        .map(|c| row.get(c));
        writeln!(out, "counts {} {counts:?}", s.target_text(target).unwrap()).unwrap();
    });
    each(s, Ks::Label, &[], |k, v| {
        let target = s.target_text(ByteReader::new(k).target().unwrap()).unwrap();
        for l in LabelRow::decode_all(v).unwrap() {
            let src = s.did(l.src).unwrap();
            let LabelRow { val, cid, cts, exp, neg, sig, .. } = l;
            writeln!(out, "label {target} {src} {val} {cid:?} {cts} {exp:?} {neg} {sig:?}")
                .unwrap();
        }
    });
    each(s, Ks::Notif, &[], |k, v| {
        let (to, row) = NotifRow::decode(k, v).unwrap();
        let (to, uri) = (s.did(to).unwrap(), s.uri(row.record()).unwrap());
        let subject = row.subject.map(|t| s.target_text(t).unwrap());
        writeln!(out, "notification {to} {} {} {uri} {subject:?}", row.sort, row.reason.name())
            .unwrap();
    });
    accounts(s, &mut out);
    out
}

fn accounts(s: &Snapshot, out: &mut String) {
    for name in ["a", "b", "c", "d", "labeler"] {
        let id = s.actor_id(&did(name)).unwrap().unwrap();
        let row = s.actor(id).unwrap();
        let rev = s.repo(id).unwrap().map(|r| (r.rev, r.data[0], r.resync));
        writeln!(out, "account {name} {row:?} {rev:?} {:?}", s.identity(id).unwrap()).unwrap();
        let mutes = private::list_of(s, private::Kind::MutedActor, id, None, 100).unwrap();
        let mutes: Vec<_> =
            mutes.into_iter().map(|(t, at)| (s.target_text(t).unwrap(), at)).collect();
        let seen = private::get(s, private::Kind::Seen, id, None).unwrap();
        let takedown = private::takedown(s, Target::Actor(id)).unwrap();
        writeln!(out, "  mutes {mutes:?} seen {seen:?} takedown {takedown:?}").unwrap();
    }
    let owner = s.handle_owner("a.example").unwrap().map(|a| s.did(a).unwrap());
    let members: Vec<_> =
        private::members(s).unwrap().into_iter().map(|a| s.did(a).unwrap()).collect();
    let cursor = cursors::cursor(s, &cursors::CursorOf::Upstream(UPSTREAM.into())).unwrap();
    writeln!(out, "handle {owner:?} members {members:?} cursor {cursor:?}").unwrap();
    for n in 1.. {
        let Some(nsid) = collections::fixed_name(CollId(n)) else { break };
        writeln!(out, "collection {n} {nsid}").unwrap();
    }
}
