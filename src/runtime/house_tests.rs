//! All parts of a server, made as `aerie serve` makes them, without a network.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::supervisor::Supervisor;
use super::*;
use crate::limits::Client;
use crate::xrpc::Line;

/// A configuration that reaches nobody.
fn config(dir: &tempfile::TempDir) -> Config {
    let file = dir.path().join("config.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[network]\nupstreams = []\n\
         [store]\npath = {:?}\nmemory_budget = \"64MB\"\n",
        dir.path().join("data")
    );
    std::fs::write(&file, text).unwrap();
    config::load(&config::Sources { file: Some(file), env: Vec::new() }).unwrap()
}

async fn house(dir: &tempfile::TempDir) -> (House, Config) {
    let config = config(dir);
    (House::build(&config, &Flags::default(), Manager::default()).await.unwrap(), config)
}

async fn stop(house: &House) {
    Supervisor::start(&house.parts, house.stop.clone()).stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_reload_is_to_take_over_is_taken_over_by_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let (house, config) = house(&dir).await;
    assert_eq!(house.reload_and_compare(&config), Vec::<&str>::new());
    let known: BTreeSet<&str> = config::reloaded_keys().collect();
    let claimed = house.parts.reload(&config);
    assert!(claimed.is_subset(&known), "the table does not say so of all of {claimed:?}");
    stop(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_names_of_their_own_and_all_are_in_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let (house, _) = house(&dir).await;
    let status = house.board.read();
    let parts = status["parts"].as_array().unwrap();
    let names: Vec<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert!(names.len() == 25 && once.len() == 25, "{names:?}");
    assert!(parts.iter().all(|part| part["state"] == "running" && part["restarts"] == 0));
    assert_eq!(house.parts.ready(), Ok(()), "there is nothing to follow");
    stop(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_how_many_requests_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (house, _) = house(&dir).await;
    let ctx = &house.ctx;
    let waiting = || house.board.read()["requests_waiting"].as_u64();
    assert_eq!(waiting(), Some(0));
    let (release, gate) = flume::bounded::<()>(0);
    let more = std::thread::available_parallelism().map_or(2, |n| n.get().max(2)) + 3;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..more {
        let (ctx, gate) = (Arc::clone(ctx), gate.clone());
        let line = Line { client: Client::Own, spared: true, first: false };
        asked.spawn(async move { ctx.blocking(line, move || gate.recv().is_ok()).await });
    }
    for _ in 0..1000 {
        if waiting() == Some(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(waiting(), Some(3));
    drop(release);
    asked.join_all().await;
    stop(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_fail_make_the_server_not_ready_until_they_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let (house, config) = house(&dir).await;
    let reads = ReadsPart {
        store: house.board.store.clone(),
        own_did: config.server.did,
        fails: Mutex::default(),
    };
    reads.look(None, 0);
    assert_eq!(reads.ready(), Ok(()));
    reads.look(Some(StoreError::Closed), 0);
    assert_eq!(reads.ready(), Err("reads fail: store: the writer has stopped".to_owned()));
    reads.look(None, 2);
    assert_eq!(reads.ready(), Err("reads fail: 2 times lately: see the log".to_owned()));
    reads.look(None, 0);
    assert_eq!(reads.ready(), Ok(()));
    stop(&house).await;
}
