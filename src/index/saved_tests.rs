//! Databases saved by earlier builds open and read the same, for ever, by migration if they are of an older format.
//!
//! `tests/fixtures/store-v4.tar.gz` is the folder of the newest format, `store-v4.txt` what it holds. When the format changes
//! before a release, both are made anew: `cargo test --lib saved_tests -- --ignored`. After a release they stay, and the new
//! format gets files of its own beside them. Those of format 2 are of builds before there were migrations.

use std::collections::BTreeMap;
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
    self, AccountStatus, AggRow, Counter, EdgeRow, FeedRow, LabelRow, NotifRow, Order, PostRow,
    RecordRow, order_prefix,
};
use crate::schema::{CollId, PostId, RecordId, Target, collections, cursors, migrations};
use crate::store::{FORMAT, Ks, Progress, Reader, Snapshot};
use crate::syntax::cid;
use crate::work::tables::registry;

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
    let index = Arc::clone(&w.index);
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
    std::fs::write(fixture("store-v4.txt"), everything(&w.store.snapshot(), FORMAT)).unwrap();
    let out = fixture("store-v4.tar.gz");
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
    reads_the_same("store-v4", FORMAT);
}

#[test]
fn a_saved_database_of_format_3_reads_the_same_by_migration() {
    reads_the_same("store-v3", 3);
}

#[test]
fn a_saved_database_of_format_2_reads_the_same_by_migration() {
    reads_the_same("store-v2", 2);
}

fn reads_the_same(name: &str, format: u32) {
    let dir = tempfile::tempdir().unwrap();
    let file = fixture(&format!("{name}.tar.gz"));
    tar(&["-xzf".as_ref(), file.as_ref(), "-C".as_ref(), dir.path().as_ref()]);
    let mut steps = 0;
    let mut told = |p: &Progress| {
        assert_eq!(p.damaged, 0);
        steps = steps.max(p.from);
    };
    let store = migrations::open(dir.path(), 64 << 20, &mut told).unwrap();
    assert_eq!(steps, if format == FORMAT { 0 } else { FORMAT - 1 });
    let expected = std::fs::read_to_string(fixture(&format!("{name}.txt"))).unwrap();
    let found = everything(&store.snapshot(), format);
    for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", n + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    let report = check(&store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// What is said of a saved database of this format.
fn everything(s: &Snapshot, format: u32) -> String {
    answers(s) + &if format >= 3 { tables(s) } else { String::new() }
}

/// How many rows there are of each table that has any.
fn tables(s: &Snapshot) -> String {
    let (registry, mut rows) = (registry(), BTreeMap::new());
    for ks in Ks::ALL {
        each(s, *ks, &[], |k, v| {
            let table = registry.of(*ks, k).unwrap();
            assert!(table.is_whole(k, v), "{}", table.name);
            *rows.entry(table.name).or_insert(0) += 1;
        });
    }
    rows.into_iter().map(|(name, rows)| format!("table {name}: {rows}\n")).collect()
}

fn each(s: &Snapshot, ks: Ks, prefix: &[u8], mut f: impl FnMut(&[u8], &[u8])) {
    s.scan_prefix(ks, prefix, &mut |k, v| {
        f(k, v);
        true
    })
    .unwrap();
}

/// What the record of a row encodes to, beside what the row says.
fn record(s: &Snapshot, kept: Option<[u8; 32]>, packed: &[u8]) -> String {
    let held = s.digest(kept, packed).unwrap();
    let value = s.unpack(packed).unwrap();
    let made = cid::for_record(&dag_cbor::encode(&value));
    format!("{} {made}", cid::to_base32(&cid::for_digest(cid::DAG_CBOR, &held)))
}

/// Everything that a reader can ask, in words that do not depend on how it is stored.
fn answers(s: &Snapshot) -> String {
    let mut out = String::new();
    each(s, Ks::Post, &[], |k, v| {
        let (id, row) = (PostId::from_bytes(k).unwrap(), PostRow::decode(v).unwrap());
        let (uri, cids) = (s.post_uri(id).unwrap(), record(s, row.cid, &row.packed));
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
        let (uri, cids) = (s.uri(id).unwrap(), record(s, row.cid, &row.packed));
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

/// The row of an account in the words of the first saved database: a bit for each of eight kinds that it may have.
#[derive(Debug)]
#[expect(dead_code, reason = "it is shown")]
struct ActorRow {
    status: AccountStatus,
    handle: Option<String>,
    handle_checked: i64,
    indexed: i64,
    tombstoned: bool,
    kinds: Kinds,
}

#[derive(Debug)]
#[expect(dead_code, reason = "it is shown")]
struct Kinds(u8);

impl ActorRow {
    fn of(row: rows::ActorRow) -> Self {
        let eight = [
            collections::PROFILE,
            collections::STATUS,
            collections::LABELER,
            collections::CHAT_DECLARATION,
            collections::NOTIFICATION_DECLARATION,
            collections::GERM_DECLARATION,
            collections::BLOCK,
            collections::LISTBLOCK,
        ];
        let may = eight.into_iter().zip(0..).filter(|(coll, _)| row.kinds.may_have(*coll));
        let kinds = Kinds(may.fold(0, |bits, (_, n)| bits | 1 << n));
        let rows::ActorRow { status, handle, handle_checked, indexed, tombstoned, .. } = row;
        Self { status, handle, handle_checked, indexed, tombstoned, kinds }
    }
}

fn accounts(s: &Snapshot, out: &mut String) {
    for name in ["a", "b", "c", "d", "labeler"] {
        let id = s.actor_id(&did(name)).unwrap().unwrap();
        let row = s.actor(id).unwrap().map(|row| format!("{:?}", ActorRow::of(row)));
        let row = row.map_or("None".to_owned(), |row| format!("Some({row})"));
        let rev = s.repo(id).unwrap().map(|r| (r.rev, r.data[0], r.resync));
        writeln!(out, "account {name} {row} {rev:?} {:?}", s.identity(id).unwrap()).unwrap();
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
