//! A server whose clock is wrong: it says so, takes nothing in and nothing away, and goes on by itself once the clock is
//! right.

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
use std::process::Command;
use std::sync::Arc;

use server::{Aerie, POST_TEXT, now, posts, posts_of, serve_documents};

const ACCOUNTS: u64 = 5;
const EVENTS: u64 = 200;
const MINUTES: u64 = 600_000_000;
const TEN_YEARS: i64 = 3650 * 86_400;
const WEEK: i64 = 7 * 86_400;

struct World {
    dir: tempfile::TempDir,
    text: String,
}

impl World {
    async fn new(documents: &str, webhook: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let upstream = posts(now() - MINUTES, EVENTS, ACCOUNTS, POST_TEXT).await;
        let text = format!(
            "[store]\npath = {:?}\nmemory_budget = \"64MB\"\nreserve_file = \"0\"\n\
             [network]\nupstreams = []\njetstream = [{upstream:?}]\nplc_url = {documents:?}\n\
             allow_private_addresses = true\nfetch_on_read = false\n\
             [scope]\nmode = \"window\"\ndays = 30\n{webhook}",
            dir.path().join("data"),
        );
        Self { dir, text }
    }

    /// Starts it with a clock that is wrong by so many seconds.
    async fn start(&self, wrong_by: i64) -> Arc<Aerie> {
        self.shift(wrong_by);
        let file = self.dir.path().join("shift");
        let args = ["--shift-clock", file.to_str().unwrap()];
        let aerie = Aerie::launch(self.dir.path().join("aerie.toml"), &self.text, &args, &[]);
        aerie.serves().await;
        aerie
    }

    fn shift(&self, wrong_by: i64) {
        // At once, so that nobody reads half of it.
        let (new, file) = (self.dir.path().join("new"), self.dir.path().join("shift"));
        fs::write(&new, wrong_by.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }
}

async fn held(aerie: &Aerie) -> u64 {
    let mut sum = 0;
    for n in 0..ACCOUNTS {
        sum += posts_of(aerie, n).await;
    }
    sum
}

async fn until_held(aerie: &Aerie) {
    let all = async || held(aerie).await == EVENTS;
    aerie.until("all is there", 60, all).await;
}

async fn until_state(aerie: &Aerie, state: &str, ready: u16) -> String {
    let is = async || {
        aerie.status().await["clock"]["state"] == state
            && aerie.ask("GET /readyz", "").await.0 == ready
    };
    aerie.until(&format!("the clock is {state}"), 60, is).await;
    aerie.status().await["ingest"].as_str().unwrap().to_owned()
}

/// What the command says that is refused.
fn refused(aerie: &Aerie, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
    let ended = command.args(args).arg("--config").arg(&aerie.config).output().unwrap();
    assert!(!ended.status.success(), "{args:?}");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_servers_contradict_lets_everything_wait() {
    let (documents, told) = serve_documents().await;
    let webhook = format!("[alerts]\nwebhook = \"{documents}/hook\"\n");
    let world = World::new(&documents, &webhook).await;
    let aerie = world.start(0).await;
    until_held(&aerie).await;
    assert_eq!(until_state(&aerie, "good", 200).await, "running");
    aerie.stop();
    drop(aerie);

    let aerie = world.start(TEN_YEARS).await;
    // From the first moment on: nothing came in before somebody looked.
    let ingest = until_state(&aerie, "ahead", 503).await;
    assert!(
        ingest.starts_with("stopped: the clock of this machine is 3650 days ahead of"),
        "{ingest}"
    );
    let why = refused(&aerie, &["retention", "run"]);
    assert!(why.contains("3650 days ahead") && why.contains("--trust-clock"), "{why}");
    assert_eq!(held(&aerie).await, EVENTS);
    let status = aerie.status().await;
    assert!(status["scope"]["waits"].as_str().unwrap().contains("ahead"), "{status}");

    world.shift(0);
    assert_eq!(until_state(&aerie, "good", 200).await, "running");
    // It leaps back.
    world.shift(-WEEK);
    let ingest = until_state(&aerie, "behind", 503).await;
    assert!(ingest.contains("7 days behind"), "{ingest}");
    world.shift(0);
    assert_eq!(until_state(&aerie, "good", 200).await, "running");
    assert_eq!(held(&aerie).await, EVENTS);
    let states = || {
        let told = told.lock();
        let clock = told.iter().filter(|event| event["event"] == "clock");
        clock.map(|event| event["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = async || states() == ["ahead", "good", "behind", "good"];
    aerie.until("the operator was told", 30, all).await;
    aerie.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_nobody_confirms_deletes_nothing_after_it_leapt() {
    let world = World::new("http://127.0.0.1:9", "").await;
    let aerie = world.start(0).await;
    until_held(&aerie).await;
    aerie.stop();
    drop(aerie);
    let aerie = world.start(TEN_YEARS).await;
    // All that comes would be too old for the window.
    let ingest = until_state(&aerie, "unsure", 503).await;
    assert!(ingest.starts_with("stopped: ") && ingest.contains("3650 days ahead"), "{ingest}");
    let why = refused(&aerie, &["retention", "run"]);
    assert!(why.contains("3650 days ahead"), "{why}");
    world.shift(0);
    assert_eq!(until_state(&aerie, "good", 200).await, "running");
    assert_eq!(held(&aerie).await, EVENTS);
    aerie.stop();
}
