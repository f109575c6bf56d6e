//! The last lines of the log, held in memory for the operator's page; and those of them that say something is wrong, or
//! that an operator did something, for longer.
//!
//! # Invariants
//! - Both are bounded in lines, and each line in bytes. A line is what the log has: where that has no secret, there is none.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::threads::Clock;

/// Lines, and of those that matter.
const LINES: usize = 200;
const EVENTS: usize = 60;
/// Bytes of a line.
const LONGEST: usize = 1000;

/// What operators do is logged with this target.
pub const OPERATOR: &str = "aerie::operator";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// How much it matters.
    pub level: Level,
    /// Where it comes from.
    pub target: &'static str,
    /// What it says, with its fields.
    pub text: String,
}

#[derive(Default)]
struct Recent {
    lines: VecDeque<Line>,
    events: VecDeque<Line>,
}

static RECENT: Mutex<Recent> =
    Mutex::new(Recent { lines: VecDeque::new(), events: VecDeque::new() });

/// The last lines, oldest first.
#[must_use]
pub fn lines() -> Vec<Line> {
    RECENT.lock().lines.iter().cloned().collect()
}

/// The last warnings, errors and doings of operators, oldest first.
#[must_use]
pub fn events() -> Vec<Line> {
    RECENT.lock().events.iter().cloned().collect()
}

impl Recent {
    fn add(&mut self, line: Line) {
        let put = |to: &mut VecDeque<Line>, most: usize, line: Line| {
            if to.len() >= most {
                to.pop_front();
            }
            to.push_back(line);
        };
        if line.level <= Level::WARN || line.target == OPERATOR {
            put(&mut self.events, EVENTS, line.clone());
        }
        put(&mut self.lines, LINES, line);
    }
}

/// Keeps what is logged.
pub(super) struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let mut text = said.message + &said.fields;
        if text.len() > LONGEST {
            let end = text.floor_char_boundary(LONGEST);
            text.truncate(end);
            text.push('…');
        }
        let metadata = event.metadata();
        let at = Clock::system().now_ms();
        let line = Line { at, level: *metadata.level(), target: metadata.target(), text };
        RECENT.lock().add(line);
    }
}

#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Where in the source of a crate a line of another way of logging is from.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn lines_are_kept_with_their_fields_and_only_so_many() {
        let subscriber = tracing_subscriber::registry().with(Keep);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(url = "wss://a", code = 7, "kept for longer");
            tracing::info!(target: OPERATOR, who = %"x", "an operator did something");
            tracing::info!("{}", "é".repeat(LONGEST));
            for n in 0..LINES {
                tracing::info!(n, "one of many");
            }
        });
        let (lines, events) = (lines(), events());
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.text.len() <= LONGEST + 3));
        let text: Vec<&str> = events.iter().map(|line| line.text.as_str()).collect();
        assert!(text.contains(&"kept for longer url=wss://a code=7"), "{text:?}");
        assert!(text.contains(&"an operator did something who=x"), "{text:?}");
        assert!(lines.iter().any(|line| line.text.starts_with("one of many n=")));
    }
}
