//! `aerie repo import`: CAR files, through the running server or into the store itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::progress::Meter;
use super::{CliError, configuration, migrating, print};
use crate::admin::protocol::{RepoImport, Status};
use crate::admin::{self, AskError};
use crate::config::Sources;
use crate::runtime;
use crate::sync::{FileError, FileRepo};

/// Files given to a running server at a time.
const AT_A_TIME: usize = 8;
/// For one file.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CAR files, or folders of files that end in `.car`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let files = files(&args.paths)?;
    let mut tally = Tally::new(files.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(admin::ask(&config.store.path, Status {})) {
        Ok(_) => runtime.block_on(through(&config.store.path, files, &mut tally)),
        Err(AskError::NotRunning(_)) => {
            let told = |path: PathBuf, result: Result<_, FileError>| {
                let result = result.map(|repo: FileRepo| (repo.records, repo.bytes));
                tally.add(&path, result.map_err(|error| error.to_string()));
            };
            runtime::import(&config, files, told, &mut migrating())?;
        }
        Err(error) => return Err(error.into()),
    }
    tally.report(args.json)
}

async fn through(store: &Path, files: Vec<PathBuf>, tally: &mut Tally) {
    let mut answers = stream::iter(files)
        .map(|path| async move {
            let answer = admin::ask_within(store, RepoImport { path: path.clone() }, LIMIT).await;
            (path, answer.map_err(|error| error.to_string()))
        })
        .buffer_unordered(AT_A_TIME);
    while let Some((path, answer)) = answers.next().await {
        tally.add(&path, answer.map(|repo| (repo.records, repo.bytes)));
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut out = Vec::new();
    for path in paths {
        let failed = |e: std::io::Error| CliError::Failed(format!("{}: {e}", path.display()));
        let path = path.canonicalize().map_err(failed)?;
        if !path.is_dir() {
            out.push(path);
            continue;
        }
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|end| end == "car") {
                out.push(file);
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

/// What was taken in so far.
struct Tally {
    files: usize,
    repos: u64,
    known: u64,
    records: u64,
    bytes: u64,
    failed: Vec<(PathBuf, String)>,
    begun: Instant,
    meter: Meter,
}

impl Tally {
    fn new(files: usize) -> Self {
        Self {
            files,
            repos: 0,
            known: 0,
            records: 0,
            bytes: 0,
            failed: vec![],
            begun: Instant::now(),
            meter: Meter::new(),
        }
    }

    fn add(&mut self, path: &Path, result: Result<(u64, u64), String>) {
        match result {
            Ok((0, 0)) => self.known += 1,
            Ok((records, bytes)) => {
                self.repos += 1;
                self.records += records;
                self.bytes += bytes;
            }
            Err(why) => self.failed.push((path.to_owned(), why)),
        }
        let (share, line) = (self.taken() as f64 / self.files.max(1) as f64, self.line());
        self.meter.at(Some(share), || line);
    }

    /// Files that are done with.
    fn taken(&self) -> u64 {
        self.repos + self.known + self.failed.len() as u64
    }

    fn rate(&self) -> f64 {
        self.records as f64 / self.begun.elapsed().as_secs_f64().max(0.001)
    }

    fn line(&self) -> String {
        format!(
            "{} of {} files: {} repos in, {} were here, {} failed; {} records, {:.0} records/s",
            self.taken(),
            self.files,
            self.repos,
            self.known,
            self.failed.len(),
            self.records,
            self.rate()
        )
    }

    fn report(&self, as_json: bool) -> Result<(), CliError> {
        let failed = self.failed.iter().map(|(path, why)| json!({ "path": path, "error": why }));
        let all = json!({
            "repos": self.repos, "known": self.known, "records": self.records, "bytes": self.bytes,
            "seconds": self.begun.elapsed().as_secs_f64(), "records_per_s": self.rate(),
            "failed": failed.collect::<Vec<_>>(),
        });
        print(&all, as_json, |_| {
            let failed = self.failed.iter();
            let failed = failed.map(|(path, why)| format!("{}: {why}\n", path.display()));
            std::iter::once(self.line() + "\n").chain(failed).collect()
        })?;
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(CliError::Failed(format!("{} files were not taken in", self.failed.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_cars_and_failures_fail() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.car", "a.car", "c.txt"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let paths = [dir.path().to_owned(), dir.path().join("c.txt")];
        let names: Vec<_> =
            files(&paths).unwrap().iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.car", "b.car", "c.txt"]);
        assert!(files(&[dir.path().join("none")]).is_err());
        let mut tally = Tally::new(3);
        tally.add(Path::new("a"), Ok((5, 100)));
        tally.add(Path::new("b"), Ok((0, 0)));
        assert!(tally.report(true).is_ok());
        tally.add(Path::new("c"), Err("cut".into()));
        assert!(
            tally.line().starts_with("3 of 3 files: 1 repos in, 1 were here, 1 failed; 5 records")
        );
        assert!(tally.report(false).is_err());
    }
}
