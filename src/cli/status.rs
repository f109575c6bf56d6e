//! `aerie status`: what the running server says about itself.

use serde_json::Value;

use super::format::{bytes, counts, list, number, text, whole};
use super::{CliError, answer, print};
use crate::admin::protocol::Status;
use crate::config::Sources;
use crate::syntax::datetime::format_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the whole status as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    print(&answer(sources, Status {})?, args.json, page)
}

/// The status for people.
fn page(s: &Value) -> String {
    let mut lines = Vec::new();
    let uptime = s.get("uptime_s").and_then(Value::as_u64).unwrap_or(0);
    let (days, hours, minutes) = (uptime / 86_400, uptime / 3600 % 24, uptime / 60 % 60);
    lines.push(format!(
        "aerie {}, up {days}d {hours}h {minutes}m, ingest: {}",
        text(s, "version"),
        text(s, "ingest")
    ));
    lines.extend(list(s, "parts").iter().filter_map(part));
    for u in list(s, "upstreams") {
        let connected = if u.get("connected") == Some(&Value::Bool(true)) {
            "connected"
        } else {
            "NOT connected"
        };
        lines.push(format!(
            "upstream {} ({}): {connected}, seq {}, lag {} ms, {:.0} events/s, queue {}, reconnects {}",
            text(u, "url"),
            text(u, "kind"),
            whole(u, "seq"),
            whole(u, "lag_ms"),
            number(u, "events_per_s"),
            bytes(number(u, "queue_bytes")),
            whole(u, "reconnects"),
        ));
        if let Some(trouble) = u.get("trouble").and_then(Value::as_str) {
            lines.push(format!("  TROUBLE: {trouble}"));
        }
        if let Some(error) = u.get("last_error").and_then(Value::as_str) {
            lines.push(format!("  last error: {error}"));
        }
        lines.extend(counts("  dropped", u.get("dropped")));
        lines.extend(u.get("gaps").and_then(gaps));
    }
    for l in list(s, "labelers") {
        let connected = if l.get("connected") == Some(&Value::Bool(true)) {
            "connected"
        } else {
            "NOT connected"
        };
        lines.push(format!("labeler {}: {connected}, seq {}", text(l, "did"), whole(l, "seq")));
        if let Some(error) = l.get("last_error").and_then(Value::as_str) {
            lines.push(format!("  last error: {error}"));
        }
    }
    lines.push(format!(
        "pending {}, members {}, reloads {}",
        whole(s, "pending"),
        whole(s, "members"),
        whole(s, "reloads")
    ));
    lines.extend(s.get("scope").map(super::retention::line));
    if let Some(sync) = s.get("resync").filter(|sync| sync.is_object()) {
        lines.push(format!("backfill and resync: {}", super::backfill::line(sync)));
        lines.extend(counts("  parked", sync.get("parked_by_cause")));
    }
    if let Some(plc) = s.get("plc").filter(|plc| plc.get("last").is_some_and(Value::is_string)) {
        lines.push(super::identity::line(plc));
    }
    if let Some(push) = s.get("push") {
        lines.push(format!(
            "push: {} waiting, {} running",
            whole(push, "waiting"),
            whole(push, "running")
        ));
    }
    if let Some(cache) = s.get("on_read") {
        let limit = match number(cache, "budget") {
            0.0 => "no limit".to_owned(),
            budget => format!("of {}", bytes(budget)),
        };
        let (records, size) = (whole(cache, "records"), bytes(number(cache, "bytes")));
        lines.push(format!("fetched on read: {records} records, {size}, {limit}"));
    }
    lines.extend(s.get("search").filter(|search| search.is_object()).map(super::search::line));
    lines.extend(s.get("backup").and_then(super::backup::line));
    lines.extend(s.get("disk").map(disk));
    if let Some(memory) = s.get("memory") {
        lines.push(format!(
            "memory: {}, peak {}",
            bytes(number(memory, "resident")),
            bytes(number(memory, "peak"))
        ));
        lines.extend(shares(list(memory, "shares")));
    }
    lines.extend(counts("rows (about)", s.get("store").and_then(|x| x.get("rows"))));
    if let Some(Value::Object(families)) = s.get("counters") {
        lines.extend(families.iter().filter_map(|(name, family)| counts(name, Some(family))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What the budget is for: the share, and what it holds where that is known.
fn shares(shares: &[Value]) -> Option<String> {
    let share = |v: &Value| {
        let (name, most) = (text(v, "name"), bytes(number(v, "bytes")));
        match v.get("held").and_then(Value::as_f64) {
            Some(held) => format!("{name} {} of {most}", bytes(held)),
            None => format!("{name} up to {most}"),
        }
    };
    let shares: Vec<String> = shares.iter().map(share).collect();
    (!shares.is_empty()).then(|| format!("  budget: {}", shares.join(", ")))
}

/// A part that is not well, or was not once.
fn part(v: &Value) -> Option<String> {
    let (state, restarts) = (text(v, "state"), v.get("restarts").and_then(Value::as_u64));
    if state == "running" && restarts == Some(0) {
        return None;
    }
    let state = if state == "running" { state.to_owned() } else { state.to_uppercase() };
    let (name, restarts, error) = (text(v, "name"), restarts.unwrap_or(0), text(v, "last_error"));
    Some(format!("part {name}: {state}, restarts {restarts}, last error: {error}"))
}

fn disk(v: &Value) -> String {
    let [used, free, reserve] = ["used", "free", "reserve"].map(|key| bytes(number(v, key)));
    let mut line = format!("disk: {used} used, {free} free, ingest stops below {reserve}");
    match (
        v.get("fall_per_day").and_then(Value::as_f64),
        v.get("days_left").and_then(Value::as_f64),
    ) {
        (Some(fall), Some(days)) => {
            let left = match days * 24.0 {
                hours if hours < 48.0 => format!("{:.0} hours", hours.max(1.0)),
                _ => format!("{days:.0} days"),
            };
            line += &format!(", in about {left} at {} a day", bytes(fall));
        }
        (Some(_), None) => line += ", not within sight",
        (None, _) => {}
    }
    match v.get("step").and_then(Value::as_str) {
        None | Some("normal") => {}
        Some(step) => line += &format!("\n  {}: {}", step.to_uppercase(), text(v, "advice")),
    }
    line
}

/// What to think of events that an upstream could not give again.
fn gaps(v: &Value) -> Option<String> {
    let times = v.get("count")?.as_u64()?;
    let first = format_ms(v.get("first")?.as_i64()?);
    let last = format_ms(v.get("last")?.as_i64()?);
    Some(format!(
        "  history may have GAPS: {times} times between {first} and {last} it could not go on where we were; an \
         account that was missed is fetched whole when it next writes, until then what it did is not seen"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_names_what_is_wrong() {
        let status = json!({
            "version": "0.1.0", "uptime_s": 90061, "ingest": "running", "pending": 2, "members": 1, "reloads": 0,
            "parts": [
                {"name": "writer", "state": "running", "restarts": 0, "last_error": null},
                {"name": "push", "state": "running", "restarts": 2, "last_error": "panic: a"},
                {"name": "purge", "state": "restarting", "restarts": 1, "last_error": "account 7: b"},
            ],
            "upstreams": [{"url": "wss://r", "kind": "verified", "connected": false, "seq": 7, "lag_ms": null,
                "trouble": "not reached for 5 min",
                "events_per_s": 12.4, "queue_bytes": 2_000_000, "reconnects": 3, "last_error": "refused",
                "dropped": {"bad-signature": 4},
                "gaps": {"first": 1_767_225_600_000_i64, "last": 1_767_225_601_000_i64, "count": 2}}],
            "resync": {"repos_left": 1, "failed": {"x": 1}, "parked_by_cause": {"x": 1}},
            "memory": {"resident": 3_000_000, "peak": 4_000_000, "shares": [
                {"name": "fetches", "bytes": 40_000_000, "held": 2_000_000}, {"name": "names", "bytes": 900, "held": null}]},
            "on_read": {"records": 7, "bytes": 9000, "budget": 20_000},
            "disk": {"used": 1500, "free": 5, "reserve": 1, "fall_per_day": 2_000_000, "days_left": 3.2, "step": "warn",
                "advice": "make room"},
        });
        let page = page(&status);
        for part in [
            "up 1d 1h 1m",
            "part push: running, restarts 2, last error: panic: a\npart purge: RESTARTING, restarts 1, last error: account 7: b",
            "TROUBLE: not reached for 5 min",
            "NOT connected",
            "seq 7",
            "lag - ms",
            "12 events/s",
            "2.0 MB",
            "refused",
            "bad-signature 4",
            "2 times between 2026-01-01T00:00:00.000Z and 2026-01-01T00:00:01.000Z",
            "1 to go",
            "fetched on read: 7 records, 9.0 kB, of 20.0 kB",
            "parked: x 1",
            "memory: 3.0 MB, peak 4.0 MB\n  budget: fetches 2.0 MB of 40.0 MB, names up to 900 B",
            "1.5 kB used, 5 B free, ingest stops below 1 B, in about 3 days at 2.0 MB a day\n  WARN: make room",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("part writer"), "{page}");
    }
}
