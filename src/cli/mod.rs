//! The command line: parses arguments, loads the configuration, calls what does the work, prints the result.
//!
//! Each subcommand is one file with its arguments and a `run`. It knows no rules of its own, and it alone prints.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong arguments, 78 (`EX_CONFIG`) an unusable configuration, or a store that was
//! there once and is not, or is damaged: nothing that another start would mend.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod account;
mod backfill;
mod backup;
mod config;
mod db;
mod doctor;
mod identity;
mod import;
mod ingest;
mod member;
mod private;
mod progress;
mod repo;
mod retention;
mod search;
mod serve;
mod setup;
mod shell;
mod session;
mod status;
mod upgrade;
mod xrpc;

use std::io::{BufRead, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::admin::protocol::Operation;
use crate::config::{Config, ConfigErrors, Sources, load};
use crate::ops::format;
use crate::runtime::ServeError;
use crate::schema::migrations;
use crate::store::{Mark, Progress, Store, StoreError};

/// sysexits(3): something in the configuration is wrong.
const EX_CONFIG: u8 = 78;

/// Where the configuration is looked for when none is named.
const DEFAULT_FILES: [&str; 2] = ["config.toml", "/etc/aerie/config.toml"];

const AFTER_HELP: &str = "\
Configuration:
  Every option has a default, can be set in the file, and can be set in the environment, which wins:
  the key network.plc_url is the variable AERIE_NETWORK__PLC_URL. `aerie config example` prints a file
  with all keys explained, `aerie config show` what is in force and where each value came from.

Exit codes:
  0 success, 1 failure, 2 wrong arguments, 78 an unusable configuration, or a store that is
  gone or damaged";

/// An AT Protocol AppView in one process: follows the network, indexes it, answers every app.bsky read.
#[derive(Debug, Parser)]
#[command(name = "aerie", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: ./config.toml, else /etc/aerie/config.toml, else none]
    ///
    /// Without a file, the built-in defaults and the environment apply.
    #[arg(long, global = true, env = "AERIE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: follow the network, index it, answer
    ///
    /// Runs until SIGTERM or Ctrl-C. SIGHUP reads the configuration again and applies what can change while
    /// running (labelers, moderation, limits, log level); what cannot is named in the log.
    Serve(serve::Args),
    /// Show what the running server is doing
    ///
    /// Each upstream (connected, sequence number, lag, events a second, drops by cause), labelers, resyncs,
    /// counts, disk and memory. Asks through a Unix socket in the store's folder, so run it as the same user.
    Status(status::Args),
    /// Take nothing new in for a while, or connect to an upstream anew
    Ingest(ingest::Args),
    /// Sign in to the dashboard
    Admin(session::AdminArgs),
    /// List who is signed in to the dashboard, or sign somebody out
    Session(session::SessionArgs),
    /// List the methods that clients can call
    Xrpc(xrpc::Args),
    /// Fetch repositories, or say what is the matter with one
    Repo(repo::Args),
    /// Bring in what was written before: of a PDS, of a relay's hosts, of the whole network
    Backfill(backfill::Args),
    /// People's rights: opt accounts out, delete or export what is held of them
    Account(account::Args),
    /// Know DIDs in bulk: take in operations of the PLC directory, show how far they were read
    Identity(identity::Args),
    /// List, add and remove members: accounts whose notifications are kept, and around whom the scope is drawn
    Member(member::Args),
    /// Say what another scope would keep and delete
    Scope(retention::ScopeArgs),
    /// Take away what the scope does not keep, or show what was
    Retention(retention::Args),
    /// Search posts as a user does and see why, or make the indexes anew
    Search(search::Args),
    /// Ask what cannot be guessed, make secrets and keys, write the configuration, and say what comes next
    ///
    /// Asks for the public name, how much of the network is kept and whose members there are; with --yes it asks nothing
    /// and guesses what is not given. A configuration that is there stays unless it is to be replaced, and is kept then.
    Setup(setup::Args),
    /// Look at the whole installation and say what is the matter with it, and how it is mended
    ///
    /// The machine, the configuration, the server, its disk, the public name with its proxy, upstreams, directory and
    /// labelers. Changes nothing, and works whether the server runs or not; run it as the server's user. Exit code 1 when
    /// anything fails; warnings alone are 0.
    Doctor(doctor::Args),
    /// Check, show or explain the configuration
    Config(config::Args),
    /// Export or import private state: mutes, bookmarks, drafts, preferences, members, opt-outs, takedowns, sessions
    ///
    /// The only data that the network cannot give back, as JSON lines. The server may run: then it is asked through
    /// the Unix socket in the store's folder, so run it as the same user.
    Private(private::Args),
    /// Make, list, check, put back and prune backups
    ///
    /// In the folder or bucket that backup.where names. With that, the server makes them by itself too, as backup.every and
    /// backup.private say.
    Backup(backup::Args),
    /// Say what this version would do to the store
    Upgrade(upgrade::Args),
    /// Check, compact, measure or repair the store while the server is stopped
    Db(db::Args),
    /// Print what completes commands in a shell
    Completions(shell::Completions),
    /// Print the manual page, or write those of all commands and of the configuration into a folder
    Man(shell::Pages),
}

/// Why a subcommand failed; decides the exit code.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// Nothing was done.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Output could not be written.
    #[error("cannot write output: {0}")]
    Output(#[from] std::io::Error),
    /// The server did not start, or ended by itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The running server gave no answer.
    #[error(transparent)]
    Ask(#[from] crate::admin::AskError),
    /// Logging could not be set up.
    #[error(transparent)]
    Log(#[from] crate::telemetry::LogError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else that stopped it, said in full.
    #[error("{0}")]
    Failed(String),
    /// A check found differences and has printed them.
    #[error("the store has differences")]
    Differs,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // What this makes is for its user only: the store, what is in it, exports.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = Cli::parse();
    let named = cli.config.clone();
    let sources = Sources::from_process(config_file(cli.config));
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args, &sources),
        Command::Status(args) => status::run(&args, &sources),
        Command::Ingest(args) => ingest::run(&args, &sources),
        Command::Admin(args) => session::admin(&args, &sources),
        Command::Session(args) => session::session(&args, &sources),
        Command::Xrpc(args) => xrpc::run(&args),
        Command::Repo(args) => repo::run(&args, &sources),
        Command::Backfill(args) => backfill::run(&args, &sources),
        Command::Account(args) => account::run(&args, &sources),
        Command::Identity(args) => identity::run(&args, &sources),
        Command::Member(args) => member::run(&args, &sources),
        Command::Scope(args) => retention::plan(&args, &sources),
        Command::Retention(args) => retention::run(&args, &sources),
        Command::Search(args) => search::run(&args, &sources),
        Command::Setup(args) => setup::run(&args, named.as_deref()),
        Command::Doctor(args) => doctor::run(&args, &sources),
        Command::Config(args) => config::run(&args, &sources),
        Command::Private(args) => private::run(&args, &sources),
        Command::Backup(args) => backup::run(&args, &sources),
        Command::Upgrade(args) => upgrade::run(&args, &sources),
        Command::Db(args) => db::run(&args, &sources),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::pages(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // `aerie config show | head` is no failure.
        Err(CliError::Output(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            match error {
                CliError::Config(_) => ExitCode::from(EX_CONFIG),
                CliError::Store(e) | CliError::Serve(ServeError::Store(e))
                    if e.needs_operator() =>
                {
                    ExitCode::from(EX_CONFIG)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn config_file(named: Option<PathBuf>) -> Option<PathBuf> {
    let default =
        || DEFAULT_FILES.iter().map(Path::new).find(|path| path.exists()).map(PathBuf::from);
    named.or_else(default)
}

/// The configuration, or its errors for exit code 78.
fn configuration(sources: &Sources) -> Result<Config, CliError> {
    Ok(load(sources)?)
}

/// What the running server answers.
fn answer<O: Operation>(sources: &Sources, operation: O) -> Result<O::Answer, CliError> {
    let config = configuration(sources)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(crate::admin::ask(&config.store.path, operation))?)
}

/// Asks before something is deleted for ever, unless `yes` says so already.
fn confirm(yes: bool, what: &str) -> Result<(), CliError> {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    confirmed(yes, what, terminal.then(|| stdin.lock()))
}

/// The answer comes from a terminal, where there is one.
fn confirmed(yes: bool, what: &str, terminal: Option<impl BufRead>) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let Some(mut terminal) = terminal else {
        let why = format!("{what}. Nothing was done: with --yes it is done without asking");
        return Err(CliError::Failed(why));
    };
    eprint!("{what}. Go on? [y/N] ");
    let mut line = String::new();
    terminal.read_line(&mut line)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Failed("nothing was done".to_owned())),
    }
}

/// Prints something as JSON, or in words.
fn print<T: Serialize>(
    value: &T,
    as_json: bool,
    words: impl FnOnce(&T) -> String,
) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match as_json {
        true => {
            let value = serde_json::to_value(value).map_err(std::io::Error::from)?;
            writeln!(out, "{value:#}")?;
        }
        false => out.write_all(words(value).as_bytes())?,
    }
    Ok(())
}

/// What says that there is a store: beside it, beside the configuration, and where the service manager keeps state.
fn mark(config: &Config, sources: &Sources) -> Mark {
    let file = sources.file.as_ref().and_then(|file| std::path::absolute(file).ok());
    let beside = file.and_then(|file| file.parent().map(Path::to_owned));
    let state = sources.env.iter().find(|(name, _)| name == "STATE_DIRECTORY");
    let state = state.and_then(|(_, folders)| folders.split(':').next()).map(PathBuf::from);
    let folders: Vec<PathBuf> = beside.into_iter().chain(state).collect();
    Mark::new(&config.store.path, &folders)
}

/// Opens the store, and says how it goes if it has to be brought to this version's format first.
fn open_store(path: &Path, memory_budget: u64) -> Result<Store, StoreError> {
    migrations::open(path, memory_budget, &mut migrating())
}

/// Says on standard error how far a migration is. Nothing is shown unless there is one.
fn migrating() -> impl FnMut(&Progress) {
    let mut meter: Option<progress::Meter> = None;
    move |far| {
        let share = far.done as f64 / far.of.max(1) as f64;
        meter.get_or_insert_with(progress::Meter::new).at(Some(share), || far.to_string());
    }
}

/// Seconds for people.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_deletes_asks_first() {
        for (yes, said, goes_on) in [
            (true, None, true),
            (true, Some("n\n"), true),
            (false, None, false),
            (false, Some("y\n"), true),
            (false, Some(" YES \n"), true),
            (false, Some("\n"), false),
            (false, Some(""), false),
            (false, Some("yesterday\n"), false),
        ] {
            let got = confirmed(yes, "all of it goes", said.map(str::as_bytes));
            assert_eq!(got.is_ok(), goes_on, "{yes} {said:?}");
            let why = got.err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(why.contains("--yes"), !yes && said.is_none(), "{why}");
        }
    }

    #[test]
    fn a_backfill_is_of_one_thing_and_never_of_the_network_by_chance() {
        let parses = |args: &str| {
            let all = ["aerie", "backfill"].into_iter().chain(args.split(' '));
            Cli::try_parse_from(all).is_ok()
        };
        for args in [
            "start --pds a",
            "start --network --wait",
            "start --relay a --collection b.c.d",
            "stop --all",
            "stop --relay a --collection b.c.d --json",
        ] {
            assert!(parses(args), "{args}");
        }
        for args in [
            "start --wait",
            "start --collection b.c.d",
            "start --pds a --network",
            "start --pds a --relay b",
            "start --pds a --collection b.c.d",
            "stop --json",
            "stop --all --pds a",
        ] {
            assert!(!parses(args), "{args}");
        }
    }

    #[test]
    fn config_is_accepted_before_and_after_the_subcommand() {
        for args in [
            ["aerie", "--config", "x", "config", "check"],
            ["aerie", "config", "check", "--config", "x"],
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert_eq!(cli.config, Some("x".into()));
        }
    }
}
