//! `aerie db check`.

use serde_json::json;

use super::super::{CliError, print};
use super::Scan;
use crate::index::check::{Options, Report, check};
use crate::store::{Store, explained};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Recompute the CID of every record, not only of a sample
    #[arg(long)]
    full: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, store: Store) -> Result<(), CliError> {
    let mut meter = Scan::new(&store);
    let options = Options { full: args.full, repair: None };
    let report = check(&store, &options, &mut |p| meter.at(p.ks.name(), p.rows));
    let report = report.map_err(|error| explained(store.path(), error))?;
    print(&report_json(&report), args.json, |_| report_text(&report))?;
    if report.is_clean() { Ok(()) } else { Err(CliError::Differs) }
}

fn report_json(report: &Report) -> serde_json::Value {
    let rows: serde_json::Map<_, _> =
        report.rows.iter().map(|(ks, n)| (ks.name().to_owned(), json!(n))).collect();
    let findings: serde_json::Map<_, _> = report
        .findings
        .iter()
        .map(|(kind, f)| ((*kind).to_owned(), json!({ "count": f.count, "samples": f.samples })))
        .collect();
    json!({
        "clean": report.is_clean(),
        "rows": rows,
        "rebuilt": report.rebuilt,
        "trees": report.trees,
        "findings": findings,
    })
}

fn report_text(report: &Report) -> String {
    let mut out = String::new();
    for (kind, finding) in &report.findings {
        out += &format!("{kind}: {}\n", finding.count);
        for sample in &finding.samples {
            out += &format!("  {sample}\n");
        }
        if finding.count > finding.samples.len() as u64 {
            out += "  ...\n";
        }
    }
    let rows: u64 = report.rows.iter().map(|(_, n)| n).sum();
    let (rebuilt, trees) = (report.rebuilt, report.trees);
    out += &format!("{rows} rows read, {rebuilt} records rebuilt, {trees} repos compared: ");
    let differences: u64 = report.findings.values().map(|f| f.count).sum();
    out += &match differences {
        0 => "everything fits\n".to_owned(),
        n => {
            format!("{n} differences: `aerie db repair` writes anew what follows from other rows\n")
        }
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::Counter;
    use crate::schema::{Edit, Target};
    use crate::store::{Tx, Writer};

    #[test]
    fn differences_fail_until_they_are_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let damage = |tx: &mut Tx<'_>| {
            let a = Target::Actor(tx.intern_actor("did:web:a.example")?);
            tx.count(a, Counter::Posts, 3).map(drop)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(writer.durable(damage)).unwrap();
        drop(writer);
        thread.join().unwrap().unwrap();
        let report = check(&store, &Options::default(), &mut |_| {}).unwrap();
        let text = report_text(&report);
        assert!(
            text.contains("count-posts: 1\n  did:web:a.example: 3 held, 0 counted\n"),
            "{text}"
        );
        let json = report_json(&report);
        assert_eq!(json["clean"], false);
        assert_eq!(json["findings"]["count-posts"]["count"], 1);
        assert!(text.contains("1 differences: `aerie db repair`"), "{text}");
        assert!(run(&Args::default(), store.clone()).is_err());
        super::super::repair::mend(store.clone(), &[]).unwrap();
        assert!(run(&Args::default(), store).is_ok());
    }
}
