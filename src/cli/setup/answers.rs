//! What is asked, what was given, and what follows from both.

use std::io::{BufRead, IsTerminal as _};
use std::path::Path;

use super::{Args, Join, Mode};
use crate::cli::CliError;
use crate::cli::format::bytes;
use crate::config::{Config, Network, ScopeMode, Sources, load};
use crate::doctor::{Appetite, appetite};
use crate::identity::{Freshness, Identity};
use crate::net::Dialer;
use crate::store::{DiskSpace, disk_space};
use crate::syntax::{Did, Handle};

const DAYS: u32 = 30;
/// Handles are asked for at a time.
const RESOLVED: usize = 64;
const NAME: &str = "Name under which clients reach this server, such as appview.example.org";

/// All that the configuration needs.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) public_url: String,
    pub(super) listen: String,
    pub(super) mode: ScopeMode,
    pub(super) days: u32,
    pub(super) disk_budget: Option<String>,
    pub(super) members: Vec<Did>,
    /// Handles that nobody knows at the moment.
    pub(super) unresolved: Vec<String>,
    pub(super) listed: bool,
    /// None if one is made.
    pub(super) password: Option<String>,
    disk: DiskSpace,
}

/// Somebody who answers, or nobody.
struct Dialog<R>(Option<R>);

impl<R: BufRead> Dialog<R> {
    /// What was typed; nothing if there is nobody, or he has nothing to say.
    fn ask(&mut self, question: &str, default: &str) -> Result<Option<String>, CliError> {
        let Some(terminal) = &mut self.0 else { return Ok(None) };
        match default {
            "" => eprint!("{question}: "),
            default => eprint!("{question} [{default}]: "),
        }
        let mut line = String::new();
        if terminal.read_line(&mut line)? == 0 {
            return Err(CliError::Failed("nothing was done".to_owned()));
        }
        let said = line.trim();
        Ok((!said.is_empty()).then(|| said.to_owned()))
    }

    /// Asks until the answer can be used.
    fn until<T>(
        &mut self,
        question: &str,
        default: &str,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        while let Some(said) = self.ask(question, default)? {
            match read(&said) {
                Ok(answer) => return Ok(Some(answer)),
                Err(why) => eprintln!("  {why}"),
            }
        }
        Ok(None)
    }
}

impl Answers {
    pub(super) fn gather(args: &Args, data: &Path) -> Result<Self, CliError> {
        let stdin = std::io::stdin();
        let asks = !args.yes && stdin.is_terminal();
        Self::with(args, data, asks.then(|| stdin.lock()))
    }

    fn with(args: &Args, data: &Path, terminal: Option<impl BufRead>) -> Result<Self, CliError> {
        let mut dialog = Dialog(terminal);
        let disk = disk_space(&crate::doctor::nearest(data))?;
        let public_url = match &args.public_url {
            Some(given) => url(given).map_err(CliError::Failed)?,
            None => loop {
                match dialog.until(NAME, "", url)? {
                    Some(url) => break url,
                    None if dialog.0.is_some() => eprintln!("  it cannot be guessed"),
                    None => {
                        return Err(CliError::Failed(
                            "name the server with --public-url appview.example.org, or run this on a terminal".to_owned(),
                        ));
                    }
                }
            },
        };
        let mode = match args.mode {
            Some(mode) => mode,
            None => {
                dialog.explain(disk)?;
                let read = |said: &str| clap::ValueEnum::from_str(said, true);
                dialog.until("How much", "window", read)?.unwrap_or(Mode::Window)
            }
        };
        let days = match (mode, args.days) {
            (Mode::Window, None) => {
                let read = |said: &str| match said.parse() {
                    Ok(days @ 1..=36_500) => Ok(days),
                    _ => Err("a number of days".to_owned()),
                };
                dialog.until("Days that it is kept", "30", read)?.unwrap_or(DAYS)
            }
            (_, given) => given.unwrap_or(DAYS),
        };
        let disk_budget = match mode {
            Mode::Whole => None,
            Mode::Window | Mode::Circle => {
                let guess = budget(disk);
                let given = match &args.disk_budget {
                    Some(given) => Some(size(given).map_err(CliError::Failed)?),
                    None => dialog.until("What the store is to stay under", &guess, size)?,
                };
                Some(given.unwrap_or(guess))
            }
        };
        let names = match args.member.as_slice() {
            [] => {
                let whose = "Your own accounts, and of whom this is for: handles or DIDs";
                let said = dialog.ask(whose, "none")?.unwrap_or_default();
                let names = said.split([',', ' ']).filter(|name| !name.is_empty());
                names.map(str::to_owned).collect()
            }
            given => given.to_vec(),
        };
        let (members, unresolved) = accounts(&names)?;
        let listed = match args.join {
            Some(join) => join == Join::Listed,
            None => {
                let read = |said: &str| clap::ValueEnum::from_str(said, true);
                let who = "Who else may become a member by calling: anyone, or only who is listed";
                dialog.until(who, "anyone", read)?.unwrap_or(Join::Anyone) == Join::Listed
            }
        };
        let password = args.admin_password.as_deref().map(first_line).transpose()?;
        let (mode, listen) = (mode.scope(), args.listen.clone());
        Ok(Self {
            public_url,
            listen,
            mode,
            days,
            disk_budget,
            members,
            unresolved,
            listed,
            password,
            disk,
        })
    }

    /// What the scope takes on this disk.
    pub(super) fn expectation(&self, config: &Config) -> String {
        match appetite(config, self.disk, 0) {
            Some(appetite) => format!("{}: {appetite}", self.mode.name()),
            None => format!(
                "{}: what it takes grows with members and whom they follow",
                self.mode.name()
            ),
        }
    }
}

impl<R: BufRead> Dialog<R> {
    /// What each scope takes on this disk.
    fn explain(&self, disk: DiskSpace) -> Result<(), CliError> {
        if self.0.is_none() {
            return Ok(());
        }
        let mut config = load(&Sources::default())?;
        eprintln!(
            "How much of the network is kept, on this disk ({} free):",
            bytes(disk.free as f64)
        );
        for (mode, name) in ScopeMode::ALL {
            config.scope.mode = mode;
            config.scope.days = DAYS;
            let takes = appetite(&config, disk, 0).as_ref().map(Appetite::to_string);
            let takes = takes.unwrap_or_else(|| {
                "what members, and whom they follow, have to do with".to_owned()
            });
            eprintln!("  {name:8}{takes}");
        }
        Ok(())
    }
}

/// A public URL from what a person types.
fn url(said: &str) -> Result<String, String> {
    let url = if said.contains("://") { said.to_owned() } else { format!("https://{said}") };
    let env = vec![("AERIE_SERVER__PUBLIC_URL".to_owned(), url)];
    match load(&Sources { file: None, env }) {
        Ok(config) => Ok(config.server.public_url),
        Err(errors) => Err(errors.0.first().map(|error| error.message.clone()).unwrap_or_default()),
    }
}

/// A size as the configuration takes it.
fn size(said: &str) -> Result<String, String> {
    let env = [("AERIE_SCOPE__DISK_BUDGET", said), ("AERIE_SCOPE__MODE", "window")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    match load(&Sources { file: None, env }) {
        Ok(_) => Ok(said.to_owned()),
        Err(errors) => Err(errors.0.first().map(|error| error.message.clone()).unwrap_or_default()),
    }
}

/// Half of what is free, so that the largest part of the store can be written anew beside it, less the reserve.
fn budget(disk: DiskSpace) -> String {
    let reserve = load(&Sources::default()).map_or(0, |config| config.store.reserve);
    let half = (disk.free / 2).saturating_sub(reserve) / 1_000_000_000;
    format!("{}GB", half.max(1))
}

/// The DIDs of accounts, and the handles that are not known or cannot be asked for now.
fn accounts(names: &[String]) -> Result<(Vec<Did>, Vec<String>), CliError> {
    let (mut known, mut handles) = (Vec::new(), Vec::new());
    for name in names {
        let name = name.trim_start_matches('@');
        match (Did::parse(name), Handle::parse(name)) {
            (Ok(did), _) => known.push(did),
            (_, Ok(handle)) => handles.push(handle),
            _ => return Err(CliError::Failed(format!("{name} is neither a handle nor a DID"))),
        }
    }
    if handles.is_empty() {
        return Ok((known, Vec::new()));
    }
    let network: Network = load(&Sources::default())?.network;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut unresolved = Vec::new();
    runtime.block_on(async {
        let failed = |error: crate::net::NetError| CliError::Failed(error.to_string());
        let dialer = Dialer::new(false).map_err(failed)?;
        let identity = Identity::new(&network, &dialer, "http://localhost", RESOLVED);
        for handle in handles {
            match identity.resolve_handle(&handle, Freshness::Fresh).await {
                Ok(Some(did)) => known.push(did),
                Ok(None) | Err(_) => unresolved.push(handle.as_str().to_owned()),
            }
        }
        Ok::<_, CliError>(())
    })?;
    Ok((known, unresolved))
}

fn first_line(file: &Path) -> Result<String, CliError> {
    let failed = |why: String| CliError::Failed(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|cause| failed(cause.to_string()))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(failed("its first line is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn of(args: &[&str], typed: Option<&str>) -> Result<Answers, CliError> {
        let line = Line::parse_from(std::iter::once(&"setup").chain(args));
        Answers::with(&line.args, Path::new("/tmp"), typed.map(str::as_bytes))
    }

    #[test]
    fn what_is_given_is_not_asked_and_what_cannot_be_guessed_is_refused() {
        let error = of(&["--yes"], None).unwrap_err().to_string();
        assert!(error.contains("--public-url"), "{error}");
        let answers = of(&["--public-url", "A.example"], None).unwrap();
        assert_eq!((answers.mode, answers.days, answers.listed), (ScopeMode::Window, 30, false));
        assert!(answers.disk_budget.is_some_and(|budget| budget.ends_with("GB")));
        let answers = of(&["--public-url", "https://a.example", "--mode", "whole"], None).unwrap();
        assert_eq!((answers.mode, answers.disk_budget), (ScopeMode::Whole, None));
        for bad in [
            &["--public-url", "https://a.example/path"][..],
            &["--public-url", "a.example", "--disk-budget", "much"],
            &["--public-url", "a.example", "--member", "nobody at all"],
            &["--public-url", "a.example", "--admin-password", "/no/such/file"],
        ] {
            assert!(of(bad, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_asked_is_asked_again_until_it_can_be_used() {
        let typed = "\nnot a name\nappview.example.org\nall\ncircle\nmuch\n5GB\ndid:plc:abc, did:web:b.example\nlisted\n";
        let answers = of(&[], Some(typed)).unwrap();
        assert_eq!(answers.public_url, "https://appview.example.org");
        assert_eq!(
            (answers.mode, answers.disk_budget.as_deref()),
            (ScopeMode::Circle, Some("5GB"))
        );
        let members: Vec<_> = answers.members.iter().map(Did::as_str).collect();
        assert_eq!(members, ["did:plc:abc", "did:web:b.example"]);
        assert!(answers.listed);
        // Whoever goes away in the middle has changed nothing.
        assert!(of(&[], Some("appview.example.org\n")).is_err());
    }
}
