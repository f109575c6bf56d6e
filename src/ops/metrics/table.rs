//! The gauges: each with its place in the status document. A new one is a row.

use serde_json::Value;

/// A family of gauges.
pub(super) struct Row {
    /// Without `_total` where it counts.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// It only grows while the process runs.
    pub(super) counts: bool,
    from: From,
    /// What a value of the status is multiplied with.
    scale: f64,
}

/// Where values are. A path is names with dots between them. What is behind `=` is a text that the value is compared
/// with, `?` asks whether there is any.
enum From {
    One(&'static str),
    /// Label, and a value of it with each path.
    Several(&'static str, &'static [(&'static str, &'static str)]),
    /// A list of objects: its path, the label, where in each that is, and the value.
    Each {
        list: &'static str,
        label: &'static str,
        key: &'static str,
        value: &'static str,
    },
    /// An object whose fields are the label.
    Fields(&'static str, &'static str),
    /// The text there is one of these, which are the label: 1 for that one.
    OneOf(&'static str, &'static str, &'static [&'static str]),
}

use From::{Each, Fields, One, OneOf, Several};

const fn gauge(name: &'static str, help: &'static str, from: From) -> Row {
    Row { name, help, counts: false, from, scale: 1.0 }
}

const fn count(name: &'static str, help: &'static str, from: From) -> Row {
    Row { name, help, counts: true, from, scale: 1.0 }
}

impl Row {
    const fn milliseconds(mut self) -> Self {
        self.scale = 1e-3;
        self
    }
}

const fn upstream(value: &'static str) -> From {
    Each { list: "upstreams", label: "upstream", key: "url", value }
}

const fn labeler(value: &'static str) -> From {
    Each { list: "labelers", label: "labeler", key: "did", value }
}

const fn part(value: &'static str) -> From {
    Each { list: "parts", label: "part", key: "name", value }
}

const fn share(value: &'static str) -> From {
    Each { list: "memory.shares", label: "share", key: "name", value }
}

/// Steps of the disk ladder.
const STEPS: &[&str] = &["normal", "warn", "hold_backfill", "prune", "hold_search", "stop"];

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    gauge("aerie_ops_uptime_seconds", "Since the start", One("uptime_s")),
    gauge("aerie_ops_memory_bytes", "Memory of the process, now and at its most", Several("kind", &[("resident", "memory.resident"), ("peak", "memory.peak")])),
    gauge("aerie_ops_memory_share_bytes", "Shares of store.memory_budget", share("bytes")),
    gauge("aerie_ops_memory_held_bytes", "What shares of memory hold now, where that is weighed", share("held")),
    gauge("aerie_runtime_part_running", "Whether a part of the server is at work", part("state=running")),
    count("aerie_runtime_part_restarts", "Times that a part ended and was started again", part("restarts")),
    count("aerie_runtime_reloads", "Times that a reload was applied", One("reloads")),
    gauge("aerie_runtime_ingest_running", "Whether ingest runs", One("ingest=running")),
    gauge("aerie_ingest_connected", "Whether the socket to an upstream is open", upstream("connected")),
    gauge("aerie_ingest_lag_seconds", "How long after it was sent the last event was applied", upstream("lag_ms")).milliseconds(),
    gauge("aerie_ingest_sequence", "The last number of an upstream whose effects every read shows", upstream("seq")),
    gauge("aerie_ingest_received_sequence", "The last number of an upstream that was read", upstream("last_received_seq")),
    gauge("aerie_ingest_events_per_second", "Events of an upstream applied", upstream("events_per_s")),
    gauge("aerie_ingest_queue_bytes", "Frames of an upstream that are held", upstream("queue_bytes")),
    gauge("aerie_ingest_trouble", "Whether an upstream does not bring what happens now", upstream("trouble?")),
    count("aerie_ingest_reconnects", "Connections to an upstream after the first", upstream("reconnects")),
    gauge("aerie_labels_connected", "Whether the socket to a labeler is open", labeler("connected")),
    gauge("aerie_labels_sequence", "The last number of a labeler whose effects every read shows", labeler("seq")),
    gauge("aerie_index_pending", "Identity checks, resyncs and removals under way", One("pending")),
    gauge("aerie_index_members", "Accounts for whom notifications are kept", One("members")),
    gauge("aerie_index_followed", "Accounts that members follow, in a scope that keeps those", One("scope.followed")),
    gauge("aerie_sync_repos", "Repos that are fetched, by where they are", Several("state", &[("left", "resync.repos_left"), ("queued", "resync.queued"), ("parked", "resync.parked"), ("reading", "resync.reading")])),
    count("aerie_sync_repos_done", "Repos fetched since the start", One("resync.done")),
    count("aerie_sync_records", "Records of fetched repos since the start", One("resync.records")),
    count("aerie_sync_bytes", "Bytes of fetched repos since the start", One("resync.bytes")),
    gauge("aerie_sync_repos_per_second", "Repos fetched", One("resync.rate.repos_per_s")),
    gauge("aerie_sync_left_seconds", "Until the backfill is done, at its rate", One("resync.left_s")),
    gauge("aerie_sync_paused", "Whether the operator paused the backfill", One("resync.paused")),
    gauge("aerie_sync_on_read_bytes", "Fetched because somebody read it, and what that may be", Several("kind", &[("held", "on_read.bytes"), ("budget", "on_read.budget")])),
    gauge("aerie_identity_directory_dids", "DIDs whose operations are here", One("plc.dids")),
    gauge("aerie_identity_directory_age_seconds", "Age of the newest operation of the directory", One("plc.age_s")),
    gauge("aerie_search_documents", "What can be searched", Several("index", &[("posts", "search.posts"), ("actors", "search.actors")])),
    gauge("aerie_search_segments", "Segments of the indexes", One("search.segments")),
    gauge("aerie_search_ready", "Whether search answers", One("search.state=ready")),
    gauge("aerie_search_held", "Whether search waits for room on the disk", One("search.held")),
    gauge("aerie_search_sequence", "The number of the first upstream up to which everything can be searched", One("search_seq")),
    gauge("aerie_push_notifications", "Notifications on their way to devices", Several("state", &[("waiting", "push.waiting"), ("running", "push.running")])),
    gauge("aerie_media_cache_bytes", "Size of the cache of images", One("images.cache_bytes")),
    gauge("aerie_media_cache_files", "Images in the cache", One("images.cache_files")),
    count("aerie_media_requests", "Images asked for", One("images.requests")),
    count("aerie_media_hits", "Images found in the cache", One("images.hits")),
    gauge("aerie_xrpc_waiting_calls", "Calls that wait for a thread that reads", One("requests_waiting")),
    gauge("aerie_store_rows", "About how many rows there are", Fields("store.rows", "keyspace")),
    gauge("aerie_store_waiting_jobs", "Changes that wait for the writer", One("store.waiting")),
    gauge("aerie_upkeep_disk_bytes", "Space on the disk of the store", Several("kind", &[("used", "disk.used"), ("free", "disk.free"), ("reserve", "disk.reserve"), ("floor", "disk.floor"), ("reserve_file", "disk.reserve_file")])),
    gauge("aerie_upkeep_disk_fall_bytes_per_day", "What free space loses in a day", One("disk.fall_per_day")),
    gauge("aerie_upkeep_disk_days_left", "Days until ingest stops at that rate", One("disk.days_left")),
    gauge("aerie_upkeep_disk_step", "1 for the step of the disk ladder that is taken", OneOf("disk.step", "step", STEPS)),
    gauge("aerie_upkeep_clock_good", "Whether the clock of the machine is believed", One("clock.state=good")),
    gauge("aerie_upkeep_export_failed", "Whether the last daily export of private state failed", One("exports.error?")),
];

type Labelled<'a> = (Option<(&'static str, &'a str)>, f64);

impl Row {
    /// What the status has of it.
    pub(super) fn values<'a>(&self, status: &'a Value) -> Vec<Labelled<'a>> {
        let scaled = |value: Option<f64>| value.map(|value| value * self.scale);
        match &self.from {
            One(path) => {
                scaled(number(status, path)).map(|value| (None, value)).into_iter().collect()
            }
            Several(label, kinds) => {
                let of = |(kind, path): &(&'static str, &'static str)| {
                    Some((Some((*label, *kind)), scaled(number(status, path))?))
                };
                kinds.iter().filter_map(of).collect()
            }
            Each { list, label, key, value } => {
                let rows = at(status, list).and_then(Value::as_array).into_iter().flatten();
                let of = |row: &'a Value| {
                    let name = row.get(*key)?.as_str()?;
                    Some((Some((*label, name)), scaled(number(row, value))?))
                };
                rows.filter_map(of).collect()
            }
            Fields(path, label) => {
                let fields = at(status, path).and_then(Value::as_object).into_iter().flatten();
                let of = |(name, value): (&'a String, &'a Value)| {
                    Some((Some((*label, name.as_str())), scaled(value.as_f64())?))
                };
                fields.filter_map(of).collect()
            }
            OneOf(path, label, all) => {
                let Some(now) = at(status, path).and_then(Value::as_str) else { return Vec::new() };
                let of = |name: &&'static str| {
                    (Some((*label, *name)), if *name == now { 1.0 } else { 0.0 })
                };
                all.iter().map(of).collect()
            }
        }
    }
}

fn at<'a>(of: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(of, |of, name| of.get(name))
}

fn number(of: &Value, path: &str) -> Option<f64> {
    let truth = |is: bool| Some(if is { 1.0 } else { 0.0 });
    if let Some((path, text)) = path.split_once('=') {
        return truth(at(of, path)?.as_str()? == text);
    }
    if let Some(path) = path.strip_suffix('?') {
        return truth(!at(of, path)?.is_null());
    }
    match at(of, path)? {
        Value::Bool(is) => truth(*is),
        value => value.as_f64(),
    }
}
