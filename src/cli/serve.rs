//! `aerie serve`: runs the server.

use super::{CliError, configuration};
use crate::config::{LogFormat, Sources};
use crate::{runtime, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let options = telemetry::LogOptions {
        filter: &config.log.level,
        json: config.log.format == LogFormat::Json,
    };
    let log = telemetry::init(&options)?;
    Ok(runtime::run(config, sources.clone(), log)?)
}
