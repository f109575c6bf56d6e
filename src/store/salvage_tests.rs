//! Each file of a store is damaged once, in each way: it opens, or says which file is to blame; and after the repair it
//! opens with all that could be read.

use std::collections::BTreeMap;

use super::*;
use crate::store::{Reader as _, Store, Tx, Writer};

const BUDGET: u64 = 64 << 20;
/// What has rows in tables; of these, what has newer ones in the journal.
const WRITTEN: [Ks; 3] = [Ks::Post, Ks::Private, Ks::Meta];
const ROWS: u32 = 1500;
const NEWER: u32 = 50;

fn key(n: u32) -> Vec<u8> {
    [b"x".as_slice(), &n.to_be_bytes()].concat()
}

/// What no compression makes much shorter, so that tables have several blocks.
fn value(n: u32) -> Vec<u8> {
    (0..4_u32)
        .flat_map(|i| xxhash_rust::xxh3::xxh3_64(&(n + i).to_be_bytes()).to_le_bytes())
        .collect()
}

/// A store as a crash leaves it: rows in tables, others in the journal only.
async fn make(folder: &Path) {
    let live = folder.join("live");
    let store = Store::open(&live, BUDGET).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    let put = |from: u32, to: u32| {
        move |tx: &mut Tx<'_>| {
            for ks in WRITTEN {
                (from..to).for_each(|n| tx.put(ks, &key(n), &value(n)));
            }
            Ok(())
        }
    };
    writer.durable(put(0, ROWS)).await.unwrap();
    store.compact(|_| {}).unwrap();
    for n in 0..5 {
        writer.durable(put(ROWS + n * 10, ROWS + n * 10 + 10)).await.unwrap();
    }
    copy(&live, &folder.join("crashed"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            let mut bytes = fs::read(entry.path()).unwrap();
            if entry.path().extension().is_some_and(|ext| ext == "jnl") {
                // Room for 64 MB.
                while bytes.ends_with(&[0; 4096]) {
                    bytes.truncate(bytes.len() - 4096);
                }
            }
            fs::write(to.join(entry.file_name()), bytes).unwrap();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// How many of the rows are there by keyspace; none is another than it was, but for `wrong`.
fn held(store: &Store, wrong: usize) -> BTreeMap<Ks, u32> {
    let s = store.snapshot();
    let mut out = BTreeMap::new();
    let mut other = 0;
    for ks in WRITTEN {
        for n in 0..ROWS + NEWER {
            match s.get(ks, &key(n)).unwrap() {
                Some(held) if *held == *value(n) => *out.entry(ks).or_default() += 1,
                Some(_) => other += 1,
                None => {}
            }
        }
    }
    assert!(other <= wrong, "{other} rows are not what they were");
    out
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Flip(u64),
    Cut,
    Remove,
}

fn damage(file: &Path, how: How) {
    let bytes = fs::read(file).unwrap();
    match how {
        How::Flip(permille) => {
            let mut bytes = bytes;
            // Journals have room for more behind what they hold.
            let len = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            if let Some(byte) = bytes.get_mut(len * usize::try_from(permille).unwrap() / 1000) {
                *byte ^= 0x10;
            }
            fs::write(file, bytes).unwrap();
        }
        How::Cut => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
        How::Remove => fs::remove_file(file).unwrap(),
    }
}

#[tokio::test]
async fn each_file_damaged_once_leaves_a_store_that_opens_after_the_repair() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path()).await;
    let crashed = dir.path().join("crashed");
    let mut all = Vec::new();
    files(&crashed.join("db"), &mut all);
    all.sort();
    let ids: Vec<u64> = WRITTEN.iter().map(|ks| 1 + *ks as u64).chain([0]).collect();
    let of = |file: &Path| {
        let rest = file.strip_prefix(crashed.join("db/keyspaces")).ok()?;
        rest.iter().next()?.to_str()?.parse::<u64>().ok()
    };
    let mut lost_most = 0;
    for file in &all {
        // Others are empty.
        if of(file).is_some_and(|id| !ids.contains(&id)) {
            continue;
        }
        let ways = [How::Flip(0), How::Flip(300), How::Cut, How::Remove];
        for how in ways {
            let name = file.strip_prefix(&crashed).unwrap();
            if name == Path::new("db/lock") {
                continue;
            }
            let path = dir.path().join("damaged");
            copy(&crashed, &path);
            damage(&path.join(name), how);
            let context = format!("{} {how:?}", name.display());
            let journal = name.extension().is_some_and(|ext| ext == "jnl");
            if let Err(error) = Store::open(&path, BUDGET) {
                let words = error.to_string();
                assert!(matches!(error, StoreError::Damaged { .. }), "{context}: {words}");
                let of = name.parent().unwrap().to_str().unwrap();
                assert!(words.contains(of) && words.contains("db repair"), "{context}: {words}");
            }
            // What it was before the engine looked at it.
            fs::remove_dir_all(&path).unwrap();
            copy(&crashed, &path);
            damage(&path.join(name), how);
            let done =
                salvage(&path, BUDGET, &mut |_| {}).unwrap_or_else(|e| panic!("{context}: {e}"));
            let store = Store::open(&path, BUDGET).unwrap_or_else(|e| panic!("{context}: {e}"));
            let held = held(&store, usize::from(journal));
            drop(store);
            let missing: u32 =
                WRITTEN.map(|ks| ROWS + NEWER - held.get(&ks).unwrap_or(&0)).iter().sum();
            lost_most = lost_most.max(missing);
            let torn = journal && how != How::Flip(0) && how != How::Flip(300);
            assert!(
                missing == 0 || !done.lost.is_empty() || !done.mended.is_empty() || torn,
                "{context}"
            );
            // One table of one keyspace at most; of journals, what is behind a cut.
            assert!(missing <= ROWS + NEWER || journal, "{context}: {missing}");
            if journal && how == How::Flip(300) {
                assert!(missing <= 3, "{context}: {missing}");
            }
            if let Some(aside) = &done.aside {
                assert!(aside.exists());
            }
            fs::remove_dir_all(&path).unwrap();
        }
    }
    assert!(lost_most > 0, "something is lost with a table");
}

#[tokio::test]
async fn a_store_that_is_whole_stays_as_it_is_and_one_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path()).await;
    let crashed = dir.path().join("crashed");
    let done = salvage(&crashed, BUDGET, &mut |_| {}).unwrap();
    assert_eq!((done.damaged, done.lost, done.aside), (vec![], vec![], None));
    let store = Store::open(&crashed, BUDGET).unwrap();
    assert!(matches!(salvage(&crashed, BUDGET, &mut |_| {}), Err(StoreError::Locked(_))));
    assert!(held(&store, 0).values().all(|n| *n == ROWS + NEWER));
    drop(store);
    let aside = set_aside(&crashed).unwrap();
    assert!(aside.join("db/keyspaces").exists() && !Store::exists(&crashed));
    assert_eq!(held(&Store::open(&crashed, BUDGET).unwrap(), 0), BTreeMap::new());
}
