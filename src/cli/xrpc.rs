//! `aerie xrpc`: what the server can be asked.

use std::io::Write as _;

use clap::Subcommand;

use super::CliError;
use crate::xrpc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every method: kind, who may call it, parameters, and why it is not served if it is not
    ///
    /// A parameter with * is required, one with [] may be given several times, = gives the default. What depends on the
    /// configuration is listed as without one; the page at /docs of a server knows.
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let Action::List { json } = &args.action;
    let methods = xrpc::list(false);
    let mut out = std::io::stdout().lock();
    if *json {
        let text = serde_json::to_string_pretty(&methods).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let width = methods.iter().map(|method| method.nsid.len()).max().unwrap_or(0);
    for method in &methods {
        let nsid = method.nsid;
        match method.not_served {
            Some(why) => writeln!(out, "{nsid:width$}  {:9}  501: {why}", method.kind)?,
            None => {
                let auth = method.auth.unwrap_or_default();
                let line = format!(
                    "{nsid:width$}  {:9}  {auth:15}  {}",
                    method.kind,
                    method.params_text()
                );
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}
