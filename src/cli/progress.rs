//! How a command that takes long says how far it is: on standard error, over one line with a bar where that is a terminal,
//! and elsewhere a plain line now and then, for a log.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;

/// Between two lines of a log.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// Between two looks of a person.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// Steps of a bar.
const WHOLE: u64 = 1000;

/// How far something is. What it showed on a terminal goes with it.
pub(super) struct Meter {
    bar: Option<ProgressBar>,
    has_share: bool,
    said: Option<Instant>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self::on(std::io::stderr().is_terminal())
    }

    fn on(terminal: bool) -> Self {
        let bar =
            terminal.then(|| ProgressBar::new(WHOLE).with_style(style("{spinner} {wide_msg}")));
        // A log has its first line when there is something to be waited for.
        let said = (!terminal).then(Instant::now);
        Self { bar, has_share: false, said }
    }

    /// Says it, unless that was done a moment ago.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        self.at(None, line);
    }

    /// The same with the share that is done, from 0 to 1, where that is known.
    pub(super) fn at(&mut self, share: Option<f64>, line: impl FnOnce() -> String) {
        let every = if self.bar.is_some() { BAR_EVERY } else { LINES_EVERY };
        if self.said.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.said = Some(Instant::now());
        let Some(bar) = &self.bar else {
            eprintln!("{}", line());
            return;
        };
        if share.is_some() != self.has_share {
            self.has_share = share.is_some();
            bar.set_style(style(if self.has_share {
                "[{bar:24}] {percent} % {wide_msg}"
            } else {
                "{spinner} {wide_msg}"
            }));
        }
        if let Some(share) = share {
            bar.set_position((share.clamp(0.0, 1.0) * WHOLE as f64) as u64);
        }
        bar.set_message(line());
        bar.tick();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar of plain characters, as every terminal has them.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("|/-\\ ")
}

/// How far something is that a running server does.
pub(super) struct Far {
    /// From 0 to 1.
    pub(super) share: Option<f64>,
    pub(super) line: String,
}

/// Looks again and again, until there is an end.
pub(super) fn wait<T>(
    between: Duration,
    mut look: impl FnMut() -> Result<ControlFlow<T, Far>, CliError>,
) -> Result<T, CliError> {
    let mut meter = Meter::new();
    loop {
        match look()? {
            ControlFlow::Break(end) => return Ok(end),
            ControlFlow::Continue(Far { share, line }) => meter.at(share, || line),
        }
        std::thread::sleep(between);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_not_flooded_and_a_person_sees_the_share() {
        let mut log = Meter::on(false);
        let mut said = 0;
        for _ in 0..1000 {
            log.say(|| {
                said += 1;
                String::new()
            });
        }
        assert_eq!(said, 0, "nobody had to wait yet");
        let mut bar = Meter::on(true);
        bar.at(Some(0.5), || "half".to_owned());
        let shown = bar.bar.as_ref().map(|bar| (bar.position(), bar.message()));
        assert_eq!(shown, Some((WHOLE / 2, "half".to_owned())));
        bar.at(Some(0.9), || "too soon".to_owned());
        assert_eq!(bar.bar.as_ref().map(ProgressBar::position), Some(WHOLE / 2));
    }

    #[test]
    fn what_is_waited_for_ends() {
        let mut looks = 0;
        let end = wait(Duration::ZERO, || {
            looks += 1;
            let far = Far { share: None, line: String::new() };
            Ok(if looks == 3 { ControlFlow::Break(looks) } else { ControlFlow::Continue(far) })
        });
        assert!(matches!(end, Ok(3)));
        let failed: Result<(), _> = wait(Duration::ZERO, || Err(CliError::Differs));
        assert!(failed.is_err());
    }
}
