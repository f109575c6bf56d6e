//! Logging to standard error, as text or JSON, with a filter that can be changed while running.

use std::io::IsTerminal;
use std::os::linux::fs::MetadataExt;

use super::recent;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// How to log.
#[derive(Clone, Debug)]
pub struct LogOptions<'a> {
    /// A level, or directives such as `info,aerie::net=debug`. `RUST_LOG`, when valid, wins.
    pub filter: &'a str,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a filter.
    #[error("not a log filter: {0}")]
    Filter(String),
    /// [`init`] was called twice.
    #[error("logging is already set up")]
    Twice,
}

/// Changes the filter of a running process.
#[derive(Clone, Debug)]
pub struct LogControl(reload::Handle<Targets, Registry>);

impl LogControl {
    /// Replaces the filter; `RUST_LOG` still wins.
    ///
    /// # Errors
    /// [`LogError::Filter`] when `filter` cannot be parsed; the old filter stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let targets = targets(filter, std::env::var("RUST_LOG").ok().as_deref())?;
        self.0.reload(targets).map_err(|_| LogError::Twice)
    }
}

/// Sets up logging for the process.
///
/// # Errors
/// When the filter cannot be parsed, or logging was already set up.
pub fn init(options: &LogOptions<'_>) -> Result<LogControl, LogError> {
    let targets = targets(options.filter, std::env::var("RUST_LOG").ok().as_deref())?;
    let (filter, handle) = reload::Layer::new(targets);
    let lines =
        fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // The journal has its own timestamps.
    let lines: Box<dyn Layer<_> + Send + Sync> = match (options.json, stderr_is_journal()) {
        (true, _) => Box::new(lines.json().flatten_event(true)),
        (false, true) => Box::new(lines.without_time()),
        (false, false) => Box::new(lines),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(recent::Keep);
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    Ok(LogControl(handle))
}

fn targets(filter: &str, rust_log: Option<&str>) -> Result<Targets, LogError> {
    if let Some(targets) = rust_log.filter(|s| !s.is_empty()).and_then(|s| s.parse().ok()) {
        return Ok(targets);
    }
    filter.parse().map_err(|_| LogError::Filter(filter.to_owned()))
}

/// systemd.exec(5): `JOURNAL_STREAM` is the device and inode of the journal's socket.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|meta| stream == format!("{}:{}", meta.st_dev(), meta.st_ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_rust_log_wins() {
        let debug = "debug".parse::<Targets>().unwrap();
        let info = "info".parse::<Targets>().unwrap();
        assert_eq!(targets("info", Some("debug")).unwrap(), debug);
        assert_eq!(targets("info", Some("")).unwrap(), info);
        assert_eq!(targets("info", Some("no=such=filter")).unwrap(), info);
        assert!(targets("no=such=filter", None).is_err());
    }
}
