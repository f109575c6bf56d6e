//! `aerie member`: the accounts whose notifications are kept, and around whom the scope is drawn.

use clap::Subcommand;

use super::{CliError, answer, print};
use crate::admin::protocol::{
    Member, MemberAdd, MemberAdded, MemberList, MemberRemove, MemberRemoved,
};
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
            let got = answer(sources, MemberAdd { member: member.clone() })?;
            print(&got, false, |MemberAdded { did }| {
                format!("{did} is a member; what it and those it follows wrote is fetched\n")
            })
        }
        Action::Remove { member } => {
            let got = answer(sources, MemberRemove { member: member.clone() })?;
            print(&got, false, removed)
        }
        Action::List { json } => {
            let got = answer(sources, MemberList {})?;
            print(&got, *json, |got| got.members.iter().map(line).collect())
        }
    }
}

fn removed(got: &MemberRemoved) -> String {
    let again = "it is in scope.members, which makes it one again at the next start\n";
    let again = if got.configured { again } else { "" };
    format!("{} is no member any more\n{again}", got.did)
}

fn line(member: &Member) -> String {
    let Member { did, handle, since, follows, configured } = member;
    let since = since.map(format_ms);
    format!(
        "{did} {}, since {}, follows {follows}{}\n",
        handle.as_deref().unwrap_or("-"),
        since.as_deref().unwrap_or("-"),
        if *configured { ", in scope.members" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_line() {
        let m = Member {
            did: "did:plc:a".to_owned(),
            since: Some(0),
            follows: 3,
            configured: true,
            ..Member::default()
        };
        assert_eq!(
            line(&m),
            "did:plc:a -, since 1970-01-01T00:00:00.000Z, follows 3, in scope.members\n"
        );
    }
}
