//! `aerie db`: looks after the store while the server is stopped.

mod check;
mod compact;
mod repair;
mod stats;

use std::time::{Duration, Instant};

use clap::Subcommand;

use super::progress::Meter;
use super::{CliError, configuration, open_store, span};
use crate::config::Sources;
use crate::store::{Store, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read every row and report what does not fit together
    ///
    /// Exit code 0 when everything fits, 1 when something differs or the store cannot be read. Progress goes to
    /// standard error.
    Check(check::Args),
    /// Rewrite the store into its smallest form
    ///
    /// Takes minutes to hours, and as much free disk as the largest keyspace has. The server merges files by itself as it goes;
    /// this is for after a migration, or after much was taken away.
    Compact(compact::Args),
    /// Make a store open again whose files are damaged, and say what was lost
    ///
    /// Reads every file of it. What is damaged is set aside in the store's folder, never removed; what can be read of it
    /// takes its place. Counters are counted anew, lost repos are fetched again by the next server, and lost private state
    /// comes from the last daily export. A store that nothing is the matter with stays as it is.
    Repair(repair::Args),
    /// Show what the store takes on disk, and what of it a like, a follow or a post costs
    ///
    /// Reads every row once. Bytes on disk of each keyspace are shared out by the length of its rows; run it with
    /// --compact for figures without leftovers.
    Stats(stats::Args),
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let path = &config.store.path;
    if !Store::exists(path) {
        return Err(CliError::Failed(format!("there is no store in {}", path.display())));
    }
    let open = || {
        open_store(path, config.store.memory_budget).map_err(|e| match e {
            StoreError::Locked(path) => CliError::Failed(format!(
                "the store in {} is in use by a running aerie: stop it first, or copy the folder \
                 while it is stopped and look at the copy",
                path.display()
            )),
            e => e.into(),
        })
    };
    match &args.action {
        Action::Check(args) => check::run(args, open()?),
        Action::Compact(args) => compact::run(args, path, open),
        Action::Repair(args) => repair::run(args, &config),
        Action::Stats(args) => stats::run(args, open),
    }
}

/// Progress of a scan over all keyspaces.
struct Scan {
    expected: Vec<(&'static str, usize)>,
    total: u64,
    /// Rows of the keyspaces that are done, and where the current one is.
    done: u64,
    current: Option<(&'static str, u64)>,
    begun: Instant,
    meter: Meter,
}

impl Scan {
    fn new(store: &Store) -> Self {
        let rows = store.approximate_rows().into_iter();
        let expected: Vec<_> = rows.map(|(ks, n)| (ks.name(), n)).collect();
        let total = expected.iter().map(|(_, n)| *n as u64).sum();
        let (begun, meter) = (Instant::now(), Meter::new());
        Self { expected, total, done: 0, current: None, begun, meter }
    }

    fn at(&mut self, keyspace: &'static str, rows: u64) {
        match self.current {
            Some((same, _)) if same == keyspace => {}
            Some((_, rows)) => self.done += rows,
            None => {}
        }
        self.current = Some((keyspace, rows));
        let share = (self.done + rows) as f64 / self.total.max(1) as f64;
        let line = self.line(keyspace, rows, self.begun.elapsed());
        self.meter.at(Some(share), || line);
    }

    fn line(&self, keyspace: &str, rows: u64, elapsed: Duration) -> String {
        let all = self.done + rows;
        let speed =
            all.saturating_mul(1000) / u64::try_from(elapsed.as_millis()).unwrap_or(1).max(1);
        let left = self.total.saturating_sub(all) / speed.max(1);
        let of = self.expected.iter().find(|(name, _)| *name == keyspace).map_or(0, |(_, n)| *n);
        format!("{keyspace}: {rows} of about {of} rows, {speed} rows/s, about {} left", span(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let mut meter = Scan { total: 400, ..Scan::new(&store) };
        meter.at("post_1", 0);
        meter.at("post_1", 100);
        meter.at("edge_fwd_2", 0);
        let line = meter.line("edge_fwd_2", 100, Duration::from_secs(2));
        assert!(line.ends_with("100 rows/s, about 2 s left"), "{line}");
    }

    #[test]
    fn a_store_in_use_or_absent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let env = vec![("AERIE_STORE__PATH".to_owned(), path.display().to_string())];
        let sources = Sources { file: None, env };
        let args = Args { action: Action::Check(check::Args::default()) };
        let error = run(&args, &sources).unwrap_err().to_string();
        assert!(error.contains("there is no store"), "{error}");
        assert!(!path.exists(), "nothing is made");
        let _open = Store::open(&path, 64 << 20).unwrap();
        let error = run(&args, &sources).unwrap_err().to_string();
        assert!(error.contains("stop it first"), "{error}");
    }
}
