//! Backups in a folder: made, read, put back; and each way in which that goes wrong.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::manifest::{Entry, Head};
use super::*;
use crate::schema::{Edit as _, Rows as _};
use crate::store::{FORMAT, Store, Tx, Writer};

const BUDGET: u64 = 64 << 20;
const NOW: i64 = 1_750_000_000_000;
const DAY: i64 = 86_400_000;

/// A store with its writer, and a folder for backups beside it.
struct World {
    dir: tempfile::TempDir,
    store: Store,
    writer: Writer,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), BUDGET).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        Self { dir, store, writer }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Accounts by their names, which is enough to tell stores apart.
    async fn put(&self, accounts: std::ops::Range<u32>) {
        let names = move |tx: &mut Tx<'_>| {
            accounts.clone().try_for_each(|n| tx.intern_actor(&did(n)).map(drop))
        };
        self.writer.durable(names).await.unwrap();
        self.store.flush_all().unwrap();
    }

    fn repository(&self) -> Repository {
        let place = Box::new(Folder::new(self.at("backups")));
        Repository { place, recipients: None, identities: None, rate: 0 }
    }

    fn whole(&self, repository: &Repository, now: i64) -> Result<Made, BackupError> {
        repository.whole(&self.store.pin().unwrap(), &[], now, &Progress::default())
    }

    fn restore(&self, repository: &Repository, id: &Id) -> Result<Store, BackupError> {
        let to = self.at("restored");
        let mut open = |path: &Path| Ok(Store::open(path, BUDGET).map(drop)?);
        restore_whole(repository, id, &to, &|_| None, &mut open, &Progress::default())?;
        Ok(Store::open(&to, BUDGET)?)
    }
}

fn did(n: u32) -> String {
    format!("did:web:a{n}.example")
}

fn has(store: &Store, n: u32) -> bool {
    store.snapshot().actor_id(&did(n)).unwrap().is_some()
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(objects(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_was_made_is_there_and_comes_back() {
    let w = World::new();
    let repository = w.repository();
    assert!(repository.list().unwrap().is_empty());
    w.put(0..100).await;
    let first = w.whole(&repository, NOW).unwrap();
    assert!(first.brought > 0 && first.brought <= first.bytes, "{first:?}");
    w.put(100..200).await;
    let second = w.whole(&repository, NOW + DAY).unwrap();
    assert!(second.brought < second.bytes, "tables that were there are not brought again");
    let listed = repository.list().unwrap();
    assert_eq!(listed.iter().map(|l| &l.id).collect::<Vec<_>>(), [&first.id, &second.id]);
    let has_it = listed[1].has.as_ref().unwrap();
    assert_eq!((has_it.made, has_it.format, has_it.files), (NOW + DAY, FORMAT, second.files));
    for id in [&first.id, &second.id] {
        let verified = repository.verify(id, &Progress::default()).unwrap();
        assert!(verified.damaged.is_empty() && verified.contents, "{verified:?}");
    }
    // Nothing that both have is there twice, and nothing else is.
    let names: std::collections::HashSet<_> = [&first.id, &second.id]
        .iter()
        .flat_map(|id| repository.manifest(id).unwrap().files)
        .map(|file| file.sha256)
        .collect();
    assert_eq!(objects(&w.at("backups/objects")).len(), names.len());
    assert_eq!(objects(&w.at("backups/pending")).len(), 0);
    let restored = w.restore(&repository, &first.id).unwrap();
    assert!(has(&restored, 99) && !has(&restored, 100));
    let to = w.at("restored");
    let error = w.restore(&repository, &second.id).unwrap_err().to_string();
    assert!(error.contains("db is there") || error.contains("is not empty"), "{error}");
    drop(restored);
    fs::remove_dir_all(&to).unwrap();
    assert!(has(&w.restore(&repository, &second.id).unwrap(), 199));
    let newest = repository.find(None, Kind::Whole).unwrap();
    assert_eq!(newest, second.id);
    let none = repository.find(Some("yesterday"), Kind::Whole).unwrap_err().to_string();
    assert!(none.contains("aerie backup list"), "{none}");
}

#[tokio::test]
async fn what_is_damaged_is_named_and_leaves_no_store_behind() {
    let w = World::new();
    let repository = w.repository();
    w.put(0..100).await;
    let made = w.whole(&repository, NOW).unwrap();
    let manifest = repository.manifest(&made.id).unwrap();
    let largest = manifest.files.iter().max_by_key(|file| file.size).unwrap();
    let object = w.at("backups").join(manifest.head.object(&largest.sha256));
    let good = fs::read(&object).unwrap();
    let damages: [(&str, &dyn Fn()); 3] = [
        ("bytes instead of", &|| fs::write(&object, &good[..good.len() / 2]).unwrap()),
        ("is not what was put there", &|| {
            let mut bad = good.clone();
            bad[good.len() / 2] ^= 1;
            fs::write(&object, bad).unwrap();
        }),
        ("is missing", &|| fs::remove_file(&object).unwrap()),
    ];
    for (said, damage) in damages {
        damage();
        let verified = repository.verify(&made.id, &Progress::default()).unwrap();
        assert_eq!(verified.damaged.len(), 1, "{said}");
        assert!(verified.damaged[0].contains(said), "{verified:?}");
        let error = w.restore(&repository, &made.id).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("backup verify"), "{error}");
        assert!(!Store::exists(&w.at("restored")));
    }
    // The next attempt is not in the way of the one that failed; nor is the next backup.
    let again = w.whole(&repository, NOW + 1).unwrap();
    assert_eq!(again.brought, good.len() as u64);
    assert!(has(&w.restore(&repository, &made.id).unwrap(), 99), "it is whole again");
    assert_eq!(
        objects(&w.at("restored")).iter().filter(|p| p.ends_with("restore.part")).count(),
        0
    );
    // A manifest that was cut or changed is none.
    let manifest = w.at("backups").join(made.id.key());
    let bytes = fs::read(&manifest).unwrap();
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&manifest, &bytes[..cut]).unwrap();
        let listed = repository.list().unwrap();
        assert!(listed[0].has.is_none() && listed[0].error.is_some(), "{cut}");
        assert!(listed[1].has.is_some());
    }
    let text = String::from_utf8(bytes).unwrap();
    fs::write(&manifest, text.replacen("\"format\":", "\"format\": ", 1)).unwrap();
    assert!(repository.manifest(&made.id).is_err());
}

#[tokio::test]
async fn only_who_has_the_identity_reads_it() {
    let w = World::new();
    w.put(0..50).await;
    let (mine, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let key_file = |name: &str, identity: &age::x25519::Identity| {
        let file = w.at(name);
        let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        fs::write(&file, format!("# made today\n{secret}\n")).unwrap();
        Identities::read(&file).unwrap()
    };
    let to = |recipients: &[String]| Repository {
        recipients: Some(Recipients::parse(recipients).unwrap()),
        ..w.repository()
    };
    let signing_key = w.at("the_key");
    fs::write(&signing_key, "secret of the server").unwrap();
    let keys = [("signing_key", signing_key)];
    let pin = w.store.pin().unwrap();
    let public = mine.to_public().to_string();
    let repository = to(std::slice::from_ref(&public));
    let made = repository.whole(&pin, &keys, NOW, &Progress::default()).unwrap();
    assert!(made.keys && made.brought > 0);
    for object in objects(&w.at("backups/objects")) {
        let mut head = [0; 21];
        fs::File::open(object).unwrap().read_exact(&mut head).unwrap();
        assert_eq!(&head, b"age-encryption.org/v1");
    }
    // The next one is to the same, and brings nothing but what is new.
    let again = repository.whole(&pin, &keys, NOW + 1, &Progress::default()).unwrap();
    assert_eq!(again.brought, 0);
    let looked_at = repository.verify(&made.id, &Progress::default()).unwrap();
    assert!(!looked_at.contents && looked_at.damaged.is_empty());
    let error = w.restore(&repository, &made.id).unwrap_err().to_string();
    assert!(error.contains("--identity"), "{error}");
    let wrong = to(std::slice::from_ref(&public)).with_identities(Some(key_file("wrong", &other)));
    let error = w.restore(&wrong, &made.id).unwrap_err().to_string();
    assert!(error.contains("another key") && error.contains("wrong"), "{error}");
    assert!(!Store::exists(&w.at("restored")));
    let right = to(&[public]).with_identities(Some(key_file("right", &mine)));
    assert!(right.verify(&made.id, &Progress::default()).unwrap().contents);
    let back = w.at("back");
    let to_keys = |name: &str| (name == "signing_key").then(|| back.clone());
    let mut open = |path: &Path| Ok(Store::open(path, BUDGET).map(drop)?);
    let restored = w.at("restored");
    restore_whole(&right, &made.id, &restored, &to_keys, &mut open, &Progress::default()).unwrap();
    assert!(has(&Store::open(&restored, BUDGET).unwrap(), 49));
    assert_eq!(fs::read_to_string(&back).unwrap(), "secret of the server");
    // Of one that is not encrypted they are no part.
    let plain = w.repository().whole(&pin, &keys, NOW + 2, &Progress::default()).unwrap();
    assert!(!plain.keys);
    for object in objects(&w.at("backups/objects")) {
        let bytes = fs::read(&object).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "{}", object.display());
    }
    // A piece that was changed is found out before anything is made of it.
    let manifest = right.manifest(&made.id).unwrap();
    let object = w.at("backups").join(manifest.head.object(&manifest.files[1].sha256));
    let mut bytes = fs::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&object, bytes).unwrap();
    let damaged = right.verify(&made.id, &Progress::default()).unwrap().damaged;
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    for text in ["", "age1", "ssh-ed25519 AAAA"] {
        assert!(Recipients::parse(&[text.to_owned()]).is_err());
    }
}

#[tokio::test]
async fn a_newer_format_and_paths_outside_are_refused() {
    let w = World::new();
    let repository = w.repository();
    w.put(0..5).await;
    let made = w.whole(&repository, NOW).unwrap();
    let good = repository.manifest(&made.id).unwrap();
    let put = |manifest: &Manifest| {
        let (id, bytes) = manifest.encode().unwrap();
        repository.place.put(&id.key(), &mut bytes.as_slice()).unwrap();
        id
    };
    let head = Head { format: FORMAT + 1, aerie: "9.9.9".to_owned(), ..good.head.clone() };
    let newer = put(&Manifest { head, ..good.clone() });
    let error = w.restore(&repository, &newer).unwrap_err().to_string();
    assert!(error.contains("9.9.9") && error.contains("newer"), "{error}");
    assert!(!w.at("restored").exists(), "nothing was begun");
    for path in
        ["../outside", "/etc/passwd", "db/../../outside", "db/keyspaces/1/tables/x", "keys/a"]
    {
        let mut files = good.files.clone();
        files.push(Entry { path: path.to_owned(), ..files[0].clone() });
        let evil = put(&Manifest { files, ..good.clone() });
        let error = w.restore(&repository, &evil).unwrap_err().to_string();
        assert!(error.contains("none of a store is"), "{path}: {error}");
        assert!(!w.at("outside").exists() && !Store::exists(&w.at("restored")));
    }
    // What belongs to somebody is not written into.
    fs::write(w.at("restored/notes.txt"), "mine").unwrap();
    let error = w.restore(&repository, &made.id).unwrap_err().to_string();
    assert!(error.contains("notes.txt"), "{error}");
    fs::remove_file(w.at("restored/notes.txt")).unwrap();
    assert!(has(&w.restore(&repository, &made.id).unwrap(), 4));
}

#[tokio::test]
async fn old_ones_go_but_never_the_last_good_one() {
    let w = World::new();
    let repository = w.repository();
    let mut made = Vec::new();
    for day in 0..5 {
        w.put(day * 10..day * 10 + 10).await;
        made.push(w.whole(&repository, NOW + i64::from(day) * DAY).unwrap().id);
    }
    let now = NOW + 5 * DAY;
    let keep = |count, days| Keep { count, age: days * DAY + 1 };
    let ids = || repository.ids().unwrap();
    let dry = repository.prune(keep(2, 0), now, true).unwrap();
    assert_eq!((dry.removed.as_slice(), ids().len()), (&made[..3], 5));
    assert!(dry.objects > 0);
    assert_eq!(repository.prune(keep(1, 3), now, false).unwrap().removed, made[..2].to_vec());
    assert_eq!(ids(), made[2..]);
    // While one is under way no object goes.
    repository.place.put("pending/a", &mut format!("{now}\n").as_bytes()).unwrap();
    let before = objects(&w.at("backups/objects"));
    let pruned = repository.prune(keep(2, 0), now + 1, false).unwrap();
    assert_eq!((pruned.removed.len(), pruned.objects), (1, 0));
    assert!(pruned.waits.is_some() && objects(&w.at("backups/objects")) == before);
    // A killed one's mark counts for a while only; what it brought goes, and what it had begun to write.
    repository.place.put("objects/ab/ab", &mut b"brought for nothing".as_slice()).unwrap();
    fs::create_dir_all(w.at("backups/tmp")).unwrap();
    fs::File::create(w.at("backups/tmp/1-2")).unwrap().write_all(b"begun").unwrap();
    let pruned = repository.prune(keep(2, 0), now + DAY, false).unwrap();
    assert!(pruned.waits.is_none() && pruned.objects >= 2, "{pruned:?}");
    assert!(!w.at("backups/objects/ab/ab").exists() && !w.at("backups/tmp").exists());
    for id in ids() {
        assert!(repository.verify(&id, &Progress::default()).unwrap().damaged.is_empty());
    }
    // The newest lost an object: the one before it is the last good one.
    let newest = repository.manifest(&made[4]).unwrap();
    let older = repository.manifest(&made[3]).unwrap();
    let own = newest.files.iter().find(|f| older.files.iter().all(|o| o.sha256 != f.sha256));
    fs::remove_file(w.at("backups").join(newest.head.object(&own.unwrap().sha256))).unwrap();
    assert_eq!(repository.prune(keep(1, 0), now + 9 * DAY, false).unwrap().removed, []);
    assert!(repository.verify(&made[3], &Progress::default()).unwrap().damaged.is_empty());
    // Once there is a better one, it and what is older go.
    w.whole(&repository, now + 9 * DAY).unwrap();
    assert_eq!(repository.prune(keep(1, 0), now + 9 * DAY, false).unwrap().removed, made[3..]);
}

#[tokio::test]
async fn private_state_is_backed_up_alone() {
    use crate::private::{Kind as PrivateKind, testing};
    let w = World::new();
    let repository = w.repository();
    let scratch = w.at("scratch");
    let make = |now| repository.private(&w.store, FORMAT, &scratch, now, &Progress::default());
    assert!(matches!(make(NOW), Err(BackupError::Nothing)));
    let seen = |tx: &mut Tx<'_>| {
        let viewer = tx.intern_actor("did:plc:a")?;
        testing::put(tx, PrivateKind::Seen, viewer, None, NOW)
    };
    w.writer.durable(seen).await.unwrap();
    let made = make(NOW).unwrap();
    assert!(!scratch.exists() && made.id.kind() == Kind::Private);
    let file = w.at("back.jsonl");
    restore_private(&repository, &made.id, &file, &Progress::default()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("\"seen\"") && text.ends_with("{\"kind\":\"end\",\"rows\":1}\n"),
        "{text}"
    );
    let whole = w.whole(&repository, NOW + 1).unwrap().id;
    assert!(restore_private(&repository, &whole, &file, &Progress::default()).is_err());
    assert!(w.restore(&repository, &made.id).is_err());
    assert_eq!(repository.find(None, Kind::Private).unwrap(), made.id);
}
