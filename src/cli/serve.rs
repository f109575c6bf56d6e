//! `aerie serve`: runs the server.

use super::{CliError, configuration};
use crate::config::{LogFormat, Sources};
use crate::{runtime, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Let a part of the server, or a thread of one, panic once (in builds for tests only)
    #[cfg(feature = "testing")]
    #[arg(long, value_name = "NAME")]
    fail_part: Option<String>,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let options = telemetry::LogOptions {
        filter: &config.log.level,
        json: config.log.format == LogFormat::Json,
    };
    let log = telemetry::init(&options)?;
    args.arm();
    Ok(runtime::run(config, sources.clone(), log)?)
}

impl Args {
    #[cfg(feature = "testing")]
    fn arm(&self) {
        if let Some(name) = &self.fail_part {
            crate::threads::fault::arm(name.clone());
        }
    }

    #[cfg(not(feature = "testing"))]
    fn arm(&self) {
        let _ = self;
    }
}
