//! Rows of the directory's operations: their form, which one wins, and what counts as proven.

use super::*;
use crate::schema::Edit;
use crate::schema::rows::{IdentityRow, identity_key};
use crate::store::{Store, Writer};

const DID: &str = "did:plc:z72i7hdynmk6r22z27h6tvur";
const DIRECTORY: &str = "https://plc.example";

fn open() -> (tempfile::TempDir, Store, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 64 << 20).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    (dir, store, writer)
}

fn doc(n: u8) -> PlcState {
    PlcState::Document(PlcDocument {
        key: Some([n; 34]),
        pds: Some(format!("https://pds{}.example", n % 2)),
        handle: Some(format!("h{n}.example")),
        more: vec![n; usize::from(n % 3)],
    })
}

fn op(did: &str, time: i64, state: PlcState) -> PlcOp {
    PlcOp { did: did.to_owned(), time, state, proof: None }
}

/// The nth operation of a DID, proven.
fn signed(time: i64, n: u8, from: Option<u8>) -> PlcOp {
    let from = from.map(|n| [n; 8]);
    let end = ChainEnd { op: [n; 8], rotation: vec![[n; 34], [9; 34]] };
    PlcOp { proof: Some(Proof { from, end }), ..op(DID, time, doc(n)) }
}

async fn put(writer: &Writer, ops: Vec<PlcOp>) -> Applied {
    let batch = Batch { directory: DIRECTORY.into(), ops, ..Batch::default() };
    writer.durable(move |tx| apply(tx, &batch)).await.unwrap()
}

#[test]
fn rows_come_back() {
    let full = PlcRow {
        time: 1_700_000_000_000,
        key: Some([9; 34]),
        host: Some(300),
        chain: Some(Chain { op: [5; 8], rotation: 300 }),
        proven: true,
        handle: "alice.bsky.social".into(),
        ..PlcRow::default()
    };
    assert!(did_bytes(DID).len() + full.encode().len() < 90, "it is for a hundred million");
    let more = PlcRow { more: b"{}".to_vec(), tombstone: false, ..full.clone() };
    for row in [full, more, PlcRow { tombstone: true, ..PlcRow::default() }, PlcRow::default()] {
        assert_eq!(PlcRow::decode(&row.encode()), Some(row));
    }
    for bad in [&[][..], &[0], &[KEY, 1, 2], &[MORE, 1, 0], &[0, 1, 0, 7]] {
        assert_eq!(PlcRow::decode(bad), None, "{bad:?}");
    }
    for cursor in
        [None, Some(Cursor { seq: None, time: 5 }), Some(Cursor { seq: Some(0), time: 0 })]
    {
        let directory = DIRECTORY.to_owned();
        let p = Progress {
            directory,
            cursor,
            covered: 7,
            dids: 3,
            tombstones: 2,
            hosts: 1,
            rotations: 4,
        };
        assert_eq!(Progress::decode(&p.encode()), Some(p));
        let place = Place { file: 5, offset: 6, lines: 7, end: cursor };
        assert_eq!(Place::decode(&place.encode()), Some(place));
    }
}

#[tokio::test]
async fn the_newest_operation_wins_in_any_order() {
    let ops = [(1, doc(1)), (2, doc(2)), (3, PlcState::Tombstone), (4, doc(4))];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [0, 3, 1, 2]] {
        let (_dir, store, writer) = open();
        for n in order {
            let (time, state) = ops[n].clone();
            put(&writer, vec![op(DID, time, state)]).await;
        }
        assert_eq!(get(&store.snapshot(), DID).unwrap(), Some(doc(4)), "{order:?}");
        let p = progress(&store.snapshot(), DIRECTORY).unwrap();
        assert_eq!((p.dids, p.tombstones), (1, 0), "{order:?}");
    }
}

#[tokio::test]
async fn operations_of_the_same_time_count_in_their_order_and_again_change_nothing() {
    let (_dir, store, writer) = open();
    let ops =
        || vec![op(DID, 5, doc(1)), op(DID, 5, PlcState::Tombstone), op("did:plc:x", 5, doc(3))];
    assert_eq!(put(&writer, ops()).await.changed, 3);
    let before = progress(&store.snapshot(), DIRECTORY).unwrap();
    assert_eq!((before.dids, before.tombstones, before.hosts), (2, 1, 1));
    put(&writer, ops()).await;
    assert_eq!(get(&store.snapshot(), DID).unwrap(), Some(PlcState::Tombstone));
    assert_eq!(get(&store.snapshot(), "did:plc:x").unwrap(), Some(doc(3)));
    assert_eq!(progress(&store.snapshot(), DIRECTORY).unwrap(), before);
    assert_eq!(get(&store.snapshot(), "did:plc:nobody").unwrap(), None);
}

#[tokio::test]
async fn what_is_proven_is_given_as_such_and_in_any_order_once_all_of_it_came() {
    let ops = || [signed(1, 1, None), signed(2, 2, Some(1)), signed(3, 3, Some(2))];
    for order in [vec![0, 1, 2], vec![2, 1, 0, 1, 2], vec![1, 2, 0, 1, 2], vec![0, 2, 1, 2]] {
        let (_dir, store, writer) = open();
        for n in &order {
            put(&writer, vec![ops()[*n].clone()]).await;
        }
        assert_eq!(proven(&store.snapshot(), DID).unwrap(), Some(doc(3)), "{order:?}");
        let held = chain(&store.snapshot(), DID).unwrap();
        let end = ChainEnd { op: [3; 8], rotation: vec![[3; 34], [9; 34]] };
        assert_eq!(held, Held { end: Some(end), proven_until: Some(3) });
        // All of it once more.
        let again = put(&writer, ops().to_vec()).await;
        assert_eq!((again.changed, again.progress.rotations), (0, 3), "{order:?}");
        assert_eq!(proven(&store.snapshot(), DID).unwrap(), Some(doc(3)));
    }
}

#[tokio::test]
async fn what_no_key_of_the_chain_signed_is_held_and_not_given() {
    let (_dir, store, writer) = open();
    let s = || store.snapshot();
    assert_eq!(put(&writer, vec![signed(1, 1, None)]).await.unproven, 0);
    let forged = op(DID, 2, doc(2));
    assert_eq!(put(&writer, vec![forged]).await.unproven, 1);
    assert_eq!((get(&s(), DID).unwrap(), proven(&s(), DID).unwrap()), (Some(doc(2)), None));
    // It goes on from where the chain does not end.
    put(&writer, vec![signed(3, 3, Some(2))]).await;
    assert_eq!((get(&s(), DID).unwrap(), proven(&s(), DID).unwrap()), (Some(doc(3)), None));
    // The chain is where it was.
    put(&writer, vec![signed(4, 4, Some(1))]).await;
    assert_eq!(proven(&s(), DID).unwrap(), Some(doc(4)));
}

#[tokio::test]
async fn nobody_brings_old_keys_back_by_saying_that_they_are_new() {
    let (_dir, store, writer) = open();
    let of = |time, n, from| signed(time, n, from);
    put(&writer, vec![of(1, 1, None), of(1, 2, Some(1)), of(3, 3, Some(2))]).await;
    // The same operations, and one that is not signed, with times of somebody's own.
    for replayed in [
        of(9, 1, None),
        of(10, 2, Some(1)),
        op(DID, 11, doc(4)),
        of(8, 1, None),
        of(12, 2, Some(1)),
    ] {
        put(&writer, vec![replayed]).await;
        let held = chain(&store.snapshot(), DID).unwrap();
        assert_eq!(held.end.unwrap().op, [3; 8]);
        assert_eq!(proven(&store.snapshot(), DID).unwrap(), None);
    }
}

#[tokio::test]
async fn a_millisecond_of_a_chain_comes_twice() {
    let (_dir, store, writer) = open();
    for _ in 0..2 {
        put(&writer, vec![signed(1, 1, None), signed(1, 2, Some(1))]).await;
        assert_eq!(proven(&store.snapshot(), DID).unwrap(), Some(doc(2)));
    }
}

#[test]
fn progress_from_before_there_were_chains_begins_anew() {
    let cursor = Some(Cursor { seq: Some(5), time: 6 });
    let now = Progress {
        directory: DIRECTORY.into(),
        cursor,
        covered: 7,
        dids: 3,
        ..Progress::default()
    };
    let old = now.encode();
    let old = Progress::decode(&old[..old.len() - 1]).unwrap();
    assert_eq!(old, Progress { cursor: None, covered: 0, ..now });
}

#[tokio::test]
async fn the_cursor_goes_with_the_rows_and_never_back() {
    let (_dir, store, writer) = open();
    let set = async |seq, time, covered| {
        let directory = DIRECTORY.to_owned();
        let cursor = Some(Cursor { seq, time });
        let batch = Batch { directory, cursor, covered, ..Batch::default() };
        writer.durable(move |tx| apply(tx, &batch)).await.unwrap().progress
    };
    let p = set(None, 50, 40).await;
    assert_eq!((p.cursor, p.covered), (Some(Cursor { seq: None, time: 50 }), 40));
    let p = set(None, 49, 30).await;
    assert_eq!((p.cursor, p.covered), (Some(Cursor { seq: None, time: 50 }), 40));
    assert_eq!(set(Some(7), 60, 60).await.cursor, Some(Cursor { seq: Some(7), time: 60 }));
    assert_eq!(set(Some(6), 61, 60).await.cursor, Some(Cursor { seq: Some(7), time: 60 }));
    let other = progress(&store.snapshot(), "https://other.example").unwrap();
    assert_eq!((other.cursor, other.covered), (None, 0), "places are those of one directory");
}

#[tokio::test]
async fn strangers_get_no_account_and_outdated_ones_are_looked_at() {
    let (_dir, store, writer) = open();
    let known = "did:plc:known";
    let actor = writer
        .durable(move |tx| {
            let actor = tx.intern_actor(known)?;
            let row = IdentityRow { checked: 100, ..IdentityRow::default() };
            tx.put(Ks::Actor, &identity_key(actor), &row.encode());
            tx.intern_actor("did:plc:unread")?;
            Ok(actor)
        })
        .await
        .unwrap();
    let applied = put(
        &writer,
        vec![op(known, 99, doc(1)), op(DID, 200, doc(1)), op("did:plc:unread", 200, doc(1))],
    )
    .await;
    assert_eq!(applied.outdated, []);
    assert_eq!(store.snapshot().actor_id(DID).unwrap(), None);
    let applied = put(&writer, vec![op(known, 101, PlcState::Tombstone)]).await;
    assert_eq!(applied.outdated, [(actor, known.to_owned())]);
}
