//! A copy of a pinned store opens with what was committed before, whatever happened to the store while it was copied.

use super::*;
use crate::store::{Reader as _, Tx, Writer};

const BUDGET: u64 = 64 << 20;
const SPACES: [Ks; 3] = [Ks::Post, Ks::Private, Ks::Meta];

fn key(n: u32) -> Vec<u8> {
    [b"x".as_slice(), &n.to_be_bytes()].concat()
}

fn put(
    range: std::ops::Range<u32>,
    value: u8,
) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> {
    move |tx| {
        for ks in SPACES {
            range.clone().for_each(|n| tx.put(ks, &key(n), &[value; 400]));
        }
        Ok(())
    }
}

/// Puts the files of a pin into a folder.
fn copy(pin: &Pinned, to: &Path) {
    for file in pin.files() {
        let path = to.join(file.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.open().unwrap().read_to_end(&mut bytes).unwrap();
        let mut again = Vec::new();
        file.open().unwrap().read_to_end(&mut again).unwrap();
        assert!(bytes == again, "{}", file.path());
        fs::write(path, bytes).unwrap();
    }
}

fn held(store: &Store) -> Vec<(Vec<u8>, u8)> {
    let mut out = Vec::new();
    let s = store.snapshot();
    for ks in SPACES {
        s.scan(ks, b"x", Some(b"y"), false, &mut |k, v| {
            out.push((k.to_vec(), v[0]));
            true
        })
        .unwrap();
    }
    out
}

#[tokio::test]
async fn a_copy_is_what_was_committed_when_it_was_begun() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let store = Store::open(&live, BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    writer.durable(put(0..300, 1)).await.unwrap();
    store.flush_all().unwrap();
    // Some rows of each keyspace are in tables, others and newer ones in the journal only.
    writer.durable(put(200..500, 2)).await.unwrap();
    store.keyspace(Ks::Post).unwrap().rotate_memtable_and_wait().unwrap();
    writer.durable(put(490..600, 3)).await.unwrap();
    let of = store.clone();
    let pin = writer.visible(move |_| of.pin()).await.unwrap();
    let before = held(&store);
    assert_eq!(before.len(), 3 * 600);
    // All of it is written anew, merged, and the journals go.
    for round in 4..8 {
        writer.durable(put(0..700, round)).await.unwrap();
        store.compact(|_| {}).unwrap();
    }
    let to = dir.path().join("copy");
    copy(&pin, &to);
    let copied = Store::open(&to, BUDGET).unwrap();
    assert!(held(&copied) == before);
    // It goes on from there, also when what was in the journal is in tables.
    let (its_writer, _its_thread) = Writer::start(copied.clone()).unwrap();
    its_writer.durable(put(0..10, 9)).await.unwrap();
    copied.flush_all().unwrap();
    drop(its_writer);
    assert_eq!(held(&copied)[..11].iter().map(|row| row.1).sum::<u8>(), 9 * 10 + 1);
    assert!(held(&store).iter().all(|row| row.1 == 7));
    // What was merged away goes with the pin.
    let tables = || store.files().unwrap().0.into_iter().map(|(_, bytes)| bytes).sum::<u64>();
    let with = tables();
    drop(pin);
    assert!(tables() < with);
}

#[tokio::test]
async fn what_is_in_tables_is_not_copied_from_the_journal_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    writer.durable(put(0..1000, 1)).await.unwrap();
    let journal = |pin: &Pinned| {
        let file = pin.files().iter().find(|file| file.path() == "db/0.jnl").unwrap();
        let mut bytes = Vec::new();
        file.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes.len()
    };
    let all = journal(&store.pin().unwrap());
    store.flush_all().unwrap();
    let flushed = store.pin().unwrap();
    assert!(all > 10_000 && journal(&flushed) == 0, "{all}, {}", journal(&flushed));
    let to = dir.path().join("copy");
    copy(&flushed, &to);
    assert_eq!(held(&Store::open(&to, BUDGET).unwrap()).len(), 3000);
    writer.durable(put(7..8, 2)).await.unwrap();
    let few = journal(&store.pin().unwrap());
    assert!(few > 0 && few < all / 100, "{few}");
}

#[tokio::test]
async fn a_closed_store_is_copied_as_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let store = Store::open(&live, BUDGET).unwrap();
    let (writer, thread) = Writer::start(store.clone()).unwrap();
    writer.durable(put(0..300, 1)).await.unwrap();
    assert!(matches!(Store::pin_closed(&live), Err(StoreError::Locked(_))));
    let before = held(&store);
    let crashed = dir.path().join("crashed");
    copy(&store.pin().unwrap(), &crashed);
    writer.stop().await;
    thread.join().unwrap().unwrap();
    drop((store, writer));
    for of in [live, crashed] {
        let pin = Store::pin_closed(&of).unwrap();
        assert!(matches!(Store::open(&of, BUDGET), Err(StoreError::Locked(_))), "it is held");
        let to = of.join("copy");
        copy(&pin, &to);
        assert_eq!(pin.format(), FORMAT);
        assert!(held(&Store::open(&to, BUDGET).unwrap()) == before);
        drop(pin);
        assert!(held(&Store::open(&of, BUDGET).unwrap()) == before);
    }
}
