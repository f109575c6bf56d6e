//! What a server makes on disk: who may read it, and what happens when it is gone.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use server::{Aerie, POST_TEXT, did, now, posts, posts_of, serve_documents};

fn settings(data: &Path) -> String {
    format!(
        "[store]\npath = {data:?}\nmemory_budget = \"64MB\"\n\
         [network]\nupstreams = []\nplc_url = \"http://127.0.0.1:9\"\n"
    )
}

/// What others may read or write of all that is in the folder.
fn open_to_others(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        seen += 1;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            found.push(format!("{} {mode:o}", path.display()));
        }
        if metadata.is_dir() {
            seen += open_to_others(&path, found);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_makes_is_its_own_users_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // Made by somebody who thought nothing of it.
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let aerie = Aerie::start(dir.path().join("aerie.toml"), &settings(&data)).await;
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let mut found = Vec::new();
    assert!(open_to_others(&data, &mut found) > 20);
    assert_eq!(found, Vec::<String>::new());
    let log = aerie.log();
    assert!(log.contains("was open to others (mode 755)"), "{log}");
    // So is the configuration of this test, with the password in it.
    assert!(log.contains("a secret in a file that everybody may read"), "{log}");
    aerie.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_not_made_anew_unless_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (config, text) = (dir.path().join("aerie.toml"), settings(&data));
    Aerie::start(config.clone(), &text).await.stop();
    let away = dir.path().join("away");
    fs::rename(&data, &away).unwrap();
    for empty in [false, true] {
        if empty {
            // What a lost mount leaves.
            fs::create_dir(&data).unwrap();
        }
        let aerie = Aerie::launch(config.clone(), &text, &[], &[]);
        assert_eq!(aerie.code(30).await, Some(78), "{}", aerie.log());
        let log = aerie.log();
        assert!(log.contains("--new-store") && log.contains("mounted"), "{log}");
        assert!(!data.join("signing_key").exists() && !data.join("db").exists());
    }
    fs::remove_dir(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    Aerie::start(config.clone(), &text).await.stop();
    fs::rename(&data, &away).unwrap();
    let aerie = Aerie::launch(config, &text, &["--new-store"], &[]);
    aerie.serves().await;
    aerie.stop();
}

const EVENTS: u64 = 200;
const ACCOUNTS: u64 = 5;
/// Numbers of keyspaces in the order of the table.
const NAMES: u32 = 2;
const PRIVATE: u32 = 14;

/// All posts are there, and the one member.
async fn all_is_there(aerie: &Aerie) -> bool {
    let mut sum = 0;
    for n in 0..ACCOUNTS {
        sum += posts_of(aerie, n).await;
    }
    sum == EVENTS && aerie.status().await["members"] == 1
}

fn only_table(data: &Path, keyspace: u32) -> PathBuf {
    let tables = data.join(format!("db/keyspaces/{keyspace}/tables"));
    let mut tables: Vec<_> = fs::read_dir(tables).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!tables.is_empty(), "{keyspace}");
    tables.remove(0)
}

/// The folder and the configuration of a store with posts and a member, of which private state was exported.
async fn filled(dir: &tempfile::TempDir) -> (PathBuf, String) {
    // Of some minutes ago.
    let upstream = posts(now() - 600_000_000, EVENTS, ACCOUNTS, POST_TEXT).await;
    let (documents, _) = serve_documents().await;
    let data = dir.path().join("data");
    let text = format!(
        "[store]\npath = {data:?}\nmemory_budget = \"64MB\"\nreserve_file = \"0\"\n\
         [network]\nupstreams = []\njetstream = [{upstream:?}]\nplc_url = {documents:?}\n\
         allow_private_addresses = true\nfetch_on_read = false\n",
    );
    let start = async || Aerie::start(dir.path().join("aerie.toml"), &text).await;
    let aerie = start().await;
    aerie.command(&["member", "add", &did(0)]);
    let all = async || all_is_there(&aerie).await;
    aerie.until("all is there", 60, all).await;
    aerie.stop();
    drop(aerie);
    // A start exports what today was not exported.
    let aerie = start().await;
    let exported = async || aerie.status().await["exports"]["files"] == 1;
    aerie.until("private state is exported", 30, exported).await;
    aerie.stop();
    (data, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_names_its_file_and_opens_after_the_repair_with_private_state() {
    let dir = tempfile::tempdir().unwrap();
    let (data, text) = filled(&dir).await;
    let start = async || Aerie::start(dir.path().join("aerie.toml"), &text).await;

    let cut = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    };
    for (what, said) in [
        ("private state", "private_1"),
        ("the list of tables of names", "names_1"),
        ("names themselves", "names_1"),
    ] {
        let file = match what {
            "private state" => only_table(&data, PRIVATE),
            "names themselves" => only_table(&data, NAMES),
            _ => data.join(format!("db/keyspaces/{NAMES}/current")),
        };
        if file.ends_with("current") {
            fs::remove_file(&file).unwrap()
        } else {
            cut(&file)
        }
        let aerie = Aerie::launch(dir.path().join("aerie.toml"), &text, &[], &[]);
        assert_eq!(aerie.code(30).await, Some(78), "{what}: {}", aerie.log());
        let log = aerie.log();
        assert!(log.contains(file.to_str().unwrap()) && log.contains("aerie db repair"), "{log}");
        let report = aerie.command(&["db", "repair"]);
        assert!(report.contains(&format!("damaged: {}", file.display())), "{what}: {report}");
        assert!(report.contains(said), "{what}: {report}");
        drop(aerie);
        let aerie = start().await;
        let all = async || all_is_there(&aerie).await;
        aerie.until(&format!("all is there after the repair of {what}:\n{report}"), 60, all).await;
        aerie.stop();
        aerie.command(&["db", "check", "--full"]);
        let report = aerie.command(&["db", "repair"]);
        assert!(report.contains("no file is damaged"), "{report}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
    Remove,
}

fn damage(file: &Path, how: Damage) {
    let bytes = fs::read(file).unwrap();
    match how {
        Damage::Flip => {
            let mut bytes = bytes;
            // Journals have room for more behind what they hold.
            let len = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            if let Some(byte) = bytes.get_mut(len / 2) {
                *byte ^= 0x10;
            }
            fs::write(file, bytes).unwrap();
        }
        Damage::Cut => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
        Damage::Remove => fs::remove_file(file).unwrap(),
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
}

/// The exit code of a command and what it says.
fn run(config: &Path, args: &[&str]) -> (Option<i32>, String) {
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_aerie"))
        .args(args)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let (out, err) = (&ended.stdout, &ended.stderr);
    let text = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    (ended.status.code(), text)
}

/// Damages one file of a copy of the store, and repairs that.
fn damaged_and_repaired(base: &Path, folder: &Path, name: &Path, how: Damage) {
    let context = format!("{} {how:?}", name.display());
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).unwrap();
    let data = folder.join("data");
    let copied = std::process::Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([base, &data])
        .status();
    assert!(copied.unwrap().success());
    let config = folder.join("aerie.toml");
    fs::write(&config, settings(&data)).unwrap();
    let file = data.join(name);
    damage(&file, how);
    let (code, said) = run(&config, &["db", "check"]);
    if code != Some(0) {
        // Of a keyspace without a list the list is named, and of a list what names it.
        let place = file.parent().unwrap().to_str().unwrap();
        assert!(said.contains(place) && said.contains("aerie db repair"), "{context}: {said}");
    }
    let (code, repaired) = run(&config, &["db", "repair"]);
    assert_eq!(code, Some(0), "{context}: {repaired}");
    let context = format!("{context}: {said}\n{repaired}");
    let (code, said) = run(&config, &["db", "check", "--full"]);
    assert_eq!(code, Some(0), "{context}: {said}");
    let (code, private) = run(&config, &["private", "export"]);
    assert!(code == Some(0) && private.contains("\"kind\":\"member\""), "{context}: {private}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_file_is_damaged_the_repair_opens_the_store_and_private_state_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = filled(&dir).await;
    let mut all = vec![data.join("format")];
    files(&data.join("db"), &mut all);
    all.sort();
    // Of keyspaces without a table one is enough.
    let is_empty = |file: &PathBuf| {
        let folder = file.strip_prefix(data.join("db/keyspaces")).ok()?.iter().next()?;
        let tables = data.join("db/keyspaces").join(folder).join("tables");
        Some(fs::read_dir(tables).ok()?.next().is_none())
    };
    let empty = all.iter().find(|file| is_empty(file) == Some(true)).and_then(|file| file.parent());
    let empty = empty.map(Path::to_owned);
    all.retain(|file| is_empty(file) != Some(true) || file.parent() == empty.as_deref());
    let cases: Vec<(PathBuf, Damage)> = all
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(&data).unwrap();
            [Damage::Flip, Damage::Cut, Damage::Remove].map(|how| (name.to_owned(), how))
        })
        .collect();
    assert!(cases.len() > 60, "{}", cases.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let folder = dir.path().join(format!("worker{worker}"));
            let (cases, next, data) = (&cases, &next, &data);
            scope.spawn(move || {
                while let Some((name, how)) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    damaged_and_repaired(data, &folder, name, *how);
                }
            });
        }
    });
}
