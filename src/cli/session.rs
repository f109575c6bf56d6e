//! `aerie admin login` and `aerie session`: signing in to the dashboard, and who is signed in.

use clap::{Subcommand, ValueEnum};

use super::{CliError, answer, print, span};
use crate::admin::protocol::{
    AdminLogin, LoginLink, SessionList, SessionListed, SessionRevoke, SessionsRevoked,
};
use crate::config::Sources;
use crate::private::{Lets, Role};
use crate::syntax::datetime::format_ms;

#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    action: AdminAction,
}

#[derive(Debug, Subcommand)]
enum AdminAction {
    /// Print a link that signs you in to the dashboard
    ///
    /// It works once, within ten minutes, and needs no password. Whoever has it can sign in: do not send it on.
    Login {
        /// What whoever follows it may do
        #[arg(long, value_enum, default_value = "admin")]
        role: RoleArg,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Everything
    Admin,
    /// See everything, change nothing
    Viewer,
}

#[derive(Debug, clap::Args)]
pub(super) struct SessionArgs {
    #[command(subcommand)]
    action: SessionAction,
}

#[derive(Debug, Subcommand)]
enum SessionAction {
    /// List who is signed in to the dashboard, and links that are not used yet
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign somebody out, or take a link back: at once, open pages included
    Revoke {
        /// As `aerie session list` prints it
        #[arg(value_name = "ID", required_unless_present = "all")]
        id: Option<String>,
        /// All sessions and links
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

pub(super) fn admin(args: &AdminArgs, sources: &Sources) -> Result<(), CliError> {
    let AdminAction::Login { role, json } = &args.action;
    let role = match role {
        RoleArg::Admin => Role::Admin,
        RoleArg::Viewer => Role::Viewer,
    };
    let link = answer(sources, AdminLogin { role })?;
    print(&link, *json, |LoginLink { url, seconds }| {
        format!("{url}\nIt works once, within {}.\n", span(*seconds))
    })
}

pub(super) fn session(args: &SessionArgs, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        SessionAction::List { json } => {
            let got = answer(sources, SessionList {})?;
            print(&got, *json, |got| match got.sessions.is_empty() {
                true => "nobody is signed in\n".to_owned(),
                false => got.sessions.iter().map(line).collect(),
            })
        }
        SessionAction::Revoke { id, .. } => {
            let got = answer(sources, SessionRevoke { id: id.clone() })?;
            print(&got, false, |SessionsRevoked { revoked }| format!("{revoked} revoked\n"))
        }
    }
}

fn line(one: &SessionListed) -> String {
    let kind = match one.kind {
        Lets::Session => "session",
        Lets::Link => "link",
    };
    format!(
        "{} {kind} of {}, by {}, since {}, last used {}, until {}\n",
        one.id,
        one.role.name(),
        one.name,
        format_ms(one.at),
        format_ms(one.seen),
        format_ms(one.until)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_line() {
        let one = SessionListed {
            id: "0a1b".to_owned(),
            kind: Lets::Link,
            role: Role::Viewer,
            name: "link 0a1b".to_owned(),
            at: 0,
            seen: 0,
            until: 600_000,
        };
        let expected = "0a1b link of viewer, by link 0a1b, since 1970-01-01T00:00:00.000Z, last used \
                        1970-01-01T00:00:00.000Z, until 1970-01-01T00:10:00.000Z\n";
        assert_eq!(line(&one), expected);
    }
}
