//! The store as a whole.

use super::*;
use crate::schema::cursors::{self, CursorOf};
use crate::schema::rows::Counter;
use crate::schema::{ActorId, Edit, Rows, Target};

const BUDGET: u64 = 64 << 20;

fn scan(r: &impl Reader, lo: &[u8], reverse: bool) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    r.scan(Ks::Private, lo, Some(b"z"), reverse, &mut |k, _| {
        out.push(k.to_vec());
        out.len() < 10
    })
    .unwrap();
    out
}

#[tokio::test]
async fn a_batch_is_visible_at_once_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), BUDGET).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let before = store.snapshot();
        let id = writer
            .durable(|tx| {
                let id = tx.intern_actor("did:plc:z72i7hdynmk6r22z27h6tvur")?;
                tx.count(Target::Actor(id), Counter::Posts, 2)?;
                tx.count(Target::Actor(id), Counter::Posts, 1)?;
                cursors::set_cursor(tx, &CursorOf::Upstream("wss://r".into()), 9);
                Ok(id)
            })
            .await
            .unwrap();
        assert_eq!(before.agg(Target::Actor(id)).unwrap().get(Counter::Posts), 0);
        assert_eq!(store.snapshot().agg(Target::Actor(id)).unwrap().get(Counter::Posts), 3);
        writer.stop().await;
        thread.join().unwrap().unwrap();
        assert!(matches!(writer.durable(|_| Ok(())).await, Err(StoreError::Closed)));
    }
    let store = Store::open(dir.path(), BUDGET).unwrap();
    let s = store.snapshot();
    let id = s.actor_id("did:plc:z72i7hdynmk6r22z27h6tvur").unwrap().unwrap();
    assert_eq!(s.agg(Target::Actor(id)).unwrap().get(Counter::Posts), 3);
    assert_eq!(&*s.did(id).unwrap(), "did:plc:z72i7hdynmk6r22z27h6tvur");
    assert_eq!(cursors::cursor(&s, &CursorOf::Upstream("wss://r".into())).unwrap(), Some(9));
}

#[tokio::test]
async fn the_open_batch_is_read_over_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store).unwrap();
    writer
        .durable(|tx| {
            for k in ["a", "c", "e"] {
                tx.put(Ks::Private, k.as_bytes(), b"1");
            }
            Ok(())
        })
        .await
        .unwrap();
    writer
        .durable(|tx| {
            tx.put(Ks::Private, b"b", b"2");
            tx.del(Ks::Private, b"c");
            tx.put(Ks::Private, b"f", b"2");
            assert_eq!(scan(tx, b"a", false), [b"a", b"b", b"e", b"f"]);
            assert_eq!(scan(tx, b"b", true), [b"f", b"e", b"b"]);
            tx.mark();
            tx.del(Ks::Private, b"a");
            tx.put(Ks::Private, b"b", b"3");
            let kept = tx.intern_rkey("hello")?;
            tx.rollback();
            assert_eq!(scan(tx, b"a", false), [b"a", b"b", b"e", b"f"]);
            assert_eq!(tx.get(Ks::Private, b"b")?.as_deref(), Some(&b"2"[..]));
            assert_eq!(tx.rkey("hello")?, Some(kept));
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn rows_at_hand_are_those_of_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    const TARGET: Target = Target::Actor(ActorId(7));
    fn likes(tx: &Tx<'_>) -> Result<u64, StoreError> {
        tx.agg(TARGET).map(|row| row.get(Counter::Likes))
    }
    let add = |by| writer.durable(move |tx| tx.count(TARGET, Counter::Likes, by).map(drop));
    let read = || writer.durable(|tx| likes(tx));
    assert_eq!(read().await.unwrap(), 0);
    add(2).await.unwrap();
    assert_eq!(read().await.unwrap(), 2);
    writer
        .durable(move |tx| {
            tx.count(TARGET, Counter::Likes, 5)?;
            assert_eq!(likes(tx)?, 7);
            tx.rollback();
            assert_eq!(likes(tx)?, 2);
            Ok(())
        })
        .await
        .unwrap();
    add(-2).await.unwrap();
    assert_eq!(read().await.unwrap(), 0);
    add(1).await.unwrap();
    assert_eq!(
        (read().await.unwrap(), store.snapshot().agg(TARGET).unwrap().get(Counter::Likes)),
        (1, 1)
    );
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), BUDGET).unwrap();
        store.keyspace(Ks::Meta).unwrap().insert(b"format", 99u32.to_be_bytes()).unwrap();
        store.sync().unwrap();
    }
    let e = Store::open(dir.path(), BUDGET).unwrap_err();
    assert!(matches!(e, StoreError::Version { found: 99, .. }), "{e}");
}

#[test]
fn a_second_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(dir.path(), BUDGET).unwrap();
    let e = Store::open(dir.path(), BUDGET).unwrap_err();
    assert!(matches!(e, StoreError::Locked(_)), "{e}");
}

#[tokio::test]
async fn memtables_become_files_the_fullest_first_before_all_are_more_than_their_share() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    for n in 0..200_u32 {
        let fill = move |tx: &mut Tx<'_>| {
            tx.put(Ks::Label, &n.to_be_bytes(), &[7; 1000]);
            tx.put(Ks::Post, &n.to_be_bytes(), &[7; 60_000]);
            tx.put(Ks::Record, &n.to_be_bytes(), &[7; 40_000]);
            Ok(())
        };
        writer.visible(fill).await.unwrap();
        let held = store.db().write_buffer_size();
        assert!(held <= store.0.max_buffered + 200_000, "{held}");
    }
    let files = |ks| store.keyspace(ks).unwrap().table_count();
    let files = [files(Ks::Label), files(Ks::Post), files(Ks::Record)];
    assert!(files[0] == 0 && files[1] > 0 && files[2] > 0, "{files:?}");
}
