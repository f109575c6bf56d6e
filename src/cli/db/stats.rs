//! `aerie db stats`.

use serde_json::{Map, Value, json};

use super::super::{CliError, print};
use super::Scan;
use crate::schema::stats::{Stats, stats};
use crate::store::Store;
use crate::work::tables;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Rewrite the store into its smallest form first; takes as much free disk as the largest keyspace
    #[arg(long)]
    compact: bool,
}

pub(super) fn run(args: &Args, open: impl Fn() -> Result<Store, CliError>) -> Result<(), CliError> {
    let mut store = open()?;
    if args.compact {
        store.compact(|ks| eprintln!("compacting {}", ks.name()))?;
        // The engine deletes the tables of before when it is opened again.
        drop(store);
        store = open()?;
    }
    let mut meter = Scan::new(&store);
    let stats = stats(&store, &tables::registry(), &mut |ks, rows| meter.at(ks.name(), rows))?;
    print(&stats_json(&stats), args.json, |_| stats_text(&stats))
}

fn stats_json(stats: &Stats) -> Value {
    let spaces: Map<_, _> = stats
        .spaces
        .iter()
        .map(|s| {
            let v = json!({ "rows": s.rows, "logical_bytes": s.logical, "disk_bytes": s.disk });
            (s.ks.name().to_owned(), v)
        })
        .collect();
    let kinds: Map<_, _> = stats
        .shares
        .iter()
        .map(|s| {
            let v = json!({ "count": s.count, "disk_bytes": s.disk, "bytes_each": s.each() });
            (s.kind.name().to_owned(), v)
        })
        .collect();
    json!({
        "keyspaces": spaces,
        "kinds": kinds,
        "journal_bytes": stats.journals,
        "total_bytes": stats.total(),
    })
}

fn stats_text(stats: &Stats) -> String {
    let mut out = format!("{:<16}{:>14}{:>16}{:>16}\n", "keyspace", "rows", "data", "on disk");
    for s in &stats.spaces {
        out += &format!("{:<16}{:>14}{:>16}{:>16}\n", s.ks.name(), s.rows, s.logical, s.disk);
    }
    out += &format!("{:<16}{:>46}\n", "journals", stats.journals);
    out += &format!("{:<16}{:>46}\n\n", "total", stats.total());
    out += &format!("{:<16}{:>14}{:>16}{:>16}\n", "of these", "count", "bytes on disk", "each");
    for s in &stats.shares {
        let each = s.each().map_or(String::new(), |v| format!("{v:.1}"));
        out += &format!("{:<16}{:>14}{:>16}{each:>16}\n", s.kind.name(), s.count, s.disk);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::stats::{Kind, Share, Space};
    use crate::store::Ks;

    #[test]
    fn figures_are_printed_by_keyspace_and_kind() {
        let stats = Stats {
            spaces: vec![Space { ks: Ks::Post, rows: 4, logical: 800, disk: 400 }],
            shares: vec![
                Share { kind: Kind::Post, count: 4, disk: 400 },
                Share { kind: Kind::Like, count: 0, disk: 0 },
            ],
            journals: 100,
        };
        let json = stats_json(&stats);
        assert_eq!(json["total_bytes"], 500);
        assert_eq!(json["kinds"]["post"]["bytes_each"], 100.0);
        assert_eq!(json["kinds"]["like"]["bytes_each"], Value::Null);
        assert_eq!(json["keyspaces"]["post_1"]["rows"], 4);
        let text = stats_text(&stats);
        assert!(text.contains("100.0\n") && text.lines().count() == 8, "{text}");
    }
}
