//! `aerie backup`: copies of the store and of private state, made, looked at and put back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::format::{bytes, number, text};
use super::{CliError, answer, configuration, open_store, print, private};
use crate::admin::AskError;
use crate::admin::protocol::{BackupCreate, BackupState};
use crate::backup::{
    BackupError, Identities, Keep, Kind, Listed, Made, Progress, Pruned, Repository, Verified,
    restore_private, restore_whole,
};
use crate::config::{Config, Sources};
use crate::net::{Dialer, HttpClient};
use crate::runtime::backup_keys;
use crate::store::{FORMAT, Store};
use crate::syntax::datetime::format_ms;
use crate::threads::Clock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a backup now
    ///
    /// The server may run; it goes on, and writes nothing for some milliseconds.
    Create {
        /// Of private state alone
        #[arg(long)]
        private: bool,
    },
    /// List backups, the oldest first
    List,
    /// Read a backup and say whether it is good
    ///
    /// Exit code 1 if it is not. Of one that is encrypted, without the identity, only lengths are compared.
    Verify {
        /// Which [default: the newest of the whole store]
        id: Option<String>,
        /// The newest of private state
        #[arg(long, conflicts_with = "id")]
        private: bool,
        /// Also put it into a folder of its own beside the store, open it there, and remove it again
        #[arg(long, conflicts_with = "private")]
        open: bool,
        /// File with the age identity [default: backup.identity_file]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Put a backup back
    ///
    /// A whole one only into a folder without a store: stop the server and move the old one away first. Indexes of search
    /// are made anew at the next start, and streams are read on from where they were. Private state is put into the store
    /// that is there, or a new one: nothing is removed, and what is newer stays.
    Restore {
        /// Which [default: the newest of the whole store]
        id: Option<String>,
        /// The newest of private state
        #[arg(long, conflicts_with = "id")]
        private: bool,
        /// Another folder than store.path
        #[arg(long, value_name = "FOLDER", conflicts_with = "private")]
        to: Option<PathBuf>,
        /// File with the age identity [default: backup.identity_file]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Take old backups away, and what no backup needs; never the last good one
    Prune {
        /// So many of each kind stay, the newest [default: backup.keep]
        #[arg(long)]
        keep: Option<usize>,
        /// Only those go that are older than so many hours [default: backup.keep_for]
        #[arg(long, value_name = "HOURS")]
        older_than: Option<u32>,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let as_json = args.json;
    if let Action::Create { private } = args.action {
        return create(&config, sources, private, as_json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let open = |identity: &Option<PathBuf>| repository(&config, &runtime, identity.as_deref());
    match &args.action {
        Action::Create { .. } => Ok(()),
        Action::List => {
            let listed = open(&None)?.list()?;
            print(&listed, as_json, |listed| list_text(listed))
        }
        Action::Verify { id, private, open: opens, identity } => {
            let from = open(identity)?;
            let kind = if *private { Kind::Private } else { Kind::Whole };
            let id = from.find(id.as_deref(), kind)?;
            let verified = following(|progress| from.verify(&id, progress))?;
            let good = verified.damaged.is_empty();
            let opened = match *opens && good {
                true => Some(open_aside(&config, &from, &verified)?),
                false => None,
            };
            let mut said = serde_json::to_value(&verified).map_err(std::io::Error::from)?;
            if let Some(said) = said.as_object_mut() {
                said.insert("rows".to_owned(), json!(opened));
            }
            print(&said, as_json, |_| verified_text(&verified, opened.as_ref()))?;
            match good {
                true => Ok(()),
                false => Err(CliError::Failed(format!(
                    "backup {id} is not good: make another one with `aerie backup create`"
                ))),
            }
        }
        Action::Restore { id, private, to, identity } => {
            let from = open(identity)?;
            let kind = if *private { Kind::Private } else { Kind::Whole };
            let id = from.find(id.as_deref(), kind)?;
            match id.kind() {
                Kind::Private => put_private(&config, &from, &id),
                Kind::Whole => {
                    let to = to.as_ref().unwrap_or(&config.store.path);
                    put_whole(&config, &from, &id, to, as_json)
                }
            }
        }
        Action::Prune { keep, older_than, dry_run } => {
            let hours = older_than.map(|hours| i64::from(hours) * 3_600_000);
            let of_config = i64::try_from(config.backup.keep_for.as_millis()).unwrap_or(i64::MAX);
            let count = usize::try_from(config.backup.keep).unwrap_or(usize::MAX);
            let keep = Keep { count: keep.unwrap_or(count), age: hours.unwrap_or(of_config) };
            let pruned = open(&None)?.prune(keep, Clock::system().now_ms(), *dry_run)?;
            print(&pruned, as_json, |pruned| pruned_text(pruned, *dry_run))
        }
    }
}

fn repository(
    config: &Config,
    runtime: &tokio::runtime::Runtime,
    identity: Option<&Path>,
) -> Result<Repository, CliError> {
    let failed = |e: crate::net::NetError| CliError::Failed(e.to_string());
    let _entered = runtime.enter();
    let dialer = Dialer::new(true).map_err(failed)?;
    let http = HttpClient::new(&dialer, &config.server.public_url);
    let opened = Repository::open(&config.backup, http, runtime.handle().clone())?;
    Ok(opened.with_identities(identity.map(Identities::read).transpose()?))
}

/// Through the running server, or of a store that nobody has open.
fn create(
    config: &Config,
    sources: &Sources,
    private: bool,
    as_json: bool,
) -> Result<(), CliError> {
    match answer(sources, BackupCreate { private }) {
        Ok(begun) => {
            let made = wait(sources, begun.run, if private { "private" } else { "whole" })?;
            print(&made, as_json, |made| {
                let (id, of) = (text(made, "id"), bytes(number(made, "bytes")));
                format!("{id}: {of}, of which {} are new\n", bytes(number(made, "brought")))
            })
        }
        Err(CliError::Ask(AskError::NotRunning(_))) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let to = repository(config, &runtime, None)?;
            let made = following(|progress| make(config, &to, private, progress))?;
            print(&made, as_json, |made| {
                let (of, new) = (bytes(made.bytes as f64), bytes(made.brought as f64));
                format!("{}: {of}, of which {new} are new\n", made.id)
            })
        }
        Err(error) => Err(error),
    }
}

fn make(
    config: &Config,
    to: &Repository,
    private: bool,
    progress: &Progress,
) -> Result<Made, BackupError> {
    let (path, now) = (&config.store.path, Clock::system().now_ms());
    if private {
        let store = open_store(path, config.store.memory_budget)?;
        return to.private(&store, FORMAT, &path.join("backup.part"), now, progress);
    }
    to.whole(&Store::pin_closed(path)?, &backup_keys(config), now, progress)
}

/// Waits until a backup of the server has ended, and gives what it says of it.
fn wait(sources: &Sources, run: u64, kind: &str) -> Result<Value, CliError> {
    const LOOK: Duration = Duration::from_millis(300);
    let mut looks = 0_u32;
    loop {
        let status = answer(sources, BackupState {})?;
        let of = status.get(kind).cloned().unwrap_or_default();
        if of.get("ended").and_then(Value::as_u64) >= Some(run) {
            return match of.get("error").and_then(Value::as_str) {
                Some(error) => Err(CliError::Failed(error.to_owned())),
                None => match of.get("last").filter(|last| last.is_object()) {
                    Some(last) => Ok(last.clone()),
                    None => Err(CliError::Failed(BackupError::Nothing.to_string())),
                },
            };
        }
        if looks % SAY_LOOKS == SAY_LOOKS - 1
            && let Some(running) = status.get("running").filter(|running| running.is_object())
        {
            say(number(running, "done"), number(running, "of"));
        }
        looks += 1;
        std::thread::sleep(LOOK);
    }
}

/// Looks between two lines.
const SAY_LOOKS: u32 = 7;

fn say(done: f64, of: f64) {
    eprintln!("{} of about {}", bytes(done), bytes(of.max(done)));
}

/// Says on standard error how far `work` is, now and then.
fn following<T>(work: impl FnOnce(&Progress) -> Result<T, BackupError>) -> Result<T, BackupError> {
    const EVERY: Duration = Duration::from_secs(2);
    let (progress, ended) = (Progress::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let teller = scope.spawn(|| {
            loop {
                std::thread::park_timeout(EVERY);
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let [done, of] =
                    [&progress.done, &progress.of].map(|n| n.load(Ordering::Relaxed) as f64);
                say(done, of);
            }
        });
        let done = work(&progress);
        ended.store(true, Ordering::Release);
        teller.thread().unpark();
        done
    })
}

type Rows = std::collections::BTreeMap<&'static str, usize>;

/// Opens a store to see that it is one.
fn opened(path: &Path, config: &Config) -> Result<Rows, BackupError> {
    let store = open_store(path, config.store.memory_budget)?;
    Ok(store.approximate_rows().into_iter().map(|(ks, rows)| (ks.name(), rows)).collect())
}

/// Puts it beside the store, opens it, and removes it.
fn open_aside(config: &Config, from: &Repository, of: &Verified) -> Result<Rows, CliError> {
    let mut name = config.store.path.as_os_str().to_owned();
    name.push(format!(".verify-{}", std::process::id()));
    let aside = PathBuf::from(name);
    let mut open = |path: &Path| opened(path, config);
    let restored =
        following(|progress| restore_whole(from, &of.id, &aside, &|_| None, &mut open, progress));
    let removed = std::fs::remove_dir_all(&aside);
    let (_, rows) = restored?;
    removed?;
    Ok(rows)
}

fn put_whole(
    config: &Config,
    from: &Repository,
    id: &crate::backup::Id,
    to: &Path,
    as_json: bool,
) -> Result<(), CliError> {
    if Store::exists(to) {
        let to = to.display();
        return Err(CliError::Failed(format!(
            "there is a store in {to}: stop the server and move that folder away first, or name another one with --to"
        )));
    }
    let keys = backup_keys(config);
    let of_key =
        |name: &str| keys.iter().find(|(known, _)| *known == name).map(|(_, file)| file.clone());
    let mut open = |path: &Path| opened(path, config);
    let (manifest, rows) =
        following(|progress| restore_whole(from, id, to, &of_key, &mut open, progress))?;
    let made = format_ms(manifest.head.made);
    let said = json!({
        "id": id, "made": made, "to": to, "files": manifest.files.len(), "bytes": manifest.bytes(), "rows": rows,
    });
    print(&said, as_json, |_| {
        let rows_of = |(name, rows): (&&str, &usize)| format!("{name} {rows}");
        let rows: Vec<String> = rows.iter().map(rows_of).collect();
        format!(
            "{} is as it was on {made}: {} in {} files\nrows (about): {}\nStart the server: it goes on from there, and makes \
             the indexes of search anew\n",
            to.display(),
            bytes(manifest.bytes() as f64),
            manifest.files.len(),
            rows.join(", ")
        )
    })
}

fn put_private(config: &Config, from: &Repository, id: &crate::backup::Id) -> Result<(), CliError> {
    let path = &config.store.path;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".private-{}", std::process::id()));
    let file = PathBuf::from(name);
    let fetched = following(|progress| restore_private(from, id, &file, progress));
    let done = fetched
        .map_err(CliError::from)
        .and_then(|_| private::restore(&file, path, config.store.memory_budget));
    let removed = std::fs::remove_file(&file);
    done?;
    Ok(removed?)
}

fn list_text(listed: &[Listed]) -> String {
    let line = |backup: &Listed| match (&backup.has, &backup.error) {
        (Some(has), _) => {
            let lock = if has.encrypted { ", encrypted" } else { "" };
            let (of, files) = (bytes(has.bytes as f64), has.files);
            let (format, aerie) = (has.format, &has.aerie);
            format!("{}  {of} in {files} files, format {format}, aerie {aerie}{lock}\n", backup.id)
        }
        (None, Some(error)) => format!("{}  NOT GOOD: {error}\n", backup.id),
        (None, None) => format!("{}\n", backup.id),
    };
    match listed {
        [] => "there is no backup: `aerie backup create` makes one\n".to_owned(),
        listed => listed.iter().map(line).collect(),
    }
}

fn verified_text(verified: &Verified, rows: Option<&Rows>) -> String {
    let Verified { id, files, bytes: size, contents, damaged } = verified;
    let mut out: String = damaged.iter().map(|what| format!("{what}\n")).collect();
    let what = match (damaged.is_empty(), contents) {
        (false, _) => "it is NOT good",
        (true, true) => "every byte is as it was put there",
        (true, false) => "all of it is there; with --identity its contents are read too",
    };
    out += &format!("{id}: {files} files, {}: {what}\n", bytes(*size as f64));
    if let Some(rows) = rows {
        out += &format!("it opens, with about {} rows\n", rows.values().sum::<usize>());
    }
    out
}

fn pruned_text(pruned: &Pruned, dry: bool) -> String {
    let mut out: String = pruned.removed.iter().map(|id| format!("{id}\n")).collect();
    let (would, bytes) = (if dry { "would go" } else { "are gone" }, bytes(pruned.bytes as f64));
    out += &format!(
        "{} backups and {} objects ({bytes}) {would}, {} backups stay\n",
        pruned.removed.len(),
        pruned.objects,
        pruned.left
    );
    out += &pruned.waits.as_ref().map_or(String::new(), |why| format!("{why}\n"));
    out
}

/// What the status says of backups, in a line.
pub(super) fn line(v: &Value) -> Option<String> {
    let place = v.get("where")?.as_str()?;
    let kind = |name: &str| {
        let of = v.get(name)?;
        let last = match of.get("age_s").and_then(Value::as_u64) {
            Some(age) => format!(
                "{name} {} ago, {}",
                super::span(age),
                bytes(number(of.get("last").unwrap_or(&Value::Null), "bytes"))
            ),
            None => format!("{name} none yet"),
        };
        Some(match of.get("error").and_then(Value::as_str) {
            Some(error) => format!("{last}, FAILED: {error}"),
            None => last,
        })
    };
    let of: Vec<String> = ["whole", "private"].into_iter().filter_map(kind).collect();
    let mut out = format!("backup to {place}: {}", of.join("; "));
    if let Some(running) = v.get("running").filter(|running| running.is_object()) {
        let (kind, done) = (text(running, "kind"), bytes(number(running, "done")));
        out += &format!("; {kind} under way, {done} of {}", bytes(number(running, "of")));
    }
    if let Some(why) = v.get("held").and_then(Value::as_str) {
        out += &format!("; held: {why}");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_status_says_how_old_the_last_ones_are() {
        let status = json!({
            "where": "/b", "encrypted": false, "run": 1, "held": "the disk is nearly full",
            "running": {"kind": "whole", "of": 2000, "done": 1000, "brought": 0},
            "whole": {"last": {"id": "x", "bytes": 5000}, "age_s": 7300, "error": null},
            "private": {"last": null, "age_s": null, "error": "no room"},
        });
        assert_eq!(
            line(&status).unwrap(),
            "backup to /b: whole 2 h ago, 5.0 kB; private none yet, FAILED: no room; whole under way, 1.0 kB of 2.0 kB; \
             held: the disk is nearly full"
        );
        assert_eq!(line(&json!({"where": null})), None);
    }
}
