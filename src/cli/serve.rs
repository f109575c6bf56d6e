//! `aerie serve`: runs the server.

use super::{CliError, configuration, mark};
use crate::config::{LogFormat, Sources};
use crate::{runtime, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Believe the clock of this machine while this runs, whatever others say
    ///
    /// A clock that disagrees with the servers and upstreams of the configuration, or with what it showed before, lets
    /// ingest and retention wait until it is set. This is for when it is right and they are not.
    #[arg(long)]
    trust_clock: bool,
    /// Begin with an empty store though there was one
    ///
    /// A store that is gone is not made anew by itself, since it may be on a disk that is not mounted. Does nothing if
    /// the store is there.
    #[arg(long)]
    new_store: bool,
    /// Let a part of the server, or a thread of one, panic once (in builds for tests only)
    #[cfg(feature = "testing")]
    #[arg(long, value_name = "NAME")]
    fail_part: Option<String>,
    /// Let the clock be wrong by as many seconds as a file says, at any time (in builds for tests only)
    #[cfg(feature = "testing")]
    #[arg(long, value_name = "FILE")]
    shift_clock: Option<std::path::PathBuf>,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let options = telemetry::LogOptions {
        filter: &config.log.level,
        json: config.log.format == LogFormat::Json,
    };
    let log = telemetry::init(&options)?;
    for exposed in config.exposed() {
        tracing::warn!("{exposed}");
    }
    args.arm();
    let mark = mark(&config, sources);
    if args.new_store {
        mark.forget()?;
    }
    let flags = runtime::Flags { trust_clock: args.trust_clock, mark };
    Ok(runtime::run(config, flags, sources.clone(), log)?)
}

impl Args {
    #[cfg(feature = "testing")]
    fn arm(&self) {
        if let Some(name) = &self.fail_part {
            crate::threads::fault::arm(name.clone());
        }
        if let Some(file) = &self.shift_clock {
            crate::threads::shift_by_file(file.clone());
        }
    }

    #[cfg(not(feature = "testing"))]
    fn arm(&self) {
        let _ = self;
    }
}
