//! Looks at an installation as a whole and says what is the matter with it, and with what it is mended: the machine, the
//! configuration, the server, the public name, and whom the server needs.
//!
//! Each check is a function with a row in the table `CHECKS`. It takes a bounded time, changes nothing, and works whether the server
//! runs (then its status is asked through the admin socket) or not. Knows no command line: findings go out, `cli` shows them.

mod appetite;
mod disk;
mod machine;
mod name;
mod needs;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use serde_json::Value;

use crate::admin::protocol::Status;
use crate::admin::{self, AskError};
use crate::config::Config;
use crate::net::{Dialer, HttpClient, NetError};

pub use appetite::{Appetite, appetite};
pub use disk::{fits, nearest};

/// No check takes longer.
const TIME: Duration = Duration::from_secs(25);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is the matter.
    Ok,
    /// It could not be looked at, or is not meant to be.
    Skipped,
    /// It works, and will not always.
    Warning,
    /// It does not work.
    Failed,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// That in a sentence.
    pub says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn new(state: State, says: String, fix: Option<String>) -> Self {
        Self { check: "", state, says, fix }
    }

    fn ok(says: impl Into<String>) -> Self {
        Self::new(State::Ok, says.into(), None)
    }

    fn skipped(says: impl Into<String>) -> Self {
        Self::new(State::Skipped, says.into(), None)
    }

    fn warning(says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Warning, says.into(), Some(fix.into()))
    }

    fn failed(says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Failed, says.into(), Some(fix.into()))
    }
}

/// The server of the store that the configuration names.
#[derive(Debug)]
pub enum Server {
    /// It runs, and this is its status.
    Running(Value),
    /// Nothing listens.
    Stopped,
    /// It gave no answer.
    Silent(String),
}

/// What is looked at.
pub struct Patient {
    config: Config,
    server: Server,
    /// The operator named every host that is asked, so none of them is guarded.
    dialer: Dialer,
    http: HttpClient,
    /// Where units of systemd are.
    units: Vec<PathBuf>,
}

impl Patient {
    /// Asks the server for its status. `authorities` is a PEM file of certificates that are trusted besides Mozilla's.
    ///
    /// # Errors
    /// `authorities` has none, or the resolver cannot be set up.
    pub async fn admit(config: Config, authorities: Option<&[u8]>) -> Result<Self, NetError> {
        let dialer = match authorities {
            Some(pem) => Dialer::trusting(true, pem)?,
            None => Dialer::new(true)?,
        };
        let server = match admin::ask(&config.store.path, Status {}).await {
            Ok(status) => Server::Running(status),
            Err(AskError::NotRunning(_)) => Server::Stopped,
            Err(error) => Server::Silent(error.to_string()),
        };
        let http = HttpClient::new(&dialer, &config.server.public_url);
        let units = machine::UNIT_FOLDERS.map(PathBuf::from).to_vec();
        Ok(Self { config, server, dialer, http, units })
    }

    /// What the running server says, if it does.
    fn status(&self) -> Option<&Value> {
        match &self.server {
            Server::Running(status) => Some(status),
            Server::Stopped | Server::Silent(_) => None,
        }
    }
}

/// A row of the table.
struct Check {
    name: &'static str,
    /// Whether it asks others.
    online: bool,
    look: for<'a> fn(&'a Patient) -> BoxFuture<'a, Vec<Finding>>,
}

/// Every check, in the order in which a person reads what they found.
const CHECKS: &[Check] = &[
    Check { name: "modes", online: false, look: machine::modes },
    Check { name: "unit", online: false, look: machine::unit },
    Check { name: "files", online: false, look: machine::files },
    Check { name: "server", online: false, look: server::server },
    Check { name: "version", online: false, look: server::version },
    Check { name: "space", online: false, look: disk::space },
    Check { name: "scope", online: false, look: disk::scope },
    Check { name: "speed", online: false, look: disk::speed },
    Check { name: "export", online: false, look: server::export },
    Check { name: "counts", online: false, look: server::counts },
    Check { name: "clock", online: true, look: needs::clock },
    Check { name: "upstreams", online: true, look: needs::upstreams },
    Check { name: "directory", online: true, look: needs::directory },
    Check { name: "labelers", online: true, look: needs::labelers },
    Check { name: "name", online: true, look: name::addresses },
    Check { name: "tls", online: true, look: name::certificate },
    Check { name: "did", online: true, look: name::document },
    Check { name: "proxy", online: true, look: name::proxy },
];

/// What is reached from here: the checks that ask others.
pub async fn reachable(patient: &Patient) -> Vec<Finding> {
    run(patient, |check| check.online, false).await
}

/// Runs every check; without `online`, those that ask others are skipped.
pub async fn examine(patient: &Patient, online: bool) -> Vec<Finding> {
    run(patient, |_| true, !online).await
}

async fn run(patient: &Patient, wanted: fn(&Check) -> bool, offline: bool) -> Vec<Finding> {
    let looks = CHECKS.iter().filter(|check| wanted(check)).map(|check| async move {
        let found = match check.online && offline {
            true => vec![Finding::skipped("not asked for")],
            false => match tokio::time::timeout(TIME, (check.look)(patient)).await {
                Ok(found) => found,
                Err(_) => vec![Finding::failed(
                    format!("no end within {} s", TIME.as_secs()),
                    "try again; if it stays so, look at the disk or the network that it waits for",
                )],
            },
        };
        found.into_iter().map(|finding| Finding { check: check.name, ..finding })
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// A size for people.
fn gb(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        1_000_000_000..100_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
