//! `aerie private`: what exists only here, into a file and back.
//!
//! Both ways go through the running server, or, if there is none, through the store itself. The format of the file is
//! [`crate::private::portable`]'s.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::progress::Meter;
use super::{CliError, configuration, mark, open_store};
use crate::admin::protocol::{PrivateExport, PrivateImport, PrivateImported, Status};
use crate::admin::{self, AskError, PrivateState};
use crate::config::Sources;
use crate::private::lines::{Lines, WholeFile, Written};
use crate::private::portable::{Frame, Page, Row, VERSION};
use crate::runtime;
use crate::store::{Store, StoreError, Writer};
use crate::threads::Clock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write all private state, one JSON object a line
    ///
    /// The first line names format and version, the last one counts the rows. A file is written whole or not at all,
    /// readable by its owner only. Rows that the server writes meanwhile may be in it or not.
    Export {
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Put exported private state into the store
    ///
    /// Every line is checked before the first is used. Nothing is removed and what is there stays, but for drafts and
    /// seen times that are newer in the file, so it can be run again. Makes the store if there is none.
    Import {
        /// A file that `aerie private export` wrote
        file: PathBuf,
        /// Make the store although there was one, which is gone
        #[arg(long)]
        new_store: bool,
    },
}

/// Longest line that is read: a request to make a draft has at most 100 KB.
const MAX_LINE: u64 = 2 << 20;
/// What is sent at once.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// Time for a batch: the notifications of each new member are built.
const BATCH_TIME: Duration = Duration::from_secs(600);

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let import = match &args.action {
            Action::Import { file, .. } => Some(Import::check(file)?),
            Action::Export { .. } => None,
        };
        let path = &config.store.path;
        let make = import.is_some();
        if matches!(args.action, Action::Import { new_store: true, .. }) {
            mark(&config, sources).forget()?;
        } else if make {
            mark(&config, sources).check()?;
        }
        let owner = StoreOwner::find(path, config.store.memory_budget, make).await?;
        let done = match (&args.action, import) {
            (Action::Import { file, .. }, Some(import)) => import.apply(file, &owner).await,
            (Action::Export { out }, _) => export(&owner, out.as_deref()).await,
            (Action::Import { .. }, None) => Ok(()),
        };
        done.and(owner.close().await)
    })
}

/// Puts an export into a store that no server has open, or into a new one.
pub(super) fn restore(file: &Path, path: &Path, memory: u64) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let import = Import::check(file)?;
        let owner = StoreOwner::find(path, memory, true).await?;
        let done = import.apply(file, &owner).await;
        done.and(owner.close().await)
    })
}

/// Who has the store open.
enum StoreOwner {
    Server(PathBuf),
    Here(PrivateState, Writer, std::thread::JoinHandle<Result<(), StoreError>>),
}

impl StoreOwner {
    async fn find(path: &Path, memory: u64, make: bool) -> Result<Self, CliError> {
        match admin::ask(path, Status {}).await {
            Ok(_) => return Ok(Self::Server(path.to_owned())),
            Err(AskError::NotRunning(_)) => {}
            Err(e) => return Err(e.into()),
        }
        if !make && !Store::exists(path) {
            return Err(CliError::Failed(format!("there is no store in {}", path.display())));
        }
        let store = open_store(path, memory)?;
        let (writer, thread) = Writer::start(store.clone())?;
        Ok(Self::Here(runtime::private_state(store, writer.clone())?, writer, thread))
    }

    async fn page(&self, next: Option<&str>) -> Result<Page, CliError> {
        match self {
            Self::Server(path) => {
                let page = PrivateExport { next: next.map(str::to_owned) };
                Ok(admin::ask_within(path, page, BATCH_TIME).await?)
            }
            Self::Here(private, ..) => Ok(private.page(next)?),
        }
    }

    async fn import(&self, rows: Vec<Row>) -> Result<PrivateImported, CliError> {
        match self {
            Self::Server(path) => {
                Ok(admin::ask_within(path, PrivateImport { rows }, BATCH_TIME).await?)
            }
            Self::Here(private, ..) => Ok(private.import(rows).await?),
        }
    }

    async fn close(self) -> Result<(), CliError> {
        let Self::Here(_, writer, thread) = self else { return Ok(()) };
        writer.stop().await;
        match thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => Err(CliError::Failed("the store's writer panicked".to_owned())),
        }
    }
}

async fn export(owner: &StoreOwner, out: Option<&Path>) -> Result<(), CliError> {
    write_to(out, async |out| write_all(owner, out).await).await
}

/// Lets `write` write to standard output, or into a file, which is there whole or not at all and readable by its owner
/// only.
pub(super) async fn write_to(
    out: Option<&Path>,
    write: impl AsyncFnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let Some(path) = out else {
        let mut stdout = BufWriter::new(io::stdout().lock());
        write(&mut stdout).await?;
        return Ok(stdout.flush()?);
    };
    let failed = |e: io::Error| CliError::Failed(format!("{}: {e}", path.display()));
    let mut file = WholeFile::begin(path).map_err(failed)?;
    write(file.out()).await?;
    file.end().map_err(failed)
}

async fn write_all(owner: &StoreOwner, out: &mut dyn Write) -> Result<(), CliError> {
    let now = Clock::system().now_ms();
    let mut lines = Lines::begin(out, now)?;
    let mut next = None;
    let mut meter = Meter::new();
    loop {
        let page = owner.page(next.as_deref()).await?;
        let Written { rows, .. } = lines.page(&page)?;
        meter.say(|| format!("{rows} rows"));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let Written { rows, left_out } = lines.end()?;
    eprintln!("{rows} rows exported");
    if left_out > 0 {
        eprintln!(
            "{left_out} rows left out: damaged (`aerie db check` names them) or of another version"
        );
    }
    Ok(())
}

/// A file whose lines were all checked.
struct Import {
    rows: u64,
}

impl Import {
    fn check(file: &Path) -> Result<Self, CliError> {
        let mut rows = 0;
        let mut meter = Meter::new();
        let ended = read(file, &mut |_, row| {
            rows += 1;
            meter.say(|| format!("checked {rows} rows"));
            row.check()
        });
        let wrong = |(line, why): Wrong| {
            let file = file.display();
            CliError::Failed(match line {
                Some(line) => format!("{file}:{line}: {why}; nothing was imported"),
                None => format!("{file}: {why}; nothing was imported"),
            })
        };
        let said = ended.map_err(wrong)?;
        if said != rows {
            let why = format!("the last line says {said} rows, there are {rows}");
            return Err(wrong((None, why)));
        }
        Ok(Self { rows })
    }

    async fn apply(self, file: &Path, owner: &StoreOwner) -> Result<(), CliError> {
        let (send, receive) = flume::bounded::<(u64, Vec<Row>)>(2);
        let path = file.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let mut last = 0;
            let read = read(&path, &mut |line, row| {
                bytes += serde_json::to_string(&row).map_or(0, |text| text.len());
                batch.push(row);
                last = line;
                if batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
                    return Ok(());
                }
                bytes = 0;
                // Whoever receives has ended with an error, which counts.
                send.send((line, std::mem::take(&mut batch))).map_err(|_| "stopped".to_owned())
            });
            if read.is_ok() {
                let _ = send.send((last, batch));
            }
            read.map(drop)
        });
        let (mut tally, mut applied, mut meter) = (PrivateImported::default(), 1, Meter::new());
        while let Ok((line, rows)) = receive.recv_async().await {
            let imported = owner.import(rows).await.map_err(|e| {
                CliError::Failed(format!(
                    "{e}\nlines up to {applied} of {} are imported; run the same again, it goes on where it ended",
                    file.display()
                ))
            })?;
            tally.add(imported);
            applied = line;
            meter.say(|| format!("line {line} of {}", self.rows + 2));
        }
        drop(receive);
        match reading.await {
            Ok(Ok(())) => {}
            Ok(Err((_, why))) => {
                return Err(CliError::Failed(format!("{} changed: {why}", file.display())));
            }
            Err(e) => return Err(CliError::Failed(e.to_string())),
        }
        let PrivateImported { written, kept, deleted } = tally;
        eprintln!(
            "{} rows read: {written} imported, {kept} were there, {deleted} of deleted accounts left out",
            self.rows
        );
        Ok(())
    }
}

/// The line, if it is one line's fault, and what is wrong.
type Wrong = (Option<u64>, String);

/// Reads a file through; gives the number of rows that its last line says.
fn read(file: &Path, each: &mut dyn FnMut(u64, Row) -> Result<(), String>) -> Result<u64, Wrong> {
    let opened = File::open(file).map_err(|e| (None, e.to_string()))?;
    let mut reader = BufReader::new(opened);
    let (mut line, mut number, mut end) = (Vec::new(), 0_u64, None);
    loop {
        line.clear();
        let got = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line);
        number += 1;
        let wrong = |why: String| (Some(number), why);
        if got.map_err(|e| wrong(e.to_string()))? == 0 {
            return end
                .ok_or_else(|| (None, "it was cut off: the last line is missing".to_owned()));
        }
        if end.is_some() {
            return Err(wrong("nothing may follow the last line".to_owned()));
        }
        if line.len() as u64 == MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        let parsed = |e: serde_json::Error| wrong(e.to_string());
        let value: Value = serde_json::from_slice(&line).map_err(parsed)?;
        let frame = serde_json::from_value::<Frame>(value.clone());
        match (number, frame) {
            (1, Ok(Frame::Head { version: VERSION, .. })) => {}
            (1, Ok(Frame::Head { version, .. })) => {
                let why = format!("version {version}; this aerie reads version {VERSION}");
                return Err(wrong(why));
            }
            (1, _) => {
                return Err(wrong("not the first line of `aerie private export`".to_owned()));
            }
            (_, Ok(Frame::End { rows })) => end = Some(rows),
            (_, _) => {
                let row = serde_json::from_value(value).map_err(parsed)?;
                each(number, row).map_err(wrong)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::private::{self, Kind};
    use crate::schema::Rows;
    use crate::schema::rows::AccountStatus;

    const HEAD: &str = r#"{"kind":"aerie-private","version":1,"made":"2026-01-01T00:00:00.000Z"}"#;
    const SEEN: &str = r#"{"kind":"seen","viewer":"did:plc:a","at":"2026-01-01T00:00:00.000Z"}"#;
    const MEMBER: &str =
        r#"{"kind":"member","viewer":"did:plc:a","at":"2026-01-01T00:00:00.000Z"}"#;
    const OUT: &str = r#"{"kind":"opt-out","did":"did:plc:c","at":"2026-01-01T00:00:00.000Z"}"#;
    const DOWN: &str = r#"{"kind":"takedown","subject":"did:plc:b","at":"2026-01-01T00:00:00.000Z","reference":"r"}"#;

    fn end(rows: u64) -> String {
        format!(r#"{{"kind":"end","rows":{rows}}}"#)
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        let newer = HEAD.replace(":1,", ":2,");
        let cases: [(&[&str], &str); 11] = [
            (&[], "cut off"),
            (&[SEEN], ":1: not the first line"),
            (&[&newer, SEEN, &end(1)], ":1: version 2; this aerie reads version 1"),
            (&[HEAD, SEEN], "cut off"),
            (&[HEAD, SEEN, SEEN, &end(1)], "says 1 rows, there are 2"),
            (&[HEAD, "{\"kind\":", &end(1)], ":2: EOF"),
            (&[HEAD, SEEN, "", &end(1)], ":3: EOF"),
            (&[HEAD, &SEEN.replace("plc:a", ""), &end(1)], ":2: viewer \"did:\" is not a DID"),
            (&[HEAD, &SEEN.replace("seen", "sean"), &end(1)], ":2: unknown variant `sean`"),
            (&[HEAD, SEEN, &end(1), SEEN], ":4: nothing may follow"),
            (&[HEAD, SEEN, HEAD, &end(2)], ":3: unknown variant `aerie-private`"),
        ];
        for (lines, expected) in cases {
            fs::write(&file, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
            let error = Import::check(&file).err().unwrap().to_string();
            assert!(error.contains(expected), "{error} is not {expected}");
            assert!(error.ends_with("nothing was imported"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_goes_into_a_new_store_and_comes_out_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, out) = (dir.path().join("in"), dir.path().join("out"));
        let text = [HEAD, MEMBER, SEEN, DOWN, OUT, &end(4), ""].join("\n");
        fs::write(&file, &text).unwrap();
        for _ in 0..2 {
            let import = Import::check(&file).unwrap();
            let owner = StoreOwner::find(&dir.path().join("data"), 64 << 20, true).await.unwrap();
            import.apply(&file, &owner).await.unwrap();
            export(&owner, Some(&out)).await.unwrap();
            let StoreOwner::Here(private, ..) = &owner else { panic!("no server runs") };
            assert_eq!(private.import(Vec::new()).await.unwrap(), PrivateImported::default());
            owner.close().await.unwrap();
        }
        let exported = fs::read_to_string(&out).unwrap();
        assert_eq!(
            exported.lines().skip(1).collect::<Vec<_>>(),
            text.lines().skip(1).collect::<Vec<_>>()
        );
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        let store = Store::open(&dir.path().join("data"), 64 << 20).unwrap();
        let s = store.snapshot();
        let a = s.actor_id("did:plc:a").unwrap().unwrap();
        assert_eq!(private::members(&s).unwrap(), [a]);
        assert!(private::get(&s, Kind::Seen, a, None).unwrap().is_some());
        let out = s.actor_id("did:plc:c").unwrap().unwrap();
        assert_eq!(s.actor(out).unwrap().unwrap().status, AccountStatus::OptedOut);
    }

    #[tokio::test]
    async fn there_must_be_a_store_to_export_from() {
        let dir = tempfile::tempdir().unwrap();
        let owner = StoreOwner::find(dir.path(), 64 << 20, false).await;
        assert!(owner.err().unwrap().to_string().contains("no store"));
    }
}
