//! What Prometheus gets, and that the board of Grafana asks for nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::telemetry::calls::Calls;
use crate::telemetry::counters::Counters;
use crate::telemetry::links::Link;
use crate::telemetry::timing::Timing;

const BOARD: &str = include_str!("../../../scripts/grafana/aerie.json");

#[test]
fn what_is_counted_is_there_in_the_form_of_openmetrics() {
    static FAMILY: Counters = Counters::new("test-metrics.dropped");
    static STAGE: Timing = Timing::new("test-metrics.stage", "verify");
    static WHOLE: Timing = Timing::new("test-metrics.whole", "");
    FAMILY.add("a \"cause\"", 3);
    STAGE.record(std::time::Duration::from_micros(700));
    WHOLE.record(std::time::Duration::from_secs(90));
    let calls = Calls::of("test.metrics.getIt");
    calls.answered(std::time::Duration::from_millis(2), 300, Some("NotFound"));
    calls.sent(4000);
    Link::of("test", "wss://a.example").received(77);
    let status = json!({
        "uptime_s": 5,
        "ingest": "waits",
        "upstreams": [
            {"url": "wss://a", "lag_ms": 1500, "connected": true, "trouble": null, "seq": 9},
            {"url": "wss://b", "lag_ms": null, "connected": false, "trouble": "silent", "reconnects": 2},
        ],
        "disk": {"step": "prune", "free": 4_000_000_000_u64, "days_left": null},
        "store": {"rows": {"post_1": 7}},
        "memory": {"resident": 1, "shares": [{"name": "fetches", "bytes": 10, "held": 4}, {"name": "names", "bytes": 3, "held": null}]},
    });
    let text = metrics(status);
    for line in [
        "aerie_test_metrics_dropped_total{cause=\"a \\\"cause\\\"\"} 3",
        "aerie_test_metrics_stage_seconds_bucket{le=\"0.0005\",kind=\"verify\"} 0",
        "aerie_test_metrics_stage_seconds_bucket{le=\"0.001\",kind=\"verify\"} 1",
        "aerie_test_metrics_whole_seconds_bucket{le=\"10.0\"} 0",
        "aerie_test_metrics_whole_seconds_bucket{le=\"+Inf\"} 1",
        "aerie_test_metrics_whole_seconds_sum 90.0",
        "aerie_xrpc_call_seconds_count{method=\"test.metrics.getIt\"} 1",
        "aerie_xrpc_errors_total{method=\"test.metrics.getIt\",error=\"NotFound\"} 1",
        "aerie_xrpc_received_bytes_total{method=\"test.metrics.getIt\"} 300",
        "aerie_xrpc_sent_bytes_total{method=\"test.metrics.getIt\"} 4000",
        "aerie_net_received_bytes_total{kind=\"test\",name=\"wss://a.example\"} 77",
        "aerie_ops_uptime_seconds 5.0",
        "aerie_runtime_ingest_running 0.0",
        "aerie_ingest_lag_seconds{upstream=\"wss://a\"} 1.5",
        "aerie_ingest_trouble{upstream=\"wss://a\"} 0.0",
        "aerie_ingest_trouble{upstream=\"wss://b\"} 1.0",
        "aerie_ingest_reconnects_total{upstream=\"wss://b\"} 2.0",
        "aerie_upkeep_disk_step{step=\"prune\"} 1.0",
        "aerie_upkeep_disk_step{step=\"normal\"} 0.0",
        "aerie_upkeep_disk_bytes{kind=\"free\"} 4000000000.0",
        "aerie_store_rows{keyspace=\"post_1\"} 7.0",
        "aerie_ops_memory_held_bytes{share=\"fetches\"} 4.0",
        "# TYPE aerie_xrpc_call_seconds histogram",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    for absent in
        ["aerie_ingest_lag_seconds{upstream=\"wss://b\"}", "share=\"names\"} 0", "days_left"]
    {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_are_unlike_and_of_the_right_form() {
    let mut seen = BTreeSet::new();
    for row in TABLE {
        assert!(seen.insert(row.name), "{} is there twice", row.name);
        let plain = row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain && row.name.starts_with("aerie_") && !row.name.ends_with("_total"));
    }
}

/// The first text within quotes behind each place where `what` stands in the sources.
fn named(what: &str) -> Vec<String> {
    fn files(folder: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path(), out),
                false => out.extend(std::fs::read_to_string(entry.path())),
            }
        }
    }
    let mut texts = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
    let mut out = Vec::new();
    for text in &texts {
        let found = text.split(what).skip(1);
        out.extend(found.filter_map(|rest| Some(rest.split('"').next()?.to_owned())));
    }
    out
}

#[test]
fn the_board_asks_for_nothing_that_is_not_there() {
    let mut known: BTreeSet<String> = TABLE
        .iter()
        .map(|row| format!("{}{}", row.name, if row.counts { "_total" } else { "" }))
        .collect();
    known.extend(named("Counters::new(\"").iter().map(|name| metric_name(name) + "_total"));
    let mut histograms: Vec<_> =
        named("Timing::new(\"").iter().map(|name| metric_name(name) + "_seconds").collect();
    histograms.push(CALL_SECONDS.to_owned());
    for name in histograms {
        known.extend(["_bucket", "_sum", "_count"].map(|end| name.clone() + end));
    }
    let totals = [&CALL_BYTES[..], &LINK_BYTES[..], &[CALL_ERRORS]].concat();
    known.extend(totals.iter().map(|name| format!("{name}_total")));

    let board: Value = serde_json::from_str(BOARD).unwrap();
    let mut asked = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            asked.extend(expr.split(word).filter(|w| w.starts_with("aerie_")).map(str::to_owned));
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "the board asks for {unknown:?}");
}
