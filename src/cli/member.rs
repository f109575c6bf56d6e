//! `aerie member`: the accounts whose notifications are kept, and around whom the scope is drawn.

use clap::Subcommand;
use serde_json::{Value, json};

use super::status::{list, text};
use super::{CliError, answer, print};
use crate::config::Sources;
use crate::syntax::datetime::format_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an account a member before it calls
    Add {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        member: String,
    },
    /// Make an account a member no more
    ///
    /// Its notifications go, and what is kept only for its sake goes with the next retention. Its mutes, bookmarks and
    /// settings stay. It is a member again when it calls with a valid token.
    Remove {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        member: String,
    },
    /// List members: since when, and how many accounts each follows
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Add { member } => {
            let got = answer(sources, &json!({ "command": "member.add", "member": member }))?;
            print(&got, false, |got| {
                let did = text(got, "did");
                format!("{did} is a member; what it and those it follows wrote is fetched\n")
            })
        }
        Action::Remove { member } => {
            let got = answer(sources, &json!({ "command": "member.remove", "member": member }))?;
            print(&got, false, removed)
        }
        Action::List { json: as_json } => {
            let got = answer(sources, &json!({ "command": "member.list" }))?;
            print(&got, *as_json, |got| list(got, "members").iter().map(line).collect())
        }
    }
}

fn removed(got: &Value) -> String {
    let configured = match got.get("configured") {
        Some(Value::Bool(true)) => {
            "it is in scope.members, which makes it one again at the next start\n"
        }
        _ => "",
    };
    format!("{} is no member any more\n{configured}", text(got, "did"))
}

fn line(member: &Value) -> String {
    let since = member.get("since").and_then(Value::as_i64).map(format_ms);
    let follows = member.get("follows").and_then(Value::as_u64).unwrap_or(0);
    let configured = member.get("configured") == Some(&Value::Bool(true));
    format!(
        "{} {}, since {}, follows {follows}{}\n",
        text(member, "did"),
        text(member, "handle"),
        since.as_deref().unwrap_or("-"),
        if configured { ", in scope.members" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_line() {
        let m = json!({ "did": "did:plc:a", "handle": null, "since": 0, "follows": 3, "configured": true });
        assert_eq!(
            line(&m),
            "did:plc:a -, since 1970-01-01T00:00:00.000Z, follows 3, in scope.members\n"
        );
    }
}
