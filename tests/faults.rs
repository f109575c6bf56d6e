//! A disk that fails at any one moment: an acknowledged write is there afterwards, and the store opens, or says which file
//! is to blame and what to do.
//!
//! A library that is compiled here and loaded into a child stands between it and the system, and lets one call fail: a
//! `fsync` with EIO, a write for lack of space, by half or torn at the end of the process, a read with a flipped bit, or
//! the process at any of these calls. The child is this program itself, which writes private state and says of each
//! change when it was acknowledged; and the command that imports it. `AERIE_FAULTS=all` tries every call instead of some.
//! A server of which all reads fail says so.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test: a panic is its failure"
)]

#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aerie::index::check::{Options, check};
use aerie::private::mutes::{Mute, mute, mute_account};
use aerie::private::portable::page;
use aerie::private::{Private, Time};
use aerie::schema::{Rows as _, migrations};
use aerie::store::{Store, StoreError, Writer, salvage};
use server::Aerie;

const BUDGET: u64 = 64 << 20;
const VIEWER: &str = "did:plc:viewer";
/// Changes before the child, and by it.
const BEFORE: u32 = 40;
const MADE: u32 = 24;
/// The child writes tables after so many changes.
const TABLES_EVERY: u32 = 8;

/// Calls of one kind that fail in turn, if not all of them.
const SOME: u64 = 14;

const KINDS: &[(&str, &str)] = &[
    ("sync", "eio"),
    ("write", "enospc"),
    ("write", "short"),
    ("write", "torn"),
    ("read", "eio"),
    ("read", "flip"),
    ("any", "exit"),
];

fn subject(n: u32) -> String {
    format!("did:plc:subject{n}")
}

/// A mute of its own for each number.
async fn change(private: &Private, n: u32) -> Result<(), StoreError> {
    let new = Mute { at: i64::from(n) + 1, ..Mute::default() };
    private.change(move |r| mute_account(r, VIEWER, &subject(n), new)).await
}

fn open(folder: &Path) -> Result<Store, StoreError> {
    migrations::open(folder, BUDGET, &mut |_| {})
}

/// Writes the changes from `from` on, and tells each that is on disk.
async fn write(folder: &Path, numbers: std::ops::Range<u32>) -> Result<(), StoreError> {
    let store = open(folder)?;
    let (writer, thread) = Writer::start(store.clone()).unwrap();
    let private = Private::new(writer.clone(), Arc::new(()));
    for n in numbers {
        change(&private, n).await?;
        println!("acknowledged {n}");
        std::io::stdout().flush().unwrap();
        if (n + 1) % TABLES_EVERY == 0 {
            store.compact(|_| {})?;
        }
    }
    writer.stop().await;
    drop((private, writer));
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
}

/// Not a test: what the child does, in a folder that a variable names.
#[tokio::test]
#[ignore = "it is the child of the other"]
async fn child() {
    let folder = std::env::var_os("AERIE_FAULTS_IN").expect("started by the other test");
    if let Err(error) = write(Path::new(&folder), BEFORE..BEFORE + MADE).await {
        println!("failed: {error}");
    }
}

struct Shim {
    library: PathBuf,
    told: PathBuf,
}

impl Shim {
    /// None where nothing can be compiled.
    fn compile(dir: &Path) -> Option<Self> {
        let library = dir.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "the library does not compile"),
            Err(error) => {
                eprintln!("skipped: there is no C compiler (`cc`: {error})");
                return None;
            }
        }
        Some(Self { library, told: dir.join("told") })
    }

    /// Lets the `nth` call of this kind on files in the folder fail.
    fn load<'c>(
        &self,
        command: &'c mut Command,
        folder: &Path,
        (call, how): (&str, &str),
        nth: u64,
    ) -> &'c mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULT_UNDER", folder)
            .env("FAULT_CALL", call)
            .env("FAULT_HOW", how)
            .env("FAULT_NTH", nth.to_string())
            .env("FAULT_TOLD", &self.told)
    }

    /// How many calls the last one made that came to its end.
    fn calls(&self) -> u64 {
        fs::read_to_string(&self.told).unwrap().parse().unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// The calls to fail, of so many: all, or some that are spread over them.
fn chosen(calls: u64) -> Vec<u64> {
    if std::env::var("AERIE_FAULTS").is_ok_and(|which| which == "all") {
        return (1..=calls).collect();
    }
    let mut some: Vec<u64> =
        (0..SOME).map(|n| 1 + n * calls.saturating_sub(1) / (SOME - 1)).collect();
    some.dedup();
    some
}

/// Changes that are held.
fn held(store: &Store) -> Vec<u32> {
    let s = store.snapshot();
    let Some(viewer) = s.actor_id(VIEWER).unwrap() else { return Vec::new() };
    let is_held = |n: &u32| {
        let Some(subject) = s.actor_id(&subject(*n)).unwrap() else { return false };
        mute(&s, viewer, subject).unwrap().is_some_and(|mute| mute.at == i64::from(*n) + 1)
    };
    (0..BEFORE + MADE).filter(is_held).collect()
}

/// The store opens, or says what to do and opens then; all that was acknowledged is in it, and it is whole.
fn holds(folder: &Path, acknowledged: &[u32], context: &str) {
    let store = open(folder).unwrap_or_else(|error| {
        let words = error.to_string();
        assert!(words.contains("aerie db repair"), "{context}: {words}");
        let done = salvage(folder, BUDGET, &mut |_| {}).unwrap();
        open(folder).unwrap_or_else(|e| panic!("{context}: {words}: {done:?}: {e}"))
    });
    let held = held(&store);
    let lost: Vec<_> = acknowledged.iter().filter(|n| !held.contains(n)).collect();
    assert!(lost.is_empty(), "{context}: {lost:?} were acknowledged and are not there");
    let report = check(&store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{context}: {:#?}", report.findings);
}

/// Waits for the end of a child, which nothing may keep from coming.
fn ended(command: &mut Command, context: &str) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{context}: it does not end: {}", said(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_what_was_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::compile(dir.path()) else { return };
    let base = dir.path().join("base");
    write(&base, 0..BEFORE).await.unwrap();
    let folder = dir.path().join("store");
    let run = |kind: (&str, &str), nth: u64| {
        copy(&base, &folder);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "child", "--nocapture", "--test-threads=1"]);
        command.env("AERIE_FAULTS_IN", &folder);
        ended(shim.load(&mut command, &folder, kind, nth), &format!("{kind:?} {nth}"))
    };
    let mut failed = 0;
    for kind in KINDS {
        let whole = said(&run(*kind, 0));
        assert!(whole.contains(&format!("acknowledged {}", BEFORE + MADE - 1)), "{whole}");
        let calls = shim.calls();
        assert!(calls > 5, "{kind:?}: {calls} calls, so it is not in between");
        for nth in chosen(calls) {
            let output = run(*kind, nth);
            let said = said(&output);
            let told = said
                .lines()
                .filter_map(|line| line.split_once("acknowledged ")?.1.trim().parse::<u32>().ok());
            let all: Vec<u32> = (0..BEFORE).chain(told).collect();
            if all.len() < (BEFORE + MADE) as usize {
                failed += 1;
            }
            let context = format!("{kind:?} {nth} of {calls}: {}: {said}", output.status);
            holds(&folder, &all, &context);
        }
    }
    assert!(failed > 20, "{failed}: something has to fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_says_it_is_done_is_done_whatever_failed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::compile(dir.path()) else { return };
    // What is imported is an export.
    let base = dir.path().join("base");
    write(&base, 0..BEFORE).await.unwrap();
    let file = dir.path().join("private.jsonl");
    let rows = {
        let store = open(&base).unwrap();
        let written = aerie::private::lines::export(&store.snapshot(), &file, Time(0).0).unwrap();
        assert_eq!(page(&store.snapshot(), None).unwrap().rows.len() as u64, written.rows);
        written.rows
    };
    assert_eq!(rows, u64::from(BEFORE));
    let folder = dir.path().join("store");
    let config = dir.path().join("aerie.toml");
    fs::write(&config, format!("[store]\npath = {folder:?}\nmemory_budget = \"64MB\"\n")).unwrap();
    let run = |kind: (&str, &str), nth: u64| {
        let _ = fs::remove_dir_all(&folder);
        // So that a folder that is gone is no lost mount.
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(".aerie-store-") {
                fs::remove_file(path).unwrap();
            }
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
        command.args(["private", "import"]).arg(&file).arg("--config").arg(&config);
        ended(shim.load(&mut command, &folder, kind, nth), &format!("{kind:?} {nth}"))
    };
    for kind in [("sync", "eio"), ("write", "enospc"), ("any", "exit")] {
        let output = run(kind, 0);
        assert!(output.status.success(), "{}", said(&output));
        let calls = shim.calls();
        for nth in chosen(calls).into_iter().step_by(2) {
            let output = run(kind, nth);
            let all: Vec<u32> =
                if output.status.success() { (0..BEFORE).collect() } else { Vec::new() };
            let context =
                format!("{kind:?} {nth} of {calls}: {}: {}", output.status, said(&output));
            if Store::exists(&folder) {
                holds(&folder, &all, &context);
            } else {
                assert!(all.is_empty(), "{context}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_gives_nothing_is_not_ready_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::compile(dir.path()) else { return };
    let (data, broken) = (dir.path().join("data"), dir.path().join("broken"));
    write(&data, 0..BEFORE).await.unwrap();
    let text = format!(
        "[store]\npath = {data:?}\nmemory_budget = \"64MB\"\nreserve_file = \"0\"\n\
         [network]\nupstreams = []\nplc_url = \"http://127.0.0.1:9\"\n"
    );
    let tables = data.join("db/keyspaces");
    let env = [
        ("LD_PRELOAD", shim.library.to_str().unwrap()),
        ("FAULT_UNDER", tables.to_str().unwrap()),
        ("FAULT_CALL", "read"),
        ("FAULT_HOW", "eio"),
        ("FAULT_WHILE", broken.to_str().unwrap()),
    ];
    let aerie = Aerie::launch(dir.path().join("aerie.toml"), &text, &[], &env);
    aerie.serves().await;
    let ready = async |status: u16| aerie.ask("GET /readyz", "").await.0 == status;
    aerie.until("it is ready", 30, async || ready(200).await).await;
    fs::write(&broken, "").unwrap();
    let begun = Instant::now();
    aerie.until("it is not ready", 30, async || ready(503).await).await;
    eprintln!("not ready after {:?}", begun.elapsed());
    let (_, why) = aerie.ask("GET /readyz", "").await;
    assert!(why.contains("reads"), "{why}");
    fs::remove_file(&broken).unwrap();
    aerie.until("it is ready again", 60, async || ready(200).await).await;
    aerie.stop();
}
