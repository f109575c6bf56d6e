//! Backups of a server at work: made while events come in, put back, and gone on from; killed at any instant.

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
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{Aerie, now, posts, posts_of, serve_documents};

const ACCOUNTS: u64 = 20;
/// Kills of each kind.
const ROUNDS: usize = 20;

/// A configuration of a store and of a place for its backups. Nothing is backed up by itself.
fn settings(data: &Path, jetstream: &str, plc: &str, rate: &str) -> String {
    let place = data.with_file_name("backups");
    format!(
        "[store]\npath = {data:?}\nmemory_budget = \"64MB\"\n\
         [network]\nupstreams = []\njetstream = [{jetstream:?}]\nplc_url = {plc:?}\nallow_private_addresses = true\n\
         [backup]\nwhere = {place:?}\nevery = \"0s\"\nprivate = \"0s\"\nrate = {rate:?}\n"
    )
}

fn aerie(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
    command.args(args).arg("--config").arg(config).stdin(Stdio::null());
    command
}

fn run(config: &Path, args: &[&str]) -> Output {
    aerie(config, args).output().unwrap()
}

fn said(config: &Path, args: &[&str]) -> Value {
    let ended = run(config, args);
    assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let mut found = Vec::new();
    files(folder, &mut found);
    found.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_backed_up_under_load_is_restored_and_goes_on() {
    const POSTS: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let (plc, _) = serve_documents().await;
    let stream = posts(now() - 10 * POSTS, POSTS, ACCOUNTS, "hi").await;
    let data = dir.path().join("data");
    let text = settings(&data, &stream, &plc, "0");
    let server = Aerie::start(dir.path().join("aerie.toml"), &text).await;
    server.until("events come in", 60, async || posts_of(&server, 0).await > 10).await;
    let (mut made, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        counts.push(posts_of(&server, 0).await);
        let one = said(&server.config, &["backup", "create", "--json"]);
        assert!(one["pause_ms"].as_u64().unwrap() < 1000, "{one}");
        made.push(one["id"].as_str().unwrap().to_owned());
    }
    let status = server.status().await;
    assert_eq!(status["backup"]["whole"]["last"]["id"], made[1].as_str());
    let all = async || posts_of(&server, ACCOUNTS - 1).await >= POSTS / ACCOUNTS;
    server.until("all of it is in", 120, all).await;
    // Of the server itself nothing is lost or different.
    let expected = posts_of(&server, 7).await;
    assert_eq!(expected, POSTS / ACCOUNTS);
    let rows = |status: &Value| status["store"]["rows"]["post_1"].as_u64().unwrap();
    let rows_of_all = rows(&server.status().await);
    let last = said(&server.config, &["backup", "create", "--json"]);
    made.push(last["id"].as_str().unwrap().to_owned());
    server.stop();
    let config = dir.path().join("aerie.toml");
    for (n, id) in made.iter().enumerate() {
        let verified = said(&config, &["backup", "verify", id, "--json"]);
        assert_eq!(
            (&verified["contents"], verified["damaged"].as_array().unwrap().len()),
            (&true.into(), 0)
        );
        let (to, other) =
            (dir.path().join(format!("restored-{n}")), dir.path().join(format!("{n}.toml")));
        let text = settings(&to, &stream, &plc, "0");
        fs::write(&other, &text).unwrap();
        said(&other, &["backup", "restore", id, "--json"]);
        assert!(!to.join("restore.part").exists());
        let checked = said(&other, &["db", "check", "--json"]);
        assert_eq!(checked["clean"], true, "{checked:#}");
        let again = Aerie::start(other, &text).await;
        // What was there when it was made is there, and what came later comes again.
        let had = posts_of(&again, 0).await;
        assert!(counts.get(n).is_none_or(|count| had >= *count), "{had} of {counts:?}");
        again.until("it goes on", 120, async || posts_of(&again, 7).await >= expected).await;
        assert_eq!(posts_of(&again, 7).await, expected, "nothing counts twice");
        if n == counts.len() {
            assert_eq!(rows(&again.status().await), rows_of_all);
        }
        again.stop();
        let checked = said(&again.config, &["db", "check", "--json"]);
        assert_eq!(checked["clean"], true, "{checked:#}");
    }
}

/// A store with something in it, whose server is stopped, and its configuration.
async fn filled(dir: &Path, rate: &str) -> PathBuf {
    const POSTS: u64 = 15_000;
    let (plc, _) = serve_documents().await;
    let stream = posts(now() - 10 * POSTS, POSTS, ACCOUNTS, "hi").await;
    let config = dir.join("aerie.toml");
    let text = settings(&dir.join("data"), &stream, &plc, rate);
    let server = Aerie::start(config.clone(), &text).await;
    let all = async || posts_of(&server, ACCOUNTS - 1).await >= POSTS / ACCOUNTS;
    server.until("all of it is in", 120, all).await;
    server.stop();
    config
}

/// Runs a command and kills it once there are so many bytes in a folder, unless it ends before.
fn kill_at(config: &Path, args: &[&str], folder: &Path, bytes: u64) -> bool {
    let mut child =
        aerie(config, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < end, "it neither ends nor gets on");
        if bytes_in(folder) >= bytes {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
    }
}

/// Every backup that is listed as good is good.
fn all_good(config: &Path) -> usize {
    let listed = said(config, &["backup", "list", "--json"]);
    let listed = listed.as_array().unwrap();
    for backup in listed {
        assert!(backup["error"].is_null(), "{backup}");
        let id = backup["id"].as_str().unwrap();
        let verified = said(config, &["backup", "verify", id, "--json"]);
        assert_eq!(verified["damaged"].as_array().unwrap().len(), 0, "{verified}");
    }
    listed.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_it_leaves_no_backup_that_is_not_good() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(dir.path(), "8MB").await;
    let place = dir.path().join("backups");
    let size = bytes_in(&dir.path().join("data/db/keyspaces"));
    let mut killed = 0;
    for round in 0..ROUNDS {
        // Each has to begin anew, or nothing would be left to be brought.
        let _ = fs::remove_dir_all(place.join("objects"));
        let at = size * round as u64 / ROUNDS as u64;
        if kill_at(&config, &["backup", "create"], &place, at) {
            killed += 1;
            let listed = said(&config, &["backup", "list", "--json"]);
            assert_eq!(listed.as_array().unwrap().len(), 0, "round {round}: {listed}");
        } else {
            assert_eq!(all_good(&config), 1);
            fs::remove_dir_all(&place).unwrap();
        }
    }
    assert!(killed > ROUNDS / 2, "{killed}");
    said(&config, &["backup", "create", "--json"]);
    assert_eq!(all_good(&config), 1);
    // Nothing that was begun stays once the marks of the dead count no more; until then it is kept for them.
    let pruned = said(&config, &["backup", "prune", "--json"]);
    assert!(pruned["removed"].as_array().unwrap().is_empty() && pruned["waits"].is_string());
    fs::remove_dir_all(place.join("pending")).unwrap();
    let pruned = said(&config, &["backup", "prune", "--json"]);
    assert!(pruned["waits"].is_null(), "{pruned}");
    assert!(!place.join("tmp").exists());
    assert_eq!(all_good(&config), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_is_no_store_and_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(dir.path(), "0").await;
    let made = said(&config, &["backup", "create", "--json"]);
    let size = made["bytes"].as_u64().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    let refused = run(&config, &["backup", "restore"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("move that folder away"), "{words}");
    fs::rename(&data, &aside).unwrap();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let at = size * (round as u64 + 1) / ROUNDS as u64;
        if kill_at(&config, &["backup", "restore"], &data, at) && !data.join("db").exists() {
            killed += 1;
        } else {
            // It was quick: it is whole then.
            assert_eq!(said(&config, &["db", "check", "--json"])["clean"], true);
            fs::remove_dir_all(&data).unwrap();
        }
    }
    assert!(killed > ROUNDS / 4, "{killed}");
    let _ = fs::remove_dir_all(data.join("db"));
    said(&config, &["backup", "restore", "--json"]);
    let rows = |data: &Path| {
        let text = fs::read_to_string(&config).unwrap();
        let config = dir.path().join("other.toml");
        let old = dir.path().join("data").display().to_string();
        fs::write(&config, text.replace(&old, &data.display().to_string())).unwrap();
        let checked = said(&config, &["db", "check", "--full", "--json"]);
        assert_eq!(checked["clean"], true, "{checked:#}");
        checked["rows"].clone()
    };
    assert_eq!(rows(&data), rows(&aside), "it is what was backed up");
}
