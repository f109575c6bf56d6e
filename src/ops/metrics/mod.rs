//! What Prometheus reads: the gauges of the status, every family of counters, how long calls and stages take, and bytes in
//! and out, in the text form of OpenMetrics 1.0.
//!
//! A name is `aerie_{folder}_{what}_{unit}`. What the status says is listed in `table`; all else is there by itself as
//! soon as it was counted once: `Counters::new("ingest.dropped")` is `aerie_ingest_dropped_total{cause}`, and
//! `Timing::new("ingest.stage", "verify")` is `aerie_ingest_stage_seconds{kind="verify"}`.
//!
//! # Invariants
//! - Labels are names of tables, causes that the program names, and what the operator configured: never what a client sent.

mod table;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::telemetry::timing::Reading;
use crate::telemetry::{calls, counters, links, timing};
use table::{Row, TABLE};

/// The type of what [`metrics`] gives.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, with the gauges of this status document. Reads numbers, and does not block.
#[must_use]
pub fn metrics(status: Value) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(status)));
    let mut text = String::with_capacity(64 << 10);
    // A string takes whatever is written to it.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Metrics(Value);

type Encoded = Result<(), fmt::Error>;

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        for row in TABLE {
            row.encode(&self.0, &mut encoder)?;
        }
        for (name, causes) in counters::snapshot() {
            let help = format!("Times that this happened, by cause ({name})");
            let full = metric_name(name);
            let mut family = begin(&mut encoder, &full, &help, MetricType::Counter)?;
            for (cause, count) in causes {
                family
                    .encode_family(&[("cause", cause)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        for (name, kinds) in timing::snapshot() {
            let full = format!("{}_seconds", metric_name(name));
            let help = format!("How long it took ({name})");
            let mut family = begin(&mut encoder, &full, &help, MetricType::Histogram)?;
            for (kind, read) in kinds {
                match kind {
                    "" => histogram(&mut family, &read)?,
                    kind => histogram(&mut family.encode_family(&[("kind", kind)])?, &read)?,
                }
            }
        }
        encode_calls(&mut encoder)?;
        encode_links(&mut encoder)
    }
}

fn begin<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &'e str,
    kind: MetricType,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

/// `aerie_` and the name of a family with nothing but letters and underscores.
fn metric_name(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("aerie_{}", plain.collect::<String>())
}

fn histogram(to: &mut MetricEncoder<'_>, read: &Reading) -> Encoded {
    let buckets: Vec<_> = read.buckets().collect();
    to.encode_histogram::<NoLabelSet>(read.seconds(), read.count(), &buckets, None)
}

const CALL_SECONDS: &str = "aerie_xrpc_call_seconds";
const CALL_ERRORS: &str = "aerie_xrpc_errors";
const CALL_BYTES: [&str; 2] = ["aerie_xrpc_received_bytes", "aerie_xrpc_sent_bytes"];
const LINK_BYTES: [&str; 2] = ["aerie_net_received_bytes", "aerie_net_sent_bytes"];

fn encode_calls(encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let all = calls::snapshot();
    let help = "How long answers took, by method or path";
    let mut family = begin(encoder, CALL_SECONDS, help, MetricType::Histogram)?;
    for (name, read) in &all {
        histogram(&mut family.encode_family(&[("method", *name)])?, &read.took)?;
    }
    let help = "Calls that failed, by method or path and by the name of the error";
    let mut family = begin(encoder, CALL_ERRORS, help, MetricType::Counter)?;
    for (name, read) in &all {
        for (error, count) in &read.errors {
            let labels = [("method", *name), ("error", *error)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    let helps = ["Bytes of requests, by method or path", "Bytes of answers, by method or path"];
    for ((of, help), sent) in CALL_BYTES.into_iter().zip(helps).zip([false, true]) {
        let mut family = begin(encoder, of, help, MetricType::Counter)?;
        for (name, read) in &all {
            let bytes = if sent { read.sent } else { read.received };
            let labels = [("method", *name)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&bytes, None)?;
        }
    }
    Ok(())
}

fn encode_links(encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let all = links::snapshot();
    let helps = ["Bytes that came from others", "Bytes that went to others"];
    for ((of, help), out) in LINK_BYTES.into_iter().zip(helps).zip([false, true]) {
        let mut family = begin(encoder, of, help, MetricType::Counter)?;
        for ((kind, name), (received, sent)) in &all {
            let labels = [("kind", *kind), ("name", name.as_str())];
            let bytes = if out { sent } else { received };
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(bytes, None)?;
        }
    }
    Ok(())
}

impl Row {
    fn encode(&self, status: &Value, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let values = self.values(status);
        if values.is_empty() {
            return Ok(());
        }
        let kind = if self.counts { MetricType::Counter } else { MetricType::Gauge };
        let mut family = begin(encoder, self.name, self.help, kind)?;
        for (label, value) in values {
            let one = |to: &mut MetricEncoder<'_>| match self.counts {
                true => to.encode_counter::<NoLabelSet, _, u64>(&value, None),
                false => to.encode_gauge(&value),
            };
            match label {
                None => one(&mut family)?,
                Some((name, of)) => one(&mut family.encode_family(&[(name, of)])?)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
