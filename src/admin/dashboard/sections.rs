//! The sections of the dashboard: from the status document and what is kept beside it to HTML.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::chart::chart;
use crate::ops::format::{bytes, list, number, text, whole};
use crate::ops::{Minute, Samples};
use crate::syntax::datetime::format_ms;
use crate::telemetry::callers::Day;
use crate::telemetry::recent::Line;

/// Rows of a table that names from outside may fill.
const MOST_ROWS: usize = 40;

/// What the sections are made of.
pub(super) struct Facts<'a> {
    pub(super) status: &'a Value,
    pub(super) samples: &'a Samples,
    pub(super) callers: &'a Day,
    pub(super) events: &'a [Line],
    pub(super) lines: &'a [Line],
    pub(super) now_ms: i64,
}

/// A section: the name of its place, its headline, whether it takes the whole width, and what makes it.
pub(super) struct Section {
    pub(super) place: &'static str,
    pub(super) title: &'static str,
    pub(super) wide: bool,
    pub(super) make: fn(&Facts<'_>) -> Markup,
}

const fn section(
    place: &'static str,
    title: &'static str,
    wide: bool,
    make: fn(&Facts<'_>) -> Markup,
) -> Section {
    Section { place, title, wide, make }
}

/// In the order of the page.
pub(super) const SECTIONS: &[Section] = &[
    section("now", "Now", true, now),
    section("upstreams", "Upstreams", true, upstreams),
    section("events", "Recent events", true, events),
    section("drops", "What was dropped", false, drops),
    section("queues", "Queues", false, queues),
    section("disk", "Disk", false, disk),
    section("memory", "Memory", false, memory),
    section("labelers", "Labelers", false, labelers),
    section("backfill", "Backfill and resyncs", false, backfill),
    section("search", "Search and scope", false, search),
    section("parts", "Parts", false, parts),
    section("callers", "Callers today", false, callers),
    section("rows", "What is held", false, rows),
    section("counters", "Counters since the start", false, counters),
    section("log", "Log", true, log),
];

fn is_true(v: &Value, key: &str) -> bool {
    v.get(key) == Some(&Value::Bool(true))
}

fn of<'a>(v: &'a Value, key: &str) -> &'a Value {
    v.get(key).unwrap_or(&Value::Null)
}

fn map<'a>(v: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    v.get(key).and_then(Value::as_object).filter(|map| !map.is_empty())
}

/// A number as people read it.
fn count(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn time(ms: i64) -> String {
    format_ms(ms).get(..19).unwrap_or_default().replace('T', " ")
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.unseen { (caption) }
                thead { tr { @for (at, head) in heads.iter().enumerate() { th scope="col" .n[at > 0] { (head) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                @if at == 0 { th scope="row" { (cell) } } @else { td.n { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}

fn tiles(tiles: &[(&str, String, String)]) -> Markup {
    html! {
        dl.tiles {
            @for (name, value, note) in tiles {
                div { dt { (name) } dd { (value) @if !note.is_empty() { div.note { (note) } } } }
            }
        }
    }
}

/// Days or hours until the disk is full.
fn left(disk: &Value) -> (String, String) {
    let fall = disk.get("fall_per_day").and_then(Value::as_f64);
    match (fall, disk.get("days_left").and_then(Value::as_f64)) {
        (Some(fall), Some(days)) => (span(days * 86_400.0), format!("at {} a day", bytes(fall))),
        (Some(_), None) => ("not within sight".to_owned(), String::new()),
        (None, _) => ("not known yet".to_owned(), "after half an hour".to_owned()),
    }
}

fn now(facts: &Facts<'_>) -> Markup {
    let s = facts.status;
    let ups = list(s, "upstreams");
    let rate: f64 = ups.iter().map(|u| number(u, "events_per_s")).sum();
    let lag = ups
        .iter()
        .filter_map(|u| u.get("lag_ms")?.as_f64())
        .fold(None, |most, lag| Some(f64::max(most.unwrap_or(0.0), lag)));
    let connected = ups.iter().filter(|u| is_true(u, "connected")).count();
    let (disk, memory, store) = (of(s, "disk"), of(s, "memory"), of(s, "store"));
    let (days, fall) = left(disk);
    let none = String::new;
    html! {
        p {
            "aerie " (text(s, "version")) ", up " (span(number(s, "uptime_s"))) ", ingest "
            @if text(s, "ingest") == "running" { "running" } @else { strong.warn { (text(s, "ingest")) } }
            ", clock: " (text(of(s, "clock"), "advice")) "."
        }
        (tiles(&[
            ("Events a second", count(rate), format!("{connected} of {} connected", ups.len())),
            ("Lag", lag.map_or_else(|| "-".to_owned(), |lag| format!("{:.1} s", lag / 1000.0)), none()),
            ("Members", count(number(s, "members")), none()),
            ("Callers today", count(facts.callers.all as f64), none()),
            ("Disk full in", days, fall),
            ("Store", bytes(number(disk, "used")), format!("{} free", bytes(number(disk, "free")))),
            ("Memory", bytes(number(memory, "resident")), format!("at most {}", bytes(number(memory, "peak")))),
            ("Commit", format!("{:.1} ms", number(store, "commit_mean_us") / 1000.0), "the mean".to_owned()),
        ]))
    }
}

fn upstreams(facts: &Facts<'_>) -> Markup {
    let minute = facts.now_ms.div_euclid(60_000);
    html! {
        @for u in list(facts.status, "upstreams") {
            h3 { (text(u, "url")) }
            p {
                @if is_true(u, "connected") { "Connected" } @else { strong.bad { "Not connected" } }
                ", " (text(u, "kind")) ": " (count(number(u, "events_per_s"))) " events a second, lag "
                (whole(u, "lag_ms")) " ms, at " (whole(u, "seq")) ", queue " (bytes(number(u, "queue_bytes")))
                ", connected again " (whole(u, "reconnects")) " times."
            }
            @if let Some(trouble) = u.get("trouble").and_then(Value::as_str) { p.bad { "Trouble: " (trouble) } }
            @if let Some(error) = u.get("last_error").and_then(Value::as_str) { p.warn { "Last error: " (error) } }
            @if let Some(gaps) = u.get("gaps").filter(|gaps| gaps.is_object()) {
                p.warn {
                    "It could not go on where we were " (whole(gaps, "count")) " times, last at "
                    (time(gaps.get("last").and_then(Value::as_i64).unwrap_or(0))) "."
                }
            }
            @let minutes: Vec<Minute> = facts.samples.of(text(u, "url"));
            (chart(text(u, "url"), &minutes, minute))
        }
        @if list(facts.status, "upstreams").is_empty() { p.none { "None is followed now." } }
    }
}

fn drops(facts: &Facts<'_>) -> Markup {
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut samples: Vec<&Value> = Vec::new();
    for u in list(facts.status, "upstreams") {
        for (cause, n) in map(u, "dropped").into_iter().flatten() {
            *causes.entry(cause).or_default() += n.as_u64().unwrap_or(0);
        }
        samples.extend(list(u, "samples"));
    }
    samples.sort_by_key(|sample| -sample.get("time").and_then(Value::as_i64).unwrap_or(0));
    let counted: Vec<_> =
        causes.iter().map(|(cause, n)| vec![cell(cause), cell(count(*n as f64))]).collect();
    let rows = samples.iter().take(MOST_ROWS).map(|sample| {
        let at = sample.get("time").and_then(Value::as_i64).unwrap_or(0);
        vec![
            cell(time(at)),
            cell(text(sample, "cause")),
            cell(text(sample, "did")),
            cell(whole(sample, "seq")),
        ]
    });
    let rows: Vec<_> = rows.collect();
    html! {
        @if causes.is_empty() { p.none { "Nothing since the start." } } @else {
            (table("Dropped, by cause", &["cause", "frames"], &counted))
            h3 { "The last of them" }
            (table("The last dropped frames", &["at (UTC)", "cause", "account", "number"], &rows))
        }
    }
}

fn queues(facts: &Facts<'_>) -> Markup {
    let s = facts.status;
    let push = of(s, "push");
    let rows = [
        ("changes for the writer", whole(of(s, "store"), "waiting")),
        ("calls that wait for a thread", whole(s, "requests_waiting")),
        ("identities looked up, accounts removed, repos fetched", whole(s, "pending")),
        ("notifications to send", whole(push, "waiting")),
        ("notifications under way", whole(push, "running")),
        ("pictures being made", whole(of(s, "images"), "running")),
    ];
    let rows: Vec<_> = rows.iter().map(|(name, n)| vec![cell(name), cell(n)]).collect();
    table("Queues", &["what waits", "how many"], &rows)
}

fn disk(facts: &Facts<'_>) -> Markup {
    let (disk, store) = (of(facts.status, "disk"), of(facts.status, "store"));
    let (days, fall) = left(disk);
    let mut by: Vec<(&String, f64)> = map(store, "bytes")
        .into_iter()
        .flatten()
        .map(|(name, n)| (name, n.as_f64().unwrap_or(0.0)))
        .collect();
    let tables: f64 = by.iter().map(|(_, n)| n).sum();
    let total = number(disk, "used").max(tables).max(1.0);
    let journals = "journals and the rest".to_owned();
    by.push((&journals, total - tables));
    by.sort_by(|a, b| b.1.total_cmp(&a.1));
    let share = |n: &f64| format!("{:.0} %", n / total * 100.0);
    let rows: Vec<_> =
        by.iter().map(|(name, n)| vec![cell(name), cell(bytes(*n)), cell(share(n))]).collect();
    html! {
        p {
            (bytes(number(disk, "used"))) " used, " (bytes(number(disk, "free"))) " free; ingest stops below "
            (bytes(number(disk, "reserve"))) ": " (days) @if !fall.is_empty() { " " (fall) } "."
        }
        @if !matches!(text(disk, "step"), "normal" | "-") { p.warn { (text(disk, "step")) ": " (text(disk, "advice")) } }
        (table("Disk by keyspace", &["keyspace", "on disk", "of it"], &rows))
    }
}

fn memory(facts: &Facts<'_>) -> Markup {
    let memory = of(facts.status, "memory");
    let rows = list(memory, "shares").iter().map(|share| {
        let held = share.get("held").and_then(Value::as_f64);
        let most = number(share, "bytes");
        let held = match held {
            Some(held) => html! {
                (bytes(held))
                meter min="0" max=(most.max(1.0)) value=(held) aria-label=(format!("{} held", text(share, "name"))) {}
            },
            None => cell("counted, not weighed"),
        };
        vec![cell(text(share, "name")), held, cell(bytes(most))]
    });
    let rows: Vec<_> = rows.collect();
    html! {
        p { (bytes(number(memory, "resident"))) " now, " (bytes(number(memory, "peak"))) " at most so far." }
        (table("Memory by share", &["what for", "held", "share"], &rows))
    }
}

fn labelers(facts: &Facts<'_>) -> Markup {
    let rows = list(facts.status, "labelers").iter().map(|l| {
        let state = match is_true(l, "connected") {
            true => cell("connected"),
            false => html! { span.bad { "not connected" } },
        };
        let error = l.get("last_error").and_then(Value::as_str).unwrap_or_default();
        vec![
            html! { (text(l, "did")) @if !error.is_empty() { div.warn { (error) } } },
            state,
            cell(whole(l, "seq")),
        ]
    });
    let rows: Vec<_> = rows.collect();
    html! {
        @if rows.is_empty() { p.none { "None is followed." } } @else {
            (table("Labelers", &["labeler", "", "number"], &rows))
        }
    }
}

fn backfill(facts: &Facts<'_>) -> Markup {
    let sync = of(facts.status, "resync");
    if !sync.is_object() {
        return html! { p.none { "It does not run." } };
    }
    let rate = of(sync, "rate");
    let parked: Vec<_> = map(sync, "parked_by_cause")
        .into_iter()
        .flatten()
        .map(|(cause, n)| vec![cell(cause), cell(n.to_string())])
        .collect();
    html! {
        p {
            (count(number(sync, "done"))) " repos done, " (count(number(sync, "repos_left"))) " to go, "
            (map(sync, "running").map_or(0, Map::len)) " under way, " (whole(sync, "parked")) " parked; "
            (format!("{:.1}", number(rate, "repos_per_s"))) " repos and " (count(number(rate, "records_per_s")))
            " records a second."
            @if let Some(left) = sync.get("left_s").and_then(Value::as_f64) { " About " (span(left)) " left." }
        }
        @if is_true(sync, "paused") { p.warn { "Paused: only resyncs begin." } }
        @if let Some(why) = sync.get("held_back").and_then(Value::as_str) { p.warn { "Held back: " (why) } }
        @if !parked.is_empty() { (table("Parked repos", &["parked because", "repos"], &parked)) }
    }
}

fn search(facts: &Facts<'_>) -> Markup {
    let s = facts.status;
    let (search, scope, on_read) = (of(s, "search"), of(s, "scope"), of(s, "on_read"));
    html! {
        p {
            "Search: " (text(search, "state")) ", " (count(number(search, "posts"))) " posts and "
            (count(number(search, "actors"))) " accounts in " (whole(search, "segments")) " segments."
            @if is_true(search, "building") { " Being made anew: " (whole(search, "built")) " posts read." }
            @if is_true(search, "held") { strong.warn { " It waits for room on the disk." } }
        }
        p {
            "Scope: " (text(scope, "mode"))
            @if text(scope, "mode") != "whole" {
                " of " (whole(scope, "days")) " days around " (whole(scope, "members")) " members and "
                (whole(scope, "followed")) " accounts that they follow"
            }
            "."
        }
        @if let Some(running) = scope.get("running").filter(|r| r.is_object()) {
            p.warn { "Retention runs: " (format!("{:.0} %", number(running, "done") * 100.0)) }
        }
        @if let Some(planned) = scope.get("planned").filter(|r| r.is_object()) {
            p {
                "The last dry run, of " (time(planned.get("ended").and_then(Value::as_i64).unwrap_or(0)))
                ", would free about " (bytes(number(planned, "freed"))) " of " (bytes(number(planned, "used_before"))) "."
            }
        }
        p { "Fetched on read: " (count(number(on_read, "records"))) " records, " (bytes(number(on_read, "bytes"))) "." }
    }
}

fn parts(facts: &Facts<'_>) -> Markup {
    let rows = list(facts.status, "parts").iter().map(|part| {
        let (state, error) = (text(part, "state"), part.get("last_error").and_then(Value::as_str));
        let state = match state {
            "running" => cell(state),
            other => html! { strong.bad { (other) } },
        };
        let name =
            html! { (text(part, "name")) @if let Some(error) = error { div.warn { (error) } } };
        vec![name, state, cell(whole(part, "restarts"))]
    });
    let rows: Vec<_> = rows.collect();
    table("Parts of the server", &["part", "state", "restarts"], &rows)
}

fn callers(facts: &Facts<'_>) -> Markup {
    fn most<N: AsRef<str> + Ord>(counts: &BTreeMap<N, u64>) -> Vec<Vec<Markup>> {
        let mut rows: Vec<_> = counts.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let rows = rows.into_iter().take(MOST_ROWS);
        rows.map(|(name, n)| vec![cell(name), cell(count(*n as f64))]).collect()
    }
    let day = facts.callers;
    html! {
        p { (count(day.all as f64)) " different ones today (UTC) since the start, about; none of them is kept." }
        @if day.all > 0 {
            (table("Callers by program", &["program", "callers"], &most(&day.agents)))
            h3 { "By method" }
            (table("Callers by method", &["method", "callers"], &most(&day.methods)))
        }
    }
}

fn rows(facts: &Facts<'_>) -> Markup {
    let rows = map(of(facts.status, "store"), "rows").into_iter().flatten();
    let rows: Vec<_> =
        rows.map(|(name, n)| vec![cell(name), cell(count(n.as_f64().unwrap_or(0.0)))]).collect();
    table("Rows by keyspace, about", &["keyspace", "rows, about"], &rows)
}

fn counters(facts: &Facts<'_>) -> Markup {
    let mut rows = Vec::new();
    for (family, counts) in map(facts.status, "counters").into_iter().flatten() {
        for (cause, n) in counts.as_object().into_iter().flatten() {
            rows.push(vec![cell(format!("{family} {cause}")), cell(n.to_string())]);
        }
    }
    table("Counters", &["counter", "times"], &rows)
}

fn said(lines: &[Line]) -> Markup {
    html! {
        div.log {
            @for line in lines.iter().rev() {
                @let kind = match line.level {
                    tracing::Level::ERROR => "bad",
                    tracing::Level::WARN => "warn",
                    _ => "",
                };
                p class=(kind) {
                    span.at { (time(line.at)) " " (line.level.as_str()) " " (line.target) } " " (line.text)
                }
            }
            @if lines.is_empty() { p { "Nothing yet." } }
        }
    }
}

fn events(facts: &Facts<'_>) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label="Recent events" { (said(facts.events)) } }
}

fn log(facts: &Facts<'_>) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label="Log" { (said(facts.lines)) } }
}
