//! `aerie account`: what people may ask for, done by the operator: opting out, deletion, a copy of everything.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::private::write_to;
use super::{CliError, answer, configuration, confirm, print};
use crate::admin;
use crate::admin::protocol::{
    AccountDelete, AccountExport, AccountOptIn, AccountOptOut, AccountOptOuts, AccountState,
    AccountStatus,
};
use crate::config::Sources;
use crate::private::takeout::Page;
use crate::syntax::datetime::format_ms;

const AFTER_HELP: &str = "\
An account can do all of this itself, signed in at its PDS, by the methods alt.aerie.account.*
(see `aerie xrpc list`). Its repo stays at its PDS whatever happens here.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether an account opted out, and whether something of it is being deleted
    Status {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        account: String,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Accounts of which nothing is collected
    #[command(subcommand)]
    OptOut(OptOut),
    /// Delete everything that is held of an account, for ever
    ///
    /// Its records with everything that is counted of them, its mutes, bookmarks, drafts, preferences, devices,
    /// notifications and community posts. It is hidden at once and deleted in the background; `aerie account status` says
    /// when that is done. What it does afterwards is collected again, unless it opts out.
    Delete {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        account: String,
        /// Collect nothing of it afterwards either
        #[arg(long)]
        opt_out: bool,
        /// Delete without asking
        #[arg(long)]
        yes: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write everything that is held of an account, one JSON object a line
    ///
    /// First the account, then what it set here as in `aerie private export`, then every record with its CID. The last
    /// line says how many there are. A file is written whole or not at all, readable by its owner only.
    Export {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        account: String,
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum OptOut {
    /// Collect nothing of an account any more, and delete what was
    ///
    /// No record of it comes in again, by the stream, backfill, files or reads, and to others it looks as if it did not
    /// exist. Its mutes, bookmarks, drafts and settings stay: `aerie account delete` takes them. It holds until it is taken
    /// back, also when the account is deleted, and `aerie private export` has it.
    Add {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        account: String,
        /// Delete what was collected without asking
        #[arg(long)]
        yes: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Collect an account again; its repo is fetched
    Remove {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        account: String,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the accounts, and since when
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let (state, as_json) = match &args.action {
        Action::Status { account, json } => {
            (answer(sources, AccountStatus { account: account.clone() })?, *json)
        }
        Action::OptOut(OptOut::Add { account, yes, json }) => {
            confirm(*yes, &format!("everything that was collected of {account} goes"))?;
            (answer(sources, AccountOptOut { account: account.clone() })?, *json)
        }
        Action::OptOut(OptOut::Remove { account, json }) => {
            (answer(sources, AccountOptIn { account: account.clone() })?, *json)
        }
        Action::OptOut(OptOut::List { json }) => {
            let list = answer(sources, AccountOptOuts {})?;
            return print(&list, *json, |list| list.opt_outs.iter().map(line).collect());
        }
        Action::Delete { account, opt_out, yes, json } => {
            confirm(*yes, &format!("everything that is held of {account} goes, for ever"))?;
            let delete = AccountDelete { account: account.clone(), opt_out: *opt_out };
            (answer(sources, delete)?, *json)
        }
        Action::Export { account, out } => return export(sources, account, out.as_deref()),
    };
    print(&state, as_json, line)
}

fn line(account: &AccountState) -> String {
    let AccountState { did, opted_out_at, deleting } = account;
    let since = opted_out_at.map(format_ms);
    let collected = since.map_or_else(|| "collected".to_owned(), |at| format!("opted out {at}"));
    let rest = if *deleting { ", being deleted" } else { "" };
    format!("{did} {collected}{rest}\n")
}

fn export(sources: &Sources, account: &str, out: Option<&Path>) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let store = &config.store.path;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A handle may come to mean somebody else in the middle.
        let whom = AccountStatus { account: account.to_owned() };
        let AccountState { did, .. } = admin::ask(store, whom).await?;
        write_to(out, async |out| {
            let mut next = None;
            loop {
                let page = AccountExport { account: did.clone(), next };
                let Page { text, next: more } = admin::ask(store, page).await?;
                out.write_all(text.as_bytes())?;
                next = more;
                if next.is_none() {
                    return Ok(());
                }
            }
        })
        .await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_line() {
        let told = |opted_out_at: Option<i64>, deleting: bool| {
            line(&AccountState { did: "did:plc:a".to_owned(), opted_out_at, deleting })
        };
        assert_eq!(told(None, true), "did:plc:a collected, being deleted\n");
        assert_eq!(told(Some(0), false), "did:plc:a opted out 1970-01-01T00:00:00.000Z\n");
    }
}
