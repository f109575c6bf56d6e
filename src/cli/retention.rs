//! `aerie retention` and `aerie scope`: takes away what the scope does not keep, or says what would go.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::format::{bytes, number, text};
use super::progress::{self, Far};
use super::{CliError, answer, print, span};
use crate::admin::protocol::{RetentionPlan, RetentionRun, RetentionStatus};
use crate::config::{ScopeMode, Sources};
use crate::syntax::datetime::format_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take away what is old and touches nobody who is kept, now instead of within the hour
    Run {
        /// Only count what would go, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Return at once; `aerie retention status` shows how far it is
        #[arg(long, conflicts_with = "json")]
        detach: bool,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is kept, how far a run is, and what the last one did
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ScopeArgs {
    #[command(subcommand)]
    action: ScopeAction,
}

#[derive(Debug, Subcommand)]
enum ScopeAction {
    /// Say what another scope would keep, delete and free; changes nothing
    ///
    /// Reads everything that is old once, beside the running server. To make the change, set scope.mode, scope.days and
    /// scope.disk_budget in the configuration and restart.
    Plan {
        /// The scope
        #[arg(long, value_enum)]
        mode: Mode,
        /// Days of the window [default: scope.days]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// Bytes that the store is to stay under [default: scope.disk_budget]
        #[arg(long, value_name = "BYTES")]
        budget: Option<u64>,
        /// Print the plan as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Everything for some days, and what touches members and those they follow
    Window,
    /// Only what touches members and those they follow
    Circle,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Run { dry_run, detach, json } => {
            if *dry_run {
                answer(sources, RetentionPlan::default())?;
            } else {
                answer(sources, RetentionRun {})?;
            }
            if *detach {
                return Ok(());
            }
            report(&wait(sources)?, if *dry_run { "planned" } else { "last" }, *json)
        }
        Action::Status { json } => print(&status(sources)?, *json, page),
    }
}

pub(super) fn plan(args: &ScopeArgs, sources: &Sources) -> Result<(), CliError> {
    let ScopeAction::Plan { mode, days, budget, json } = &args.action;
    let mode = Some(match mode {
        Mode::Window => ScopeMode::Window,
        Mode::Circle => ScopeMode::Circle,
    });
    answer(sources, RetentionPlan { mode, days: *days, budget: *budget })?;
    report(&wait(sources)?, "planned", *json)
}

fn status(sources: &Sources) -> Result<Value, CliError> {
    answer(sources, RetentionStatus {})
}

/// Waits for the run to end.
fn wait(sources: &Sources) -> Result<Value, CliError> {
    progress::wait(Duration::from_millis(100), || {
        let status = status(sources)?;
        let Some(running) = status.get("running").filter(|r| r.is_object()) else {
            return Ok(ControlFlow::Break(status));
        };
        let share = Some(number(running, "share"));
        Ok(ControlFlow::Continue(Far { share, line: walk(running) }))
    })
}

fn walk(running: &Value) -> String {
    let report = running.get("so_far").unwrap_or(&Value::Null);
    let percent = number(running, "share") * 100.0;
    format!("walk {}, about {percent:.0} %: {}", number(report, "walks") + 1.0, goes(report))
}

/// What went, or goes, by kind.
fn goes(report: &Value) -> String {
    let deleted = report.get("deleted").unwrap_or(&Value::Null);
    let kinds = ["posts", "likes", "reposts", "follows", "records"];
    kinds.map(|kind| format!("{} {kind}", number(deleted, kind))).join(", ")
}

fn report(status: &Value, which: &str, as_json: bool) -> Result<(), CliError> {
    let report = status.get(which).unwrap_or(&Value::Null);
    print(report, as_json, lines)?;
    match report.get("error").and_then(Value::as_str) {
        Some(error) => Err(CliError::Failed(error.to_owned())),
        None => Ok(()),
    }
}

fn lines(report: &Value) -> String {
    let dry = report.get("dry_run") == Some(&Value::Bool(true));
    let flag = |key| report.get(key) == Some(&Value::Bool(true));
    let ms = |key| report.get(key).and_then(Value::as_i64).unwrap_or(0);
    let (goes_word, frees, after) =
        if dry { ("would go", "would free", "leaving") } else { ("went", "freed", "now") };
    let mut out = format!(
        "{} of {} days around {} members and {} accounts that they follow\n{goes_word}: {}\n",
        text(report, "mode"),
        number(report, "days"),
        number(report, "members"),
        number(report, "followed"),
        goes(report),
    );
    out += &format!(
        "old, but linked to them: {}; of the others the oldest that stay are of {}\n",
        number(report, "linked"),
        format_ms(ms("oldest")),
    );
    out += &format!(
        "{frees} about {} of {}, {after} {}\n",
        bytes(number(report, "freed")),
        bytes(number(report, "used_before")),
        bytes(number(report, "used_after")),
    );
    if number(report, "owed") > 0.0 && !dry {
        out += &format!(
            "{} of it are given back by the disk only later\n",
            bytes(number(report, "owed"))
        );
    }
    if flag("over_budget") {
        out += &format!(
            "STILL ABOVE the budget of {}: nothing is left that may go\n",
            bytes(number(report, "budget"))
        );
    }
    if flag("interrupted") {
        out += "stopped before its end; the next run goes on there\n";
    }
    let seconds = u64::try_from((ms("ended") - ms("began")) / 1000).unwrap_or(0);
    out + &format!("took {}, ended {}\n", span(seconds), format_ms(ms("ended")))
}

fn page(status: &Value) -> String {
    let mut out = line(status);
    out.push('\n');
    if let Some(running) = status.get("running").filter(|r| r.is_object()) {
        out += &format!("running: {}\n", walk(running));
    }
    if let Some(last) = status.get("last").filter(|r| r.is_object()) {
        out += &format!("the last run:\n{}", lines(last));
    }
    out
}

/// The scope in one line.
pub(super) fn line(status: &Value) -> String {
    match text(status, "mode") {
        "whole" => "scope: whole, nothing is deleted".to_owned(),
        mode => {
            let last = status.get("last").filter(|r| r.is_object());
            let last = last.map_or_else(|| "never".to_owned(), |r| format!("took {}", goes(r)));
            format!(
                "scope: {mode} of {} days around {} members and {} accounts that they follow; retention last: {last}",
                number(status, "days"),
                number(status, "members"),
                number(status, "followed"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_says_what_went_and_what_is_wrong() {
        let report = json!({
            "mode": "window", "days": 30, "dry_run": true, "members": 2, "followed": 90, "linked": 7,
            "deleted": { "posts": 5, "likes": 6, "reposts": 0, "follows": 0, "records": 0 },
            "freed": 2000, "used_before": 5000, "used_after": 3000, "over_budget": true, "budget": 1000,
        });
        let text = lines(&report);
        for part in [
            "would go: 5 posts, 6 likes",
            "2 members and 90",
            "2.0 kB of 5.0 kB",
            "STILL ABOVE the budget of 1.0 kB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let status = json!({ "mode": "circle", "days": 30, "last": report,
            "running": { "share": 0.5, "so_far": { "walks": 1 } } });
        assert!(page(&status).contains("walk 2, about 50 %"), "{}", page(&status));
        assert!(line(&json!({ "mode": "whole" })).contains("nothing is deleted"));
    }
}
