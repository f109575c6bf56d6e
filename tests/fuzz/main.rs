//! Every decoder of a stranger's bytes, with inputs that were valid once (`corpus`) and were changed by numbers (`mutate`).
//!
//! `cargo test` looks at some of each target. With `AERIE_FUZZ_SECONDS` it goes on for so long, all targets together, and
//! begins with a number that the clock gives; `AERIE_FUZZ_SEED` is another to begin with, `AERIE_FUZZ_TARGET` the only
//! target. Each runs in a process of its own, so that an input that overflows the stack, takes all memory or never ends is
//! found as well. What fails is told with the target, the number and the bytes; these go into a file in `tests/fuzz/found`
//! and are looked at first from then on.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test: a panic is its failure"
)]

mod corpus;
mod mutate;
mod shape;
mod targets;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mutate::{MAX, Numbers};
use peak_alloc::PeakAlloc;
use targets::{TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Inputs of a target where no time is given, or what five seconds suffice for.
const FEW: u64 = 1000;
/// Bytes that are told; all are in the file.
const SHOWN: usize = 8 << 10;
/// What a process says at its end begins like this.
const TOOK: &str = ", at most ";
/// An input that takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(120);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_input_breaks_a_decoder() {
    let wanted = std::env::var("AERIE_FUZZ_TARGET").ok();
    let is_wanted = |target: &&Target| wanted.as_ref().is_none_or(|name| target.name == name);
    let targets: Vec<_> = TARGETS.iter().filter(is_wanted).collect();
    match std::env::var_os("AERIE_FUZZ_NOTE") {
        Some(note) => targets.into_iter().for_each(|target| look(target, &Note::new(&note))),
        None => look_at_all(&targets),
    }
}

/// Each target in a process of its own, as many at a time as there are cores.
fn look_at_all(targets: &[&Target]) {
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get()).min(targets.len());
    let seconds = setting("AERIE_FUZZ_SECONDS").unwrap_or(0);
    let shares = targets.iter().map(|target| target.share).sum::<u64>().max(1);
    let part = |target: &Target| seconds * workers as u64 * target.share / shares;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("AERIE_FUZZ_SEED").unwrap_or(if seconds > 0 { now } else { 0 });
    let (left, failures) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(target) = { left.lock().unwrap().next() } {
                    let failure = run(target, part(target), seed).err();
                    failures.lock().unwrap().extend(failure);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs a target and waits for its end.
fn run(target: &Target, seconds: u64, seed: u64) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let (note, told) = (dir.path().join("input"), dir.path().join("told"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_input_breaks_a_decoder", "--nocapture"])
        .env("AERIE_FUZZ_TARGET", target.name)
        .env("AERIE_FUZZ_NOTE", &note)
        .env("AERIE_FUZZ_SECONDS", seconds.to_string())
        .env("AERIE_FUZZ_SEED", seed.to_string())
        .stdout(Stdio::null())
        .stderr(File::create(&told).unwrap())
        .spawn()
        .unwrap();
    let (begun, mut last) = (Instant::now(), (Instant::now(), 0));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        let number = Note::read(&note).map_or(0, |(number, _)| number);
        if number != last.1 {
            last = (Instant::now(), number);
        } else if last.0.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let told = fs::read_to_string(&told).unwrap_or_default();
    let (number, input) = Note::read(&note).unwrap_or_default();
    if status.is_some_and(|status| status.success()) {
        let looked_at = number.wrapping_sub(seed);
        let took = told.lines().find(|line| line.starts_with(TOOK)).unwrap_or_default();
        eprintln!("{}: {looked_at} inputs in {:.0?}{took}", target.name, begun.elapsed());
        return Ok(());
    }
    let how = status.map_or_else(|| "it does not end".to_owned(), |status| status.to_string());
    let found = found().join(format!("{}-{number:016x}", target.name));
    let _ = fs::create_dir_all(found.parent().unwrap()).and_then(|()| fs::write(&found, &input));
    let hex = data_encoding::HEXLOWER.encode(&input[..input.len().min(SHOWN)]);
    Err(format!(
        "target {}, number {number}: {how}\nagain: AERIE_FUZZ_TARGET={} AERIE_FUZZ_SEED={number}\nbytes, also in {}: {hex}\n{told}",
        target.name,
        target.name,
        found.display()
    ))
}

fn found() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found")
}

/// In the process of one target.
fn look(target: &Target, note: &Note) {
    let (seconds, seed) =
        (setting("AERIE_FUZZ_SECONDS").unwrap(), setting("AERIE_FUZZ_SEED").unwrap());
    // What is made once is nobody's input.
    aerie::lexicon::catalog();
    let corpus = (target.corpus)();
    let mut most = 0;
    for input in &corpus {
        most = most.max(check(target, input, note, seed));
    }
    for file in fs::read_dir(found()).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().starts_with(&format!("{}-", target.name)) {
            check(target, &fs::read(file.path()).unwrap(), note, seed);
        }
    }
    let begun = Instant::now();
    for n in 0.. {
        // Pictures take longer than all others together, so there are fewer of them.
        let (spent, enough) = (begun.elapsed().as_secs(), seconds.max(5));
        if (n >= FEW && spent >= seconds) || spent >= enough {
            eprintln!("{TOOK}{} kB beyond {} a byte", most >> 10, target.memory.1);
            return;
        }
        let number = seed.wrapping_add(n);
        let input = match target.shape {
            Some(shape) if number % 3 == 0 => {
                let mut n = Numbers::new(number);
                let input = n.pick(&corpus).clone();
                let times = n.below(3);
                let more = |input: Vec<u8>, _| {
                    if input.len() < MAX { shape(&input, &mut n) } else { input }
                };
                (0..=times).fold(input, more)
            }
            _ if number % 3 == 1 => (target.mend)(mutate::input(&corpus, number)),
            _ => mutate::input(&corpus, number),
        };
        most = most.max(check(target, &input, note, number));
    }
}

/// Gives what it took beyond what it may for each byte.
fn check(target: &Target, input: &[u8], note: &Note, number: u64) -> usize {
    note.write(number, input);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    (target.run)(input);
    let (base, factor) = target.memory;
    let (took, most) = (MEMORY.peak_usage().saturating_sub(before), base + factor * input.len());
    assert!(
        took <= most,
        "{} bytes take {took} bytes of memory, at most {most} are allowed",
        input.len()
    );
    took.saturating_sub(factor * input.len())
}

/// What is being looked at, for who sees the process end.
struct Note(File);

impl Note {
    fn new(path: &OsStr) -> Self {
        Self(File::create(path).unwrap())
    }

    fn write(&self, number: u64, input: &[u8]) {
        let head = [number.to_le_bytes(), (input.len() as u64).to_le_bytes()].concat();
        self.0.write_all_at(&[&head, input].concat(), 0).unwrap();
    }

    fn read(path: &Path) -> Option<(u64, Vec<u8>)> {
        let mut file = File::open(path).ok()?;
        let mut head = [0; 16];
        file.read_exact(&mut head).ok()?;
        let number = u64::from_le_bytes(head[..8].try_into().ok()?);
        let len = u64::from_le_bytes(head[8..].try_into().ok()?);
        let mut input = Vec::new();
        file.take(len).read_to_end(&mut input).ok()?;
        Some((number, input))
    }
}
