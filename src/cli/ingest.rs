//! `aerie ingest`: what comes in from upstreams.

use clap::Subcommand;

use super::{CliError, answer, print};
use crate::admin::protocol::{IngestPause, IngestReconnect, IngestResume};
use crate::config::Sources;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take nothing new in until it is resumed or the server starts again; reads go on
    Pause,
    /// Go on where it was paused: nothing is lost as long as the upstream still has it
    Resume,
    /// End the connection to an upstream and make another
    Reconnect {
        /// As `aerie status` prints it
        #[arg(value_name = "URL")]
        upstream: String,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let (done, text) = match &args.action {
        Action::Pause => (answer(sources, IngestPause {})?, "nothing new is taken in\n".to_owned()),
        Action::Resume => {
            (answer(sources, IngestResume {})?, "what is new is taken in\n".to_owned())
        }
        Action::Reconnect { upstream } => {
            let done = answer(sources, IngestReconnect { url: upstream.clone() })?;
            (done, format!("connecting to {upstream} anew\n"))
        }
    };
    print(&done, false, |_| text)
}
