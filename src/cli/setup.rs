//! `aerie setup`: asks what cannot be guessed, makes secrets and keys, writes the configuration, and says what comes next.
//!
//! Nothing is changed before every answer is there and the configuration that they make is valid; a configuration that is
//! there is replaced only if that is wanted, and then kept beside it.

mod answers;
mod files;
pub(super) mod proxy;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::CliError;
use crate::config::ScopeMode;
use answers::Answers;
use proxy::Proxy;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name that clients use, such as appview.example.org: proxy and certificate are for it
    #[arg(long, value_name = "NAME|URL")]
    public_url: Option<String>,
    /// How much of the network is kept [default: window]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Days of the window [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// What the store is to stay under, such as 20GB [default: half of what is free, less the reserve]
    #[arg(long, value_name = "SIZE")]
    disk_budget: Option<String>,
    /// An account that is a member from the start on, by handle or DID; may be given several times
    #[arg(long, value_name = "HANDLE|DID")]
    member: Vec<String>,
    /// Who else becomes a member by calling [default: anyone]
    #[arg(long, value_enum)]
    join: Option<Join>,
    /// File whose first line is the password of the admin pages [default: one is made]
    #[arg(long, value_name = "FILE")]
    admin_password: Option<PathBuf>,
    /// Address and port that the proxy passes calls to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2584")]
    listen: String,
    /// The proxy in front, whose lines are printed
    #[arg(long, value_enum, default_value = "caddy")]
    proxy: Proxy,
    /// Folder of the configuration, secrets and keys [default: that of --config, else /etc/aerie for root, else the
    /// working directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Folder of the store [default: /var/lib/aerie/data for root, else ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The user that the server runs as; what is made can be read by its group
    #[arg(long, value_name = "NAME", default_value = "aerie")]
    user: String,
    /// Ask nothing: what is not given is guessed, but for the name
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that is there; it is kept beside the new one
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Everything, for ever
    Whole,
    /// Everything for some days, and what touches members and those they follow for ever
    Window,
    /// Only what touches members and those they follow
    Circle,
}

impl Mode {
    fn scope(self) -> ScopeMode {
        match self {
            Self::Whole => ScopeMode::Whole,
            Self::Window => ScopeMode::Window,
            Self::Circle => ScopeMode::Circle,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Join {
    /// Whoever calls with a valid token and wants something kept
    Anyone,
    /// Nobody but those who are named
    Listed,
}

/// `named` is the file that `--config` names.
pub(super) fn run(args: &Args, named: Option<&Path>) -> Result<(), CliError> {
    let place = files::Place::of(args, named);
    let replaces = place.may_write(args)?;
    let answers = Answers::gather(args, &place.data)?;
    let config = place.write(&answers, replaces)?;
    let mut out = std::io::stdout().lock();
    let file = place.config.display();
    writeln!(out, "\nwritten: {file}")?;
    if let Some(old) = &place.kept {
        writeln!(out, "the one before: {}", old.display())?;
    }
    writeln!(out, "password of `admin` for the admin pages: in {}", place.password.display())?;
    writeln!(out, "scope: {}", answers.expectation(&config))?;
    for handle in &answers.unresolved {
        writeln!(out, "{handle} was not found: once the server runs, aerie member add {handle}")?;
    }
    writeln!(out, "\n{}", args.proxy.explained(&config))?;
    writeln!(
        out,
        "In the environment of your PDS, then restart it:\n\n    PDS_BSKY_APP_VIEW_URL={}\n    PDS_BSKY_APP_VIEW_DID={}\n",
        config.server.public_url, config.server.did
    )?;
    writeln!(
        out,
        "A client that has a setting for the AppView: atproto-proxy: {}#bsky_appview\n",
        config.server.did
    )?;
    match place.is_system {
        true => writeln!(out, "next: systemctl enable --now aerie, then aerie doctor")?,
        false => {
            writeln!(out, "next: aerie serve --config {file}, then aerie doctor --config {file}")?
        }
    }
    Ok(())
}
